"""Slides and injections are laid out once each, and what cannot be analyzed is refused."""

from dataclasses import replace

import numpy as np
import pytest

from aframe.artifacts.strain import write_strain
from aframe.errors import AframeError
from aframe_infer.injections import read_injections
from aframe_infer.planning import plan

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
