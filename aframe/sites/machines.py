"""The machines of a pool: how much each offers at most, and which a job may go to."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aframe.errors import AframeError
from aframe.sites.queue import OFFERS, Bindings, Queue, SchedulerUnreachableError, open_queue
from aframe.sites.requests import Request, spelled

_TARGET = re.compile(r"\bTARGET\.", re.IGNORECASE)
#: How an expression names what a job has, or asks for.
_OF_THE_JOB = re.compile(r"\b(?:MY\.|Request\w+)", re.IGNORECASE)
#: How it names what a machine has at one time and not at another.
_OF_THE_MOMENT = re.compile(
    r"\b(?:Memory|Disk|Cpus|GPUs|State|Activity|Start|Offline|time|\w*Time|\w*LoadAvg|\w*Idle"
    r"|GLIDEIN_To\w+)\b",
    re.IGNORECASE,
)
_KIB = 1024
#: What is true of any machine.
_ANY = "true"
#: How long it may take to tell what machines have, where a run goes on without (s).
_SHORT = 20.0


class Offer(NamedTuple):
    """What a slot has in all, or a job asks for: memory and disk (MiB), cores, GPUs."""

    memory: float
    disk: float
    cpus: float
    gpus: float

    def holds(self, asked: Offer) -> bool:
        """Whether *asked* fits into it."""
        return all(mine >= wanted for mine, wanted in zip(self, asked, strict=True))

    def __str__(self) -> str:
        """Write it as people read it."""
        gpus = f"{self.gpus:.0f} GPU{'s' * (self.gpus != 1)}"
        cores = f"{self.cpus:.0f} core{'s' * (self.cpus != 1)}"
        return f"{spelled(self.memory)} memory, {spelled(self.disk)} disk, {cores}, {gpus}"


def asked(request: Request) -> Offer:
    """What a job asks for."""
    return Offer(request.memory, request.disk, request.cpus, request.gpus)


def most(offers: Sequence[Offer]) -> Offer:
    """The most of each that one has."""
    return Offer(*map(max, zip(*offers, strict=True)))


def offers(patience: float) -> list[Offer] | None:
    """Ask the pool for its slots; ``None`` where there is no program to ask with.

    Raises:
        SchedulerUnreachableError: If it does not answer.
    """
    queue = open_queue()
    if not isinstance(queue, Bindings) and shutil.which("condor_status") is None:
        return None
    return [_offer(ad) for ad in queue.slots(patience=patience)]


def largest(queue: Queue, requirements: str) -> Offer | None:
    """The most of each that a machine has which *requirements* allow; ``None`` if not known."""
    slots = _allowed(queue, requirements)
    return most([_offer(ad) for ad in slots]) if slots else None


def names(queue: Queue, requirements: str) -> set[str]:
    """Names of the machines that *requirements* allow; none if they are not known."""
    return {str(slot["Machine"]) for slot in _allowed(queue, requirements)}


def _allowed(queue: Queue, requirements: str) -> list[dict[str, Any]]:
    """The slots that *requirements* allow; all where they seem to allow none."""
    asked = _lasting(requirements)
    try:
        found = queue.slots(asked, patience=_SHORT)
        return found or (queue.slots(patience=_SHORT) if asked != _ANY else [])
    except (SchedulerUnreachableError, AframeError):
        return []


def _lasting(requirements: str) -> str:
    """What *requirements* say of a machine for good; any will do if they say more than that."""
    of_more = _OF_THE_JOB.search(requirements) or _OF_THE_MOMENT.search(requirements)
    return _ANY if of_more or not requirements else _of_a_machine(requirements)


def _of_a_machine(requirements: str) -> str:
    # Of a machine alone there is no other to tell it from.
    return _TARGET.sub("", requirements)


def fitting(requirements: str, patience: float) -> int | None:
    """How many slots meet *requirements*; ``None`` where these depend on the job as well.

    Raises:
        SchedulerUnreachableError: If the pool does not answer.
    """
    if _OF_THE_JOB.search(requirements):
        return None
    return len(open_queue().slots(_of_a_machine(requirements), patience))


def _offer(ad: Mapping[str, Any]) -> Offer:
    """What a slot tells of; HTCondor counts disk in KiB."""
    # HTCondor knows no case in names, and a table of Python does.
    lower = {name.lower(): value for name, value in ad.items()}
    told = (lower.get(name.lower()) for name in OFFERS)
    memory, disk, cpus, gpus = (float(n) if isinstance(n, (int, float)) else 0.0 for n in told)
    return Offer(memory, disk / _KIB, cpus, gpus)
