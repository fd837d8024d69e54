"""Signals lie where their ledger says, in every detector and at every edge."""

import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_infer.injections import read_injections, signal

IFOS, RATE, START = ("H1", "L1"), 256, 1000.0


@pytest.fixture
def read(toy, tmp_path):
    """Write a ledger and read it again."""

    def make(times, shifts, snrs):
        path = toy.injections(tmp_path / "waveforms.hdf5", times, shifts, snrs)
        return read_injections(path, IFOS, float(RATE))

    return make


def _signal(found, rows, ifo="H1", shift=0.0, seconds=20):
    return signal(
        found,
        np.array(rows),
        ifo,
        start=START,
        shift=shift,
        size=seconds * RATE,
        sample_rate=float(RATE),
    )


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_the_coalescence_lies_at_its_time(read, toy, shift):
    """In the sample that holds it, later by the shift in a shifted detector."""
    found = read([1007.3], [[0, shift]], [9])

    strain = _signal(found, [0], "L1", shift)

    place = int(7.3 * RATE) + int(shift * RATE)
    assert np.abs(strain).argmax() == place
    begin = place - 3 * RATE
    np.testing.assert_array_equal(
        strain[begin : begin + 4 * RATE], -toy.burst(9).astype(np.float32)
    )
    assert not strain[:begin].any()
    assert not strain[begin + 4 * RATE :].any()


def test_overlapping_signals_add(read):
    """As waves do; rows come in any order."""
    found = read([1007.0, 1008.0], [[0, 1]] * 2, [9, 5])

    both = _signal(found, [1, 0])

    np.testing.assert_allclose(both, _signal(found, [0]) + _signal(found, [1]), atol=1e-30)


@pytest.mark.parametrize("time", [START - 30, START - 0.5, START + 1, START + 19.9, START + 50])
def test_what_lies_outside_is_cut(read, toy, time):
    """A signal across an edge keeps what is inside."""
    found = read([time], [[0, 1]], [9])
    begin = int(np.floor((time - START) * RATE)) - 3 * RATE
    everything = np.zeros(200 * RATE)
    everything[begin + 100 * RATE :][: 4 * RATE] = toy.burst(9)

    np.testing.assert_allclose(
        _signal(found, [0]), everything[100 * RATE :][: 20 * RATE], rtol=1e-6, atol=1e-40
    )


@pytest.mark.parametrize("begin", [0, 100, 1000, 3000])
def test_a_stretch_holds_what_the_segment_holds_there(read, begin):
    """To the sample, whichever signals reach into it."""
    found = read([1001.0, 1005.3, 1009.9, 1014.2], [[0, 1]] * 4, [9, 5, 7, 8])
    rows = np.arange(4)

    stretch = signal(
        found, rows, "L1", start=START, shift=1.0, size=900, sample_rate=float(RATE), begin=begin
    )

    whole = _signal(found, rows, "L1", 1.0)
    np.testing.assert_array_equal(stretch, whole[begin : begin + 900])


@pytest.mark.parametrize(
    "other", [{"ifos": ("L1", "H1")}, {"sample_rate": 512.0}], ids=["detectors", "rate"]
)
def test_refuses_injections_for_another_search(toy, tmp_path, other):
    """Detectors in another order would be injected into the wrong one."""
    path = toy.injections(tmp_path / "w.hdf5", [1007.0], [[0, 1]], [9], **other)

    with pytest.raises(AframeError, match="injections do not fit the search"):
        read_injections(path, IFOS, float(RATE))
