"""A small trained network, as training leaves it."""

import h5py
import numpy as np
import pytest
import torch

from aframe.artifacts.preprocessing import Preprocessing
from aframe.transforms.stream import Stream
from aframe.transforms.whitening import Whitener
from aframe_export.settings import ExportInputs, ExportSettings

TRAINED = Preprocessing(
    ifos=("H1", "L1"),
    sample_rate=256.0,
    kernel_length=1.0,
    fduration=0.5,
    fftlength=0.5,
    highpass=20.0,
    lowpass=None,
    psd_length=4.0,
)


@pytest.fixture(scope="session")
def network():
    """Score two channels by what the demo's network is made of."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Conv1d(2, 8, 7, stride=2, padding=3, bias=False),
        torch.nn.GroupNorm(4, 8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool1d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 1),
    ]
    return torch.jit.trace(torch.nn.Sequential(*layers).eval(), torch.zeros(1, 2, 256))


@pytest.fixture(scope="session")
def stream():
    """Eight kernels an update, four a second."""
    return Stream(256.0, 1.0, 0.5, 4.0, 4.0, 8)


@pytest.fixture(scope="session")
def whitener():
    """The whitening of the training."""
    return Whitener(256.0, 0.5, 0.5, 20.0)


@pytest.fixture
def trained(tmp_path, network):
    """Files of a training, in a folder."""
    folder = tmp_path / "training"
    folder.mkdir()
    torch.jit.save(network, folder / "model.pt")
    TRAINED.write(folder / "preprocessing.json")
    kernels = np.random.default_rng(0).standard_normal((16, 2, 256)).astype(np.float32)
    with h5py.File(folder / "batch.hdf5", "w") as file:
        file["input_0"], file["y"] = kernels, np.zeros((16, 1), np.float32)
    return folder


@pytest.fixture
def settings(trained, tmp_path):
    """Give settings that fit the training."""
    return ExportSettings(
        inputs=ExportInputs(
            trained / "model.pt", trained / "preprocessing.json", trained / "batch.hdf5"
        ),
        output=tmp_path / "results",
        ifos=("H1", "L1"),
        sample_rate=256,
        kernel_length=1,
        fduration=0.5,
        highpass=20,
        inference_sampling_rate=4,
        batch_size=8,
        psd_length=4,
        streams_per_gpu=2,
    )
