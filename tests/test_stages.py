"""The seam: which command runs a stage, in an image or not, and what is left when it fails."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest

from aframe import checkout, images, stages
from aframe.errors import AframeError
from aframe.stages import Stage, Step

CHECKOUT = Path(__file__).parents[1]
#: Shows its words and the environment that it was given.
SHOW_SCRATCH = "#!/bin/sh\necho TMPDIR=$TMPDIR\n"
SHOW = '#!/bin/sh\necho "$0 $@"\nenv | grep -E "AFRAME|CUDA" | sort\n'
#: Stands for `apptainer run [options] image command …`: tells its words, then runs the command in
#: the environment that it would have; and for `apptainer inspect`, of an image without labels.
APPTAINER = f"""#!{sys.executable}
import json, os, shlex, sys
from pathlib import Path

words = sys.argv[1:]
if words[0] == "inspect":
    sys.exit(1)
Path(os.environ["CALLS"]).write_text(json.dumps(words))
image = next(place for place, word in enumerate(words) if word.endswith(".sif"))
prefix = "APPTAINERENV_"
inside = {{k.removeprefix(prefix): v for k, v in os.environ.items() if k.startswith(prefix)}}
given = [words[place + 1] for place, word in enumerate(words[:image]) if word == "--env"]
if "APPTAINER_ENV_FILE" in os.environ:
    given += shlex.split(Path(os.environ["APPTAINER_ENV_FILE"]).read_text())
inside.update(each.split("=", 1) for each in given)
os.execvpe(words[image + 1], words[image + 1 :], {{"PATH": os.environ["PATH"], **inside}})
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A folder that is all of PATH but the system's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    # Lightning sets a variable of this name in a process that imports it.
    for name in [name for name in os.environ if name.startswith("AFRAME_") or "CUDA" in name]:
        monkeypatch.delenv(name)
    for name in [*images.private(os.environ), *images.shown(os.environ), "TMPDIR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(stages, "_told", set())
    return folder


def _program(folder, name, text):
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def apptainer(commands, tmp_path, monkeypatch):
    """A stand-in for Apptainer; gives the words that it was called with."""
    _program(commands, "apptainer", APPTAINER)
    monkeypatch.setenv("CALLS", str(tmp_path / "apptainer.json"))
    return lambda: json.loads((tmp_path / "apptainer.json").read_text())


@pytest.fixture
def image(tmp_path):
    """An image, as far as a stand-in looks."""
    path = tmp_path / "images" / "train.sif"
    path.parent.mkdir()
    path.touch()
    return path


@pytest.fixture
def settings(tmp_path):
    """Settings whose files are spread over folders, some of which are not here."""
    folders = {name: tmp_path / name for name in ("out", "strain", "waveforms", "frames", "psds")}
    for folder in folders.values():
        folder.mkdir()
    (folders["strain"] / "background").mkdir()
    return {
        "highpass": 32.0,
        "source": {
            "paths": [f"{folders['frames']}/*/H-*.gwf", "relative/*.gwf"],
            "psds": {"H1": f"{folders['psds']}/h1.txt", "L1": "aLIGOO3LowT1800545"},
        },
        "inputs": {
            "background": f"{folders['strain']}/background",
            "waveforms": f"{folders['waveforms']}/train.hdf5",
            "train_config": "/opt/aframe/projects/train/config.yaml",
            "zero_lag": None,
        },
        "output": str(folders["out"]),
        "resources": {"workers": 1, "records": [f"{tmp_path}/records/fetch.record.json"]},
    }


def _run(stage, settings, **options):
    stage.run("fit", settings, label="Train", **{"remake": False, **options})


def test_runs_the_command_on_path(commands, settings, capsys):
    """Without an image the stage's own program runs, on a file of its settings."""
    program = _program(commands, "aframe-train", SHOW)
    _run(Stage("train"), settings)
    logs = Path(settings["output"]) / "logs"
    words = f"{program} fit --config {logs}/fit.settings.json"

    assert json.loads((logs / "fit.settings.json").read_text()) == settings
    assert (logs / "fit.log").read_text() == f"$ {words}\n{words}\n"
    first, second, last = capsys.readouterr().err.splitlines()
    assert (first, second) == (f"Train | {words}", f"Train | {words}")
    assert last.startswith("Train | done in ")


def test_runs_the_command_beside_this_python(commands, settings, monkeypatch, tmp_path):
    """An environment that is not activated has its commands beside its Python."""
    beside = tmp_path / "environment"
    beside.mkdir()
    program = _program(beside, "aframe-train", SHOW)
    monkeypatch.setattr(sys, "executable", str(beside / "python"))

    assert Stage("train").command("fit", Path("s.json"), [])[0] == str(program)


def test_remake_reaches_the_stage(commands, settings, capsys):
    """The one option besides the settings."""
    _program(commands, "aframe-train", SHOW)
    _run(Stage("train"), settings, remake=True)

    assert "fit.settings.json --remake\n" in capsys.readouterr().err


def test_the_gpus_are_those_asked_for_or_the_environments(commands, settings, capsys, monkeypatch):
    """`--gpus` becomes CUDA_VISIBLE_DEVICES; without it, that variable stays as it is."""
    _program(commands, "aframe-train", SHOW)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    _run(Stage("train", gpus="0,1"), settings)
    asked = capsys.readouterr().err
    _run(Stage("train"), settings)

    assert "Train | CUDA_VISIBLE_DEVICES=0,1\n" in asked
    assert "Train | CUDA_VISIBLE_DEVICES=3\n" in capsys.readouterr().err


def test_the_command_line_of_an_image(commands, apptainer, image, settings, tmp_path):
    """The image sees the folders of output, inputs and records, and GPUs where some are asked."""
    _program(commands, "aframe-train", SHOW)
    (tmp_path / "records").mkdir()
    _run(Stage("train", image, gpus="0"), settings)
    folders = sorted(
        str(tmp_path / n) for n in ("frames", "out", "psds", "records", "strain", "waveforms")
    )
    home = f"{tmp_path}/.cache/aframe/home"

    assert apptainer() == [
        *("run", "--cleanenv", "--no-eval", "--no-mount", "cwd", "--home", home, "--pwd", home),
        *("--nv", "--env", "CUDA_VISIBLE_DEVICES=0"),
        *(word for folder in folders for word in ("--bind", folder)),
        *(str(image), "aframe-train", "fit"),
        *("--config", f"{settings['output']}/logs/fit.settings.json"),
    ]
    assert Path(home).is_dir()


def test_what_lies_in_a_folder_is_bound_with_it(commands, apptainer, image, settings):
    """A folder that is bound by itself could not be renamed."""
    _program(commands, "aframe-train", SHOW)
    below = Path(settings["output"]) / "data"
    below.mkdir()
    _run(Stage("train", image), {**settings, "inputs": {"background": str(below / "x.hdf5")}})

    assert settings["output"] in apptainer()
    assert str(below) not in apptainer()


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "pa$$w`or`d 'x\"",
    "WANDB_API_KEY": "0123abcd",
    "NDSSERVER": "n",
}


def test_secrets_reach_the_image_by_a_file_alone(
    commands, apptainer, image, settings, capsys, monkeypatch, tmp_path
):
    """They stand on no command line, and in no file that is left: log, settings, failure."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    program = "#!/bin/sh\nenv > $1; tr '\\0' ' ' < /proc/$PPID/cmdline >&2; exit 1\n"
    _program(commands, "aframe-train", program.replace("$1", str(tmp_path / "there")))
    with pytest.raises(AframeError, match="step Train failed"):
        _run(Stage("train", image), settings)
    there = dict(line.split("=", 1) for line in (tmp_path / "there").read_text().splitlines())
    shown = [capsys.readouterr().err, json.dumps(apptainer())]
    left = [path.read_text() for path in Path(settings["output"]).rglob("*") if path.is_file()]

    assert {name: there[name] for name in SECRETS} == SECRETS
    assert len(left) == 3
    assert not [text for text in (*shown, *left) for name in list(SECRETS)[:2]
                if SECRETS[name] in text or name in text]  # fmt: skip


def test_secrets_reach_the_image_when_steps_are_looked_through(
    commands, apptainer, image, settings, monkeypatch, tmp_path
):
    """A stage may have to ask a store, then as well."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    _program(commands, "aframe-train", f"#!/bin/sh\necho $AWS_SECRET_ACCESS_KEY > {tmp_path}/x\n")
    Stage("train", image).refuse_wrong([Step("Train", "fit", settings)])

    assert (tmp_path / "x").read_text() == "secret\n"


def test_weights_and_biases_is_the_trainings_alone(
    commands, apptainer, image, settings, monkeypatch, tmp_path
):
    """No other stage gets its key."""
    monkeypatch.setenv("WANDB_API_KEY", "0123abcd")
    _program(commands, "aframe-sv", f"#!/bin/sh\nenv > {tmp_path}/there\n")
    _run(Stage("sv", image), settings)

    assert "WANDB" not in (tmp_path / "there").read_text()


def test_files_of_credentials_are_seen_to_be_read(commands, apptainer, image, settings, tmp_path):
    """They lie in the user's home, which the image does not see."""
    _program(commands, "aframe-sv", f"#!/bin/sh\nenv > {tmp_path}/there\n")
    credentials = tmp_path / ".aws" / "credentials"
    credentials.parent.mkdir()
    credentials.touch()
    _run(Stage("sv", image), settings)

    assert f"{credentials}:{credentials}:ro" in apptainer()
    assert f"AWS_SHARED_CREDENTIALS_FILE={credentials}\n" in (tmp_path / "there").read_text()


def test_nothing_else_of_the_environment_reaches_the_image(
    commands, apptainer, image, settings, monkeypatch, tmp_path
):
    """Neither the user's Python packages nor our own variables, which are paths of this side."""
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "AFRAME_RESULTS_DIR", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "/mine")
    _program(commands, "aframe-train", f"#!/bin/sh\nenv > {tmp_path}/there\n")
    _run(Stage("train", image), settings)

    assert "/mine" not in (tmp_path / "there").read_text()


def test_the_cache_of_s3_is_the_users_own(commands, apptainer, image, settings, capsys, tmp_path):
    """The home in the image is another, so it is told where the cache lies."""
    _program(commands, "aframe-train", SHOW)
    cache = tmp_path / ".cache" / "aframe"
    cache.mkdir(parents=True)
    _run(Stage("train", image), {**settings, "inputs": {"background": "s3://b/background"}})

    assert f"Train | AFRAME_CACHE_DIR={cache}\n" in capsys.readouterr().err
    assert str(cache) in apptainer()


def test_relative_paths_are_seen_from_the_present_folder(
    commands, apptainer, image, monkeypatch, tmp_path
):
    """Files and patterns, but not the names of curves; else the image works in its home."""
    monkeypatch.chdir(tmp_path)
    for folder in ("frames", "out", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "frames" / "H-1.gwf").touch()
    source = {"paths": ["frames/H-*.gwf"], "psds": {"H1": "aLIGOO3LowT1800545"}}
    settings = {"output": str(tmp_path / "out"), "source": source}
    _program(commands, "aframe-train", SHOW)
    _run(Stage("train", image), settings)
    words = apptainer()

    assert stages.folders_of(settings) == [tmp_path / "frames", tmp_path / "out"]
    assert words[words.index("--pwd") + 1] == str(tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    _run(Stage("train", image), {"output": str(tmp_path / "out")})
    words = apptainer()
    assert words[words.index("--pwd") + 1] == words[words.index("--home") + 1]


def test_frames_are_seen_where_sites_keep_them(monkeypatch, tmp_path):
    """GWDataFind's answer names them only when it is asked, in the image."""
    monkeypatch.setattr(stages, "_FRAMES", (str(tmp_path / "cvmfs"), str(tmp_path / "hdfs")))
    (tmp_path / "cvmfs").mkdir()
    (tmp_path / "out").mkdir()
    asked = {"output": str(tmp_path / "out"), "source": {"kind": "datafind"}}
    downloaded = {**asked, "source": {"kind": "datafind", "urltype": "https"}}

    assert stages.folders_of(asked) == [tmp_path / "cvmfs", tmp_path / "out"]
    assert stages.folders_of(downloaded) == [tmp_path / "out"]


def test_an_image_without_gpus(commands, apptainer, image, settings, monkeypatch):
    """No GPU asked for and none in the environment: no driver is bound."""
    _program(commands, "aframe-train", SHOW)
    _run(Stage("train", image), settings)
    without = apptainer()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    _run(Stage("train", image), settings)

    assert "--nv" not in without
    assert "--nv" in apptainer()
    assert "CUDA_VISIBLE_DEVICES=0" in apptainer()


def test_dev_binds_the_checkout_over_the_images_code(commands, apptainer, image, settings):
    """What runs in the image is the code at hand."""
    _program(commands, "aframe-train", SHOW)
    _run(Stage("train", image, dev=True), settings)
    words = apptainer()

    assert words[words.index(str(image)) - 1] == f"{CHECKOUT}:/opt/aframe"


def test_the_commit_at_hand_reaches_the_image_it_is_bound_over(
    commands, apptainer, image, settings, capsys, monkeypatch
):
    """The image may have no git to ask."""
    _program(commands, "aframe-train", SHOW)
    monkeypatch.setattr(stages, "commit", lambda: "0123456789ab+changes")
    _run(Stage("train", image, dev=True), settings)
    dev = capsys.readouterr().err
    _run(Stage("train", image), settings)

    assert "Train | AFRAME_COMMIT=0123456789ab+changes\n" in dev
    assert "AFRAME_COMMIT" not in capsys.readouterr().err


def test_scratch_is_made_and_is_the_stages_own(commands, settings, capsys, tmp_path):
    """TMPDIR of the command is the folder that is named, made when needed."""
    _program(commands, "aframe-train", SHOW_SCRATCH)
    _run(Stage("train", scratch=tmp_path / "run" / "tmp"), settings)

    assert f"Train | TMPDIR={tmp_path}/run/tmp\n" in capsys.readouterr().err
    assert (tmp_path / "run" / "tmp").is_dir()


def test_without_scratch_the_systems_is_used(commands, settings, capsys, monkeypatch):
    """What the user's environment says of it stays."""
    _program(commands, "aframe-train", SHOW_SCRATCH)
    monkeypatch.setenv("TMPDIR", "/var/tmp")  # noqa: S108 (nothing is written there)
    _run(Stage("train"), settings)

    assert "Train | TMPDIR=/var/tmp\n" in capsys.readouterr().err


def test_scratch_reaches_the_image(commands, apptainer, image, settings, capsys, tmp_path):
    """The folder is bound, and the image's programs are told of it."""
    _program(commands, "aframe-train", SHOW_SCRATCH)
    _run(Stage("train", image, scratch=tmp_path / "scratch"), settings)
    words = apptainer()

    assert f"{tmp_path}/scratch" in words
    assert words[words.index("--home") + 1] == f"{tmp_path}/scratch/home"
    assert f"Train | TMPDIR={tmp_path}/scratch\n" in capsys.readouterr().err


def test_scratch_that_cannot_be_made(commands, settings, tmp_path):
    """A file in the way of the folder is named, and the variable that names it."""
    _program(commands, "aframe-train", SHOW)
    (tmp_path / "file").touch()
    with pytest.raises(AframeError, match="folder for temporary files cannot be made") as caught:
        _run(Stage("train", scratch=tmp_path / "file" / "tmp"), settings)

    assert str(tmp_path / "file") in caught.value.found
    assert caught.value.wanted_by == "AFRAME_TMPDIR for stage 'train'"


def test_a_home_that_cannot_be_made(commands, apptainer, image, settings, tmp_path):
    """It is in the user's cache where no scratch is named, which mends it."""
    (tmp_path / ".cache").touch()
    with pytest.raises(AframeError, match="folder for temporary files cannot be made") as caught:
        _run(Stage("train", image), settings)

    assert caught.value.wanted_by == "the home of stage 'train' in its image"
    assert "AFRAME_TMPDIR" in caught.value.fix


def test_the_systems_scratch_reaches_the_image(
    commands, apptainer, image, settings, capsys, monkeypatch, tmp_path
):
    """The user named a folder, which the image sees as any other."""
    _program(commands, "aframe-train", SHOW_SCRATCH)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "psds"))
    _run(Stage("train", image), settings)

    assert f"{tmp_path}/psds" in apptainer()
    assert f"Train | TMPDIR={tmp_path}/psds\n" in capsys.readouterr().err


def _refused(stage, *, match):
    """The error of planning, which is that of running."""
    with pytest.raises(AframeError, match=match) as caught:
        stage.refuse_missing()
    with pytest.raises(AframeError, match=match):
        stage.command("fit", Path("/run/logs/fit.settings.json"), [])
    return caught.value


def test_what_is_there_is_not_refused(commands, apptainer, image):
    """A command that is installed, or an image with the checkout to bind over its code."""
    _program(commands, "aframe-train", SHOW)

    Stage("train").refuse_missing()
    Stage("train", image, dev=True).refuse_missing()


def test_a_command_that_is_not_installed(commands, monkeypatch):
    """The error says how to install it."""
    monkeypatch.setattr(sys, "executable", "/nowhere/bin/python")
    error = _refused(Stage("train"), match="the command of stage 'train' is not installed")

    assert error.found == "no aframe-train on PATH nor beside /nowhere/bin/python"
    assert "./projects/train" in error.fix


def test_an_image_that_is_missing(apptainer, tmp_path):
    """The error says which command builds it."""
    missing = tmp_path / "train.sif"
    error = _refused(Stage("train", missing), match="no container image for stage 'train'")

    assert error.found == f"{missing} does not exist"
    assert error.wanted_by == "--image, --container-root or AFRAME_CONTAINER_ROOT"
    assert error.fix == f"build-containers train --root {tmp_path}"


def test_apptainer_that_is_missing(commands, image, monkeypatch):
    """An image is of no use without Apptainer."""
    monkeypatch.setenv("PATH", str(commands))
    error = _refused(Stage("train", image), match="Apptainer is not installed")

    assert error.wanted_by == f"the image {image}"


def test_dev_without_a_checkout(apptainer, image, monkeypatch, tmp_path):
    """An installed aframe has no projects to bind."""
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "site-packages/aframe/checkout.py"))
    error = _refused(Stage("train", image, dev=True), match="there is no checkout")

    assert error.found == f"{tmp_path}/site-packages has no projects"
    assert error.wanted_by == "--dev"


def test_an_image_of_other_code_is_told_once(commands, apptainer, image, capsys, monkeypatch):
    """With what mends it, and nothing where the code at hand runs in it anyway."""
    monkeypatch.setattr(images, "outdated", lambda *_: "the image is old")
    Stage("train", image, dev=True).refuse_missing()
    assert capsys.readouterr().err == ""

    Stage("train", image).refuse_missing()
    Stage("train", image, gpus="0").refuse_missing()
    assert capsys.readouterr().err == (
        f"WARNING: the image is old; `build-containers train --root {image.parent}` builds it "
        "anew, --dev runs the code at hand in it\n"
    )


def test_an_image_of_the_code_at_hand_is_not_told(commands, apptainer, image, capsys, monkeypatch):
    """There is nothing to say."""
    monkeypatch.setattr(images, "outdated", lambda *_: None)
    Stage("train", image).refuse_missing()

    assert capsys.readouterr().err == ""


def test_a_failure_leaves_its_record(commands, settings, capsys):
    """The error shows the last lines, the command that repeats the step, and where its log is."""
    program = _program(commands, "aframe-train", "#!/bin/sh\nseq 1 100\nexit 3\n")
    with pytest.raises(AframeError, match="step Train failed") as caught:
        _run(Stage("train"), settings)
    logs = Path(settings["output"]) / "logs"
    record = json.loads((logs / "fit.failure.json").read_text())
    command = f"{program} fit --config {logs}/fit.settings.json"

    assert caught.value.found.split() == [
        *["exit", "status", "3;", "its", "last", "lines:"], "95", "96", "97", "98", "99", "100",
    ]  # fmt: skip
    assert caught.value.wanted_by == record["command"] == command
    assert str(logs / "fit.log") in caught.value.fix
    assert (record["step"], record["ended"]) == ("Train", "exit status 3")
    assert record["last_lines"] == [str(n) for n in range(61, 101)]
    assert capsys.readouterr().err.count("Train | ") == 101


@pytest.mark.parametrize(
    ("status", "branch"),
    [
        ('{"state": "failed", "branch": "files 12", "started": 9e9}', "files 12"),
        ('{"state": "failed", "branch": "files 12", "started": 1}', None),
        ('{"state": "interrupted", "branch": "files 12", "started": 9e9}', None),
        ('{"state": "failed", "started": 9e9}', None),
        ("{", None),
    ],
)
def test_a_failure_names_its_branch(commands, settings, status, branch):
    """Where the status of this very run does."""
    _program(
        commands,
        "aframe-train",
        f"#!/bin/sh\necho '{status}' > {settings['output']}/logs/fit.status.json\nexit 3\n",
    )
    with pytest.raises(AframeError, match="step Train failed") as caught:
        _run(Stage("train"), settings)

    assert caught.value.failure.branch == branch


def test_a_killed_stage_is_named_by_its_signal(commands, settings):
    """A step that the kernel ends for want of memory says SIGKILL."""
    _program(commands, "aframe-train", "#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(AframeError, match="step Train failed") as caught:
        _run(Stage("train"), settings)

    assert caught.value.found.startswith("SIGKILL; its last lines:")


def test_a_log_that_cannot_be_sent_to_s3_stays_here(
    commands, settings, tmp_path, monkeypatch, capfd
):
    """It is said where; the step has not failed for that."""
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "cache"))
    given = {"ENDPOINT_URL": "http://127.0.0.1:9", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**given, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    _program(commands, "aframe-train", SHOW)

    _run(Stage("train"), {**settings, "output": "s3://bucket/training"})

    said = capfd.readouterr().err
    (log,) = (tmp_path / "cache").rglob("fit.log")
    told = "the log could not be sent to s3://bucket/training (the store cannot be reached)"
    assert f"{told}: it is {log}\n" in said
    assert "done in" in said


def test_success_removes_the_failure(commands, settings):
    """A step that was mended leaves no sign of its failure."""
    _program(commands, "aframe-train", "#!/bin/sh\nexit 1\n")
    with pytest.raises(AframeError, match="step Train failed"):
        _run(Stage("train"), settings)
    _program(commands, "aframe-train", SHOW)
    _run(Stage("train"), settings)

    assert not (Path(settings["output"]) / "logs" / "fit.failure.json").exists()


def test_what_a_stage_prints_may_be_no_text(commands, settings, capfd):
    """Bytes that are no UTF-8 are shown as what they are not, and stop nothing."""
    _program(commands, "aframe-train", "#!/bin/sh\nprintf 'a\\377b\\n'\n")
    _run(Stage("train"), settings)

    assert "Train | a\ufffdb\n" in capfd.readouterr().err


def test_an_image_sees_where_data_of_s3_are_kept(monkeypatch, tmp_path):
    """The cache, and in it the directory that stands for an output there."""
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path))
    (tmp_path / "b" / "run").mkdir(parents=True)
    settings = {"output": "s3://b/run", "inputs": {"background": "s3://b/data", "events": None}}

    assert stages.folders_of(settings) == [tmp_path, tmp_path / "b" / "run"]


@pytest.mark.parametrize(
    "definition",
    sorted(CHECKOUT.glob("projects/*/apptainer.def")),
    ids=lambda path: path.parent.name,
)
def test_an_image_has_its_code_where_dev_binds_it(definition):
    """The code is installed from where it lies, which a copy in site-packages would hide."""
    text = definition.read_text()

    assert f"aframe {stages.CODE_IN_IMAGE}/aframe\n" in text
    assert re.search(r"pip install [^\n]*(\\\n[^\n]*)* (-e|--editable) '\.\[s3\]' ", text)
    assert re.search(rf"(-e|--editable) '\./projects/{definition.parent.name}[^\n]*\n", text)


def test_all_images_are_built_in_one_way():
    """A recipe is that of any other stage, but for the name, more files, and what is installed."""
    definitions = sorted(CHECKOUT.glob("projects/*/apptainer.def"))
    of_training = r"    (train|config.yaml) /opt/aframe/projects/train/(train|config.yaml)\n"

    def as_any(path):
        text = re.sub(of_training, "", path.read_text()).replace("    export ", "    set ")
        text = re.sub(r"(projects/\w+)\[[\w,]+\]", r"\1", text)
        return re.sub(rf"(?<![a-z]){path.parent.name}(?![a-z])", "stage", text)

    texts = {as_any(path) for path in definitions}

    assert len(definitions) == 5
    assert len(texts) == 1


@pytest.mark.parametrize("stage", checkout.STAGES)
def test_an_image_gets_what_its_stage_installs(stage):
    """Every package of the project is copied, and each name stays where the checkout has it."""
    folder = CHECKOUT / "projects" / stage
    text = (folder / "apptainer.def").read_text()
    copied = dict(re.findall(r"^    (\S+) /opt/aframe/(\S+)$", text, re.MULTILINE))
    packages = tomllib.loads((folder / "pyproject.toml").read_text())
    packages = packages["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert set(packages) <= copied.keys()
    for source, name in copied.items():
        assert Path(os.path.normpath(folder / source)) == CHECKOUT / name
        assert (folder / source).exists()


#: A stage that answers, to what it is asked, with what it was asked and by which environment.
ANSWER = f"""#!{sys.executable}
import json, sys

verb, settings = json.load(sys.stdin)[1]
print("a library's remark")
told = {{"found": " ".join(sys.argv[1:]), "wanted_by": verb, "fix": settings["output"]}}
print(json.dumps({{"step": 1, "problem": "wrong", **told}}))
sys.exit(2)
"""


def test_a_stage_refuses_one_of_its_steps(commands, settings):
    """It reads all of them, and tells which it refuses."""
    _program(commands, "aframe-train", ANSWER)
    steps = [Step("Good", "fit", settings), Step("Bad", "tune", settings)]

    with pytest.raises(AframeError, match=r"^wrong\b") as caught:
        Stage("train").refuse_wrong(steps)
    told = caught.value
    assert (told.found, told.wanted_by, told.fix) == ("check", "tune, for Bad", settings["output"])


def test_a_stage_in_an_image_sees_what_its_steps_name(commands, apptainer, image, settings):
    """The folders of the steps are bound, as when they run."""
    _program(commands, "aframe-train", "#!/bin/sh\nexit 0\n")
    Stage("train", image).refuse_wrong([Step("Train", "fit", settings)])

    words = apptainer()
    assert words[-2:] == ["aframe-train", "check"]
    assert settings["inputs"]["background"].rpartition("/")[0] in words


def test_a_stage_that_cannot_look_is_named(commands, settings):
    """A command of another version, or one that fell over."""
    _program(commands, "aframe-train", "#!/bin/sh\necho no such verb >&2; exit 2\n")

    with pytest.raises(AframeError, match="stage 'train' cannot look through its steps") as caught:
        Stage("train").refuse_wrong([Step("Train", "fit", settings)])
    assert "no such verb" in caught.value.found
