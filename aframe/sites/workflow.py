"""A step on an HTCondor pool: its branches dealt, done by jobs there, and published here."""

from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import platform
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

from aframe.artifacts.record import draft_path
from aframe.branches import DEALT
from aframe.errors import AframeError
from aframe.failures import StepFailedError, failure_path
from aframe.processes import end_with_parent
from aframe.sites.causes import IDLE
from aframe.sites.jobs import Jobs, PieceFailedError, Work
from aframe.sites.pieces import State, grouped, read_state
from aframe.sites.queue import Queue, SchedulerUnreachableError, open_queue
from aframe.sites.step import PoolStep, run_name
from aframe.sites.work import RowsWork, WholeWork, forget_secrets
from aframe.usage import Table

Answered = TypeVar("Answered")

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
    with _interruptible(), _locked(work.folder, work.step.label):
        for folder in (work.tables, work.reports, work.logs):
            folder.mkdir(parents=True, exist_ok=True)
        queue = queue or open_queue()
        _forget_moved(work.folder, work.step.label, queue)
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


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have a kill of this process, or the end of the one that it works for, interrupt the step."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    parent = multiprocessing.parent_process()
    try:
        if parent is not None and parent.pid is not None:
            end_with_parent(parent.pid, by=signal.SIGTERM)
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _forget_moved(folder: Path, label: str, queue: Queue) -> None:
    """Remove the jobs of a run directory that was moved: they would write where nothing is."""
    for other in folder.parent.glob(f"{label}-*"):
        state = read_state(other / _STATE)
        # Of a directory that was copied the original may be at work, and another machine may see
        # what this one does not.
        moved = state is not None and state.host == platform.node() and _is_gone(state.output)
        if other == folder or state is None or not moved:
            continue
        with contextlib.suppress(BlockingIOError), _locked(other, label, wait=False):
            if state.set >= 0:
                sys.stderr.write(
                    f"{label} | removing the jobs that it left in the pool where it was before, "
                    f"in {state.output}\n"
                )
                _remove(queue, f'AframeRun == "{state.run}"')
            shutil.rmtree(other, ignore_errors=True)


def _is_gone(folder: str) -> bool:
    try:
        return not Path(folder).exists()
    except OSError:  # that of somebody else
        return False


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
    state = folder / _STATE
    if not state.exists():
        return
    with _locked(folder, folder.name.rpartition("-")[0]):
        if not state.exists():
            return  # the other run has done it meanwhile
        sys.stderr.write(f"removing the jobs that an earlier run of {verb} left in the pool\n")
        _remove(None, f'AframeRun == "{run_name(output, verb)}"')
        shutil.rmtree(folder, ignore_errors=True)


def _remove(queue: Queue | None, constraint: str) -> None:
    """Remove jobs; what cannot be is told how to."""
    try:
        (queue or open_queue()).remove(constraint)
    except (SchedulerUnreachableError, AframeError) as error:
        remove = shlex.join(["condor_rm", "-constraint", constraint])
        sys.stderr.write(f"they could not be removed ({error}); later: {remove}\n")


@contextlib.contextmanager
def _locked(folder: Path, label: str, *, wait: bool = True) -> Iterator[None]:
    """Let one submitter be at work on a step, and nobody else take its jobs away.

    Raises:
        BlockingIOError: If another is, and is not to be waited for.
    """
    # Beside the folder: that goes at the end, while others may wait.
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise
            sys.stderr.write(f"{label} | another run is at work on it: waiting for that\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _taken_up(work: PoolStep, queue: Queue) -> State:
    """The state that a killed submitter left, if it was about the same work; else a new one."""
    path = work.folder / _STATE
    state = read_state(path)
    same = state is not None and state.digest == work.digest
    if state is not None and same and _has_all(work, state):
        if state.set >= 0:
            sys.stderr.write(f"{work.step.label} | looking for the jobs of an earlier run\n")
            if state.request != work.request:
                _ask_anew(work, state, queue)
        return state
    if state is not None and state.set >= 0:
        sys.stderr.write(
            f"{work.step.label} | removing the jobs of an earlier run, which had other settings, "
            "and what they made\n"
            if not same
            else f"{work.step.label} | removing the jobs of an earlier run, whose draft or table "
            "is gone\n"
        )
    # Also of a folder that somebody has removed, with jobs at work.
    _answered(work, partial(queue.remove, work.constraint))
    for folder in (work.tables, work.reports, work.homes):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    output, host = str(work.output.absolute()), platform.node()
    state = State(path, work.digest, run=work.run, output=output, host=host)
    state.write()
    return state


def _has_all(work: PoolStep, state: State) -> bool:
    """Whether what its jobs were dealt is there."""
    dealt = work.draft.is_dir() and _table(work.tables, state.set).is_file()
    return dealt or state.set < 0 or not work.branched


def _ask_anew(work: PoolStep, state: State, queue: Queue) -> None:
    """Have the jobs that still wait ask for the memory and disk that are asked for by now."""
    before, now = state.request or work.request, work.request
    ads = _answered(work, partial(queue.query, work.constraint))
    idle = {(ad.get("AframePiece"), ad.get("AframeAttempt"))
            for ad in ads if ad.get("JobStatus") == IDLE}  # fmt: skip
    waiting = [
        piece
        for piece in state.pieces
        if not piece.done and (not piece.submitted or (piece.number, piece.attempt) in idle)
    ]
    state.renew(now, waiting)
    # HTCondor counts memory in MiB and disk in KiB.
    for name, was, value in (
        ("RequestMemory", before.memory, now.memory),
        ("RequestDisk", 1024 * before.disk, 1024 * now.disk),
    ):
        if idle and value != was:
            constraint = f"{work.constraint} && JobStatus == {IDLE}"
            _answered(work, partial(queue.edit, constraint, name, str(value)))


def _answered(work: PoolStep, ask: Callable[[], Answered]) -> Answered:
    """Ask the scheduler for something, and wait for one that does not answer."""
    told = False
    while True:
        try:
            return ask()
        except SchedulerUnreachableError as error:
            line = f"{work.step.label} | HTCondor does not answer ({error}): waiting\n"
            sys.stderr.write("" if told else line)
            told = True
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
    return json.loads(_table(tables, number).read_text())


def _table(tables: Path, number: int) -> Path:
    return tables / f"{number}.json"


def _see_done(work: PoolStep, state: State, queue: Queue, what: Work) -> None:
    told = work.output / "logs" / f"{work.step.verb}.jobs.json"
    batch = work.batch(state.set, state.token)
    Jobs(batch, work.terms, state, queue, what, told).run()


def _seconds_a_row(output: Path, verb: str, unit: str) -> float | None:
    """How long a row took in earlier runs, those of this output before all (s)."""
    tables = [
        Table(draft_path(output, verb) / ".work" / "accounting.csv"),
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
