"""False alarm rates."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, poisson

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.errors import AframeError
from aframe_sv.far import (
    further_thresholds,
    in_words,
    measured_rate,
    poisson_interval,
    rate_in_words,
    thresholds_up_to,
)

YEAR = JULIAN_YEAR


def events(statistic, Tb=YEAR):  # noqa: N803
    """Events of these loudnesses."""
    statistic = np.asarray(statistic, float)
    return Events(
        statistic, np.arange(len(statistic), dtype=float), np.zeros((statistic.size, 2)), Tb
    )


def test_the_kth_loudest_event_has_the_rate_k_over_the_time():
    """In two years, the k-th loudest of distinct events is at k / 2 a year."""
    thresholds, fars = thresholds_up_to(events([5.0, 1.0, 4.0, 2.0, 3.0], Tb=2 * YEAR), max_far=2.0)

    assert thresholds.tolist() == [5.0, 4.0, 3.0, 2.0]
    assert fars == pytest.approx([0.5, 1.0, 1.5, 2.0])


def test_equal_events_are_one_threshold_with_all_their_counts():
    """Two events of one loudness both lie at or above it."""
    thresholds, fars = thresholds_up_to(events([3.0, 3.0, 1.0]), max_far=10.0)

    assert thresholds.tolist() == [3.0, 1.0]
    assert fars == pytest.approx([2.0, 3.0])


def test_a_background_shorter_than_one_false_alarm_keeps_its_loudest_event(caplog):
    """Half a day at one a day allows no count: the loudest is used, never the quietest."""
    half_a_day = events(np.arange(1000.0), Tb=43_200.0)

    with caplog.at_level(logging.WARNING):
        thresholds, fars = thresholds_up_to(half_a_day, max_far=365.25)

    assert thresholds.tolist() == [999.0]
    assert fars == pytest.approx([2 * 365.25])
    assert "already 730 a year, above max_far 365" in caplog.text


@given(st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=40), st.floats(0.1, 50))
def test_rates_grow_as_thresholds_fall(statistic, max_far):
    """Thresholds fall and rates rise, none (but a lone loudest) above the largest asked for."""
    thresholds, fars = thresholds_up_to(events(statistic), max_far)

    assert np.all(np.diff(thresholds) < 0)
    assert np.all(np.diff(fars) > 0)
    assert np.all(fars[1:] <= max_far * (1 + 1e-9))
    assert fars[0] == np.sum(np.array(statistic) >= thresholds[0])


def test_thresholds_go_on_to_further_counts():
    """Down to three times the counts of the last, and to the next where there is none so near."""
    noise = events([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 4.0, 4.0, 3.0])

    assert further_thresholds(noise, np.array([9.0]), 3.0).tolist() == [9.0, 8.0, 7.0]
    assert further_thresholds(noise, np.array([9.0]), 1.0).tolist() == [9.0, 8.0]
    two = further_thresholds(noise, np.array([9.0, 8.0]), 3.0)
    assert two.tolist() == [9.0, 8.0, 7.0, 6.0, 5.0]
    assert further_thresholds(events([2.0]), np.array([2.0]), 3.0).tolist() == [2.0]


@pytest.mark.parametrize(
    ("statistic", "Tb"), [([], YEAR), ([1.0], 0.0)], ids=["no event", "no time"]
)
def test_refuses_no_background(statistic, Tb):  # noqa: N803
    """Without events or time there is no rate."""
    with pytest.raises(AframeError, match="there is no background to estimate") as caught:
        thresholds_up_to(events(statistic, Tb), 1.0)

    assert caught.value.found == f"{len(statistic)} events in {Tb:g} s"


def test_zero_lag_of_pure_noise_is_as_frequent_as_its_rate_says():
    """Counts of zero-lag noise above a threshold are Poisson about rate times time.

    The mean of many searches has a 95 % Poisson interval; a rate that is off by a few
    percent, or a year of another length by as much, would leave it.
    """
    rng = np.random.default_rng(150914)
    livetime, background_time, per_second = 40_000.0, 4e6, 1e-2
    found = expected = 0.0
    for _ in range(200):
        slides = rng.exponential(size=rng.poisson(per_second * background_time))
        zero_lag = rng.exponential(size=rng.poisson(per_second * livetime))
        thresholds, fars = thresholds_up_to(events(slides, background_time), YEAR / 10_000.0)
        found += np.sum(zero_lag >= thresholds[-1])
        expected += fars[-1] * livetime / YEAR

    low, high = poisson.interval(0.95, expected)
    assert expected == pytest.approx(800, rel=0.01)
    assert low <= found <= high


def test_probabilities_of_loudest_noise_events_are_uniform():
    """1 - exp(-FAR T) of the loudest zero-lag event is uniform where there is no signal."""
    rng = np.random.default_rng(170817)
    probabilities = []
    for _ in range(400):
        background = events(rng.exponential(size=20_000), Tb=200 * YEAR)
        loudest = rng.exponential(size=rng.poisson(100)).max(initial=-np.inf)
        probabilities.append(-np.expm1(-float(background.false_alarm_rate(np.array(loudest)))))

    assert kstest(probabilities, "uniform").pvalue > 0.01


def test_poisson_intervals_cover_the_mean():
    """The interval holds the true mean at least as often as it says."""
    for mean in (0.3, 2.0, 9.5):
        counts = np.arange(100)
        lower, upper = poisson_interval(counts, level=0.9)
        covered = poisson.pmf(counts, mean)[(lower <= mean) & (mean <= upper)].sum()

        assert 0.9 <= covered <= 1.0


def test_a_measured_rate_has_the_error_of_its_count():
    """One, some, many and no events in a day; Garwood's intervals by hand."""
    day = 86_400.0

    assert measured_rate(0, day) == "≲ 1 per 1.0 day"
    # 0.173 to 3.30 events where one is seen.
    assert measured_rate(1, day) == "1 per 1.0 day (0.3 to 5.8)"
    assert measured_rate(24, day) == "1 per 1.0 hour (0.8 to 1.3)"
    assert measured_rate(2400, day) == "1 per 36.0 seconds (35.3 to 36.8)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(22, "22.0 seconds"), (60, "1.0 minute"), (5400, "1.5 hours"), (3 * YEAR, "3.0 years")],
)
def test_time_spans_are_said_in_their_unit(seconds, words):
    """The largest unit that the span fills is used."""
    assert in_words(seconds) == words
    assert rate_in_words(YEAR / seconds) == f"1 per {words}"
