"""Planning the search with nothing installed but the base package: help, status, dependencies."""

import os
import subprocess
import sys
from pathlib import Path

import luigi
import pytest

import aframe.pipelines.sandbox
from aframe.cli import PRESETS, write_run_directory
from aframe.paths import RUN_VARIABLES

SANDBOX = "aframe.pipelines.sandbox.Sandbox"
LAW = Path(sys.executable).with_name("law")
#: What stages bring along; none of it may be needed to plan.
HEAVY = (
    "astropy", "bilby", "gwpy", "h5py", "jsonargparse", "lal", "lalsimulation", "lightning",
    "matplotlib", "ml4gw", "numpy", "onnx", "pandas", "scipy", "torch", "yaml",
    "aframe_data", "aframe_train", "aframe_export", "aframe_infer", "aframe_sv",
)  # fmt: skip
BLOCK = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ImportError(f"blocked: {{name}}")

sys.meta_path.insert(0, Block())
"""


@pytest.fixture
def law(tmp_path):
    """Run law in a run directory, with no stage command on PATH and nothing heavy importable."""
    (tmp_path / "sitecustomize.py").write_text(BLOCK)

    def run(*words, preset="demo"):
        directory = tmp_path / preset
        write_run_directory(directory, preset=preset)
        environment = {
            **{name: str(directory / folder) for name, folder in RUN_VARIABLES.items()},
            "LAW_CONFIG_FILE": str(directory / "sandbox.cfg"),
            "PATH": "/nonexistent",
            "PYTHONPATH": str(tmp_path),
            "HOME": str(tmp_path),
        }
        before = sorted(tmp_path.rglob("*"))
        done = subprocess.run(
            [sys.executable, LAW, "run", *words],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        left = sorted(set(tmp_path.rglob("*")) - set(before))
        assert [path for path in left if "__pycache__" not in path.parts] == []
        return done

    return run


def test_the_block_blocks(law, tmp_path):
    """The tests below would see it if planning needed numpy."""
    law(SANDBOX, "--help")
    done = subprocess.run(
        [sys.executable, "-c", "import numpy"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "blocked: numpy" in done.stderr


@pytest.mark.parametrize("preset", PRESETS)
def test_status_is_shown_and_nothing_written(law, preset):
    """Every output of every step is listed as absent, and no file or folder appears."""
    done = law(SANDBOX, "--print-status", "9", preset=preset)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "existent" not in done.stdout
    for name in ("segments.txt", "model.pt", "model_repo", "0lag.hdf5", "report.html"):
        assert f"{name})" in done.stdout


@pytest.mark.parametrize("preset", PRESETS)
def test_dependencies_are_shown_and_nothing_written(law, preset):
    """The steps stand below those that need them."""
    done = law(SANDBOX, "--print-deps", "9", preset=preset)
    lines = [line.strip("│└├─ ") for line in done.stdout.splitlines()]
    found = [line.split(" > ")[1].split("(")[0] for line in lines if " > " in line]

    assert done.returncode == 0, done.stderr
    assert found[:6] == ["Sandbox", "SandboxReport", "SandboxSV", "SandboxInfer", *found[4:6]]
    assert {"ExportLocal", "Train", "FetchTrain", "Query", "TrainingWaveforms"} <= set(found)
    assert {"ValidationWaveforms", "FetchTest", "TestingWaveforms"} <= set(found)
    assert ("FetchZeroLag" in found) is (preset == "demo")


def test_help_describes_every_parameter_of_every_step(law):
    """`--help` of the pipeline lists the options of all its tasks, each with its meaning."""
    done = law(SANDBOX, "--help")
    text = " ".join(done.stdout.split())

    assert done.returncode == 0
    assert done.stderr == ""
    assert "--SandboxInfer-Tb SANDBOXINFER_TB background livetime to analyze (s)" in text
    assert "whether to search unshifted strain too" in text
    assert "form in which a server runs the network" in text
    assert "--gpus GPUS GPUs to use, comma-separated indices" in text
    assert "--on-change" in text


def test_help_of_a_step_is_of_its_own_options(law):
    """Each once and first; those of the steps that it rests on are an option away."""
    done, everything = law("aframe.TrainLocal", "--help"), law("aframe.TrainLocal", "--help-all")
    lines = done.stdout.splitlines()

    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == "usage: law run aframe.TrainLocal [options]"
    assert done.stdout.count("training configuration (Lightning YAML)") == 1
    assert done.stdout.index("--config CONFIG") < done.stdout.index("--print-status")
    assert "--FetchTrain-stop" not in done.stdout
    assert "--help-all shows them" in done.stdout
    # Some four screens: its own options, those of pools and images, and law's.
    assert len(lines) < 180
    assert "--FetchTrain-stop" in everything.stdout


def test_each_parameter_has_a_description():
    """Every parameter of every task that can be run says what it is."""
    registered = luigi.task_register.Register._get_reg().values()
    ours = [task for task in registered if getattr(task, "__module__", "").startswith("aframe.")]

    assert len(ours) >= 13
    for task in ours:
        for name, parameter in task.get_params():
            assert parameter.description, f"{task.get_task_family()}.{name}"


def test_what_only_others_build_on_is_no_task_to_run():
    """Bases, and the tasks that the pipeline has replaced, have no section and no options."""
    families = set(luigi.task_register.Register.task_names())

    assert families.isdisjoint({"StageTask", "Pipeline", "FetchTask", "WaveformTask"})
    assert {
        "SandboxInfer",
        "SandboxVeto",
        "SandboxSV",
        "SandboxPAstro",
        "SandboxReport",
        "Sandbox",
    } <= families


def test_the_pipeline_is_what_its_last_step_rests_on(monkeypatch, tmp_path):
    """From the report down, each of its own steps where it has one."""
    source = '{"kind": "simulated", "psds": {"H1": "a", "L1": "b"}}'
    monkeypatch.setitem(luigi.configuration.get_config()._sections, "base", {"source": source})
    monkeypatch.chdir(tmp_path)
    report = aframe.pipelines.sandbox.Sandbox().requires()
    required = report.requires()
    events = [task.requires()["events"] for task in required.values()]

    assert [type(task).__name__ for task in (report, *required.values(), *events)] == [
        "SandboxReport", "SandboxSV", "SandboxPAstro", "SandboxInfer", "SandboxInfer",
    ]  # fmt: skip
