"""Integration, clustering and times against the rules written out, and a known example."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aframe.transforms.stream import Stream
from aframe_infer.statistic import cluster, integrate, integration_size, kernel_number, raw_times

STREAM = Stream(2048, 1.5, 1.0, 64.0, 4, 128)
# Coarse steps make plateaus, on which rules about ties show.
SCORES = hnp.arrays(np.float32, st.integers(1, 200), elements=st.integers(-6, 6).map(float))
HALVES = st.integers(1, 20)
# How fast the machine is today is not what these tests are about.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def _by_the_rules(statistic, half):
    """Walk over the outputs one by one."""
    position = max(range(min(half, len(statistic))), key=lambda i: (statistic[i], -i))
    events = []
    while position < len(statistic):
        ahead = range(position + 1, min(position + 1 + half, len(statistic)))
        louder = [i for i in ahead if statistic[i] > statistic[position]]
        if louder:
            position = max(louder, key=lambda i: (statistic[i], -i))
        else:
            events.append(position)
            position += half + 1
    return events


@pytest.mark.parametrize("quiet", [0.0, -20.0])
def test_the_known_example(quiet):
    """Six loud outputs among 800: one event of 6.0 at 99.25 s, and 31 of nothing.

    Where nothing scores far below zero, there is still no other event at the start.
    """
    scores = np.full(800, quiet, np.float32)
    scores[400:406] += 7
    window = integration_size(4, 1.5)

    statistic = integrate(scores[256 - window + 1 :], window)
    found = cluster(statistic, int(4 * 8.0) // 2)
    times = raw_times(STREAM, 0.0, 1.5, 256 + found)

    assert window == 7
    assert len(statistic) == 544
    assert len(found) == 32
    assert times[:3].tolist() == [62.0, 66.25, 70.5]
    loud = statistic[found] > quiet + 1
    assert statistic[found][loud] == pytest.approx([quiet + 6.0])
    assert statistic[found][~loud] == pytest.approx(quiet)
    assert times[loud].tolist() == [99.25]


@UNHURRIED
@given(SCORES, HALVES)
def test_clustering_walks_by_its_rules(statistic, half):
    """As the plain walk does, ties and ends included."""
    assert cluster(statistic, half).tolist() == _by_the_rules(statistic, half)


@UNHURRIED
@given(SCORES, HALVES)
def test_events_are_apart_and_none_is_exceeded_soon_after(statistic, half):
    """No two lie within half a window, and nothing louder follows within it."""
    found = cluster(statistic, half)

    assert (np.diff(found) > half).all()
    for event in found:
        assert (statistic[event + 1 : event + half + 1] <= statistic[event]).all()


@UNHURRIED
@given(SCORES, HALVES)
def test_a_peak_is_always_found(statistic, half):
    """What is louder than all within half a window of it is an event, whatever came before."""
    peaks = [
        i
        for i, value in enumerate(statistic)
        if all(
            value > other
            for j, other in enumerate(statistic[max(0, i - half) : i + half + 1])
            if j != min(i, half)
        )
    ]

    assert set(peaks) <= set(cluster(statistic, half).tolist())


@UNHURRIED
@given(SCORES, HALVES)
def test_the_loudest_output_is_kept(statistic, half):
    """No event is lost by clustering that is louder than every one kept."""
    assert statistic[cluster(statistic, half)].max() == statistic.max()


def test_nothing_gives_no_event():
    """A slide that is just too short has no output."""
    assert cluster(np.empty(0), 4).tolist() == []


@UNHURRIED
@given(SCORES, st.data())
def test_integration_is_a_causal_mean(scores, data):
    """Over the scores up to and with each, from the first that has a whole window."""
    window = data.draw(st.integers(1, len(scores)))
    by_hand = [scores[i - window + 1 : i + 1].mean() for i in range(window - 1, len(scores))]

    np.testing.assert_allclose(integrate(scores, window), by_hand, atol=1e-12)


@UNHURRIED
@given(st.integers(0, 10_000), st.sampled_from([1.0, 1.5, 2.25]))
def test_a_raw_time_tells_its_kernel(number, integration):
    """The number of an event's last kernel comes back from its time."""
    (time,) = raw_times(STREAM, 1_126_259_462.0, integration, np.array([number]))

    assert kernel_number(STREAM, 1_126_259_462.0, integration, time) == number
