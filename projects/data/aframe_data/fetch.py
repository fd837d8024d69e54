"""The verb `fetch`: strain of all segments, at one sample rate, in files of bounded length."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from aframe.artifacts.segments import Segment, read_segments
from aframe.artifacts.strain import write_strain
from aframe.errors import AframeError
from aframe.program import Draft, Resources, run_branches

from aframe_data.noise import ColoredNoise
from aframe_data.sources import Simulated, Source
from aframe_data.spectra import load_asd

OUTPUT = "background"


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
        sample_rate: Samples a second to write (Hz).
        max_duration: Longest file to write (s).
        seed: Seed of simulated noise.
        resources: How to use the machine.
    """

    inputs: FetchInputs
    output: Path
    ifos: tuple[str, ...]
    source: Source
    sample_rate: float
    max_duration: float = 20000.0
    seed: int = 0
    resources: Resources = field(default_factory=Resources)


def fetch(settings: FetchSettings, draft: Draft) -> None:
    """Fetch the strain of all segments, resampled, into HDF5 files."""
    segments = read_segments(settings.inputs.segments)
    directory = draft.path / OUTPUT
    todo = [
        (settings, piece, directory)
        for segment in segments
        for piece in pieces(segment, settings.max_duration)
        if not list(directory.glob(f"*-{piece.start:.0f}-*.hdf5"))
    ]
    run_branches(fetch_piece, todo, draft=draft, workers=settings.resources.workers, unit="files")


def pieces(segment: Segment, max_duration: float) -> list[Segment]:
    """Cut *segment* into the fewest pieces of whole seconds, none longer than *max_duration*."""
    start, stop = math.ceil(segment.start), math.floor(segment.stop)
    count = math.ceil((stop - start) / math.floor(max_duration))
    edges = [start + (stop - start) * index // count for index in range(count + 1)]
    return [Segment(*map(float, pair)) for pair in zip(edges, edges[1:], strict=False)]


def fetch_piece(settings: FetchSettings, piece: Segment, directory: Path) -> None:
    """Write the strain of one piece."""
    strain = np.stack([_simulated(settings, ifo)(piece) for ifo in settings.ifos])
    write_strain(
        directory,
        strain,
        ifos=settings.ifos,
        start=piece.start,
        sample_rate=settings.sample_rate,
    )


def _simulated(settings: FetchSettings, ifo: str) -> ColoredNoise:
    asd = load_asd(
        settings.source.psds[ifo], nyquist=settings.sample_rate / 2, wanted_by=f"noise of {ifo}"
    )
    return ColoredNoise(asd, sample_rate=settings.sample_rate, seed=settings.seed, ifo=ifo)
