"""What work costs: time, memory and bytes of a branch and of a whole step."""

from __future__ import annotations

import contextlib
import csv
import math
import platform
import re
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

#: Variable that tells how long the job that this runs in has waited in a queue (s).
WAITED = "AFRAME_WAITED"
#: `ru_maxrss` counts kilobytes, on macOS bytes.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Usage:
    """What a branch used.

    Args:
        unit: What the branch is one of, in the plural, such as ``files``.
        row: Its number among those.
        host: Name of the machine.
        run: The process that counts it among what it used itself.
        started: Unix time of its start (s).
        wall: Time it took (s).
        cpu: Processor time of all threads (s).
        peak_memory: Largest memory of its process meanwhile (bytes).
        gpu: Time in which its process held a GPU (s).
        bytes_read: Bytes read, from cache or disk or network.
        bytes_written: Bytes written.
        queue: Time its job waited in a queue (s), shared by the branches of the job.
    """

    unit: str
    row: int
    host: str
    run: str
    started: float
    wall: float = 0.0
    cpu: float = 0.0
    peak_memory: int = 0
    gpu: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    queue: float = 0.0


COLUMNS = tuple(each.name for each in fields(Usage))


class Meter:
    """Measures this process from where it is made.

    Args:
        children: Whether processes that it started, and that ended, count too.
    """

    def __init__(self, *, children: bool = False) -> None:
        self._children = children
        self.started = time.time()
        self._clock = time.perf_counter()
        self._cpu, (self._read, self._written) = self._processor_time(), _bytes()
        self._resettable = not children and _reset_peak()

    def _processor_time(self) -> float:
        who = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if self._children else [])]
        used = [resource.getrusage(each) for each in who]
        return sum(each.ru_utime + each.ru_stime for each in used)

    def _peak(self) -> int:
        if self._resettable:
            return int(_PEAK.findall(Path("/proc/self/status").read_text())[0]) * 1024
        who = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if self._children else [])]
        return max(resource.getrusage(each).ru_maxrss for each in who) * _RSS_UNIT

    def read(self, unit: str, row: int, run: str) -> Usage:
        """What was used so far."""
        wall, (read, written) = time.perf_counter() - self._clock, _bytes()
        return Usage(
            unit=unit,
            row=row,
            host=platform.node(),
            run=run,
            started=round(self.started, 3),
            wall=round(wall, 3),
            cpu=round(self._processor_time() - self._cpu, 3),
            peak_memory=self._peak(),
            gpu=round(wall, 3) if _holds_gpu() else 0.0,
            bytes_read=read - self._read,
            bytes_written=written - self._written,
        )


def _reset_peak() -> bool:
    """Begin the peak of memory anew, where the system can: it is then that of a branch."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return bool(_PEAK.search(Path("/proc/self/status").read_text()))
    except OSError:
        return False


def _bytes() -> tuple[int, int]:
    """Bytes that this process has read and written so far; none where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0, 0
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]), int(counts["wchar"])


def _holds_gpu() -> bool:
    # What has not imported torch has no GPU.
    torch: Any = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


class Table:
    """The branches of a step that are done, a line each, in a file that outlives a kill.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, rows: Iterable[Usage]) -> None:
        """Note branches that are done."""
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if not file.tell():
                writer.writeheader()
            writer.writerows(asdict(each) for each in rows)

    def rows(self) -> Iterator[Usage]:
        """What was noted; a line that a kill cut short is left out."""
        if not self.path.exists():
            return
        with self.path.open(newline="") as file:
            for line in csv.DictReader(file):
                with contextlib.suppress(TypeError, ValueError, KeyError):
                    yield from_text(line)


def from_text(line: dict[str, Any]) -> Usage:
    """Read a branch's use from the texts of a line.

    Raises:
        ValueError: If a number is none.
        TypeError: If there is no value of a column.
        KeyError: If there is no such column.
    """
    kinds = {"int": int, "float": float, "str": str}
    return Usage(**{each.name: kinds[str(each.type)](line[each.name]) for each in fields(Usage)})


def with_queue(rows: Iterable[Usage], queue: float) -> list[Usage]:
    """Share the time (s) that a job waited among its branches."""
    rows = list(rows)
    return [replace(each, queue=round(queue / len(rows), 3)) for each in rows]


def at_work(rows: Iterable[Usage]) -> float:
    """Time in which some of *rows* were at work (s): neither what overlaps twice, nor gaps.

    Jobs of a pool overlap; between a run that was killed and the one that went on nothing was done.

    Example:
        >>> first = Usage("files", 0, "node", "a", started=100.0, wall=10.0)
        >>> at_work([first, replace(first, started=105.0), replace(first, started=200.0)])
        25.0
    """
    worked, until = 0.0, -math.inf
    for row in sorted(rows, key=lambda row: row.started):
        end = row.started + row.wall
        worked += max(0.0, end - max(row.started, until))
        until = max(until, end)
    return worked


def total(main: Usage, branches: Iterable[Usage], workers: int) -> dict[str, float]:
    """Sum what a step used; ``wall`` is the time in which some of it was at work.

    Args:
        main: What the process that published it used, with all it started.
        branches: Its branches, of this process and of others.
        workers: Processes that it could use.
    """
    branches = list(branches)
    others = [each for each in branches if each.run != main.run]
    added = ("cpu", "gpu", "bytes_read", "bytes_written", "queue")
    sums = {name: sum(getattr(each, name) for each in [main, *others]) for name in added}
    # Of branches in processes of their own the main process holds no GPU.
    own = sum(each.gpu for each in branches if each.run == main.run)
    return {
        **sums,
        "wall": at_work([main, *others]),
        "peak_memory": max(each.peak_memory for each in [main, *branches]),
        "gpu": sum(each.gpu for each in others) + max(main.gpu, own),
        "branches": len(branches),
        "workers": workers,
    }
