"""What the run took: time, processors, memory and bytes of each step, and what to ask for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from aframe.artifacts.record import Record
from aframe.usage import Table as Accounts
from aframe.usage import Usage
from aframe_sv.evidence import Evidence
from aframe_sv.far import in_words
from aframe_sv.page import COLORS, FAINT, Picture, Section, Table, picture, stacked

#: Of the branches of a step all but this share fit into what is suggested, and by this factor.
_SHARE, _MARGIN = 0.95, 1.25
#: Length of a job that the number of its branches is suggested for (s).
_JOB = 3600.0
_MEBIBYTE = 2**20
#: Units of the timeline, and how many of one a figure shows before it takes the next.
_SCALES, _TICKS = ((1.0, "s"), (60.0, "min"), (3600.0, "h")), 300
_UNITS = ("B", "kB", "MB", "GB", "TB")
_MEANING = (
    "Processor time is that of all threads and processes of a step, memory that of its largest "
    "process, bytes all that passed between it and files or network, from a cache as well."
)


@dataclass(frozen=True)
class Step:
    """What a step took.

    Args:
        command: Its command.
        folder: Name of the folder of its output.
        record: Its record.
        branches: Its branches, where it had any.
    """

    command: str
    folder: str
    record: Record
    branches: Sequence[Usage]

    @property
    def span(self) -> tuple[float, float]:
        """When its last run began and ended (s since 1970)."""
        times = (self.record.started, self.record.finished)
        begin, end = (datetime.fromisoformat(each).timestamp() for each in times)
        return begin, end

    @property
    def name(self) -> str:
        """The step in a figure."""
        return f"{self.command.removeprefix('aframe-')} ({self.folder})"


def section(evidence: Evidence) -> Section | None:
    """Show what each step took; nothing where no record says."""
    found = [_step(path, record) for path, record in evidence.records if record.usage]
    steps = sorted(found, key=lambda step: step.record.started)
    if not steps:
        return None
    tables = [table(steps)]
    asked = [step for step in steps if step.branches]
    if asked:
        tables.append(advice(asked))
    return Section(
        "accounting",
        "What it took",
        [_MEANING],
        facts=facts(steps),
        tables=tables,
        pictures=[timeline(steps)],
    )


def _step(path: Path, record: Record) -> Step:
    verb = record.command.rpartition(" ")[2]
    accounts = Accounts(path.parent / "logs" / f"{verb}.branches.csv")
    return Step(record.command, path.parent.name, record, list(accounts.rows()))


def facts(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Sums over all steps."""
    used = [step.record.usage for step in steps]
    gpu = sum(each["gpu"] for each in used)
    return [
        ("Processor time", in_words(sum(each["cpu"] for each in used))),
        *([("GPU time", in_words(gpu))] if gpu else []),
        ("Largest process", in_bytes(max(each["peak_memory"] for each in used))),
        ("Written", in_bytes(sum(each["bytes_written"] for each in used))),
    ]


def table(steps: Sequence[Step]) -> Table:
    """What each step took, in the order in which they began."""
    rows = []
    for step in steps:
        used = step.record.usage
        could = used["wall"] * used["workers"]
        rows.append(
            (
                step.command,
                step.folder,
                in_words(used["wall"]),
                in_words(used["cpu"]),
                f"{used['cpu'] / could:.0%}" if could and not used["queue"] else "-",
                in_words(used["gpu"]) if used["gpu"] else "-",
                in_bytes(used["peak_memory"]),
                in_bytes(used["bytes_read"]),
                in_bytes(used["bytes_written"]),
                in_words(used["queue"]) if used["queue"] else "-",
                f"{used['branches']:.0f}" if used["branches"] else "-",
            )
        )
    columns = ("Command", "Folder", "Took", "Processors", "Busy", "GPU", "Memory", "Read")
    caption = (
        "What the last run of each step took; “busy” is processor time over that of its workers, "
        "“queue” the time that all its jobs waited."
    )
    return Table((*columns, "Written", "Queue", "Branches"), rows, caption)


def advice(steps: Iterable[Step]) -> Table:
    """What to ask a scheduler for, so that the branches that were seen would have fitted."""
    rows = []
    for step in steps:
        units = dict.fromkeys(each.unit for each in step.branches)
        for unit in units:
            mine = [each for each in step.branches if each.unit == unit]
            wall, memory, disk = (
                np.array([getattr(each, name) for each in mine], float)
                for name in ("wall", "peak_memory", "bytes_written")
            )
            rows.append(
                (
                    step.command,
                    f"{len(mine)} {unit}",
                    f"{in_words(float(np.median(wall)))}, {in_words(quantile(wall))}",
                    f"{rounded(quantile(memory))} MiB",
                    f"{rounded(quantile(disk) * branches_a_job(wall))} MiB",
                    str(branches_a_job(wall)),
                )
            )
    columns = ("Command", "Branches", "Took: half, 95% below", "request_memory", "request_disk")
    caption = (
        f"What to ask a pool for: room for {_SHARE:.0%} of the branches and a quarter more, and "
        f"as many branches a job as take {in_words(_JOB)}."
    )
    return Table((*columns, "Branches a job"), rows, caption)


def quantile(values: Float[np.ndarray, " branch"]) -> float:
    """Value that 95 % of the branches stay below."""
    return float(np.quantile(values, _SHARE))


def rounded(size: float) -> int:
    """Size to ask for (MiB): a quarter more, in steps of 128.

    Example:
        >>> rounded(1e9)
        1280
    """
    return 128 * math.ceil(size * _MARGIN / _MEBIBYTE / 128)


def branches_a_job(wall: Float[np.ndarray, " branch"]) -> int:
    """Number of branches that take an hour together.

    Example:
        >>> branches_a_job(np.array([30.0, 90.0]))
        60
    """
    return max(1, round(_JOB / max(float(wall.mean()), 1e-3)))


def in_bytes(size: float) -> str:
    """Size in the unit that fits.

    Example:
        >>> in_bytes(2.34e9)
        '2.34 GB'
    """
    power = min(len(_UNITS) - 1, int(math.log10(size) // 3)) if size >= 1 else 0
    return f"{size / 1000**power:.3g} {_UNITS[power]}"


def timeline(steps: Sequence[Step]) -> Picture:
    """Draw when each step ran, and how many branches were at work."""
    first = min(step.span[0] for step in steps)
    long = max(step.span[1] for step in steps) - first
    scale, unit = next(each for each in _SCALES if long < _TICKS * each[0] or each == _SCALES[-1])
    with stacked(2, (6.4, 1.9 + 0.26 * len(steps))) as (upper, lower):
        for place, step in enumerate(steps):
            _bar(upper, step, -place, (first, scale))
        upper.set_yticks([-place for place in range(len(steps))], [step.name for step in steps])
        upper.grid(visible=False, axis="y")
        time, count = at_work([each for step in steps for each in step.branches])
        lower.step((time - first) / scale, count, where="post", color=COLORS[0])
        lower.set(ylabel="branches at work", xlabel=f"time since the first step began ({unit})")
        lower.set_ylim(bottom=0)
        return picture(
            upper,
            caption="When each step ran; a step that was resumed is shown by its last run, "
            "its branches by all.",
            alt=f"timeline of {len(steps)} steps",
        )


def _bar(ax: Axes, step: Step, place: float, origin: tuple[float, float]) -> None:
    first, scale = origin
    begin, end = step.span
    width, left = (end - begin) / scale, (begin - first) / scale
    # With an edge a step of no time is seen nevertheless.
    ax.barh(place, width, 0.6, left, color=COLORS[0], edgecolor=FAINT)


def at_work(
    branches: Sequence[Usage],
) -> tuple[Float[np.ndarray, " change"], Float[np.ndarray, " change"]]:
    """When branches began or ended (s since 1970), and how many were at work from then on."""
    began = np.array([each.started for each in branches])
    ended = began + np.array([each.wall for each in branches])
    time = np.concatenate([began, ended])
    order = np.argsort(time, kind="stable")
    change = np.concatenate([np.ones(len(began)), -np.ones(len(began))])
    return time[order], change[order].cumsum()
