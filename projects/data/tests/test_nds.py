"""Channels of NDS2, through gwpy's own code, with a client of the test's in place of nds2.

The real client is not on PyPI; this one has what gwpy calls of it.
"""

# ruff: noqa: D102 - the methods are the client's

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.nds import available, channel
from aframe_data.sources import Nds2

NAME = "H1:GDS-CALIB_STRAIN"
SOURCE = Nds2("nds2", {"H1": NAME}, nds2_server="nds.example:31200")
#: The server has this much of the channel (GPS s), with a sample that is no number (s after).
SPAN, RATE, BAD = Segment(1_000_000_000, 1_000_000_060), 64, 50


SPAN_OF_ALL = SimpleNamespace(gps_start=0, gps_stop=2_000_000_000)


class Channel:
    """What nds2 tells of a channel."""

    name, sample_rate, signal_units, channel_type, data_type = NAME, float(RATE), "", 2, 8

    @staticmethod
    def channel_type_to_string(_number):
        return "raw"


class Connection:
    """A connection to a server with one channel."""

    made: ClassVar = []
    trouble: ClassVar = []

    def __init__(self, *address):
        self.made.append(address)
        if self.trouble:
            raise RuntimeError(self.trouble.pop(0))

    def get_protocol(self):
        return 2

    def get_host(self):
        return "nds.example"

    def set_epoch(self, *_):
        pass

    def current_epoch(self):
        return SPAN_OF_ALL

    def close(self):
        pass

    def find_channels(self, name, *_):
        return [Channel()] if name == NAME else []

    def get_availability(self, _names):
        return [SimpleNamespace(data=[SimpleNamespace(gps_start=SPAN.start, gps_stop=SPAN.stop)])]

    def iterate(self, start, stop, _names):
        """Buffers of ten seconds, as a server sends them."""
        for begin in range(start, min(stop, SPAN.stop), 10):
            end = min(begin + 10, stop, SPAN.stop)
            data = (np.arange(RATE * (end - begin)) / RATE) + begin - SPAN.start
            data[data == BAD] = np.nan
            times = {"gps_seconds": begin, "gps_nanoseconds": 0}
            scale = {"signal_slope": 1.0, "signal_offset": 0.0, "length": data.size}
            yield [SimpleNamespace(name=NAME, channel=Channel(), data=data, **times, **scale)]


@pytest.fixture
def client(monkeypatch, no_waiting):
    """The class of connections of a client that is installed."""
    module = ModuleType("nds2")
    module.__spec__ = importlib.machinery.ModuleSpec("nds2", None)
    module.connection, module.channel = Connection, Channel
    monkeypatch.setitem(sys.modules, "nds2", module)
    monkeypatch.setattr(Connection, "made", [])
    monkeypatch.setattr(Connection, "trouble", [])
    return Connection


def test_a_client_that_is_missing(monkeypatch):
    """Said before any work, with where to have it from."""
    monkeypatch.setitem(sys.modules, "nds2", None)

    for ask in (available, channel):
        with pytest.raises(
            AframeError, match=r"not installed[\s\S]*conda-forge python-nds2-client"
        ):
            ask(SOURCE, "H1", Segment(0, 9))


def test_when_and_what(client):
    """Times and samples of a channel, of the server and port that are named."""
    strain = channel(SOURCE, "H1", SPAN)

    assert available(SOURCE, "H1", Segment(SPAN.start - 5.5, SPAN.stop)) == [SPAN]
    assert strain.sample_rate == RATE
    np.testing.assert_array_equal(
        strain.read(Segment(SPAN.start + 5, SPAN.start + 35)), 5 + np.arange(30 * RATE) / RATE
    )
    assert set(client.made) == {("nds.example", 31200)}


@pytest.mark.parametrize("span", [(45, 55), (55, 65)], ids=["not a number", "cut short"])
def test_strain_that_is_missing(client, span):
    """Flags or the server's own times would have left it out."""
    strain = channel(SOURCE, "H1", SPAN)

    with pytest.raises(AframeError, match=r"strain is missing[\s\S]*good samples of H1:GDS"):
        strain.read(Segment(SPAN.start + span[0], SPAN.start + span[1]))


def test_troubles(client):
    """A lost connection is tried again; credentials and unknown channels are the user's."""
    client.trouble += ["Failed to establish a connection[INFO: timed out]"] * 2
    assert available(SOURCE, "H1", SPAN) == [SPAN]
    assert len(client.made) == 3

    with pytest.raises(AframeError, match=r"unique NDS2 channel match not found for 'H1:NOPE'"):
        channel(Nds2("nds2", {"H1": "H1:NOPE"}), "H1", SPAN)
    client.trouble += ["Kerberos: no credentials"]
    with pytest.raises(AframeError, match=r"an NDS2 server wants credentials[\s\S]*kinit"):
        available(SOURCE, "H1", SPAN)


def test_an_error_of_the_code_is_not_the_user_s(client, monkeypatch):
    """It keeps its type, for the traceback."""
    monkeypatch.setattr(Connection, "iterate", None)

    with pytest.raises(ExceptionGroup, match="failed to get data"):
        channel(SOURCE, "H1", SPAN)
