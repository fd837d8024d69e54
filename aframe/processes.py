"""Calls in a pool of processes, which end with this one."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from aframe.errors import AframeError

# Looked up beforehand: in a process that was just forked, another thread's lock may stay held.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Failed(Exception):  # noqa: N818 - carries the error
    """A call failed.

    Args:
        row: Its number.
        error: Why.
    """

    def __init__(self, row: int, error: BaseException) -> None:
        super().__init__(row, error)
        self.row, self.error = row, error


def in_processes(
    function: Callable[..., Any], calls: Mapping[int, tuple[Any, ...]], workers: int, unit: str
) -> Iterator[tuple[int, Any]]:
    """Call *function* and give the number and result of each call, as they end.

    Args:
        function: A module's function, since it travels to other processes by name.
        calls: Arguments of each call, by its number.
        workers: Number of processes; 1, or a single call, stays in this one.
        unit: What a call is for, in the plural.

    Raises:
        Failed: If one fails; the others are ended.
    """
    size = min(workers, len(calls))
    if size <= 1:
        for row, arguments in calls.items():
            try:
                result = function(*arguments)
            except Exception as error:
                raise Failed(row, error) from error
            yield row, result
        return
    # Spawned, not forked: numerical libraries hold threads that a fork would lose.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(size, context, work_for_parent, (os.getpid(),)) as pool:
        try:
            rows = {pool.submit(function, *arguments): row for row, arguments in calls.items()}
            for future in as_completed(rows):
                yield rows[future], _result(future, rows[future], size, f"{len(rows)} {unit}")
        except BaseException:
            # What a call makes appears by rename or by its result: it may be ended anywhere.
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.kill()
            raise


def _result(future: Any, row: int, workers: int, work: str) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        killed = AframeError(
            "a worker process was killed",
            found=f"one of {workers} workers ended without an answer (often: out of memory)",
            wanted_by=f"the work on {work}",
            fix="give fewer workers (resources.workers) or more memory, then run the same command",
        )
        killed.__cause__ = error
        raise Failed(row, killed) from error
    except Exception as error:
        raise Failed(row, error) from error


def work_for_parent(parent: int) -> None:
    """Leave interruption to the parent, and have the kernel end this worker with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def end_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent has ended.

    Args:
        parent: The parent's number.
        by: The signal.
    """
    if _PRCTL is not None:
        pr_set_pdeathsig = 1  # linux/prctl.h
        _PRCTL(pr_set_pdeathsig, by)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)
