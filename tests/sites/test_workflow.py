"""What an earlier run left in a pool, and who is at work."""

import fcntl
import io
import os
import platform
import shutil
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from aframe.sites import workflow
from aframe.sites.pieces import Piece, State, read_state
from aframe.sites.queue import SchedulerUnreachableError
from aframe.sites.requests import Request, Terms
from aframe.sites.step import PoolStep, run_name
from aframe.stages import Stage, Step

#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 300


class Pool:
    """A queue that notes what is asked of it; silent as often as it is told to be."""

    def __init__(self, silent=0):
        self.silent, self.removed, self.edited, self.ads = silent, [], [], []

    def remove(self, constraint):
        """Note what was removed, unless nobody is there."""
        self._answer()
        self.removed.append(constraint)

    def query(self, _constraint):
        """Give what it is told to hold."""
        self._answer()
        return self.ads

    def edit(self, constraint, name, value):
        """Note what was changed, likewise."""
        self._answer()
        self.edited.append((constraint, name, value))

    def _answer(self):
        self.silent -= 1
        if self.silent >= 0:
            raise SchedulerUnreachableError("nobody there")


@pytest.fixture
def left(tmp_path):
    """A folder in which an earlier run was at work on a set."""
    folder = tmp_path / "condor"
    for name in ("tables", "reports", "jobs"):
        (folder / name).mkdir(parents=True)
    (folder / "tables" / "2.json").write_text("{}")
    State(folder / "state.json", "digest").begin(2, ["0"], Request())
    (tmp_path / "output" / ".draft-fetch").mkdir(parents=True)
    return folder


@pytest.fixture
def said(monkeypatch):
    """What is said meanwhile; of what capsys reads, a thread's words may be lost."""
    screen = io.StringIO()
    monkeypatch.setattr(workflow, "sys", SimpleNamespace(stderr=screen))
    return screen


def _until(true, what):
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.01)


def _constraint(tmp_path):
    return f'AframeRun == "{run_name(tmp_path / "output", "fetch")}"'


def test_a_run_on_this_machine_removes_the_jobs(left, tmp_path, monkeypatch, capsys):
    """Those of the same output and verb, and no others."""
    pool = Pool()
    monkeypatch.setattr(workflow, "open_queue", lambda: pool)

    workflow.withdraw(left, tmp_path / "output", "fetch")
    workflow.withdraw(left, tmp_path / "output", "fetch")

    assert pool.removed == [_constraint(tmp_path)]
    assert not left.exists()
    assert "removing the jobs that an earlier run of fetch left" in capsys.readouterr().err


def test_jobs_that_cannot_be_removed_are_told(left, tmp_path, monkeypatch, capsys):
    """With the command for later; the run goes on."""
    monkeypatch.setattr(workflow, "open_queue", lambda: Pool(silent=1))

    workflow.withdraw(left, tmp_path / "output", "fetch")

    assert "(nobody there); later: condor_rm -constraint" in capsys.readouterr().err


def test_jobs_of_a_run_that_is_at_work_are_left_to_it(left, tmp_path, monkeypatch, said):
    """A run without a pool waits, and finds the step done."""
    left = left.rename(tmp_path / "Fetch-01234567")
    pool = Pool()
    monkeypatch.setattr(workflow, "open_queue", lambda: pool)
    with (tmp_path / f".{left.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asked = (left, tmp_path / "output", "fetch")
        thread = threading.Thread(target=workflow.withdraw, args=asked, daemon=True)
        thread.start()
        _until(lambda: "Fetch | another run is at work on it" in said.getvalue(), "that it waits")
        shutil.rmtree(left)
    _until(lambda: not thread.is_alive(), "its end")

    assert pool.removed == []


@pytest.fixture
def before(tmp_path):
    """A folder of jobs for an output that is not there."""
    old = tmp_path / "Fetch-01234567"
    old.mkdir()
    whose = {"run": "name", "output": str(tmp_path / "before"), "host": platform.node()}
    State(old / "state.json", "digest", **whose).begin(0, ["0"], Request())
    return old


@pytest.mark.parametrize("silent", [0, 1])
def test_jobs_of_a_directory_that_was_moved_are_removed(before, tmp_path, silent, capsys):
    """They would write where nothing is; those that cannot be removed are told."""
    pool = Pool(silent)

    workflow._forget_moved(tmp_path / "Fetch-89abcdef", "Fetch", pool)

    assert pool.removed == ([] if silent else ['AframeRun == "name"'])
    assert not before.exists()
    said = capsys.readouterr().err
    assert f"left in the pool where it was before, in {tmp_path / 'before'}\n" in said
    assert ("(nobody there); later: condor_rm -constraint" in said) == bool(silent)


@pytest.mark.parametrize("why", ["copied", "at work", "of another machine", "of somebody else"])
def test_jobs_of_a_directory_that_is_there_are_left(before, tmp_path, why, monkeypatch, capsys):
    """Of a copied one the original may be at work; another machine sees other folders."""
    pool = Pool()
    with (tmp_path / ".Fetch-01234567.lock").open("w") as lock:
        if why == "copied":
            (tmp_path / "before").mkdir()
        elif why == "at work":
            fcntl.flock(lock, fcntl.LOCK_EX)
        elif why == "of another machine":
            monkeypatch.setattr(workflow.platform, "node", lambda: "another")
        else:
            monkeypatch.setattr(workflow, "_is_gone", _refused(workflow._is_gone, monkeypatch))
        workflow._forget_moved(tmp_path / "Fetch-89abcdef", "Fetch", pool)

    assert pool.removed == []
    assert before.exists()
    assert capsys.readouterr().err == ""


def _refused(is_gone, monkeypatch):
    """Have the folder lie below one that may not be entered."""

    def ask(folder):
        with monkeypatch.context() as patch:
            patch.setattr(workflow.Path, "exists", _deny)
            return is_gone(folder)

    return ask


def _deny(_path):
    raise PermissionError("not yours")


def test_a_kill_interrupts_a_submitter(left, tmp_path, monkeypatch, capsys):
    """As Ctrl-C does: it says what becomes of its jobs."""
    step = _step(tmp_path, left)
    before = signal.getsignal(signal.SIGTERM)

    def killed(_work, state, _queue):
        state.begin(0, [""], Request())
        state.pieces[0].submitted = True
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(workflow, "_run_branches", killed)

    with pytest.raises(KeyboardInterrupt):
        workflow.run_step(step, Pool())

    assert "its jobs go on in the pool" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def _step(tmp_path, left, **settings):
    told = {"output": str(tmp_path / "output"), "resources": {"workers": 1}, **settings}
    return PoolStep(
        Stage("data"), Step("Fetch", "fetch", told), Request(), Terms(), left,
        branched=True, published=lambda: False,
    )  # fmt: skip


def test_the_same_work_is_taken_up(left, tmp_path):
    """How it is done does not matter."""
    step = _step(tmp_path, left, seed=1)
    state = read_state(left / "state.json")
    state.digest = step.digest
    state.write()
    pool = Pool()

    again = workflow._taken_up(_step(tmp_path, left, seed=1, resources={"workers": 4}), pool)

    assert again == state
    assert pool.removed == []


def _going_on(tmp_path, left, *pieces, request, asked):
    """A step that goes on with *request* where it was begun with *asked*."""
    step = replace(_step(tmp_path, left), request=request)
    state = read_state(left / "state.json")
    state.digest, state.request, state.pieces = step.digest, asked, list(pieces)
    state.write()
    return step


def test_what_waits_asks_anew(left, tmp_path, monkeypatch):
    """Jobs at work, or held, keep what they were given, so that they grow from there."""
    monkeypatch.setattr(workflow.time, "sleep", lambda _: None)
    now = Request(memory=65536, max_memory=65536, max_disk=300000)
    grown = Request(disk=9000)
    pieces = [
        Piece(0, "0", Request(), submitted=True),
        Piece(1, "1", grown, attempt=2, submitted=True),
        Piece(2, "2", Request(), attempt=2),
        Piece(3, "3", Request(), submitted=True, done=True),
    ]
    step = _going_on(tmp_path, left, *pieces, request=now, asked=Request())
    pool = Pool(silent=1)
    pool.ads = [
        {"AframePiece": 0, "AframeAttempt": 1, "JobStatus": 5},
        {"AframePiece": 1, "AframeAttempt": 2, "JobStatus": 1},
    ]

    again = workflow._taken_up(step, pool)

    waiting = f"{_constraint(tmp_path)} && JobStatus == 1"
    assert pool.edited == [(waiting, "RequestMemory", "65536")]
    assert [piece.request.memory for piece in again.pieces] == [4096, 65536, 65536, 4096]
    assert [piece.request.disk for piece in again.pieces] == [4096, 9000, 4096, 4096]
    assert {piece.request.max_disk for piece in again.pieces} == {300000}
    assert read_state(left / "state.json") == again


def test_what_an_older_version_began_is_left_as_it_is(left, tmp_path):
    """It did not keep what was asked for first: what has grown stays."""
    grown = Request(memory=32768)
    piece = Piece(0, "0", grown, submitted=True)
    step = _going_on(tmp_path, left, piece, request=Request(), asked=None)
    pool = Pool()
    pool.ads = [{"AframePiece": 0, "AframeAttempt": 1, "JobStatus": 1}]

    again = workflow._taken_up(step, pool)

    assert pool.edited == []
    assert (again.pieces[0].request, again.request) == (grown, Request())


@pytest.mark.parametrize("gone", ["nothing", "draft", "table", "state"])
def test_other_work_begins_anew(left, tmp_path, gone, monkeypatch, capsys):
    """With other settings, or where somebody tidied up: jobs go, once the scheduler answers."""
    monkeypatch.setattr(workflow.time, "sleep", lambda _: None)
    step = _step(tmp_path, left, seed=1)
    if gone == "state":
        (left / "state.json").unlink()
    if gone in ("draft", "table"):
        state = read_state(left / "state.json")
        state.digest = step.digest
        state.write()
    if gone == "draft":
        (tmp_path / "output" / ".draft-fetch").rmdir()
    if gone == "table":
        (left / "tables" / "2.json").unlink()
    pool = Pool(silent=2)

    state = workflow._taken_up(step, pool)

    assert (state.set, state.pieces, state.digest) == (-1, [], step.digest)
    assert pool.removed == [_constraint(tmp_path)]
    said = capsys.readouterr().err
    assert said.count("HTCondor does not answer (nobody there)") == 1
    assert ("which had other settings, and what they made" in said) == (gone == "nothing")
    assert ("whose draft or table is gone" in said) == (gone in ("draft", "table"))


def test_one_submitter_at_a_time(tmp_path, said):
    """The second says so, and waits."""
    order = []

    def second():
        with workflow._locked(tmp_path / "folder", "Fetch"):
            order.append("second")

    with (tmp_path / ".folder.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        _until(lambda: "waiting" in said.getvalue(), "that the second waits")
        order.append("first")
    _until(lambda: not thread.is_alive(), "the end of the second")

    assert order == ["first", "second"]


def test_what_a_job_made_is_published_by_the_next_run(left, tmp_path, monkeypatch):
    """Where a kill or a full disk came in between, no second job makes it again."""
    step = replace(_step(tmp_path, left), terms=Terms(shared_disk=False), branched=False)
    seen, published = [], iter([OSError("no space"), 0])

    def see_done(_work, state, _queue, _what):
        seen.append(all(piece.done for piece in state.pieces))
        state.pieces[0].done = True
        state.write()
        (step.draft / ".record.json").touch()

    def run(*_words, **_options):
        answer = next(published)
        if answer:
            raise answer
        (step.draft / ".record.json").unlink()
        return answer

    monkeypatch.setattr(workflow, "_see_done", see_done)
    monkeypatch.setattr(Stage, "run", run)
    State(left / "state.json", step.digest).write()
    with pytest.raises(OSError, match="no space"):
        workflow.run_step(step, Pool())
    workflow.run_step(step, Pool())

    assert seen == [False, True]
    assert not left.exists()


@pytest.mark.parametrize(("gpus", "device"), [(0, None), (1, "cuda")])
def test_branches_are_dealt_for_the_machines_of_the_jobs(left, tmp_path, monkeypatch, gpus, device):
    """A GPU that jobs ask for is used by them, whatever the machine that deals has."""
    told = []

    def run(_stage, _verb, settings, **_options):
        told.append(settings["resources"])
        return 0

    monkeypatch.setattr(Stage, "run", run)
    step = replace(_step(tmp_path, left), request=Request(gpus=gpus))

    workflow._run_branches(step, State(left / "state.json", step.digest), Pool())

    assert told[0]["deal"] == str(step.tables)
    assert told[0].get("device") == device
