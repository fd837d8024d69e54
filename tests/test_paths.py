"""The run directory, from the variables that `run.sh` exports."""

from dataclasses import asdict
from pathlib import Path

import pytest

from aframe.artifacts.remote import address
from aframe.errors import AframeError
from aframe.paths import RUN_VARIABLES, run_paths


def test_each_variable_names_its_piece():
    """Strain and waveforms share a folder unless they are told apart."""
    paths = run_paths({name: f"/run/{name}" for name in RUN_VARIABLES})

    assert {name: str(path) for name, path in asdict(paths).items()} == {
        "train_background": "/run/AFRAME_TRAIN_DATA_DIR",
        "train_waveforms": "/run/AFRAME_TRAIN_DATA_DIR",
        "test_background": "/run/AFRAME_TEST_DATA_DIR",
        "test_waveforms": "/run/AFRAME_TEST_DATA_DIR",
        "zero_lag": "/run/AFRAME_TEST_DATA_DIR/zero_lag",
        "train_run": "/run/AFRAME_TRAIN_RUN_DIR",
        "results": "/run/AFRAME_RESULTS_DIR",
        "condor": "/run/AFRAME_CONDOR_DIR",
        "tmp": "/run/AFRAME_TMPDIR",
    }


def test_strain_and_waveforms_may_lie_apart():
    """The more special variable wins."""
    paths = run_paths(
        {
            "AFRAME_TRAIN_DATA_DIR": "/run/train",
            "AFRAME_TRAIN_BACKGROUND_DIR": "/strain/train",
            "AFRAME_TEST_WAVEFORMS_DIR": "/waveforms/test",
        }
    )

    assert paths.train_background == Path("/strain/train")
    assert paths.train_waveforms == Path("/run/train")
    assert paths.test_waveforms == Path("/waveforms/test")


def test_without_variables_a_run_lies_in_the_present_folder(tmp_path, monkeypatch):
    """Unset and blank are the same, and every path is absolute."""
    monkeypatch.chdir(tmp_path)

    assert run_paths({}) == run_paths(dict.fromkeys(RUN_VARIABLES, ""))
    assert run_paths({}).tmp is None
    assert run_paths({}).train_run == tmp_path / "training"
    assert run_paths({}).test_background == tmp_path / "data" / "test"


def test_home_is_expanded(monkeypatch):
    """A `~` in a variable is the user's home."""
    monkeypatch.setenv("HOME", "/home/einstein")

    assert run_paths({"AFRAME_RESULTS_DIR": "~/results"}).results == Path("/home/einstein/results")


def test_the_environment_is_read_when_asked(monkeypatch):
    """A variable that is set after the import counts."""
    monkeypatch.setenv("AFRAME_TMPDIR", "/scratch/later")

    assert run_paths().tmp == Path("/scratch/later")


def test_the_training_may_be_kept_on_s3():
    """Its address is no path of this machine."""
    paths = run_paths({"AFRAME_TRAIN_RUN_DIR": "s3://mine/training"})

    assert paths.train_run == Path("s3://mine/training")


def test_each_piece_may_be_kept_on_s3():
    """One of them, some or all; what lies in it is an address, too."""
    paths = run_paths(
        {
            "AFRAME_TRAIN_DATA_DIR": "s3://mine/data/train",
            "AFRAME_TEST_BACKGROUND_DIR": "s3://shared/strain",
            "AFRAME_RESULTS_DIR": "s3://mine/results",
        }
    )

    assert address(paths.train_background) == "s3://mine/data/train"
    assert address(paths.zero_lag) == "s3://shared/strain/zero_lag"
    assert address(paths.results / "plots") == "s3://mine/results/plots"
    assert address(paths.test_waveforms) is None


@pytest.mark.parametrize("name", ["AFRAME_TMPDIR", "AFRAME_CONDOR_DIR"])
def test_scratch_is_of_this_machine(name):
    """It says which variable names an address."""
    with pytest.raises(AframeError, match="a folder of this machine cannot be on S3") as error:
        run_paths({name: "s3://mine/tmp"})
    assert (error.value.found, error.value.wanted_by) == ("s3://mine/tmp", name)


@pytest.mark.parametrize("value", ["s3:/bucket/run", "S3://bucket/run", "https://b/run", "s3://"])
@pytest.mark.parametrize("name", ["AFRAME_RESULTS_DIR", "AFRAME_TEST_BACKGROUND_DIR"])
def test_a_misspelt_address_is_no_folder(name, value):
    """Its results would lie in a folder of this name, wherever somebody happens to be."""
    with pytest.raises(AframeError, match="neither a folder nor an address") as error:
        run_paths({name: value})

    assert (error.value.found, error.value.wanted_by) == (value, name)
    run_paths({name: "run:1/data", "AFRAME_WEB_DIR": value})
