"""The verb `training_waveforms`: polarizations that training projects and injects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.branches import run_branches
from aframe.draft import Draft
from aframe.priors import load_prior, sample
from aframe_data.injections import (
    WaveformSettings,
    batch_size,
    branch_path,
    branch_size,
    branch_sizes,
    merge_branches,
    refuse_misfits,
)
from aframe_data.streams import stream
from aframe_data.waveforms import load_approximant, polarizations

OUTPUT = "training_waveforms.hdf5"


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(WaveformSettings):
    """Settings of ``aframe-data training_waveforms``."""


def training_waveforms(settings: TrainingSettings, draft: Draft) -> None:
    """Generate the polarizations that training injects."""
    refuse_misfits(settings)
    sizes = branch_sizes(settings.num_signals, branch_size(settings.window))
    todo = [
        (settings, number, size, path)
        for number, size in enumerate(sizes)
        if not (path := branch_path(draft.work, number)).exists()
    ]
    workers = settings.resources.workers
    run_branches(
        write_polarizations,
        todo,
        draft=draft,
        workers=workers,
        unit="branches",
        writes=lambda _settings, _number, _size, path: [path],
    )
    merge_branches(draft.work, len(sizes), draft.path / OUTPUT)


def write_polarizations(settings: WaveformSettings, number: int, size: int, path: Path) -> None:
    """Write one branch of *size* signals."""
    rng = stream(settings.seed, "training waveforms", number)
    parameters = sample(*load_prior(settings.prior), size, rng)
    approximant = load_approximant(settings.waveform_approximant)
    # Each polarization by itself, as the file has them, so that none is copied on its way there.
    plus, cross = strain = np.zeros((2, size, settings.window.size), np.float32)
    most = batch_size(settings.window)
    for begin in range(0, size, most):
        rows = slice(begin, begin + most)
        some = {name: values[rows] for name, values in parameters.items()}
        polarizations(some, approximant, settings.window, strain[:, rows].swapaxes(0, 1))
    metadata = {**settings.metadata, "num_injections": size}
    write_ledger(path, Ledger(parameters, {"plus": plus, "cross": cross}, metadata))
