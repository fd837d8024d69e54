"""Strain files of GWOSC, found by its real client on a server of this machine."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from loopback import OpenData

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.open_data import available, dataset_span, find_files
from aframe_data.sources import Gwosc

#: The begin of the strain that the server has (GPS s).
G = 1_126_259_446


def named(name):
    """A file that is never opened."""
    return Path(name.format(G=G, H=G + 32))


@pytest.fixture
def server(enter, no_waiting):
    """A run in two files with a gap, and an event in the gap with files of two lengths."""
    data = OpenData(
        runs={"O1": (G, G + 1000), "O2": (G + 5000, G + 6000)},
        events={"GW150914-v3": G + 150.0, "GW999999-v1": G + 9000.0, "GW200000-v1": G + 5500.5},
        files={
            "O1": [
                named("H-H1_LOSC_4_V1-{G}-32.hdf5"),
                named("H-H1_LOSC_4_V1-{H}-32.hdf5"),
                named("H-H1_LOSC_16_V1-{G}-32.hdf5"),
                named("L-L1_LOSC_4_V1-{G}-32.hdf5"),
            ],
            "GW150914-v3": [
                Path(f"H-H1_GWOSC_4KHZ_R1-{G}-512.hdf5"),
                Path(f"H-H1_GWOSC_4KHZ_R1-{G + 134}-32.hdf5"),
            ],
        },
        segments={"H1_DATA": [(G - 50, G + 100)], "L1_DATA": [(G + 10, G + 20)], "V1_DATA": []},
    )
    return enter(data.server())


def found(server, *segments, ifo="H1", **more):
    """Names of the files that are found."""
    asked = Gwosc("gwosc", gwosc_server=server.url, **more)
    return [file.name for file in find_files(asked, ifo, [Segment(*one) for one in segments])]


def test_files_of_a_run(server):
    """Those that hold any of the segments, of the rate that is asked for."""
    both = [f"H-H1_LOSC_4_V1-{G}-32.hdf5", f"H-H1_LOSC_4_V1-{G + 32}-32.hdf5"]

    assert found(server, (G + 5, G + 40)) == both
    assert found(server, (G + 5, G + 9), (G + 33, G + 40)) == both
    assert found(server, (G + 33, G + 40)) == both[1:]
    assert found(server, (G + 5, G + 9), sample_rate=16384) == [f"H-H1_LOSC_16_V1-{G}-32.hdf5"]


def test_files_of_an_event_where_no_run_has_them(server):
    """The shortest that holds all, and none where the run has the time."""
    assert found(server, (G + 140, G + 160)) == [f"H-H1_GWOSC_4KHZ_R1-{G + 134}-32.hdf5"]
    assert found(server, (G + 140, G + 180)) == [f"H-H1_GWOSC_4KHZ_R1-{G}-512.hdf5"]
    assert server.times("event-versions[?]") == 2
    assert found(server, (G + 5, G + 9)) == [f"H-H1_LOSC_4_V1-{G}-32.hdf5"]
    assert server.times("event-versions[?]") == 2


def test_files_of_an_event_before_the_segment(server):
    """Its file reaches long past it."""
    assert found(server, (G + 200, G + 220)) == [f"H-H1_GWOSC_4KHZ_R1-{G}-512.hdf5"]


def test_files_of_the_dataset_that_is_named(server):
    """An event's though a run has the time, a run's or nothing, and no event but that one."""
    event = f"H-H1_GWOSC_4KHZ_R1-{G}-512.hdf5"

    assert found(server, (G + 5, G + 9), dataset="GW150914-v3") == [event]
    assert found(server, (G + 5, G + 9), dataset="O1") == [f"H-H1_LOSC_4_V1-{G}-32.hdf5"]
    assert found(server, (G + 140, G + 160), dataset="O1") == []


def test_no_files(server):
    """Of a detector or time that the server has not."""
    assert found(server, (G + 5, G + 9), ifo="V1") == []
    assert found(server, (G + 2000, G + 2001)) == []


def test_strain_is_available_where_there_are_files_and_data(server, caplog):
    """A flag without files is of no use."""
    caplog.set_level(logging.INFO)
    source = Gwosc("gwosc", gwosc_server=server.url, dataset="O1")
    span = Segment(G - 100.0, G + 200.0)

    assert available(source, "H1", span) == [Segment(G, G + 64)]
    assert available(source, "L1", span) == [Segment(G + 10, G + 20)]
    assert available(source, "V1", span) == []
    assert "no files of H1 at 4096 Hz for 86 s of data" in caplog.text


@pytest.mark.parametrize(
    ("dataset", "span"), [("O1", (G, G + 1000)), ("GW150914-v3", (G, G + 512))]
)
def test_a_dataset_has_a_span(server, dataset, span):
    """A run's own, or that of an event's files."""
    source = Gwosc("gwosc", gwosc_server=server.url, dataset=dataset)

    assert dataset_span(source) == span


def test_an_event_without_files_of_its_own(server):
    """As all since GWTC-4.0, whose strain is with their run: the error says where."""
    source = Gwosc("gwosc", gwosc_server=server.url, dataset="GW200000-v1")

    with pytest.raises(AframeError, match="an event has no files of its own") as caught:
        dataset_span(source)
    assert "its run, O2, or none" in caught.value.fix
    assert f"start and stop about {G + 5500}.5" in caught.value.fix


def test_a_dataset_that_is_unknown(server):
    """Neither run nor event."""
    source = Gwosc("gwosc", gwosc_server=server.url, dataset="O9")

    for ask in (
        lambda: dataset_span(source),
        lambda: find_files(source, "H1", [Segment(G, G + 1)]),
    ):
        with pytest.raises(AframeError, match=r"404 [\s\S]*dataset"):
            ask()
