"""Which slides of which segments are searched, and where each injection goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from aframe.artifacts.segments import (
    Segment,
    are_apart,
    coalesce,
    event_time,
    intersect,
    slides_for_livetime,
)
from aframe.artifacts.strain import StrainFile, list_strain
from aframe.checks import refuse_late_average
from aframe.errors import AframeError
from aframe.transforms.stream import Stream
from aframe_infer.injections import Injections
from aframe_infer.kernels import first_kernel, num_kernels
from aframe_infer.settings import COMMAND, InferSettings, contradiction
from aframe_infer.slides import NONE, Branch, outputs
from aframe_infer.statistic import integration_size, raw_times


def plan(
    settings: InferSettings, stream: Stream, injections: Injections
) -> tuple[list[Branch], list[Branch]]:
    """Lay out slides and zero lag.

    Args:
        settings: What is asked for.
        stream: Lengths of the exported stream.
        injections: All injections.

    Returns:
        Slides of the background's segments, and unshifted segments (none if zero lag is
        not searched).

    Raises:
        AframeError: If strain does not fit the settings or is too little, or an injection
            lies where nothing is searched.
    """
    refuse_late_average(
        kernel_length=stream.kernel_length,
        fduration=stream.fduration,
        psd_length=stream.psd_length,
        inference_sampling_rate=stream.inference_sampling_rate,
        integration_window_length=settings.integration_window_length,
        wanted_by=COMMAND,
    )
    background = _strain(settings.inputs.background, settings)
    planned = [
        Branch(
            file,
            shifts,
            _inside(file, searched, rows, injections, stream),
            "background",
            left_out(settings, stream, file, shifts),
        )
        for shifts, rows in _slides(settings, _count(settings, stream, background), injections)
        for file in background
        if len(searched := outputs(stream, file.duration, shifts))
    ]
    _refuse_stray(settings, injections, [row for branch in planned for row in branch.rows])
    return planned, _zero_lag(settings, stream, background)


def in_background(branches: Sequence[Branch]) -> list[Branch]:
    """Select the slides of segments that count as background, in an order of their own.

    Injections may ask for further ones: for zero lag, for some in which two detectors stay
    together, and for some that pair the detectors as another slide does.
    """
    chosen: dict[tuple[float, tuple[float, ...]], Branch] = {}
    for branch in sorted(branches, key=lambda each: (each.shifts, each.file.start)):
        first = min(branch.shifts)
        pairing = tuple(shift - first for shift in branch.shifts)
        if are_apart(branch.shifts):
            chosen.setdefault((branch.file.start, pairing), branch)
    return list(chosen.values())


def left_out(
    settings: InferSettings, stream: Stream, file: StrainFile, shifts: Sequence[float]
) -> np.ndarray:
    """Numbers of a slide's outputs that strain of known events has a part in.

    An output is made of the strain of all kernels in its average and of their filters. The PSD,
    a median over a longer time, counts for nothing here.
    """
    known = intersect(known_strain(settings), [file.segment])
    if settings.known_events_are == "kept" or not known:
        return NONE
    rate, searched = stream.inference_sampling_rate, outputs(stream, file.duration, shifts)
    ends = (searched + 1) / rate
    begins = ends - _reach(settings, stream)
    hit = np.zeros(len(searched), bool)
    for (start, stop), shift in product(known, shifts):
        moved = file.start + shift
        first = np.searchsorted(moved + ends, start, side="right")
        hit[first : np.searchsorted(moved + begins, stop, side="left")] = True
    return searched[hit]


def _reach(settings: InferSettings, stream: Stream) -> float:
    """Length of the strain that an output is made of (s)."""
    rate = stream.inference_sampling_rate
    window = integration_size(rate, settings.integration_window_length)
    return (window - 1) / rate + stream.kernel_length + stream.fduration


def left_out_times(
    settings: InferSettings, stream: Stream, offset: float
) -> list[tuple[float, float]]:
    """When events are left out of the background, to a stride, in the order of time (GPS s).

    An event of a slide is left out if ``detection_time + shift[k]`` lies in one of these for any
    detector k.

    Args:
        settings: Settings of the search.
        stream: Its stream.
        offset: What is added to raw times (s).
    """
    if settings.known_events_are == "kept":
        return []
    times = raw_times(stream, 0.0, settings.integration_window_length, np.array([-1]))
    after = float(times[0]) + offset
    reach = _reach(settings, stream)
    return [(start + after, stop + reach + after) for start, stop in known_strain(settings)]


def known_strain(settings: InferSettings) -> list[Segment]:
    """Strain around the known events."""
    half = settings.known_events_half_width
    times = map(event_time, settings.known_events)
    return coalesce(Segment(time - half, time + half) for time in times)


def _count(settings: InferSettings, stream: Stream, files: Sequence[StrainFile]) -> int:
    """Count the slides that give the background asked for, without what is left out of it."""
    rate = stream.inference_sampling_rate
    segments = [_whole_strides(file, stream) for file in files]
    slides, lost = 0, 0
    while True:
        # No fewer slides will do: those that this many lose, more lose as well.
        wanted = slides_for_livetime(
            segments,
            settings.shifts,
            psd_length=first_kernel(stream) / rate,
            livetime=settings.Tb + lost / rate,
        )
        if wanted == slides:
            return slides
        for slide in range(slides + 1, wanted + 1):
            shifts = [slide * shift for shift in settings.shifts]
            lost += sum(len(left_out(settings, stream, file, shifts)) for file in files)
        slides = wanted


def _whole_strides(file: StrainFile, stream: Stream) -> Segment:
    """Cut a segment to the strides that are searched, so that planned time is searched time."""
    seconds = num_kernels(stream, file.duration) / stream.inference_sampling_rate
    return Segment(file.start, file.start + seconds)


def _slides(
    settings: InferSettings, count: int, injections: Injections
) -> Iterator[tuple[tuple[float, ...], np.ndarray]]:
    """Give the shifts (s) of each slide, asked for or injected into, and its injections' rows."""
    rate = settings.inference_sampling_rate
    asked = np.outer(np.arange(1, count + 1), settings.shifts)
    moved = np.concatenate([asked, injections.shift]) * rate
    # A ledger holds its shifts in single precision.
    strides = moved.round()
    if not np.allclose(moved, strides, rtol=0, atol=1e-3) or (strides < 0).any():
        raise contradiction(
            f"shifts of injections that are negative or no multiples of {1 / rate:g} s",
            "run `aframe-data testing_waveforms` with the shifts of this search",
        )
    slides, owners = np.unique(strides, axis=0, return_inverse=True)
    owners = owners.ravel()[len(asked) :]
    ends = np.bincount(owners, minlength=len(slides)).cumsum()
    rows = np.split(np.argsort(owners, kind="stable"), ends[:-1])
    for slide, mine in zip(slides / rate, rows, strict=True):
        yield tuple(slide.tolist()), mine


def _inside(
    file: StrainFile,
    searched: np.ndarray,
    rows: np.ndarray,
    injections: Injections,
    stream: Stream,
) -> np.ndarray:
    """Select the *rows* that coalesce in the time that the *searched* kernels stand for."""
    strides = (injections.time[rows] - file.start) * stream.inference_sampling_rate
    return rows[(strides >= searched[0]) & (strides < searched[-1] + 1)]


def _zero_lag(
    settings: InferSettings, stream: Stream, background: Sequence[StrainFile]
) -> list[Branch]:
    if not settings.zero_lag:
        return []
    directory = settings.inputs.zero_lag_background
    files = _strain(directory, settings) if directory else background
    still = (0.0,) * len(settings.ifos)
    folder = "zero_lag" if directory else "background"
    none = np.empty(0, np.int64)
    planned = [
        Branch(file, still, none, folder)
        for file in files
        if len(outputs(stream, file.duration, still))
    ]
    if not planned:
        raise AframeError(
            "no strain is long enough to search at zero lag",
            found=f"segments of {', '.join(f'{file.duration:g} s' for file in files)}",
            wanted_by=f"psd_length {settings.psd_length:g} s",
            fix="give longer segments, a shorter psd_length, or zero_lag false",
        )
    return planned


def _strain(directory: Path, settings: InferSettings) -> list[StrainFile]:
    files = list_strain(directory, settings.ifos)
    if files[0].sample_rate != settings.sample_rate:
        raise AframeError(
            "the strain has another sample rate",
            found=f"{files[0].path} at {files[0].sample_rate:g} Hz",
            wanted_by=f"sample_rate {settings.sample_rate:g} Hz",
            fix="fetch the strain at this sample rate, or train with the strain's",
        )
    return files


def _refuse_stray(settings: InferSettings, injections: Injections, placed: Sequence[int]) -> None:
    """Refuse injections that would count as missed though nobody looked."""
    stray = np.setdiff1d(np.arange(len(injections.time)), placed)
    if len(stray):
        raise AframeError(
            "injections lie outside the strain that is analyzed",
            found=f"{len(stray)} of {len(injections.time)} in {injections.path}, the first "
            f"at {injections.time[stray[0]]:.2f} s with shifts {injections.shift[stray[0]]} s",
            wanted_by=f"the search: from psd_length {settings.psd_length:g} s after the start of "
            "a background segment until its end less the largest shift",
            fix="run `aframe-data testing_waveforms` again with this background and "
            f"psd_length {settings.psd_length:g}",
        )
