"""What jobs do: rows of a table, or a verb as a whole; with a shared disk, or without."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from aframe import images
from aframe.artifacts.record import (
    PREPARED,
    read_record,
    record_path,
    write_record,
    write_text,
)
from aframe.artifacts.remote import address, cache_directory
from aframe.checkout import CODE_IN_IMAGE, checkout
from aframe.sites import staging
from aframe.sites.pieces import Piece, rows_of, rows_text
from aframe.sites.step import PoolStep
from aframe.sites.submission import NAME, RETURNED, ROWS, SCRATCH, SENT, Batch, script
from aframe.stages import folders_of
from aframe.usage import Table, from_text, with_queue

#: Files of what jobs must not show: variables, and copies of the files that some of these name.
_SECRETS = "secrets."
_VARIABLES = f"{_SECRETS}env"


class _Shared:
    """What both kinds of work have in common.

    Args:
        step: The step.
        batch: Where its jobs keep their things.
    """

    def __init__(self, step: PoolStep, batch: Batch) -> None:
        self.step, self.batch = step, batch
        self._on_disk = step.terms.shared_disk

    def _home(self, piece: Piece) -> Path:
        return self.batch.homes / self.batch.name(piece)

    def report(self, piece: Piece) -> Mapping[str, Any] | None:
        """What the present attempt at *piece* reports, if it did."""
        name = f"{self.batch.name(piece)}.json"
        path = (
            self.step.reports / name
            if self._on_disk
            else self._home(piece) / RETURNED / staging.REPORT
        )
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):
            return None

    def _write_script(self, words: Sequence[str], folders: Iterable[Path]) -> None:
        """Write the script that each job runs, and the file of what it must not show."""
        given = self._given()
        secrets = _keep_secret(self.step.folder / _VARIABLES, images.file_of(given).encode())
        there = secrets if self._on_disk else Path(SCRATCH, SENT, _VARIABLES)
        binds = [*map(images.bind, folders), *images.named_by(given)] if self._on_disk else []
        text = script(
            self._command(words, binds, there),
            environment=_environment() if self._on_disk else {},
            secrets=there,
            shared_disk=self._on_disk,
        )
        write_text(self.batch.script, text)
        self.batch.script.chmod(0o755)

    def _given(self) -> dict[str, str]:
        """Variables that jobs get; of the files that they name, copies that jobs see."""
        given = self.step.terms.forwarded(images.with_files(os.environ))
        for name, value in given.items():
            if Path(value).is_absolute() and Path(value).is_file():
                copy = self.step.folder / f"{_SECRETS}{name}"
                _keep_secret(copy, Path(value).read_bytes())
                # Jobs without a shared disk begin in their folder, in an image or not.
                given[name] = str(copy if self._on_disk else Path(SENT, copy.name))
        return given

    def _command(self, words: Sequence[str], binds: list[str], secrets: Path) -> list[str]:
        """The words that run the stage's command on the machine that a job gets."""
        stage = self.step.stage
        if stage.image is None:
            return stage.words(words, [])
        if stage.dev:
            binds = [*binds, images.bind(checkout("--dev"), CODE_IN_IMAGE)]
        environment = {"AFRAME_CACHE_DIR": str(cache_directory())} if self._on_disk else {}
        return images.words(
            [stage.program, *words],
            stage.image if self._on_disk else f"{SCRATCH}/{SENT}/{stage.image.name}",
            home=SCRATCH,
            binds=binds,
            environment={"TMPDIR": SCRATCH, **environment},
            gpus=bool(self.step.request.gpus),
            environment_file=secrets,
        )

    def _send_along(self, home: Path) -> None:
        """Have the image and the secrets go along."""
        image = self.step.stage.image
        for path in (*([image] if image else []), *self.step.folder.glob(f"{_SECRETS}*")):
            staging.send_file(home, path, path.name)


def _keep_secret(path: Path, content: bytes) -> Path:
    """Write a file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def forget_secrets(folder: Path) -> None:
    """Remove from *folder* what jobs must not show, when there are none that want it."""
    for path in folder.glob(f"{_SECRETS}*"):
        path.unlink()


class RowsWork(_Shared):
    """Rows of the table that a verb dealt.

    Args:
        step: The step.
        batch: Where its jobs keep their things.
        dealt: What the table holds.
    """

    def __init__(self, step: PoolStep, batch: Batch, dealt: Mapping[str, Any]) -> None:
        super().__init__(step, batch)
        self.dealt = dealt
        self._table = step.tables / dealt["table"]

    @cached_property
    def _writes(self) -> list[list[Path]]:
        roots = self.dealt["roots"]
        return [[Path(roots[root], below) for root, below in some] for some in self.dealt["writes"]]

    def prepare(self, pieces: Sequence[Piece]) -> None:
        """Lay down what the present attempts at *pieces* need."""
        self._write_script(self._words, self._folders)
        for piece in () if self._on_disk else pieces:
            home = self._home(piece)
            self._send_along(home)
            staging.send_rows(home, self.dealt, self._table, rows_of(piece.rows))

    @property
    def _words(self) -> list[str]:
        workers = ["--workers", str(self.step.request.cpus)]
        rows = ["branches", "--rows", ROWS, *workers]
        if self._on_disk:
            report = str(self.step.reports / f"{NAME}.json")
            return [*rows, "--table", str(self._table), "--report", report]
        table, report = f"{SCRATCH}/{SENT}/branches.table", f"{SCRATCH}/{RETURNED}/{staging.REPORT}"
        return [*rows, "--table", table, "--report", report, *staging.roots_there(self.dealt)]

    @property
    def _folders(self) -> list[Path]:
        roots = [Path(root) for root in self.dealt["roots"].values()]
        seen = {root if root.is_dir() else root.parent for root in roots}
        return sorted({self.step.folder, *folders_of(self.step.step.settings), *seen})

    def collect(self, piece: Piece) -> None:
        """Bring back what the present attempt at *piece* has made."""
        if not self._on_disk:
            staging.take_back(self._home(piece), self.step.output)

    def left(self, piece: Piece) -> str | None:
        """Which rows of *piece* are not done, as text; ``None`` if all are."""
        rows = rows_of(piece.rows)
        return rows_text([r for r in rows if not all(p.exists() for p in self._writes[r])]) or None

    def by_hand(self, piece: Piece) -> list[str]:
        """The command that does *piece* here."""
        words = ["branches", "--table", str(self._table), "--rows", piece.rows]
        return self.step.stage.words(words, self._folders)

    def account(self, report: Mapping[str, Any] | None, waited: float) -> None:
        """Keep what the branches of an attempt used, which waited so long (s)."""
        rows = [from_text(row) for row in (report or {}).get("accounting", ())]
        kept = self.step.draft / ".work"
        if rows and kept.is_dir():
            Table(kept / "accounting.csv").add(with_queue(rows, waited))


class WholeWork(_Shared):
    """A verb as a whole, in one job.

    Args:
        step: The step.
        batch: Where its job keeps its things.
    """

    def __init__(self, step: PoolStep, batch: Batch) -> None:
        super().__init__(step, batch)
        self._waited = 0.0

    @property
    def _config(self) -> Path:
        return self.step.output / "logs" / f"{self.step.step.verb}.settings.json"

    def _words(self, config: str) -> list[str]:
        remake = ["--remake"] if self.step.remake and self._on_disk else []
        return [self.step.step.verb, "--config", config, *remake]

    def prepare(self, pieces: Sequence[Piece]) -> None:
        """Lay down the settings and what they name."""
        settings, folders = self.step.step.settings, folders_of(self.step.step.settings)
        write_text(self._config, json.dumps(settings, indent=2) + "\n")
        there = str(self._config) if self._on_disk else f"{SCRATCH}/{SENT}/settings.json"
        self._write_script(self._words(there), folders)
        for piece in () if self._on_disk else pieces:
            home = self._home(piece)
            self._send_along(home)
            staging.send_settings(home, settings)

    def collect(self, piece: Piece) -> None:
        """Bring back what the job has made; its record is told how long it waited."""
        verb = self.step.step.verb
        if not self._on_disk:
            inputs = self.step.step.settings.get("inputs") or {}
            given = {name: Path(path) for name, path in inputs.items() if path}
            staging.take_verb_back(self._home(piece), self.step.output, verb, given)
            _tell_wait(self.step.draft / PREPARED, self._waited)
        # On S3 the job has left its record for good, with what it knew of its wait.
        elif not address(self.step.step.settings["output"]) and self.step.published():
            _tell_wait(record_path(self.step.output, verb), self._waited)

    def left(self, _piece: Piece) -> str | None:
        """Blank while the verb's output is not here; ``None`` once it is."""
        returned = not self._on_disk and self.step.returned
        return None if returned or self.step.published() else ""

    def by_hand(self, _piece: Piece) -> list[str]:
        """The command that runs the verb here."""
        words = self._words(str(self._config))
        return self.step.stage.words(words, folders_of(self.step.step.settings))

    def account(self, _report: Mapping[str, Any] | None, waited: float) -> None:
        """Add to how long attempts waited (s): what they used, the verb's own record tells."""
        self._waited += waited


def _tell_wait(path: Path, waited: float) -> None:
    """Have a record that tells what was used tell how long that waited (s), too."""
    record = read_record(path)
    if record is not None and record.usage:
        usage = {**record.usage, "queue": round(waited, 3)}
        write_record(path, replace(record, usage=usage))


def _environment() -> dict[str, str]:
    """Variables of ours that mean the same wherever the run directory is seen.

    Scratch is the job's own.
    """
    mine = {name: value for name, value in os.environ.items() if name.startswith("AFRAME_")}
    return {name: value for name, value in mine.items() if name != "AFRAME_TMPDIR"}
