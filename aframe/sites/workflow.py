"""A step on an HTCondor pool: its branches dealt, done by jobs there, and published here."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from aframe.branches import DEALT
from aframe.errors import AframeError
from aframe.failures import StepFailedError, failure_path
from aframe.sites.jobs import Jobs, PieceFailedError, Work
from aframe.sites.pieces import State, grouped, read_state
from aframe.sites.queue import Queue, SchedulerUnreachableError, open_queue
from aframe.sites.step import PoolStep, run_name
from aframe.sites.work import RowsWork, WholeWork, forget_secrets
from aframe.usage import Table

_STATE = "state.json"
#: Between two tries to reach the scheduler (s).
_BETWEEN_TRIES = 30.0


def run_step(work: PoolStep, queue: Queue | None = None) -> None:
    """Have a pool do a step, and publish it here.

    Killed and run again it finds the jobs that it submitted. Other settings begin anew.

    Args:
        work: The step.
        queue: The queue; opened if it is not given.

    Raises:
        AframeError: If HTCondor is not installed or refuses the jobs, or if the step fails.
    """
    # Beside the folder: that goes at the end, while others may wait.
    with _locked(work.folder.with_name(f".{work.folder.name}.lock"), work.step.label):
        for folder in (work.tables, work.reports, work.logs):
            folder.mkdir(parents=True, exist_ok=True)
        queue = queue or open_queue()
        state = _taken_up(work, queue)
        try:
            (_run_branches if work.branched else _run_whole)(work, state, queue)
        except PieceFailedError as error:
            state.end()
            forget_secrets(work.folder)
            error.failure.write(failure_path(work.output, work.step.verb))
            raise StepFailedError(error.failure) from error
        except KeyboardInterrupt:
            if _under_way(state):
                _tell_of_jobs(work)
            raise
        except AframeError:
            if not _under_way(state):
                forget_secrets(work.folder)
            raise
        failure_path(work.output, work.step.verb).unlink(missing_ok=True)
        shutil.rmtree(work.folder, ignore_errors=True)


def _under_way(state: State) -> bool:
    """Whether there are jobs that may want what they were given."""
    return state.set >= 0 and any(piece.submitted and not piece.done for piece in state.pieces)


def _tell_of_jobs(work: PoolStep) -> None:
    remove = shlex.join(["condor_rm", "-constraint", work.constraint])
    sys.stderr.write(
        f"{work.step.label} | its jobs go on in the pool, and the same command finds them again; "
        f"to remove them: {remove}\n"
    )


def withdraw(folder: Path, output: Path, verb: str) -> None:
    """Remove the jobs that an earlier run left in a pool, before the step is done here.

    Nothing is done where there was none. A scheduler that does not answer is told of.
    """
    if not (folder / _STATE).exists():
        return
    constraint = f'AframeRun == "{run_name(output, verb)}"'
    sys.stderr.write(f"removing the jobs that an earlier run of {verb} left in the pool\n")
    try:
        open_queue().remove(constraint)
    except (SchedulerUnreachableError, AframeError) as error:
        remove = shlex.join(["condor_rm", "-constraint", constraint])
        sys.stderr.write(f"they could not be removed ({error}); later: {remove}\n")
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, label: str) -> Iterator[None]:
    """Let one submitter be at work on a step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"{label} | another run is at work on it: waiting for that\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _taken_up(work: PoolStep, queue: Queue) -> State:
    """The state that a killed submitter left, if it was about the same work; else a new one."""
    path = work.folder / _STATE
    state = read_state(path)
    same = state is not None and state.digest == work.digest
    if state is not None and same and (state.set < 0 or work.draft.is_dir() or not work.branched):
        if state.set >= 0:
            sys.stderr.write(f"{work.step.label} | looking for the jobs of an earlier run\n")
        return state
    if state is not None:
        _remove(work, queue)
    for folder in (work.tables, work.reports, work.homes):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    state = State(path, work.digest)
    state.write()
    return state


def _remove(work: PoolStep, queue: Queue) -> None:
    """Remove the jobs of other settings, whose results nobody would take."""
    while True:
        try:
            return queue.remove(work.constraint)
        except SchedulerUnreachableError as error:
            sys.stderr.write(f"{work.step.label} | HTCondor does not answer ({error}): waiting\n")
            time.sleep(_BETWEEN_TRIES)


def _run_branches(work: PoolStep, state: State, queue: Queue) -> None:
    """Have the verb deal branches, see them done, and so on until it publishes."""
    tables = work.tables
    resources = {**work.step.settings["resources"], "deal": str(tables)}
    if work.request.gpus:
        # Not that of this machine, which may have none.
        resources["device"] = "cuda"
    settings = {**work.step.settings, "resources": resources}
    verb, label = work.step.verb, work.step.label
    while True:
        if state.set < 0:
            code = work.stage.run(
                verb, settings, label=label, remake=work.remake, accepted=(0, DEALT)
            )
            if code == 0:
                return
            number = max(int(path.stem) for path in tables.glob("*.json"))
            dealt = _read_dealt(tables, number)
            seconds = _seconds_a_row(work.output, verb, dealt["unit"])
            rows = grouped(dealt["count"], seconds, work.terms.job_length, work.request.cpus)
            sys.stderr.write(
                f"{label} | {dealt['count']} {dealt['unit']} in {len(rows)} jobs on the pool\n"
            )
            state.begin(number, rows, work.request)
        batch = work.batch(state.set, state.token)
        dealt = _read_dealt(tables, state.set)
        _see_done(work, state, queue, RowsWork(work, batch, dealt))
        state.end()


def _read_dealt(tables: Path, number: int) -> dict[str, Any]:
    return json.loads((tables / f"{number}.json").read_text())


def _see_done(work: PoolStep, state: State, queue: Queue, what: Work) -> None:
    told = work.output / "logs" / f"{work.step.verb}.jobs.json"
    batch = work.batch(state.set, state.token)
    Jobs(batch, work.terms, state, queue, what, told).run()


def _seconds_a_row(output: Path, verb: str, unit: str) -> float | None:
    """How long a row took in earlier runs, those of this output before all (s)."""
    tables = [
        Table(output / f".draft-{verb}" / ".work" / "accounting.csv"),
        Table(output / "logs" / f"{verb}.branches.csv"),
    ]
    for table in tables:
        walls = [row.wall for row in table.rows() if row.unit == unit]
        if walls:
            return max(mean(walls), 1e-3)
    return None


def _run_whole(work: PoolStep, state: State, queue: Queue) -> None:
    """Have one job do the whole verb; without a shared disk, publish here what it made."""
    if state.set < 0:
        state.begin(0, [""], work.request)
    _see_done(work, state, queue, WholeWork(work, work.batch(0, state.token)))
    try:
        if not work.terms.shared_disk:
            settings, verb = work.step.settings, work.step.verb
            work.stage.run(verb, settings, label=work.step.label, remake=work.remake)
    finally:
        # Until what the job made is published, the next run finds the job done.
        if not work.returned:
            state.end()
