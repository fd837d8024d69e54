"""HTCondor's queue, through its Python bindings or, where these cannot be used, its commands."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aframe.errors import AframeError

#: What is asked of each job.
ATTRIBUTES = (
    *("ClusterId", "ProcId", "JobStatus", "ExitBySignal", "ExitCode", "ExitSignal", "QDate"),
    *("HoldReason", "HoldReasonCode", "HoldReasonSubCode", "RemoveReason", "VacateReason"),
    *("RemoteHost", "LastRemoteHost", "NumShadowStarts", "JobStartDate", "ResidentSetSize"),
    *("NumJobReconnects", "DiskUsage", "EnteredCurrentStatus", "AframePiece", "AframeAttempt"),
)
#: How HTCondor says that nobody answers, or that it cannot tell whom to ask.
_NO_ANSWER = re.compile(
    r"connect|locate|find address|communicat|timed? ?out|no ads|fetch ads|unreachable|not respond"
    r"|closed|abort|SECMAN|queue transaction|authenticat",
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
_REASON = "aframe has no more use for it"
#: A command of HTCondor that takes longer hangs (s).
_PATIENCE = 120.0


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

        try:
            described = htcondor2.Submit(description.read_text())
            return self._schedd.submit(described).cluster()
        except (htcondor2.HTCondorException, ValueError) as error:
            raise _refusal(str(error)) from error

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


def _plain(ad: Mapping[str, Any]) -> dict[str, Any]:
    """Those attributes that are there, and are values."""
    found = {name: ad.get(name) for name in ATTRIBUTES}
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float))}


class Commands:
    """The queue through the commands ``condor_submit``, ``condor_q``, ``condor_rm`` …."""

    def submit(self, description: Path) -> int:
        """Submit what the file *description* describes; gives the cluster's number.

        Raises:
            AframeError: If HTCondor refuses it.
            SchedulerUnreachableError: If nobody answers.
        """
        try:
            said = _run("condor_submit", "-terse", str(description))
        except SchedulerUnreachableError as error:
            raise _refusal(str(error)) from error
        told = re.search(r"^(\d+)\.\d+", said, re.MULTILINE)
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


_JSON = ("-json", "-attributes", ",".join(ATTRIBUTES))


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise SchedulerUnreachableError(f"{words[0]} did not end in {_PATIENCE:g} s") from error
    except FileNotFoundError as error:
        raise _missing(words[0]) from error
    said = done.stderr.strip() or done.stdout.strip()
    if done.returncode and not _LOST.search(said):
        raise SchedulerUnreachableError(" ".join(said.split()) or f"{words[0]} failed")
    return done.stdout


def _ads(text: str) -> list[dict[str, Any]]:
    try:
        return [_plain(ad) for ad in json.loads(text or "[]")]
    except ValueError as error:
        raise SchedulerUnreachableError(f"an answer is cut or no JSON: {error}") from error


def _refusal(said: str) -> Exception:
    """What HTCondor's words mean: that nobody answers, or that what was asked is refused."""
    reason = _UNCOMMITTED.sub("", said)
    if not reason.strip() or _NO_ANSWER.search(reason):
        return SchedulerUnreachableError(" ".join(said.split()))
    return AframeError(
        "HTCondor refuses the jobs",
        found=said,
        wanted_by="workflow = htcondor",
        fix="correct the requests, accounting_group or requirements in the .cfg",
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


def _bindings_serve() -> bool:
    """Whether the bindings are there, find HTCondor's configuration, and may submit.

    Without a configuration they ask nobody. They submit as whoever runs them, and HTCondor runs
    nothing of root's.
    """
    places = ("/etc/condor/condor_config", "/usr/local/etc/condor_config")
    configured = os.environ.get("CONDOR_CONFIG") or any(Path(each).exists() for each in places)
    return bool(importlib.util.find_spec("htcondor2") and configured and os.geteuid())
