"""Strain files: one dataset a detector, as gwpy writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Float32

from aframe.artifacts.hdf5 import reading, writing
from aframe.artifacts.segments import Segment, gps
from aframe.errors import AframeError

_KIND = "a strain file"
_NAME = re.compile(r".+-(?P<start>\d{10}(\.\d+)?)-(?P<duration>\d+(\.\d+)?)\.(hdf5|h5)")
_CHUNK = 131072


@dataclass(frozen=True)
class StrainFile:
    """What the header of a strain file says.

    Args:
        path: The file.
        start: GPS time of the first sample (s).
        duration: Length (s).
        sample_rate: Samples a second (Hz).
        ifos: Detectors in it, in alphabetical order.
    """

    path: Path
    start: float
    duration: float
    sample_rate: float
    ifos: tuple[str, ...]

    @property
    def segment(self) -> Segment:
        """Time from the first sample to the end of the last."""
        return Segment(self.start, self.start + self.duration)


def list_strain(directory: Path, ifos: Sequence[str]) -> list[StrainFile]:
    """Read the headers of all strain files in *directory*, sorted by time.

    Raises:
        AframeError: If there is none, one is foreign, truncated or lacks a detector,
            its name contradicts its header, or two overlap or differ in sample rate.
    """
    directory = Path(directory)
    paths = [*directory.glob("[!.]*.hdf5"), *directory.glob("[!.]*.h5")]
    if not paths:
        raise AframeError(
            "there is no strain",
            found=f"no *.hdf5 in {directory}",
            wanted_by=f"strain of {', '.join(ifos)}",
            fix="run `aframe-data fetch` first, or correct the directory",
        )
    files = sorted((_header(path, ifos) for path in paths), key=lambda file: file.start)
    for before, after in pairwise(files):
        _refuse_mixed(before, after)
    return files


def _header(path: Path, ifos: Sequence[str]) -> StrainFile:
    name = _NAME.fullmatch(path.name)
    if name is None:
        raise AframeError(
            "a file is not named as strain is",
            found=str(path),
            wanted_by="<prefix>-<GPS start, 10 digits>-<duration>.hdf5",
            fix="rename it, or move it out of the directory of the strain",
        )
    with reading(path, _KIND) as file:
        found = tuple(sorted(key for key, node in file.items() if isinstance(node, h5py.Dataset)))
        missing = [ifo for ifo in ifos if ifo not in found]
        if missing or not found:
            raise AframeError(
                "a strain file lacks a detector",
                found=f"{path} holds {', '.join(found) or 'none'}",
                wanted_by=f"strain of {', '.join(ifos)}",
                fix="fetch the strain again with these detectors, or correct `ifos`",
            )
        spans = {_span(file[ifo]) for ifo in ifos or found}
        if len(spans) > 1:
            raise ValueError(f"its detectors differ in (start, samples, dx): {sorted(spans)}")
    start, samples, dx = spans.pop()
    _refuse_contradiction(path, name, start, samples * dx)
    # 1 / dx of 1 / 16384 is exact; of 1 / 3000 it is not, so round to the micro-hertz.
    return StrainFile(path, start, samples * dx, round(1 / dx, 6), found)


def _span(dataset: h5py.Dataset) -> tuple[float, int, float]:
    if dataset.ndim != 1 or dataset.dtype.kind != "f":
        raise ValueError(f"{dataset.name} is no series of floats")
    start, dx = float(dataset.attrs["x0"]), float(dataset.attrs["dx"])
    if not (dx > 0 and np.isfinite([start, dx]).all() and dataset.size):
        raise ValueError(f"{dataset.name} has x0 {start}, dx {dx} and {dataset.size} samples")
    return start, dataset.size, dx


def _refuse_contradiction(path: Path, name: re.Match[str], start: float, duration: float) -> None:
    for said, true in ((name["start"], start), (name["duration"], duration)):
        # Names may be cut to whole seconds.
        if abs(float(said) - true) >= (1e-3 if "." in said else 1):
            raise AframeError(
                "the name of a strain file contradicts its header",
                found=f"{path} starts at {gps(start)} and lasts {gps(duration)} s",
                wanted_by="<prefix>-<GPS start, 10 digits>-<duration>.hdf5",
                fix="rename the file to what it holds, or fetch it again",
            )


def _refuse_mixed(before: StrainFile, after: StrainFile) -> None:
    if before.sample_rate != after.sample_rate:
        raise AframeError(
            "strain files differ in sample rate",
            found=f"{before.path} has {before.sample_rate} Hz, "
            f"{after.path} has {after.sample_rate} Hz",
            wanted_by="one sample rate in a directory",
            fix="fetch them again with one sample rate, or keep them in separate directories",
        )
    if after.start < before.segment.stop - 0.5 / before.sample_rate:
        raise AframeError(
            "strain files overlap",
            found=f"{before.path} and {after.path}",
            wanted_by="time that is analyzed once",
            fix="remove one of them",
        )


def read_strain(
    file: StrainFile,
    ifos: Sequence[str],
    start: float | None = None,
    stop: float | None = None,
) -> Float32[np.ndarray, "ifo time"]:
    """Read strain of *ifos*, rows in that order.

    Args:
        file: Header from :func:`list_strain`.
        ifos: Detectors.
        start: GPS time of the first sample (s); the file's if ``None``.
        stop: GPS time after the last sample (s); the file's if ``None``.

    Returns:
        Strain as float32.

    Raises:
        AframeError: If the file lacks the time or a detector, cannot be read, or holds a
            sample that is not finite.
    """
    asked = Segment(
        file.start if start is None else start, file.segment.stop if stop is None else stop
    )
    size = round(file.duration * file.sample_rate)
    first, last = (round((time - file.start) * file.sample_rate) for time in asked)
    if not 0 <= first < last <= size:
        raise AframeError(
            "a strain file does not hold the time asked for",
            found=f"{file.path}: {gps(file.start)} to {gps(file.segment.stop)}",
            wanted_by=f"strain from {gps(asked.start)} to {gps(asked.stop)}",
            fix="ask for time inside one file",
        )
    strain = np.empty((len(ifos), last - first), np.float32)
    with reading(file.path, _KIND) as content:
        for row, ifo in zip(strain, ifos, strict=True):
            content[ifo].read_direct(row, np.s_[first:last])
    _refuse_not_finite(strain, ifos, Segment(*asked), str(file.path))
    return strain


def _refuse_not_finite(
    strain: Float[np.ndarray, "ifo time"], ifos: Iterable[str], segment: Segment, where: str
) -> None:
    for ifo, row in zip(ifos, strain, strict=True):
        # A sum is finite only if all its terms are, and needs no copy of the row.
        if np.isfinite(row.sum(dtype=np.float64)):
            continue
        bad = ~np.isfinite(row)
        at = segment.start + segment.duration * int(bad.argmax()) / row.size
        raise AframeError(
            "strain has samples that are not finite",
            found=f"{where}: {int(bad.sum())} of {row.size} in {ifo}, the first at {gps(at)}",
            wanted_by="whitening, which one such sample would spoil",
            fix='fetch it again, from a source of kind "files", of which `aframe-data query` '
            "leaves such seconds out",
        )


def strain_name(start: float, duration: float, prefix: str = "background") -> str:
    """Name a strain file by its GPS start and its duration (s).

    Example:
        >>> strain_name(1126259446.5, 32.0)
        'background-1126259446.5-32.hdf5'
    """
    whole, _, fraction = gps(start).partition(".")
    return f"{prefix}-{whole:>010}{fraction and '.' + fraction}-{gps(duration)}.hdf5"


def write_strain(
    directory: Path,
    strain: Float[np.ndarray, "ifo time"],
    *,
    ifos: Sequence[str],
    start: float,
    sample_rate: float,
    prefix: str = "background",
) -> Path:
    """Write strain as float32 to ``<prefix>-<start>-<duration>.hdf5``, whole or not at all.

    Args:
        directory: Where to; made if it is missing.
        strain: One row a detector.
        ifos: Detectors, in the order of the rows.
        start: GPS time of the first sample (s).
        sample_rate: Samples a second (Hz).
        prefix: First part of the name.

    Returns:
        Path of the file.

    Raises:
        AframeError: If a sample is not finite.
    """
    duration = strain.shape[-1] / sample_rate
    path = Path(directory) / strain_name(start, duration, prefix)
    _refuse_not_finite(strain, ifos, Segment(start, start + duration), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as file:
        for ifo, row in zip(ifos, strain, strict=True):
            chunks = (min(row.size, _CHUNK),)
            dataset = file.create_dataset(ifo, data=row.astype(np.float32), chunks=chunks)
            dataset.attrs.update(
                x0=float(start), dx=1 / sample_rate, xunit="s", unit="strain", name=ifo, channel=ifo
            )
    return path
