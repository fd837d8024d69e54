"""The Q-scan."""

import numpy as np
import pytest

from aframe_sv.neighborhood import Candidate, Series
from aframe_sv.sections.qscan import qscan, scan

RATE, ZERO = 1024.0, 1_126_259_462.4


def noise(rng, seconds=4.0):
    """Whitened noise around the event."""
    return rng.normal(size=int(seconds * RATE))


def series(values):
    """Values with the event in their middle."""
    return Series(values, ZERO - values.shape[-1] / RATE / 2, RATE)


@pytest.mark.parametrize(("frequency", "time"), [(60.0, -0.3), (150.0, 0.05)])
def test_a_burst_is_bright_where_it_is(frequency, time):
    """A sine-Gaussian stands at its own time and frequency, and its SNR is that put in."""
    times = np.arange(int(4 * RATE)) / RATE - 2.0 - time
    width = 8 / (2 * np.pi * frequency)  # a quality factor of 8 sqrt(2)
    burst = np.exp(-((times / width) ** 2) / 2) * np.cos(2 * np.pi * frequency * times)
    burst *= 15 / np.sqrt((burst**2).sum())
    rng = np.random.default_rng(4)

    found = scan(series(noise(rng) + burst), ZERO)

    row, column = np.unravel_index(found.energy.argmax(), found.energy.shape)
    assert found.frequencies[row] == pytest.approx(frequency, rel=0.1)
    assert found.times[column] == pytest.approx(time, abs=0.02)
    # Energy in units of the median, which is ln 2 of the mean; noise adds a few of 15.
    assert np.sqrt(2 * np.log(2) * found.energy.max()) == pytest.approx(15, abs=4)


def test_noise_stays_at_its_median():
    """The energy of noise is exponential: half of it is below 1, in every seed."""
    for seed in range(5):
        found = scan(series(noise(np.random.default_rng(seed))), ZERO, 32.0)

        assert np.median(found.energy) == pytest.approx(1, abs=0.35)
        assert found.energy.max() < 25
        assert found.frequencies[0] == pytest.approx(32.0)


@pytest.mark.parametrize("shift", [-1.8, 1.9, 50.0])
def test_too_little_strain_has_no_scan(shift):
    """An event at the edge of what was kept."""
    strain = series(noise(np.random.default_rng(1)))

    assert scan(strain, ZERO + shift) is None
    flat = Series(np.zeros(8), ZERO, RATE)
    both = Series(np.stack([strain.values, strain.values]), strain.gps_start, RATE)
    assert qscan(Candidate(ZERO + shift, 1.0, both, flat, flat), ("H1", "L1"), "event 1") is None


def test_each_detector_has_its_scan():
    """In one image with one scale; a detector that nothing names has a number."""
    rng = np.random.default_rng(2)
    both = series(np.stack([noise(rng), noise(rng)]))
    flat = Series(np.zeros(8), ZERO, RATE)

    drawn = qscan(Candidate(ZERO, 1.0, both, flat, flat), ("H1",), "event 3", 32.0)

    assert drawn.media == "image/webp"
    assert drawn.content[:4] == b"RIFF"
    assert "brightest: H1 " in drawn.alt
    assert "detector 2 " in drawn.alt
