"""Times of injections that are known, between the strides and at the edges."""

from dataclasses import replace

import numpy as np
import pytest

from aframe.artifacts.strain import list_strain, write_strain
from aframe_infer import timing
from aframe_infer.injections import read_injections
from aframe_infer.slides import Branch, Search
from aframe_infer.timing import Calibration, Event, Found, View, Viewer, calibrate

IFOS, RATE = ("H1", "L1"), 256


@pytest.fixture(scope="module")
def search(repository):
    """What the branches share."""
    return Search(repository, 1.0, 8.0, keep_scores=False, device="cpu")


@pytest.fixture(scope="module")
def bursts(toy, tmp_path_factory):
    """Eighty loud bursts at all phases of the stride, in a slide of quiet strain."""
    root = tmp_path_factory.mktemp("bursts")
    strain = toy.noise(500, 3)
    write_strain(root, strain, ifos=IFOS, start=toy.START, sample_rate=float(RATE))
    (file,) = list_strain(root, IFOS)
    times = toy.START + 10 + 6 * np.arange(80) + np.random.default_rng(0).uniform(0, 0.25, 80)
    path = toy.injections(root / "injections", times, [[0.0, 2.0]] * 80, [25.0] * 80)
    known = read_injections(path, IFOS, float(RATE))
    return Branch(file, (0.0, 2.0), np.arange(80), "background"), known


def _events(branch, known, search):
    """Events on the grid, a third of a second late and cut down to a stride."""
    raw = known.time - branch.file.start + search.stream.fduration / 2 + 1.0 + 0.33
    grid = np.floor(raw * 4) / 4 - search.stream.fduration / 2 - 1.0 + branch.file.start
    return [
        Event(branch, time, 10.0 + row / 100, row)
        for row, time in zip(branch.rows.tolist(), grid, strict=True)
    ]


def _found(events):
    """The same events by column."""
    branches = [event.branch for event in events]
    columns = [[getattr(each, name) for each in events] for name in ("raw_time", "statistic")]
    rows = np.array([event.row for event in events], int)
    return Found(branches, np.arange(len(events)), *map(np.array, columns), rows)


def test_times_are_finer_than_the_stride(search, bursts):
    """Their offset is one number for all, good to a small part of a stride."""
    branch, known = bursts
    viewer = Viewer(search, known)
    events = _events(branch, known, search)

    offsets = known.time - [viewer(event).time for event in events]

    # The stride is 0.25 s, of which a grid's times scatter by 0.07; kernels end 32 times a second.
    assert offsets.std() < 0.02
    assert np.ptp(offsets) < 0.1


def test_calibration_takes_the_median_of_the_loudest(search, bursts, monkeypatch):
    """On the grid what was put in; on the finer grid far less scatter, of every other one."""
    branch, known = bursts
    monkeypatch.setattr(timing, "CALIBRATORS", 20)
    monkeypatch.setattr(timing, "LOUD", 0.5)
    events = _events(branch, known, search)
    for quiet in range(40):
        events[quiet] = replace(events[quiet], raw_time=events[quiet].raw_time - 1.0)

    found = calibrate(Viewer(search, known), _found(events), known.time, np.arange(80.0))

    assert found.injections == 20
    assert found.grid_offset == pytest.approx(-0.33 + 0.125, abs=0.05)
    assert found.grid_scatter == pytest.approx(0.07, abs=0.05)
    assert found.fine_scatter < 0.02


def test_events_far_from_their_injection_do_not_calibrate(search, bursts):
    """They are not its own; with none left nothing is added."""
    branch, known = bursts
    viewer = Viewer(search, known)
    strays = [
        replace(event, raw_time=event.raw_time + 3.0) for event in _events(branch, known, search)
    ]
    one = _events(branch, known, search)[:1]

    assert calibrate(viewer, _found(strays), known.time, np.ones(80)) == Calibration(
        0, 0.0, 0.0, 0.0, 0.0
    )
    assert calibrate(viewer, _found([]), known.time, np.ones(80)).injections == 0
    assert calibrate(viewer, _found(strays[1:] + one), known.time, np.ones(80)).injections == 1


def test_a_view_shows_whitened_strain_and_scores_on_one_clock(search, bursts):
    """A kernel's score is dated by its end in the whitened strain."""
    branch, known = bursts
    event = _events(branch, known, search)[40]

    view = Viewer(search, known)(event)

    stream = search.stream
    count = len(view.scores)
    # An average on the search's grid is over 5 strides.
    seconds = timing.BEFORE + timing.AFTER + 5 / 4
    assert view.rate == 32
    assert count == seconds * 32 + 1
    assert len(view.integrated) == count - 5 * 8 + 1
    assert view.whitened.shape == (2, int((seconds + stream.kernel_length) * RATE))
    power = (view.whitened**2).mean(axis=0)
    assert view.whitened_start + power.argmax() / RATE == pytest.approx(known.time[40], abs=0.05)
    for place in (0, 77, count - 1):
        end = view.start + place / view.rate
        last = round((end - view.whitened_start) * RATE)
        kernel = view.whitened[:, last - stream.kernel_size : last]
        assert view.scores[place] == pytest.approx(20 * ((kernel**2).mean() - 0.9), rel=1e-4)


def test_a_view_without_injection_shows_the_strain(search, bursts):
    """As the plain events of a search are looked at."""
    branch, known = bursts
    event = replace(_events(branch, known, search)[40], row=-1)

    view = Viewer(search, known)(event)

    assert np.abs(view.whitened).max() < 6


@pytest.mark.parametrize("place", [0, -1])
def test_views_end_where_the_strain_does(search, bursts, place):
    """Events at either end of a slide are seen as far as there is strain."""
    branch, known = bursts
    stream = search.stream
    first, last = 16, 4 * (500 - 2) - 1
    number = (first, last)[place]
    raw = branch.file.start + number / 4 - stream.fduration / 2 - 1.0
    viewer = Viewer(search, known)

    view = viewer(Event(branch, raw, 1.0))

    end = view.start + (len(view.scores) - 1) / view.rate
    inside = branch.file.start + stream.fduration / 2, branch.file.start + 498 - 0.25
    assert inside[0] <= view.whitened_start
    assert end <= inside[1]
    assert view.start + view.last / view.rate == branch.file.start + (number + 1) / 4 - 0.25
    assert np.isfinite(view.time)


@pytest.mark.parametrize("number", [16, 17, 30, 4 * (500 - 2) - 1])
def test_only_real_scores_are_averaged(search, bursts, number):
    """Scores that all lie far below zero are no event where the strain begins."""
    branch, known = bursts
    event = Event(branch, branch.file.start + number / 4 - 0.25 - 1.0, 1.0)
    viewer = Viewer(search, known)
    view = viewer(event)
    network = viewer.network
    viewer.network = lambda kernels: network(kernels) - 1000

    low = viewer(event)

    np.testing.assert_allclose(low.integrated, view.integrated - 1000, atol=1e-3)
    assert low.time == pytest.approx(view.time, abs=1e-4)
    by_hand = [view.scores[i : i + 40].mean() for i in range(len(view.integrated))]
    np.testing.assert_allclose(view.integrated, by_hand, atol=1e-4)
    end = view.integrated_start + (len(by_hand) - 1) / view.rate
    assert end == view.start + (len(view.scores) - 1) / view.rate


def _view(integrated, last):
    zeros = np.zeros((2, 10))
    return View(zeros, 0.0, 256.0, integrated, integrated, 100.0, 32.0, last)


def test_the_time_is_the_middle_of_the_plateau():
    """Weighted by height, within a second of the event's grid time."""
    integrated = np.zeros(200)
    integrated[90:101] = 5.0
    integrated[20] = 50.0

    assert _view(integrated, 100).time == pytest.approx(100 + 95 / 32)
    assert _view(integrated, 30).time == pytest.approx(100 + 20 / 32)


@pytest.mark.parametrize("last", [100, 3])
def test_a_flat_view_keeps_the_grid_time(last):
    """There is no plateau to take the middle of, nor at the start of the strain."""
    assert _view(np.zeros(200), last).time == pytest.approx(100 + last / 32)


@pytest.mark.parametrize(
    ("rate", "sample_rate", "refinement"), [(4, 2048, 8), (4, 12, 3), (64, 2048, 1)]
)
def test_the_finer_grid_divides_the_stride(repository, rate, sample_rate, refinement):
    """As finely as the sample rate allows, and never coarser than the search."""
    stream = replace(
        repository.stream, inference_sampling_rate=rate, sample_rate=sample_rate, kernel_length=1.0
    )

    assert timing._refinement(stream) == refinement
