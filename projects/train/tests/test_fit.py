"""The verb `fit`: settings in, files out, whatever kills it on the way."""

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aframe.artifacts.record import input_digest
from aframe.errors import AframeError
from aframe_train import tracking
from aframe_train.cli import VERBS, main
from aframe_train.fit import FitInputs, FitResources, FitSettings, arguments, threads
from aframe_train.outputs import PUBLISHES


@pytest.fixture
def settings_file(config, data_dir, tmp_path, small, monkeypatch):
    """Write a settings file for the small search; give its path."""

    def write(output, **changes):
        settings = {
            "inputs": {
                "background": str(data_dir / "background"),
                "training_waveforms": str(data_dir / "training_waveforms.hdf5"),
                "validation_waveforms": str(data_dir / "val_waveforms.hdf5"),
                "train_config": str(config),
            },
            "output": str(output),
            "ifos": list(small.IFOS),
            "seed": 4,
            **small.PREPROCESSING,
            **changes,
        }
        path = tmp_path / f"{output.name}.json"
        path.write_text(json.dumps(settings))
        return str(path)

    return write


def run(monkeypatch, *words):
    """Run the command as from the shell."""
    monkeypatch.setattr(sys, "argv", ["aframe-train", *words])
    return main()


def files(directory):
    """Published files by name, without the record, which holds times."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name[0] != "." and path.suffixes != [".record", ".json"]
    }


def notes(directory):
    """What the verb noted in its record."""
    return json.loads((directory / "fit.record.json").read_text())["notes"]


def test_killed_trainings_resume_bit_for_bit(settings_file, tmp_path, monkeypatch):
    """Killed at a random moment and run again: every file of an uninterrupted training."""
    out = tmp_path / "out"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    program = "import sys; from aframe_train.cli import main; sys.exit(main())"
    fit = [sys.executable, "-c", program, "fit", "--config", settings_file(out)]
    command = [*fit, "--resources.workers", "1"]
    subprocess.run(command, check=True)
    whole = out.rename(tmp_path / "whole")
    process = subprocess.Popen(command)
    checkpoint = out / ".draft-fit" / ".work" / "last.ckpt"
    end = time.monotonic() + 600
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(np.random.default_rng().uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    assert process.wait() in (-signal.SIGKILL, 0)

    # On two threads the last digits would differ, so it goes on with one.
    subprocess.run([*fit, "--resources.workers", "2"], check=True)

    assert set(files(out)) == set(PUBLISHES)
    assert files(out) == files(whole)
    assert notes(out)["threads"] == notes(whole)["threads"] == 1


def settings(**changes):
    return FitSettings(
        **{
            "inputs": FitInputs(*map(Path, ("b", "t.hdf5", "v.hdf5", "c.yaml"))),
            "output": Path("out"),
            "ifos": ("H1", "L1"),
            "sample_rate": 1024.0,
            "kernel_length": 1.5,
            "fduration": 1.0,
            "highpass": 32.0,
            **changes,
        }
    )


def test_settings_become_arguments(tmp_path):
    """Each physical number is handed over, and nothing that the configuration decides."""
    words = arguments(settings(seed=9, lowpass=400.0), tmp_path)

    assert words[:3] == ["fit", "--config", "c.yaml"]
    for word in (
        "--seed_everything=9",
        "--data.init_args.ifos=[H1,L1]",
        "--data.init_args.fftlength=null",
        "--data.init_args.lowpass=400.0",
        "--data.init_args.background_dir=b",
        "--trainer.accelerator=auto",
        f"--trainer.logger.save_dir={tmp_path}",
    ):
        assert word in words
    assert not any("ckpt" in word or "glitches" in word for word in words)


def test_a_table_of_glitches_is_an_input(
    settings_file, config, tmp_path, small, monkeypatch, capsys
):
    """Its digest is recorded; one that the configuration alone names is refused."""
    table = tmp_path / "table.csv"
    table.write_text(f"event_time,ifo\n{small.START + 20},L1\n")
    text = config.read_text().replace("{batch_size: 16,", "{batch_size: 16, glitch_prob: 0.2,")
    config.write_text(text.replace("max_epochs: 3", "max_epochs: 1"))
    named = ("--inputs.glitches", str(table))
    done = run(monkeypatch, "fit", "--config", settings_file(tmp_path / "out"), *named)
    record = json.loads((tmp_path / "out" / "fit.record.json").read_text())

    assert done == 0
    assert record["inputs"]["glitches"] == input_digest(table)

    config.write_text(text.replace("    snr:", f"    glitches: {{table: {table}}}\n    snr:"))
    assert run(monkeypatch, "fit", "--config", settings_file(tmp_path / "other")) == 2
    assert "a change of the table of glitches would go unnoticed" in capsys.readouterr().err


@pytest.mark.parametrize(("workers", "number"), [(1, 1), (3, 3), (8, 4), (0, 1)])
def test_workers_are_threads(tmp_path, workers, number):
    """As many as asked for, but not more than torch would take, and one at least."""
    assert threads(tmp_path, workers, 4) == number


def test_a_resumed_training_keeps_its_threads(tmp_path, caplog):
    """With other ones its last digits would be others; it says so where others are asked for."""
    threads(tmp_path, 2, 4)
    with caplog.at_level(logging.INFO):
        assert threads(tmp_path, 2, 4) == 2
        assert not caplog.text
        assert threads(tmp_path, 3, 4) == 2

    assert "computing on 2 threads, with which the training began, not 3" in caplog.text


def test_a_checkpoint_is_resumed(tmp_path):
    """What a killed run left is what the next begins with."""
    (tmp_path / "last.ckpt").touch()

    assert f"--ckpt_path={tmp_path / 'last.ckpt'}" in arguments(settings(), tmp_path)


def test_weights_and_biases_is_a_second_logger(tmp_path):
    """It is added, with what is said of the run; its files outlive the draft."""
    resources = FitResources(
        device="cpu", use_wandb=True, wandb_name="first", wandb_tags=("a", "b"), wandb_entity="me"
    )
    words = arguments(settings(resources=resources), tmp_path / "work", tmp_path)

    at = words.index("--trainer.logger+=lightning.pytorch.loggers.WandbLogger")
    assert words[at + 1 : at + 6] == [
        f"--trainer.logger.save_dir={tmp_path}", "--trainer.logger.name=first",
        "--trainer.logger.tags=[a,b]", "--trainer.logger.project=aframe",
        "--trainer.logger.entity=me",
    ]  # fmt: skip
    assert "--trainer.accelerator=cpu" in words


def test_refuses_a_logger_that_is_not_installed(tmp_path, monkeypatch):
    """The message says what to install."""
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)

    with pytest.raises(AframeError, match="Weights & Biases is not installed") as error:
        arguments(settings(resources=FitResources(use_wandb=True)), tmp_path)

    assert "pip install wandb" in error.value.fix


def test_refuses_a_device_nobody_knows(tmp_path):
    """The message lists those that are known."""
    with pytest.raises(AframeError, match="no such device") as error:
        arguments(settings(resources=FitResources(device="tpu")), tmp_path)

    assert "auto, cpu, cuda" in error.value.fix


def test_refuses_a_band_beyond_nyquist():
    """Before any file is opened."""
    with pytest.raises(AframeError, match="highpass is not between zero"):
        settings(highpass=600.0)


def test_the_command_says_what_is_wrong(settings_file, tmp_path, monkeypatch, capsys):
    """Exit status 2, our format, and nothing published."""
    path = settings_file(tmp_path / "out", highpass=200.0)

    assert run(monkeypatch, "fit", "--config", path) == 2
    assert "highpass 200 Hz" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_verb_publishes_what_it_says():
    """The table of verbs and the module agree."""
    verb = VERBS[0]

    assert verb.name == "fit"
    assert verb.publishes == PUBLISHES
    assert verb.summary == "Train the network that tells signals from noise."
