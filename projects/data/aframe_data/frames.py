"""Frame files (GWF), read through gwpy; apart, since gwpy takes its time to import."""

from __future__ import annotations

from pathlib import Path

import lalframe
import numpy as np
from gwpy.io.gwf import data_segments, get_channel_names
from gwpy.timeseries import TimeSeries
from jaxtyping import Float

from aframe.artifacts.segments import Segment

#: First bytes of a frame file.
MAGIC = b"IGWD"
#: The structure that ends a frame file is not longer (LIGO-T970130).
_TAIL = 64


def is_whole(path: Path) -> bool:
    """Whether a frame file has its end, without which LALFrame would crash.

    A frame file ends with a structure that holds the file's size.

    Source:
        LIGO-T970130, the class FrEndOfFile.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    return any(size.to_bytes(8, order) in tail for order in ("little", "big"))


def channels(path: Path) -> list[str]:
    """Names of a frame file's channels."""
    return list(get_channel_names(path))


def span(path: Path, channel: str) -> list[Segment]:
    """Times at which a frame file has *channel* (GPS s)."""
    return [Segment(float(start), float(stop)) for start, stop in data_segments([path], channel)]


def sample_rate(path: Path, channel: str) -> float:
    """Samples a second of a channel (Hz), from the header of its first frame."""
    file = lalframe.FrameUFrFileOpen(str(path), "r")
    series = lalframe.FrameUFrChanRead(file, channel, 0)
    return round(1 / lalframe.FrameUFrChanVectorQueryDx(series, 0), 6)


def read(path: Path, channel: str, segment: Segment) -> Float[np.ndarray, " time"]:
    """Read a channel's samples."""
    found = TimeSeries.read(path, channel, start=segment.start, end=segment.stop, format="gwf")
    return np.asarray(found.value, float)
