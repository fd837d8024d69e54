"""Channels of NDS2, through gwpy's own code, with a client of the test's in place of nds2."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from nds2_client import Client, Connection

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.nds import available, channel
from aframe_data.sources import Nds2

NAME = "H1:GDS-CALIB_STRAIN"
SOURCE = Nds2("nds2", {"H1": NAME}, nds2_server="nds.example:31200")
#: The server has this much of the channel (GPS s).
SPAN, RATE = Segment(1_000_000_000, 1_000_000_060), 64


@pytest.fixture
def client(monkeypatch, no_waiting):
    """A client that is installed; the samples are their times, but for one that is no number."""
    strain = np.arange(60 * RATE) / RATE
    strain[50 * RATE] = np.nan
    client = Client({NAME: strain}, start=SPAN.start, sample_rate=RATE)
    monkeypatch.setitem(sys.modules, "nds2", client)
    return client


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
    assert set(client.connected) == {("nds.example", 31200)}


@pytest.mark.parametrize("span", [(45, 55), (55, 65)], ids=["not a number", "cut short"])
def test_strain_that_is_missing(client, span):
    """Flags or the server's own times would have left it out."""
    strain = channel(SOURCE, "H1", SPAN)

    with pytest.raises(AframeError, match=r"strain is missing[\s\S]*good samples of H1:GDS"):
        strain.read(Segment(SPAN.start + span[0], SPAN.start + span[1]))


def test_troubles(client):
    """A lost connection is tried again; credentials and unknown channels are the user's."""
    client.troubles += ["Failed to establish a connection[INFO: timed out]"] * 2
    assert available(SOURCE, "H1", SPAN) == [SPAN]
    assert len(client.connected) == 3

    with pytest.raises(AframeError, match=r"unique NDS2 channel match not found for 'H1:NOPE'"):
        channel(Nds2("nds2", {"H1": "H1:NOPE"}), "H1", SPAN)
    client.troubles += ["Kerberos: no credentials"]
    with pytest.raises(AframeError, match=r"an NDS2 server wants credentials[\s\S]*kinit"):
        available(SOURCE, "H1", SPAN)


def test_an_address_with_a_port_that_is_none(client):
    """A number, or nothing."""
    source = Nds2("nds2", {"H1": NAME}, nds2_server="nds2://nds.example")

    with pytest.raises(AframeError, match="the address of an NDS2 server cannot be used"):
        available(source, "H1", SPAN)


def test_an_error_of_the_code_is_not_the_user_s(client, monkeypatch):
    """It keeps its type, for the traceback."""
    monkeypatch.setattr(Connection, "iterate", None)

    with pytest.raises(ExceptionGroup, match="failed to get data"):
        channel(SOURCE, "H1", SPAN)
