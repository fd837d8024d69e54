"""Resampling: no aliases, nothing lost in band, no delay, no seams."""

from __future__ import annotations

import numpy as np
import pytest

from aframe.artifacts.segments import Segment
from aframe_data.resampling import resample, resample_piece

RATES = [(4096, 1024), (4096, 2048), (16384, 2048), (4096, 3000), (1024, 1024)]


def tone(frequency, rate, duration=8, phase=0.3):
    """A cosine."""
    return np.cos(2 * np.pi * frequency * np.arange(duration * rate) / rate + phase)


@pytest.mark.parametrize(("rate", "wanted"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.85])
def test_a_tone_in_band_keeps_amplitude_and_phase(rate, wanted, share):
    """To 1e-3, up to the edges of the series' middle."""
    frequency = share * wanted / 2

    found = resample(tone(frequency, rate), rate, wanted)

    expected = tone(frequency, wanted)
    assert found.shape == expected.shape
    assert abs(found - expected)[wanted:-wanted].max() < 1e-3


@pytest.mark.parametrize(("rate", "wanted"), RATES[:-1])
@pytest.mark.parametrize("share", [1.005, 1.1, 1.3])
def test_a_tone_above_nyquist_is_gone(rate, wanted, share):
    """More than 60 dB down, at any frequency that would fold into the band."""
    frequency = min(share * wanted / 2, 0.99 * rate / 2)

    found = resample(tone(frequency, rate), rate, wanted)

    assert abs(found[wanted:-wanted]).max() < 1e-3


def test_a_constant_stays_to_its_ends():
    """Strain drifts by far more than a signal: its ends must not ring."""
    found = resample(np.full(4096 * 2, 5.0), 4096, 1024)

    np.testing.assert_allclose(found, 5.0, rtol=1e-3)


def test_pieces_of_a_segment_fit_without_seams(monkeypatch):
    """Cut or whole, read in long or short stretches: the samples are the same."""
    monkeypatch.setattr("aframe_data.resampling._STRETCH", 7)
    strain = np.random.default_rng(0).normal(size=4096 * 30)
    around = Segment(100.0, 130.0)

    def read(segment):
        first, stop = (round((time - around.start) * 4096) for time in segment)
        return strain[first:stop]

    pieces = [
        resample_piece(read, Segment(*piece), around, sample_rate=4096, wanted=1024)
        for piece in ((100.0, 113.0), (113.0, 130.0))
    ]

    whole = resample(strain, 4096, 1024)
    np.testing.assert_allclose(np.concatenate(pieces), whole.astype("f4"), rtol=1e-4, atol=1e-5)
