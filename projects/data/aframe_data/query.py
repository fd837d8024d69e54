"""The verb `query`: when all detectors have data."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

from aframe.artifacts.segments import Segment, intersect, longer_than, write_segments
from aframe.errors import AframeError
from aframe.program import Draft, Resources

from aframe_data.sources import Simulated, Source, refuse_missing_psds

OUTPUT = "segments.txt"


@dataclass(frozen=True, kw_only=True)
class QuerySettings:
    """Settings of ``aframe-data query``.

    Args:
        output: Directory in which ``segments.txt`` appears.
        ifos: Detectors that must have data at once.
        source: Where strain comes from.
        start: Begin of the time asked about (GPS s); a simulation needs it.
        stop: End of it (GPS s); a simulation needs it.
        min_duration: Shortest segment to keep (s).
        resources: How to use the machine.
    """

    output: Path
    ifos: tuple[str, ...]
    source: Source
    start: float | None = None
    stop: float | None = None
    min_duration: float = 0.0
    resources: Resources = field(default_factory=Resources)


def query(settings: QuerySettings, draft: Draft) -> None:
    """Find the segments in which all detectors have data."""
    found = {ifo: [Segment(settings.start, settings.stop)] for ifo in settings.ifos}
    together = functools.reduce(intersect, found.values())
    segments = longer_than(together, settings.min_duration)
    write_segments(draft.path / OUTPUT, segments)
