"""Where a verb writes until its files are published, and how far it is."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aframe.artifacts.mirror import Mirror
from aframe.artifacts.record import write_text
from aframe.usage import Table

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES, _SECONDS_BETWEEN_STATES = 5.0, 2.0


@dataclass(frozen=True)
class Deal:
    """Where branches are laid down for others to do.

    Args:
        directory: Gets a table of the branches.
        roots: Folders and files by name, below which paths mean the same wherever they lie.
    """

    directory: Path
    roots: Mapping[str, Path]


@dataclass
class Draft:
    """Where a verb writes until its files are published.

    Args:
        path: Directory of the files to publish.
        notes: What the verb wants kept in the record.
        mirror: Where an output on S3 is kept.
        deal: Where branches are laid down instead of being done; ``None`` does them here.
        status: What says how far it is, besides the log.
        run: Name of this run of the verb, among those that added to one draft.
    """

    path: Path
    notes: dict[str, Any] = field(default_factory=dict)
    mirror: Mirror | None = None
    deal: Deal | None = None
    status: Status | None = None
    run: str = ""
    _said: float = 0.0

    @property
    def work(self) -> Path:
        """Scratch directory that outlives a kill and is not published."""
        path = self.path / ".work"
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def accounting(self) -> Table:
        """What the branches that are done used."""
        return Table(self.work / "accounting.csv")

    def keep(self, path: Path, *, wait: bool = False) -> None:
        """Send a file of :attr:`work` to where an output on S3 resumes from; else do nothing.

        What is sent with *wait* is there before anything that is sent after it.
        """
        if self.mirror is not None:
            self.mirror.keep(path, wait=wait)

    def add(self, paths: Iterable[Path]) -> None:
        """Send files that stay as they are to where an output on S3 resumes from; else do nothing.

        They are sent beside the work, and no longer once that is done.
        """
        if self.mirror is not None:
            for path in paths:
                self.mirror.add(path)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far the work is, at most every few seconds and at its end."""
        if self.status is not None:
            self.status.tell("running", unit=unit, done=done, total=total)
        now = time.monotonic()
        if done == total or now - self._said > _SECONDS_BETWEEN_LINES:
            self._said = now
            log.info("%d of %d %s", done, total, unit)


class Status:
    """A file that says how far a step is, for whoever looks on.

    Args:
        path: The file; nothing is written where its folder is not there.
        step: The stage and verb, such as ``aframe-data fetch``.
    """

    def __init__(self, path: Path, step: str) -> None:
        self.path = path
        self._said: dict[str, Any] = {
            "step": step,
            "unit": None,
            "done": None,
            "total": None,
            "started": time.time(),
            "host": platform.node(),
            "pid": os.getpid(),
        }
        self._last = (0.0, "")

    def tell(self, state: str, **more: Any) -> None:
        """Say that the step is ``running``, ``dealt``, ``done``, ``failed`` or ``interrupted``.

        Args:
            state: One of these; ``running`` is said again only every two seconds.
            more: ``unit``, ``done`` and ``total`` of its branches, or the ``branch`` that failed.
        """
        self._said.update(more)
        now = time.time()
        before, said = self._last
        if (state == said == "running" and now - before < _SECONDS_BETWEEN_STATES) or not (
            self.path.parent.is_dir()
        ):
            return
        self._last = (now, state)
        write_text(self.path, json.dumps({**self._said, "state": state, "updated": now}) + "\n")
