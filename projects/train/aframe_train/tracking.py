"""Weights & Biases: one run for a training, however often it is resumed.

Its key is never ours to see: the package finds it where ``wandb login`` or WANDB_API_KEY put it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from aframe.artifacts.record import write_text
from aframe.errors import AframeError

#: File of the run directory with the run's name at Weights & Biases.
IDENTITY = "wandb_run_id"
_VARIABLES = ("WANDB_RUN_ID", "WANDB_RESUME")


def refuse_missing() -> None:
    """Refuse Weights & Biases where its package is not there.

    Raises:
        AframeError: If it is not installed.
    """
    if find_spec("wandb") is None:
        raise AframeError(
            "Weights & Biases is not installed",
            found="no package wandb",
            wanted_by="use_wandb, or WandbLogger in trainer.logger",
            fix="pip install wandb, or leave it out: metrics.csv is written anyway",
        )


def is_asked_for(loggers: Sequence[Any]) -> bool:
    """Whether a configuration of loggers names Weights & Biases."""
    return any(str(each.get("class_path")).endswith("WandbLogger") for each in loggers)


def identify(directory: Path, *, resumed: bool) -> Path:
    """Name this process's run as the training in *directory* named it before, or anew.

    Args:
        directory: The run directory.
        resumed: Whether the training goes on with what lies there.

    Returns:
        The file that holds the name.
    """
    path = directory / IDENTITY
    if getattr(rank_zero_only, "rank", 0) == 0:
        if not (resumed and path.exists()):
            directory.mkdir(parents=True, exist_ok=True)
            write_text(path, f"{secrets.token_hex(4)}\n")
        # By variables: the name in the configuration would make each config.yaml another.
        os.environ.setdefault("WANDB_RUN_ID", path.read_text().strip())
        os.environ.setdefault("WANDB_RESUME", "allow")
    return path


@contextlib.contextmanager
def own_run() -> Iterator[None]:
    """End the run with what is done inside, and leave the environment as it was."""
    before = {name: os.environ.get(name) for name in _VARIABLES}
    try:
        yield
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.run.finish(exit_code=int(sys.exc_info()[0] is not None))
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def start(loggers: Sequence[Logger]) -> None:
    """Begin the run before the work, so that a missing key is known at once.

    Raises:
        AframeError: If Weights & Biases refuses, or is not to be reached.
    """
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb  # noqa: PLC0415 (an extra)

            try:
                _ = logger.experiment
            except wandb.errors.Error as error:
                raise AframeError(
                    "Weights & Biases cannot be used",
                    found=" ".join(str(error).split()),
                    wanted_by="use_wandb, or WandbLogger in trainer.logger",
                    fix="log in by `wandb login` or WANDB_API_KEY, or set WANDB_MODE=offline and "
                    "send the run later by `wandb sync`",
                ) from error
