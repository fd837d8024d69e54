"""Which job had which rows, by its log: what ``logs/<verb>.jobs.json`` tells of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aframe.sites.pieces import spans_of

_NAME = re.compile(r"(\d+)-(\d+)-(\d+)\.log")


class JobLog(NamedTuple):
    """The log of a job.

    Args:
        path: The file, whether it is there yet or not.
        set: Number of the set of branches that the job's rows are of.
        job: Its number in the set.
        attempt: Which job in its place it is, from 1.
        rows: Its rows, as text; blank where it is the whole verb, or nothing tells.
    """

    path: Path
    set: int
    job: int
    attempt: int
    rows: str = ""

    def has(self, row: int) -> bool:
        """Whether it had *row*."""
        return any(first <= row <= last for first, last in spans_of(self.rows))


def job_log(path: Path, rows: str = "") -> JobLog | None:
    """Read of a log's name whose it is; ``None`` for one that is no job's."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    number, job, attempt = map(int, match.groups())
    return JobLog(path, number, job, attempt, rows)


def below_logs(log: str) -> str:
    """Name a job's log as it is named in the folder of logs, wherever that lies or lay.

    Example:
        >>> below_logs("/where/it/was/logs/fetch/0-3-1.log")
        'fetch/0-3-1.log'
    """
    return "/".join(Path(log).parts[-2:])


def told_logs(
    path: Path, number: int, attempts: Iterable[Mapping[str, Any]], now: Mapping[str, str]
) -> dict[str, str]:
    """Rows of each job by its log, those of one set in the order in which they were begun.

    Args:
        path: What was told before: of sets before this, it is kept.
        number: Number of the set at work.
        attempts: Those that did not end well.
        now: Rows of the jobs that are at work, or done, by their logs.
    """
    logs = {log.path: log for log in read_job_logs(path) if log.set < number}
    for name, rows in [*((each["log"], each["rows"]) for each in attempts), *now.items()]:
        log = job_log(_folder(path) / Path(name).name, rows)
        if log is None or (log.set < number and log.path in logs):
            continue
        # The first attempt of a run that goes on has the name of one before.
        logs.pop(log.path, None)
        logs[log.path] = log
    found = sorted(logs.values(), key=lambda log: log.set)
    return {below_logs(str(log.path)): log.rows for log in found}


def read_job_logs(path: Path) -> list[JobLog]:
    """Read of *path*, a ``logs/<verb>.jobs.json``, which logs there are, the oldest first.

    An older version told only of attempts that failed. Logs lie where the file lies now.
    """
    try:
        told = json.loads(path.read_text())
        logs = told.get("logs")
        if logs is None:
            logs = {each["log"]: each["rows"] for each in told["attempts"]}
        found = [job_log(_folder(path) / Path(log).name, str(logs[log])) for log in logs]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [log for log in found if log]


def _folder(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".jobs.json"))
