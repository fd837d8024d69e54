"""Contradictions between numbers that planning and the stages refuse alike.

Standard library only, so that a task refuses before anything runs, and on any machine, what
its stage would refuse hours later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from aframe.errors import AframeError

_ROUNDING = 1e-9


def refuse_band(sample_rate: float, *, wanted_by: str, **edges: float | None) -> None:
    """Refuse edges of a frequency band that *sample_rate* cannot hold.

    An edge at the Nyquist frequency is refused too: a highpass there leaves nothing, and a
    lowpass cuts nothing, which ``None`` says.

    Args:
        sample_rate: Samples a second (Hz).
        wanted_by: Who asks, for the message.
        edges: Frequencies (Hz) by name, to be ascending; ``None`` for an open edge.

    Raises:
        AframeError: If an edge is not between zero and Nyquist, or the band is empty.
    """
    nyquist = sample_rate / 2
    given = {name: value for name, value in edges.items() if value is not None}
    for name, value in given.items():
        # Not a number is in no band.
        if not 0 < value < nyquist:
            raise AframeError(
                f"{name} is not between zero and the Nyquist frequency",
                found=f"{name} {value:g} Hz with sample_rate {sample_rate:g} Hz",
                wanted_by=wanted_by,
                fix=f"choose a {name} below {nyquist:g} Hz, leave it open, or raise sample_rate",
            )
    if any(low >= high for low, high in pairwise(given.values())):
        raise AframeError(
            "the band is empty",
            found=", ".join(f"{name} {value:g} Hz" for name, value in given.items()),
            wanted_by=wanted_by,
            fix=f"choose {' < '.join(given)}",
        )


def refuse_fractions(
    *,
    sample_rate: float,
    kernel_length: float,
    fduration: float,
    psd_length: float,
    inference_sampling_rate: float,
    batch_size: int,
    wanted_by: str,
) -> None:
    """Refuse a stream of kernels whose lengths are not whole numbers of samples.

    Args:
        sample_rate: Samples a second (Hz).
        kernel_length: Length of the network's input (s).
        fduration: Length of the whitening filter's impulse response (s).
        psd_length: Length of the data before a block that give its PSD (s).
        inference_sampling_rate: Kernels a second (Hz).
        batch_size: Kernels in a block.
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If a length is none or no whole number of samples; it names each.
    """
    rate = inference_sampling_rate
    counts = {
        "sample_rate / inference_sampling_rate": sample_rate / rate if rate else math.inf,
        "kernel_length * sample_rate": kernel_length * sample_rate,
        "fduration / 2 * sample_rate": fduration / 2 * sample_rate,
        "psd_length * sample_rate": psd_length * sample_rate,
        "batch_size": batch_size,
    }
    # Exactly whole: the whitening truncates, so a product a hair below is a sample less there.
    wrong = {
        name: count for name, count in counts.items() if count < 1 or not float(count).is_integer()
    }
    if wrong:
        raise AframeError(
            "a length is no whole number of samples",
            found=", ".join(f"{name} is {count}" for name, count in wrong.items()),
            wanted_by=wanted_by,
            fix="choose lengths (s) and rates (Hz) whose product is whole and above zero",
        )


def refuse_short_psd(psd_length: float, fftlength: float, *, wanted_by: str) -> None:
    """Refuse data for a PSD that are shorter than one of its segments.

    Args:
        psd_length: Length of the data (s).
        fftlength: Length of a Welch segment (s).
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If so.
    """
    if psd_length < fftlength:
        raise AframeError(
            "the data for the PSD are shorter than one Welch segment",
            found=f"psd_length {psd_length:g} s, fftlength {fftlength:g} s",
            wanted_by=wanted_by,
            fix="choose a longer psd_length, or a shorter fftlength",
        )


def refuse_shifts(
    shifts: Sequence[float], ifos: Sequence[str], inference_sampling_rate: float, *, wanted_by: str
) -> None:
    """Refuse shifts that do not fit the detectors or the kernels' stride.

    Args:
        shifts: Shift of each detector (s).
        ifos: Detectors.
        inference_sampling_rate: Kernels a second (Hz).
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If their numbers differ, or one is negative or no whole number of strides.
    """
    if len(shifts) != len(ifos):
        raise AframeError(
            "the shifts do not fit the detectors",
            found=f"{len(shifts)} shifts for {len(ifos)} detectors ({', '.join(ifos)})",
            wanted_by=wanted_by,
            fix="give one shift (s) for each detector",
        )
    strides = [shift * inference_sampling_rate for shift in shifts]
    # 0.7 s at 10 Hz is 7.000000000000001 strides; slides are rounded to whole ones.
    if any(stride < 0 or abs(stride - round(stride)) > _ROUNDING for stride in strides):
        raise AframeError(
            "a shift is no whole number of strides",
            found=f"shifts {list(shifts)} s at {inference_sampling_rate:g} kernels a second",
            wanted_by=wanted_by,
            fix="choose shifts that are not negative and whole multiples of "
            "1 / inference_sampling_rate",
        )


def refuse_windows(
    *,
    inference_sampling_rate: float,
    integration_window_length: float,
    cluster_window_length: float,
    wanted_by: str,
) -> None:
    """Refuse windows over scores that hold too few of them.

    Args:
        inference_sampling_rate: Kernels, and so scores, a second (Hz).
        integration_window_length: Length of the average over scores (s).
        cluster_window_length: Time in which one event is kept (s).
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If the average is over nothing, or less than two scores are clustered.
    """
    # Half the scores of the window lie on either side of an event.
    if integration_window_length <= 0 or int(inference_sampling_rate * cluster_window_length) < 2:  # noqa: PLR2004
        raise AframeError(
            "the windows over scores are too short",
            found=f"integration_window_length {integration_window_length:g} s, "
            f"cluster_window_length {cluster_window_length:g} s",
            wanted_by=wanted_by,
            fix="integrate over more than nothing, and cluster over "
            "2 / inference_sampling_rate at least",
        )


def refuse_late_average(
    *,
    kernel_length: float,
    fduration: float,
    psd_length: float,
    inference_sampling_rate: float,
    integration_window_length: float,
    wanted_by: str,
) -> None:
    """Refuse a first average of scores that would begin before the strain does.

    It ends at *psd_length*, and the kernels of all its scores and their filters lie before.

    Args:
        kernel_length: Length of the network's input (s).
        fduration: Length of the whitening filter's impulse response (s).
        psd_length: Length of the data before the first average (s).
        inference_sampling_rate: Kernels, and so scores, a second (Hz).
        integration_window_length: Length of the average over scores (s).
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If so.
    """
    rate = inference_sampling_rate
    strides = (kernel_length + fduration) * rate + int(rate * integration_window_length)
    if int(psd_length * rate + _ROUNDING) < strides - _ROUNDING:
        raise AframeError(
            "the first average of scores would begin before the strain",
            found=f"psd_length {psd_length:g} s, kernel_length {kernel_length:g} s, fduration "
            f"{fduration:g} s, integration_window_length {integration_window_length:g} s",
            wanted_by=wanted_by,
            fix=f"choose a psd_length of {math.ceil(strides - _ROUNDING) / rate:g} s or more, "
            "or integrate over less",
        )
