"""HTCondor's queue, through its Python bindings or, where these cannot be used, its commands."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from aframe.errors import AframeError
from aframe.processes import end_with_parent

#: What is asked of each job.
ATTRIBUTES = (
    *("ClusterId", "ProcId", "JobStatus", "ExitBySignal", "ExitCode", "ExitSignal", "QDate"),
    *("HoldReason", "HoldReasonCode", "HoldReasonSubCode", "RemoveReason", "VacateReason"),
    *("RemoteHost", "LastRemoteHost", "NumShadowStarts", "JobStartDate", "ResidentSetSize"),
    *("NumJobReconnects", "DiskUsage", "EnteredCurrentStatus", "AframePiece", "AframeAttempt"),
)
#: What is asked of each slot: all that it has.
OFFERS = ("TotalSlotMemory", "TotalSlotDisk", "TotalSlotCpus", "TotalSlotGPUs")
_OF_A_SLOT = ("Machine", *OFFERS)
#: How HTCondor says that nobody answers, or that it cannot tell whom to ask.
_NO_ANSWER = re.compile(
    r"connect|locate|find address|communicat|timed? ?out|no ads|fetch ads|unreachable|not respond"
    r"|closed|abort|SECMAN|queue transaction|authenticat|did not end in|^condor_submit failed$",
    re.IGNORECASE,
)
#: How it begins to say that it refuses jobs; without a reason, that it was gone in the middle.
_UNCOMMITTED = re.compile(
    r"Submitting job\(s\)\.*|(?:ERROR:?\s*)?Failed to commit[^.\n]*\.?|ERROR:", re.IGNORECASE
)
#: How it says that no job was meant.
_LOST = re.compile(
    r"Failed to set attribute .* by constraint|Couldn't find/\w+ all jobs|Unable to edit jobs"
)
#: How a description asks for tokens, and how HTCondor says that there are none to be had.
_TOKENS = re.compile(r"^use_oauth_services = ", re.MULTILINE)
_UNISSUED = re.compile(r"credential requests|OAuth error")
#: How it tells of the jobs that it took.
_CLUSTER = re.compile(r"^(\d+)\.\d+(?: - \d+\.\d+)?\s*$", re.MULTILINE)
#: What is true of a machine's slot, and not of those that jobs are given of it.
_WHOLE = 'SlotType =!= "Dynamic"'
_REASON = "aframe has no more use for it"
#: A command of HTCondor that takes longer hangs; one that may ask somebody to log in (s).
_PATIENCE, _LOGIN = 120.0, 600.0


class SchedulerUnreachableError(Exception):
    """The scheduler does not answer; what was asked of it may have come through or not."""


class Queue(Protocol):
    """The jobs of this user."""

    def submit(self, description: Path) -> int:
        """Submit what the file *description* describes; gives the cluster's number."""

    def query(self, constraint: str) -> list[dict[str, Any]]:
        """The :data:`ATTRIBUTES` of all jobs in the queue that *constraint* is true of."""

    def history(self, constraint: str, count: int) -> list[dict[str, Any]]:
        """Likewise of the latest *count* jobs that have left the queue."""

    def remove(self, constraint: str) -> None:
        """Remove all jobs that *constraint* is true of."""

    def edit(self, constraint: str, attribute: str, value: str) -> None:
        """Set an attribute of all jobs that *constraint* is true of, to a ClassAd expression."""

    def slots(
        self, requirements: str = "true", patience: float = _PATIENCE
    ) -> list[dict[str, Any]]:
        """The machine of each whole slot that *requirements* is true of, and its :data:`OFFERS`.

        Args:
            requirements: Says of the machine what is required, without ``TARGET.``.
            patience: How long an answer may take (s).
        """


class Bindings:
    """The queue through the Python bindings (the package ``htcondor``)."""

    @property
    def _schedd(self) -> Any:
        # Asked for anew each time: after a restart its address may be another.
        import htcondor2  # noqa: PLC0415 - not where nothing is submitted

        return htcondor2.Schedd()

    def _asked(self, call: Callable[[Any], Any]) -> Any:
        import htcondor2  # noqa: PLC0415

        try:
            return call(self._schedd)
        except htcondor2.HTCondorException as error:
            raise SchedulerUnreachableError(" ".join(str(error).split())) from error

    def submit(self, description: Path) -> int:
        """Submit what the file *description* describes; gives the cluster's number.

        Raises:
            AframeError: If HTCondor refuses it.
            SchedulerUnreachableError: If nobody answers.
        """
        import htcondor2  # noqa: PLC0415

        text = description.read_text()
        # Some pools have a program of their own store tokens, which the command alone calls.
        if _TOKENS.search(text) and shutil.which("condor_submit"):
            return Commands().submit(description)
        try:
            described = htcondor2.Submit(text)
            if _TOKENS.search(text):
                self._issue(described)
            return self._schedd.submit(described).cluster()
        except (htcondor2.HTCondorException, ValueError) as error:
            raise _refusal(str(error)) from error

    def _issue(self, described: Any) -> None:
        """Have the pool store the tokens that jobs are to get."""
        import htcondor2  # noqa: PLC0415

        try:
            page = described.issue_credentials()
        except htcondor2.HTCondorException as error:
            raise _unissued(" ".join(str(error).split())) from error
        if page:
            raise _unissued(f"whoever submits has to visit {page} first")

    def query(self, constraint: str) -> list[dict[str, Any]]:
        """The :data:`ATTRIBUTES` of all jobs in the queue that *constraint* is true of."""
        ads = self._asked(lambda schedd: schedd.query(constraint, list(ATTRIBUTES)))
        return [_plain(ad) for ad in ads]

    def history(self, constraint: str, count: int) -> list[dict[str, Any]]:
        """Likewise of the latest *count* jobs that have left the queue."""
        ads = self._asked(lambda schedd: schedd.history(constraint, list(ATTRIBUTES), count))
        return [_plain(ad) for ad in ads]

    def remove(self, constraint: str) -> None:
        """Remove all jobs that *constraint* is true of."""
        import htcondor2  # noqa: PLC0415

        action = htcondor2.JobAction.Remove
        self._asked(lambda schedd: schedd.act(action, constraint, _REASON))

    def edit(self, constraint: str, attribute: str, value: str) -> None:
        """Set an attribute of all jobs that *constraint* is true of, to a ClassAd expression."""
        try:
            self._asked(lambda schedd: schedd.edit(constraint, attribute, value))
        except SchedulerUnreachableError as error:
            if not _LOST.search(str(error)):
                raise

    def slots(
        self,
        requirements: str = "true",
        patience: float = _PATIENCE,  # noqa: ARG002 (the bindings have their own)
    ) -> list[dict[str, Any]]:
        """The machine of each whole slot that *requirements* is true of, and its :data:`OFFERS`."""
        import htcondor2  # noqa: PLC0415

        try:
            collector, kind = htcondor2.Collector(), htcondor2.AdType.Startd
            constraint = f"{_WHOLE} && ({requirements})"
            return [dict(ad) for ad in collector.query(kind, constraint, projection=[*_OF_A_SLOT])]
        except htcondor2.HTCondorException as error:
            raise SchedulerUnreachableError(" ".join(str(error).split())) from error


def _plain(ad: Mapping[str, Any]) -> dict[str, Any]:
    """Those attributes that are there, and are values."""
    found = {name: _value(ad, name) for name in ATTRIBUTES}
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float))}


def _value(ad: Mapping[str, Any], name: str) -> Any:
    try:
        return ad.get(name)
    except UnicodeDecodeError as error:
        # What somebody wrote in an encoding of their own, such as why a job is held.
        return error.object.decode(errors="replace")


class Commands:
    """The queue through the commands ``condor_submit``, ``condor_q``, ``condor_rm`` …."""

    def submit(self, description: Path) -> int:
        """Submit what the file *description* describes; gives the cluster's number.

        Raises:
            AframeError: If HTCondor refuses it.
            SchedulerUnreachableError: If nobody answers.
        """
        try:
            words = ("condor_submit", "-terse", str(description))
            asks = _TOKENS.search(description.read_text())
            said = _run_in_sight(*words) if asks else _run(*words)
        except SchedulerUnreachableError as error:
            raise _refusal(str(error)) from error
        told = _CLUSTER.search(said)
        if told is None:
            raise SchedulerUnreachableError(f"condor_submit told of no jobs: {said.strip()}")
        return int(told[1])

    def query(self, constraint: str) -> list[dict[str, Any]]:
        """The :data:`ATTRIBUTES` of all jobs in the queue that *constraint* is true of."""
        return _ads(_run("condor_q", "-constraint", constraint, *_JSON))

    def history(self, constraint: str, count: int) -> list[dict[str, Any]]:
        """Likewise of the latest *count* jobs that have left the queue."""
        words = ("-constraint", constraint, "-match", str(count), *_JSON)
        return _ads(_run("condor_history", *words))

    def remove(self, constraint: str) -> None:
        """Remove all jobs that *constraint* is true of."""
        _run("condor_rm", "-reason", _REASON, "-constraint", constraint)

    def edit(self, constraint: str, attribute: str, value: str) -> None:
        """Set an attribute of all jobs that *constraint* is true of, to a ClassAd expression."""
        _run("condor_qedit", "-constraint", constraint, attribute, value)

    def slots(
        self, requirements: str = "true", patience: float = _PATIENCE
    ) -> list[dict[str, Any]]:
        """The machine of each whole slot that *requirements* is true of, and its :data:`OFFERS`."""
        constraint = f"{_WHOLE} && ({requirements})"
        words = ("-constraint", constraint, "-json", "-attributes", ",".join(_OF_A_SLOT))
        return _listed(_run("condor_status", *words, patience=patience))


_JSON = ("-json", "-attributes", ",".join(ATTRIBUTES))


def _run(*words: str, patience: float | None = None) -> str:
    seconds = patience or _PATIENCE
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
            # Jobs that came after this process was killed would be done twice.
            preexec_fn=partial(end_with_parent, os.getpid()),
        )
    except subprocess.TimeoutExpired as error:
        raise SchedulerUnreachableError(f"{words[0]} did not end in {seconds:g} s") from error
    except FileNotFoundError as error:
        raise _missing(words[0]) from error
    said = done.stderr.strip() or done.stdout.strip()
    if done.returncode and not _LOST.search(said):
        raise SchedulerUnreachableError(" ".join(said.split()) or f"{words[0]} failed")
    return done.stdout


def _run_in_sight(*words: str) -> str:
    """Run a command that may ask whoever looks on to log in: its words are seen as they come."""
    try:
        # In a group of its own, since what it starts holds its output open as well.
        process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 (one call of C's)
        )
    except FileNotFoundError as error:
        raise _missing(words[0]) from error
    said: list[str] = []
    late = threading.Event()

    def end() -> None:
        late.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(_LOGIN, end)
    timer.daemon = True
    timer.start()
    try:
        with process:
            for line in process.stdout or ():
                said.append(line)
                if not _CLUSTER.match(line):
                    sys.stderr.write(line)
    except BaseException:
        # An interruption ends all that was started, and goes on.
        end()
        raise
    finally:
        timer.cancel()
    told = " ".join("".join(said).split())
    if late.is_set():
        problem = f"{words[0]} did not end in {_LOGIN:g} s"
        raise (
            _unissued(f"{problem}; it said: {told}") if told else SchedulerUnreachableError(problem)
        )
    if process.returncode:
        raise SchedulerUnreachableError(told or f"{words[0]} failed")
    return "".join(said)


def _ads(text: str) -> list[dict[str, Any]]:
    return [_plain(ad) for ad in _listed(text)]


def _listed(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text or "[]")
    except ValueError as error:
        raise SchedulerUnreachableError(f"an answer is cut or no JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(ad, dict) for ad in found):
        raise SchedulerUnreachableError(f"an answer is no list of ads: {text[:200].strip()}")
    return found


def _refusal(said: str) -> Exception:
    """What HTCondor's words mean: that nobody answers, or that what was asked is refused."""
    reason = _UNCOMMITTED.sub("", said)
    if _UNISSUED.search(reason):
        return _unissued(" ".join(reason.split()))
    if not reason.strip() or _NO_ANSWER.search(reason):
        return SchedulerUnreachableError(" ".join(said.split()))
    return AframeError(
        "HTCondor refuses the jobs",
        found=said,
        wanted_by="workflow = htcondor",
        fix="correct the requests, accounting_group or requirements in the .cfg",
    )


def _unissued(found: str) -> AframeError:
    return AframeError(
        "jobs cannot get their tokens",
        found=found,
        wanted_by="use_oauth_services",
        fix="log in where HTCondor asks for it, then run the same command; ask the pool's "
        "administrator which services its credd knows, or leave use_oauth_services blank",
    )


def _missing(program: str) -> AframeError:
    return AframeError(
        "HTCondor is not installed",
        found=f"neither its Python bindings nor {program} on PATH",
        wanted_by="workflow = htcondor",
        fix="run on a machine that submits to the pool (pip install htcondor in the environment of "
        "aframe for the bindings), or choose workflow = local",
    )


def open_queue() -> Queue:
    """The queue of this machine's scheduler, or of the one that HTCondor's configuration names.

    Raises:
        AframeError: If HTCondor is not installed.
    """
    if _bindings_serve():
        return Bindings()
    refuse_missing()
    return Commands()


def refuse_missing() -> None:
    """Refuse to plan on a machine that cannot submit.

    Raises:
        AframeError: If there are neither bindings nor commands.
    """
    if not _bindings_serve() and shutil.which("condor_submit") is None:
        raise _missing("condor_submit")


def refuse_unreadable(requirements: str) -> None:
    """Refuse *requirements* that are no ClassAd expression, where the bindings are there to tell.

    Raises:
        AframeError: If they are none.
    """
    if not requirements or importlib.util.find_spec("classad2") is None:
        return
    import classad2  # noqa: PLC0415

    try:
        classad2.ExprTree(requirements)
    except classad2.ClassAdException as error:
        raise AframeError(
            "the requirements are no ClassAd expression",
            found=requirements,
            wanted_by="requirements in the .cfg",
            fix='write them as condor_submit takes them, such as Memory > 4000 && Arch == "X86_64"',
        ) from error


def _bindings_serve() -> bool:
    """Whether the bindings are there, find HTCondor's configuration, and may submit.

    Without a configuration they ask nobody. They submit as whoever runs them, and HTCondor runs
    nothing of root's.
    """
    places = ("/etc/condor/condor_config", "/usr/local/etc/condor_config")
    configured = os.environ.get("CONDOR_CONFIG") or any(Path(each).exists() for each in places)
    return bool(importlib.util.find_spec("htcondor2") and configured and os.geteuid())
