"""A search on a Ray cluster that runs already, and one of its own beside it."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from aframe_train.tune.trials import Storage, read_trial

HERE = Path(__file__).parent
SAMPLES = 3
#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 500


def search(config, storage, *endpoint):
    """Start a search of three stubs as a process of its own."""
    script = [sys.executable, str(HERE / "run_search.py")]
    words = [*script, str(config), str(storage), str(SAMPLES), *endpoint]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def states(storage):
    return [read_trial(Storage(str(storage)), number, {}) for number in range(SAMPLES)]


def wait_until(true):
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def running_cluster(tmp_path_factory, monkeypatch):
    """Start a Ray cluster as an administrator would; give its client server's address."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        port, client = (each.getsockname()[1] for each in (one, other))
    ray = Path(sys.executable).with_name("ray")
    home = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    words = [
        str(ray), "start", "--head", "--block", "--num-cpus=2", "--num-gpus=0", f"--port={port}",
        f"--ray-client-server-port={client}", "--include-dashboard=false",
        f"--temp-dir={home}", "--disable-usage-stats", "--object-store-memory=100000000",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("ray") / "log"
    with log.open("w") as file:
        head = subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True)

    def answers():
        assert head.poll() is None, log.read_text()
        with socket.socket() as tried:
            answered = tried.connect_ex(("127.0.0.1", client)) == 0
            # Asked for one of the ports that it gives away, a machine may answer itself.
            return answered and tried.getsockname() != tried.getpeername()

    wait_until(answers)
    yield f"127.0.0.1:{client}"
    head.terminate()
    head.wait(LONGEST)
    shutil.rmtree(home)


@pytest.mark.xdist_group("ray")
def test_a_running_cluster_is_joined_beside_a_search_of_its_own(config, tmp_path, running_cluster):
    """Two searches on one machine, one of them on somebody's cluster: neither sees the other."""
    joined, alone = tmp_path / "joined", tmp_path / "alone"
    both = [search(config, joined, running_cluster), search(config, alone)]

    told = [each.communicate(timeout=LONGEST) for each in both]

    for (out, err), storage in zip(told, (joined, alone), strict=True):
        found = states(storage)
        assert {trial.status for trial in found} <= {"finished", "stopped"}, err
        assert found[int(out)].status == "finished"
        assert "2 trials side by side, each with 1 cores" in err
    rates = [[trial.settings for trial in states(storage)] for storage in (joined, alone)]
    assert rates[0] == rates[1]
