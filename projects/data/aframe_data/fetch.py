"""The verb `fetch`: strain of all segments, at one sample rate, in files of bounded length."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from aframe.artifacts.segments import Segment, coalesce, intersect, read_segments
from aframe.artifacts.strain import strain_name, write_strain
from aframe.branches import run_branches
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_data import nds
from aframe_data.archives import Archive, find_archive
from aframe_data.checks import (
    refuse_fraction,
    refuse_not_positive,
    refuse_unnamed,
    refuse_wrong_workers,
)
from aframe_data.noise import ColoredNoise
from aframe_data.query import refuse_out_of_reach, whole_seconds
from aframe_data.recordings import Recording, assemble, find_recordings, refuse_gaps
from aframe_data.resampling import margin, resample_piece
from aframe_data.sources import Files, Nds2, Simulated, Source, refuse_low_rate, refuse_unfit
from aframe_data.spectra import Asd, load_asd

OUTPUT = "background"
#: Each piece to fetch, and the segment that it is a piece of.
Plan = tuple[tuple[Segment, Segment], ...]
#: What gives a detector's strain: a curve to color noise by, files to read, or a server.
Origin = Asd | tuple[Recording, ...] | Archive | nds.Channel


@dataclass(frozen=True)
class FetchInputs:
    """What `fetch` reads.

    Args:
        segments: The segments to fetch, as `query` writes them.
    """

    segments: Path


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """Settings of ``aframe-data fetch``.

    Args:
        inputs: What to read.
        output: Directory in which the folder ``background`` appears.
        ifos: Detectors, in the order of the channels.
        source: Where strain comes from: JSON with a kind, as ``projects/data/README.md`` shows.
        sample_rate: Samples a second to write (Hz), a whole number.
        max_duration: Longest file to write (s).
        seed: Seed of simulated noise.
        resources: How to use the machine.

    Raises:
        AframeError: If a value cannot be meant.
    """

    inputs: FetchInputs
    output: Path
    ifos: tuple[str, ...]
    source: Source
    sample_rate: float
    max_duration: float = 20000.0
    seed: int = 0
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        refuse_unnamed(self.ifos)
        refuse_not_positive(self, "sample_rate")
        refuse_not_positive(self, "seed", zero=True)
        refuse_fraction(self, "sample_rate")
        refuse_wrong_workers(self.resources)
        if self.max_duration < 1:
            raise AframeError(
                "strain files would be shorter than a second",
                found=f"max_duration {self.max_duration:g} s",
                wanted_by="the setting `max_duration`",
                fix="give at least 1 s; some thousand make good files",
            )
        refuse_unfit(self.source, self.ifos)
        refuse_low_rate(self.source, self.sample_rate)


def fetch(settings: FetchSettings, draft: Draft) -> None:
    """Fetch the strain of all segments, resampled, into HDF5 files.

    A segment longer than the longest file is cut into equal pieces of whole seconds.
    """
    segments = whole_seconds(coalesce(read_segments(settings.inputs.segments)))
    if not segments:
        raise AframeError(
            "there is nothing to fetch",
            found=f"no whole second in {settings.inputs.segments}",
            wanted_by="aframe-data fetch",
            fix="find segments with `aframe-data query`",
        )
    downloads = draft.work / "downloads"
    for cut_short in downloads.glob(".*"):
        cut_short.unlink()
    origins = _origins(settings, segments, downloads)
    directory = draft.path / OUTPUT
    plan = tuple(
        (piece, segment) for segment in segments for piece in pieces(segment, settings.max_duration)
    )
    todo = [(settings, origins, piece, directory, plan) for piece in _left(plan, directory)]
    workers = settings.resources.workers
    run_branches(
        fetch_piece,
        todo,
        draft=draft,
        workers=workers,
        unit="files",
        reads=_reads,
        writes=_writes,
    )


def _reads(
    settings: FetchSettings,
    origins: Mapping[str, Origin],
    piece: tuple[Segment, Segment],
    *_branch: Any,
) -> list[Path]:
    """Local files that a piece is read from; what is on a server is downloaded where it is read."""
    reached = _reached(*piece, settings.sample_rate)
    local = [one for origin in origins.values() if isinstance(origin, tuple) for one in origin]
    return [one.path for one in local if intersect([one.segment], [reached])]


def _writes(
    _settings: FetchSettings,
    _origins: Mapping[str, Origin],
    piece: tuple[Segment, Segment],
    directory: Path,
    _plan: Plan,
) -> list[Path]:
    return [directory / strain_name(piece[0].start, piece[0].duration)]


def _left(plan: Plan, directory: Path) -> list[tuple[Segment, Segment]]:
    """Those pieces of which no file is there yet."""
    return [
        (piece, around)
        for piece, around in plan
        if not list(directory.glob(f"*-{piece.start:010.0f}-{piece.duration:.0f}.hdf5"))
    ]


def pieces(segment: Segment, max_duration: float) -> list[Segment]:
    """Cut a segment of whole seconds into the fewest equal pieces that are short enough.

    Example:
        >>> pieces(Segment(0.0, 100.0), 40.0)
        [Segment(start=0.0, stop=33.0), Segment(start=33.0, stop=66.0),
         Segment(start=66.0, stop=100.0)]
    """
    seconds = round(segment.duration)
    count = math.ceil(seconds / math.floor(max_duration))
    edges = [segment.start + seconds * index // count for index in range(count + 1)]
    return [Segment(*pair) for pair in pairwise(edges)]


def _origins(
    settings: FetchSettings, segments: Sequence[Segment], downloads: Path
) -> dict[str, Origin]:
    """Find what each detector's strain comes from, and refuse what is unfit."""
    source, ifos = settings.source, settings.ifos
    if isinstance(source, Simulated):
        return {**_curves(settings, source)}
    origins: dict[str, Origin]
    if isinstance(source, Nds2):
        origins = {ifo: nds.channel(source, ifo, segments[0]) for ifo in ifos}
    elif isinstance(source, Files):
        found = find_recordings(source, ifos)
        origins = {ifo: tuple(one for one in found if one.ifo == ifo) for ifo in ifos}
    else:
        origins = {ifo: find_archive(source, ifo, segments, downloads) for ifo in ifos}
    for ifo, origin in origins.items():
        _refuse_unfit(origin, segments, ifo, settings.sample_rate)
    return origins


def _curves(settings: FetchSettings, source: Simulated) -> dict[str, Asd]:
    return {
        ifo: load_asd(
            source.psds[ifo],
            nyquist=settings.sample_rate / 2,
            wanted_by=f"simulated strain of {ifo}",
        )
        for ifo in settings.ifos
    }


def refuse_unfit_source(settings: FetchSettings) -> None:
    """Refuse what the headers of local files, and the noise curves, already tell.

    Raises:
        AframeError: If there is no such curve or it ends too low, a file is missing, cut
            short, foreign, or of an unfit rate, or a server's client or name is missing.
    """
    source = settings.source
    refuse_out_of_reach(source)
    if isinstance(source, Simulated):
        _curves(settings, source)
    elif isinstance(source, Files):
        found = find_recordings(source, settings.ifos)
        for ifo in dict.fromkeys(one.ifo for one in found):
            _refuse_rates([one for one in found if one.ifo == ifo], settings.sample_rate)


def _refuse_unfit(origin: Origin, segments: Sequence[Segment], ifo: str, wanted: float) -> None:
    """Refuse what does not hold all segments at the rate that is wanted, as far as is known."""
    if isinstance(origin, Archive):
        refuse_gaps(origin.files, segments, ifo)
    elif isinstance(origin, nds.Channel):
        _refuse_low(origin.sample_rate, wanted, origin.name)
    elif isinstance(origin, tuple):
        refuse_gaps(origin, segments, ifo)
        _refuse_rates(origin, wanted)


def _refuse_rates(recordings: Sequence[Recording], wanted: float) -> None:
    rates = {one.sample_rate: one.path for one in recordings}
    lowest = min(rates)
    if len(rates) > 1 or not lowest.is_integer():
        raise AframeError(
            "the files of a detector need one sample rate, a whole number",
            found=", ".join(f"{rate:g} Hz in {path}" for rate, path in rates.items()),
            wanted_by=f"strain of {recordings[0].ifo}",
            fix="narrow the source's patterns to files of one kind",
        )
    _refuse_low(lowest, wanted, str(rates[lowest]))


def _refuse_low(rate: float, wanted: float, where: str) -> None:
    if rate < wanted:
        raise AframeError(
            "strain is sampled lower than asked",
            found=f"{rate:g} Hz in {where}",
            wanted_by=f"sample_rate {wanted:g} Hz",
            fix=f"choose a sample_rate of at most {rate:g} Hz, or strain sampled higher",
        )


def fetch_piece(
    settings: FetchSettings,
    origins: Mapping[str, Origin],
    piece: tuple[Segment, Segment],
    directory: Path,
    plan: Plan,
) -> None:
    """Write the strain of one *piece* of a segment, and drop the downloads that were for it."""
    span, around = piece
    strain = np.empty((len(settings.ifos), round(span.duration * settings.sample_rate)), "f4")
    for row, ifo in zip(strain, settings.ifos, strict=True):
        row[:] = _strain(settings, origins[ifo], ifo, span, around)
    write_strain(
        directory, strain, ifos=settings.ifos, start=span.start, sample_rate=settings.sample_rate
    )
    left = [_reached(*other, settings.sample_rate) for other in _left(plan, directory)]
    for origin in origins.values():
        if isinstance(origin, Archive):
            origin.drop(left)


def _reached(piece: Segment, around: Segment, wanted: float) -> Segment:
    """What is read to resample a piece (GPS s)."""
    # The reach hardly depends on the rate that comes in; a second more covers what does.
    reach = margin(wanted, wanted) + 1
    return Segment(max(piece.start - reach, around.start), min(piece.stop + reach, around.stop))


def _strain(
    settings: FetchSettings, origin: Origin, ifo: str, piece: Segment, around: Segment
) -> Float32[np.ndarray, " time"]:
    wanted = settings.sample_rate
    if isinstance(origin, Asd):
        return ColoredNoise(origin, sample_rate=wanted, seed=settings.seed, ifo=ifo)(piece)
    if isinstance(origin, Archive):
        origin = origin.recordings(_reached(piece, around, wanted))
        _refuse_rates(origin, wanted)
    if isinstance(origin, nds.Channel):
        rate, read = origin.sample_rate, origin.read
    else:
        rate, read = origin[0].sample_rate, functools.partial(assemble, origin)
    return resample_piece(read, piece, around, sample_rate=rate, wanted=wanted)
