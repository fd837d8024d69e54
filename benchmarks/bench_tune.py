"""A search of eight trials on two workers, against the same search on one.

Each trial is a whole `python -m train` of a tiny network on a minute of noise, in a process
with a core of its own; none is stopped early, so that both searches do the same. By the clock:
what is measured is that trials run side by side. Most of a trial this short is the start of its
process, and a search's own share (Ray's start and end) counts on both sides.
"""

import contextlib
import io
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.artifacts.strain import write_strain
from train.tune import main as search

RATE, SECONDS, SIGNALS, LENGTH, TRIALS = 256.0, 160, 40, 2, 8
PREPROCESSING = {"sample_rate": RATE, "kernel_length": 1, "fduration": 0.5, "fftlength": 0.5,
                 "highpass": 20}  # fmt: skip
NETWORK = {"layers": [1, 1], "widths": [4, 8], "strides": [2, 2], "norm_groups": 2}
TRAINING = {
    "model": {
        "class_path": "aframe_train.model.SupervisedAframe",
        "init_args": {
            "arch": {"class_path": "aframe_train.networks.ResNet", "init_args": NETWORK},
            "metric": {"class_path": "aframe_train.metric.TimeSlideAUROC"},
            "learning_rate": 1e-3,
            "pct_lr_ramp": 0.2,
        },
    },
    "data": {
        "class_path": "aframe_train.data.AframeData",
        "init_args": {
            "batches_per_epoch": 10,
            "psd_length": 4,
            "mixture": {"batch_size": 16, "waveform_prob": 0.5},
            "snr": {"minimum": 6, "maximum": 50},
            "validation": {"min_valid_duration": 60, "valid_livetime": 60},
        },
    },
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False,
                "enable_model_summary": False, "num_sanity_val_steps": 0},
}  # fmt: skip
SEARCH = {
    "space": {"model.learning_rate": "loguniform(1e-3, 1e-2)"},
    "num_samples": TRIALS,
    "grace_period": 2,  # both epochs: nothing is compared before the end
}


def write(home: Path) -> None:
    """Write noise, signals and both configurations."""
    rng = np.random.default_rng(0)
    noise = 1e-21 * rng.normal(size=(2, int(SECONDS * RATE)))
    write_strain(home / "background", noise, ifos=["H1", "L1"], start=1e9, sample_rate=RATE)
    waves = 1e-21 * rng.normal(size=(SIGNALS, int(LENGTH * RATE))).astype(np.float32)
    known = {"sample_rate": RATE, "right_pad": 0.5}
    for name, fields in (("training", ("plus", "cross")), ("val", ("h1", "l1"))):
        ledger = Ledger({}, dict.fromkeys(fields, waves), known)
        write_ledger(home / f"{name}_waveforms.hdf5", ledger)
    (home / "train.yaml").write_text(yaml.safe_dump(TRAINING))
    (home / "tune.yaml").write_text(yaml.safe_dump(SEARCH))


def seconds(home: Path, workers: int) -> float:
    """Time of a whole search."""
    run = home / f"run-{workers}"
    words = [
        "--config", str(home / "train.yaml"), "--data.ifos=[H1,L1]", f"--data.data_dir={home}",
        f"--trainer.logger.save_dir={run}", "--tune.config", str(home / "tune.yaml"),
        f"--tune.num_workers={workers}", *(f"--data.{k}={v}" for k, v in PREPROCESSING.items()),
    ]  # fmt: skip
    begun = time.monotonic()
    with contextlib.redirect_stderr(io.StringIO()):
        status = search(words)
    taken = time.monotonic() - begun
    trials = json.loads((run / "trials.json").read_text())["trials"]
    if status or [trial["status"] for trial in trials] != TRIALS * ["finished"]:
        raise SystemExit(f"the search with {workers} workers ended with status {status}")
    return taken


def main() -> None:
    """Compare two workers with one."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        write(Path(name))
        two, one = (seconds(Path(name), workers) for workers in (2, 1))
    print(f"{TRIALS} trials: {two:.0f} s on two workers, {one:.0f} s on one, ratio {one / two:.2f}")


if __name__ == "__main__":
    main()
