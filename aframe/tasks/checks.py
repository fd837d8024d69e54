"""What can be known to fail from the parameters alone, before anything runs."""

from __future__ import annotations

from typing import Any

from aframe.artifacts.segments import Segment, slides_for_injections, slides_for_livetime
from aframe.errors import AframeError

_ROUNDING = 1e-9


def refuse_band(task: Any) -> None:
    """Refuse a *highpass* or *lowpass* of *task* that its *sample_rate* cannot hold."""
    nyquist = task.sample_rate / 2
    for name in ("highpass", "lowpass"):
        value = getattr(task, name)
        if value is not None and value >= nyquist:
            raise _wrong(
                task,
                f"{name} is not below the Nyquist frequency",
                f"{name} {value:g} Hz with sample_rate {task.sample_rate:g} Hz",
                f"choose a {name} below {nyquist:g} Hz, or a higher sample_rate",
            )
    if task.highpass is not None and task.lowpass is not None and task.highpass >= task.lowpass:
        raise _wrong(
            task,
            "the band is empty",
            f"highpass {task.highpass:g} Hz, lowpass {task.lowpass:g} Hz",
            "choose a highpass below the lowpass",
        )


def refuse_stream(task: Any) -> None:
    """Refuse kernels of *task* that do not fall on samples, and a PSD shorter than its segments.

    The stages refuse the same, but only once the network is trained.
    """
    counts = {
        "sample_rate / inference_sampling_rate": task.sample_rate / task.inference_sampling_rate,
        "kernel_length * sample_rate": task.kernel_length * task.sample_rate,
        "fduration / 2 * sample_rate": task.fduration / 2 * task.sample_rate,
        "psd_length * sample_rate": task.psd_length * task.sample_rate,
    }
    wrong = [f"{name} is {count:g}" for name, count in counts.items() if not count.is_integer()]
    if wrong:
        raise _wrong(
            task,
            "a length is no whole number of samples",
            ", ".join(wrong),
            "choose lengths (s) and rates (Hz) whose product is whole",
        )
    fftlength = task.fftlength or task.kernel_length + task.fduration
    if task.psd_length < fftlength:
        raise _wrong(
            task,
            "the PSD's data are shorter than one of its segments",
            f"psd_length {task.psd_length:g} s with fftlength {fftlength:g} s",
            "choose a longer psd_length, or a shorter fftlength",
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
    """Refuse a simulation that leaves out a detector, and files that are none."""
    psds, paths = task.source.get("psds", {}), task.source.get("paths", ())
    missing = [ifo for ifo in task.ifos if ifo not in psds]
    if task.source["kind"] == "simulated" and missing:
        raise _wrong(
            task,
            "a detector has no noise curve",
            f"a source with psds of {', '.join(psds) or 'none'}",
            f"add to the source's psds: {', '.join(missing)}",
        )
    if task.source["kind"] == "files" and not paths:
        raise _wrong(
            task,
            "a source of files names none",
            "a source with no paths",
            'give it paths, such as ["/data/*.hdf5"]',
        )


def refuse_span(task: Any) -> None:
    """Refuse a span that ends before it starts; simulated strain needs one at all."""
    if task.start is None or task.stop is None:
        if task.source["kind"] == "simulated":
            raise _wrong(
                task,
                "simulated strain needs a span",
                f"start {task.start}, stop {task.stop}",
                "give start and stop (GPS s)",
            )
    elif task.start >= task.stop:
        raise _wrong(
            task,
            "the span of strain is empty",
            f"start {task.start:.0f}, stop {task.stop:.0f}",
            "choose a start before the stop",
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
    """Refuse shifts that do not fit the detectors or the kernels' stride."""
    if len(task.shifts) != len(task.ifos):
        raise _wrong(
            task,
            "the shifts do not fit the detectors",
            f"shifts {list(task.shifts)} for {','.join(task.ifos)}",
            "give one shift for each detector",
        )
    strides = [shift * task.inference_sampling_rate for shift in task.shifts]
    # 0.7 s at 10 Hz is 7.000000000000001 strides.
    if any(abs(stride - round(stride)) > _ROUNDING or stride < 0 for stride in strides):
        raise _wrong(
            task,
            "a shift is no whole number of strides",
            f"shifts {list(task.shifts)} s at {task.inference_sampling_rate:g} kernels a second",
            "choose shifts that are multiples of 1 / inference_sampling_rate, none negative",
        )


def _wrong(task: Any, problem: str, found: str, fix: str) -> AframeError:
    wanted_by = f"{task.task_family} ([luigi_{task.task_family}] or [luigi_base] of the .cfg)"
    return AframeError(problem, found=found, wanted_by=wanted_by, fix=fix)
