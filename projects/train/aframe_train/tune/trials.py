"""The trials of a search, as they lie in its storage.

A trial is a directory: what it tries and how it went (``trial.json``), the training's own
files, and a mark where it was stopped (``stopped``). All that is known of a search is
read from there, so a search that was killed goes on from the trials that it left.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aframe.artifacts.record import write_text
from aframe.artifacts.remote import Remote, place
from aframe.errors import AframeError
from aframe_train.outputs import PICTURES

STATE, STOPPED, _CLAIM = "trial.json", "stopped", "search.json"
#: What a training needs to go on on another machine, and what the next stages read.
KEPT = (
    "metrics.csv", "last.ckpt", "best.ckpt", "model.pt", "config.yaml", "preprocessing.json",
    "batch.hdf5", "val_batch.hdf5", "train.log", "wandb_run_id",
)  # fmt: skip


@dataclass
class Trial:
    """A trial.

    Args:
        number: Its number.
        settings: What it tries, by key of the training configuration.
        status: ``waiting``, ``running``, ``finished``, ``stopped`` or ``failed``.
        scores: Validation score of each epoch.
        times: When each of them was known (s since 1970).
        reason: Why it failed, in one line.
    """

    number: int
    settings: dict[str, Any]
    status: str = "waiting"
    scores: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    reason: str = ""

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return len(self.scores)

    @property
    def score(self) -> float:
        """Best score, which is that of the weights that are kept; NaN before the first."""
        return best(self.scores)

    @property
    def ended(self) -> bool:
        """Whether no later run of the search trains it any further."""
        return self.status in ("finished", "stopped")


def best(scores: Iterable[float]) -> float:
    """Highest of the *scores* that are numbers, or NaN."""
    return max((score for score in scores if not math.isnan(score)), default=math.nan)


class Storage:
    """Where the trials of a search are kept.

    Args:
        address: A directory, or the ``s3://`` address of one.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._remote = Remote(address) if "://" in address else None

    @property
    def remote(self) -> bool:
        """Whether it is not at hand."""
        return self._remote is not None

    def read(self, name: str) -> str | None:
        """Read a small file, or give ``None`` where there is none."""
        try:
            if self._remote is None:
                return Path(self.address, name).read_text()
            return self._remote.read(name).decode()
        except FileNotFoundError:
            return None
        except AframeError as error:
            told = getattr(error.__cause__, "response", {})
            if told.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise

    def write(self, name: str, text: str) -> None:
        """Write a small file, whole or not at all."""
        if self._remote is None:
            path = Path(self.address, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
            return
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            self._remote.upload(Path(file.name), name)

    def fetch(self, number: int, scratch: Path) -> Path:
        """Give the directory of a trial, below *scratch* where the storage is not at hand."""
        here = (Path(self.address) if self._remote is None else scratch) / folder(number)
        here.mkdir(parents=True, exist_ok=True)
        if self._remote is not None:
            there = Remote(f"{self.address}/{folder(number)}")
            for name in there.entries():
                if name in KEPT or name.startswith(f"{PICTURES}/"):
                    there.download(name, here / name)
        return here

    def keep(self, number: int, here: Path, names: Iterable[str] = KEPT) -> None:
        """Keep files of a trial that were written in *here*, the directory of it, and pictures."""
        if self._remote is None:
            return
        drawn = {f"{PICTURES}/{path.name}" for path in (here / PICTURES).glob("[!.]*")}
        if drawn:
            drawn -= Remote(f"{self.address}/{folder(number)}").entries().keys()
        for name in (*names, *sorted(drawn)):
            if (here / name).exists():
                self._remote.upload(here / name, f"{folder(number)}/{name}")


def open_storage(storage_dir: str | None, name: str, *, default: Path) -> Storage:
    """Give the storage of the search *name*: its folder in *storage_dir*, or *default*."""
    if storage_dir is None:
        return Storage(place(default))
    if "://" in storage_dir:
        return Storage(f"{storage_dir.rstrip('/')}/{name}")
    return Storage(str(Path(storage_dir, name).expanduser().absolute()))


def folder(number: int) -> str:
    """Name of a trial's directory.

    Example:
        >>> folder(7)
        'trial-0007'
    """
    return f"trial-{number:04d}"


def read_trial(storage: Storage, number: int, settings: Mapping[str, Any]) -> Trial:
    """Read how a trial went, or begin with one that tries *settings*."""
    text = storage.read(f"{folder(number)}/{STATE}")
    if text is None:
        return Trial(number, dict(settings))
    trial = Trial(**json.loads(text))
    if trial.status == "running" and storage.read(f"{folder(number)}/{STOPPED}") is not None:
        trial.status = "stopped"
    return trial


def write_trial(storage: Storage, trial: Trial) -> None:
    """Keep how a trial went."""
    storage.write(f"{folder(trial.number)}/{STATE}", json.dumps(asdict(trial), indent=1))


def mark_stopped(storage: Storage, number: int, epochs: int) -> None:
    """Keep that a trial is not to go on."""
    storage.write(f"{folder(number)}/{STOPPED}", f"after {epochs} epochs\n")


def refuse_unwritable(directory: Path, name: str) -> None:
    """Refuse a directory that could not be made or written.

    Args:
        directory: The directory, which need not be there.
        name: What the user calls it.

    Raises:
        AframeError: It names what is in the way.
    """
    directory = directory.absolute()
    near = next(each for each in (directory, *directory.parents) if os.access(each, os.F_OK))
    if not (near.is_dir() and os.access(near, os.W_OK | os.X_OK)):
        raise AframeError(
            "a directory of the search cannot be written",
            found=f"{near} is {'not writable' if near.is_dir() else 'no directory'}",
            wanted_by=f"{name} {directory}",
            fix="choose another place, or correct its permissions",
        )


def refuse_other_search(storage: Storage, asked: Mapping[str, Any]) -> None:
    """Refuse a storage with trials of another search.

    Args:
        storage: Where the trials are kept.
        asked: What decides how a trial goes, by name.

    Raises:
        AframeError: If its trials were made with other settings.
    """
    there = json.loads(storage.read(_CLAIM) or json.dumps(asked))
    now = json.loads(json.dumps(asked))
    changed = [name for name in now if now[name] != there.get(name)]
    if changed:
        raise AframeError(
            "the storage holds the trials of another search",
            found=f"{storage.address}: other {', '.join(changed)}",
            wanted_by="the search",
            fix="give the search another name or storage_dir, or remove that folder",
        )


def claim(storage: Storage, asked: Mapping[str, Any]) -> None:
    """Keep what decides how the trials of a storage go."""
    storage.write(_CLAIM, json.dumps(asked, indent=1))
