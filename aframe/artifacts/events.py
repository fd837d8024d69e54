"""Events of a search: their statistic, time and false alarm rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from aframe.artifacts.ledger import Ledger, read_ledger, write_ledger
from aframe.errors import AframeError

#: Length of a Julian year (s).
JULIAN_YEAR = 31_557_600.0
_FIELDS = ("detection_statistic", "detection_time", "shift")

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


def _wrong(found: str) -> AframeError:
    return AframeError(
        "the events cannot be ranked",
        found=found,
        wanted_by="false alarm rates",
        fix="run the inference again, with more analyzed time where there is none",
    )
