"""Strain in local files of any layout of ours, and when it is good."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Float

from aframe.artifacts.record import strain_files
from aframe.artifacts.segments import Segment, coalesce, gps, subtract
from aframe.errors import AframeError
from aframe_data.downloads import RemoteFile
from aframe_data.sources import Files

#: Strain to look through at a time (s).
_STRETCH = 512
#: A detector, as the name of a dataset or the beginning of a channel's.
_DETECTOR = re.compile(r"[A-Z]\d(:|$)")
#: Difference of strain that was rounded to single precision (relative).
_ROUNDING = 1e-6
#: GWOSC's HDF5 layout, https://gwosc.org/yellow_box/.
_GWOSC, _GWOSC_MASK = "strain/Strain", "quality/simple/DQmask"


@dataclass(frozen=True)
class Recording:
    """One detector's strain in one file.

    Args:
        path: The file.
        ifo: Detector.
        name: Dataset, or channel of a frame file.
        segment: From the first sample to the end of the last (GPS s).
        sample_rate: Samples a second (Hz).
        frame: Whether it is a frame file.
    """

    path: Path
    ifo: str
    name: str
    segment: Segment
    sample_rate: float
    frame: bool = False

    def read(self, segment: Segment) -> Float[np.ndarray, " time"]:
        """Read the samples from the first in *segment* to the last before its end."""
        if self.frame:
            from aframe_data import frames  # noqa: PLC0415 - gwpy takes a second to import

            return frames.read(self.path, self.name, segment, sample_rate=self.sample_rate)
        first, stop = (
            math.ceil(round((time - self.segment.start) * self.sample_rate, 6)) for time in segment
        )
        with h5py.File(self.path, "r") as file:
            return file[self.name][first:stop].astype(float)


def find_recordings(source: Files, ifos: Sequence[str]) -> list[Recording]:
    """Read the headers of all files of *source*.

    Returns:
        The strain of *ifos* in them, sorted by detector and time.

    Raises:
        AframeError: If a pattern matches no file, or a file is truncated or foreign.
    """
    paths: list[Path] = []
    for pattern in source.paths:
        found = strain_files(pattern)
        if not found:
            raise AframeError(
                "there is no strain",
                found=f"no file matches {pattern}, or is in that folder",
                wanted_by="the setting `source`",
                fix="correct the pattern, or put the files there",
            )
        paths += found
    # Of each channel of frames: the rate is read once, since that reads a frame.
    rates: dict[str, float] = {}
    recordings = [
        one
        for path in dict.fromkeys(paths)
        for one in _recordings(path, ifos, source.channels, rates)
    ]
    return sorted(recordings, key=lambda one: (one.ifo, one.segment))


def _recordings(
    path: Path, ifos: Sequence[str], channels: dict[str, str], rates: dict[str, float]
) -> list[Recording]:
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return list(_in_hdf5(path, file, ifos, channels))
        return list(_in_frame(path, ifos, channels, rates))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise AframeError(
            "a strain file cannot be read",
            found=f"{path}: {error.args[0] if isinstance(error, KeyError) else error}",
            wanted_by="the setting `source`",
            fix="fetch the file again, or take it out of the pattern; strain is read from "
            "GWOSC's HDF5, from frames, and from HDF5 with a dataset a detector or channel",
        ) from error


def _in_hdf5(
    path: Path, file: h5py.File, ifos: Sequence[str], chosen: dict[str, str]
) -> Iterator[Recording]:
    if _GWOSC in file:
        attributes = ("Xstart", "Xspacing")
        found = {file["meta/Detector"][()].decode(): _GWOSC}
    else:
        attributes = ("x0", "dx")
        names = [name for name in file if _DETECTOR.match(name)]
        if not names:
            raise ValueError(
                "it holds neither strain/Strain nor a dataset a detector or channel, such as H1 "
                f"or H1:STRAIN, but {', '.join(file) or 'nothing'}"
            )
        own = {ifo: ifo if ifo in names else _channel(ifo, names, chosen) for ifo in ifos}
        found = {ifo: name for ifo, name in own.items() if name}
    for ifo, name in found.items():
        dataset = file[name]
        if not (isinstance(dataset, h5py.Dataset) and set(attributes) <= set(dataset.attrs)):
            raise ValueError(f"{name} is no dataset with attributes {' and '.join(attributes)} (s)")
        start, step = (float(dataset.attrs[attribute]) for attribute in attributes)
        if not (dataset.ndim == 1 and dataset.dtype.kind == "f" and step > 0 and dataset.size):
            raise ValueError(f"{dataset.name} is no series of floats")
        if ifo in ifos:
            segment = Segment(start, start + dataset.size * step)
            yield Recording(path, ifo, dataset.name, segment, round(1 / step, 6))


def _in_frame(
    path: Path, ifos: Sequence[str], chosen: dict[str, str], rates: dict[str, float]
) -> Iterator[Recording]:
    from aframe_data import frames  # noqa: PLC0415 - gwpy takes a second to import

    with path.open("rb") as file:
        if file.read(len(frames.MAGIC)) != frames.MAGIC:
            raise ValueError("it is neither HDF5 nor a frame file, or it is cut short")
    if not frames.is_whole(path):
        raise ValueError("it is cut short")
    names = frames.channels(path)
    for ifo in ifos:
        channel = _channel(ifo, names, chosen)
        if channel is not None:
            if channel not in rates:
                rates[channel] = frames.sample_rate(path, channel)
            for segment in frames.span(path):
                yield Recording(path, ifo, channel, segment, rates[channel], frame=True)


def _channel(ifo: str, names: Sequence[str], chosen: dict[str, str]) -> str | None:
    """Channel of a detector's strain: the one chosen, or the only one that can be meant."""
    if ifo in chosen:
        return chosen[ifo] if chosen[ifo] in names else None
    mine = [name for name in names if name.startswith(f"{ifo}:")]
    strain = [name for name in mine if "STRAIN" in name.upper()] or mine
    if len(strain) > 1:
        raise ValueError(
            f"which channel is the strain of {ifo}: {', '.join(strain)}? "
            f'Say so in the source: "channels": {{"{ifo}": "{strain[0]}"}}'
        )
    return strain[0] if strain else None


def good_segments(recording: Recording) -> list[Segment]:
    """Find the whole seconds in which all samples are finite and GWOSC's DATA bit is set."""
    start, stop = math.ceil(recording.segment.start), math.floor(recording.segment.stop)
    good: list[Segment] = []
    for begin in range(start, stop, _STRETCH):
        end = min(begin + _STRETCH, stop)
        strain = recording.read(Segment(begin, end))
        whole = np.isfinite(strain).reshape(end - begin, -1).all(axis=1)
        good += _runs(whole & _has_data(recording, begin, end), begin)
    return coalesce(good)


def _has_data(recording: Recording, begin: int, end: int) -> Bool[np.ndarray, " second"]:
    """The lowest bit of GWOSC's data quality mask, one a second, where there is a mask."""
    always = np.ones(end - begin, bool)
    if recording.frame:
        return always
    with h5py.File(recording.path, "r") as file:
        if _GWOSC_MASK not in file:
            return always
        mask = file[_GWOSC_MASK]
        first = begin - math.floor(mask.attrs.get("Xstart", recording.segment.start))
        return (mask[first : first + end - begin] & 1).astype(bool)


def _runs(good: Bool[np.ndarray, " second"], begin: int) -> Iterator[Segment]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
    for first, stop in edges.reshape(-1, 2):
        yield Segment(float(begin + first), float(begin + stop))


def assemble(recordings: Sequence[Recording], segment: Segment) -> Float[np.ndarray, " time"]:
    """Read *segment* of one detector from the files that hold it.

    Where files overlap, a sample comes from the first that has it.

    Args:
        recordings: Those of the detector, of one sample rate.
        segment: Whole seconds (GPS s).

    Raises:
        AframeError: If a part of it is in no file, or not finite, or if files differ in it.
    """
    rate = recordings[0].sample_rate
    strain = np.full(round(segment.duration * rate), np.nan)
    origin = np.zeros(strain.size, np.int32)
    for number, one in enumerate(recordings):
        start, stop = max(segment.start, one.segment.start), min(segment.stop, one.segment.stop)
        if start < stop:
            part = one.read(Segment(start, stop))
            begin = math.ceil(round((start - segment.start) * rate, 6))
            here = slice(begin, begin + part.size)
            differs = _differs(strain[here], part)
            if differs.any():
                first = begin + int(differs.argmax())
                files = recordings[origin[first]], one
                raise _contradiction(files, int(differs.sum()), segment.start + first / rate)
            new = np.isfinite(part) & ~np.isfinite(strain[here])
            strain[here][new], origin[here][new] = part[new], number
    bad = ~np.isfinite(strain)
    if bad.any():
        at = segment.start + int(bad.argmax()) / rate
        where = [str(one.path) for one in recordings if one.segment.start <= at < one.segment.stop]
        raise AframeError(
            "strain is missing",
            found=f"{int(bad.sum())} of {bad.size} samples of {recordings[0].ifo} from "
            f"{gps(segment.start)} to {gps(segment.stop)}, the first at {at:.3f} in "
            f"{', '.join(where) or 'no file'}",
            wanted_by="the segments to fetch",
            fix='take the strain from a source of kind "files", copies of downloads; remove '
            "segments.txt and run `aframe-data query --remake`: of files it looks at each sample, "
            "and leaves such seconds out",
        )
    return strain


def _differs(
    one: Float[np.ndarray, " time"], other: Float[np.ndarray, " time"]
) -> Bool[np.ndarray, " time"]:
    """Where both are finite and not the same but for the rounding to single precision."""
    known = np.isfinite(one) & np.isfinite(other)
    return known & ~np.isclose(one, other, rtol=_ROUNDING, atol=0)


def _contradiction(files: tuple[Recording, Recording], count: int, at: float) -> AframeError:
    one, other = files
    return AframeError(
        "two files have other strain at the same time",
        found=f"{count} samples of {one.ifo} in {one.path} and {other.path}, from {at:.3f} on",
        wanted_by="the segments to fetch",
        fix="take one of the two out of the source's patterns: they may be of two calibrations, "
        "or one may have been cleaned",
    )


def refuse_gaps(
    files: Sequence[Recording | RemoteFile], segments: Sequence[Segment], ifo: str
) -> None:
    """Refuse segments that no file of a detector covers, here or on a server.

    Raises:
        AframeError: If there are.
    """
    left = subtract(segments, [one.segment for one in files])
    if left:
        raise AframeError(
            "strain is missing",
            found=f"no file has {ifo} from {gps(left[0].start)} to {gps(left[0].stop)}",
            wanted_by="the segments to fetch",
            fix="remove segments.txt and find the segments again: `aframe-data query` leaves such "
            "times out",
        )
