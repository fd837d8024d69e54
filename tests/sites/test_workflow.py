"""What an earlier run left in a pool, and who is at work."""

import fcntl
import threading
import time
from dataclasses import replace

import pytest

from aframe.sites import workflow
from aframe.sites.pieces import State, read_state
from aframe.sites.queue import SchedulerUnreachableError
from aframe.sites.requests import Request, Terms
from aframe.sites.step import PoolStep, run_name
from aframe.stages import Stage, Step


class Pool:
    """A queue of which only removal is asked; silent as often as it is told to be."""

    def __init__(self, silent=0):
        self.silent, self.removed = silent, []

    def remove(self, constraint):
        """Note what was removed, unless nobody is there."""
        self.silent -= 1
        if self.silent >= 0:
            raise SchedulerUnreachableError("nobody there")
        self.removed.append(constraint)


@pytest.fixture
def left(tmp_path):
    """A folder in which an earlier run was at work on a set."""
    folder = tmp_path / "condor"
    for name in ("tables", "reports", "jobs"):
        (folder / name).mkdir(parents=True)
    State(folder / "state.json", "digest").begin(2, ["0"], Request())
    (tmp_path / "output" / ".draft-fetch").mkdir(parents=True)
    return folder


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


@pytest.mark.parametrize("gone", [False, True], ids=["other settings", "no draft"])
def test_other_work_begins_anew(left, tmp_path, gone, monkeypatch, capsys):
    """The jobs are removed, as soon as the scheduler answers."""
    monkeypatch.setattr(workflow.time, "sleep", lambda _: None)
    step = _step(tmp_path, left, seed=1)
    if gone:
        state = read_state(left / "state.json")
        state.digest = step.digest
        state.write()
        (tmp_path / "output" / ".draft-fetch").rmdir()
    pool = Pool(silent=2)

    state = workflow._taken_up(step, pool)

    assert (state.set, state.pieces, state.digest) == (-1, [], step.digest)
    assert pool.removed == [_constraint(tmp_path)]
    assert capsys.readouterr().err.count("HTCondor does not answer (nobody there)") == 2


def test_one_submitter_at_a_time(tmp_path, capsys):
    """The second says so, and waits."""
    order = []

    def second():
        with workflow._locked(tmp_path / "lock", "Fetch"):
            order.append("second")

    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=second)
        thread.start()
        while "waiting" not in capsys.readouterr().err:
            time.sleep(0.01)
        order.append("first")
    thread.join()

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
