"""Simulated noise: a pure function of time with the right spectrum and no seams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch
from scipy.stats import kstest

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.noise import BLOCK, ColoredNoise, coloring_response
from aframe_data.spectra import Asd, load_asd

RATE = 256
#: A block begins here.
SEAM = float(BLOCK * 77_500_000)


@pytest.fixture(scope="module")
def noise():
    """Noise at a low rate, for speed."""
    asd = load_asd("aLIGOO3LowT1800545", nyquist=RATE / 2, wanted_by="a test")
    return ColoredNoise(asd, sample_rate=RATE, seed=1, ifo="H1")


@pytest.fixture(scope="module")
def long(noise):
    """Noise of many blocks from a seam on."""
    return noise(Segment(SEAM, SEAM + 100))


@given(st.integers(0, 99), st.integers(1, 60))
@settings(max_examples=30)
def test_any_chunk_has_the_same_samples(noise, long, start, duration):
    """Bit for bit, wherever it begins and ends."""
    stop = min(start + duration, 100)

    found = noise(Segment(SEAM + start, SEAM + stop))

    assert found.dtype == np.float32
    assert (found == long[start * RATE : stop * RATE]).all()


def test_chunks_may_begin_between_seconds(noise, long):
    """Any sample will do."""
    assert (noise(Segment(SEAM + 0.5, SEAM + 1.25)) == long[RATE // 2 : RATE * 5 // 4]).all()


def test_detectors_and_seeds_are_independent(noise, curve):
    """Their correlation is that of chance."""
    segment = Segment(SEAM, SEAM + 64)
    others = [(1, "L1"), (2, "H1")]
    series = [noise(segment)] + [
        ColoredNoise(curve, sample_rate=RATE, seed=seed, ifo=ifo)(segment) for seed, ifo in others
    ]
    whitened = [np.diff(one) / np.diff(one).std() for one in series]

    for other in whitened[1:]:
        # Colored noise has fewer independent samples than white.
        assert abs(np.mean(whitened[0] * other)) < 0.1


def test_filter_has_the_spectrum_asked_for(curve):
    """To a percent in power from 10 Hz to Nyquist, gone below half of that."""
    response = abs(coloring_response(curve, 1024)) ** 2 * 2 / 1024
    frequencies = np.arange(len(response)) / (2 * BLOCK)
    band = frequencies >= 10.5

    np.testing.assert_allclose(response[band], curve(frequencies[band]) ** 2, rtol=0.01)
    assert response[frequencies < 4.5].max() < 1e-4 * curve(np.array([10.0])) ** 2


def test_filter_starts_where_the_curve_does():
    """A curve from 30 Hz on is not continued to 10 Hz."""
    asd = Asd(np.array([30.0, 200.0]), np.array([1e-22, 1e-22]))
    response = abs(coloring_response(asd, 256)) ** 2 * 2 / 256
    frequencies = np.arange(len(response)) / (2 * BLOCK)

    np.testing.assert_allclose(response[frequencies > 30.5], 1e-44, rtol=0.01)
    assert response[frequencies < 14.5].max() < 1e-50


def test_noise_has_the_spectrum_of_its_filter(noise):
    """An hour's Welch estimate, averaged over bands, agrees to its own error of a percent."""
    strain = noise(Segment(SEAM, SEAM + 3600)).astype(float)
    frequencies, psd = welch(strain, RATE, nperseg=4 * RATE)
    wanted = np.interp(
        frequencies,
        np.arange(len(noise.response)) / (2 * BLOCK),
        abs(noise.response) ** 2 * 2 / RATE,
    )

    ratio = psd / wanted
    bands = [(15, 30), (30, 60), (60, 90), (90, 127)]

    # 60 bins and 1800 half-overlapping segments: an error of 0.4 %.
    for low, high in bands:
        band = (frequencies >= low) & (frequencies < high)
        assert ratio[band].mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("offset", [0.0, BLOCK / 2], ids=["across a seam", "within a block"])
def test_autocorrelation_is_the_same_everywhere(noise, offset):
    """Products of samples left and right of a seam follow the filter's spectrum."""
    strain = noise(Segment(SEAM, SEAM + 300 * BLOCK)).astype(float).reshape(300, -1)
    strain = np.concatenate([strain[:-1], strain[1:]], axis=1)
    middle = round((BLOCK - offset) * RATE)
    power = abs(noise.response) ** 2
    wanted = np.fft.irfft(power)
    reach = np.arange(-8, 8)

    for lag in (1, 2, 5, 16):
        left, right = strain[:, middle + reach - lag], strain[:, middle + reach]
        found = (left * right).mean()
        # 299 places, each with a variance about that of the product of two normals.
        error = wanted[0] * np.sqrt(2 / 299)
        assert found == pytest.approx(wanted[lag], abs=4 * error)


def test_noise_is_gaussian(noise):
    """Samples far apart are independent and normal."""
    strain = noise(Segment(SEAM, SEAM + 2000)).astype(float)
    variance = np.fft.irfft(abs(noise.response) ** 2)[0]

    assert kstest(strain[::RATE] / np.sqrt(variance), "norm").pvalue > 1e-3


@pytest.mark.parametrize("start", [SEAM + 1e-4, 3.0])
def test_refuses_times_off_the_grid(noise, start):
    """Between samples, or before there are blocks, there is no noise."""
    with pytest.raises(AframeError, match="begins and ends on samples"):
        noise(Segment(start, SEAM + 1))
