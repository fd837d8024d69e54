"""What detectors see of a polarized wave, and how loud it is there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import lal
import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32
from scipy.fft import irfft, rfft

from aframe.errors import AframeError
from aframe_data.waveforms import Polarizations

Spectra = Complex64[np.ndarray, "signal ifo frequency"]
PerSignal = Float[np.ndarray, " signal"]

#: GPS time whose sidereal time turns right ascension into hour angle where signals have no
#: time of their own: the beginning of GPS second 1e9, 14 September 2011.
EPOCH = 1_000_000_000.0


def refuse_unknown_detectors(ifos: Sequence[str]) -> None:
    """Refuse detectors whose place LAL does not know.

    Raises:
        AframeError: If there is such a one.
    """
    known = lal.cached_detector_by_prefix
    unknown = [ifo for ifo in ifos if ifo not in known]
    if unknown:
        raise AframeError(
            "a detector's place is not known",
            found=", ".join(unknown),
            wanted_by="the setting `ifos`",
            fix=f"choose out of {', '.join(sorted(known))}",
        )


def responses(
    polarizations: Polarizations,
    parameters: Mapping[str, PerSignal],
    times: PerSignal,
    ifos: Sequence[str],
    sample_rate: float,
) -> Spectra:
    r"""Project polarizations onto detectors.

    .. math:: \tilde h_d(f) = (F_{+,d} \tilde h_+ + F_{\times,d} \tilde h_\times)
              e^{-2 \pi i f \tau_d}

    with the antenna pattern at the time of coalescence at the geocenter and the delay
    from there, both by LAL.

    Args:
        polarizations: Strain, shape ``(signal, 2, time)``.
        parameters: ``ra``, ``dec`` and ``psi`` (rad), shape ``(signal,)``.
        times: GPS time of each coalescence (s).
        ifos: Detectors.
        sample_rate: Samples a second (Hz).

    Returns:
        Fourier transforms (1/Hz) at the frequencies of the whole waveform's length.
    """
    # Single precision, as the strain.
    waves = rfft(polarizations, axis=-1) * np.float32(1 / sample_rate)
    patterns, delays = _geometry(parameters, times, ifos)
    spectra = patterns.astype(np.complex64) @ waves
    spectra *= _phases(-2 * np.pi * sample_rate / polarizations.shape[-1] * delays, waves.shape[-1])
    return spectra


def _phases(
    steps: Float[np.ndarray, "signal ifo"], count: int
) -> Complex64[np.ndarray, "signal ifo frequency"]:
    """Phase factors that advance by *steps* (rad) a frequency."""
    # Of a geometric series, powers below and multiples of a block's length make all members.
    block = math.isqrt(count) + 1
    low, high = (
        np.exp(1j * steps[..., None] * np.arange(block) * stride).astype(np.complex64)
        for stride in (1, block)
    )
    phases = high[..., :, None] * low[..., None, :]
    return phases.reshape(*steps.shape, -1)[..., :count]


def _geometry(
    parameters: Mapping[str, PerSignal], times: PerSignal, ifos: Sequence[str]
) -> tuple[Float[np.ndarray, "signal ifo 2"], Float[np.ndarray, "signal ifo"]]:
    """Antenna patterns, and delays from the geocenter (s)."""
    detectors = [lal.cached_detector_by_prefix[ifo] for ifo in ifos]
    patterns = np.empty((len(times), len(ifos), 2))
    delays = np.empty((len(times), len(ifos)))
    columns = (parameters[name] for name in ("ra", "dec", "psi"))
    for row, (time, *angles) in enumerate(zip(times, *columns, strict=True)):
        ra, dec, psi = map(float, angles)
        gps = lal.LIGOTimeGPS(float(time))
        sidereal = lal.GreenwichMeanSiderealTime(gps)
        for column, detector in enumerate(detectors):
            patterns[row, column] = lal.ComputeDetAMResponse(
                detector.response, ra, dec, psi, sidereal
            )
            delays[row, column] = lal.TimeDelayFromEarthCenter(detector.location, ra, dec, gps)
    return patterns, delays


def optimal_snr(
    spectra: Spectra,
    psds: Float[np.ndarray, "ifo frequency"],
    band: Bool[np.ndarray, " frequency"],
    duration: float,
) -> Float[np.ndarray, "signal ifo"]:
    r"""Signal-to-noise ratio of a filter matched to the signal, in each detector.

    .. math:: \rho^2 = 4 \sum_f \frac{|\tilde h(f)|^2}{S(f)} \Delta f

    Args:
        spectra: Fourier transforms (1/Hz).
        psds: One-sided PSDs at the same frequencies (1/Hz).
        band: Which frequencies count.
        duration: Length of the waveforms, whose inverse is the frequency step (s).
    """
    # Weighted first: the square of strain would underflow in single precision.
    weight = np.sqrt(4 / duration / psds[:, band]).astype(np.float32)
    whitened = spectra[..., band] * weight
    power = whitened.real**2 + whitened.imag**2
    return np.sqrt(power.sum(axis=-1, dtype=float))


def series(
    spectra: Spectra, size: int, sample_rate: float
) -> Float32[np.ndarray, "signal ifo time"]:
    """Bring Fourier transforms (1/Hz) back to strain of *size* samples."""
    return irfft(spectra, size, axis=-1) * np.float32(sample_rate)
