"""Where a training is logged besides its own table: Weights & Biases (offline), TensorBoard."""

import csv
import json
import os
import sys
from types import SimpleNamespace

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from aframe.errors import AframeError
from aframe_train import runs, tracking
from aframe_train.cli import main
from aframe_train.trainer import train

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No server, a key in the environment, and the package's own files below *tmp_path*."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb files" / name))


@pytest.fixture
def words(config, data_dir, tmp_path, small):
    """Arguments of a training of four steps."""
    return [
        "--config", str(config), "--data.ifos=[H1,L1]", "--data.data_dir", str(data_dir),
        *(f"--data.{name}={value}" for name, value in small.PREPROCESSING.items() if value),
        "--data.batches_per_epoch=2", "--trainer.max_epochs=2", "--trainer.log_every_n_steps=1",
        f"--trainer.logger.save_dir={tmp_path / 'run'}",
    ]  # fmt: skip


def holding(directory, text):
    """Files below *directory* that hold *text*."""
    return [
        path for path in directory.rglob("*") if path.is_file() and text in path.read_bytes()
    ]  # fmt: skip


def test_the_spelling_of_the_guide(words, offline, tmp_path):
    """Weights & Biases in place of Lightning's table; ours and all files are there all the same."""
    options = ["WandbLogger", "project=aframe", "name=my-first-run", "group=mine", "tags=[a,b]"]
    first, *rest = options
    extremes = "--trainer.callbacks+=aframe_train.extremes.Extremes"
    train([
        *words[:-1], f"--trainer.logger={first}", *(f"--trainer.logger.{each}" for each in rest),
        words[-1], extremes,
    ])  # fmt: skip
    run = tmp_path / "run"

    assert len(list(csv.DictReader((run / "metrics.csv").open()))) == 2
    name = (run / tracking.IDENTITY).read_text().strip()
    (kept,) = run.glob("wandb/offline-run-*")
    assert kept.name.endswith(name)
    assert list(kept.glob("*.wandb"))
    tables = {path.name.partition("_")[0] for path in kept.rglob("media/table/*.table.json")}
    assert tables == {"validation"}
    assert name not in (run / "config.yaml").read_text()
    assert "WANDB_RUN_ID" not in os.environ
    assert wandb.run is None


def test_one_run_through_resumes_and_no_key(
    words, config, data_dir, small, offline, tmp_path, monkeypatch, capfd
):
    """Interrupted and run again, `aframe-train fit` goes on with its run; no file has the key."""
    save = runs.SentCheckpoints.save_checkpoint

    def interrupted(self, checkpoint, path, **options):
        save(self, checkpoint, path, **options)
        if checkpoint["global_step"] == 10:
            raise SystemExit

    settings = {
        "inputs": {
            "background": str(data_dir / "background"),
            "training_waveforms": str(data_dir / "training_waveforms.hdf5"),
            "validation_waveforms": str(data_dir / "val_waveforms.hdf5"),
            "train_config": str(config),
        },
        "output": str(tmp_path / "out"),
        "ifos": ["H1", "L1"],
        **small.PREPROCESSING,
        "resources": {"use_wandb": True, "wandb_name": "mine", "wandb_tags": ["a"]},
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = ["aframe-train", "fit", "--config", str(tmp_path / "settings.json")]
    monkeypatch.setattr(sys, "argv", command)
    with monkeypatch.context() as patch:
        patch.setattr(runs.SentCheckpoints, "save_checkpoint", interrupted)
        assert main() == 130
    assert main() == 0

    kept = sorted((tmp_path / "out" / "wandb").glob("offline-run-*"))
    assert len(kept) == 2
    assert len({path.name.rpartition("-")[2] for path in kept}) == 1
    assert holding(tmp_path, b"mine")
    assert holding(tmp_path, KEY.encode()) == []
    said = capfd.readouterr()
    assert "trainer.logger.name=mine" in said.err
    assert KEY not in said.out + said.err


def test_tensorboard_by_the_configuration(words, config, tmp_path):
    """Its files are there, and ours."""
    text = config.read_text().replace("CSVLogger", "TensorBoardLogger")
    config.write_text(text)
    train(words)

    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))
    assert (tmp_path / "run" / "metrics.csv").exists()


def test_a_new_training_is_a_new_run(tmp_path):
    """In a directory that holds another's name, unless it goes on from there."""
    with tracking.own_run():
        first = tracking.identify(tmp_path, resumed=False).read_text()
        assert os.environ["WANDB_RUN_ID"] == first.strip()
        assert tracking.identify(tmp_path, resumed=True).read_text() == first
        assert tracking.identify(tmp_path, resumed=False).read_text() != first


def test_a_name_of_ones_own_stays(tmp_path, monkeypatch):
    """Who sets the variable decides."""
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    with tracking.own_run():
        tracking.identify(tmp_path, resumed=False)
        assert os.environ["WANDB_RUN_ID"] == "mine"
    assert os.environ["WANDB_RUN_ID"] == "mine"


def test_says_what_weights_and_biases_refuses(monkeypatch):
    """Such as a missing key: before the work, in our words, with the way out."""

    class Refusing(WandbLogger):
        def __init__(self):
            pass

        @property
        def experiment(self):
            raise wandb.errors.UsageError("No API key configured.")

    with pytest.raises(AframeError, match="Weights & Biases cannot be used") as error:
        tracking.start([SimpleNamespace(), Refusing()])

    assert error.value.found == "No API key configured."
    assert "WANDB_MODE=offline" in error.value.fix


def test_without_the_package_it_is_refused_by_hand(words, monkeypatch):
    """The message says what to install."""
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)

    with pytest.raises(AframeError, match="Weights & Biases is not installed"):
        train([*words[:-1], "--trainer.logger=WandbLogger", words[-1]])
