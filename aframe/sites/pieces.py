"""Pieces of a workflow: rows of its table that one job does, and how they fare."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from aframe.artifacts.record import write_text
from aframe.sites.requests import Request

#: How long a row takes where no earlier run tells (s).
GUESS = 60.0
_SPAN = re.compile(r"(\d+)(?:-(\d+))?")


def rows_text(rows: Sequence[int]) -> str:
    """Write rows as ``aframe-<stage> branches --rows`` reads them.

    Example:
        >>> rows_text([0, 1, 2, 5, 7, 8])
        '0-2,5,7-8'
    """
    starts = [0, *(n for n, (a, b) in enumerate(pairwise(rows), 1) if b != a + 1), len(rows)]
    spans = [(rows[first], rows[last - 1]) for first, last in pairwise(starts)] if rows else []
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def rows_of(text: str) -> list[int]:
    """Read rows as :func:`rows_text` writes them.

    Example:
        >>> rows_of("0-2,5")
        [0, 1, 2, 5]
    """
    return [row for first, last in spans_of(text) for row in range(first, last + 1)]


def spans_of(text: str) -> list[tuple[int, int]]:
    """First and last of each span of rows.

    Example:
        >>> spans_of("0-2,5")
        [(0, 2), (5, 5)]
    """
    return [(int(first), int(last or first)) for first, last in _SPAN.findall(text)]


def grouped(count: int, seconds: float | None, length: float, workers: int = 1) -> list[str]:
    """Share *count* rows out to jobs that take about as long as each other.

    Args:
        count: Number of rows.
        seconds: How long a row takes (s); ``None`` where that is not known.
        length: How long a job should take (s).
        workers: Processes that a job has.

    Example:
        >>> grouped(10, 60.0, 240.0)
        ['0-3', '4-6', '7-9']
    """
    each = max(1, math.floor(length * workers / (seconds or GUESS)))
    jobs = min(count, math.ceil(count / each))
    edges = [math.ceil(count * job / jobs) for job in range(jobs + 1)]
    return [rows_text(range(first, last)) for first, last in pairwise(edges)]


@dataclass
class Piece:
    """Rows that one job does.

    Args:
        number: Its number in the set.
        rows: The rows that are left, as text; blank where the job is the whole verb.
        request: What its job asks for.
        attempt: Which job in its place this is, from 1.
        avoid: Machines that it must not go to.
        after: Unix time before which it is not submitted (s).
        submitted: Whether this attempt is in the queue, as far as is known.
        done: Whether all its rows are.
        starts: How often HTCondor started this attempt.
        ends: How often it ended by each cause.
    """

    number: int
    rows: str
    request: Request
    attempt: int = 1
    avoid: list[str] = field(default_factory=list)
    after: float = 0.0
    submitted: bool = False
    done: bool = False
    starts: int = 0
    ends: dict[str, int] = field(default_factory=dict)

    def again(self, request: Request, after: float, avoid: str | None) -> None:
        """Make ready for the next attempt."""
        self.request, self.after = request, after
        self.attempt, self.submitted, self.starts = self.attempt + 1, False, 0
        self.avoid += [avoid] if avoid and avoid not in self.avoid else []


@dataclass
class State:
    """What is known of the jobs of a step; kept in a file, so that a killed submitter goes on.

    Args:
        path: The file.
        digest: Of the settings that the jobs belong to.
        set: Number of the set of branches at work; -1 for none.
        token: What tells its jobs from those of any other set.
        pieces: The set's pieces.
        attempts: Every attempt that did not end well, for whoever looks on.
        request: What the set's jobs were first to ask for.
        run: What tells the jobs of the step from all others in the queue.
        output: The output directory that they are to write.
        host: The machine that submits them.
    """

    path: Path
    digest: str
    set: int = -1
    token: str = ""
    pieces: list[Piece] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    request: Request | None = None
    run: str = ""
    output: str = ""
    host: str = ""

    def write(self) -> None:
        """Keep it, whole or not at all."""
        content = {name: value for name, value in asdict(self).items() if name != "path"}
        write_text(self.path, json.dumps(content) + "\n")

    def begin(self, number: int, rows: Iterable[str], request: Request) -> None:
        """Begin the set *number*."""
        self.set, self.token, self.request = number, uuid.uuid4().hex, request
        self.pieces = [Piece(n, each, replace(request)) for n, each in enumerate(rows)]
        self.write()

    def renew(self, request: Request, waiting: Iterable[Piece]) -> None:
        """Have pieces ask for another *request*, where that is another than was first asked for.

        Args:
            request: What is asked for now.
            waiting: Pieces that have begun with nothing; others keep what their jobs were given,
                and are told only how far that may grow.
        """
        before, self.request = self.request or request, request
        grows = {"max_memory": request.max_memory, "max_disk": request.max_disk}
        for piece in self.pieces:
            piece.request = replace(piece.request, **grows)
        new = {what: getattr(request, what) for what in ("memory", "disk")
               if getattr(request, what) != getattr(before, what)}  # fmt: skip
        for piece in waiting:
            piece.request = replace(piece.request, **new)
        self.write()

    def end(self) -> None:
        """Note that no set is at work."""
        self.set, self.pieces = -1, []
        self.write()


def read_state(path: Path) -> State | None:
    """Read the state at *path*; ``None`` where there is none that can be read."""
    try:
        content = json.loads(path.read_text())
        pieces = [
            Piece(**{**each, "request": Request(**each["request"])})
            for each in content.pop("pieces")
        ]
        request = content.pop("request", None)
        return State(
            path, pieces=pieces, request=Request(**request) if request else None, **content
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
