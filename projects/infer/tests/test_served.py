"""Scores of a real Triton server, on the CPU: those of this process, whatever happens."""

import dataclasses
import os
import re
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from aframe.artifacts.events import Events
from aframe.artifacts.ledger import read_ledger
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.transforms.streaming import streaming_search
from aframe_infer import client, served
from aframe_infer import server as module
from aframe_infer.client import Client, is_ready, streams
from aframe_infer.inference import infer
from aframe_infer.repository import read_repository
from aframe_infer.server import Server, running
from aframe_infer.settings import InferResources

#: Scores here are some tens. A server's are those of another runtime; kernels in which an
#: injection cannot be heard are scored anew only there.
SCORES = 1e-3
#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 600


@pytest.fixture
def search(changed, served_repository, tmp_path):
    """Search with the exported network, in this process or on a server."""

    def run(name, server=None, **fields):
        draft = Draft(tmp_path / name)
        draft.path.mkdir()
        resources = InferResources(server=server, server_timeout=300)
        inputs = {"model_repository": served_repository}
        settings = changed(inputs=inputs, return_timeseries=True, resources=resources, **fields)
        infer(settings, draft)
        return draft

    return run


def _hold_same(one, other):
    """Hold every score, every event and every injection of two searches against each other."""
    with (
        h5py.File(one.path / "timeseries.hdf5") as mine,
        h5py.File(other.path / "timeseries.hdf5") as theirs,
    ):
        paths = [name.decode() for name in mine["index"]["path"]]
        assert [name.decode() for name in theirs["index"]["path"]] == paths
        for path in paths:
            assert set(mine[path]) == set(theirs[path])
            for kind in mine[path]:
                np.testing.assert_allclose(mine[path][kind], theirs[path][kind], atol=SCORES)
    for name in ("background.hdf5", "0lag.hdf5"):
        if not (one.path / name).exists():
            assert not (other.path / name).exists()
            continue
        mine, theirs = (Events.read(draft.path / name) for draft in (one, other))
        assert mine.Tb == theirs.Tb
        for field in ("detection_time", "detection_statistic", "shift"):
            np.testing.assert_allclose(getattr(mine, field), getattr(theirs, field), atol=SCORES)
    mine, theirs = (read_ledger(draft.path / "foreground.hdf5") for draft in (one, other))
    for field in ("detection_time", "detection_statistic"):
        np.testing.assert_allclose(
            mine.parameters[field], theirs.parameters[field], atol=SCORES, rtol=1e-6
        )


@pytest.mark.parametrize("shifts", [(0, 1), (0, 0.5)], ids=["strain", "kernels"])
def test_a_server_gives_what_this_process_gives(search, server, shifts, monkeypatch):
    """Whether slides are whole updates or not: each score, each event, each injection."""
    asked = {"Tb": 300, "shifts": shifts}
    mine = search("mine", **asked)

    theirs = search("theirs", server.address, **asked)

    _hold_same(mine, theirs)
    assert max(theirs.notes["server"].values()) < 1e-5


def test_a_second_run_on_the_same_server_is_like_the_first(search, server):
    """Neither takes up what the other left: their sequences have other names."""
    runs = [search(name, server.address, Tb=100, zero_lag=False) for name in ("one", "two")]

    _hold_same(*runs)
    assert len({(run.work / "run").read_text() for run in runs}) == 2


@pytest.mark.parametrize(
    ("offsets", "first"), [([0, 0], 24), ([0, 4], 24), ([8, 0], 24), ([0, 2], np.inf)]
)
def test_strain_is_streamed_where_shifts_are_whole_updates(repository, offsets, first):
    """From the first block before which a PSD's length lies: 4 s and 2.25 s of updates of 1 s."""
    assert served.first_streamed(repository.stream, offsets) == first


def test_a_server_is_started_for_a_search(search, server_environment):
    """And has ended when the search has."""
    draft = search("started", str(server_environment), Tb=100, zero_lag=False)

    log = (draft.work / "server.log").read_text()
    assert "successfully loaded 'aframe-stream'" in log
    assert (draft.path / "background.hdf5").exists()
    (address,) = re.findall(r"Started GRPCInferenceService at ([\d.:]+)", log)
    assert not is_ready(address)


@pytest.fixture
def strain(repository):
    """White noise of two minutes, its injected twin, and the names of their sequences."""
    rng = np.random.default_rng(3)
    clean = (rng.standard_normal((2, 120 * 256)) * 1e-21).astype(np.float32)
    loud = clean.copy()
    loud[:, 50 * 256 : 51 * 256] *= 3
    return {"background": clean, "foreground": loud}


NUMBERS = np.arange(40, 480)


def _stream(address, repository, strain, name, timeout=20, pairs_of=None):
    """Stream each kind of strain."""
    found = {}
    with Client(address, timeout) as client:
        for kind, rows in strain.items():
            pair = np.stack([strain["background"], rows])
            pairs = (pairs_of or _Pairs)(pair, repository.stream.update_size)
            names = client, repository, pairs, f"{name}-{kind}"
            found[kind] = served.stream_strain(*names, NUMBERS)
    return found


class _Pairs:
    """Updates of strain in memory; something may happen when one of them is about to be sent."""

    accident = None

    def __init__(self, pair, size):
        self.pair, self.size = pair, size

    def __call__(self, block):
        if _Pairs.accident and _Pairs.accident[0] == block:
            _, act = _Pairs.accident
            _Pairs.accident = None
            act()
        return self.pair[..., block * self.size : (block + 1) * self.size]


@pytest.fixture
def expected(served_repository, strain):
    """What torch makes of the strain, update by update."""
    repository = read_repository(served_repository, -1)
    network = repository.load_network(torch.device("cpu"))
    stream = streaming_search(repository.stream, repository.whitener, network)
    found = {}
    for kind, rows in strain.items():
        state, scores = torch.zeros(2, 2, repository.stream.state_size), []
        pair = torch.from_numpy(np.stack([strain["background"], rows]))
        for update in pair.split(repository.stream.update_size, dim=-1):
            with torch.no_grad():
                each, state = stream(update, state)
            scores.append(each[:, 0])
        found[kind] = torch.cat(scores).numpy()[NUMBERS]
    return found


def _hold(found, expected):
    assert set(found) == set(expected)
    for kind, scores in expected.items():
        np.testing.assert_allclose(found[kind], scores, rtol=1e-5, atol=1e-4)


def _at_once(count, work):
    """Do something of each number in a thread of its own; gives what comes of it."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, range(count)))


def test_concurrent_streams_keep_apart(server, repository, strain, expected):
    """Six clients at once, each of a sequence: as many as the server has streams."""
    names = (server.address, repository, strain)

    found = _at_once(6, lambda number: _stream(*names, f"concurrent-{number}"))

    assert len(found) == 6
    for each in found:
        _hold(each, expected)


def _at_block(monkeypatch, number, act):
    """Do something once, when the update of a block is about to be sent."""
    monkeypatch.setattr(_Pairs, "accident", (number, act))


def test_a_server_killed_in_mid_stream_comes_back(
    program, served_repository, repository, strain, expected, monkeypatch, tmp_path, group_of
):
    """The sequences are streamed again from their start: the same scores, at the same address."""
    with Server(program, served_repository, tmp_path / "log") as server:
        first = group_of.server(server)
        _at_block(monkeypatch, 60, lambda: os.kill(first, signal.SIGKILL))

        found = _stream(server.address, repository, strain, "killed", timeout=300)

        assert server.deaths == 1
        assert group_of.server(server) != first
    _hold(found, expected)


def test_a_server_killed_under_load_comes_back(
    program, served_repository, repository, strain, expected, tmp_path, group_of
):
    """Twice, while six clients stream: each has its scores, as if nothing had been."""
    with Server(program, served_repository, tmp_path / "log") as server:
        meeting = threading.Barrier(6, lambda: os.kill(group_of.server(server), signal.SIGKILL))

        class Together(_Pairs):
            """Updates of a client that meets the others on its way, once for each kind."""

            meets = True

            def __call__(self, block):
                if block == 60 and self.meets:
                    self.meets = False
                    meeting.wait(600)
                return super().__call__(block)

        def stream(number):
            names = (server.address, repository, strain, f"load-{number}")
            return _stream(*names, timeout=300, pairs_of=Together)

        found = _at_once(6, stream)

        assert server.deaths == 2
    for each in found:
        _hold(each, expected)


def test_a_server_in_an_image_is_started_for_a_search(search):
    """By a real Apptainer; it gives what this process gives, and has ended when the search has."""
    image = os.environ.get("AFRAME_TEST_TRITON_IMAGE", "")
    if shutil.which("apptainer") is None or not Path(image).is_file():
        pytest.skip("no apptainer on PATH, or AFRAME_TEST_TRITON_IMAGE names no image of a Triton")
    mine = search("mine", Tb=100)

    theirs = search("theirs", image, Tb=100)

    _hold_same(mine, theirs)
    assert "successfully loaded 'aframe-stream'" in (theirs.work / "server.log").read_text()
    left = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline"))
    assert not any(b"tritonserver" in words and image.encode() in words for words in left)


def test_an_idle_server_ends_and_comes_back(
    program, served_repository, repository, strain, expected, tmp_path, group_of
):
    """Asked nothing for a while, it frees what it holds; the next client has it again."""
    with Server(program, served_repository, tmp_path / "log") as server:
        _hold(_stream(server.address, repository, strain, "before"), expected)
        first = server._process
        server.idle_seconds = 0.5
        first.wait(LONGEST)
        server.idle_seconds = 600.0

        found = _stream(server.address, repository, strain, "after", timeout=300)

        assert server._process is not first
        assert group_of.members(first.pid) == {}
        assert server.deaths == 0
    _hold(found, expected)


def test_an_idle_server_may_be_wanted_no_more(program, served_repository, tmp_path):
    """The run ends as it would have."""
    with Server(program, served_repository, tmp_path / "log") as server:
        server.idle_seconds = 0.5
        server._process.wait(LONGEST)

    assert not server._watch.is_alive()
    assert server.deaths == 0


def test_a_sequence_that_broke_off_is_taken_up(server, repository, strain, expected, monkeypatch):
    """A client that went away in mid-stream does the same again, under the same name."""

    def leave():
        raise KeyboardInterrupt

    _at_block(monkeypatch, 60, leave)
    with pytest.raises(KeyboardInterrupt):
        _stream(server.address, repository, strain, "left")

    _hold(_stream(server.address, repository, strain, "left"), expected)


def test_a_server_that_hangs_is_asked_again(
    server, repository, strain, expected, monkeypatch, caplog, group_of
):
    """Once it goes on: an answer that does not come in time counts as lost."""
    process = group_of.server(server)

    def ready(address):
        os.kill(process, signal.SIGCONT)
        return is_ready(address)

    # It hangs until an answer was given up.
    _at_block(monkeypatch, 60, lambda: os.kill(process, signal.SIGSTOP))
    monkeypatch.setattr(client, "is_ready", ready)

    found = _stream(server.address, repository, strain, "hung", timeout=5)

    _hold(found, expected)
    assert "no answer within 5 s" in caplog.text


def test_a_death_for_good_is_reported(
    served_repository, server_environment, repository, strain, monkeypatch, tmp_path, group_of
):
    """With the last that the server said, where it is not started anew."""
    monkeypatch.setattr(module, "RESTARTS", 0)

    def search():
        with running(str(server_environment), served_repository, tmp_path / "log") as (
            address,
            server,
        ):
            process = group_of.server(server)
            _at_block(monkeypatch, 60, lambda: os.kill(process, signal.SIGKILL))
            _stream(address, repository, strain, "dead", timeout=1)

    told = r"Triton server has died\n +found +SIGKILL, 1 times in this run; its last lines:\n +\S"
    with pytest.raises(AframeError, match=told):
        search()


def test_refuses_another_network(server, repository):
    """Before a branch is sent: an address may serve anything."""
    other = dataclasses.replace(
        repository, preprocessing=dataclasses.replace(repository.preprocessing, highpass=60.0)
    )
    link = served.Link(server.address, 20, "other")

    with pytest.raises(AframeError, match=r"other scores(.|\n)*aframe-stream by .* on white noise"):
        served.refuse_other_network(link, other)


def test_the_server_tells_its_streams(server):
    """As many as the export said."""
    assert streams(server.address) == 6


def test_more_clients_than_streams_take_turns(server, repository, strain, expected):
    """Who waits for a place has none: nobody waits for ever."""
    names = (server.address, repository, strain)

    found = _at_once(9, lambda number: _stream(*names, f"turn-{number}"))

    assert len(found) == 9
    for each in found:
        _hold(each, expected)


def test_sequences_are_named_once():
    """By run, branch and kind."""
    names = [
        served.Link("a:1", 1, run).sequence(branch, kind)
        for run in ("x", "y")
        for branch in range(200)
        for kind in ("background", "foreground")
    ]

    assert len(set(names)) == len(names) == 800
