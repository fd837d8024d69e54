"""A keeper ends as its server does, or with its client; real servers are in test_server."""

import signal
import subprocess
import sys
import threading
import uuid
from types import SimpleNamespace

import pytest

from aframe_infer import keeper


@pytest.fixture
def region():
    """A region of shared memory, as a server names them."""
    path = keeper.SHARED_MEMORY / f"aframe-{uuid.uuid4().hex}-1"
    path.write_bytes(b"x")
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("command", "code"), [("exit 3", 3), ("kill -9 $$", -9), ("kill -15 $$", -15), ("true", 0)]
)
def test_a_keeper_ends_as_its_server(region, command, code):
    """By the same status or signal, without its shared memory."""
    words = [sys.executable, keeper.__file__, region.name[:-1], "60", "sh", "-c", command]

    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.wait() == code

    assert not region.exists()


def test_a_keeper_passes_on_the_end(region):
    """A server may then end in order."""
    command = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    words = [sys.executable, keeper.__file__, region.name[:-1], "60", "sh", "-c", command]

    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait() == 7


def test_a_keeper_passes_on_an_early_end(region):
    """One that comes while it starts its server."""
    command = "trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.05; done"
    words = [sys.executable, "-c", _START_SLOWLY, keeper.__file__, region.name[:-1], "sh", "-c"]

    with subprocess.Popen(
        [*words, command], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.wait() == 7

    assert not region.exists()


#: Keeps, and is slow to know that its server runs.
_START_SLOWLY = """
import runpy, subprocess, sys, time
keeper, start = runpy.run_path(sys.argv[1]), subprocess.Popen
def start_slowly(*words, **options):
    server = start(*words, **options)
    time.sleep(0.5)
    return server
subprocess.Popen = start_slowly
sys.exit(keeper["keep"](sys.argv[2], 60, sys.argv[3:]))
"""


def test_a_keeper_ends_with_its_client(region):
    """Whose end of the pipe closes: all of the group is killed."""
    words = [sys.executable, keeper.__file__, region.name[:-1], "60", "sleep", "60"]

    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        process.stdin.close()
        assert process.wait() == -signal.SIGKILL

    assert not region.exists()


@pytest.mark.parametrize("command", ["sleep 60", "trap '' TERM; while :; do sleep 0.05; done"])
def test_a_keeper_ends_an_idle_server(region, command):
    """Of which a client that lives has said nothing for a while; a stubborn one too."""
    words = [sys.executable, "-c", _KEEP, keeper.__file__, region.name[:-1], "sh", "-c", command]

    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.wait() == keeper.IDLE

    assert not region.exists()


#: Keeps with little patience.
_KEEP = """
import runpy, sys
keeper = runpy.run_path(sys.argv[1])
keeper["_watch_client"].__globals__["STOP_SECONDS"] = 0.2
sys.exit(keeper["keep"](sys.argv[2], 0.3, sys.argv[3:]))
"""


def test_a_client_is_waited_for_anew_after_each_word(monkeypatch):
    """Three words, and only then a silence that ends the server."""
    words, ended = [b".", b"..", b"."], threading.Event()
    with subprocess.Popen(["sleep", "60"]) as server:
        monkeypatch.setattr(keeper.sys, "stdin", SimpleNamespace(fileno=lambda: 0))
        asked = SimpleNamespace(select=lambda of, *_: (of if words else [], [], []))
        monkeypatch.setattr(keeper, "select", asked)
        monkeypatch.setattr(keeper, "os", SimpleNamespace(read=lambda *_: words.pop()))

        keeper._watch_client("none", 1.0, server, ended)

    assert (words, ended.is_set(), server.returncode) == ([], True, -signal.SIGTERM)
