"""Run directories whose five stages are stand-ins (`stub_stage.py`), first on PATH."""

import configparser
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import luigi
import pytest

from aframe.cli import write_run_directory
from aframe.parameters import BASE_SECTION
from aframe.paths import OF_THE_MACHINE, RUN_VARIABLES

STAND_IN = Path(__file__).with_name("stub_stage.py")
ENVIRONMENT = Path(sys.executable).parent
#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 600
PIPELINE = "aframe.pipelines.sandbox.Sandbox"


@dataclass
class Run:
    """A run directory, and what its stand-ins were called for."""

    directory: Path
    stubs: Path

    @property
    def configuration(self):
        """The `.cfg`."""
        return self.directory / "sandbox.cfg"

    def set(self, section, key, value):
        """Write *key* into *section* of the configuration."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str
        parser.read(self.configuration)
        parser.read_dict({section: {key: value}})
        with self.configuration.open("w") as file:
            parser.write(file)

    def environment(self, **steering):
        """What `run.sh` exports, the stand-ins' folder and what steers them."""
        run = {name: str(self.directory / folder) for name, folder in RUN_VARIABLES.items()}
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AFRAME_")},
            **run,
            "LAW_CONFIG_FILE": str(self.configuration),
            "PATH": os.pathsep.join([str(self.stubs), str(ENVIRONMENT), os.environ["PATH"]]),
            "AFRAME_CACHE_DIR": str(self.directory.parent / "cache"),
            "STUB_CALLS": str(self.directory.parent / "calls"),
            "STUB_CHECKS": str(self.directory.parent / "checks"),
            **{f"STUB_{name.upper()}": str(value) for name, value in steering.items()},
        }

    def law(self, *options, task=PIPELINE, **steering):
        """Run *task* to its end."""
        return subprocess.run(
            ["law", "run", task, *options],
            env=self.environment(**steering),
            cwd=self.directory.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )

    def aframe(self, *words):
        """Run `aframe` with *words* for this directory."""
        return subprocess.run(
            ["aframe", *words, "--directory", str(self.directory)],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )

    def start(self, screen, *options, **steering):
        """Begin the pipeline in a process group of its own, its screen in the file *screen*."""
        with screen.open("w") as file:
            return subprocess.Popen(
                ["law", "run", PIPELINE, *options],
                env=self.environment(**steering),
                cwd=self.directory.parent,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def calls(self):
        """What the stand-ins were called for since the last look, each `step in folder`."""
        calls = self.directory.parent / "calls"
        found = (
            [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
        )
        calls.unlink(missing_ok=True)
        return [
            f"{call['step']} in {Path(call['output']).relative_to(self.directory)}"
            for call in found
        ]

    def checks(self):
        """What the stand-ins were asked to look through since the last look, by stage."""
        path = self.directory.parent / "checks"
        found = (
            [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        )
        path.unlink(missing_ok=True)
        return {call["step"].removesuffix(" check"): call["verbs"] for call in found}

    def files(self):
        """Content of every published file."""
        return {
            str(path.relative_to(self.directory)): path.read_text()
            for path in sorted(self.directory.rglob("*"))
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(self.directory).parts)
            and "logs" not in path.parts
            and not path.name.endswith(".record.json")
        }


@dataclass
class RunOnS3(Run):
    """A run directory whose files lie below an address."""

    home: str = ""
    cache: Path = Path()

    def environment(self, **steering):
        """As on a disk, but for where the run lies."""
        there = {n: f"{self.home}/{f}" for n, f in RUN_VARIABLES.items() if n not in OF_THE_MACHINE}
        return {**super().environment(**steering), **there, "AFRAME_CACHE_DIR": str(self.cache)}

    def calls(self):
        """What the stand-ins were called for since the last look, each `step in folder`."""
        calls = self.directory.parent / "calls"
        text = calls.read_text() if calls.exists() else ""
        calls.unlink(missing_ok=True)
        found = map(json.loads, text.splitlines())
        return [f"{call['step']} in {call['output'].removeprefix(self.home)[1:]}" for call in found]

    def lose_machine(self):
        """Go on with nothing of what was here."""
        self.cache = self.cache.with_name(f"{self.cache.name}+")


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    """A folder with the five commands, each a stand-in."""
    folder = tmp_path_factory.mktemp("stubs")
    for stage in ("data", "train", "export", "infer", "sv"):
        command = folder / f"aframe-{stage}"
        words = shlex.join([sys.executable, str(STAND_IN), stage])
        command.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        command.chmod(0o755)
    return folder


@pytest.fixture
def empty(tmp_path, stubs):
    """A run directory of the demo in which nothing has run."""
    write_run_directory(tmp_path / "run", preset="demo")
    return Run(tmp_path / "run", stubs)


@pytest.fixture(scope="session")
def _once(tmp_path_factory, stubs):
    """One run to its end, which the tests copy."""
    directory = tmp_path_factory.mktemp("once") / "run"
    write_run_directory(directory, preset="demo")
    run = Run(directory, stubs)
    done = run.law("--workers", "5")
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def finished(empty, _once):
    """A run directory of the demo in which everything has run."""
    for folder in ("data", "training", "results"):
        shutil.copytree(_once.directory / folder, empty.directory / folder)
    return empty


@pytest.fixture
def shared(monkeypatch, tmp_path):
    """Tasks built in this process: what `[luigi_base]` says, with paths below *tmp_path*."""
    source = {"kind": "simulated", "psds": {"H1": "aLIGOO3LowT1800545", "L1": "h1.txt"}}
    values = {"source": json.dumps(source)}
    monkeypatch.setitem(luigi.configuration.get_config()._sections, BASE_SECTION, values)
    for name, folder in RUN_VARIABLES.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    return values


@pytest.fixture
def on_s3(tmp_path, stubs, bucket):
    """A run of the demo in which nothing has run."""
    home = f"{bucket.address}/my/run"
    write_run_directory(tmp_path / "on-s3", preset="demo", s3_bucket=home)
    return RunOnS3(tmp_path / "on-s3", stubs, home, tmp_path / "machine")
