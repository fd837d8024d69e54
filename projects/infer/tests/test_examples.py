"""Which injections are looked at closely."""

import numpy as np

from aframe_infer.examples import NUM_EXAMPLES, choose
from aframe_infer.timing import Found


def found(raw_time, statistic):
    """Events of one branch, each nearest to the injection of its own row."""
    rows = np.arange(len(statistic))
    return Found(["branch"], np.zeros(len(rows), int), np.array(raw_time), statistic, rows)


def test_the_loudest_missed_and_the_quietest_found_are_chosen():
    """By SNR, of which each kind has its own end; many injections make them no more."""
    snr = np.random.default_rng(3).uniform(4, 40, 100)
    statistic = np.where(snr > 20, 5.0, -1.0)
    statistic[snr.argmax()], statistic[snr.argmin()] = -2.0, 6.0
    times = 100.0 + 10 * np.arange(100)

    chosen = choose(found(times - 0.5, statistic), times, snr, threshold=0.0, offset=0.5)

    missed = [event.row for event, was_found in chosen if not was_found]
    quiet = [event.row for event, was_found in chosen if was_found]
    order = np.argsort(snr)
    below, above = order[snr[order] <= 20], order[snr[order] > 20]
    assert missed == [order[-1], *below[::-1][: NUM_EXAMPLES - 1]]
    assert quiet == [order[0], *above[: NUM_EXAMPLES - 1]]


def test_an_event_far_away_is_not_that_of_the_injection():
    """However loud it is; what is looked at is then the injection's own time."""
    times, snr = np.array([100.0, 200.0]), np.array([10.0, 9.0])
    statistic = np.array([50.0, 50.0])

    (first, was_found), (second, other) = choose(
        found([102.0, 199.3], statistic), times, snr, threshold=7.0, offset=0.5
    )

    assert (first.row, was_found, first.raw_time) == (0, False, 99.5)
    assert (second.row, other, second.raw_time) == (1, True, 199.3)


def test_as_loud_as_the_loudest_noise_is_found():
    """Its false alarm rate is one count; without background, whatever has an event is found."""
    event = found([100.0], np.array([7.0]))

    for threshold, was_found in ((7.1, False), (7.0, True), (-np.inf, True)):
        ((_, said),) = choose(event, np.array([100.0]), np.array([8.0]), threshold, 0.0)
        assert said is was_found


def test_no_injections_have_no_examples():
    """An empty search."""
    none = np.empty(0)
    empty = Found([], none.astype(int), none, none, none.astype(int))

    assert choose(empty, none, none, 0.0, 0.0) == []
