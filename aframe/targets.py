"""Outputs that know whether they were made with the settings asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import law

from aframe import sources
from aframe.artifacts.inventory import exists, forget, is_whole, read_record, recorded_digest
from aframe.artifacts.record import (
    Record,
    differences,
    input_digest,
    look_again,
    named_inputs,
    one_look,
)
from aframe.artifacts.remote import Remote, address, copy_of, here, place
from aframe.errors import AframeError

#: Settings, and the paths of inputs by name.
Asked = tuple[Mapping[str, Any], Mapping[str, Path | None]]


class RecordedTarget(law.LocalFileTarget):
    """A file that counts as existing only when its record says how it was made.

    Args:
        path: The file or folder, here or on S3.
        record: Path of the record that lists it.
        asked: Gives the settings and inputs that are wanted now.
    """

    def __init__(self, path: Path, *, record: Path, asked: Callable[[], Asked]) -> None:
        super().__init__(address(path) or str(path))
        self.record_path = record
        self.asked = asked

    def exists(self, **_options: Any) -> bool:
        """Whether the file is whole and was made with the settings asked for.

        Raises:
            AframeError: If it is on S3 and the store does not tell.
        """
        record = read_record(self.record_path)
        return self._is_whole(record) and not self.stale(record)

    def uri(self, *, scheme: bool = True, return_all: bool = False, **options: Any) -> Any:
        """Where it lies, as law shows it."""
        at = address(self.path)
        if at is None:
            return super().uri(scheme=scheme, return_all=return_all, **options)
        return [at] if return_all else at

    def remove(self, *, silent: bool = True, **options: Any) -> None:
        """Remove it; of what lies on S3 also the copy here, which would be sent again."""
        at = address(self.path)
        if at is None:
            super().remove(silent=silent, **options)
            look_again()
            return
        directory, _, name = at.rpartition("/")
        remote = Remote(directory)
        there = [each for each in remote.entries() if each == name or each.startswith(f"{name}/")]
        remote.remove(there)
        mine = here(at)
        for path in [mine, *mine.rglob("*")]:
            if path.is_file():
                path.unlink()
        forget()

    def stale(self, record: Record | None = None, remade: Collection[Path] = ()) -> list[str]:
        """The settings and inputs that differ from those asked for, one line each.

        Args:
            record: What the output's record says, if it is known already.
            remade: Inputs that are about to be made anew, so that what they hold now says nothing.
        """
        record = record or read_record(self.record_path)
        if record is None:
            return []
        settings, inputs = self.asked()
        same = dataclasses.replace(record, settings=_asked_of(record.settings, settings))
        there = {name: path for name, path in inputs.items() if path not in remade}
        gone = {name: made for name, made in record.inputs.items() if inputs.get(name) in remade}
        digests, elsewhere = _compared(record, self.record_path.parent, there)
        found = gone | digests | named_inputs(settings)
        if "prior" in record.inputs:
            # In an image there may be a population's module that cannot be found here.
            found.setdefault("prior", record.inputs["prior"])
        return differences(same, settings, found) + elsewhere

    def status_text(self, max_depth: int = 0, flags: Any = None, **options: Any) -> str:
        """What ``--print-status`` shows: absent, existent, cut short, or which settings differ."""
        try:
            with one_look():
                return self._status_text(max_depth, flags, **options)
        except AframeError as error:
            return _colored(f"not known: {error.problem}", **options)

    def _status_text(self, max_depth: int, flags: Any, **options: Any) -> str:
        record = read_record(self.record_path)
        options.pop("exists", None)
        plain = super().status_text(max_depth, flags, exists=self._is_whole(record), **options)
        changed = self.stale(record)
        if changed:
            return _colored(f"made with other settings: {'; '.join(changed)}", **options)
        if record is not None and exists(self.path) and not self._is_whole(record):
            return f"{plain} (cut short)"
        if record is None and exists(self.path):
            return f"{plain} (a file without a record is in the way)"
        return plain

    def _is_whole(self, record: Record | None) -> bool:
        return record is not None and is_whole(record, self.record_path.parent)


def _asked_of(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Leave of what is *recorded* what was *asked*: a stage fills in what a task leaves to it."""
    left = {name: recorded[name] for name in recorded if name in asked}
    if isinstance(left.get("source"), Mapping) and asked["source"]:
        # A key that a source leaves out has its default, so that taking it out is a change.
        left["source"] = {
            key: value
            for key, value in left["source"].items()
            if key in asked["source"] or (value and value != sources.DEFAULTS.get(key))
        }
    return left


def _compared(
    record: Record, output: Path, inputs: Mapping[str, Path | None]
) -> tuple[dict[str, str], list[str]]:
    """Digest of each input, and a line for each that cannot be known to be what was read.

    No data are fetched. An input on S3 has the digest that the record beside it lists. One of which
    no record tells, or that is gone, keeps the digest it had, if it lay at the same place; from
    another place what was fetched counts.
    """
    digests: dict[str, str] = {}
    elsewhere: list[str] = []
    for name, path in inputs.items():
        if path is None:
            continue
        copy, asked = copy_of(path), place(path)
        read = record.places.get(name, "null")
        if (recorded := _recorded(path)) is not None:
            digests[name] = recorded
        elif name in record.inputs and not path.exists() and _is_there(record, name, output, asked):
            digests[name] = record.inputs[name]
        elif copy.exists():
            digests[name] = input_digest(copy)
        else:
            if name in record.inputs:
                digests[name] = record.inputs[name]
            elsewhere.append(f"input {name}: {read} -> {asked}, not known to be the same")
    return digests, elsewhere


def _recorded(path: Path) -> str | None:
    # Of the run's own directories a store that does not answer is told elsewhere.
    with contextlib.suppress(AframeError):
        return recorded_digest(path)
    return None


def _is_there(record: Record, name: str, output: Path, asked: str) -> bool:
    """Whether an input was read at the place *asked* for, or has moved with its *output*."""
    if name not in record.places or record.places[name] == asked:
        return True
    # Of addresses these are the same, since each is taken for a path below the present folder.
    before = os.path.relpath(record.places[name], record.places["output"])
    return before == os.path.relpath(asked, place(output))


def _colored(text: str, *, color: bool = False) -> str:
    return law.util.colored(text, "yellow") if color else text
