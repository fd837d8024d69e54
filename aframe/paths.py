"""The run directory: every path, derived in one place from the ``AFRAME_*`` variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aframe.errors import AframeError

#: The variables that `run.sh` exports, and the folder each names below the run directory.
RUN_VARIABLES = {
    "AFRAME_TRAIN_DATA_DIR": "data/train",
    "AFRAME_TEST_DATA_DIR": "data/test",
    "AFRAME_TRAIN_RUN_DIR": "training",
    "AFRAME_CONDOR_DIR": "condor",
    "AFRAME_RESULTS_DIR": "results",
    "AFRAME_TMPDIR": "tmp",
}
#: Those that are of the machine alone; all others may be ``s3://`` addresses.
OF_THE_MACHINE = ("AFRAME_CONDOR_DIR", "AFRAME_TMPDIR")
S3 = "s3://"
_NAMES_A_PLACE = re.compile(r"AFRAME_(?:(?:TRAIN|TEST)_\w+_DIR|RESULTS_DIR|CONDOR_DIR|TMPDIR)")
_SCHEME = re.compile(r"s3:|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ADDRESS = re.compile(r"s3://[^/]")


@dataclass(frozen=True)
class RunPaths:
    """Where the pieces of a run lie, each on this machine or, but for scratch, on S3.

    Args:
        train_background: Holds ``segments.txt`` and ``background/`` of the training strain.
        train_waveforms: Holds ``training_waveforms.hdf5`` and ``val_waveforms.hdf5``.
        test_background: Holds ``segments.txt`` and ``background/`` of the testing strain.
        test_waveforms: Holds ``waveforms.hdf5`` and ``rejected-parameters.hdf5``.
        zero_lag: Holds ``segments.txt`` and ``background/`` of strain to search at zero lag.
        train_run: Holds what training makes.
        results: Holds the model repository, the events and the plots.
        condor: Holds what jobs on a pool are given, while they are at work.
        tmp: Scratch of the stages; ``None`` leaves the system's.
    """

    train_background: Path
    train_waveforms: Path
    test_background: Path
    test_waveforms: Path
    zero_lag: Path
    train_run: Path
    results: Path
    condor: Path
    tmp: Path | None


def run_paths(environment: Mapping[str, str] = os.environ) -> RunPaths:
    """Read the run's paths from *environment*; an unset variable means the present folder's.

    Only scratch is not made in the folder where somebody happens to be.

    ``AFRAME_{TRAIN,TEST}_{BACKGROUND,WAVEFORMS}_DIR`` name strain and waveforms apart,
    for users whose data lie so; otherwise both are in ``AFRAME_{TRAIN,TEST}_DATA_DIR``.

    Raises:
        AframeError: If scratch is to be on S3, or an address is none of S3's.
    """
    _refuse_elsewhere(environment)
    _refuse_no_address(environment)

    def path(*names: str, default: str) -> Path:
        value = next((environment[name] for name in names if environment.get(name)), default)
        return Path(value) if value.startswith(S3) else Path(value).expanduser().absolute()

    def data(purpose: str, kind: str) -> Path:
        shared = f"AFRAME_{purpose}_DATA_DIR"
        return path(f"AFRAME_{purpose}_{kind}_DIR", shared, default=RUN_VARIABLES[shared])

    def single(name: str) -> Path:
        return path(name, default=RUN_VARIABLES[name])

    return RunPaths(
        train_background=data("TRAIN", "BACKGROUND"),
        train_waveforms=data("TRAIN", "WAVEFORMS"),
        test_background=data("TEST", "BACKGROUND"),
        test_waveforms=data("TEST", "WAVEFORMS"),
        zero_lag=data("TEST", "BACKGROUND") / "zero_lag",
        train_run=single("AFRAME_TRAIN_RUN_DIR"),
        results=single("AFRAME_RESULTS_DIR"),
        condor=single("AFRAME_CONDOR_DIR"),
        tmp=single("AFRAME_TMPDIR") if environment.get("AFRAME_TMPDIR") else None,
    )


def _refuse_elsewhere(environment: Mapping[str, str]) -> None:
    for name in OF_THE_MACHINE:
        if environment.get(name, "").startswith(S3):
            raise AframeError(
                "a folder of this machine cannot be on S3",
                found=environment[name],
                wanted_by=name,
                fix="name a folder of this machine, or unset the variable",
            )


def _refuse_no_address(environment: Mapping[str, str]) -> None:
    """Refuse what would be taken for a folder named ``s3:`` below the present one."""
    for name, value in environment.items():
        if not _NAMES_A_PLACE.fullmatch(name) or not _SCHEME.match(value):
            continue
        if not _ADDRESS.match(value):
            raise AframeError(
                "a place of the run is neither a folder nor an address on S3",
                found=value,
                wanted_by=name,
                fix="write a path, or s3://BUCKET/FOLDER",
            )
