"""Frame files (GWF), read through gwpy; apart, since gwpy takes its time to import."""

from __future__ import annotations

from pathlib import Path

import lalframe
import numpy as np
from gwpy.io.gwf import get_channel_names
from gwpy.timeseries import TimeSeries
from jaxtyping import Float

from aframe.artifacts.segments import Segment, coalesce, gps
from aframe.errors import AframeError

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


def span(path: Path) -> list[Segment]:
    """Times of a frame file's frames, from its table of contents."""
    # The table is the file's, and gone with it.
    file = lalframe.FrameUFrFileOpen(str(path), "r")
    contents = lalframe.FrameUFrTOCRead(file)
    starts = [
        sum(lalframe.FrameUFrTOCQueryGTimeModf(contents, number))
        for number in range(lalframe.FrameUFrTOCQueryNFrame(contents))
    ]
    lengths = [lalframe.FrameUFrTOCQueryDt(contents, number) for number in range(len(starts))]
    return coalesce(
        [Segment(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    )


def sample_rate(path: Path, channel: str) -> float:
    """Samples a second of a channel (Hz).

    No table of contents has it, so that this reads the channel in the first frame: some
    seconds for an hour of strain. Ask it of one file of many.
    """
    file = lalframe.FrameUFrFileOpen(str(path), "r")
    series = lalframe.FrameUFrChanRead(file, channel, 0)
    return round(1 / lalframe.FrameUFrChanVectorQueryDx(series, 0), 6)


def read(
    path: Path, channel: str, segment: Segment, *, sample_rate: float
) -> Float[np.ndarray, " time"]:
    """Read a channel's samples.

    Raises:
        AframeError: If a frame of *segment* lacks the channel, or has it at another rate.
    """
    start, stop = segment
    try:
        found = TimeSeries.read(path, channel, start=start, end=stop, format="gwf")
    except (OSError, RuntimeError, ValueError) as error:
        raise _unfit(path, f"no {channel} from {gps(start)} to {gps(stop)}: {error}") from error
    rate = round(float(found.sample_rate.value), 6)
    if rate != sample_rate:
        raise _unfit(path, f"{channel} at {rate:g} Hz, elsewhere at {sample_rate:g} Hz")
    return np.asarray(found.value, float)


def _unfit(path: Path, found: str) -> AframeError:
    return AframeError(
        "a frame file is not like the others",
        found=f"{path}: {found}",
        wanted_by="the setting `source`",
        fix="narrow the source to frames of one kind, or fetch the file again",
    )
