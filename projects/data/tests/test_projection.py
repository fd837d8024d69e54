"""Responses of detectors, against LAL and against formulas written out."""

from __future__ import annotations

import lal
import lalsimulation
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aframe.errors import AframeError
from aframe_data.projection import optimal_snr, refuse_unknown_detectors, responses, series

RATE, DURATION = 1024, 4
IFOS = ("L1", "H1", "V1")


def bursts(count, seed=0):
    """Smooth polarizations well inside their window: sine-Gaussians at 60 and 90 Hz."""
    time = np.arange(RATE * DURATION) / RATE - DURATION / 2
    rng = np.random.default_rng(seed)
    amplitudes = rng.uniform(0.5, 1, (count, 2, 1)) * 1e-22
    frequencies = np.array([60.0, 90.0])[:, None]
    waves = np.cos(2 * np.pi * frequencies * time + 1) * np.exp(-((time / 0.1) ** 2))
    return (amplitudes * waves).astype(np.float32)


def skies(count, seed=1):
    """Places, polarization angles and times."""
    rng = np.random.default_rng(seed)
    angles = {
        "ra": rng.uniform(0, 2 * np.pi, count),
        "dec": np.arcsin(rng.uniform(-1, 1, count)),
        "psi": rng.uniform(0, np.pi, count),
    }
    return angles, 1.2e9 + rng.uniform(0, 1e6, count)


def test_projects_as_lalsimulation_does():
    """SimDetectorStrain interpolates in time what is turned in phase here."""
    waves, (angles, times) = bursts(5), skies(5)

    spectra = responses(waves, angles, times, IFOS, RATE).astype(complex)
    frequencies = np.fft.rfftfreq(RATE * DURATION, 1 / RATE)

    for row in range(5):
        start = lal.LIGOTimeGPS(times[row] - DURATION / 2)
        plus, cross = (
            lal.CreateREAL8TimeSeries("", start, 0, 1 / RATE, None, RATE * DURATION)
            for _ in range(2)
        )
        plus.data.data, cross.data.data = waves[row].astype(float)
        place = [float(angles[name][row]) for name in ("ra", "dec", "psi")]
        for column, ifo in enumerate(IFOS):
            detector = lal.cached_detector_by_prefix[ifo]
            strain = lalsimulation.SimDetectorStrainREAL8TimeSeries(plus, cross, *place, detector)
            # LAL's samples lie between ours: take ours to their times.
            turn = np.exp(2j * np.pi * frequencies * float(strain.epoch - start))
            found = series(spectra[row, column] * turn, RATE * DURATION, RATE)
            wanted = strain.data.data[: found.size]
            # LAL takes delays from some seconds earlier, when the earth stood otherwise: up to
            # 5 us, which at 90 Hz are 3e-3 rad.
            assert abs(found[: wanted.size] - wanted).max() < 3e-3 * abs(waves[row]).max()


@given(st.integers(0, 2**20))
@settings(max_examples=20)
def test_a_delay_does_not_change_the_power(seed):
    """Response power is that of the pattern applied to the waves."""
    waves, (angles, times) = bursts(1, seed), skies(1, seed)
    detector = lal.cached_detector_by_prefix["H1"]
    sidereal = lal.GreenwichMeanSiderealTime(lal.LIGOTimeGPS(times[0]))
    pattern = lal.ComputeDetAMResponse(
        detector.response, *(float(angles[name][0]) for name in ("ra", "dec", "psi")), sidereal
    )

    found = series(responses(waves, angles, times, ["H1"], RATE), RATE * DURATION, RATE)

    power = np.sum((np.array(pattern) @ waves[0].astype(float)) ** 2)
    assert np.sum(found.astype(float) ** 2) == pytest.approx(power, rel=1e-4)


def test_snr_is_that_of_its_formula():
    """Written out in double precision."""
    waves, (angles, times) = bursts(3), skies(3)
    spectra = responses(waves, angles, times, IFOS, RATE)
    frequencies = np.fft.rfftfreq(RATE * DURATION, 1 / RATE)
    psds = 1e-46 * (1 + (50 / np.maximum(frequencies, 1)) ** 4) * np.array([[1.0], [2.0], [5.0]])
    band = (frequencies >= 40) & (frequencies < 200)

    found = optimal_snr(spectra, psds, band, DURATION)

    strain = series(spectra, RATE * DURATION, RATE).astype(float)
    transform = np.fft.rfft(strain)[..., band] / RATE
    wanted = np.sqrt(4 * np.sum(abs(transform) ** 2 / psds[:, band], axis=-1) / DURATION)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(optimal_snr(3 * spectra, psds, band, DURATION), 3 * found, rtol=1e-5)


def test_snr_is_the_scatter_of_a_matched_filter():
    """Filtered by the signal, noise scatters by its SNR; the signal gives the SNR squared."""
    waves, (angles, times) = bursts(1), skies(1)
    spectra = responses(waves, angles, times, ["H1"], RATE)
    level = 1e-46
    strain = series(spectra, RATE * DURATION, RATE)[0, 0].astype(float)
    noise = np.random.default_rng(0).normal(size=(4000, strain.size)) * np.sqrt(level * RATE / 2)

    psds = np.full((1, spectra.shape[-1]), level)
    rho = optimal_snr(spectra, psds, np.ones(spectra.shape[-1], bool), DURATION)[0, 0]

    # <n|h> = 2 / S * sum(n h) / rate for white noise of one-sided density S.
    filtered = 2 / level * (noise @ strain) / RATE
    assert 2 / level * (strain @ strain) / RATE == pytest.approx(rho**2, rel=1e-3)
    assert filtered.std() == pytest.approx(rho, rel=0.05)


def test_refuses_detectors_without_a_place():
    """The message lists those with one."""
    refuse_unknown_detectors(IFOS)
    with pytest.raises(AframeError, match=r"X9[\s\S]*H1"):
        refuse_unknown_detectors(("H1", "X9"))
