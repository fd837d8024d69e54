"""A step in a real image, by a real Apptainer, where there are both.

Needs `apptainer` on PATH and, in `AFRAME_TEST_BASE_IMAGE`, an image with Python 3.11, venv
and git to start from; building takes a minute and the package index.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aframe.artifacts.record import input_digest

CHECKOUT = Path(__file__).parents[2]
STAND_IN = CHECKOUT / "tests" / "tasks" / "stub_stage.py"
LAW = Path(sys.executable).with_name("law")
BASE = os.environ.get("AFRAME_TEST_BASE_IMAGE", "")
#: As the projects' own definition files, but for what a stage brings along.
DEFINITION = f"""
Bootstrap: localimage
From: {BASE}

%files
    {CHECKOUT}/pyproject.toml /opt/aframe/pyproject.toml
    {CHECKOUT}/README.md /opt/aframe/README.md
    {CHECKOUT}/aframe /opt/aframe/aframe
    {CHECKOUT}/projects/train/config.yaml /opt/aframe/projects/train/config.yaml
    {STAND_IN} /opt/stub_stage.py

%post
    python3 -m venv /opt/env
    /opt/env/bin/pip install --quiet --no-cache-dir --editable /opt/aframe
    printf '#!/bin/sh\\nexec /opt/env/bin/python /opt/stub_stage.py train "$@"\\n' \\
        > /opt/env/bin/aframe-train
    chmod +x /opt/env/bin/aframe-train
    # The projects' packages are not here, nor are their versions asked for.
    mkdir /opt/env/lib/python3.11/site-packages/aframe_train-0.dist-info
    printf 'Metadata-Version: 2.1\\nName: aframe-train\\nVersion: 0\\n' \\
        > /opt/env/lib/python3.11/site-packages/aframe_train-0.dist-info/METADATA

%environment
    export PATH=/opt/env/bin:$PATH

%runscript
    exec "$@"
"""

pytestmark = [
    pytest.mark.skipif(shutil.which("apptainer") is None, reason="no apptainer on PATH"),
    pytest.mark.skipif(not Path(BASE).is_file(), reason="AFRAME_TEST_BASE_IMAGE names no image"),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image of a stand-in stage."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "apptainer.def").write_text(DEFINITION)
    words = ["apptainer", "build", "train.sif", "apptainer.def"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "train.sif"


@pytest.fixture
def train(image, tmp_path):
    """Train in the image; gives the folder of the training."""
    data = tmp_path / "data"
    (data / "background").mkdir(parents=True)
    for name in (
        "background/background-0-64.hdf5",
        "training_waveforms.hdf5",
        "val_waveforms.hdf5",
    ):
        (data / name).write_text(name)
    (tmp_path / "train.yaml").write_text("model: small\n")

    def run(*words, **more):
        own = {n: v for n, v in os.environ.items() if not n.startswith(("AFRAME_", "LAW_"))}
        done = subprocess.run(
            [
                LAW, "run", "aframe.Train", "--image", image, "--data-dir", data,
                "--run-dir", tmp_path / "training", "--config", tmp_path / "train.yaml", *words,
            ],
            env={
                **own,
                "STUB_CALLS": str(tmp_path / "calls"),
                "STUB_CHECKS": str(tmp_path / "checks"),
                **more,
            },
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done, tmp_path / "training"

    return run


def _record(training):
    return json.loads((training / "fit.record.json").read_text())


def test_a_step_runs_in_its_image(train):
    """The program is the image's own, its inputs and outputs are the user's."""
    done, training = train()

    assert done.returncode == 0, done.stderr
    assert "Train | train fit at work" in done.stderr
    assert (training / "model.pt").read_text().startswith("model.pt of ")
    record = _record(training)
    assert set(record["inputs"]) == {
        "background", "training_waveforms", "validation_waveforms", "train_config",
    }  # fmt: skip
    # The image holds no repository to name a commit of.
    assert record["git"] == ""


def test_the_configuration_in_the_image_is_the_preset(train):
    """What the guide gives as --config is in the image, though not on this machine."""
    done, training = train("--config", "/opt/aframe/projects/train/config.yaml")

    assert done.returncode == 0, done.stderr
    preset = CHECKOUT / "aframe" / "pipelines" / "configs" / "bbh.yaml"
    assert _record(training)["inputs"]["train_config"] == input_digest(preset)


def test_dev_runs_the_code_at_hand(train):
    """With `--dev` the checkout, and so its commit, is what runs in the image."""
    done, training = train("--dev")

    assert done.returncode == 0, done.stderr
    head = subprocess.run(
        ["git", "-C", CHECKOUT, "rev-parse", "--short=12", "HEAD"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert _record(training)["git"].removesuffix("+changes") == head.stdout.strip()


def test_a_failure_in_the_image_is_told(train):
    """The last lines, the command and the log are those of a step outside."""
    done, training = train(STUB_FAIL="train fit")
    failure = json.loads((training / "logs" / "fit.failure.json").read_text())

    assert done.returncode == 1
    assert "ERROR: failed: Train\n  cause      " in done.stderr
    assert failure["command"].startswith("apptainer run --bind ")
    assert "Traceback" not in done.stderr
