"""A keeper ends as its server does, or with its client; real servers are in test_server."""

import signal
import subprocess
import sys
import uuid

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
    words = [sys.executable, keeper.__file__, region.name[:-1], "sh", "-c", command]

    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.wait() == code

    assert not region.exists()


def test_a_keeper_passes_on_the_end(region):
    """A server may then end in order."""
    command = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    words = [sys.executable, keeper.__file__, region.name[:-1], "sh", "-c", command]

    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait() == 7


def test_a_keeper_ends_with_its_client(region):
    """Whose end of the pipe closes: all of the group is killed."""
    words = [sys.executable, keeper.__file__, region.name[:-1], "sleep", "60"]

    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        process.stdin.close()
        assert process.wait() == -signal.SIGKILL

    assert not region.exists()
