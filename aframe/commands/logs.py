"""`aframe logs`: the log of a step or of one of its branches, of its last failure first."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts.remote import Remote, address, here
from aframe.commands.run_directory import RunDirectory
from aframe.commands.steps import named
from aframe.errors import AframeError
from aframe.sites.job_logs import JobLog, job_log, read_job_logs
from aframe.sites.pieces import spans_of
from aframe.tasks.outlook import Outlook, outlooks, read_progress
from aframe.usage import Table

_WORD = re.compile(r"(?P<step>[^\[\]]+)(?:\[(?:(?P<set>\d+):)?(?P<row>\d+)\])?")
_BETWEEN_LOOKS = 0.5
#: How long after the last look at its jobs a step is published here (s).
_PUBLISHED_WITHIN = 60.0


class Branch(NamedTuple):
    """A branch of a step, as it is asked for.

    Args:
        row: Its number.
        set: Number of the set that it is of; ``None`` for the last one with such a row.
    """

    row: int
    set: int | None = None

    @property
    def text(self) -> str:
        """How it is written behind the step's name."""
        return f"[{self.row}]" if self.set is None else f"[{self.set}:{self.row}]"


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Print the end of the log, and what is added to it while the step is at work."""
    match = _WORD.fullmatch(asked.task)
    if match is None:
        raise AframeError(
            "a step is named otherwise",
            found=asked.task,
            wanted_by="aframe logs",
            fix="name a step, or one of its branches: FetchTrain, FetchTrain[12], or of one of "
            "its sets: SandboxInfer[1:12]",
        )
    with run_directory.task_to_run(options) as task:
        each = _begun(named(match["step"], outlooks(task)))
    branch = None
    if match["row"]:
        branch = Branch(int(match["row"]), int(match["set"]) if match["set"] else None)
    if branch is None and (sent := _sent(each)):
        _show(*sent, asked.lines)
        if asked.follow:
            sys.stderr.write("it is that of another machine, as it was when the step ended\n")
        return 0
    path = log_of(each, branch)
    _show(_place(path, each, branch), path.read_text(errors="replace"), asked.lines)
    if asked.follow:
        _follow(path, each)
    return 0


def _show(place: str, text: str, count: int | None) -> None:
    sys.stderr.write(f"{place}\n")
    lines = text.splitlines(keepends=True)
    sys.stdout.writelines(lines[-count:] if count else lines)


def _sent(each: Outlook) -> tuple[str, str] | None:
    """The log that another machine left beside a step's output on S3, where none is here."""
    at = address(each.step.directory)
    if at is None or each.failure or _whole(each).is_file() or _jobs_of_all(each):
        return None
    name = f"logs/{each.step.verb}.log"
    sight = Remote(at, looking=True).look(name)
    return None if sight is None else (f"{at}/{name}", sight.content.decode(errors="replace"))


def _begun(steps: Sequence[Outlook]) -> Outlook:
    """Of steps of one name, the one that failed last, or else was at work last."""

    def key(each: Outlook) -> tuple[float, float]:
        at_work = max(_changed(_whole(each)), _changed(_told(each)))
        return (each.failure.when if each.failure else 0.0, at_work)

    return max(steps, key=key)


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _whole(each: Outlook) -> Path:
    return here(each.step.directory) / "logs" / f"{each.step.verb}.log"


def _told(each: Outlook) -> Path:
    return _whole(each).with_suffix(".jobs.json")


def _place(path: Path, each: Outlook, branch: Branch | None) -> str:
    """Name a log, and whose it is where it is a job's, or where those of jobs are."""
    logs = _job_logs(each)
    log = next((log for log in logs if log.path == path), job_log(path))
    if log is None:
        jobs = path.with_suffix("")
        there = path == _whole(each) and any(map(job_log, jobs.glob("*.log")))
        return f"{path}; those of its jobs: {jobs}" if there else str(path)
    said = f"set {log.set}, job {log.job}, attempt {log.attempt}"
    said += f", rows {log.rows}" if log.rows else ""
    others = {other.set for other in logs if branch and other.has(branch.row)} - {log.set}
    if branch and branch.set is None and others:
        words = (f"{each.name}[{other}:{branch.row}]" for other in sorted(others))
        said += f"; of other sets: {', '.join(words)}"
    return f"{path} ({said})"


def log_of(each: Outlook, branch: Branch | None) -> Path:
    """Give the log of a step's last failure, or of all of it, or of one of its branches.

    Raises:
        AframeError: If there is none, or no such branch.
    """
    if branch is not None:
        return _log_of_branch(each, branch)
    newest = _newest(each)
    failed = _failed(each)
    if each.failure and job_log(newest) and _changed(newest) > each.failure.when:
        failed = []  # it was tried again since
    # A job's log may have been removed.
    for path in (*failed, newest, _whole(each)):
        if path.is_file():
            return path
    raise _no_log(each, "", newest)


def _newest(each: Outlook) -> Path:
    """The log of a step, or of its last job where that is all of it."""
    jobs, whole = _jobs_of_all(each), _whole(each)
    return jobs[-1] if jobs and not (whole.is_file() and _begun_here(each)) else whole


def _failed(each: Outlook) -> list[Path]:
    """Where the log of the last failure may lie; beside the output, if that was moved."""
    if each.failure is None:
        return []
    path, whole = Path(each.failure.log), _whole(each)
    beside = whole if path.name == whole.name else whole.with_suffix("") / path.name
    return [beside, path]


def _log_of_branch(each: Outlook, branch: Branch) -> Path:
    """The log of the last job that had a row, of the last set that has such a one."""
    logs = _job_logs(each)
    having = [log for log in logs if log.has(branch.row) and branch.set in (None, log.set)]
    having = [log for log in having if log.set == having[-1].set]
    there = [log.path for log in having if log.path.is_file()]
    if there:
        return there[-1]
    if having:
        raise _no_log(each, branch.text, having[-1].path)
    newest = _newest(each)
    if branch.set is None and not newest.is_file():
        raise _no_log(each, branch.text, newest)
    _refuse_absent(each, branch, logs)
    return newest


def _no_log(each: Outlook, asked: str, path: Path) -> AframeError:
    fix = (
        "run the step first, as aframe plan tells"
        if job_log(path) is None
        else "wait until the job is at work, without a shared disk until it has ended, as "
        "condor_q tells"
    )
    return AframeError(
        "there is no log yet",
        found=f"no {path}",
        wanted_by=f"aframe logs {each.name}{asked}",
        fix=f"{fix}; logs of jobs and of branches are on the machine that started it",
    )


def _jobs_of_all(each: Outlook) -> list[Path]:
    """Logs of a step that is one job on a pool, the oldest first."""
    if each.step.branched:
        return []
    there = sorted(_whole(each).with_suffix("").glob("0-0-*.log"), key=_changed)
    return there or [log.path for log in read_job_logs(_told(each))]


def _begun_here(each: Outlook) -> bool:
    """Whether a step was begun on this machine after it was on a pool.

    To publish what a job has brought is no new beginning.
    """
    progress = read_progress(here(each.step.directory), each.step.verb)
    return progress is not None and progress.started > _changed(_told(each)) + _PUBLISHED_WITHIN


def _job_logs(each: Outlook) -> list[JobLog]:
    """Logs of the jobs of a step's last run, the oldest first; none if that was here."""
    progress = read_progress(here(each.step.directory), each.step.verb)
    if progress is not None and progress.total and _begun_here(each):
        return []
    return read_job_logs(_told(each))


def _refuse_absent(each: Outlook, branch: Branch, logs: Sequence[JobLog]) -> None:
    """Refuse a branch that is none of those that the step's last run had."""
    counts = _counts(logs)
    known = ""
    if branch.set is not None:
        sets = ", ".join(f"{count} branches in set {n}" for n, count in counts.items())
        there = f"its last run had {sets}" if sets else "nothing tells of its sets"
    else:
        of_jobs = max(counts.values(), default=0)
        count, unit = max(_branches(each), (of_jobs, "branches"), key=lambda said: said[0])
        if branch.row < count:
            return
        there = f"its last run had {count} {unit}" if count else "nothing tells of its branches"
        known = f"give one of 0 to {count - 1}; " if count else ""
    raise AframeError(
        "there is no such branch",
        found=f"{each.name}{branch.text}, though {there}",
        wanted_by="aframe logs",
        fix=f"{known}aframe logs {each.name} shows the log of the whole step",
    )


def _counts(logs: Sequence[JobLog]) -> dict[int, int]:
    """How many branches each set had that jobs tell of."""
    counts: dict[int, int] = {}
    for log in logs:
        ends = [last + 1 for _, last in spans_of(log.rows)]
        counts[log.set] = max([counts.get(log.set, 0), *ends])
    return {number: count for number, count in counts.items() if count}


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
        pass
    used = Table(_whole(each).with_suffix(".branches.csv")).rows()
    return max(((each.row + 1, each.unit) for each in used), default=(0, ""))


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
