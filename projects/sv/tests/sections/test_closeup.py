"""An event or injection from near."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.signal import welch

from aframe_sv.neighborhood import Candidate, Series, read_candidates
from aframe_sv.sections.closeup import answered, close_up, compared, in_band, scores, strain


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

    assert "detector 1" in strain(first, (), "event 1").alt
    assert "detector 2" in strain(first, ("H1",), "event 1").alt


def test_an_event_at_the_edge_of_its_strain_is_shown(inputs, tmp_path):
    """No sample near the event's time is no crash."""
    path = tmp_path / "candidates.hdf5"
    path.write_bytes(inputs.candidates.read_bytes())
    with h5py.File(path, "r+") as file:
        file["0"].attrs["detection_time"] += 100.0
    (far, _) = read_candidates(path, 2)

    assert "0.0 standard deviations" in strain(far, ("H1", "L1"), "event 1").alt
    assert scores(far, "event 1").content


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
        "aframe_sv.sections.closeup.picture",
        lambda ax, **_: points.extend(
            line.get_xydata().tolist() for line in ax.lines if line.get_label() == "as ranked"
        ),
    )

    scores(candidate([1, 2, 4, 7.5, 4, 2, 1], start=-0.75), "event 1")

    assert points == [[[0.0, 8.0]]]


def test_what_the_search_made_of_an_injection_is_said(inputs):
    """Its own event with its time, or how far away the nearest one is."""
    (event,) = read_candidates(inputs.candidates, 1)
    found = replace(event, injection={"snr": 9.0}, offset=-0.05)

    assert "by 11.80 (point), 0.05 s before its merger" in answered(found)
    assert "0.10 s after its merger" in answered(replace(found, offset=0.1))
    missed = replace(found, offset=6.3)
    assert answered(missed) == (
        "The event nearest to it is 6.3 s after it: the search has none of it."
    )
    assert "as injected" in strain(missed, ("H1", "L1"), "injection 3").caption
    assert scores(missed, "injection 3").caption.endswith(answered(missed))


def test_too_little_strain_leaves_the_qscan_out(inputs, evidence):
    """Strain and scores are shown all the same."""
    (event,) = read_candidates(inputs.candidates, 1)
    whitened = replace(event.whitened, values=event.whitened.values[:, : int(2.1 * 1024)])

    kinds = [
        picture.alt.split()[0]
        for picture in close_up(replace(event, whitened=whitened), evidence(), "event 1")
    ]
    assert kinds == ["Whitened", "Score"]
