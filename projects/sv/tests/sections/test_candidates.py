"""The events of zero lag."""

import h5py
import numpy as np
import pytest
from scipy.signal import welch

from aframe.artifacts.events import Events
from aframe.errors import AframeError
from aframe_sv.sections.candidates import (
    Candidate,
    Series,
    compared,
    in_band,
    read_candidates,
    scores,
    section,
    strain,
)


def test_events_are_listed_with_their_rates(evidence):
    """Loudest first; one above all background stands out, with bounds."""
    (table,) = section(evidence()).tables

    assert table.emphasize == 1
    assert table.rows[0][1:4] == ("2015-09-14 09:50:45.43", "1126259462.43 ± 0.03", "11.80")
    assert table.rows[0][4] == "≲ 1 per 6.0 hours"
    assert table.rows[0][5] == "≲ 0.001"
    assert table.rows[1][3] == "-1.20"
    assert not table.rows[1][4].startswith("≲")
    assert "±" not in table.rows[1][2]


def test_each_of_the_loudest_has_strain_and_score(evidence):
    """Two events, two figures each."""
    pictures = section(evidence()).pictures

    assert len(pictures) == 4
    assert pictures[0].alt.startswith("Whitened strain around GPS 1126259462.43; largest values")
    assert "H1" in pictures[0].alt
    assert "the event was ranked by 11.80" in pictures[1].alt


def test_missing_files_leave_a_sentence(evidence):
    """No zero lag, no background, no strain of the candidates."""
    assert "no zero lag in this run" in section(evidence(zero_lag=None)).paragraphs[0]
    assert "no zero lag in this run" in section(evidence(background=None)).paragraphs[0]
    kept = section(evidence(candidates=None))
    assert kept.paragraphs[-1] == "Their strain and scores were not kept in this run."
    assert kept.tables
    assert not kept.pictures


def test_a_search_without_events_says_so(evidence, tmp_path):
    """An empty file of events."""
    path = tmp_path / "0lag.hdf5"
    Events(np.empty(0), np.empty(0), np.empty((0, 2)), 22.0).write(path)

    assert section(evidence(zero_lag=path)).paragraphs == ["The search found no event at zero lag."]


def test_candidates_keep_their_times(inputs):
    """Strain begins where its group says, scores where they themselves say."""
    first, second = read_candidates(inputs.candidates, 3)

    assert first.statistic > second.statistic
    assert first.whitened.times(first.time)[0] == pytest.approx(-2.0)
    assert first.scores.times(first.time)[[0, 1]] == pytest.approx([-10.0, -9.75])
    assert len(read_candidates(inputs.candidates, 1)) == 1


def test_a_file_that_holds_no_candidates_is_refused(inputs):
    """Other HDF5 in their place is named."""
    with pytest.raises(AframeError, match="a file of candidates cannot be read"):
        read_candidates(inputs.foreground, 3)


def test_times_count_from_the_first_value():
    """Equal steps from the start."""
    series = Series(np.zeros((2, 3)), gps_start=10.0, sample_rate=4.0)

    assert series.times(10.5).tolist() == [-0.5, -0.25, 0.0]


@pytest.mark.parametrize("sample_rate", [512.0, 2048.0])
def test_the_band_keeps_what_lies_in_it(sample_rate):
    """Noise keeps its power inside the band and loses it outside, at any sample rate."""
    noise = np.random.default_rng(5).normal(size=int(64 * sample_rate))

    frequency, before = welch(noise, sample_rate, nperseg=int(sample_rate))
    after = welch(in_band(noise, sample_rate), sample_rate, nperseg=int(sample_rate))[1]

    inside = (frequency > 60) & (frequency < 150)
    assert np.mean(after[inside] / before[inside]) == pytest.approx(1, abs=0.05)
    outside = (frequency < 15) | (frequency > 600)
    assert np.all(after[outside] < 0.01 * before[outside])


def test_a_signal_stays_where_it_is_in_the_band():
    """The filter delays nothing."""
    times = np.arange(4096) / 2048 - 1
    burst = np.exp(-((times / 0.01) ** 2)) * np.cos(2 * np.pi * 120 * times)

    assert abs(times[np.argmax(in_band(burst, 2048.0))]) < 1e-3


def test_strain_of_unnamed_detectors_is_still_shown(inputs):
    """Where nothing names the detectors they are numbered."""
    (first, _) = read_candidates(inputs.candidates, 2)

    assert "detector 1" in strain(first, (), 1).alt
    assert "detector 2" in strain(first, ("H1",), 1).alt


def test_an_event_at_the_edge_of_its_strain_is_shown(inputs, tmp_path):
    """No sample near the event's time is no crash."""
    path = tmp_path / "candidates.hdf5"
    path.write_bytes(inputs.candidates.read_bytes())
    with h5py.File(path, "r+") as file:
        file["0"].attrs["detection_time"] += 100.0
    (far, _) = read_candidates(path, 2)

    assert "0.0 standard deviations" in strain(far, ("H1", "L1"), 1).alt
    assert scores(far, 1).svg


def candidate(values, start, statistic=8.0, rate=4.0):
    """An event at 100 s, with a curve of its statistic."""
    integrated = Series(np.array(values), 100.0 + start, rate)
    return Candidate(100.0, statistic, Series(np.zeros((2, 4)), 99.5, 4.0), integrated, integrated)


def test_the_curve_is_held_against_what_the_event_was_ranked_by():
    """Both values are said, and why they differ."""
    words = compared(candidate([1, 2, 4, 7.5, 4, 2, 1], start=-0.75))

    assert "ranked the event by 8.00 (point), where the curve has 7.50" in words
    assert "has its own grid and takes the noise from other seconds" in words
    assert "ends here" not in words
    assert "highest" not in words


@pytest.mark.parametrize(
    ("start", "word"), [(-1.5, "The search ends here"), (0.0, "The search begins here")]
)
def test_an_event_at_an_edge_of_what_is_searched_is_said(start, word):
    """The curve stops at the event, and a reader knows why."""
    assert word in compared(candidate([1, 2, 3, 4, 5, 6, 7.5], start=start))


def test_a_curve_that_is_higher_elsewhere_is_explained():
    """Its peak is told with its time, where it is not that of the event."""
    words = compared(candidate([1, 9, 3, 3, 3, 7, 3, 3, 3], start=-1.25))

    assert "highest 1.0 s before the event, with 9.00" in words
    after = compared(candidate([1, 2, 3, 3, 3, 7, 3, 3, 3, 9, 1], start=-1.25))
    assert "highest 1.0 s after the event" in after


def test_a_curve_elsewhere_is_not_compared():
    """Nothing is made up for a time that the curve does not have."""
    assert compared(candidate([1, 2], start=5.0)).endswith("The curve does not reach it.")


def test_the_ranked_value_is_marked(monkeypatch):
    """A point at the event, whatever the curve has there."""
    points = []
    monkeypatch.setattr(
        "aframe_sv.sections.candidates.picture",
        lambda ax, **_: points.extend(
            line.get_xydata().tolist() for line in ax.lines if line.get_label() == "as ranked"
        ),
    )

    scores(candidate([1, 2, 4, 7.5, 4, 2, 1], start=-0.75), 1)

    assert points == [[[0.0, 8.0]]]


def test_how_well_events_are_timed_is_said(evidence, tmp_path):
    """With what it was measured; nothing where no record of the search says it."""
    assert "64 loud injections scatter by 0.028 s" in section(evidence()).paragraphs[1]
    path = tmp_path / "0lag.hdf5"
    path.write_bytes(evidence().inputs.zero_lag.read_bytes())
    alone = section(evidence(zero_lag=path))
    assert len(alone.paragraphs) == 1
    assert alone.tables[0].rows[0][2] == "1126259462.43"
