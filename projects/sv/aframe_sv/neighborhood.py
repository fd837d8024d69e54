"""What lies around an event or an injection: whitened strain and scores, as the search saw them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from aframe.artifacts.hdf5 import reading

_SAID = ("injection_time", "snr", "mass_1", "mass_2", "redshift")


@dataclass(frozen=True)
class Series:
    """A stretch of equally spaced values.

    Args:
        values: The values, the last axis in time.
        gps_start: GPS time of the first (s).
        sample_rate: Values a second (Hz).
    """

    values: Float[np.ndarray, "*ifo time"]
    gps_start: float
    sample_rate: float

    def times(self, zero: float) -> Float[np.ndarray, " time"]:
        """Times of the values after *zero* (s)."""
        return self.gps_start - zero + np.arange(self.values.shape[-1]) / self.sample_rate


@dataclass(frozen=True)
class Candidate:
    """The neighborhood of an event.

    Args:
        time: GPS time of the event, or of the merger that was injected (s).
        statistic: Detection statistic of the event.
        whitened: Whitened strain, a row a detector (standard deviations of the noise).
        scores: Output of the network.
        integrated: The detection statistic against time.
        offset: Time of the event after *time* (s).
        injection: Parameters of the injection that this is; none for an event.
        found: Whether the search found it.
        shifts: How much later each detector's strain is read than *time* says, in a slide (s).
    """

    time: float
    statistic: float
    whitened: Series
    scores: Series
    integrated: Series
    offset: float = 0.0
    injection: dict[str, float] = field(default_factory=dict)
    found: bool = True
    shifts: tuple[float, ...] = ()

    @property
    def injected(self) -> bool:
        """Whether this is an injection."""
        return bool(self.injection)

    @property
    def slid(self) -> bool:
        """Whether this is an event of the background."""
        return bool(self.shifts)


def read_candidates(path: Path, most: int | None = None) -> list[Candidate]:
    """Read the first candidates or examples: all of them, or the first *most*.

    Raises:
        AframeError: If the file is not one of candidates.
    """
    with reading(path, "a file of candidates") as file:
        found = []
        for rank in range(len(file))[:most]:
            group = file[str(rank)]
            start, series = group.attrs["gps_start"], {}
            for name in ("whitened", "scores", "integrated"):
                dataset = group[name]
                begin = float(dataset.attrs.get("gps_start", start))
                series[name] = Series(dataset[:], begin, float(dataset.attrs["sample_rate"]))
            event, statistic = (float(group.attrs[f"detection_{k}"]) for k in ("time", "statistic"))
            injection = {name: float(group.attrs[name]) for name in _SAID if name in group.attrs}
            time = injection.get("injection_time", event)
            was_found = bool(group.attrs.get("found", True))
            shifts = tuple(map(float, group.attrs.get("shift", ())))
            offset = event - time
            found.append(
                Candidate(time, statistic, **series, offset=offset, injection=injection,
                          found=was_found, shifts=shifts)
            )  # fmt: skip
        return found
