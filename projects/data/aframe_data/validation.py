"""The verb `validation_waveforms`: signals that validation injects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aframe.artifacts.ledger import read_metadata
from aframe.artifacts.strain import list_strain
from aframe.branches import run_branches
from aframe.draft import Draft
from aframe_data.injections import (
    InjectionSettings,
    branch_path,
    branch_reads,
    branch_size,
    branch_sizes,
    branch_writes,
    merge_branches,
    refuse_misfits,
    refuse_unfit_strain,
    write_branch,
)
from aframe_data.projection import EPOCH

OUTPUT = "val_waveforms.hdf5"


@dataclass(frozen=True)
class ValidationInputs:
    """What `validation_waveforms` reads.

    Args:
        background: Directory of the training strain, for its PSD.
    """

    background: Path


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(InjectionSettings):
    """Settings of ``aframe-data validation_waveforms``.

    Args:
        inputs: What to read.
    """

    inputs: ValidationInputs


def validation_waveforms(settings: ValidationSettings, draft: Draft) -> None:
    """Generate the signals that validation injects into the training strain.

    Their SNR is measured against the strain files in turn, one a branch. They come
    without times: the detectors stand under the sky as they did at GPS 1000000000.
    """
    files = list_strain(settings.inputs.background, settings.ifos)
    refuse_unfit_strain(settings, files)
    refuse_misfits(settings)
    sizes = branch_sizes(settings.num_signals, branch_size(settings.window))
    todo = [
        (
            settings,
            files[number % len(files)],
            {"injection_time": np.full(size, EPOCH)},
            "validation waveforms",
            number,
            draft.work,
        )
        for number, size in enumerate(sizes)
        if not branch_path(draft.work, number).exists()
    ]
    workers = settings.resources.workers
    run_branches(
        write_branch,
        todo,
        draft=draft,
        workers=workers,
        unit="branches",
        reads=branch_reads,
        writes=branch_writes,
    )
    merge_branches(draft.work, len(sizes), draft.path / OUTPUT)
    draft.notes["draws"] = read_metadata(draft.path / OUTPUT)["num_injections"]
