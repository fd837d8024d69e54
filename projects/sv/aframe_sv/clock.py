"""How well the search tells the time of an event, as it measured on loud injections."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aframe.artifacts.record import read_record, record_path
from aframe_sv.evidence import Inputs


@dataclass(frozen=True)
class Clock:
    """Resolution of the times of events.

    Args:
        injections: Loud injections that it was measured on.
        scatter: Standard deviation of a refined time, as the loudest zero-lag events have (s).
        stride: Distance of the times that all other events have (s).
    """

    injections: int
    scatter: float
    stride: float

    @property
    def plus_minus(self) -> str:
        """Error of a refined time, rounded up to what is shown of a time (s).

        Example:
            >>> Clock(64, scatter=0.0275, stride=0.25).plus_minus
            ' ± 0.03'
        """
        # Seven digits first: 0.03 must not become 0.04 for what floats are.
        return f" ± {max(math.ceil(round(100 * self.scatter, 7)), 1) / 100:.2f}"


def read_clock(inputs: Inputs) -> Clock | None:
    """Read what the search wrote into its record of its times; ``None`` where nothing is there."""
    events = inputs.zero_lag or inputs.foreground
    # Vetoed events lie in a folder of their own, beside the record of the search.
    folders = (events.parent, events.parent.parent) if events else ()
    found = (read_record(record_path(folder, "infer")) for folder in folders)
    record = next((one for one in found if one), None)
    measured = (record.notes.get("calibration") or {}) if record else {}
    if record is None or not measured.get("injections"):
        return None
    stride = 1 / record.settings["inference_sampling_rate"]
    return Clock(measured["injections"], measured["fine_scatter"], stride)
