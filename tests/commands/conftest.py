"""A run directory of the demo in this process, its outputs made by the stand-ins of the stages."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import law
import luigi
import pytest
from luigi.task_register import Register
from tasks import stub_stage
from tasks.conftest import stubs

from aframe import commands
from aframe.cli import write_run_directory
from aframe.paths import RUN_VARIABLES
from aframe.tasks.outlook import outlooks

__all__ = ["stubs"]


@dataclass
class Run:
    """A run directory that this process is in."""

    directory: Path
    capsys: pytest.CaptureFixture[str]

    def aframe(self, *words, directory=None):
        """Run `aframe` with *words*: its status and what it printed."""
        self.capsys.readouterr()
        status = commands.main([*words, "--directory", str(directory or self.directory)])
        printed = self.capsys.readouterr()
        return status, printed.out, printed.err

    def plan(self, *words):
        """Each step of `aframe plan` by its name."""
        _, out, _ = self.aframe("plan", "--json", *words)
        return {step["name"]: step for step in json.loads(out)["steps"]}

    def set(self, section, key, value):
        """Change a value in the `.cfg` and in what luigi has read of it."""
        path = self.directory / "sandbox.cfg"
        parsed = _read(path)
        parsed.setdefault(section, {})[key] = value
        lines = [
            line
            for name, keys in parsed.items()
            for line in (f"[{name}]", *(f"{k} = {v}" for k, v in keys.items()))
        ]
        path.write_text("\n".join(lines) + "\n")
        told = {section.removeprefix("luigi_"): {key: value}}
        luigi.configuration.get_config().read_dict(told)
        Register.clear_instance_cache()

    def make(self, *names):
        """Have the stand-ins make the outputs of all steps, or of those named, in order."""
        from aframe.pipelines.sandbox import Sandbox  # noqa: PLC0415 (as the configuration is now)

        for each in outlooks(Sandbox()):
            if names and each.name not in names:
                continue
            step = each.step
            file = step.directory / "logs" / f"{step.verb}.settings.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(step.settings_file()))
            assert stub_stage.main(step.stage, [step.verb, "--config", str(file)]) == 0


def _read(path):
    """Sections of a `.cfg` as luigi gets them, references followed."""
    only = {f"skip_{each}": True for each in ("defaults", "fallbacks", "env_sync", "luigi_sync")}
    parsed = law.config.Config(str(path), **only)
    return {
        section: {key: parsed.get_expanded(section, key) for key in parsed.options(section)}
        for section in parsed.sections()
    }


def _enter(directory, stubs, monkeypatch, tmp_path):
    """Let this process be in a run directory, until the test has ended."""
    script = directory / "run.sh"
    script.write_text(script.read_text().replace("export PATH=", f"export PATH={stubs}:"))
    for name in [*RUN_VARIABLES, "LAW_CONFIG_FILE"]:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setenv("STUB_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("STUB_CHECKS", str(tmp_path / "checks"))
    for name, folder in RUN_VARIABLES.items():
        monkeypatch.setenv(name, str(directory / folder))
    Register.clear_instance_cache()


@pytest.fixture
def empty(tmp_path, stubs, monkeypatch, capsys):
    """A run directory in which nothing has run."""
    directory = tmp_path / "runs" / "mine"
    write_run_directory(directory, preset="demo")
    _enter(directory, stubs, monkeypatch, tmp_path)
    own = luigi.configuration.get_config()
    sections = {n.removeprefix("luigi_"): k for n, k in _read(directory / "sandbox.cfg").items()}
    own.read_dict(sections)
    yield Run(directory, capsys)
    for section in sections:
        own.remove_section(section)
    Register.clear_instance_cache()


@pytest.fixture(scope="session")
def _once(tmp_path_factory):
    return tmp_path_factory.mktemp("finished")


@pytest.fixture
def finished(empty, _once):
    """A run directory in which everything has run."""
    folders = ("data", "training", "results")
    if not (_once / "results").exists():
        empty.make()
        for folder in folders:
            shutil.copytree(empty.directory / folder, _once / folder)
        return empty
    for folder in folders:
        shutil.copytree(_once / folder, empty.directory / folder)
    return empty
