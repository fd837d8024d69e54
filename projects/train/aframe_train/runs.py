"""A training's run directory, also on S3, and its checkpoints, which are sent as they come."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any, Protocol

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer

from aframe.artifacts.cache import fetch
from aframe.artifacts.claim import Claim
from aframe.artifacts.mirror import Mirror
from aframe.artifacts.remote import Remote, address, here
from aframe_train.callbacks import LAST


class Keep(Protocol):
    """Sends a file from which a training resumes to where it is kept."""

    def __call__(self, path: Path, *, wait: bool) -> None:
        """Send the file at *path*, and *wait* until it is there or let the training go on."""


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that a kill leaves as they were, or as they are to be.

    Lightning writes one where temporary files go and then moves it: to another disk, that is a
    copy, of which a kill leaves a part.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint beside its place, and rename it."""
        draft = Path(path).with_name(f".{Path(path).name}.draft")
        super().save_checkpoint(checkpoint, draft, storage_options)
        draft.replace(path)


class SentCheckpoints(WholeCheckpoints):
    """Checkpoints on this machine's disk, each of which is then sent.

    The last one is sent beside the training; any other is there before it.

    Args:
        keep: Sends a file.
    """

    def __init__(self, keep: Keep) -> None:
        self.keep = keep

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, and send it."""
        super().save_checkpoint(checkpoint, path, storage_options)
        self.keep(Path(path), wait=Path(path).stem != LAST)


def keep(trainer: Trainer, path: Path) -> None:
    """Send a file of the run directory where checkpoints are sent; it is there before the next."""
    checkpoints = trainer.strategy.checkpoint_io
    if isinstance(checkpoints, SentCheckpoints):
        checkpoints.keep(path, wait=True)


class RemoteRun:
    """A run directory on S3, and the directory of this machine that stands for it.

    Args:
        address: ``s3://bucket/key``.

    Raises:
        AframeError: If another run is writing there.
    """

    def __init__(self, address: str) -> None:
        self.directory = here(address)
        self.remote = Remote(address)
        mirror = Mirror(address, "fit", "")
        self.keep: Keep = mirror.keep
        self.claim = mirror.claim = Claim(self.remote, ".claim.json")
        there = self.remote.entries()
        if getattr(rank_zero_only, "rank", 0) == 0:
            self.claim.hold()
            atexit.register(self.claim.release)
        if there:
            fetch(address, self.directory)

    def push(self) -> None:
        """Send all files but those whose name begins with a dot, and leave the place to others."""
        self.claim.hold()
        for path in sorted(self.directory.rglob("*")):
            name = path.relative_to(self.directory).as_posix()
            if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
                self.remote.upload(path, name)
        self.claim.release()


def several(loggers: Any) -> list[Any]:
    """Give the configurations of loggers, of which there may be one, many or none."""
    listed = loggers if isinstance(loggers, list) else [loggers]
    return [each for each in listed if hasattr(each, "init_args")]


def fetch_run(loggers: list[Any]) -> RemoteRun | None:
    """Have loggers write on this machine what they are told to write on S3.

    No shell expands the ``~`` of ``--trainer.logger.save_dir=~/run``, so this does.

    Args:
        loggers: Configurations of the training's loggers; their ``save_dir`` is changed.

    Returns:
        The run directory, which is where the first logger writes, if it is on S3.
    """
    options = [each.init_args for each in loggers]
    addresses = [address(each.get("save_dir") or "") for each in options]
    for each, at in zip(options, addresses, strict=True):
        if each.get("save_dir"):
            each.save_dir = str(here(at or each.save_dir).expanduser())
    return RemoteRun(addresses[0]) if addresses and addresses[0] else None
