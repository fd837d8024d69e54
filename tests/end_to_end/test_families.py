"""Every family of networks: its configuration trains by the real command, and is exported."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.artifacts.strain import write_strain
from aframe.program import main
from aframe_export.cli import VERBS as EXPORT
from aframe_train.cli import VERBS as TRAIN

ROOT = Path(__file__).parents[2]
CONFIGS = [
    *sorted((ROOT / "projects" / "train" / "configs").glob("*.yaml")),
    ROOT / "aframe" / "pipelines" / "configs" / "bns.yaml",
]
RATE = 256
PREPROCESSING = {
    "ifos": ["H1", "L1"],
    "sample_rate": RATE,
    "kernel_length": 1,
    "fduration": 0.5,
    "fftlength": 0.5,
    "highpass": 20,
}
#: Amounts for a minute of strain, in place of a month.
TINY = {
    "batches_per_epoch": 3,
    "psd_length": 4,
    "left_pad": 0.25,
}
TINY_MIXTURE = {"batch_size": 16, "kernels_per_stretch": 2}
TINY_VALIDATION = {"min_valid_duration": 60, "valid_livetime": 60, "num_valid_views": 2}
#: Families whose networks compute with complex numbers.
WITHOUT_ONNX = {"bns", "heterodyne", "multimodal", "qtransform", "s4", "spectrogram"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three minutes of white strain, and sine-Gaussians for signals."""
    home = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for number in range(3):
        strain = 1e-21 * rng.normal(size=(2, 64 * RATE)).astype(np.float32)
        write_strain(
            home / "background", strain, ifos=("H1", "L1"), start=1e9 + 64 * number,
            sample_rate=RATE,
        )  # fmt: skip
    time = np.arange(2 * RATE) / RATE - 1.5
    waves = np.exp(-((time / 0.1) ** 2)) * np.sin(2 * np.pi * rng.uniform(30, 80, (40, 1)) * time)
    metadata = {"sample_rate": float(RATE), "duration": 2.0, "right_pad": 0.5}
    plus = (1e-21 * waves).astype(np.float32)
    h1 = 2 * plus[:12]
    for name, fields in (
        ("training_waveforms", {"plus": plus, "cross": -plus}),
        ("val_waveforms", {"h1": h1, "l1": -h1}),
    ):
        write_ledger(home / f"{name}.hdf5", Ledger({}, fields, metadata))
    return home


def narrowed(settings):
    """Make residual networks an eighth as wide: their checkpoints would be gigabytes."""
    if isinstance(settings, dict):
        given = {key: narrowed(value) for key, value in settings.items()}
        if given.get("class_path") == "aframe_train.networks.ResNet":
            given["init_args"] |= {"widths": [8, 16, 32, 64], "stem": {"width": 8}}
            given["init_args"]["norm_groups"] = 8
        return given
    return settings


def tiny(path, target):
    """Write a family's configuration with small amounts of data."""
    config = yaml.safe_load(path.read_text())
    config["model"] = narrowed(config["model"])
    if path.stem == "bns":  # too narrow a band for kernels of a second
        arch = config["model"]["init_args"]["arch"]["init_args"]
        arch["representation"]["init_args"]["q"] = 8
    if path.stem == "sweep":  # whose frames reach over more
        arch = config["model"]["init_args"]["arch"]["init_args"]
        arch |= {"stem": 16, "widths": [16, 32], "kernel_size": 5}
    data = config["data"]["init_args"]
    data |= TINY
    data["mixture"] |= TINY_MIXTURE
    data["validation"] |= TINY_VALIDATION
    config["trainer"]["max_epochs"] = 1
    target.write_text(yaml.safe_dump(config))
    return target


def run(stage, verbs, settings, path):
    """Run a stage's command; returns its exit status."""
    path.write_text(json.dumps(settings))
    return main(stage, verbs, [verbs[0].name, "--config", str(path)])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_family_trains_and_is_exported(path, data, tmp_path, capsys):
    """Three steps, a validation, and models that repeat the trained one on any device."""
    training, results = tmp_path / "training", tmp_path / "results"
    inputs = {
        "background": f"{data}/background",
        "training_waveforms": f"{data}/training_waveforms.hdf5",
        "validation_waveforms": f"{data}/val_waveforms.hdf5",
        "train_config": str(tiny(path, tmp_path / "train.yaml")),
    }
    settings = {"inputs": inputs, "output": str(training), **PREPROCESSING}
    settings["resources"] = {"device": "cpu", "workers": 1}
    assert run("train", TRAIN, settings, tmp_path / "fit.json") == 0

    record = json.loads((training / "fit.record.json").read_text())
    assert record["notes"]["steps"] == 3
    assert 0 <= record["notes"]["best_valid_auroc"] <= 1
    # A device that a trace made tensors on would be the only one that its model runs on.
    model = torch.jit.load(training / "model.pt")
    assert "Device" not in str(model.inlined_graph)

    inputs = {
        "weights": f"{training}/model.pt",
        "preprocessing": f"{training}/preprocessing.json",
        "batch": f"{training}/batch.hdf5",
    }
    settings = {"inputs": inputs, "output": str(results), **PREPROCESSING}
    settings |= {"inference_sampling_rate": 4, "batch_size": 4, "psd_length": 4}
    assert run("export", EXPORT, settings, tmp_path / "export.json") == 0

    folder = results / "model_repo" / "aframe" / "1"
    assert (folder / "model.onnx").exists() == (path.stem not in WITHOUT_ONNX)
    assert (folder / "model.pt").exists()
    parity = json.loads((results / "export.record.json").read_text())["notes"]["parity"]
    assert ("sweep" in parity["deviations"]) == (path.stem == "sweep")
