"""A search small enough for every run of the tests, on the real stages."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import pytest

from aframe.cli import write_run_directory

#: What takes longer does not end at all (s).
LONGEST = 1800
#: What makes the demo tiny: minutes of strain, a few training steps, a few injections.
TINY = {
    "train_stop": "1240580383",
    "test_stop": "1240580983",
    "Tb": "1800",
}
#: The same of its training.
TINY_TRAINING = {
    "batches_per_epoch": "8",
    "max_epochs": "3",
    "min_valid_duration": "150",
    "valid_livetime": "240",
}
TINY_SIGNALS = {"Training": "256", "Validation": "32", "Testing": "60"}


@dataclass(frozen=True)
class Run:
    """A run directory and how to run it."""

    directory: Path
    mode: str = "sandbox"

    def start(self, said: IO[str], *options: str) -> subprocess.Popen[bytes]:
        """Start `run.sh` in a group of its own; output and errors go to one file.

        A step has one process: two tests are at work, and each process loads its libraries anew.
        """
        return subprocess.Popen(
            ["bash", str(self.directory / "run.sh"), "--processes", "1", *options],
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *options: str, longest: float | None = LONGEST) -> tuple[int, str]:
        """Run `run.sh` to its end; gives its exit status and what it said.

        What takes longer than *longest* (s) does not end at all: it is killed, and shown.
        """
        # Of a pipe the end may never come: whatever was started holds it open.
        with tempfile.TemporaryFile("w+") as said:
            process = self.start(said, *options)
            try:
                process.wait(longest)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                said.seek(0)
                error.add_note(f"The run in {self.directory} said:\n{said.read()}")
                raise
            said.seek(0)
            return process.returncode, said.read()

    def set(self, key: str, value: str, *, file: str = "") -> None:
        """Edit one key of a configuration file, as a user would."""
        path = self.directory / (file or f"{self.mode}.cfg")
        pattern = rf"(?m)^(\s*{key}(?: = |: )).*$"
        text, count = re.subn(pattern, lambda found: found[1] + value, path.read_text())
        assert count == 1, f"{key} stands {count} times in {path}"
        path.write_text(text)

    def elsewhere(self, directory: Path) -> Run:
        """Write the configuration of this run for another directory, in which nothing has run."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in (f"{self.mode}.cfg", "train.yaml", "run.sh"):
            text = (self.directory / name).read_text()
            (directory / name).write_text(text.replace(str(self.directory), str(directory)))
        return replace(self, directory=directory)


def tiny_run(directory: Path, mode: str = "sandbox") -> Run:
    """Write the run directory of the tiny search."""
    write_run_directory(directory, mode=mode, preset="demo")
    run = Run(directory, mode)
    for key, value in TINY.items():
        run.set(key, value)
    for key, value in TINY_TRAINING.items():
        run.set(key, value, file="train.yaml")
    configuration = directory / f"{mode}.cfg"
    text = configuration.read_text()
    for kind, number in TINY_SIGNALS.items():
        pattern = rf"(\[luigi_{kind}Waveforms\]\n(?:#.*\n)*num_signals = )\d+"
        text, count = re.subn(pattern, rf"\g<1>{number}", text)
        assert count == 1, kind
    configuration.write_text(text)
    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny search that ran to its end."""
    run = tiny_run(tmp_path_factory.mktemp("tiny") / "run")
    status, said = run.run()
    assert status == 0, said
    return run


@pytest.fixture(scope="session")
def tuned(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny search for settings that ran to its end, on the data of the tiny search."""
    run = tiny_run(tmp_path_factory.mktemp("tuned") / "run", "tune")
    for key in ("num_samples", "grace_period"):
        run.set(key, "2", file="tune.yaml")
    script = run.directory / "run.sh"
    data = f"{run.directory / 'data'}/"
    script.write_text(script.read_text().replace(data, f"{finished.directory / 'data'}/"))
    status, said = run.run()
    assert status == 0, said
    return run
