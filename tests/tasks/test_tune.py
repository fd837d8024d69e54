"""The pipeline that searches for the settings of its training, with stand-in stages."""

import configparser

import pytest

from aframe import tasks
from aframe.cli import CONFIGS, PRESETS, write_run_directory
from aframe.pipelines import sandbox, tune


@pytest.fixture
def run(empty, tmp_path):
    """A run directory of the mode tune in which nothing has run."""

    class Run(type(empty)):
        """It has its own configuration."""

        configuration = property(lambda self: self.directory / "tune.cfg")

    write_run_directory(tmp_path / "tuned", mode="tune", preset="demo")
    return Run(tmp_path / "tuned", empty.stubs)


def test_the_best_training_of_a_search_goes_on(run):
    """The search stands where the training stands else, by either spelling of the pipeline."""
    done = run.law("--workers", "2", task="aframe.pipelines.tune.Tune")

    assert done.returncode == 0, done.stderr
    calls = run.calls()
    assert "train tune in training" in calls
    assert "train fit in training" not in calls
    assert calls[-5:-3] == ["export export in results", "infer infer in results"]
    assert set(calls[-3:-1]) == {"sv estimate in results/plots", "sv p_astro in results/plots"}
    assert calls[-1] == "sv report in results"
    again = run.law(task="aframe.pipelines.sandbox.Tune")
    assert (again.returncode, run.calls()) == (0, [])


def test_both_spellings_are_one_pipeline():
    """The older one is kept."""
    assert tune.Tune is sandbox.Tune


@pytest.mark.parametrize("preset", PRESETS)
def test_the_run_directory_has_what_the_search_reads(tmp_path, preset):
    """The training's configuration, what is tried, and a section of the search alone."""
    write_run_directory(tmp_path, mode="tune", preset=preset)
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(tmp_path / "tune.cfg")

    assert "luigi_Train" not in parser
    section = dict(parser["luigi_TuneTask"])
    assert section.pop("config") == f"{tmp_path}/train.yaml"
    assert section.pop("tune_config") == f"{tmp_path}/tune.yaml"
    known = dict(tasks.TuneTask.get_params())
    for name, text in section.items():
        assert known[name].parse(text) == known[name].task_value("TuneTask", name), name
    assert (tmp_path / "tune.yaml").read_text() == (CONFIGS / "tune" / f"{preset}.yaml").read_text()
    assert "law run aframe.pipelines.tune.Tune --workers 5" in (tmp_path / "run.sh").read_text()


def test_a_training_makes_no_table_of_trials(shared):
    """So the report of a plain search shows none."""
    plain = sandbox.SandboxReport().inputs()["tune"]
    tuned = sandbox.SandboxReport(train_task="TuneTask").inputs()["tune"]

    assert plain is None
    assert tuned.name == "trials.json"
