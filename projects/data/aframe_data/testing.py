"""The verb `testing_waveforms`: injections that measure the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aframe.artifacts.ledger import read_metadata
from aframe.artifacts.segments import Segment, read_segments, slides_for_injections, slots, subtract
from aframe.artifacts.strain import StrainFile, list_strain
from aframe.branches import run_branches
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_data.checks import refuse_not_positive
from aframe_data.injections import (
    REJECTED,
    InjectionSettings,
    Table,
    branch_path,
    branch_reads,
    branch_size,
    branch_writes,
    merge_branches,
    refuse_misfits,
    refuse_unfit_strain,
    write_branch,
)
from aframe_data.streams import stream

OUTPUT, OUTPUT_REJECTED = "waveforms.hdf5", "rejected-parameters.hdf5"


@dataclass(frozen=True)
class TestingInputs:
    """What `testing_waveforms` reads.

    Args:
        segments: The segments that were fetched.
        background: Directory of their strain.
    """

    segments: Path
    background: Path


@dataclass(frozen=True, kw_only=True)
class TestingSettings(InjectionSettings):
    """Settings of ``aframe-data testing_waveforms``.

    Args:
        inputs: What to read.
        shifts: Shift of each detector in the first time slide (s); slide *j* has *j* times it.
        spacing: Time between one waveform's end and the next one's start (s).
        buffer: Time kept free at either end of a slide (s).
        jitter: Injection times vary evenly by up to this (s).
        psd_length: Strain before the first output of a slide, for its PSD (s).

    Raises:
        AframeError: If a value cannot be meant.
    """

    inputs: TestingInputs
    shifts: tuple[float, ...] = (0.0, 1.0)
    spacing: float = 16.0
    buffer: float = 16.0
    jitter: float = 0.1
    psd_length: float = 64.0

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_not_positive(self, "spacing", "buffer", "jitter", "psd_length", zero=True)
        if len(self.shifts) != len(self.ifos):
            raise AframeError(
                "shifts and detectors differ in number",
                found=f"shifts {list(self.shifts)} of {', '.join(self.ifos)}",
                wanted_by="the time slides",
                fix="give one shift a detector",
            )
        if 2 * self.jitter > self.spacing:
            raise AframeError(
                "jittered injections could overlap",
                found=f"jitter {self.jitter:g} s with spacing {self.spacing:g} s",
                wanted_by="the times of the injections",
                fix="choose a jitter of at most half the spacing",
            )


def testing_waveforms(settings: TestingSettings, draft: Draft) -> None:
    """Generate the injections that measure the search, spaced over the testing strain.

    Each takes its SNR from the PSD of the strain file that it goes to.
    """
    files = list_strain(settings.inputs.background, settings.ifos)
    refuse_unfit_strain(settings, files)
    _refuse_uncovered(read_segments(settings.inputs.segments), files)
    refuse_misfits(settings)
    branches = list(_branches(settings, files))
    todo = [
        (settings, file, columns, "testing waveforms", number, draft.work)
        for number, (file, columns) in enumerate(branches)
        if not branch_path(draft.work, number).exists()
    ]
    workers = settings.resources.workers
    run_branches(
        write_branch,
        todo,
        draft=draft,
        workers=workers,
        unit="branches",
        reads=branch_reads,
        writes=branch_writes,
    )
    merge_branches(draft.work, len(branches), draft.path / OUTPUT)
    merge_branches(draft.work, len(branches), draft.path / OUTPUT_REJECTED, REJECTED)
    draft.notes["draws"] = read_metadata(draft.path / OUTPUT)["num_injections"]


def _refuse_uncovered(segments: Sequence[Segment], files: Sequence[StrainFile]) -> None:
    left = subtract(segments, [file.segment for file in files])
    if left:
        raise AframeError(
            "strain is missing",
            found=f"no file covers {left[0].start:.0f} to {left[0].stop:.0f}"
            f" and {len(left) - 1} more stretches",
            wanted_by="the segments to inject into",
            fix="run `aframe-data fetch` with these segments",
        )


def _branches(
    settings: TestingSettings, files: Sequence[StrainFile]
) -> Iterator[tuple[StrainFile, Table]]:
    """Lay out the slots, first slide first, and gather them in branches of one file each."""
    times, shifts, owners = injection_slots(settings, [file.segment for file in files])
    times += settings.jitter * stream(settings.seed, "jitter").uniform(-1, 1, len(times))
    most = branch_size(settings.window)
    for owner, file in enumerate(files):
        (mine,) = np.nonzero(owners == owner)
        for part in np.split(mine, range(most, len(mine), most)):
            if part.size:
                yield file, {"injection_time": times[part], "shift": shifts[part]}


def injection_slots(
    settings: TestingSettings, segments: Sequence[Segment]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay out the times of all injections, before any jitter.

    Returns:
        GPS times (s), the detectors' shifts (s), shape ``(signal, ifo)``, and the number of
        the segment of each.

    Raises:
        AframeError: If the segments have too few slots in any number of slides.
    """
    layout = {
        "spacing": settings.spacing,
        "duration": settings.waveform_duration,
        "buffer": settings.buffer,
        "psd_length": settings.psd_length,
    }
    shifts = np.array(settings.shifts)
    slides = slides_for_injections(
        segments, settings.shifts, num_signals=settings.num_signals, **layout
    )
    places = [
        (slide, owner, np.array(slots(segment, list(slide * shifts), **layout)))
        for slide in range(1, slides + 1)
        for owner, segment in enumerate(segments)
    ]
    counts = [len(times) for *_, times in places]
    first = slice(settings.num_signals)
    times = np.concatenate([times for *_, times in places])[first]
    numbers, owners = (
        np.repeat(np.array([place[each] for place in places], int), counts)[first]
        for each in (0, 1)
    )
    return times, numbers[:, None] * shifts, owners
