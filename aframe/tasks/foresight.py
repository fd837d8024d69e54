"""What is wrong with the steps that are still to run, told before the first of them runs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import law

from aframe.artifacts.inventory import exists
from aframe.artifacts.remote import cache_directory, copy_of, place
from aframe.checkout import CODE_IN_IMAGE, code_digest
from aframe.errors import AframeError
from aframe.stages import Stage, Step

#: How long it is remembered that a step was looked through (s).
_REMEMBERED = 30 * 86400.0
#: Steps that were looked through in this process: luigi asks of each task several times.
_seen: set[str] = set()
_code = functools.cache(code_digest)


def unfinished(task: Any) -> list[Any]:
    """Steps among *task* and all it rests on that are to be run, in an order they can run in."""
    looked: dict[str, bool] = {}
    todo: list[Any] = []

    def is_open(step: Any) -> bool:
        if step.task_id not in looked:
            below = [is_open(each) for each in required(step)]
            mine = step.publishes and (any(below) or not all(m.exists() for m in records(step)))
            if mine:
                todo.append(step)
            looked[step.task_id] = any(below) or bool(mine)
        return looked[step.task_id]

    is_open(task)
    return todo


def refuse_missing_inputs(steps: Iterable[Any], made: Iterable[Path] = ()) -> None:
    """Refuse to begin where a file that no step makes is not there.

    Args:
        steps: What is to run.
        made: What is made besides.

    Raises:
        AframeError: It names the step and the file.
    """
    steps = list(steps)
    made = {*made} | {Path(output.path) for step in steps for output in outputs(step)}
    for step in steps:
        for name, path in step.inputs().items():
            if path is None or path in made or _is_in_image(step, path) or exists(path):
                continue
            raise AframeError(
                "an input is missing",
                found=f"{place(path)} does not exist",
                wanted_by=f"{step.task_family}, as its {name}",
                fix="correct the path, or put the file there",
            )


def _is_in_image(step: Any, path: Path) -> bool:
    return step.where.image is not None and path.is_relative_to(CODE_IN_IMAGE)


def refuse_wrong(steps: Iterable[Any], *, remember: bool = True) -> None:
    """Refuse steps that their stages know to be wrong; each stage is asked once, side by side.

    Args:
        steps: What is to run.
        remember: Whether to leave out what an earlier run looked through and found right, with
            the same settings, files and code; and to keep the same of these.

    Raises:
        AframeError: What the first stage says that refuses one.
    """
    stages: defaultdict[Stage, list[Step]] = defaultdict(list)
    marks = []
    for step in steps:
        key = _all_that_decides(step)
        mark = cache_directory() / ".looked-through" / key
        if key not in _seen and not (remember and mark.exists()):
            stages[step.where].append(Step(step.task_family, step.verb, step.settings_file()))
            marks.append(mark)
        _seen.add(key)
    if not stages:
        return
    count = sum(map(len, stages.values()))
    sys.stderr.write(f"looking through the settings of {count} steps before the first runs\n")
    with ThreadPoolExecutor(len(stages)) as pool:
        for _ in pool.map(lambda stage: stage.refuse_wrong(stages[stage]), stages):
            pass
    if remember:
        # Without them the next run looks once more, which is no harm.
        with contextlib.suppress(OSError):
            marks[0].parent.mkdir(parents=True, exist_ok=True)
            for mark in marks:
                mark.touch()
            _forget_old(marks[0].parent)


def _forget_old(marks: Path) -> None:
    for mark in marks.iterdir():
        if time.time() - mark.stat().st_mtime > _REMEMBERED:
            mark.unlink(missing_ok=True)


def _all_that_decides(step: Any) -> str:
    """Digest of what a stage looks at in *step*: settings, the inputs' state, its own code."""
    where = step.where
    code = _state(where.image) if where.image and not where.dev else _code(where.name)
    inputs = {name: path and _state(copy_of(path)) for name, path in step.inputs().items()}
    told = [where.name, str(where.image), code, step.verb, step.settings_file(), inputs]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def required(task: Any) -> list[Any]:
    """What *task* rests on, one after another."""
    return list(law.util.flatten(task.requires()))


def records(task: Any) -> list[Any]:
    """A target of *task* for each record: those of one record are there together, or none is."""
    return list({getattr(m, "record_path", m.path): m for m in outputs(task)}.values())


def outputs(task: Any) -> list[Any]:
    """Targets of *task*, one after another."""
    return list(law.util.flatten(task.output()))
