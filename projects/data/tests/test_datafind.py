"""Frames that a GWDataFind server of this machine knows, asked by the real client."""

from __future__ import annotations

from pathlib import Path

import pytest
from loopback import frame_finder

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.datafind import available, find_files, local_path, server
from aframe_data.sources import Datafind

KIND = "H1_HOFT_C00"


@pytest.fixture
def finder(enter, no_waiting):
    """Two frames with a gap."""
    return enter(frame_finder({KIND: [Path("/x/H-H1_T-100-8.gwf"), Path("/x/H-H1_T-116-8.gwf")]}))


def source(url, **more):
    """Frames of H1."""
    return Datafind("datafind", {"H1": KIND}, datafind_server=url, **more)


def test_when_there_are_frames(finder):
    """Whole frames, of which a query takes its span."""
    assert available(source(finder.url), "H1", Segment(101.5, 130)) == [(100, 108), (116, 124)]


def test_which_frames_hold_segments(finder):
    """By name and time, with the path that this machine should see."""
    found = find_files(source(finder.url + "/"), "H1", [Segment(104, 106), Segment(117, 118)])

    assert [(file.name, file.segment) for file in found] == [
        ("H-H1_T-100-8.gwf", (100, 108)),
        ("H-H1_T-116-8.gwf", (116, 124)),
    ]
    assert [str(local_path(file)) for file in found] == [
        "/x/H-H1_T-100-8.gwf",
        "/x/H-H1_T-116-8.gwf",
    ]
    assert len(find_files(source(finder.url), "H1", [Segment(104, 106)])) == 1


def test_frames_to_download(enter, no_waiting):
    """Those have no path here."""
    there = enter(frame_finder({KIND: [Path("/x/H-H1_T-100-8.gwf")]}, scheme="http"))

    (file,) = find_files(source(there.url, urltype="http"), "H1", [Segment(104, 106)])

    assert file.url == f"{there.url}/frames/x/H-H1_T-100-8.gwf"
    assert file.private
    assert local_path(file) is None


def test_one_copy_of_a_frame_counts(enter, no_waiting):
    """The first that the server names."""
    copies = [Path("/x/H-H1_T-100-8.gwf"), Path("/y/H-H1_T-100-8.gwf")]
    there = enter(frame_finder({KIND: copies}))

    (file,) = find_files(source(there.url), "H1", [Segment(104, 106)])

    assert str(local_path(file)) == "/x/H-H1_T-100-8.gwf"


def test_a_server_that_is_not_named(monkeypatch):
    """The source may leave it to the environment, which may leave it out."""
    monkeypatch.setenv("GWDATAFIND_SERVER", "datafind.example:80")
    assert server(source(None)) == "datafind.example:80"
    monkeypatch.delenv("GWDATAFIND_SERVER")
    monkeypatch.delenv("LIGO_DATAFIND_SERVER", raising=False)

    with pytest.raises(AframeError, match="no server is named that knows where frames are"):
        available(source(None), "H1", Segment(0, 1))


def test_troubles(finder):
    """A passing one, credentials that are missing, and a type that is unknown."""
    finder.troubles = [("segments", 503), ("segments", "dropped"), ("HOFT_C00/1", 401)]

    assert len(available(source(finder.url), "H1", Segment(100, 124))) == 2
    with pytest.raises(AframeError, match=r"wants credentials[\s\S]*frames H1_HOFT_C00 of H1"):
        find_files(source(finder.url), "H1", [Segment(100, 124)])
    unknown = Datafind("datafind", {"H1": "H1_X"}, datafind_server=finder.url)
    with pytest.raises(AframeError, match=r"404 [\s\S]*frames H1_X of H1[\s\S]*frametypes"):
        available(unknown, "H1", Segment(1, 2))
