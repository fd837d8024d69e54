"""What is refused before any work, with the standard library alone."""

from __future__ import annotations

from collections.abc import Sequence

from aframe.errors import AframeError


def refuse_impossible(
    *,
    ifos: Sequence[str],
    sample_rate: float,
    kernel_length: float,
    fduration: float,
    fftlength: float | None,
    highpass: float | None,
    lowpass: float | None,
) -> None:
    """Refuse a preprocessing that cannot be.

    Args:
        ifos: Detectors.
        sample_rate: Samples a second (Hz).
        kernel_length: Length of a whitened kernel (s).
        fduration: Length of the whitening filter (s).
        fftlength: Length of a Welch segment (s), or ``None``.
        highpass: Lower edge of the band (Hz), or ``None``.
        lowpass: Upper edge of the band (Hz), or ``None``.

    Raises:
        AframeError: If a detector stands twice, a length is not positive, or the band is
            empty or reaches beyond Nyquist.
    """
    lengths = {
        "sample_rate": sample_rate,
        "kernel_length": kernel_length,
        "fduration": fduration,
        "fftlength": kernel_length if fftlength is None else fftlength,
    }
    wrong = [f"{name} {value:g}" for name, value in lengths.items() if value <= 0]
    if len(set(ifos)) < max(1, len(ifos)):
        wrong.append(f"ifos {list(ifos)}")
    nyquist = sample_rate / 2
    low, high = highpass or 0.0, nyquist if lowpass is None else lowpass
    if not 0 <= low < high <= nyquist:
        wrong.append(f"highpass {highpass} Hz, lowpass {lowpass} Hz")
    if wrong:
        raise AframeError(
            "the preprocessing is impossible",
            found=", ".join(wrong),
            wanted_by=f"whitening at {sample_rate:g} Hz, Nyquist {nyquist:g} Hz",
            fix="name each detector once, give lengths above zero, and "
            "highpass < lowpass <= Nyquist",
        )
