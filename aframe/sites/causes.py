"""Why a job ended, from what HTCondor and its own report tell, and what to do about it."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aframe.failures import failure_of
from aframe.images import refused
from aframe.sites.requests import Request, spelled

#: HTCondor's `JobStatus`.
IDLE, RUNNING, REMOVED, COMPLETED, HELD = 1, 2, 3, 4, 5
#: HTCondor's `HoldReasonCode` for what the job itself has no part in, and for its resources.
_BY_HAND, _CREDENTIAL = 1, {4}
_NODE = {6, 14, 45}  # no process could be made, no such folder there, no container runs there
_POLICY = {3, 21, 26, 34}  # of the job, of the machine, of the pool; out of resources
_TRANSFER_OUT, _TRANSFER_IN = 12, 13
_TOO_LONG = {46, 47}  # in all its starts, in one
_FULL = {errno.ENOSPC, errno.EDQUOT}
_EXPIRED = re.compile(
    r"(?:token|credential|proxy|certificate|ticket)s?\b.{0,60}\bexpired"
    r"|expired.{0,60}\b(?:token|credential|proxy|certificate|ticket)"
    r"|ExpiredToken|TokenExpired|InvalidClientTokenId",
    re.IGNORECASE | re.DOTALL,
)
_MEMORY = re.compile(r"memory", re.IGNORECASE)
_DISK = re.compile(r"disk|no space left|quota", re.IGNORECASE)
#: Exit statuses of a shell that cannot run, or does not find, a program.
_NO_PROGRAM = {126, 127}
_KILLED = {-signal.SIGKILL, 128 + signal.SIGKILL}
_NO_PYTHON = re.compile(
    r"^(?:ModuleNotFoundError|ImportError): |bad interpreter|error while loading shared libraries",
    re.MULTILINE,
)
#: Causes that running again cannot mend.
STOPPING = ("user", "bug")
#: How often a piece of work is tried again by cause, and how long it waits first (s), twice as
#: long each time.
_TRIES = {"removed": 3, "held": 3, "evicted": 5, "node": 5, "storage": 6, "unknown": 2}
_FIRST_WAIT = {"storage": 30.0, "credential": 60.0}
_LONGEST_WAIT = 900.0
#: A credential is waited for a day and more.
_TRIES_OF_CREDENTIAL = 100


@dataclass(frozen=True)
class Ending:
    """How a job ended.

    Args:
        cause: ``done``; ``user`` (an error that the user can mend), ``bug`` (any other of Python),
            ``memory``, ``disk``, ``time``, ``storage``, ``credential``, ``node``, ``evicted``,
            ``removed``, ``held`` (by hand), or ``unknown``.
        message: What happened, in a sentence.
        ended: The exit status, signal or state.
        reason: HTCondor's words.
        host: The machine.
        used: Memory or disk that it was seen to use, if these are the cause (MiB).
        error: What the job's own report says.
    """

    cause: str
    message: str
    ended: str
    reason: str | None = None
    host: str | None = None
    used: float = 0.0
    error: Mapping[str, str] | None = None

    @property
    def kind(self) -> str:
        """What endings of one cause share: the problem, without what was found."""
        return (self.error or {}).get("problem") or self.message


@dataclass(frozen=True)
class Answer:
    """What to do about a job that did not end well.

    Args:
        again: Whether to submit its work again; else the workflow stops.
        request: What that asks for.
        wait: How long to wait before (s).
        avoid: A machine that it must not go to.
        told: What is done, in a few words.
    """

    again: bool
    request: Request
    wait: float = 0.0
    avoid: str | None = None
    told: str = "stopping"


def machine(host: str | None) -> str | None:
    """Name of the machine of a slot.

    Example:
        >>> machine("slot1_2@node5.example.org")
        'node5.example.org'
    """
    return host.rpartition("@")[2] if host else None


def ending(
    ad: Mapping[str, Any] | None,
    report: Mapping[str, Any] | None = None,
    last_lines: Sequence[str] = (),
) -> Ending | None:
    """Tell how a job ended; ``None`` while it waits or runs.

    Args:
        ad: The job's attributes, from the queue or its history; ``None`` if it is in neither.
        report: What ``aframe-<stage> branches --report`` wrote, if it got so far.
        last_lines: The last lines of the job's log.
    """
    if ad is None or ad.get("JobStatus") == REMOVED:
        return _removed(ad or {})
    if ad.get("JobStatus") == HELD:
        return _held(ad)
    return _exited(ad, report, last_lines) if ad.get("JobStatus") == COMPLETED else None


def _host(ad: Mapping[str, Any]) -> str | None:
    return machine(ad.get("RemoteHost") or ad.get("LastRemoteHost"))


def _removed(ad: Mapping[str, Any]) -> Ending:
    reason = ad.get("RemoveReason")
    cause = _of_policy(reason or "") or "removed"
    return Ending(
        cause, "the job was removed from the queue", "removed", reason, _host(ad), _used(ad, cause)
    )


def _held(ad: Mapping[str, Any]) -> Ending:
    reason = str(ad.get("HoldReason") or "HTCondor gives no reason")
    code, subcode = ad.get("HoldReasonCode"), ad.get("HoldReasonSubCode")
    cause = _of_hold(code, subcode, reason)
    message = {
        "held": "the job was held by hand",
        "memory": "the job used more memory than it asked for",
        "disk": "the job needs more disk than it has",
        "credential": "a credential has expired",
        "node": "the machine cannot run the job",
        "storage": "the job's files could not be transferred",
        "time": "the job ran longer than the pool allows",
    }.get(cause, "the job was held")
    return Ending(cause, message, f"held ({code})", reason, _host(ad), _used(ad, cause))


def _of_hold(code: Any, subcode: Any, reason: str) -> str:
    if code == _BY_HAND:
        return "held"
    if code in _CREDENTIAL or _EXPIRED.search(reason):
        return "credential"
    if code in (_TRANSFER_IN, _TRANSFER_OUT):
        return _of_transfer(code, subcode, reason)
    if code in _POLICY:
        return _of_policy(reason) or "unknown"
    return "node" if code in _NODE else "time" if code in _TOO_LONG else "unknown"


def _of_transfer(code: int, subcode: Any, reason: str) -> str:
    if subcode in _FULL or _DISK.search(reason):
        return "disk"
    # The folder of results is made before anything else.
    missing = code == _TRANSFER_OUT and subcode == errno.ENOENT
    return "node" if missing else "storage"


def _of_policy(reason: str) -> str | None:
    """Which resource a policy's words are about."""
    if _EXPIRED.search(reason):
        return "credential"
    if _MEMORY.search(reason):
        return "memory"
    return "disk" if _DISK.search(reason) else None


def _used(ad: Mapping[str, Any], cause: str) -> float:
    """What the job was seen to use (MiB) of memory or disk."""
    name = {"memory": "ResidentSetSize", "disk": "DiskUsage"}.get(cause)
    seen = ad.get(name) if name else None
    return seen / 1024 if isinstance(seen, (int, float)) else 0.0


def _exited(
    ad: Mapping[str, Any], report: Mapping[str, Any] | None, last_lines: Sequence[str]
) -> Ending:
    code = -ad["ExitSignal"] if ad.get("ExitBySignal") else ad.get("ExitCode", 0)
    if code == 0:
        return Ending("done", "done", "exit status 0", host=_host(ad))
    log = failure_of("job", code, last_lines, command="", log="")  # type: ignore[arg-type]
    error = report.get("error") if report else None
    if error:
        cause, message = _of_report(report or {}), _sentence(error)
    else:
        cause, message = _of_exit(code, "\n".join(last_lines), log.cause), log.problem
    if cause == "node":
        message = "the stage's program does not start on that machine"
    return Ending(cause, message, log.ended, None, _host(ad), _used(ad, cause), error)


def _of_report(report: Mapping[str, Any]) -> str:
    cause, error = report.get("cause"), report.get("error") or {}
    if cause in ("user", "unknown", "storage") and _EXPIRED.search(" ".join(error.values())):
        return "credential"
    return "bug" if cause == "unknown" else str(cause)


def _sentence(error: Mapping[str, str]) -> str:
    if "problem" in error:
        return f"{error['problem']} ({' '.join(error['found'].split())})"
    return f"{error['type']}: {error['message']}"


def _of_exit(code: int, lines: str, of_log: str) -> str:
    """The cause where the job left no report: it did not get so far, or was killed."""
    if code in _NO_PROGRAM or refused(code, lines) or _NO_PYTHON.search(lines):
        return "node"
    if code in _KILLED:
        # Mostly the kernel, for want of memory.
        return "memory"
    if _EXPIRED.search(lines):
        return "credential"
    raised = of_log == "unknown" and "Traceback (most recent call last)" in lines
    return "bug" if raised else of_log


def answer(end: Ending, request: Request, tries: int) -> Answer:
    """Say what to do about a job that did not end well.

    Args:
        end: How it ended.
        request: What it asked for.
        tries: How often this piece of work has ended so, this time included.
    """
    if end.cause in STOPPING:
        return Answer(again=False, request=request)
    if end.cause in ("memory", "disk"):
        return _more(end, request)
    most = _TRIES_OF_CREDENTIAL if end.cause == "credential" else _TRIES.get(end.cause, 2)
    if tries > most:
        return Answer(again=False, request=request, told=f"stopping, for the {tries}. time")
    first = _FIRST_WAIT.get(end.cause, 0.0)
    wait = min(first * 2.0 ** (tries - 1), _LONGEST_WAIT)
    avoid = end.host if end.cause == "node" else None
    told = f"trying again, {tries} of {most}"
    if end.cause == "time":
        told += ", with half of it"
    if wait:
        told += f", in {wait:.0f} s"
    if avoid:
        told += f", not on {avoid}"
    return Answer(again=True, request=request, wait=wait, avoid=avoid, told=told)


def _more(end: Ending, request: Request) -> Answer:
    had, grown = getattr(request, end.cause), request.grown(end.cause, end.used)
    if grown is None:
        told = f"stopping: beyond {spelled(had)} it may not grow, see max_{end.cause}"
        return Answer(again=False, request=request, told=told)
    told = f"asking for {spelled(getattr(grown, end.cause))} in place of {spelled(had)}"
    return Answer(again=True, request=grown, told=told)
