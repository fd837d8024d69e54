"""Training by itself, with the options of the reference's guide, in an image or not."""

import json
import subprocess
from pathlib import Path

import pytest

from aframe.errors import AframeError
from aframe.tasks import Report, Train, TrainLocal

#: Stands for `apptainer run [options] image command …`, and knows of no labels.
APPTAINER = """#!/bin/sh
echo "$@" > "$STUB_APPTAINER"
[ "$1" = run ] || exit 1
while [ "${1%.sif}" = "$1" ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def data(tmp_path):
    """Somebody's own strain and waveforms."""
    folder = tmp_path / "my data"
    (folder / "background").mkdir(parents=True)
    for name in (
        "background/background-0-64.hdf5",
        "training_waveforms.hdf5",
        "val_waveforms.hdf5",
    ):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def law(empty):
    """Run a task from outside any run directory, without a configuration file."""
    environment = empty.environment(apptainer=empty.directory / "apptainer")
    for name in [n for n in environment if n.startswith(("AFRAME_", "LAW_", "CUDA"))]:
        del environment[name]

    def run(task, *words, **more):
        return subprocess.run(
            ["law", "run", task, *map(str, words)],
            env={**environment, **more},
            cwd=empty.directory.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("task", ["aframe.Train", "aframe.TrainLocal", "aframe.tasks.TrainLocal"])
def test_data_of_ones_own_need_no_other_step(law, empty, data, task):
    """With `--data-dir` the training runs alone, on what lies there."""
    run = empty.directory / "my-first-luigi-run"
    done = law(
        task, "--gpus", "0", "--config", empty.directory / "train.yaml", "--data-dir", data,
        "--run-dir", run, "--use-wandb", "--wandb-name", "my-first-luigi-run",
    )  # fmt: skip
    settings = json.loads((run / "logs" / "fit.settings.json").read_text())

    assert done.returncode == 0, done.stderr
    assert empty.calls() == ["train fit in my-first-luigi-run"]
    assert settings["inputs"] == {
        "background": f"{data}/background",
        "training_waveforms": f"{data}/training_waveforms.hdf5",
        "validation_waveforms": f"{data}/val_waveforms.hdf5",
        "train_config": f"{empty.directory}/train.yaml",
        "glitches": None,
    }
    assert settings["resources"]["use_wandb"] is True
    assert settings["resources"]["wandb_name"] == "my-first-luigi-run"
    assert (run / "model.pt").exists()


def test_where_it_logs_makes_no_other_training(law, empty, data):
    """Weights & Biases, GPUs and processes are how, not what: a finished training stays."""
    words = ("aframe.Train", "--data-dir", data, "--run-dir", empty.directory / "training")
    law(*words)
    empty.calls()
    again = law(*words, "--use-wandb", "True", "--gpus", "1", "--processes", "3")

    assert again.returncode == 0, again.stderr
    assert empty.calls() == []


def test_paths_are_relative_to_where_the_command_is_typed(law, empty, data):
    """Relative folders are those that the user sees."""
    done = law("aframe.Train", "--data-dir", data.name, "--run-dir", "run/mine")

    assert done.returncode == 0, done.stderr
    assert empty.calls() == ["train fit in mine"]


def test_a_table_of_glitches_counts(law, empty, data):
    """As an input: relative to where the command is typed, and noticed when it changes."""
    table = empty.directory.parent / "glitches.csv"
    table.write_text("ifo,event_time\nH1,20\n")
    words = ("aframe.Train", "--data-dir", data.name, "--run-dir", "run")
    first = law(*words, "--glitch-table", table.name)
    settings = json.loads((table.parent / "run" / "logs" / "fit.settings.json").read_text())
    table.write_text("ifo,event_time\nH1,21\n")
    done = law(*words, "--glitch-table", table.name)

    assert first.returncode == 0, first.stderr
    assert settings["inputs"]["glitches"] == str(table)
    assert done.returncode == 2
    assert "found      input glitches: its content changed" in done.stderr


def test_data_and_run_may_lie_on_s3(monkeypatch, tmp_path):
    """The stage is told the addresses, and the files are named by theirs."""
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path))
    task = TrainLocal(data_dir=Path("s3://mine/data"), run_dir=Path("s3://mine/run"))
    settings = task.settings_file()

    assert Path(settings["inputs"]["background"]) == Path("s3://mine/data/background")
    assert settings["output"] == "s3://mine/run"
    assert task.output()["weights"].path == "s3://mine/run/model.pt"


def test_the_run_directorys_variable_may_be_an_address(bucket, law, empty, data, tmp_path):
    """The training's files are sent there, and are at hand for the next steps."""
    cache, run = tmp_path / "cache", f"{bucket.address}/training"
    done = law(
        "aframe.Train", "--data-dir", data,
        AFRAME_CACHE_DIR=str(cache), AFRAME_TRAIN_RUN_DIR=run,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert bucket.get("training/model.pt").startswith(b"model.pt of ")
    assert (cache / bucket.name / "training" / "model.pt").exists()
    assert not (empty.directory.parent / "s3:").exists()


def test_a_training_of_other_data_is_not_this_one(law, empty, data):
    """Of data by another name, gone or on S3, nobody can say that it was made with them."""
    words = ("aframe.Train", "--run-dir", empty.directory / "training", "--data-dir")
    law(*words, data)
    empty.calls()
    data.rename(data.with_name("gone"))
    same, gone, away = (law(*words, where) for where in (data, "no/such", "s3://mine/data"))

    assert (same.returncode, gone.returncode, away.returncode) == (0, 2, 2), same.stderr
    assert f"/background -> {empty.directory.parent}/no/such/background, not known" in gone.stderr
    assert f"input background: {data}/background -> s3://mine/data/background, not" in away.stderr
    assert empty.calls() == []


def test_configurations_may_lie_on_s3(bucket, law, empty, data, tmp_path):
    """Of a training and of a search, through law; planning a finished one asks no store."""
    for name in ("train", "tune"):
        (tmp_path / name).write_text("{}")
        bucket.put(tmp_path / name, f"{name}.yaml")
    environment = {"AFRAME_CACHE_DIR": str(tmp_path / "cache")}
    for task, name in (("Train", "fit"), ("tasks.TuneTask", "tune")):
        words = [
            f"aframe.{task}", "--data-dir", data, "--run-dir", empty.directory / name,
            "--config", f"{bucket.address}/train.yaml",
        ]  # fmt: skip
        if name == "tune":
            words += ["--tune-config", f"{bucket.address}/tune.yaml"]
        done = law(*words, **environment)
        again = law(*words, **environment, AWS_ENDPOINT_URL="http://127.0.0.1:9")

        assert done.returncode == 0, done.stderr
        assert again.returncode == 0, again.stderr
        assert empty.calls() == [f"train {name} in {name}"]
        record = json.loads((empty.directory / name / f"{name}.record.json").read_text())
        assert record["places"]["train_config"] == f"{bucket.address}/train.yaml"


def test_other_data_make_another_training(law, empty, data):
    """Changed strain is named, and no old weights are taken for its."""
    words = ("aframe.Train", "--data-dir", data, "--run-dir", empty.directory / "training")
    law(*words)
    empty.calls()
    (data / "background" / "background-0-64.hdf5").write_text("other strain")
    done = law(*words)

    assert done.returncode == 2
    assert "found      input background: its content changed" in done.stderr
    assert empty.calls() == []


def test_in_an_image(law, empty, data):
    """`--image` runs the same command in it, with the folders that it must see."""
    run, image = empty.directory / "training", empty.directory / "train.sif"
    image.touch()
    apptainer = empty.directory / "bin" / "apptainer"
    apptainer.parent.mkdir()
    apptainer.write_text(APPTAINER)
    apptainer.chmod(0o755)
    path = ":".join([str(apptainer.parent), empty.environment()["PATH"]])
    done = law(
        "aframe.Train", "--gpus", "0", "--image", image, "--data-dir", data, "--run-dir", run,
        "--config", empty.directory / "train.yaml", PATH=path,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    words = (empty.directory / "apptainer").read_text()
    assert words.startswith("run --cleanenv --no-eval --no-mount cwd --home ")
    assert " --nv --env CUDA_VISIBLE_DEVICES=0 " in words
    assert f" --bind {empty.directory} " in words
    assert words.endswith(f" {image} aframe-train fit --config {run}/logs/fit.settings.json\n")
    assert empty.calls() == ["train fit in training"]
    assert done.stderr.count(f"WARNING: the image {image} does not say which code it holds") == 1


def test_the_image_of_a_folder_of_images(shared, monkeypatch, tmp_path):
    """`--container-root`, or its variable, holds one image a stage; `--image` comes first."""
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", str(tmp_path / "images"))

    assert TrainLocal().where.image == tmp_path / "images" / "train.sif"
    assert TrainLocal(container_root="/other").where.image.as_posix() == "/other/train.sif"
    assert TrainLocal(image="/mine.sif").where.image.as_posix() == "/mine.sif"
    assert TrainLocal(image="mine.sif").where.image == tmp_path / "images" / "mine.sif"
    assert TrainLocal(image="/mine.sif").requires()["strain"].where.image.name == "data.sif"


def test_a_missing_image_is_refused(law, empty, data):
    """Before anything runs, with the command that builds the image."""
    done = law("aframe.Train", "--image", "/no/train.sif", "--data-dir", data, "--run-dir", "run/x")

    assert done.returncode == 2
    assert not (empty.directory / "x").exists()
    assert "ERROR: no container image for stage 'train'" in done.stderr
    assert "fix        build-containers train --root /no\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_relative_image_without_a_folder_is_refused(law, empty, data):
    """It is not taken for the default image, nor for no image."""
    done = law("aframe.Train", "--image", "train.sif", "--data-dir", data, "--run-dir", "run/x")

    assert done.returncode == 2
    assert "ERROR: it is not known where the image lies" in done.stderr
    assert empty.calls() == []


def test_a_remote_training_is_refused(law, data):
    """There is no site for it yet, and the option is not ignored."""
    done = law("aframe.Train", "--data-dir", data, "--train-remote")

    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == [
        "ERROR: no remote site is set up for training",
        "  found      --train-remote",
    ]


def test_a_source_without_noise_is_refused(law, tmp_path):
    """Before the training's own steps begin."""
    source = '{"kind": "simulated", "psds": {}}'
    done = law("aframe.Train", "--run-dir", tmp_path / "x", "--FetchTrain-source", source)

    assert done.returncode == 2
    assert done.stderr.startswith("ERROR: a detector has no noise curve\n")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("folder", ["", "/mine"])
def test_waveforms_made_in_training_need_no_ledger(shared, folder):
    """No task makes one, and the stage is told that there is none."""
    task = TrainLocal(on_the_fly=True, data_dir=Path(folder) if folder else None)

    assert "training" not in task.requires()
    assert task.settings_file()["inputs"]["training_waveforms"] is None
    assert task.settings_file()["inputs"]["validation_waveforms"].endswith("val_waveforms.hdf5")


def test_the_report_shows_the_strain_that_was_trained_on(shared):
    """Also one's own, in a folder that no step of the run makes."""
    shared["data_dir"] = "/mine"

    assert Report().inputs()["train_background"] == Path("/mine/background")


def test_the_data_that_it_needs(shared, tmp_path):
    """Without `--data-dir`, strain and waveforms come from the data tasks."""
    task = TrainLocal(highpass=25.0, ifos=("L1",), sample_rate=1024.0)
    required = task.requires()

    assert {name: type(step).__name__ for name, step in required.items()} == {
        "strain": "FetchTrain",
        "training": "TrainingWaveforms",
        "validation": "ValidationWaveforms",
    }
    # The band and the detectors are one truth for all.
    assert required["validation"].highpass == 25.0
    assert required["strain"].ifos == ("L1",)
    assert {step.sample_rate for step in required.values()} == {1024.0}
    assert task.inputs()["background"] == tmp_path / "data/train/background"
    assert task.directory == tmp_path / "training"


def test_a_band_beyond_nyquist_is_refused():
    """Training by itself checks its own band."""
    with pytest.raises(AframeError, match="lowpass is not between zero and the Nyquist frequency"):
        Train(lowpass=2000.0, data_dir=Path("/data"))


def test_a_remote_training_is_refused_in_python_too():
    """The option is not ignored."""
    with pytest.raises(AframeError, match="no remote site is set up for training"):
        Train(train_remote=True, data_dir=Path("/data"))


def test_data_of_ones_own_in_python(tmp_path):
    """`data_dir` stands for what the data tasks would make."""
    task = Train(data_dir=tmp_path)

    assert task.requires() == {}
    assert task.inputs()["validation_waveforms"] == tmp_path / "val_waveforms.hdf5"
