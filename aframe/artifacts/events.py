"""Events of a search: their statistic, time and false alarm rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aframe.artifacts.ledger import Ledger, filling, read_ledger, write_ledger
from aframe.errors import AframeError

#: Length of a Julian year (s).
JULIAN_YEAR = 31_557_600.0
_FIELDS = ("detection_statistic", "detection_time", "shift")
#: Events in memory at a time while more than these are sorted.
SORTED_AT_ONCE = 2**20

#: Statistic, time (GPS s) and shift (s) of some events.
Columns = tuple[np.ndarray, ...]
Statistics = float | np.floating | Float[np.ndarray, "..."]


@dataclass(frozen=True)
class Events:
    """Events of a stretch of analyzed time.

    Args:
        detection_statistic: Loudness of each event, shape ``(event,)``.
        detection_time: GPS time of each event (s), shape ``(event,)``.
        shift: Time by which each detector was shifted (s), shape ``(event, ifo)``.
        Tb: Analyzed time (s).
        time_offset: What was added to the raw times to give *detection_time* (s), where the
            file has no field ``time_offset`` that says it of each event.

    Raises:
        AframeError: If the shapes do not fit or a statistic is not a number.
    """

    detection_statistic: Float[np.ndarray, " event"]
    detection_time: Float[np.ndarray, " event"]
    shift: Float[np.ndarray, "event ifo"]
    Tb: float
    time_offset: float = 0.0

    def __post_init__(self) -> None:
        shapes = {name: getattr(self, name).shape for name in _FIELDS}
        one_row_each = len({shape[:1] for shape in shapes.values()}) == 1
        if not one_row_each or [len(shape) for shape in shapes.values()] != [1, 1, 2]:
            raise _wrong(f"shapes {shapes}")
        if np.isnan(self.detection_statistic).any():
            count = int(np.isnan(self.detection_statistic).sum())
            raise _wrong(f"{count} of {len(self)} statistics are not a number")

    def __len__(self) -> int:
        return len(self.detection_statistic)

    @classmethod
    def read(cls, path: Path) -> Events:
        """Read events; further fields of the file are left alone.

        Raises:
            AframeError: If the file is no ledger of events.
        """
        ledger = read_ledger(path, parameters=_FIELDS, waveforms=())
        if ledger.metadata.get("Tb") is None:
            raise _wrong(f"{path} does not say its analyzed time (attribute Tb)")
        offset = ledger.metadata.get("time_offset") or 0.0
        return cls(**ledger.parameters, Tb=ledger.metadata["Tb"], time_offset=offset)

    def write(self, path: Path, **fields: Float[np.ndarray, " event"]) -> None:
        """Write the events and further *fields* of each, whole or not at all."""
        parameters = {name: getattr(self, name) for name in _FIELDS} | fields
        metadata = {"Tb": float(self.Tb), "time_offset": float(self.time_offset)}
        write_ledger(path, Ledger(parameters, {}, metadata))

    def sorted(self) -> Events:
        """Give the same events, loudest last; equal ones keep their order."""
        order = np.argsort(self.detection_statistic, kind="stable")
        return Events(
            self.detection_statistic[order],
            self.detection_time[order],
            self.shift[order],
            self.Tb,
            self.time_offset,
        )

    @cached_property
    def _ascending(self) -> Float[np.ndarray, " event"]:
        return np.sort(self.detection_statistic)

    def counts_above(self, statistic: Statistics) -> Int[np.ndarray, "..."]:
        """Count the events at least as loud as each *statistic*."""
        quieter = np.searchsorted(self._ascending, statistic, side="left")
        return np.asarray(len(self) - quieter)

    def false_alarm_rate(self, statistic: Statistics) -> Float[np.ndarray, "..."]:
        """Rate of events at least as loud as each *statistic* (1/yr).

        At least one event is counted: no rate below one in the analyzed time is known.

        Raises:
            AframeError: If no time was analyzed.
        """
        return np.asarray(np.maximum(self.counts_above(statistic), 1) * self._rate_of_one())

    def threshold_at_far(self, far: float) -> float:
        """Find the statistic of the quietest event whose false alarm rate is at most *far*.

        Where less than one event is allowed, or the loudest ones tie, no event
        qualifies: the answer is then the next number above the loudest, so that
        ``statistic >= threshold`` passes no background at all. Its true rate is only
        known to be below one in the analyzed time.

        Args:
            far: False alarm rate (1/yr).

        Raises:
            AframeError: If there is no event or no analyzed time.
        """
        if not len(self):
            raise _wrong("no event, so that no threshold can be told")
        rates = self.false_alarm_rate(self._ascending)
        passing = self._ascending[rates <= far]
        # In the precision of the statistic: float32 >= float64 would round back.
        above = np.nextafter(self._ascending[-1], np.inf, dtype=self._ascending.dtype)
        return float(passing[0] if passing.size else above)

    def _rate_of_one(self) -> float:
        if not self.Tb > 0:
            raise _wrong(f"an analyzed time of {self.Tb} s")
        return JULIAN_YEAR / self.Tb


def write_sorted(
    path: Path,
    parts: Iterable[Events],
    *,
    scratch: Path,
    metadata: Mapping[str, Any],
    at_once: int = SORTED_AT_ONCE,
) -> tuple[int, float]:
    """Write the events of all *parts* as one file, loudest last; equal ones keep their order.

    However many there are, only some *at_once* are in memory: so many are sorted and laid down
    at a time, and these piles then merged.

    Args:
        path: The file, whole or not at all.
        parts: Events of stretches of time that add up, one at least; their *time_offset* is one.
        scratch: Directory for the piles.
        metadata: What else holds for all events.
        at_once: Number of events to sort in memory.

    Returns:
        Number of all events, and their analyzed time (s).
    """
    total = offset = 0.0
    piles: list[Path] = []
    waiting: list[Columns] = []
    for part in parts:
        total, offset = total + part.Tb, part.time_offset
        # A file holds single precision: what is equal there is so here.
        columns = part.detection_statistic, part.detection_time, part.shift
        whole = tuple(map(np.asarray, columns, (np.float32, np.float64, np.float32)))
        for begin in range(0, max(len(part), 1), at_once):
            waiting.append(tuple(column[begin : begin + at_once] for column in whole))
            if sum(len(columns[0]) for columns in waiting) >= at_once:
                piles.append(_laid_down(waiting, scratch / f"pile-{len(piles)}"))
                # No rows, but of the type and shape of all.
                waiting = [tuple(column[:0] for column in whole)]
    piles.append(_laid_down(waiting, scratch / f"pile-{len(piles)}"))
    count = sum(len(_column(pile, 0)) for pile in piles)
    known = {"Tb": float(total), "time_offset": float(offset), **metadata}
    with filling(path, known, dict(zip(_FIELDS, waiting[0], strict=True)), count) as file:
        begin = 0
        for merged in _merged(piles, at_once):
            end = begin + len(merged[0])
            for name, column in zip(_FIELDS, merged, strict=True):
                file[name][begin:end] = column
            begin = end
    return count, total


def _laid_down(waiting: Sequence[Columns], folder: Path) -> Path:
    """Sort what waits and put it on the disk, a file a column."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, column in enumerate(_sorted(waiting)):
        np.save(folder / f"{number}.npy", column)
    return folder


def _column(pile: Path, number: int) -> Float[np.ndarray, "event ..."]:
    """Map a column of a pile into memory, for as long as what is given lives."""
    return np.load(pile / f"{number}.npy", mmap_mode="r")


def _taken(pile: Path, begin: int, end: int) -> Columns:
    return tuple(np.array(_column(pile, number)[begin:end]) for number in range(len(_FIELDS)))


def _sorted(parts: Sequence[Columns]) -> Columns:
    """Join *parts*, and sort them by their first column; equal rows keep their order."""
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return tuple(column[order] for column in joined)


def _merged(piles: Sequence[Path], at_once: int) -> Iterator[Columns]:
    """Merge sorted *piles* bit by bit; of equal events, those of the earlier pile come first."""
    step = max(1, at_once // len(piles))
    marks = np.concatenate([_column(pile, 0)[::step] for pile in piles])
    # Of the events above one of these, no more than two times *at_once* lie below the next.
    levels = np.unique(np.sort(marks)[:: len(piles)])
    if not len(levels):
        return
    first, after = (
        np.array([np.searchsorted(_column(pile, 0), levels, side=side) for pile in piles])
        for side in ("left", "right")
    )
    ends = np.column_stack([first[:, 1:], [len(_column(pile, 0)) for pile in piles]])
    for begins, equal, stops in zip(first.T, after.T, ends.T, strict=True):
        if (equal - begins).sum() > at_once:
            for pile, begin, stop in zip(piles, begins, equal, strict=True):
                for start in range(begin, stop, at_once):
                    yield _taken(pile, start, min(start + at_once, stop))
            begins = equal  # noqa: PLW2901
        yield _sorted([_taken(*each) for each in zip(piles, begins, stops, strict=True)])


def _wrong(found: str) -> AframeError:
    return AframeError(
        "the events cannot be ranked",
        found=found,
        wanted_by="false alarm rates",
        fix="run the inference again, with more analyzed time where there is none",
    )
