"""`python -m train.tune`: a search by hand."""

import json
import platform
import shutil

import pytest

from aframe.artifacts.claim import Claim
from aframe.artifacts.remote import Remote, cache_directory
from aframe_train.tune.trials import Storage, Trial, write_trial
from aframe_train.tune.verb import PUBLISHES
from train.tune import main, redirect, split


def test_the_published_command_is_parted():
    """Each word goes to the search or to the trainings, whichever way it is spelled."""
    mine, others = split(
        ["--config", "config.yaml", "--data.ifos=[H1,L1]", "--trainer.logger.save_dir", "run",
         "--tune.name", "first", "--tune.num_samples", "8", "--tune.cpus_per_gpu=6",
         "--data.data_dir", "data"]
    )  # fmt: skip

    assert mine == ["--tune.name", "first", "--tune.num_samples", "8", "--tune.cpus_per_gpu=6"]
    assert others == [
        "--config", "config.yaml", "--data.ifos=[H1,L1]", "--trainer.logger.save_dir", "run",
        "--data.data_dir", "data",
    ]  # fmt: skip


def test_every_logger_writes_to_the_trial():
    """The first one's directory is where the best training goes."""
    words, output = redirect(
        ["--trainer.logger=A", "--trainer.logger.save_dir=a", "--trainer.logger+=B",
         "--trainer.logger.save_dir", "b"]
    )  # fmt: skip

    assert words == [
        "--trainer.logger=A", "--trainer.logger.save_dir={directory}", "--trainer.logger+=B",
        "--trainer.logger.save_dir={directory}",
    ]  # fmt: skip
    assert str(output) == "a"
    assert str(redirect([])[1]) == "."


def test_home_is_found(monkeypatch):
    """No shell expands what stands behind an equals sign."""
    monkeypatch.setenv("HOME", "/home/me")

    assert str(redirect(["--trainer.logger.save_dir=~/run"])[1]) == "/home/me/run"


@pytest.fixture
def words(config, small, tmp_path):
    """A search of one training of one epoch, but for where its data and files lie."""
    (tmp_path / "tune.yaml").write_text("space: {model.learning_rate: 'uniform(1e-3, 2e-3)'}\n")
    preprocessing = [f"--data.{name}={value}" for name, value in small.PREPROCESSING.items()
                     if value]  # fmt: skip
    return [
        "--config", str(config), "--data.ifos=[H1,L1]", "--trainer.max_epochs=1",
        "--tune.config", str(tmp_path / "tune.yaml"), "--tune.name", "mine",
        "--tune.temp_dir", str(tmp_path / "ray"), "--tune.num_samples", "1",
        "--tune.cpus_per_gpu", "1", "--tune.gpus_per_worker", "1", "--tune.num_workers", "1",
        *preprocessing,
    ]  # fmt: skip


@pytest.mark.xdist_group("ray")
def test_a_search_by_hand_leaves_a_training(words, data_dir, tmp_path):
    """The published command, with real trainings: files as of a training, and of the search."""
    words += [
        "--data.data_dir", str(data_dir), f"--trainer.logger.save_dir={tmp_path / 'run'}",
        "--tune.storage_dir", str(tmp_path / "trials"),
    ]  # fmt: skip

    assert main(words) == 0

    assert (tmp_path / "run" / "model.pt").exists()
    assert (tmp_path / "run" / "best.yaml").exists()
    assert json.loads((tmp_path / "trials/mine/trial-0000/trial.json").read_text())["scores"]
    assert not list((tmp_path / "ray").iterdir())


@pytest.mark.xdist_group("ray")
def test_a_search_by_hand_on_s3(words, data_dir, bucket, capsys, monkeypatch):
    """Data, trials and the best training; once at a time, and on an empty machine not again."""
    bucket.put(data_dir, "data")
    words += [
        "--data.data_dir", f"{bucket.address}/data",
        "--trainer.logger.save_dir", f"{bucket.address}/run",
        "--trainer.callbacks+=aframe_train.extremes.Extremes",
    ]  # fmt: skip
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(platform, "node", lambda: "other")
        claim = Claim(Remote(f"{bucket.address}/run"), ".claim.json")
        claim.hold()
    assert main(words) == 2
    assert "tune: error: another run is writing this output" in capsys.readouterr().err
    claim.release()

    assert main(words) == 0
    trial = bucket.get("run/mine/trial-0000/trial.json")
    names = (*PUBLISHES, "validation/epoch-0001.png")
    published = {name: bucket.get(f"run/{name}") for name in names}
    shutil.rmtree(cache_directory())
    assert main(words) == 0

    assert {name: bucket.get(f"run/{name}") for name in names} == published
    assert bucket.get("run/mine/trial-0000/trial.json") == trial
    assert "run/.claim.json" not in bucket.names()


def test_a_search_that_has_failed_says_so(config, tmp_path, capsys):
    """Exit status 2, in our format."""
    (tmp_path / "tune.yaml").write_text("space: {model.learning_rate: 'uniform(1e-3, 2e-3)'}\n")
    storage = Storage(str(tmp_path / "run" / "tune"))
    write_trial(storage, Trial(0, {}, "stopped", [0.5], [0.0]))

    status = main(
        ["--config", str(config), f"--trainer.logger.save_dir={tmp_path / 'run'}",
         "--tune.config", str(tmp_path / "tune.yaml"), "--tune.num_samples", "1"]
    )  # fmt: skip

    assert status == 2
    assert "tune: error: no trial reached its end" in capsys.readouterr().err


def test_a_mistyped_option_is_refused(capsys):
    """Also exit status 2, with where they are described."""
    assert main(["--tune.num_sample", "8"]) == 2

    said = capsys.readouterr().err
    assert said.startswith("tune: error: the options of the search cannot be used\n")
    assert "python -m train.tune --help" in said


def test_an_interruption_says_what_resumes(monkeypatch, capsys):
    """No traceback after Ctrl-C."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("train.tune._search", interrupted)

    assert main([]) == 130
    assert "the same command resumes" in capsys.readouterr().err
