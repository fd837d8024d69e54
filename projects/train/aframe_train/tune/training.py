"""One trial's training: a process of its own, which leaves its scores in ``metrics.csv``."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Column of ``metrics.csv`` that trials are compared by.
SCORE = "valid_auroc"
LOG = "train.log"
#: Stands in a search's command line where each trial's directory belongs.
DIRECTORY = "{directory}"
_OUR_ERROR = re.compile(r"error: (.+)\n +found +(.+)")


class Training:
    """A training that runs beside this process and ends with it.

    Args:
        program: Arguments of Python before those of the training.
        words: Arguments of the training, with :data:`DIRECTORY` for the directory.
        directory: Where it writes, and resumes from.
        environment: What is added to this process's environment.
    """

    def __init__(
        self,
        program: Sequence[str],
        words: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.directory = directory
        here = [word.replace(DIRECTORY, str(directory)) for word in words]
        if (directory / "last.ckpt").exists():
            here.append(f"--ckpt_path={directory / 'last.ckpt'}")
        starter = [sys.executable, "-m", "aframe_train.tune.child", str(os.getpid())]
        with (directory / LOG).open("w") as file:
            self._process = subprocess.Popen(
                [*starter, *program, *here],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                # A group of its own: where it has several processes, all are stopped together.
                start_new_session=True,
            )

    def status(self) -> int | None:
        """Exit status, or ``None`` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it at once; its checkpoints are whole at any moment."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def read_scores(directory: Path) -> list[float]:
    """Read the validation score of each epoch so far."""
    try:
        with (directory / "metrics.csv").open(newline="") as file:
            return [float(row[SCORE]) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []


def reason(status: int, log: str) -> str:
    r"""Say in one line why a training failed.

    Args:
        status: Its exit status, negative for a signal.
        log: What it wrote.

    Example:
        >>> reason(-9, "epoch 1")
        'killed by SIGKILL (often: out of memory)'
        >>> reason(1, "Traceback (most recent call last):\nRuntimeError: no kernel\n")
        'RuntimeError: no kernel'
    """
    ours = _OUR_ERROR.findall(log)
    if ours:
        return ": ".join(ours[-1])
    if status < 0:
        hint = " (often: out of memory)" if -status == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-status).name}{hint}"
    said = [line for line in log.splitlines() if line.strip()]
    return said[-1].strip() if said else f"exit status {status}"
