"""Background, injections and false alarm rate in the report."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.artifacts.record import Record, write_record
from aframe_sv.clock import Clock
from aframe_sv.evidence import Evidence, Recovered
from aframe_sv.far import ONE_SIGMA
from aframe_sv.sections.ranking import (
    binomial_interval,
    counts,
    efficiency,
    false_alarm_rate,
    found_by_snr,
    histogram,
    rates_by_statistic,
    section,
    timing,
)


def events(statistic, Tb=JULIAN_YEAR):  # noqa: N803
    """Events of these loudnesses."""
    statistic = np.asarray(statistic, float)
    return Events(statistic, np.zeros(statistic.size), np.zeros((statistic.size, 2)), Tb)


def recovered(snr, statistic, offset=0.0):
    """Injections with these SNRs and statistics."""
    times = np.zeros(len(snr))
    columns = {
        "snr": np.array(snr, float),
        "detection_statistic": np.array(statistic, float),
        "detection_time": times + offset,
        "injection_time": times,
    }
    return Recovered(columns, 1.0)


def test_whole_run_has_five_figures(evidence):
    """Rate, counts at zero lag, histogram, efficiency, timing."""
    alts = [each.alt for each in section(evidence()).pictures]

    first = [alt.split(" ")[0] for alt in alts]
    assert first == ["False", "Number", "Histograms", "Efficiency", "Histogram"]


def test_background_events_can_be_opened(evidence):
    """Those that the search kept and no veto removed, with the slide that they are of."""
    everything = evidence()
    shown = section(everything)
    (event,) = shown.folds

    loudest, shift = everything.background.detection_statistic[-1], everything.background.shift[-1]
    assert event.title == (
        f"Background event 1: statistic {loudest:.2f}, L1 {shift[1] - shift[0]:g} s after H1"
    )
    assert "of different times here" in event.pictures[0].caption
    without = section(evidence(examples=None))
    assert without.folds == []
    assert len(without.paragraphs) == len(shown.paragraphs) - 1


def test_counts_at_zero_lag_are_held_against_those_of_noise():
    """The rarest of ten days, of a year of background: once in it, and 0.027 such from noise."""
    background, zero_lag = events(np.arange(1000.0)), events([1200.0, 500.0], JULIAN_YEAR / 36.525)

    assert counts(background, zero_lag).alt == (
        "Number of 2 zero-lag events against inverse false alarm rate; the rarest stands at 1 "
        "years, where noise gives 0.027 events."
    )
    # One event that is at the rate of all background leaves no range of rates.
    assert "0.027" in counts(events([1.0]), events([1.0], JULIAN_YEAR / 36.525)).alt


def test_rates_hold_ties_whole_and_bound_the_count():
    """Two events as loud as each other are two at that loudness; one has Garwood's interval."""
    statistic, fars, low, high = rates_by_statistic(events([1.0, 2.0, 2.0, 3.0], 2 * JULIAN_YEAR))

    assert statistic.tolist() == [1.0, 2.0, 3.0]
    assert fars.tolist() == [2.0, 1.5, 0.5]
    assert (low[2], high[2]) == pytest.approx((0.173 / 2, 3.300 / 2), abs=1e-3)
    assert [len(each) for each in rates_by_statistic(events([]))] == [0, 0, 0, 0]


def test_the_bias_of_clear_signals_is_told_with_its_error():
    """Those of SNR 15 and more, if there are enough of them."""
    loud = recovered([20.0] * 100 + [8.0] * 100, [5.0] * 200)
    late = np.concatenate([np.tile([-0.02, 0.03], 50), np.full(100, 9.0)])
    loud = replace(loud, columns={**loud.columns, "detection_time": late})

    caption = timing(loud, np.ones(200, bool), None).caption
    # 1.25 times 25 ms over the root of 100.
    assert "Of the 100 with an SNR of 15 or more the median is 5 ± 3 ms." in caption
    few = timing(loud, np.arange(200) < 19, None).caption
    assert "SNR of 15" not in few


def test_missing_files_leave_a_sentence(evidence, tmp_path):
    """No background, an empty one, no injections."""
    assert "no background in this run" in section(evidence(background=None)).paragraphs[0]
    events([]).write(tmp_path / "background.hdf5")
    empty = section(evidence(background=tmp_path / "background.hdf5"))
    assert "no background in this run" in empty.paragraphs[0]
    alone = section(evidence(foreground=None))
    assert alone.paragraphs[1] == "No injections were searched in this run."
    assert len(alone.pictures) == 2


def _record(command, settings, background):
    """The record of a step that notes something of the background."""
    return Record(command, settings, {}, {}, {}, notes={"background": background})


@pytest.mark.parametrize(
    ("simulated", "events", "convention", "words"),
    [
        (False, ["GW190521_030229", "1187008882.4"], "removed",
         "within 8 s of GW190521_030229, 1187008882.4 is left out of it, 1.5 minutes in all"),
        (False, ["GW190521_030229"], "kept", "kept in the background: strain of GW190521_030229"),
        (False, [], "kept", "No known event was named to the search"),
        (True, [], "kept", None),
    ],
)  # fmt: skip
def test_the_convention_of_known_events_is_named(
    evidence, tmp_path, simulated, events, convention, words
):
    """Which of both the search followed, unless simulated strain holds no events."""
    told = {
        "known_events": events,
        "known_events_are": convention,
        "known_events_half_width": 8.0,
        "left_out": 90.0,
    }
    found = evidence()
    kind = "simulated" if simulated else "files"
    searched = _record("aframe-infer infer", {"inference_sampling_rate": 4.0}, told)
    fetched = _record("aframe-data fetch", {"source": {"kind": kind}}, {})
    write_record(tmp_path / "fetch.record.json", fetched)
    there = replace(found.inputs, test_background=tmp_path / "background", examples=None)

    paragraphs = section(Evidence(there, [(tmp_path, searched)])).paragraphs

    assert words is None or words in paragraphs[1]
    assert len(paragraphs) == (1 if words is None else 2)


def test_a_search_that_finds_nothing_says_so(evidence, tmp_path):
    """No injection above the background leaves no timing to show."""
    events([1e6, 0.0]).write(tmp_path / "background.hdf5")

    got = section(evidence(background=tmp_path / "background.hdf5"))

    assert got.paragraphs[1] == "No injection is as loud as the loudest background event."
    assert len(got.pictures) == 4


def test_zero_lag_above_all_background_is_counted():
    """One of two events is louder than anything in the background."""
    drawn = false_alarm_rate(events([1.0, 2.0, 3.0]), events([2.5, 8.0], 100.0))

    assert "the loudest of 3 background events is at 3.00, and 1 zero-lag events are" in drawn.alt


@pytest.mark.parametrize("zero_lag", [None, events([], 1.0), events([0.5], 1.0)])
def test_rates_are_drawn_with_any_zero_lag(zero_lag):
    """None searched, none found, one found."""
    assert "and 0 zero-lag events" in false_alarm_rate(events([1.0, 2.0]), zero_lag).alt
    assert histogram(events([1.0, 2.0]), recovered([9.0], [3.0]), zero_lag).content


def test_a_long_background_stays_a_small_figure():
    """A year of events is thinned before it is drawn."""
    many = events(np.random.default_rng(1).exponential(size=300_000))

    assert len(false_alarm_rate(many, None).content) < 100_000
    assert len(histogram(many, recovered([9.0], [30.0]), None).content) < 100_000


def test_histogram_counts_recoveries_above_the_background():
    """Of four injections one is not recovered, and two of three lie above the loudest."""
    injections = recovered([9.0] * 4, [5.0, 6.0, 0.5, 9.0], offset=[0.0, 0.0, 0.0, 3.0])

    drawn = histogram(events([0.0, 1.0]), injections, None)

    assert "3 recovered injections, 67% of which are louder than all background" in drawn.alt


def test_histogram_without_any_recovery_is_drawn():
    """Every event was too far from its injection."""
    drawn = histogram(events([0.0, 1.0]), recovered([9.0], [5.0], offset=9.0), None)

    assert "0 recovered injections, 0% of which" in drawn.alt


def test_efficiency_counts_what_is_found_at_each_rate():
    """At the rate of the loudest event one of four, at ten times it three of four."""
    background = events(np.arange(20.0))
    injections = recovered([6.0, 8.5, 11.0, 30.0], [2.0, 12.0, 15.0, 25.0])

    drawn = efficiency(background, injections)

    assert "25% at 1 per 1.0 year, 75% at 1 per 36.5 days" in drawn.alt
    assert "days, " not in drawn.alt, "a rate of 100 counts needs 100 events"


def test_found_injections_are_counted_by_their_snr():
    """Bins begin at 4, 5, 6 …; an event beyond the window is not found."""
    injections = recovered([4.5, 4.6, 5.5, 5.6, 6.5], [9.0, 1.0, 9.0, 9.0, 2.0])
    injections.columns["detection_time"][3] += 5.0

    found, total = found_by_snr(injections, threshold=2.0)

    assert total[:4].tolist() == [2, 2, 1, 0]
    assert found[:4].tolist() == [1, 1, 1, 0]


def test_binomial_intervals_cover_the_truth():
    """On average over the true share they hold it as often as one standard deviation does."""
    total = np.full(41, 40)
    low, high = binomial_interval(np.arange(41), total)
    shares = np.linspace(0.02, 0.98, 97)
    covered = [
        binom.pmf(np.arange(41), 40, share)[(low <= share) & (share <= high)].sum()
        for share in shares
    ]

    assert np.mean(covered) == pytest.approx(ONE_SIGMA, abs=0.03)


def test_timing_tells_offset_and_width():
    """Median and spread of the differences, of the injections that were found."""
    offset = np.concatenate([np.random.default_rng(2).normal(0.0205, 0.05, 20_000), [0.9] * 50])
    injections = recovered(np.full(20_050, 9.0), np.full(20_050, 9.0), offset)

    drawn = timing(injections, np.arange(20_050) < 20_000, Clock(64, scatter=0.0275, stride=0.25))

    assert "20,000 injections: median 21 ms, the middle 68 % between -29 and 70 ms" in drawn.alt
    assert "middle 68 % lie between -29 and 70 ms" in drawn.caption


def test_both_resolutions_and_the_cause_of_the_teeth_are_said(evidence):
    """Times on the grid of scores are not those of the table of zero-lag events."""
    caption = section(evidence()).pictures[-1].caption

    assert "one score each 250 ms" in caption
    assert "teeth" in caption
    assert "64 loud injections scatter by 28 ms" in caption


def test_a_comb_has_no_standard_deviation():
    """Two far teeth: the bounds are those of the values, and not a width about their middle."""
    injections = recovered(np.full(100, 9.0), np.full(100, 9.0), np.repeat([-0.15, 0.2], [30, 70]))

    drawn = timing(injections, np.ones(100, bool), None)

    assert "median 200 ms, the middle 68 % between -150 and 200 ms" in drawn.alt
    assert "on the grid of the search's scores" in drawn.caption
