"""Asking servers: what is tried again, and what is said in the end."""

from __future__ import annotations

import errno
import re
import socket

import pytest
import requests
from gwosc.api import v2
from igwn_auth_utils import IgwnAuthError
from loopback import Server

from aframe.errors import AframeError
from aframe_data import servers
from aframe_data.servers import SpoiledDownloadError, ask


@pytest.fixture
def server(enter, no_waiting):
    """A server of one page."""
    return enter(Server({"/page": lambda **_: {"answer": 42}}))


def question(server, path="/page", timeout=60.0):
    """Ask for a page, as the clients do."""

    def get():
        response = requests.get(server.url + path, timeout=timeout)
        response.raise_for_status()
        return response.json()["answer"]

    return lambda: ask(get, wanted_by="a test")


@pytest.mark.parametrize("trouble", [500, 502, 503, 504, 429, "cut", "dropped", "stalled"])
def test_asks_again_where_that_can_help(server, trouble):
    """Passing troubles, lost connections and time-outs."""
    server.troubles = [("page", trouble)] * 2

    assert question(server, timeout=1.5 if trouble == "stalled" else 60.0)() == 42
    assert server.times("page") == 3


@pytest.mark.parametrize("trouble", [503, "dropped"])
def test_gives_up_in_the_end(server, trouble):
    """After as many attempts as there may be, with the last reason."""
    server.troubles = [("page", trouble)] * 99

    with pytest.raises(AframeError, match="a server does not answer as it should") as caught:
        question(server)()

    assert server.times("page") == servers.ATTEMPTS
    assert ("503" if trouble == 503 else "ConnectionError") in caught.value.found
    assert "it goes on from what is there" in caught.value.fix


@pytest.mark.parametrize(("trouble", "times"), [(503, 25), ("stalled", 10)])
def test_asks_again_where_the_client_of_gwosc_gives_up(server, monkeypatch, caplog, trouble, times):
    """It asks ten times in ten seconds by itself; an outage may be longer. One line tells of it."""
    monkeypatch.setattr("gwosc.api.v2.TIMEOUT", 0.2)
    server.troubles = [("page", trouble)] * times
    caplog.set_level("INFO")

    found = ask(lambda: v2.fetch_json(f"{server.url}/page"), wanted_by="a test")

    assert found == {"answer": 42}
    # On a busy machine a good answer may come too late as well.
    assert server.times("page") >= times + 1
    assert len(caplog.records) == times // 10
    assert all("trying again in" in one.getMessage() for one in caplog.records)


@pytest.mark.parametrize(
    ("connect", "told"),
    [
        (socket.gaierror(-2, "Name or service not known"), "cannot resolve gwosc.org"),
        (ConnectionRefusedError(111, "Connection refused"), "no connection to gwosc.org"),
        (TimeoutError("timed out"), "no answer in time from gwosc.org"),
    ],
    ids=["no network", "refused", "silent"],
)
@pytest.mark.parametrize("get", [requests.get, v2.fetch_json])
def test_a_server_out_of_reach_is_told_in_a_few_words(
    get, connect, told, no_waiting, monkeypatch, caplog
):
    """The host and what is wrong with it, on one line, each time."""
    caplog.set_level("INFO")

    def fails(*_args, **_options):
        raise connect

    monkeypatch.setattr("urllib3.util.connection.create_connection", fails)

    with pytest.raises(AframeError, match="a server does not answer as it should") as caught:
        ask(lambda: get("https://gwosc.org/api/v2/runs"), wanted_by="a test")

    assert caught.value.found == told
    lines = [one.getMessage() for one in caplog.records]
    assert len(lines) == servers.ATTEMPTS - 1
    assert all(re.fullmatch(rf"{told}; trying again in \d+ s", line) for line in lines)


def test_the_client_of_gwosc_does_not_ask_for_ever(server):
    """An outage that lasts, and an answer that will not change, end with what the server said."""
    server.troubles = [("page", 503)] * 99
    with pytest.raises(AframeError, match="a server does not answer as it should") as caught:
        ask(lambda: v2.fetch_json(f"{server.url}/page"), wanted_by="a test")
    assert server.times("page") == 10 * servers.ATTEMPTS
    assert "503" in caught.value.found

    server.troubles = [("page", 501)] * 99
    with pytest.raises(AframeError, match="a server does not answer as it should"):
        ask(lambda: v2.fetch_json(f"{server.url}/page"), wanted_by="a test")
    assert server.times("page") == 10 * servers.ATTEMPTS + 10


@pytest.mark.parametrize(
    ("trouble", "problem", "fix"),
    [
        (401, "a server wants credentials", "htgettoken"),
        (403, "a server wants credentials", "htgettoken"),
        (404, "a server does not have what was asked for", "correct the names in the source"),
        (400, "a server does not have what was asked for", "correct the names in the source"),
    ],
)
def test_does_not_ask_again_where_that_cannot_help(server, trouble, problem, fix):
    """Unknown names and missing credentials."""
    server.troubles = [("page", trouble)]

    with pytest.raises(AframeError, match=problem) as caught:
        question(server)()

    assert server.times("page") == 1
    assert f"{trouble} " in caught.value.found
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (IgwnAuthError("no token"), "a server wants credentials"),
        (OSError("Could not find the TLS certificate file"), "a server cannot be asked"),
        (requests.exceptions.SSLError("self-signed"), "a server cannot be asked"),
        (ValueError("Run 'O9' not found."), "a server does not have what was asked for"),
    ],
)
def test_what_clients_raise_without_an_answer(error, problem):
    """Once, since the next attempt would end the same."""
    calls = []

    def fails():
        calls.append(1)
        raise error

    with pytest.raises(AframeError, match=problem):
        ask(fails, wanted_by="a test")
    assert len(calls) == 1


def test_a_spoiled_download_is_tried_again(no_waiting):
    """It may have been cut on its way."""
    outcomes = [SpoiledDownloadError("short"), SpoiledDownloadError("short"), None]

    def download():
        error = outcomes.pop(0)
        if error:
            raise error
        return "whole"

    assert ask(download, wanted_by="a test") == "whole"


def test_a_full_disk_is_no_server_s_fault():
    """It goes on to who knows the cure."""

    def fails():
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        ask(fails, wanted_by="a test")


def test_waits_longer_each_time_but_as_a_server_says(monkeypatch, enter):
    """Seconds of back-off, unless the server knows better."""
    waits = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    server = enter(Server({"/page": lambda **_: {"answer": 42}}))
    server.troubles = [("page", 500)] * 3 + [("page", 503)]

    question(server)()

    assert waits[0] >= 1
    assert waits[1] >= 2
    assert waits[2] >= 4
    assert sum(waits[:3]) < 10
    assert waits[3] == 0
