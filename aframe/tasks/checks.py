"""What can be known to fail from the parameters alone, before anything runs."""

from __future__ import annotations

from typing import Any

from aframe import checks, sources
from aframe.artifacts.segments import (
    Segment,
    event_time,
    refuse_standing,
    slides_for_injections,
    slides_for_livetime,
)
from aframe.errors import AframeError


def refuse_band(task: Any) -> None:
    """Refuse a *highpass* or *lowpass* of *task* that its *sample_rate* cannot hold."""
    checks.refuse_band(
        task.sample_rate, highpass=task.highpass, lowpass=task.lowpass, wanted_by=_asker(task)
    )


def refuse_stream(task: Any) -> None:
    """Refuse kernels of *task* that do not fall on samples, and a PSD shorter than its segments.

    The stages refuse the same, but only once the network is trained.
    """
    names = ("sample_rate", "kernel_length", "fduration", "psd_length", "batch_size")
    lengths = {name: getattr(task, name) for name in (*names, "inference_sampling_rate")}
    checks.refuse_fractions(**lengths, wanted_by=_asker(task))
    fftlength = task.fftlength or task.kernel_length + task.fduration
    checks.refuse_short_psd(task.psd_length, fftlength, wanted_by=_asker(task))


def refuse_other_stream(task: Any, export: Any) -> None:
    """Refuse to take strain in other updates than those that *export* is told of."""
    theirs = export.streaming()
    wrong = [
        f"{name} {value:g} ({export.task_family} has {theirs[name]:g})"
        for name, value in task.streaming().items()
        if value != theirs[name]
    ]
    if wrong:
        raise _wrong(
            task,
            "the network would be exported for another stream",
            ", ".join(wrong),
            "give both the same values",
        )


def refuse_window(task: Any) -> None:
    """Refuse a coalescence that lies before the waveform's start."""
    if task.right_pad >= task.waveform_duration:
        raise _wrong(
            task,
            "the coalescence lies outside the waveform",
            f"right_pad {task.right_pad:g} s of a waveform of {task.waveform_duration:g} s",
            "choose a right_pad shorter than waveform_duration",
        )


def refuse_source(task: Any) -> None:
    """Refuse a source that leaves out a detector of *task*, or names what cannot be."""
    sources.refuse_source(task.source, task.ifos, wanted_by=_asker(task))


def refuse_low_rate(task: Any) -> None:
    """Refuse a source that is sampled lower than *task* wants, as far as it tells."""
    sources.refuse_rate(task.source, task.sample_rate, wanted_by=_asker(task))


def refuse_span(task: Any) -> None:
    """Refuse a span of *task* that ends before it starts, and none where its source has no own.

    One that is shorter than the shortest segment to keep has none.
    """
    sources.refuse_span(task.source, task.start, task.stop, wanted_by=_asker(task))
    if task.start is None or task.stop is None:
        return
    if task.stop - task.start < task.min_duration:
        raise AframeError(
            "the span of strain is shorter than the shortest segment to keep",
            found=f"start {task.start:g}, stop {task.stop:g}: {task.stop - task.start:g} s; "
            f"min_duration {task.min_duration:g} s",
            wanted_by=_asker(task),
            fix="lengthen the span, or lower min_duration",
        )


def refuse_few_slots(task: Any, strain: Any) -> None:
    """Refuse more injections than the span of *strain* has room for in any number of slides."""
    for segment in _span(strain):
        slides_for_injections(
            [segment],
            task.shifts,
            spacing=task.spacing,
            duration=task.waveform_duration,
            buffer=task.buffer,
            num_signals=task.num_signals,
            psd_length=task.psd_length,
        )


def refuse_livetime(task: Any, strain: Any) -> None:
    """Refuse more background than the span of *strain* gives in any number of slides."""
    for segment in _span(strain):
        slides_for_livetime([segment], task.shifts, psd_length=task.psd_length, livetime=task.Tb)


def _span(strain: Any) -> list[Segment]:
    """The most that *strain* can hold; nothing is known before its files are read."""
    if strain.start is None or strain.stop is None:
        return []
    return [Segment(strain.start, strain.stop)]


def refuse_shifts(task: Any) -> None:
    """Refuse shifts that fit neither detectors nor stride, or leave two detectors together."""
    checks.refuse_shifts(
        task.shifts, task.ifos, task.inference_sampling_rate, wanted_by=_asker(task)
    )
    refuse_standing(task.shifts)


def refuse_nameless_events(task: Any) -> None:
    """Refuse known events whose time cannot be told."""
    for event in task.known_events:
        event_time(event)


def refuse_windows(task: Any) -> None:
    """Refuse windows over scores that hold too few of them."""
    names = ("inference_sampling_rate", "integration_window_length", "cluster_window_length")
    lengths = {name: getattr(task, name) for name in names}
    checks.refuse_windows(**lengths, wanted_by=_asker(task))


def refuse_late_average(task: Any) -> None:
    """Refuse a first average of scores that would begin before the strain."""
    names = ("kernel_length", "fduration", "psd_length", "inference_sampling_rate")
    lengths = {name: getattr(task, name) for name in (*names, "integration_window_length")}
    checks.refuse_late_average(**lengths, wanted_by=_asker(task))


def refuse_stray_injections(task: Any, injections: Any) -> None:
    """Refuse *injections* that come before *task* searches, or after: they would be missed.

    They lie ``psd_length + buffer + waveform_duration / 2`` from the start and the latter two
    from the end of what is searched, give or take the jitter.
    """
    free = injections.buffer + injections.waveform_duration / 2 - injections.jitter
    if min(free, injections.psd_length + free - task.psd_length) < 0:
        raise _wrong(
            task,
            "injections would lie where nothing is searched",
            f"psd_length {injections.psd_length:g} s, buffer {injections.buffer:g} s and jitter "
            f"{injections.jitter:g} s of the injections, psd_length {task.psd_length:g} s "
            "of the search",
            f"set psd_length = {task.psd_length:g} in [luigi_{injections.task_family}], with less "
            "jitter than buffer",
        )


def _wrong(task: Any, problem: str, found: str, fix: str) -> AframeError:
    return AframeError(problem, found=found, wanted_by=_asker(task), fix=fix)


def _asker(task: Any) -> str:
    return f"{task.task_family} ([luigi_{task.task_family}] or [luigi_base] of the .cfg)"
