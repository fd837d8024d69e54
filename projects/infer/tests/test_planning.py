"""Slides and injections are laid out once each, and what cannot be analyzed is refused."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from aframe.artifacts.strain import StrainFile, write_strain
from aframe.errors import AframeError
from aframe_infer import planning
from aframe_infer.injections import read_injections
from aframe_infer.planning import in_background, left_out, plan
from aframe_infer.slides import Branch, outputs

IFOS = ("H1", "L1")


@pytest.fixture(scope="module")
def known(data):
    """The injections of the small search."""
    return read_injections(data.injections, IFOS, 256.0)


def test_slides_are_those_of_the_livetime_and_of_the_injections(changed, repository, known):
    """Each once, with every injection in one, and zero lag apart."""
    branches, zero_lag = plan(changed(Tb=100), repository.stream, known)

    assert [branch.shifts for branch in branches] == [(0, 1), (0, 2)]
    rows = np.concatenate([branch.rows for branch in branches])
    assert sorted(rows) == list(range(len(known.time)))
    assert [(branch.shifts, len(branch.rows)) for branch in zero_lag] == [((0, 0), 0)]
    assert plan(changed(zero_lag=False), repository.stream, known)[1] == []


def test_refuses_strain_of_another_rate(changed, repository, known, toy, tmp_path):
    """Of the background as of zero lag."""
    write_strain(
        tmp_path / "other",
        toy.noise(30, 0),
        ifos=IFOS,
        start=toy.START,
        sample_rate=512.0,
    )

    for name in ("background", "zero_lag_background"):
        with pytest.raises(AframeError, match="strain has another sample rate"):
            plan(changed(inputs={name: tmp_path / "other"}), repository.stream, known)


def test_refuses_zero_lag_strain_without_room(changed, repository, known, toy, tmp_path):
    """Four seconds give a PSD and nothing to search."""
    write_strain(tmp_path / "short", toy.noise(4, 0), ifos=IFOS, start=toy.START, sample_rate=256.0)

    with pytest.raises(AframeError, match=r"no strain is long enough(.|\n)*segments of 4 s"):
        plan(changed(inputs={"zero_lag_background": tmp_path / "short"}), repository.stream, known)


def test_refuses_injections_where_no_strain_is(changed, repository, toy, tmp_path):
    """They would count as missed though nobody looked."""
    path = toy.injections(tmp_path / "w.hdf5", [toy.START + 1000], [[0, 1]], [9])
    stray = read_injections(path, IFOS, 256.0)

    with pytest.raises(AframeError, match=r"outside the strain(.|\n)*1 of 1"):
        plan(changed(), repository.stream, stray)


@pytest.mark.parametrize("time", [-0.01, 3.99, 198.0, 198.5, 199.99])
def test_refuses_injections_where_nothing_is_searched(changed, repository, toy, tmp_path, time):
    """Before the PSD is full, and in what the largest shift takes from the end."""
    times = toy.START + np.array([4.0, time, 197.99])
    path = toy.injections(tmp_path / "w.hdf5", times, [[0, 2]] * 3, [9] * 3)
    stray = read_injections(path, IFOS, 256.0)

    with pytest.raises(
        AframeError,
        match=rf"1 of 3(.|\n)* {times[1]:.2f} s(.|\n)*psd_length 4 s(.|\n)*psd_length 4$",
    ):
        plan(changed(), repository.stream, stray)


def test_the_time_that_is_searched_is_half_open(changed, repository, toy, tmp_path):
    """Injections at its very borders are in."""
    times = toy.START + np.array([4.0, 197.99])
    path = toy.injections(tmp_path / "w.hdf5", times, [[0, 2]] * 2, [9] * 2)

    branches, _ = plan(changed(Tb=1), repository.stream, read_injections(path, IFOS, 256.0))

    assert {branch.shifts: branch.rows.tolist() for branch in branches} == {
        (0, 1): [],
        (0, 2): [0, 1],
    }


def test_refuses_averages_that_begin_before_the_strain(changed, repository, known):
    """3 s hold a kernel, its filter and what is averaged before; a stride less does not."""
    enough = replace(repository.stream, psd_length=3.0)
    short = replace(repository.stream, psd_length=2.75)

    plan(changed(psd_length=3.0), enough, known)
    with pytest.raises(AframeError, match=r"first average of scores(.|\n)*psd_length of 3 s"):
        plan(changed(psd_length=2.75), short, known)


def test_refuses_injections_between_the_strides(changed, repository, toy, tmp_path):
    """Their detectors' kernels could not be paired."""
    path = toy.injections(tmp_path / "w.hdf5", [toy.START + 100], [[0, 1.1]], [9])
    stray = read_injections(path, IFOS, 256.0)

    with pytest.raises(AframeError, match=r"no multiples of 0.25 s"):
        plan(changed(), repository.stream, stray)


def test_refuses_injections_shifted_backwards(changed, repository, toy, tmp_path):
    """Kernels before the first would be taken from the end."""
    path = toy.injections(tmp_path / "w.hdf5", [toy.START + 100], [[0, -1]], [9])
    stray = read_injections(path, IFOS, 256.0)

    with pytest.raises(AframeError, match="shifts of injections that are negative"):
        plan(changed(), repository.stream, stray)


def test_injections_go_to_their_slide_and_segment(changed, toy, repository, tmp_path):
    """Half open in time; every row once."""
    for start in (0, 100):
        write_strain(
            tmp_path / "strain",
            toy.noise(100, start),
            ifos=IFOS,
            start=toy.START + start,
            sample_rate=256.0,
        )
    path = toy.injections(
        tmp_path / "w.hdf5",
        toy.START + np.array([150, 104, 50, 98.9, 120]),
        [[0, 2], [0, 1], [0, 1], [0, 1], [0, 1.25]],
        [9] * 5,
    )
    settings = changed(inputs={"background": tmp_path / "strain", "injections": path}, Tb=100)
    known = read_injections(path, IFOS, 256.0)

    branches, _ = plan(settings, repository.stream, known)

    found = {(each.file.start - toy.START, each.shifts): each.rows.tolist() for each in branches}
    assert found == {
        (0, (0, 1)): [2, 3],
        (100, (0, 1)): [1],
        (0, (0, 1.25)): [],
        (100, (0, 1.25)): [4],
        (0, (0, 2)): [],
        (100, (0, 2)): [0],
    }


def _file(seconds, start=1_126_000_000.0):
    return StrainFile(Path("strain"), start, seconds, 256.0, IFOS)


def test_only_slides_that_move_every_detector_are_background():
    """Not zero lag, not two detectors together, and no pairing of them twice."""
    shifts = [(0, 1, 2), (0, 0, 0), (0, 0, 1), (2, 1, 2), (1, 2, 3), (0, 2, 4), (3, 1, 0)]
    files = [_file(100.0), _file(100.0, start=1_126_000_500.0)]
    planned = [Branch(file, each, np.empty(0, int), "x") for each in shifts for file in files]

    found = in_background(planned)

    assert [(each.file.start, each.shifts) for each in found] == [
        (file.start, each) for each in [(0, 1, 2), (0, 2, 4), (3, 1, 0)] for file in files
    ]
    assert [each.name for each in in_background(planned[::-1])] == [each.name for each in found]


@given_settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    samples=st.integers(4 * 256, 60 * 256),
    shifts=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    events=st.lists(st.integers(-5 * 256, 65 * 256), max_size=3),
    half=st.integers(1, 3 * 256),
)
def test_what_is_left_out_is_what_holds_strain_of_known_events(
    changed, repository, samples, shifts, events, half
):
    """Sample by sample: of 7 kernels of 1 s in an average, 0.25 s apart, and 0.25 s beside each."""
    file, stream = _file(samples / 256), repository.stream
    settings = changed(
        known_events=[repr(file.start + event / 256) for event in events],
        known_events_half_width=half / 256,
        psd_length=4.0,
    )
    known = {sample for event in events for sample in range(event - half, event + half)}
    known &= set(range(samples))
    slid = tuple(shift / 4 for shift in shifts)

    found = left_out(settings, stream, file, slid)

    wanted = [
        number
        for number in outputs(stream, file.duration, slid)
        if any(
            sample + 64 * shift in known
            for shift in shifts
            for sample in range((number + 1) * 64 - 6 * 64 - 256 - 128, (number + 1) * 64)
        )
    ]
    assert found.tolist() == wanted
    kept = replace(settings, known_events_are="kept")
    assert len(left_out(kept, stream, file, slid)) == 0


@pytest.mark.parametrize("Tb", [1, 180, 181, 500, 900])
def test_slides_make_up_for_what_is_left_out(changed, repository, known, toy, Tb):  # noqa: N803
    """Without it the livetime is reached, and with a slide less it would not be."""
    none = replace(known, time=np.empty(0), shift=np.empty((0, 2)))
    settings = changed(Tb=Tb, zero_lag=False, known_events=(str(toy.START + 60),))

    branches, _ = plan(settings, repository.stream, none)

    net = [
        (len(outputs(repository.stream, 200, each.shifts)) - len(each.left_out)) / 4
        for each in branches
    ]
    assert all(len(each.left_out) >= 4 * 18 for each in branches)
    assert sum(net) >= Tb > sum(net[:-1])


def test_refuses_more_livetime_than_what_is_left_gives(changed, repository, known, toy):
    """Slides without known events may be too few though all of them would do."""
    none = replace(known, time=np.empty(0), shift=np.empty((0, 2)))
    whole = sum(range(1, 196))
    plan(changed(Tb=whole), repository.stream, none)

    with pytest.raises(AframeError, match="too short for the livetime"):
        plan(changed(Tb=whole, known_events=(str(toy.START + 60),)), repository.stream, none)


def _strides(file, shift, psd_samples):
    """Count by walking along the samples: a whole stride of data after the PSD in each detector."""
    size, stride = round(file.duration * 256), 64
    ends = range(stride, size + 1, stride)
    return sum(end > psd_samples - psd_samples % stride for end in ends if end + shift * 64 <= size)


@given_settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    samples=st.lists(st.integers(1, 12_000), min_size=1, max_size=5),
    shift=st.integers(1, 12),
    psd_samples=st.integers(3 * 256, 6 * 256),
    share=st.floats(0.01, 1),
)
def test_every_stride_of_every_slide_is_searched_once(
    changed, repository, known, samples, shift, psd_samples, share
):
    """As many as fit, the livetime is reached, and a slide less would not reach it."""
    none = replace(known, time=np.empty(0), shift=np.empty((0, 2)))
    stream = replace(repository.stream, psd_length=psd_samples / 256)
    starts = 1_126_000_000 + 100 * np.arange(len(samples)) + 0.125
    files = [
        StrainFile(Path("strain"), float(start), size / 256, 256.0, IFOS)
        for start, size in zip(starts, samples, strict=True)
    ]
    by_hand = [
        {file.start: _strides(file, k * shift, psd_samples) for file in files}
        for k in range(1, 1 + 12_000 // (64 * shift))
    ]
    livetime = share * sum(sum(each.values()) for each in by_hand) / 4
    if not livetime:
        return
    settings = changed(
        Tb=livetime, shifts=(0, shift / 4), psd_length=psd_samples / 256, zero_lag=False
    )

    with mock.patch.object(planning, "list_strain", return_value=files):
        branches, _ = plan(settings, stream, none)

    found = {}
    for branch in branches:
        numbers = outputs(stream, branch.file.duration, branch.shifts)
        slide = round(branch.shifts[1] * 4) // shift
        assert (slide, branch.file.start) not in found
        assert (np.diff(numbers) == 1).all()
        assert numbers[0] == psd_samples // 64
        found[slide, branch.file.start] = len(numbers)
    slides = max(slide for slide, _ in found)
    wanted = {
        (k, start): count
        for k, counts in enumerate(by_hand[:slides], 1)
        for start, count in counts.items()
        if count
    }
    assert found == wanted
    last = sum(count for (slide, _), count in found.items() if slide == slides)
    assert sum(found.values()) / 4 >= livetime - 1e-6
    assert (sum(found.values()) - last) / 4 < livetime
