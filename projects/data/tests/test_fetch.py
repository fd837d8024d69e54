"""Strain of all segments, at one rate, in files of bounded length."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.artifacts.segments import Segment, write_segments
from aframe.artifacts.strain import list_strain, read_strain
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_data.fetch import FetchInputs, FetchSettings, fetch, pieces, refuse_unfit_source
from aframe_data.sources import Files, Gwosc, Nds2, Simulated

CURVES = {"H1": "aLIGOO3LowT1800545", "L1": "AdVDesignSensitivityP1200087"}
SIMULATED = Simulated("simulated", CURVES)
START = 1_126_259_446


def asked(directory, segments, source=SIMULATED, **changes):
    """Settings of a fetch."""
    path = Path(directory) / "segments.txt"
    write_segments(path, segments)
    plain = {"ifos": ("H1", "L1"), "sample_rate": 256.0, "source": source, "output": path.parent}
    return FetchSettings(inputs=FetchInputs(path), **{**plain, **changes})


def fetched(tmp_path, *args, name="draft", **changes):
    """Run a fetch; the directory of its files."""
    draft = Draft(tmp_path / name)
    draft.path.mkdir(exist_ok=True)
    fetch(asked(tmp_path, *args, **changes), draft)
    return draft.path / "background"


@given(st.integers(1, 10**5), st.floats(100, 1e5))
def test_pieces_are_equal_and_short_enough(seconds, max_duration):
    """They join into the segment, in whole seconds, none longer than the rest by two."""
    segment = Segment(1e9, 1e9 + seconds)

    found = pieces(segment, max_duration)

    lengths = [piece.duration for piece in found]
    assert (found[0].start, found[-1].stop) == segment
    assert all(one.stop == other.start for one, other in pairwise(found))
    assert max(lengths) <= max_duration
    assert max(lengths) - min(lengths) <= 1
    assert all(piece.start.is_integer() for piece in found)


@pytest.mark.parametrize("workers", [1, 2])
def test_simulated_strain_does_not_depend_on_how_it_is_cut(tmp_path, workers):
    """Pieces, workers, and another selection of segments give the same samples."""
    whole = fetched(tmp_path, [Segment(1e9, 1e9 + 60)], name="whole")
    resources = Resources(workers=workers)
    cut = fetched(
        tmp_path, [Segment(1e9 + 7, 1e9 + 60)], name="cut", max_duration=20.0, resources=resources
    )

    files = list_strain(cut, ("H1", "L1"))
    strain = np.concatenate([read_strain(file, ("H1", "L1")) for file in files], axis=1)

    assert [file.path.name for file in files] == [
        "background-1000000007-17.hdf5",
        "background-1000000024-18.hdf5",
        "background-1000000042-18.hdf5",
    ]
    (one,) = list_strain(whole, ("H1", "L1"))
    assert (strain == read_strain(one, ("H1", "L1"), 1e9 + 7, 1e9 + 60)).all()


def test_each_detector_has_its_own_curve(tmp_path):
    """By name, whatever the order of the channels."""
    segments = [Segment(1e9, 1e9 + 60)]
    (file,) = list_strain(fetched(tmp_path, segments, ifos=("L1", "H1")), ("H1", "L1"))

    h1, l1 = read_strain(file, ("H1", "L1"))

    assert l1.std() > 2 * h1.std()


def test_the_seed_changes_the_noise(tmp_path):
    """All of it."""
    strain = []
    for seed in (1, 2):
        directory = fetched(tmp_path, [Segment(1e9, 1e9 + 4)], name=f"draft-{seed}", seed=seed)
        strain.append(read_strain(list_strain(directory, ["H1"])[0], ["H1"]))

    assert (strain[0] != strain[1]).mean() > 0.99


def test_resumes_with_the_files_that_are_missing(tmp_path):
    """Files of an earlier run stay as they are, also before GPS 1e9."""
    segments = [Segment(9e8, 9e8 + 40)]
    directory = fetched(tmp_path, segments, max_duration=10.0)
    first, second, *_ = sorted(directory.iterdir())
    content = second.read_bytes()
    second.unlink()
    before = first.stat().st_mtime_ns

    fetched(tmp_path, segments, max_duration=10.0)

    assert first.stat().st_mtime_ns == before
    assert second.read_bytes() == content


@pytest.fixture
def tones(write_gwosc):
    """H1 at 4096 Hz and L1 at 2048 Hz: a tone in band, and one that would fold into it."""

    def write(ifo, rate):
        time = np.arange(60 * rate) / rate
        strain = 1e-21 * np.cos(2 * np.pi * 60 * time) + 1e-20 * np.cos(2 * np.pi * 600 * time)
        return write_gwosc(strain, ifo=ifo, rate=rate)

    paths = (write("H1", 4096), write("L1", 2048))
    return Files("files", tuple(map(str, paths)))


def test_files_are_resampled_without_aliases(tmp_path, tones):
    """In band the tone stays, in amplitude and phase; 600 Hz is gone, not at 88 Hz."""
    segments = [Segment(START + 10.0, START + 50.0)]
    directory = fetched(tmp_path, segments, tones, sample_rate=512.0, max_duration=15.0)

    files = list_strain(directory, ("H1", "L1"))
    strain = np.concatenate([read_strain(file, ("H1", "L1")) for file in files], axis=1)

    time = 10 + np.arange(40 * 512) / 512
    wanted = 1e-21 * np.cos(2 * np.pi * 60 * time)
    assert len(files) == 3
    assert strain.dtype == np.float32
    # 60 dB below the other tone, except where the segment ends.
    assert abs(strain - wanted)[:, 256:-256].max() < 1e-23


def test_files_fetched_before_can_be_a_source(tmp_path):
    """At the same rate, nothing changes."""
    segments = [Segment(1e9, 1e9 + 30)]
    directory = fetched(tmp_path, segments, name="first")
    source = Files("files", (f"{directory}/*.hdf5",))

    again = fetched(tmp_path, segments, source, name="again", max_duration=20.0)

    (one,) = list_strain(directory, ["H1"])
    other = np.concatenate([read_strain(file, ["H1"]) for file in list_strain(again, ["H1"])], 1)
    assert (read_strain(one, ["H1"]) == other).all()


class TestRefusals:
    """All of them before any work."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"sample_rate": 256.5}, "sample_rate is not a whole number"),
            ({"sample_rate": -1.0}, "sample_rate cannot be used"),
            ({"max_duration": 0.5}, "strain files would be shorter than a second"),
            ({"seed": -1}, "seed cannot be used"),
            ({"ifos": ("H1", "V1")}, "a detector has no noise curve"),
            ({"source": Gwosc("gwosc"), "sample_rate": 8192.0}, "sampled lower than asked"),
        ],
    )
    def test_settings(self, tmp_path, changes, message):
        """When they are made."""
        with pytest.raises(AframeError, match=message):
            asked(tmp_path, [Segment(0, 9)], **changes)

    @pytest.mark.parametrize("segments", [[], [Segment(1e9 + 0.2, 1e9 + 0.9)]])
    def test_nothing_to_fetch(self, tmp_path, segments):
        """No segment, or none with a whole second."""
        with pytest.raises(AframeError, match="there is nothing to fetch"):
            fetched(tmp_path, segments)

    def test_strain_sampled_too_low(self, tmp_path, tones):
        """The message says what would do."""
        with pytest.raises(AframeError, match=r"2048 Hz in .*L-L1[\s\S]*at most 2048 Hz"):
            fetched(tmp_path, [Segment(START, START + 9)], tones, sample_rate=4096.0)

    def test_rates_of_one_detector_that_differ(self, tmp_path, write_gwosc):
        """Which of them should a segment have?"""
        write_gwosc(np.zeros(4 * 512), rate=512)
        path = write_gwosc(np.zeros(4 * 1024), rate=1024, start=START + 4)
        source = Files("files", (str(path.parent / "*.hdf5"),))

        with pytest.raises(
            AframeError, match=r"need one sample rate[\s\S]*512 Hz in .* 1024 Hz in"
        ):
            fetched(tmp_path, [Segment(START, START + 8)], source, ifos=("H1",))

    def test_segments_without_files(self, tmp_path, tones):
        """Known from the headers."""
        with pytest.raises(AframeError, match="no file has H1 from 1126259506"):
            fetched(tmp_path, [Segment(START, START + 99)], tones)

    def test_unknown_curve(self, tmp_path):
        """Known from LALSimulation."""
        source = Simulated("simulated", dict.fromkeys(("H1", "L1"), "nope"))

        with pytest.raises(AframeError, match="there is no such noise curve"):
            fetched(tmp_path, [Segment(1e9, 1e9 + 9)], source)


def test_the_rates_of_files_are_told_before_the_fetch(tmp_path, tones, monkeypatch):
    """Headers, curves and clients are enough."""
    monkeypatch.setitem(sys.modules, "nds2", None)
    segments = [Segment(START + 10.0, START + 50.0)]
    for source in (tones, SIMULATED, Gwosc(kind="gwosc")):
        refuse_unfit_source(asked(tmp_path, segments, source))
    with pytest.raises(AframeError, match="strain is sampled lower than asked"):
        refuse_unfit_source(asked(tmp_path, segments, tones, sample_rate=4096.0))
    with pytest.raises(AframeError, match="the client of NDS2 is not installed"):
        refuse_unfit_source(asked(tmp_path, segments, Nds2("nds2", {"H1": "H1:X", "L1": "L1:X"})))
    table = tmp_path / "short.txt"
    table.write_text("10 1e-23\n100 1e-23\n")
    short = Simulated("simulated", dict.fromkeys(("H1", "L1"), str(table)))
    with pytest.raises(AframeError, match="a noise curve does not reach the Nyquist frequency"):
        refuse_unfit_source(asked(tmp_path, segments, short))
