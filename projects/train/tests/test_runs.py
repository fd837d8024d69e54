"""Trainings whose data and run directory lie on S3."""

import csv
import io
import json
import platform
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from jsonargparse import Namespace

from aframe.artifacts.claim import Claim
from aframe.artifacts.remote import Remote, cache_directory
from aframe.errors import AframeError
from aframe_train.cli import main
from aframe_train.runs import fetch_run
from aframe_train.trainer import train

#: `aframe-train`, which kills itself in the middle of the second of its epochs of 7 steps.
KILLED = """
import os, signal, sys
from aframe_train import cli, runs

save = runs.SentCheckpoints.save_checkpoint

def save_then_die(self, checkpoint, path, **options):
    mirror = self.keep.__self__.mirror
    if mirror._last is not None:
        mirror._last.result()
    save(self, checkpoint, path, **options)
    if checkpoint["global_step"] == 10:
        mirror._last.result()
        os.kill(os.getpid(), signal.SIGKILL)

runs.SentCheckpoints.save_checkpoint = save_then_die
sys.exit(cli.main())
"""


@pytest.fixture
def write(config, tmp_path, small):
    """Write a settings file for data at *home*, a path or an address; give its path."""

    def write(home, output):
        inputs = {
            "background": f"{home}/background",
            "training_waveforms": f"{home}/training_waveforms.hdf5",
            "validation_waveforms": f"{home}/val_waveforms.hdf5",
            "train_config": str(config),
        }
        settings = {
            "inputs": inputs,
            "output": str(output),
            "ifos": list(small.IFOS),
            "seed": 4,
            **small.PREPROCESSING,
            "resources": {"workers": 1},
        }
        path = tmp_path / "settings.json"
        path.write_text(json.dumps(settings))
        return str(path)

    return write


def test_killed_it_resumes_on_an_empty_machine(
    write, config, data_dir, bucket, tmp_path, monkeypatch
):
    """Killed in mid-epoch, it ends elsewhere with every file of an uninterrupted training."""
    pictures = "  callbacks:\n    - {class_path: aframe_train.extremes.Extremes}\n"
    config.write_text(config.read_text().replace("  callbacks:\n", pictures))
    whole = tmp_path / "whole"
    monkeypatch.setattr(sys, "argv", ["aframe-train", "fit", "--config", write(data_dir, whole)])
    assert main() == 0
    bucket.put(data_dir, "data")
    words = ["fit", "--config", write(f"{bucket.address}/data", f"{bucket.address}/run")]
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "run/.draft-fit/.work/last.ckpt" in bucket.names()
    shutil.rmtree(cache_directory())
    monkeypatch.setattr(sys, "argv", ["aframe-train", *words])
    assert main() == 0

    files = [path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()]
    assert "validation/epoch-0001.png" in files
    assert sorted(f"run/{name}" for name in files) == bucket.names("run/")
    differ = {"fit.record.json", "config.yaml", "model.pt"}  # times, places, names of a trace
    # Told by name: what pytest says of bytes that differ takes it hours.
    changed = [n for n in files if bucket.get(f"run/{n}") != (whole / n).read_bytes()]
    assert set(changed) <= differ, changed


def test_home_is_found(monkeypatch):
    """No shell expands what stands behind an equals sign, and a logger may have no directory."""
    monkeypatch.setenv("HOME", "/home/me")
    places = ["~/run", "run", None]
    loggers = [SimpleNamespace(init_args=Namespace(save_dir=each)) for each in places]

    assert fetch_run(loggers) is None
    assert [each.init_args.save_dir for each in loggers] == ["/home/me/run", "run", None]


def test_by_hand(config, data_dir, bucket, small, monkeypatch):
    """`python -m train` fetches its data, one run at a time, and goes on where nothing is."""
    bucket.put(data_dir, "data")
    words = [
        "--config", str(config), "--data.ifos=[H1,L1]", f"--data.data_dir={bucket.address}/data",
        f"--trainer.logger.save_dir={bucket.address}/run", "--data.batches_per_epoch=2",
        *(f"--data.{name}={value}" for name, value in small.PREPROCESSING.items() if value),
    ]  # fmt: skip
    train([*words, "--trainer.max_epochs=2"])
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(platform, "node", lambda: "other")
        claim = Claim(Remote(f"{bucket.address}/run"), ".claim.json")
        claim.hold()
    with pytest.raises(AframeError, match="another run is writing this output"):
        train(words)
    claim.release()
    shutil.rmtree(cache_directory())
    bucket.client.delete_object(Bucket=bucket.name, Key="run/model.pt")
    train([*words, "--trainer.max_epochs=2", f"--ckpt_path={bucket.address}/run/last.ckpt"])

    rows = list(csv.DictReader(io.StringIO(bucket.get("run/metrics.csv").decode())))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert "run/model.pt" in bucket.names()
    assert not any("/." in name for name in bucket.names())
