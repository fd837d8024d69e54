"""A search on a Ray cluster that runs already, and one of its own beside it."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from aframe_train.tune.trials import Storage, folder, read_trial

HERE = Path(__file__).parent
SAMPLES = 3
#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 500


def search(config, storage, *endpoint):
    """Start a search of three stubs as a process of its own."""
    script = [sys.executable, str(HERE / "run_search.py")]
    words = [*script, str(config), str(storage), str(SAMPLES), *endpoint]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def noted(storage):
    """What the stubs noted of their environment, by trial."""
    files = [storage / folder(number) / "events" for number in range(SAMPLES)]
    return [[json.loads(text) for text in file.read_text().splitlines()] for file in files]


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
        str(ray), "start", "--head", "--block", "--num-cpus=2", "--num-gpus=3", f"--port={port}",
        f"--ray-client-server-port={client}", "--include-dashboard=false",
        f"--temp-dir={home}", "--disable-usage-stats", "--object-store-memory=100000000",
    ]  # fmt: skip
    log = tmp_path_factory.mktemp("ray") / "log"

    def answers():
        with socket.socket() as tried:
            answered = tried.connect_ex(("127.0.0.1", client)) == 0
            # Asked for one of the ports that it gives away, a machine may answer itself.
            return answered and tried.getsockname() != tried.getpeername()

    # Ray gives its own parts half a minute, which a busy machine may not have.
    for _ in range(10):
        with log.open("w") as file:
            head = subprocess.Popen(words, stdout=file, stderr=file, start_new_session=True)
        wait_until(lambda head=head: head.poll() is not None or answers())
        if head.poll() is None:
            break
    assert head.poll() is None, log.read_text()
    yield f"127.0.0.1:{client}"
    head.terminate()
    head.wait(LONGEST)
    shutil.rmtree(home)


@pytest.mark.xdist_group("ray")
def test_a_running_cluster_is_joined_beside_a_search_of_its_own(config, tmp_path, running_cluster):
    """Two searches on one machine, one of them on somebody's cluster: neither sees the other.

    On the cluster, whose GPUs are Ray's word alone, each trial is shown its own and no other.
    """
    config.write_text(config.read_text().replace("accelerator: cpu", "accelerator: auto"))
    joined, alone = tmp_path / "joined", tmp_path / "alone"
    both = [search(config, joined, running_cluster), search(config, alone)]

    told = [each.communicate(timeout=LONGEST) for each in both]

    for (out, err), storage in zip(told, (joined, alone), strict=True):
        found = states(storage)
        assert {trial.status for trial in found} <= {"finished", "stopped"}, err
        assert found[int(out)].status == "finished"
    assert "2 trials side by side, each with 1 cores and 1 GPUs\n" in told[0][1]
    assert "2 trials side by side, each with 1 cores\n" in told[1][1]
    for trial in noted(joined):
        (shown,) = {each["CUDA_VISIBLE_DEVICES"] for each in trial}
        assert shown in {"0", "1", "2"}, "a trial sees other GPUs than its own"
        assert {"--trainer.accelerator=gpu", "--trainer.devices=1"} < set(trial[0]["words"])
    # A trial that is stopped at once leaves no more than its start.
    spans = [(trial[0]["time"], trial[-1]["time"], trial[0]["CUDA_VISIBLE_DEVICES"])
             for trial in noted(joined)]  # fmt: skip
    for begin, _, gpu in spans:
        others = [each for each in spans if each[0] < begin < each[1]]
        assert gpu not in {each[2] for each in others}, "two trials share a GPU"
    rates = [[trial.settings for trial in states(storage)] for storage in (joined, alone)]
    assert rates[0] == rates[1]
