"""False alarm rates against counting by hand, thresholds against their definition."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aframe.artifacts.events import JULIAN_YEAR, Events, write_sorted
from aframe.artifacts.ledger import Ledger, read_ledger, read_metadata, write_ledger
from aframe.errors import AframeError

STATISTICS = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 40),
    # Coarse steps make ties, as a quiet network's plateaus do.
    elements=st.integers(-40, 40).map(lambda quarter: quarter / 4),
)
YEARS = st.sampled_from([0.001, 0.5, 1.0, 7.3])


def _events(statistics, years=1.0):
    statistics = np.asarray(statistics)
    size = len(statistics)
    times = 1_126_259_462.25 + np.arange(size)
    return Events(statistics, times, np.tile([0.0, 1.0], (size, 1)), Tb=years * JULIAN_YEAR)


@given(STATISTICS, YEARS, st.floats(-11, 11))
def test_counts_and_rates_are_those_of_a_plain_count(statistics, years, threshold):
    """As loud or louder counts; the rate is per Julian year with one count at least."""
    events = _events(statistics, years)
    by_hand = sum(float(each) >= threshold for each in statistics)

    assert events.counts_above(threshold) == by_hand
    assert events.false_alarm_rate(threshold) == pytest.approx(max(by_hand, 1) / years)


@given(STATISTICS, YEARS)
def test_the_rate_never_grows_with_loudness(statistics, years):
    """A louder event is never more common."""
    thresholds = np.linspace(-12, 12, 97)

    rates = _events(statistics, years).false_alarm_rate(thresholds)

    assert rates.shape == thresholds.shape
    assert (np.diff(rates) <= 0).all()


@given(STATISTICS, YEARS, st.floats(0.01, 5000))
def test_the_threshold_is_the_quietest_event_that_is_rare_enough(statistics, years, far):
    """Of all events exactly those at or above it have a rate of at most *far*."""
    events = _events(statistics, years)

    threshold = events.threshold_at_far(far)

    rare = [each for each in statistics if events.false_alarm_rate(each) <= far]
    assert sorted(each for each in statistics if each >= threshold) == sorted(rare)
    assert threshold == min(rare) if rare else threshold > statistics.max()


@given(STATISTICS, YEARS)
def test_less_than_one_count_passes_no_background(statistics, years):
    """With far * Tb < 1 the threshold lies above the loudest, in the statistic's precision."""
    threshold = _events(statistics, years).threshold_at_far(0.99 / years)

    assert threshold == np.nextafter(statistics.max(), np.inf, dtype=statistics.dtype)
    assert not (statistics >= threshold).any()
    assert _events(statistics, years).counts_above(threshold) == 0


def test_half_a_day_does_not_know_one_a_day():
    """The case in which an index of minus zero gives the quietest event of all."""
    events = _events(np.arange(1000.0), years=0.5 * 86400 / JULIAN_YEAR)

    assert events.threshold_at_far(365.25) > 999
    assert events.threshold_at_far(2 * 365.25) == 999
    assert events.threshold_at_far(4 * 365.25) == 998


def test_a_tie_is_passed_whole_or_not_at_all():
    """Two events as loud as each other are two counts, never one."""
    events = _events([1.0, 3.0, 3.0])

    assert events.threshold_at_far(1) == np.nextafter(3.0, np.inf)
    assert events.threshold_at_far(2) == 3.0
    assert events.threshold_at_far(3) == 1.0


def test_sorting_keeps_the_rows_together():
    """The loudest is last, with its own time and shift."""
    events = Events(
        np.array([2.0, 9.0, 5.0]),
        np.array([10.0, 20.0, 30.0]),
        np.array([[0, 1], [0, 2], [0, 3]], float),
        Tb=7.0,
        time_offset=0.5,
    )

    found = events.sorted()

    assert found.detection_statistic.tolist() == [2.0, 5.0, 9.0]
    assert found.detection_time.tolist() == [10.0, 30.0, 20.0]
    assert found.shift.tolist() == [[0, 1], [0, 3], [0, 2]]
    assert (found.Tb, found.time_offset) == (7.0, 0.5)


def test_reading_gives_what_was_written(tmp_path):
    """Times keep their fraction of a second."""
    events = Events(
        np.array([1.5, 2.5], np.float32),
        np.array([1_126_259_462.4, 1_126_259_470.15]),
        np.array([[0, 1], [0, 2]], np.float32),
        Tb=3600.0,
        time_offset=-1.35,
    )

    events.write(tmp_path / "background.hdf5")
    found = Events.read(tmp_path / "background.hdf5")

    assert len(found) == 2
    for name in ("detection_statistic", "detection_time", "shift"):
        np.testing.assert_array_equal(getattr(found, name), getattr(events, name))
    assert (found.Tb, found.time_offset) == (3600.0, -1.35)


def test_a_file_of_events_may_say_more_of_each(tmp_path):
    """Such as what was added to its time."""
    events = Events(np.ones(2), np.zeros(2), np.zeros((2, 2)), Tb=1.0)

    events.write(tmp_path / "0lag.hdf5", time_offset=np.array([0.5, 0.25]))

    found = read_ledger(tmp_path / "0lag.hdf5").parameters
    assert found["time_offset"].tolist() == [0.5, 0.25]
    assert len(Events.read(tmp_path / "0lag.hdf5")) == 2


def test_reads_a_ledger_that_holds_more(tmp_path):
    """The injections' parameters beside the events are left alone; no offset is zero."""
    parameters = {
        "detection_statistic": np.zeros(2),
        "detection_time": np.zeros(2),
        "shift": np.zeros((2, 2)),
        "mass_1": np.ones(2),
    }
    write_ledger(tmp_path / "foreground.hdf5", Ledger(parameters, {}, {"Tb": 10.0}))

    found = Events.read(tmp_path / "foreground.hdf5")

    assert len(found) == 2
    assert found.time_offset == 0.0


def test_no_events_are_events(tmp_path):
    """A quiet zero lag is written, read, sorted and has a rate of one count."""
    _events(np.zeros(0)).write(tmp_path / "0lag.hdf5")

    found = Events.read(tmp_path / "0lag.hdf5").sorted()

    assert len(found) == 0
    assert found.shift.shape == (0, 2)
    assert found.false_alarm_rate(3.0) == 1.0


@settings(deadline=None)
@given(
    st.lists(hnp.arrays(np.float32, st.integers(0, 30), elements=st.integers(-3, 9)), min_size=1),
    st.integers(1, 40),
)
def test_parts_are_sorted_as_if_they_were_one(tmp_path_factory, parts, at_once):
    """However few are in memory at a time; equal events stay in the order of the parts."""
    folder = tmp_path_factory.mktemp("sorted")
    events = [
        Events(part, np.arange(len(part)) + 100.0 * n, np.full((len(part), 2), n), 10.0, 0.25)
        for n, part in enumerate(parts)
    ]

    told = write_sorted(
        folder / "x.hdf5", events, scratch=folder, metadata={"said": "so"}, at_once=at_once
    )

    found, joined = Events.read(folder / "x.hdf5"), np.concatenate(parts)
    order = np.argsort(joined, kind="stable")
    times = np.concatenate([each.detection_time for each in events])
    assert told == (len(joined), 10.0 * len(parts))
    np.testing.assert_array_equal(found.detection_statistic, joined[order])
    np.testing.assert_array_equal(found.detection_time, times[order])
    np.testing.assert_array_equal(found.shift[:, 1], times[order] // 100)
    assert (found.Tb, found.time_offset) == (10.0 * len(parts), 0.25)
    assert read_metadata(folder / "x.hdf5")["said"] == "so"


@pytest.mark.parametrize("ties", [False, True])
def test_eight_times_as_many_events_take_no_more_memory(tmp_path, ties):
    """What is sorted at once fills it, not what there is; nor do events that are all equal."""

    def peak(parts):
        rng = np.random.default_rng(0)
        events = (
            Events(
                np.zeros(2000) if ties else rng.normal(size=2000),
                rng.uniform(size=2000),
                np.zeros((2000, 2)),
                1.0,
            )
            for _ in range(parts)
        )
        tracemalloc.start()
        write_sorted(tmp_path / "x.hdf5", events, scratch=tmp_path, metadata={}, at_once=20_000)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    # Once before, for what is loaded only once.
    peak(1)
    assert peak(320) < 1.5 * peak(40)


def test_refuses_a_ledger_without_analyzed_time(tmp_path):
    """Without Tb there is no rate."""
    fields = {name: np.zeros(1) for name in ("detection_statistic", "detection_time")}
    write_ledger(tmp_path / "x.hdf5", Ledger({**fields, "shift": np.zeros((1, 2))}))

    with pytest.raises(AframeError, match=r"does not say its analyzed time \(attribute Tb\)"):
        Events.read(tmp_path / "x.hdf5")


@pytest.mark.parametrize(
    ("statistics", "times", "shift", "message"),
    [
        (np.zeros(2), np.zeros(3), np.zeros((2, 2)), r"shapes .*\(2,\).*\(3,\)"),
        (np.zeros(2), np.zeros(2), np.zeros(2), r"shapes .*'shift': \(2,\)"),
        (np.array([np.nan, 1]), np.zeros(2), np.zeros((2, 2)), "1 of 2 statistics are not"),
    ],
    ids=["lengths", "dimensions", "nan"],
)
def test_refuses(statistics, times, shift, message):
    """What cannot be ranked is refused when it is made: NaN would be the loudest of all."""
    with pytest.raises(AframeError, match=message):
        Events(statistics, times, shift, Tb=1.0)


def test_refuses_a_rate_without_time_or_events():
    """Neither a rate in no time nor a threshold from no event is made up."""
    with pytest.raises(AframeError, match=r"an analyzed time of 0.0 s"):
        _events([1.0], years=0.0).false_alarm_rate(1.0)
    with pytest.raises(AframeError, match="no event, so that no threshold"):
        _events(np.zeros(0)).threshold_at_far(1.0)
