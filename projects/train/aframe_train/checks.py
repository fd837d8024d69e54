"""What is refused before any work, with the standard library alone."""

from __future__ import annotations

from collections.abc import Sequence

from aframe.checks import refuse_band
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
    if wrong:
        raise AframeError(
            "the preprocessing is impossible",
            found=", ".join(wrong),
            wanted_by="whitening",
            fix="name each detector once, and give lengths above zero",
        )
    refuse_band(sample_rate, highpass=highpass, lowpass=lowpass, wanted_by="whitening")
