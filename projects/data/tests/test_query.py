"""Segments in which all detectors have data."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.artifacts.segments import Segment, read_segments
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_data import query as module
from aframe_data.query import QuerySettings, query, refuse_unfit_source, whole_seconds
from aframe_data.sources import Datafind, Files, Gwosc, Nds2, Simulated

RATE, START = 64, 1_126_259_446
SIMULATED = Simulated("simulated", {"H1": "aLIGOO3LowT1800545", "L1": "aLIGOO3LowT1800545"})


def asked(directory, source=SIMULATED, **changes):
    """Settings of a query."""
    return QuerySettings(output=Path(directory), ifos=("H1", "L1"), source=source, **changes)


def found(tmp_path, *args, **changes):
    """Run a query; its segments and notes."""
    draft = Draft(tmp_path / "draft")
    draft.path.mkdir()
    query(asked(tmp_path, *args, **changes), draft)
    return read_segments(draft.path / "segments.txt"), draft.notes


@pytest.fixture
def files(write_gwosc):
    """H1 with a bad sample in second 12 of 40; L1 in two files with a gap, one second masked."""
    strain = np.random.default_rng(0).normal(size=40 * RATE)
    strain[12 * RATE + 5] = np.nan
    write_gwosc(strain, rate=RATE, start=START)
    mask = np.ones(16)
    mask[3] = 0
    write_gwosc(np.zeros(16 * RATE), ifo="L1", rate=RATE, start=START + 2, mask=mask)
    last = write_gwosc(np.zeros(10 * RATE), ifo="L1", rate=RATE, start=START + 24)
    return Files("files", (str(last.parent / "*.hdf5"),))


#: What all of the above leave, in seconds from the start.
LEFT = [(2, 5), (6, 12), (13, 18), (24, 34)]


def test_a_simulation_has_data_whenever_asked(tmp_path):
    """The whole span, in whole seconds."""
    segments, notes = found(tmp_path, start=1_240_000_000.5, stop=1_240_000_100.0)

    assert segments == [Segment(1_240_000_001.0, 1_240_000_100.0)]
    assert notes["livetime"] == 99


@pytest.mark.parametrize(
    ("worth", "asked_for", "used"), [(1.0, 1, 1), (1.0, 2, 2), (1.0, 99, 66), (32_768.0, 2, 1)]
)
def test_files_count_where_all_detectors_are_good(
    tmp_path, files, worth, asked_for, used, monkeypatch
):
    """Gaps between files, bad samples and masked seconds are cut out, whoever looks."""
    monkeypatch.setattr(module, "_WORTH_A_PROCESS", worth)
    run, seen = module.run_branches, []

    def spy(*args, workers, **options):
        seen.append(workers)
        run(*args, workers=min(workers, 2), **options)

    monkeypatch.setattr(module, "run_branches", spy)

    segments, notes = found(tmp_path, files, resources=Resources(workers=asked_for))

    assert seen == [used]
    assert segments == [Segment(START + a, START + b) for a, b in LEFT]
    assert notes == {"livetime": 24, "livetime_by_ifo": {"H1": 39, "L1": 25}}


def test_short_segments_and_times_outside_the_span_fall_away(tmp_path, files):
    """Both limits are kept."""
    segments, _ = found(tmp_path, files, start=START + 8.0, stop=START + 30.0, min_duration=5)

    assert segments == [Segment(START + 13, START + 18), Segment(START + 24, START + 30)]


def test_resumes_from_the_files_that_were_looked_through(tmp_path, files, monkeypatch):
    """A second run of the same draft reads only what is left."""
    draft = Draft(tmp_path / "draft")
    draft.path.mkdir()
    query(asked(tmp_path, files), draft)
    (draft.work / "good-1.txt").unlink()
    read = []
    monkeypatch.setattr(
        "aframe_data.query.good_segments", lambda one: read.append(one) or [one.segment]
    )

    query(asked(tmp_path, files), draft)

    assert [one.ifo for one in read] == ["L1"]


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 20)), max_size=5))
def test_whole_seconds_lie_within(spans):
    """They are those whole seconds that a segment holds."""
    for start, duration in spans:
        segment = Segment(start, start + duration)
        inside = [s for s in range(80) if segment.start <= s and s + 1 <= segment.stop]
        assert [
            second
            for whole in whole_seconds([segment])
            for second in range(int(whole.start), int(whole.stop))
        ] == inside


def test_says_what_each_detector_had_when_nothing_is_left(tmp_path, files):
    """How much, how long, and when."""
    with pytest.raises(AframeError) as caught:
        found(tmp_path, files, min_duration=20)

    assert "no time with data of all detectors" in str(caught.value)
    assert "H1 39 s in 2 segments (longest 27 s, 1126259446 to 1126259486)" in caught.value.found
    assert "L1 25 s in 3 segments (longest 12 s" in caught.value.found
    assert "together 24 s in 4 segments (longest 10 s" in caught.value.found


def test_says_that_no_file_holds_a_detector(tmp_path, write_gwosc):
    """Here, a file of H1 only; no shorter segment would help."""
    path = write_gwosc(np.zeros(4 * RATE), rate=RATE)

    with pytest.raises(AframeError, match="there is no strain of a detector") as caught:
        found(tmp_path, Files("files", (str(path),)))

    assert caught.value.found.startswith("no file holds L1: files of ")
    assert "min_duration" not in caught.value.fix


def test_says_that_a_detector_had_nothing(tmp_path, write_gwosc):
    """Here, L1 only after what was asked about."""
    write_gwosc(np.zeros(4 * RATE), rate=RATE, start=START)
    later = write_gwosc(np.zeros(4 * RATE), ifo="L1", rate=RATE, start=START + 9)

    with pytest.raises(AframeError, match="L1 nothing; together nothing") as caught:
        found(tmp_path, Files("files", (str(later.parent / "*.hdf5"),)), stop=START + 8.0)

    assert caught.value.wanted_by == f"segments of at least 0 s before {START + 8.0}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 5.0}, "simulated strain needs a span"),
        ({"start": 5.0, "stop": 5.0}, "the span of strain is empty"),
        ({"start": 5.0, "stop": 9.0, "min_duration": -1}, "min_duration cannot be used"),
        ({"source": Files("files", ())}, "a source of files names none"),
        ({"source": Gwosc("gwosc")}, "gwosc strain needs a span"),
    ],
)
def test_refuses_what_cannot_be_meant(tmp_path, changes, message):
    """When the settings are made."""
    with pytest.raises(AframeError, match=message):
        asked(tmp_path, **changes)


def test_refuses_an_unknown_noise_curve(tmp_path):
    """Though only `fetch` will use it."""
    source = Simulated("simulated", dict.fromkeys(("H1", "L1"), "nope"))

    with pytest.raises(AframeError, match="there is no such noise curve"):
        found(tmp_path, source, start=1.2e9, stop=1.3e9)


def test_the_headers_of_files_tell_what_will_be_missing(tmp_path, files, write_gwosc):
    """Before any sample is read: a detector without a file, a short span, a file cut short."""
    refuse_unfit_source(asked(tmp_path, files, min_duration=10))
    alone = Files("files", (str(Path(files.paths[0]).parent / "H-*.hdf5"),))
    with pytest.raises(AframeError, match="no file holds L1"):
        refuse_unfit_source(asked(tmp_path, alone))
    with pytest.raises(AframeError, match="no time with data of all detectors"):
        refuse_unfit_source(asked(tmp_path, files, min_duration=17))
    broken = write_gwosc(np.zeros(16 * RATE), ifo="L1", rate=RATE, start=START + 2)
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(AframeError, match="a strain file cannot be read"):
        refuse_unfit_source(asked(tmp_path, files))


def test_an_unknown_curve_is_told_before_the_query(tmp_path):
    """Of a simulation only the names count; servers are not asked."""
    span = {"start": 1e9, "stop": 1e9 + 100}
    refuse_unfit_source(asked(tmp_path, **span))
    refuse_unfit_source(asked(tmp_path, Gwosc(kind="gwosc"), **span))
    misspelt = Simulated("simulated", {**SIMULATED.psds, "L1": "aLIGOO3LowT1800"})
    with pytest.raises(AframeError, match="there is no such noise curve"):
        refuse_unfit_source(asked(tmp_path, misspelt, **span))


def test_a_server_out_of_reach_is_told_before_the_query(tmp_path, monkeypatch):
    """One that is not named, or whose client is not installed; neither is asked."""
    span = {"start": 1e9, "stop": 1e9 + 100}
    named = {"H1": "H1:X", "L1": "L1:X"}
    monkeypatch.setitem(sys.modules, "nds2", None)
    monkeypatch.setenv("GWDATAFIND_SERVER", "datafind.example")
    refuse_unfit_source(asked(tmp_path, Datafind("datafind", named), **span))
    monkeypatch.delenv("GWDATAFIND_SERVER")
    monkeypatch.delenv("LIGO_DATAFIND_SERVER", raising=False)
    with pytest.raises(AframeError, match="no server is named that knows where frames are"):
        refuse_unfit_source(asked(tmp_path, Datafind("datafind", named), **span))
    with pytest.raises(AframeError, match="the client of NDS2 is not installed"):
        refuse_unfit_source(asked(tmp_path, Nds2("nds2", named), **span))
