"""The verb `fetch`: strain of all segments, at one sample rate, in files of bounded length."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from aframe.artifacts.segments import Segment, coalesce, read_segments
from aframe.artifacts.strain import write_strain
from aframe.errors import AframeError
from aframe.program import Draft, Resources, run_branches
from aframe_data.checks import (
    refuse_fraction,
    refuse_not_positive,
    refuse_unnamed,
    refuse_wrong_workers,
)
from aframe_data.noise import ColoredNoise
from aframe_data.query import whole_seconds
from aframe_data.recordings import Recording, assemble, find_recordings, refuse_gaps
from aframe_data.resampling import resample_piece
from aframe_data.sources import Simulated, Source, refuse_missing_psds
from aframe_data.spectra import Asd, load_asd

OUTPUT = "background"
#: What gives a detector's strain: a curve to color noise by, or files to read.
Origin = Asd | tuple[Recording, ...]


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
        source: Where strain comes from.
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
        if isinstance(self.source, Simulated):
            refuse_missing_psds(self.source, self.ifos)


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
    origins = _origins(settings, segments)
    directory = draft.path / OUTPUT
    todo = [
        (settings, origins, piece, segment, directory)
        for segment in segments
        for piece in pieces(segment, settings.max_duration)
        if not list(directory.glob(f"*-{piece.start:010.0f}-{piece.duration:.0f}.hdf5"))
    ]
    workers = settings.resources.workers
    run_branches(fetch_piece, todo, draft=draft, workers=workers, unit="files")


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


def _origins(settings: FetchSettings, segments: Sequence[Segment]) -> dict[str, Origin]:
    """Find what each detector's strain comes from, and refuse what is unfit."""
    source, nyquist = settings.source, settings.sample_rate / 2
    if isinstance(source, Simulated):
        return {
            ifo: load_asd(source.psds[ifo], nyquist=nyquist, wanted_by=f"simulated strain of {ifo}")
            for ifo in settings.ifos
        }
    recordings = find_recordings(source, settings.ifos)
    origins = {ifo: tuple(one for one in recordings if one.ifo == ifo) for ifo in settings.ifos}
    for ifo, mine in origins.items():
        refuse_gaps(mine, segments, ifo)
        _refuse_rates(mine, settings.sample_rate)
    return dict(origins)


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
    if lowest < wanted:
        raise AframeError(
            "strain is sampled lower than asked",
            found=f"{lowest:g} Hz in {rates[lowest]}",
            wanted_by=f"sample_rate {wanted:g} Hz",
            fix=f"choose a sample_rate of at most {lowest:g} Hz, or files sampled higher",
        )


def fetch_piece(
    settings: FetchSettings,
    origins: Mapping[str, Origin],
    piece: Segment,
    around: Segment,
    directory: Path,
) -> None:
    """Write the strain of one piece of the segment *around* it."""
    strain = np.empty((len(settings.ifos), round(piece.duration * settings.sample_rate)), "f4")
    for row, ifo in zip(strain, settings.ifos, strict=True):
        row[:] = _strain(settings, origins[ifo], ifo, piece, around)
    write_strain(
        directory, strain, ifos=settings.ifos, start=piece.start, sample_rate=settings.sample_rate
    )


def _strain(
    settings: FetchSettings, origin: Origin, ifo: str, piece: Segment, around: Segment
) -> Float32[np.ndarray, " time"]:
    wanted = settings.sample_rate
    if isinstance(origin, Asd):
        return ColoredNoise(origin, sample_rate=wanted, seed=settings.seed, ifo=ifo)(piece)
    read = functools.partial(assemble, origin)
    rate = origin[0].sample_rate
    return resample_piece(read, piece, around, sample_rate=rate, wanted=wanted)
