"""`aframe logs`: the log of a step or of one of its branches, of its last failure first."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aframe.artifacts.remote import here
from aframe.commands.run_directory import RunDirectory
from aframe.commands.steps import named
from aframe.errors import AframeError
from aframe.tasks.outlook import Outlook, outlooks, read_progress

_WORD = re.compile(r"(?P<step>[^\[\]]+)(?:\[(?P<branch>\d+)\])?")
_BETWEEN_LOOKS = 0.5


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Print the end of the log, and what is added to it while the step is at work."""
    match = _WORD.fullmatch(asked.task)
    if match is None:
        raise AframeError(
            "a step is named otherwise",
            found=asked.task,
            wanted_by="aframe logs",
            fix="name a step, or one of its branches: FetchTrain, FetchTrain[12]",
        )
    with run_directory.task_to_run(options) as task:
        each = _begun(named(match["step"], outlooks(task)))
    path = log_of(each, int(match["branch"]) if match["branch"] else None)
    sys.stderr.write(f"{path}\n")
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    sys.stdout.writelines(lines[-asked.lines :] if asked.lines else lines)
    if asked.follow:
        _follow(path, each)
    return 0


def _begun(steps: Sequence[Outlook]) -> Outlook:
    """Of steps of one name, the one that failed last, or else was at work last."""

    def key(each: Outlook) -> tuple[float, float]:
        log = _whole(each)
        return (each.failure.when if each.failure else 0.0, _changed(log))

    return max(steps, key=key)


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _whole(each: Outlook) -> Path:
    return here(each.step.directory) / "logs" / f"{each.step.verb}.log"


def log_of(each: Outlook, branch: int | None) -> Path:
    """Give the log of a step's last failure, or of all of it, or of one of its branches.

    Raises:
        AframeError: If there is none, or no such branch.
    """
    paths: list[Path] = []
    if branch is not None:
        paths = [Path(each_one["log"]) for each_one in attempts(each) if branch in _rows(each_one)]
        path = paths[-1] if paths else _whole(each)
    else:
        path = Path(each.failure.log) if each.failure else _whole(each)
        # A run directory that was moved, or a job's log that was removed.
        path = path if path.is_file() else _whole(each)
    if not path.is_file():
        raise AframeError(
            "there is no log yet",
            found=f"no {path}",
            wanted_by=f"aframe logs {each.name}",
            fix="run the step first; aframe plan tells what is to run",
        )
    if branch is not None and not paths:
        _refuse_absent(each, branch)
    return path


def _refuse_absent(each: Outlook, branch: int) -> None:
    """Refuse a branch that is none of those that the step's last run had."""
    count, unit = _branches(each)
    if branch < count:
        return
    there = f"its last run had {count} {unit}" if count else "nothing tells of its branches"
    known = f"give one of 0 to {count - 1}; " if count else ""
    raise AframeError(
        "there is no such branch",
        found=f"{each.name}[{branch}], though {there}",
        wanted_by="aframe logs",
        fix=f"{known}aframe logs {each.name} shows the log of the whole step",
    )


def _branches(each: Outlook) -> tuple[int, str]:
    """How many branches the last run of a step had, and what they are; 0 where it had none."""
    progress = read_progress(here(each.step.directory), each.step.verb)
    if progress is not None and progress.total:
        return progress.total, progress.unit or "branches"
    try:
        # Those that were laid down for a pool.
        tables = (each.step.condor_folder / "tables").glob("*.json")
        table = json.loads(max(tables, key=lambda path: int(path.stem)).read_text())
        return int(table["count"]), str(table["unit"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""


def attempts(each: Outlook) -> list[dict[str, Any]]:
    """What a pool was told to do of a step, oldest first; empty where none was."""
    path = here(each.step.directory) / "logs" / f"{each.step.verb}.jobs.json"
    try:
        return list(json.loads(path.read_text())["attempts"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _rows(attempt: dict[str, Any]) -> set[int]:
    """Numbers of the branches of an attempt; a text such as ``0-39,44``."""
    return set(_numbers(str(attempt.get("rows", ""))))


def _numbers(text: str) -> Iterator[int]:
    for part in re.findall(r"(\d+)(?:-(\d+))?", text):
        first = int(part[0])
        yield from range(first, int(part[1] or first) + 1)


def _follow(path: Path, each: Outlook) -> None:
    """Print what is added to the log, until the step is at work no more."""
    with path.open(errors="replace") as file:
        file.seek(0, 2)
        while True:
            progress = read_progress(here(each.step.directory), each.step.verb)
            text = file.read()
            sys.stdout.write(text)
            sys.stdout.flush()
            if not text and (progress is None or not progress.alive):
                return
            time.sleep(_BETWEEN_LOOKS)
