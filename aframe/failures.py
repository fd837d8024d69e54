"""A failed step: its record, what its log says was the cause, and how it is told.

Standard library only: whoever runs a step, here or on a pool, leaves the same record, and
whoever looks at it later reads it without law.
"""

from __future__ import annotations

import json
import platform
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts.record import write_text
from aframe.errors import USER_ERROR, AframeError

#: Lines of a log that the record keeps, and that are shown.
KEPT, SHOWN = 40, 6
#: How the stages' commands begin an error that the user can mend, and lay it out (`errors.py`).
_REFUSED = re.compile(
    r"^aframe-\w+: error: (?P<problem>.*)\n  found      (?P<found>(?:.*\n)*?)"
    r"  wanted by  (?P<wanted_by>(?:.*\n)*?)  fix        (?P<fix>.*)",
    re.MULTILINE,
)
#: The last line of a traceback.
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b.*$")
#: The line of a traceback that names a place.
_PLACE = re.compile(r'^\s+File "(?P<file>.*)", line (?P<line>\d+)')
#: What in the words of a failure tells of its cause; the first that fits.
_CAUSES = (
    ("memory", r"SIGKILL|want of memory|MemoryError|[Oo]ut ?[Oo]f ?[Mm]emory|worker process was"),
    ("disk", r"disk is full|No space left|quota"),
    ("storage", r"store|S3|bucket|endpoint"),
)
INTERRUPTED = 130


@dataclass(frozen=True)
class Failure:
    """What is known of a failed step.

    Args:
        step: The task.
        problem: What went wrong, in a sentence.
        command: What repeats the step by hand, in the same image.
        ended: How it ended: ``exit status 2``, or the name of a signal.
        log: Path of its log.
        last_lines: The last lines of that.
        branch: Which of its branches, such as ``rows 40-79``; ``None`` for all of it.
        host: The machine.
        cause: ``user``, ``memory``, ``disk``, ``storage``, ``interrupted`` or ``unknown``; a
            pool knows more.
        reason: The scheduler's words, where there was one.
        fix: What the step says would mend it.
        count: Number of failures that are alike.
        when: Unix time (s).
        kind: What failures of one cause share: the problem without what was found, or the type
            and place of an exception; ``None`` where that is the problem.
    """

    step: str
    problem: str
    command: str
    ended: str
    log: str
    last_lines: Sequence[str] = ()
    branch: str | None = None
    host: str = field(default_factory=platform.node)
    cause: str = "unknown"
    reason: str | None = None
    fix: str | None = None
    count: int = 1
    when: float = field(default_factory=time.time)
    kind: str | None = None

    def write(self, path: Path) -> None:
        """Leave the record at *path*, ``logs/<verb>.failure.json`` of the output."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def failure_path(output: Path, verb: str) -> Path:
    """Where *verb* leaves the record of its failure in the directory *output*."""
    return Path(output) / "logs" / f"{verb}.failure.json"


def read_failure(path: Path) -> Failure | None:
    """Read the record at *path*; ``None`` where there is none, or none that can be read."""
    known = {each.name for each in fields(Failure)}
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return Failure(**{name: value for name, value in content.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def failure_of(
    step: str,
    code: int,
    last_lines: Sequence[str],
    *,
    command: str,
    log: Path,
    branch: str | None = None,
) -> Failure:
    """Tell from the end of a log what went wrong.

    Args:
        step: The task.
        code: Exit status of its command; negative for a signal.
        last_lines: The last lines of the log.
        command: What was run.
        log: The log.
        branch: Which of its branches, where that is known.
    """
    ended = how_it_ended(code)
    problem, fix, kind = _said(code, last_lines)
    return Failure(
        step=step,
        problem=problem,
        command=command,
        ended=ended,
        log=str(log),
        last_lines=list(last_lines)[-KEPT:],
        branch=branch,
        cause=_cause(code, f"{ended} {problem}"),
        fix=fix,
        kind=kind,
    )


def how_it_ended(code: int) -> str:
    """Name an exit status, or the signal that a negative one stands for.

    Example:
        >>> how_it_ended(2), how_it_ended(-9)
        ('exit status 2', 'SIGKILL')
    """
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


class _Said(NamedTuple):
    """The problem in a sentence and, where they are known, its fix and its kind."""

    problem: str
    fix: str | None = None
    kind: str | None = None


def _said(code: int, lines: Sequence[str]) -> _Said:
    """What the end of a log says of how its command ended."""
    refused = [*_REFUSED.finditer("\n".join(lines) + "\n")]
    if refused and code == USER_ERROR:
        last = refused[-1]
        found = " ".join(last["found"].split())
        return _Said(f"{last['problem']} ({found})", last["fix"], last["problem"])
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return _Said(
            "it was killed from outside, mostly for want of memory",
            "give it fewer processes (--processes) or more memory; the same command resumes",
        )
    if code in (INTERRUPTED, -signal.SIGINT, -signal.SIGTERM):
        return _Said("it was interrupted", "run the same command: it resumes")
    raised = [line for line in lines if _RAISED.match(line)]
    if raised:
        return _Said(raised[-1], kind=_raised(lines, raised[-1]))
    return _Said(f"it ended with {how_it_ended(code)}")


def _raised(lines: Sequence[str], error: str) -> str:
    """The type of the exception that ends with the line *error*, and where it was raised."""
    # What a pool's worker raised is shown again where its answer was awaited.
    before = lines[: lines.index(error)]
    places = [found for found in map(_PLACE.match, before) if found]
    place = f" at {places[-1]['file']}:{places[-1]['line']}" if places else ""
    return f"{error.partition(':')[0]}{place}"


def _cause(code: int, words: str) -> str:
    if code in (INTERRUPTED, -signal.SIGINT, -signal.SIGTERM):
        return "interrupted"
    for cause, pattern in _CAUSES:
        if re.search(pattern, words):
            return cause
    return "user" if code == USER_ERROR else "unknown"


class StepFailedError(AframeError):
    """A step that failed while it ran; the end of the run tells of it.

    Args:
        failure: Its record.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(
            f"step {failure.step} failed: {failure.problem}",
            found=f"{failure.ended}; its last lines:{indented(failure.last_lines)}",
            wanted_by=failure.command,
            fix=f"{failure.fix or 'mend what they say'}; the command above repeats the step, "
            f"its log is {failure.log}",
        )
        self.failure = failure

    def __reduce__(self) -> tuple[object, ...]:
        return (StepFailedError, (self.failure,))


def told(failures: Iterable[Failure]) -> str:
    """Lay failures out for the end of a run; those that are alike are one.

    Of one step those are alike that share their kind, of several those that say the same.

    Example:
        >>> one = Failure("Fetch", "no route to host", "aframe-data …", "exit status 2", "/l")
        >>> print(told([one, one]).splitlines()[0])
        failed: Fetch (2 times)
    """
    of_steps: defaultdict[tuple[str, ...], list[Failure]] = defaultdict(list)
    for failure in failures:
        of_steps[failure.step, failure.kind or failure.problem, failure.cause].append(failure)
    alike: defaultdict[tuple[str, str], list[Failure]] = defaultdict(list)
    for group in of_steps.values():
        alike[group[0].problem, group[0].cause] += group
    return "\n".join(_told(group) for group in alike.values())


def _told(alike: Sequence[Failure]) -> str:
    first, count = alike[0], sum(failure.count for failure in alike)
    steps = list(dict.fromkeys(failure.step for failure in alike))
    branch = f"[{first.branch}]" if first.branch and len(steps) == 1 else ""
    times = f" ({count} times)" if count > len(steps) else ""
    others = sum(failure.count for failure in alike if failure.problem != first.problem)
    rows = [
        ("cause", f"{first.problem}{f', and {others} more alike' if others else ''}"),
        ("scheduler", first.reason),
        ("fix", first.fix),
        ("log", f"{first.log}, which ends with{indented(first.last_lines)}"),
        ("by hand", first.command),
    ]
    lines = [f"failed: {', '.join(steps)}{branch}{times}"]
    return "\n".join([*lines, *(f"  {name:<10} {text}" for name, text in rows if text)])


def indented(lines: Sequence[str]) -> str:
    """Lay out the last of *lines* below a row of an error."""
    last = "\n".join(lines).splitlines()[-SHOWN:]
    return "".join(f"\n             {line}" for line in last)
