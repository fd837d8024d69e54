"""One training by two processes, started as the guide says, and its validation."""

import csv
import filecmp
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 900
#: Lightning's own monitors, and ours, as a configuration names them.
CALLBACKS = """
- class_path: lightning.pytorch.callbacks.LearningRateMonitor
- class_path: lightning.pytorch.callbacks.EarlyStopping
  init_args: {monitor: valid_auroc, mode: max, patience: 0}
- class_path: lightning.pytorch.callbacks.ThroughputMonitor
  init_args: {batch_size_fn: aframe_train.callbacks.batch_size, window_size: 2}
- class_path: aframe_train.extremes.Extremes
  init_args: {count: 2}
"""


@pytest.fixture
def words(config, data_dir, small, tmp_path):
    """Arguments of two of three epochs, with weights that do not change, for a run *name*."""
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"]["learning_rate"] = 0.0
    content["trainer"]["callbacks"] = yaml.safe_load(CALLBACKS)
    config.write_text(yaml.safe_dump(content))
    preprocessing = [f"--data.{k}={v}" for k, v in small.PREPROCESSING.items() if v]

    return lambda name: [
        "--config", str(config), "--data.ifos=[H1,L1]", f"--data.data_dir={data_dir}",
        f"--trainer.logger.save_dir={tmp_path / name}", "--data.batches_per_epoch=4",
        "--trainer.log_every_n_steps=1", *preprocessing,
    ]  # fmt: skip


def rows(path):
    return list(csv.DictReader(path.open()))


def command(words):
    """Train in processes of one thread: other tests change what sums depend on in this one."""
    done = subprocess.run(
        [sys.executable, "-m", "train", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        timeout=LONGEST,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_each_process_has_something_to_validate(words):
    """More processes than batches are refused by each, not lost by the others."""
    many = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.mixture.batch_size=4096"]
    done = subprocess.run(
        [sys.executable, "-m", "train", *words("none"), *many],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        timeout=LONGEST,
    )  # fmt: skip

    assert done.returncode != 0
    assert "a process has nothing to validate" in done.stderr
    assert "1 batches of validation for 2 processes" in done.stderr


@pytest.fixture
def further(tmp_path):
    """A program that is a further process of a training, and says so to a file."""
    script = tmp_path / "further.py"
    script.write_text(
        "import os, pathlib, sys, time\nfrom aframe_train.trainer import _as_program\n"
        "told, seconds = sys.argv[1:]\n"
        "with _as_program([]):\n"
        "    part = pathlib.Path(told + '.part')\n"
        "    part.write_text(str(os.getpid()))\n"
        "    part.rename(told)\n"
        "    time.sleep(float(seconds))\n"
    )
    return script


def test_further_processes_end_with_the_first(further, tmp_path):
    """They would wait for it for half an hour."""
    told = tmp_path / "told"
    first = tmp_path / "first.py"
    first.write_text(
        "import os, subprocess, sys\n"
        "os.environ.update(AFRAME_FIRST_PROCESS=str(os.getpid()), LOCAL_RANK='1')\n"
        f"subprocess.run([sys.executable, {str(further)!r}, {str(told)!r}, '{2 * LONGEST}'])\n"
    )
    process = subprocess.Popen([sys.executable, first])
    assert _comes(told.exists)
    number = told.read_text()

    process.kill()
    process.wait(LONGEST)

    assert _comes(lambda: not _runs(number))


def _comes(true):
    """Wait until something is true; gives whether it has become so."""
    end = time.monotonic() + LONGEST
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def _runs(number):
    try:
        return Path("/proc", number, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("rank", "begins"), [("1", False), ("0", True)])
def test_a_further_process_does_not_begin_without_the_first(further, tmp_path, rank, begins):
    """That may have ended before; the first of a training may have any parent."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    environment = {"AFRAME_FIRST_PROCESS": str(gone.pid), "LOCAL_RANK": rank}

    done = subprocess.run(
        [sys.executable, further, tmp_path / "told", "0"],
        env={**os.environ, **environment}, check=False, timeout=LONGEST,
    )  # fmt: skip

    assert (tmp_path / "told").exists() == begins
    assert done.returncode == (0 if begins else 1)


@pytest.mark.parametrize("given", [None, "5"])
def test_threads_wait_but_a_short_while_for_one_another(monkeypatch, given):
    """Unless the user says how long."""
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    if given:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    code = (
        "import os, sys, aframe_train; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )

    said = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert said.split() == [given or "10000", "False"]


def test_two_processes_find_the_same_score(words, tmp_path):
    """Score, its companions and the pictures; each file is written and each line said once."""
    one, two = tmp_path / "one", tmp_path / "two"
    command(words("one"))
    done = command([*words("two"), "--trainer.devices=2", "--trainer.strategy=ddp"])

    assert done.stderr.count("of a network of") == 1
    names = {path.name for path in one.iterdir()}
    assert {path.name for path in two.iterdir()} == names
    # It never gets better, so that the second epoch is the last.
    assert [row["step"] for row in rows(one / "metrics.csv")] == ["4", "8"]
    assert [row["step"] for row in rows(two / "metrics.csv")] == ["2", "4"]
    scores = [[row["valid_auroc"] for row in rows(run / "metrics.csv")] for run in (one, two)]
    assert scores[0] == scores[1]
    for name in ("val_batch.hdf5", "batch.hdf5", "preprocessing.json"):
        assert filecmp.cmp(one / name, two / name, shallow=False), name
    for epoch in (1, 2):
        picture = f"validation/epoch-{epoch:04d}.png"
        assert filecmp.cmp(one / picture, two / picture, shallow=False), picture
    logs = [rows(run / "lightning_logs/version_0/metrics.csv") for run in (one, two)]
    whole = [[row["valid_auroc_1"] for row in log if row["valid_auroc_1"]] for log in logs]
    assert whole[0] == whole[1]
    # Not the score of a network that finds nothing, which any two have.
    assert len(whole[0]) == 2
    assert abs(float(whole[0][0]) - 0.5) > 0.01
    logged = set(logs[0][0])
    assert {"valid_auroc", "valid_auroc_1", "lr-AdamW"} < logged
    assert "train/device/samples_per_sec" in logged
