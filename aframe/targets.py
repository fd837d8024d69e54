"""Outputs that know whether they were made with the settings asked for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import law

from aframe import sources
from aframe.artifacts.record import (
    Record,
    differences,
    input_digest,
    is_whole,
    named_inputs,
    read_record,
)
from aframe.artifacts.remote import address, copy_of, place

#: Settings, and the paths of inputs by name.
Asked = tuple[Mapping[str, Any], Mapping[str, Path | None]]


class RecordedTarget(law.LocalFileTarget):
    """A file that counts as existing only when its record says how it was made.

    Args:
        path: The file or folder.
        record: Path of the record that lists it.
        asked: Gives the settings and inputs that are wanted now.
    """

    def __init__(self, path: Path, *, record: Path, asked: Callable[[], Asked]) -> None:
        super().__init__(str(path))
        self.record_path = record
        self.asked = asked

    def exists(self, **_options: Any) -> bool:
        """Whether the file is whole and was made with the settings asked for."""
        record = read_record(self.record_path)
        return self._is_whole(record) and not self.stale(record)

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
        record = read_record(self.record_path)
        options.pop("exists", None)
        plain = super().status_text(max_depth, flags, exists=self._is_whole(record), **options)
        changed = self.stale(record)
        if changed:
            return _colored(f"made with other settings: {'; '.join(changed)}", **options)
        if record is not None and Path(self.path).exists() and not self._is_whole(record):
            return f"{plain} (cut short)"
        if record is None and Path(self.path).exists():
            return f"{plain} (a file without a record is in the way)"
        return plain

    def _is_whole(self, record: Record | None) -> bool:
        return record is not None and is_whole(record, self.record_path.parent)


def _asked_of(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Leave of what is *recorded* what was *asked*: a stage fills in what a task leaves to it."""
    left = {name: recorded[name] for name in recorded if name in asked}
    if left.get("source") and asked["source"]:
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

    Nothing is asked of a store and nothing fetched. An input that is gone or on S3 keeps the
    digest it had, if the record names the same place; from another place what was fetched counts.
    """
    digests: dict[str, str] = {}
    elsewhere: list[str] = []
    for name, path in inputs.items():
        if path is None:
            continue
        copy, asked = copy_of(path), place(path)
        read = record.places.get(name, "null")
        if name in record.inputs and not path.exists() and _is_there(record, name, output, asked):
            digests[name] = record.inputs[name]
        elif copy.exists():
            digests[name] = input_digest(copy)
        else:
            if name in record.inputs:
                digests[name] = record.inputs[name]
            elsewhere.append(f"input {name}: {read} -> {asked}, not known to be the same")
    return digests, elsewhere


def _is_there(record: Record, name: str, output: Path, asked: str) -> bool:
    """Whether an input was read at the place *asked* for, or has moved with its *output*."""
    if name not in record.places or record.places[name] == asked:
        return True
    before = os.path.relpath(record.places[name], record.places["output"])
    return not address(asked) and before == os.path.relpath(asked, output)


def _colored(text: str, *, color: bool = False) -> str:
    return law.util.colored(text, "yellow") if color else text
