"""A Ray cluster for a search: one of its own on this machine, or one that runs already."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import ray

from aframe.errors import AframeError
from aframe_train.tune.environment import QUIET
from aframe_train.tune.settings import TuneResources

#: Longest directory (bytes) in which Ray's sockets keep below the 107 that a system allows:
#: it adds /session_<date>_<time>_<microseconds>_<process>/sockets/plasma_store.
LONGEST = 107 - len("/session_2015-09-14_09-50-45_391000_4194304/sockets/plasma_store")
_SECONDS_TO_ANSWER, _SECONDS_TO_JOIN, _SECONDS_TO_END = 10, 300, 30
_ATTEMPTS = 10  # of half a minute each
_PREFIX, _LOCK = "aframe-ray-", ".lock"
_OBJECT_STORE = 100 * 2**20  # bytes; a search hands over no data


@dataclass(frozen=True)
class Room:
    """What each trial gets, and how many run side by side.

    Args:
        cpus: Cores of a trial.
        gpus: GPUs of a trial.
        trials: Trials side by side.
        notes: Where Ray may write what it notes; ``None`` on a cluster, where each node must
            see the place.
    """

    cpus: int
    gpus: int
    trials: int
    notes: Path | None = None


def divide(resources: TuneResources, machines: list[tuple[int, int]]) -> Room:
    """Divide machines among trials.

    Args:
        resources: What each trial is to have, and how many are to run.
        machines: Cores and GPUs of each machine.

    Raises:
        AframeError: If there is not room for as many trials as asked for, or for one.
    """
    with_gpus = resources.device != "cpu" and any(gpus for _, gpus in machines)
    gpus = resources.gpus_per_worker if with_gpus else 0
    cpus = resources.cpus_per_gpu * max(gpus, 1)
    each = [min(has // cpus, owns // gpus if gpus else has) for has, owns in machines]
    most = sum(each)
    wanted = resources.gpus_per_worker if resources.device == "cuda" else 0
    if most < max(resources.num_workers, 1) or (wanted and not gpus):
        raise AframeError(
            "there is no room for the trials",
            found="; ".join(f"{has} cores and {owns} GPUs" for has, owns in machines),
            wanted_by=f"{max(resources.num_workers, 1)} trials side by side, each with "
            f"{cpus} cores and {gpus or wanted} GPUs",
            fix="lower num_workers, cpus_per_gpu or gpus_per_worker",
        )
    return Room(cpus, gpus, resources.num_workers or most)


def room_here(resources: TuneResources) -> Room:
    """Divide this machine among trials.

    Raises:
        AframeError: If there is not room for as many trials as asked for, or for one.
    """
    return divide(resources, [_this_machine(resources.workers)])


@contextlib.contextmanager
def cluster(resources: TuneResources, samples: int) -> Iterator[Room]:
    """Start a cluster of one's own for *samples* trials, or join the one at the endpoint.

    Raises:
        AframeError: If there is no room for the trials, or nobody answers at the endpoint.
    """
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if resources.endpoint:
            _join(resources.endpoint)
            stack.callback(ray.shutdown)
            room = divide(resources, _machines())
        else:
            room = room_here(resources)
            here = stack.enter_context(short_directory(resources.temp_dir))
            room = replace(room, trials=min(room.trials, samples), notes=here / "notes")
            _start(room, here)
            stack.callback(ray.shutdown)
        yield room


def _start(room: Room, directory: Path) -> None:
    """Start a cluster; on a busy machine its parts may take longer than Ray waits for them."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            ray.init(
                # Not the cluster that happens to run on this machine.
                address="local",
                num_cpus=room.cpus * room.trials,
                num_gpus=room.gpus * room.trials,
                object_store_memory=_OBJECT_STORE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                _temp_dir=str(directory),
            )
        except Exception as error:
            ray.shutdown()
            _end_parts(directory)
            if "timed out" not in str(error):  # Ray has no class for it
                raise
            if not left:
                raise AframeError(
                    "Ray does not start",
                    found=" ".join(str(error).split()),
                    wanted_by="a search for settings",
                    fix="run the same command again when the machine is less busy",
                ) from error
        else:
            return


def _end_parts(directory: Path) -> None:
    """End what a cluster in *directory* left: Ray forgets the parts of one that did not start."""
    parts = [
        process
        for process in psutil.Process().children(recursive=True)
        if any(str(directory) in word for word in _words(process))
    ]
    for process in parts:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(parts, timeout=_SECONDS_TO_END)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _join(endpoint: str) -> None:
    address = endpoint.removeprefix("ray://")
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would be a while in finding out that nobody is there.
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
        _connect(f"ray://{address}")
    except (OSError, ValueError, RuntimeError) as error:
        raise AframeError(
            "no Ray cluster answers",
            found=" ".join(str(error).split())[:300],
            wanted_by=f"endpoint {endpoint}",
            fix="give host:port of a cluster's client server (`ray start --head "
            "--ray-client-server-port 10001`) with the versions of Python and Ray that run here",
        ) from error


def _connect(address: str) -> None:
    """Join; the server starts a process for us, which takes a busy head longer than Ray waits."""
    end = time.monotonic() + _SECONDS_TO_JOIN
    while True:
        try:
            ray.init(
                address,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": QUIET},
            )
        except ConnectionError:
            ray.shutdown()
            if time.monotonic() > end:
                raise
        else:
            return


def _machines() -> list[tuple[int, int]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return [(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in alive]


def _this_machine(workers: int) -> tuple[int, int]:
    import torch  # noqa: PLC0415 (a cluster's nodes read this module too, and need none)

    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, workers), torch.cuda.device_count()


@contextlib.contextmanager
def short_directory(parent: Path | None) -> Iterator[Path]:
    """Make a private directory that is gone at the end, by a name that Ray's sockets fit in.

    What searches that were killed left beside it goes as well.

    Args:
        parent: Where to make it; the system's directory of temporary files if ``None``.
            Where its name is too long, a link from there with a short one stands for it.
    """
    base = (parent or Path(tempfile.gettempdir())).absolute()
    base.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        private = stack.enter_context(_private_directory(base))
        here = private / "r"
        here.mkdir()
        if len(os.fsencode(here)) > LONGEST:
            short = Path("/tmp")  # noqa: S108 (the directory in it is private)
            link = stack.enter_context(_private_directory(short)) / "r"
            link.symlink_to(here, target_is_directory=True)
            here = link
        # Ray opens its directory to everybody; the one around it stays ours.
        yield here


@contextlib.contextmanager
def _private_directory(base: Path) -> Iterator[Path]:
    """Make a directory below *base* for the life of this process, and remove those of dead ones."""
    for other in base.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), other.open("r+") as lock:  # another user's, or in use
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other.parent, ignore_errors=True)
    with contextlib.ExitStack() as held:
        private = None
        # Another process may have removed it before it was locked.
        while private is None or not (private / _LOCK).exists():
            private = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
            lock = held.enter_context((private / _LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        held.callback(shutil.rmtree, private, ignore_errors=True)
        yield private
