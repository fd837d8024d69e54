"""The training configurations that are shipped."""

from pathlib import Path

import pytest
import torch
import yaml

import aframe.pipelines
from aframe_train.trainer import train

PRESETS = sorted((Path(aframe.pipelines.__file__).parent / "configs").glob("*.yaml"))
#: Parameters of each network, and of the whole search what the .cfg hands over.
SIZES = {"demo": 80_961, "bbh": 7_219_201}
HANDED_OVER = {
    "ifos", "sample_rate", "kernel_length", "fduration", "fftlength", "highpass", "lowpass", "seed",
    "data_dir", "background_dir", "training_waveforms", "validation_waveforms",
}  # fmt: skip


def test_every_preset_is_known():
    """A new preset comes with its row here."""
    assert {path.stem for path in PRESETS} == set(SIZES)


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
         *preprocessing,
         *(f"--data.mixture.{name}={value}" for name, value in amounts.items()),
         *(f"--data.validation.{name}={value}" for name, value in validation.items())]
    )  # fmt: skip

    assert sum(each.numel() for each in cli.model.arch.parameters()) == SIZES[path.stem]
    assert cli.trainer.global_step == 2
    assert torch.jit.load(tmp_path / "model.pt")(torch.zeros(3, 2, 256)).shape == (3, 1)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_no_number_stands_twice(path):
    """What the run's .cfg says is not said again."""
    data = yaml.safe_load(path.read_text())["data"]["init_args"]

    assert not HANDED_OVER & set(data)
