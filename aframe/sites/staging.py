"""What goes with a job that sees none of our disks, and what comes back from it."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aframe.artifacts.record import (
    PREPARED,
    draft_path,
    input_digest,
    read_record,
    write_record,
)
from aframe.artifacts.remote import place
from aframe.sites.submission import RETURNED, SCRATCH, SENT
from aframe.stages import before_pattern

#: Where a job reports.
REPORT = "report.json"


def send_file(home: Path, source: Path, name: str) -> None:
    """Have the file *source* go along as *name*, as a link: HTCondor sends what it leads to."""
    target = home / SENT / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink():
        target.symlink_to(source.resolve())


def send(home: Path, source: Path, name: str) -> None:
    """Have a file or all files of a folder go along as *name*; what is not there does not.

    Links to folders are none that HTCondor would follow, so that each file is linked by itself.
    """
    if not source.is_dir():
        if source.exists():
            send_file(home, source, name)
        return
    (home / SENT / name).mkdir(parents=True, exist_ok=True)
    for folder, _, files in os.walk(source, followlinks=True):
        for file in files:
            path = Path(folder, file)
            send_file(home, path, str(Path(name, path.relative_to(source))))


def sent_root(name: str) -> str:
    """Where what lies below the root *name* of a table goes along."""
    return "output" if name == "output" else f"roots/{name}"


def send_rows(home: Path, dealt: Mapping[str, Any], table: Path, rows: Iterable[int]) -> None:
    """Have the table go along, and what its *rows* read."""
    send_file(home, table, "branches.table")
    for row in rows:
        for root, below in dealt["reads"][row]:
            source = Path(dealt["roots"][root], below)
            send(home, source, str(Path(sent_root(root), below)))


def roots_there(dealt: Mapping[str, Any]) -> list[str]:
    """The words that tell a job where the roots of its table lie in its folder."""
    lie = {
        name: RETURNED if name == "output" else f"{SENT}/{sent_root(name)}"
        for name in dealt["roots"]
    }
    given = (f"{name}={SCRATCH}/{folder}" for name, folder in lie.items())
    return [word for each in given for word in ("--root", each)]


def send_settings(home: Path, settings: Mapping[str, Any]) -> None:
    """Have a verb's whole settings go along, with the files of its inputs, records and source.

    A job's folder is no part of them: the script goes there before all else.
    """

    def sent(name: str, path: Any) -> Any:
        """Send what is here of *path*, which may be a pattern; gives where it lies there."""
        if not isinstance(path, str) or not Path(path).is_absolute():
            return path
        is_plain = Path(path).exists()
        found = [path] if is_plain else glob.glob(path, recursive=True)  # noqa: PTH207 (absolute)
        top, along = Path(path).parent if is_plain else before_pattern(path), Path("roots", name)
        for each in found:
            send(home, Path(each), str(along / Path(each).relative_to(top)))
        return str(Path(SENT) / along / Path(path).relative_to(top)) if found else path

    inputs = {name: sent(name, path) for name, path in (settings.get("inputs") or {}).items()}
    resources = {**settings["resources"]}
    if "records" in resources:
        records = enumerate(resources["records"])
        resources["records"] = [sent(f"records.{n}", path) for n, path in records]
    told = {**settings, "output": RETURNED, "resources": resources}
    if inputs:
        told["inputs"] = inputs
    source = settings.get("source") or {}
    if "paths" in source:
        paths = [sent(f"paths.{n}", path) for n, path in enumerate(source["paths"])]
        told["source"] = {**source, "paths": paths}
    if "psds" in source:
        psds = {ifo: sent(f"psds.{ifo}", path) for ifo, path in source["psds"].items()}
        told["source"] = {**source, "psds": psds}
    path = home / SENT / "settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2) + "\n")


def take_back(home: Path, output: Path) -> None:
    """Move what a job made into the output directory, each file by rename, and tidy up."""
    returned = home / RETURNED
    (returned / REPORT).unlink(missing_ok=True)
    for source in sorted(path for path in returned.rglob("*") if path.is_file()):
        target = output / source.relative_to(returned)
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(source, target)
    shutil.rmtree(home, ignore_errors=True)


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError:  # another disk
        draft = target.with_name(f".{target.name}.landing")
        shutil.copy2(source, draft)
        draft.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def take_verb_back(home: Path, output: Path, verb: str, inputs: Mapping[str, Path]) -> None:
    """Lay what a whole verb made where the same verb, run here, only has to publish it.

    Args:
        home: The job's folder.
        output: The output directory.
        verb: The verb.
        inputs: Where its inputs lie here: the record is to name these. Large ones are told apart
            by their time of change, which those that went along have not kept.
    """
    returned, draft = home / RETURNED, draft_path(output, verb)
    record = read_record(returned / f"{verb}.record.json")
    if record is None:
        return
    draft.mkdir(parents=True, exist_ok=True)
    (draft / PREPARED).unlink(missing_ok=True)
    for name in {Path(file).parts[0] for file in record.outputs}:
        # What is no longer there was moved before a kill.
        if (returned / name).exists():
            _remove(draft / name)
            shutil.move(returned / name, draft / name)
    accounting = returned / "logs" / f"{verb}.branches.csv"
    if accounting.exists():
        shutil.move(accounting, output / "logs" / accounting.name)
    places = {name: place(path) for name, path in {**inputs, "output": output}.items()}
    here = {name: input_digest(path) for name, path in inputs.items() if path.exists()}
    same = replace(record, places={**record.places, **places}, inputs={**record.inputs, **here})
    write_record(draft / PREPARED, same)
    shutil.rmtree(home, ignore_errors=True)
