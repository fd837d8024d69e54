"""The training configurations that are shipped."""

import importlib
import inspect
import re
from pathlib import Path

import jsonargparse
import pytest
import torch
import yaml

import aframe.pipelines
from aframe_train.trainer import train

PRESETS = sorted((Path(aframe.pipelines.__file__).parent / "configs").glob("*.yaml"))
FAMILIES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
#: Parameters of each network, and of the whole search what the .cfg hands over.
SIZES = {
    "demo": 80_961,
    "bbh": 7_219_201,
    "bns": 21_282_049,
    "resnet54": 24_615_681,
    "s4": 200_193,
    "wavenet": 509_313,
    "xylophone": 792_673,
    "spectrogram": 21_282_049,
    "qtransform": 21_282_049,
    "multimodal": 14_504_065,
    "autoencoder": 93_380,
    "heterodyne": 58_851_969,
}
BATCH_NORM = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
#: What does not fit kernels of a second.
SHORTER = {"bns": ["--model.arch.init_args.representation.init_args.q=8"]}
HANDED_OVER = {
    "ifos", "sample_rate", "kernel_length", "fduration", "fftlength", "highpass", "lowpass", "seed",
    "data_dir", "background_dir", "training_waveforms", "validation_waveforms",
}  # fmt: skip


def test_every_preset_is_known():
    """A new preset comes with its row here."""
    assert {path.stem for path in (*PRESETS, *FAMILIES)} == set(SIZES)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_trains(path, data_dir, small, tmp_path):
    """Its network is of the size it says, and learns from small data for two steps."""
    preprocessing = [
        f"--data.{name}={'null' if value is None else value}"
        for name, value in small.PREPROCESSING.items()
    ]
    amounts = {"batch_size": 16, "kernels_per_stretch": 2}
    validation = {"min_valid_duration": 60, "valid_livetime": 8}
    cli = train(
        ["--config", str(path), "--data.ifos=[H1,L1]", "--data.data_dir", str(data_dir),
         f"--trainer.logger.save_dir={tmp_path}", "--trainer.max_epochs=1",
         "--trainer.accelerator=cpu", "--data.batches_per_epoch=2", "--data.psd_length=4",
         "--data.left_pad=0.25", *preprocessing, *SHORTER.get(path.stem, ()),
         *(f"--data.mixture.{name}={value}" for name, value in amounts.items()),
         *(f"--data.validation.{name}={value}" for name, value in validation.items())]
    )  # fmt: skip

    assert sum(each.numel() for each in cli.model.arch.parameters()) == SIZES[path.stem]
    assert cli.trainer.global_step == 2
    assert torch.jit.load(tmp_path / "model.pt")(torch.zeros(3, 2, 256)).shape == (3, 1)


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_family_has_its_size(path):
    """Its network is of the size it says, and learns with all of its parameters.

    A parameter without a part in the loss would stop a training on several devices. That it
    trains and is exported is seen in `tests/end_to_end/test_families.py`.
    """
    told = {
        "num_ifos": 2, "sample_rate": 2048.0, "kernel_length": 1.5,
        "highpass": 32.0, "lowpass": None,
    }  # fmt: skip
    described = yaml.safe_load(path.read_text())["model"]["init_args"]["arch"]
    module, name = described["class_path"].rsplit(".", 1)
    asked = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    init_args = {**{key: told[key] for key in told if key in asked}, **described["init_args"]}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(torch.nn.Module, "arch")
    config = parser.parse_object({"arch": {**described, "init_args": init_args}})
    network = parser.instantiate_classes(config).arch.eval()
    size = sum(each.numel() for each in network.parameters())

    assert size == SIZES[path.stem]
    # The file says so too, in millions.
    stated = re.search(r"([0-9.]+) million parameters", path.read_text())[1]
    assert stated == f"{size / 1e6:.{len(stated.split('.')[1])}f}"
    assert not any(isinstance(each, BATCH_NORM) for each in network.modules())
    scores = network(torch.randn(1, 2, 3072))
    assert scores.shape == (1, 1)
    scores.sum().backward()
    assert [name for name, each in network.named_parameters() if each.grad is None] == []


@pytest.mark.parametrize("path", [*PRESETS, *FAMILIES], ids=lambda path: path.stem)
def test_no_number_stands_twice(path):
    """What the run's .cfg says is not said again."""
    data = yaml.safe_load(path.read_text())["data"]["init_args"]

    assert not HANDED_OVER & set(data)
