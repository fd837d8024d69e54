"""A small search: 256 Hz, kernels of 1 s, noise and signals that take no time to make."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

# Every call in these tests is also a check of the shapes that the signatures promise.
with install_import_hook("aframe_train", "beartype.beartype"):
    pass

from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.artifacts.strain import write_strain

RATE = 256.0
IFOS = ("H1", "L1")
START = 1_000_000_000
#: Lengths (s).
DURATION, RIGHT_PAD = 2.0, 0.5


@pytest.fixture(autouse=True)
def one_thread():
    """Keep to one thread, so that tests can run side by side and add up alike."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(seed: int, seconds: float, ifos: int = 2) -> np.ndarray:
    """Colored Gaussian noise of about the size of strain."""
    white = np.random.default_rng(seed).normal(size=(ifos, int(seconds * RATE) + 1))
    return (1e-21 * (white[:, 1:] + 0.7 * white[:, :-1])).astype(np.float32)


def chirps(seed: int, count: int) -> np.ndarray:
    """Plus and cross of rising tones that end at the coalescence, ``(2, count, time)``."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(DURATION * RATE)) / RATE - (DURATION - RIGHT_PAD)
    frequency = rng.uniform(40, 60, (count, 1)) + 15 * time
    envelope = np.where(time < 0, np.exp(time / 0.2), np.exp(-time / 0.02))
    phase = 2 * np.pi * frequency * time + rng.uniform(0, 2 * np.pi, (count, 1))
    return (1e-21 * envelope * np.stack([np.cos(phase), np.sin(phase)])).astype(np.float32)


def write_waveforms(path: Path, waveforms: dict[str, np.ndarray], **metadata: Any) -> Path:
    """Write a ledger of waveforms."""
    known = {"sample_rate": RATE, "duration": DURATION, "right_pad": RIGHT_PAD}
    write_ledger(path, Ledger({}, waveforms, {**known, **metadata}))
    return path


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """A directory laid out as the data stage leaves it."""
    home = tmp_path_factory.mktemp("data")
    for number, seconds in enumerate((64, 64, 96)):
        write_strain(
            home / "background",
            noise(number, seconds),
            ifos=IFOS,
            start=START + 64 * number,
            sample_rate=RATE,
        )
    plus, cross = chirps(1, 40)
    write_waveforms(home / "training_waveforms.hdf5", {"plus": plus, "cross": cross})
    h1, l1 = 3 * chirps(2, 12)
    write_waveforms(home / "val_waveforms.hdf5", {"h1": h1, "l1": l1})
    return home


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """What the tests share, as they cannot import from here."""
    return SimpleNamespace(
        RATE=RATE,
        IFOS=IFOS,
        START=START,
        DURATION=DURATION,
        RIGHT_PAD=RIGHT_PAD,
        PREPROCESSING=PREPROCESSING,
        noise=noise,
        chirps=chirps,
        write_waveforms=write_waveforms,
    )


#: Preprocessing of the small search, by the names of the settings.
PREPROCESSING = {
    "sample_rate": RATE,
    "kernel_length": 1.0,
    "fduration": 0.5,
    "fftlength": 0.5,
    "highpass": 20.0,
    "lowpass": None,
}

CONFIG = """
model:
  class_path: aframe_train.model.SupervisedAframe
  init_args:
    arch:
      class_path: aframe_train.networks.ResNet
      init_args:
        {layers: [1, 1], widths: [4, 8], strides: [2, 2], stem: {width: 4}, norm_groups: 2}
    metric: {class_path: aframe_train.metric.TimeSlideAUROC, init_args: {pool_length: 2}}
    learning_rate: 3.0e-3
    pct_lr_ramp: 0.2
    checkpoint_steps: 2
data:
  class_path: aframe_train.data.AframeData
  init_args:
    batches_per_epoch: 7
    psd_length: 4
    mixture:
      {batch_size: 16, kernels_per_stretch: 2, waveform_prob: 0.4, swap_prob: 0.1, mute_prob: 0.1}
    snr: {minimum: 6, maximum: 50, first_minimum: 12, decay_steps: 10}
    validation:
      {min_valid_duration: 60, valid_livetime: 100, valid_stride: 0.5, num_valid_views: 3}
trainer:
  max_epochs: 3
  accelerator: cpu
  logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {save_dir: .}}
  callbacks:
    - {class_path: lightning.pytorch.callbacks.EMAWeightAveraging, init_args: {decay: 0.9}}
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture
def config(tmp_path) -> Path:
    """A training configuration of 21 steps."""
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path
