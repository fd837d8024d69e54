"""What each step would do if a run began now, and why: nothing is written, run or asked for."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aframe.artifacts.inventory import is_whole, read_record
from aframe.artifacts.record import Record, draft_path, one_look
from aframe.artifacts.remote import address, here
from aframe.errors import AframeError
from aframe.failures import Failure, failure_path, read_failure
from aframe.tasks.foresight import outputs, refuse_missing_inputs, required

#: What a step would do: nothing; it is at work; it would run; it rests on one that would, or on
#: one that cannot; it would be refused.
DONE, RUNNING, RUNS, WAITS, STOPS = STATES = ("done", "running", "runs", "waits", "stops")
#: A step elsewhere that has said nothing for so long is at work no more (s).
_SILENT = 120.0


@dataclass(frozen=True)
class Progress:
    """How far a step is that was begun, as its status file has it.

    Args:
        state: ``running``, ``dealt``, ``done``, ``failed`` or ``interrupted``.
        alive: Whether it is at work now, as far as that can be told.
        unit: What its branches are, in the plural.
        done: Number of them that are done.
        total: Number of them.
        started: When it began (Unix time, s).
        updated: When it said so (Unix time, s).
    """

    state: str
    alive: bool
    unit: str | None = None
    done: int | None = None
    total: int | None = None
    started: float = 0.0
    updated: float = 0.0

    @property
    def share(self) -> str:
        """How many of its branches are done, in words; blank where it has none."""
        return f"{self.done} of {self.total} {self.unit}" if self.total else ""


@dataclass(frozen=True)
class Outlook:
    """What one step would do.

    Args:
        step: The task.
        name: What tells it from the other steps.
        state: One of :data:`STATES`.
        reasons: Why, the weightiest first.
        fix: What would mend what stops it.
        record: What made its output, where there is one.
        progress: How far it is, where it was begun and not finished.
        failure: How it failed, where it did and was not finished since.
        rests_on: Names of the steps right before it.
    """

    step: Any
    name: str
    state: str
    reasons: Sequence[str] = ()
    fix: str | None = None
    record: Record | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    rests_on: Sequence[str] = ()


def outlooks(task: Any) -> list[Outlook]:
    """Look at *task* and all that it rests on, in an order in which they could run."""
    steps = {step.task_id: step for step in _walk(task)}
    names = _names(list(steps.values()))
    found: dict[str, Outlook] = {}
    with one_look():
        for number, step in steps.items():
            before = [found[each.task_id] for each in required(step) if each.task_id in found]
            found[number] = _look(step, names[number], before, list(found.values()))
    return list(found.values())


def _walk(task: Any) -> Iterator[Any]:
    for each in required(task):
        yield from _walk(each)
    if task.publishes:
        yield task


def _names(steps: Sequence[Any]) -> dict[str, str]:
    """Name steps by their tasks, and by their folders too where a task runs in several."""
    families = [step.task_family for step in steps]
    root = os.path.commonpath([str(here(step.directory)) for step in steps]) if steps else "/"
    return {
        step.task_id: step.task_family
        if families.count(step.task_family) == 1
        else f"{step.task_family}:{os.path.relpath(here(step.directory), root)}"
        for step in steps
    }


def _look(step: Any, name: str, before: Sequence[Outlook], earlier: Sequence[Outlook]) -> Outlook:
    todo = [each for each in before if each.state != DONE]
    told: dict[str, Any] = {"step": step, "name": name, "rests_on": [each.name for each in before]}
    try:
        record = read_record(step.record)
        made = {Path(each.path) for past in earlier if past.state != DONE for each in
                outputs(past.step)}  # fmt: skip
        why = list(_reasons(step, record, made))
    except AframeError as error:
        return Outlook(**told, state=STOPS, reasons=[f"{error.problem}: {error.found}"],
                       fix=error.fix)  # fmt: skip
    told["record"] = record
    if not todo and not why:
        return Outlook(**told, state=DONE)
    progress = read_progress(here(step.directory), step.verb)
    told |= {"progress": progress, "failure": _failure(step)}
    other = progress is not None and progress.state == "dealt" and not _same_settings(step)
    if progress is not None and progress.alive and not other:
        return Outlook(**told, state=RUNNING, reasons=[progress.share] if progress.share else [])
    began = list(_begun(step, progress, told["failure"]))
    refused = _refusal(step, made)
    if refused is not None:
        changed = [line for line in why if line.startswith("made ")]
        text = changed or [f"{refused.problem}: {refused.found}"]
        return Outlook(**told, state=STOPS, reasons=[*text, *began], fix=refused.fix)
    state = WAITS if todo else RUNS
    return Outlook(**told, state=state, reasons=[*began, *why, *_waits(todo)])


def _waits(todo: Sequence[Outlook]) -> Iterator[str]:
    """What a step rests on that is not done, by what becomes of it."""
    for state, becomes in ((STOPS, "stop"), (RUNNING, "are running"), (None, "are to run first")):
        names = [each.name for each in todo if (each.state if each.state in (STOPS, RUNNING)
                                                else None) == state]  # fmt: skip
        if names:
            one = {"stop": "stops", "are running": "is running"}.get(becomes, "is to run first")
            yield f"rests on {', '.join(names)}, which {one if len(names) == 1 else becomes}"


def changes(step: Any, record: Record, remade: Collection[Path] = ()) -> list[str]:
    """Which settings and inputs of *step* differ from those in *record*, one line each.

    Args:
        step: The step.
        record: What its output was made with.
        remade: Inputs that are to be made anew, so that what they hold now says nothing.
    """
    stale: list[str] = outputs(step)[0].stale(record, remade=remade)
    return stale


def _reasons(step: Any, record: Record | None, remade: set[Path]) -> Iterator[str]:
    """Why the output is not what is asked for."""
    if record is None:
        yield "absent"
        return
    if not is_whole(record, step.directory):
        yield f"lost: {', '.join(_lost(step, record)[:3]) or 'files on S3'}"
    targets = outputs(step)
    changed = changes(step, record, remade)
    settings = [line for line in changed if not line.startswith("input ")]
    inputs = [line for line in changed if line.startswith("input ")]
    if settings:
        yield f"made with other settings: {'; '.join(settings)}"
    if inputs:
        yield f"made from other inputs: {'; '.join(inputs)}"
    listed = {name.partition("/")[0] for name in record.outputs}
    more = [each for each in targets if Path(each.path).name not in listed]
    if more and not changed:
        yield f"made without {', '.join(Path(each.path).name for each in more)}"


def _lost(step: Any, record: Record) -> list[str]:
    """Files of *record* that are gone or cut short."""
    if address(step.directory):
        return []
    folder = Path(step.directory)
    return [name for name, size in record.sizes.items()
            if not (folder / name).is_file() or (folder / name).stat().st_size != size]  # fmt: skip


def _refusal(step: Any, made: set[Path]) -> AframeError | None:
    """What a run would stop at, as far as that is known without asking the stage.

    Args:
        step: The step.
        made: What steps before it would make.
    """
    try:
        step.where.refuse_missing()
        step.refuse_impossible_jobs()
        step.refuse_changed(made)
        refuse_missing_inputs([step], made)
        step.refuse_foreign()
    except AframeError as error:
        return error
    return None


def _failure(step: Any) -> Failure | None:
    return read_failure(failure_path(here(step.directory), step.verb))


def _begun(step: Any, progress: Progress | None, failure: Failure | None) -> Iterator[str]:
    """What is left of an earlier try."""
    folder = here(step.directory)
    if failure is not None:
        yield f"failed last time: {failure.problem}"
    elif not draft_path(folder, step.verb).is_dir():
        return
    if not _same_settings(step):
        jobs = progress is not None and progress.alive
        yield "what is done of it was begun with other settings, and begins anew" + (
            ": a run removes its jobs" if jobs else ""
        )
    elif progress is not None and progress.share:
        yield f"{'' if failure else 'ended half-way: '}{progress.share} are done"
    elif failure is None:
        yield "ended half-way"


def _same_settings(step: Any) -> bool:
    """Whether what was begun was asked for as it is now."""
    try:
        before = json.loads(
            (here(step.directory) / "logs" / f"{step.verb}.settings.json").read_text()
        )
    except (OSError, ValueError):
        return True
    now = json.loads(json.dumps(step.settings()))
    return {name: before.get(name) for name in now} == now


def read_progress(folder: Path, verb: str) -> Progress | None:
    """Read how far *verb* is in its output *folder*; ``None`` where nothing tells."""
    logs = folder / "logs"
    # Who watches jobs of a pool writes there at each look.
    looked = _written(logs / f"{verb}.jobs.json")
    failed = _written(failure_path(folder, verb))
    began = _jobs_began(logs / f"{verb}.jobs.json")
    watched = began is not None and looked > failed and time.time() - looked < _SILENT
    waiting = Progress("dealt", alive=True, started=began or looked, updated=looked)
    try:
        said: Mapping[str, Any] = json.loads((logs / f"{verb}.status.json").read_text())
        begun = said["state"] in ("running", "dealt")
        # That of an earlier attempt, where the job that is to do it waits.
        if watched and not begun and said["updated"] < looked:
            return waiting
        return Progress(
            state=said["state"],
            alive=begun and _is_alive(said, looked),
            unit=said.get("unit"),
            done=said.get("done"),
            total=said.get("total"),
            started=said["started"],
            updated=said["updated"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return waiting if watched else None


def _jobs_began(path: Path) -> float | None:
    """When the jobs of a step began that are not all done (Unix time, s)."""
    try:
        told = json.loads(path.read_text())
        left = sum(told["jobs"][name] for name in ("idle", "running", "held"))
        return float(told["began"]) if left else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _written(path: Path) -> float:
    """When a file was written (Unix time, s); 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_alive(said: Mapping[str, Any], looked: float) -> bool:
    """Whether who wrote a status is there: here by its number, elsewhere and of jobs by word.

    Args:
        said: The status.
        looked: When its jobs were last looked at (Unix time, s).
    """
    if said.get("host") != platform.node() or said["state"] == "dealt":
        return bool(time.time() - max(said["updated"], looked) < _SILENT)
    pid = int(said["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # After a reboot another process may have its number.
    return _began(pid) < float(said["updated"]) + 1


def _began(pid: int) -> float:
    """When a process began (Unix time, s); 0 where that is not told."""
    try:
        # Man page proc(5): the 22nd field, where the second may hold spaces.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):
        return 0.0
    return booted + int(ticks) / os.sysconf("SC_CLK_TCK")


def lines(task: Any) -> Iterator[str]:
    """Say of each step what it would do and why, one line each."""
    for each in outlooks(task):
        yield f"{each.state:<8} {each.name}{reasons_text(each.reasons)}"


def reasons_text(reasons: Iterable[str]) -> str:
    """Lay reasons out behind a name."""
    text = "; ".join(reasons)
    return f": {text}" if text else ""
