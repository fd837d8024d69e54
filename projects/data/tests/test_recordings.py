"""Strain in files of three layouts, and the seconds in which it is good."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aframe.artifacts.segments import Segment, subtract
from aframe.artifacts.strain import write_strain
from aframe.errors import AframeError
from aframe_data.recordings import (
    assemble,
    find_recordings,
    good_segments,
    refuse_gaps,
)
from aframe_data.sources import Files

START, RATE = 1_126_259_446, 64


def noise(seconds, seed=0):
    """White noise at the tests' rate."""
    return np.random.default_rng(seed).normal(size=seconds * RATE)


def find(*paths, ifos=("H1", "L1"), **channels):
    """Find the recordings in some files."""
    return find_recordings(Files("files", tuple(map(str, paths)), channels), ifos)


def write_frame(directory, names, seconds=8, kind="gwf"):
    """Write a file with these channels, each holding its number."""
    path = directory / f"X-TEST-{START}-{seconds}.{kind}"
    series = {
        name: TimeSeries(
            np.full(seconds * RATE, float(number)), t0=START, sample_rate=RATE, name=name
        )
        for number, name in enumerate(names)
    }
    TimeSeriesDict(series).write(path, format={"gwf": "gwf", "hdf": "hdf5"}[kind])
    return path


def test_finds_files_of_all_layouts_together(tmp_path, write_gwosc):
    """GWOSC's HDF5, frames, and this tool's own, sorted by detector and time."""
    write_gwosc(noise(4), rate=RATE)
    write_frame(tmp_path, ["L1:TEST-STRAIN", "V1:Hrec"])
    pair = np.stack([noise(8), noise(8, 1)])
    write_strain(tmp_path, pair, ifos=("H1", "V1"), start=START + 4.0, sample_rate=RATE)

    found = find(tmp_path / "*.*")

    assert find(tmp_path) == found
    assert [(one.ifo, *one.segment, one.sample_rate) for one in found] == [
        ("H1", START, START + 4, RATE),
        ("H1", START + 4, START + 12, RATE),
        ("L1", START, START + 8, RATE),
    ]
    assert [one.frame for one in found] == [False, False, True]


@pytest.mark.parametrize("layout", ["gwosc", "frame", "channel", "strain"])
def test_reads_any_part_of_a_recording(tmp_path, write_gwosc, layout):
    """The samples from the first in it to the last before its end."""
    strain = noise(8)
    if layout == "gwosc":
        write_gwosc(strain, rate=RATE)
    elif layout == "strain":
        write_strain(tmp_path, strain[None], ifos=["H1"], start=float(START), sample_rate=RATE)
    else:
        series = TimeSeries(strain, t0=START, sample_rate=RATE, name="H1:STRAIN")
        kind = {"frame": "gwf", "channel": "hdf5"}[layout]
        TimeSeriesDict({"H1:STRAIN": series}).write(tmp_path / f"H.{kind}", format=kind)
    (recording,) = find(tmp_path / "*")

    found = recording.read(Segment(START + 2.0, START + 5.0))

    np.testing.assert_allclose(found, strain[2 * RATE : 5 * RATE], rtol=1e-6)


@given(
    bad=st.lists(st.integers(0, 19), max_size=6), masked=st.lists(st.integers(0, 19), max_size=6)
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_good_time_leaves_out_each_bad_second(write_gwosc, bad, masked):
    """Whole seconds with a sample that is not finite, or without the DATA bit."""
    strain = noise(20)
    for number, second in enumerate(bad):
        strain[second * RATE + number] = (np.nan, np.inf, -np.inf)[number % 3]
    # Other bits than the lowest say nothing of whether there are data.
    mask = np.where(np.isin(np.arange(20), masked), 126, 1)
    (recording,) = find(write_gwosc(strain, rate=RATE, mask=mask))

    found = good_segments(recording)

    holes = [Segment(START + second, START + second + 1) for second in {*bad, *masked}]
    assert found == subtract([Segment(START, START + 20)], holes)


def test_good_time_of_a_long_file_has_no_seams(write_gwosc, monkeypatch):
    """However little of it is looked at at a time."""
    monkeypatch.setattr("aframe_data.recordings._STRETCH", 3)
    (recording,) = find(write_gwosc(noise(20), rate=RATE, mask=np.ones(20)))

    assert good_segments(recording) == [Segment(START, START + 20)]


def test_good_time_is_of_whole_seconds(tmp_path):
    """A recording that begins between two begins with the next."""
    write_strain(tmp_path, noise(5)[None], ifos=["H1"], start=START + 0.5, sample_rate=RATE)
    (recording,) = find(tmp_path / "*")

    assert good_segments(recording) == [Segment(START + 1.0, START + 5.0)]


def test_good_time_of_a_frame(tmp_path):
    """All of it: where there are no data, frames hold not-a-number."""
    (recording,) = find(write_frame(tmp_path, ["H1:STRAIN"]))

    assert good_segments(recording) == [Segment(START, START + 8)]


def test_assembles_strain_over_files(write_gwosc):
    """As if it were one."""
    first, second = noise(4), noise(4, 1)
    paths = [
        write_gwosc(strain, start=start, rate=RATE)
        for strain, start in ((first, START), (second, START + 4), (noise(2), START + 8))
    ]

    found = assemble(find(*paths), Segment(START + 3.0, START + 6.0))

    np.testing.assert_array_equal(found, np.concatenate([first[3 * RATE :], second[: 2 * RATE]]))


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_a_hole_takes_nothing_away(write_gwosc, hole):
    """Of two files that overlap, each gives what the other has not, whichever comes first."""
    strain = noise(8)
    first, second = strain[: 6 * RATE].copy(), strain[2 * RATE :].copy()
    first[3 * RATE : 4 * RATE] = hole
    second[: RATE // 2] = hole
    second[3 * RATE : 5 * RATE] = hole
    paths = [write_gwosc(first, rate=RATE), write_gwosc(second, start=START + 2, rate=RATE)]

    found = assemble(find(*paths), Segment(START + 0.0, START + 6.0))

    np.testing.assert_array_equal(found, strain[: 6 * RATE])


def test_files_that_agree_may_overlap(tmp_path, write_gwosc):
    """Also where one is in single precision."""
    strain = noise(8)
    write_gwosc(strain[: 6 * RATE], rate=RATE)
    later = strain[None, 4 * RATE :]
    write_strain(tmp_path, later, ifos=["H1"], start=START + 4.0, sample_rate=RATE)

    found = assemble(find(tmp_path / "*"), Segment(START + 0.0, START + 8.0))

    np.testing.assert_allclose(found, strain, rtol=1e-6)


def test_refuses_files_that_contradict_each_other(write_gwosc):
    """Which of two is right, nobody can know: both are named, with the time."""
    strain = noise(8)
    other = strain[2 * RATE :].copy()
    other[RATE + 7 : RATE + 12] *= 1.001
    without = np.full(6 * RATE, np.nan)
    paths = [
        write_gwosc(without, start=START + 1, rate=RATE),
        write_gwosc(strain, rate=RATE),
        write_gwosc(other, start=START + 2, rate=RATE),
    ]

    with pytest.raises(AframeError, match="other strain at the same time") as caught:
        assemble(find(*paths), Segment(START + 0.0, START + 8.0))
    assert caught.value.found == (
        f"5 samples of H1 in {paths[1]} and {paths[2]}, from {START + 3}.109 on"
    )
    # Nobody asked about the time at which they differ.
    assemble(find(*paths), Segment(START + 4.0, START + 8.0))


def test_refuses_to_assemble_over_a_hole(write_gwosc):
    """Wherever the samples went since the query."""
    strain = noise(4)
    strain[100] = np.nan
    recordings = find(write_gwosc(strain, rate=RATE))

    with pytest.raises(
        AframeError, match=r"1 of 256 samples of H1[\s\S]*the first at 1126259447.562 in .*H-H1_"
    ):
        assemble(recordings, Segment(float(START), START + 4.0))


def test_refuses_segments_without_files(write_gwosc):
    """Known from the headers alone."""
    recordings = find(write_gwosc(noise(4), rate=RATE))

    refuse_gaps(recordings, [Segment(START + 1.0, START + 4.0)], "H1")
    with pytest.raises(AframeError, match="no file has H1 from 1126259450 to 1126259451"):
        refuse_gaps(recordings, [Segment(START + 1.0, START + 5.0)], "H1")


def test_refuses_a_pattern_without_files(tmp_path):
    """A path that was mistyped."""
    with pytest.raises(AframeError, match="no file matches"):
        find(tmp_path / "*.gwf")


def write_foreign(path, kind):
    """Write a file that is no strain."""
    if kind == "text":
        path.write_text("strain")
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        with h5py.File(path, "w") as file:
            if kind == "integers":
                dataset = file.create_dataset("H1", data=np.arange(5))
                dataset.attrs.update(x0=0.0, dx=1.0)
            elif kind == "without times":
                file["H1"] = np.arange(5.0)
            elif kind == "another's":
                file.create_dataset("data", data=np.arange(5.0)).attrs.update(delta_t=1.0)
            elif kind == "groups":
                file.create_group("H1")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "neither HDF5 nor a frame"),
        ("empty", "neither HDF5 nor a frame"),
        ("integers", "no series of floats"),
        ("without times", "H1 is no dataset with attributes x0 and dx"),
        ("another's", "neither strain/Strain nor a dataset a detector .* but data"),
        ("groups", "H1 is no dataset with attributes x0 and dx"),
        ("nothing", "neither strain/Strain nor a dataset a detector .* but nothing"),
    ],
)
def test_refuses_foreign_files(tmp_path, kind, message):
    """Before anything is done with them."""
    write_foreign(tmp_path / "x.hdf5", kind)

    with pytest.raises(AframeError, match=rf"a strain file cannot be read[\s\S]*{message}"):
        find(tmp_path / "x.hdf5")


@pytest.mark.parametrize("layout", ["gwosc", "frame"])
def test_refuses_truncated_files(tmp_path, write_gwosc, layout):
    """HDF5 and frames alike."""
    path = (
        write_gwosc(noise(8), rate=RATE)
        if layout == "gwosc"
        else write_frame(tmp_path, ["H1:STRAIN"])
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])

    with pytest.raises(
        AframeError, match=r"a strain file cannot be read[\s\S]*(truncated|cut short)"
    ):
        find(path)


@pytest.mark.parametrize("kind", ["gwf", "hdf"])
class TestChannels:
    """Which channel of a frame, or of HDF5 as gwpy writes it, is the strain."""

    def test_takes_the_only_one_that_can_be_meant(self, tmp_path, kind):
        """The one that calls itself strain, or the only one there is."""
        names = ["H1:AUX", "H1:GDS-CALIB_STRAIN", "L1:h_16384Hz"]
        path = write_frame(tmp_path, names, kind=kind)

        names = [one.name.removeprefix("/") for one in find(path)]
        assert names == ["H1:GDS-CALIB_STRAIN", "L1:h_16384Hz"]

    def test_takes_the_chosen_one(self, tmp_path, kind):
        """And no recording where the chosen one is missing."""
        path = write_frame(tmp_path, ["H1:A-STRAIN", "H1:B-STRAIN", "L1:A-STRAIN"], kind=kind)

        (one,) = find(path, H1="H1:B-STRAIN", L1="L1:B")
        assert one.name.removeprefix("/") == "H1:B-STRAIN"

    def test_refuses_to_guess(self, tmp_path, kind):
        """The message shows how to choose."""
        path = write_frame(tmp_path, ["H1:A-STRAIN", "H1:B-STRAIN"], kind=kind)

        with pytest.raises(AframeError, match=r'"channels": \{"H1": "H1:[AB]-STRAIN"\}'):
            find(path)


def test_the_rate_of_many_frames_is_read_once(tmp_path, monkeypatch):
    """Since that reads a frame; the others are held to it when they are read."""
    for start in (START, START + 8, START + 16):
        path = write_frame(tmp_path, ["H1:STRAIN"])
        path.rename(tmp_path / f"H-{start}.gwf")
    read = []
    monkeypatch.setattr("aframe_data.frames.sample_rate", lambda *one: read.append(one) or 64.0)

    assert [one.sample_rate for one in find(tmp_path / "*.gwf")] == [64.0] * 3
    assert len(read) == 1
