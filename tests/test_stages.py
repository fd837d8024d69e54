"""The seam: which command runs a stage, in an image or not, and what is left when it fails."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from aframe import stages
from aframe.errors import AframeError
from aframe.stages import Stage, Step

CHECKOUT = Path(__file__).parents[1]
#: Shows its words and the environment that it was given.
SHOW_SCRATCH = "#!/bin/sh\necho TMPDIR=$TMPDIR\n"
SHOW = '#!/bin/sh\necho "$0 $@"\nenv | grep -E "AFRAME|CUDA" | sort\n'
#: Stands for `apptainer run [options] image command …`: tells its words, then runs the command.
APPTAINER = f"""#!{sys.executable}
import json, os, sys
from pathlib import Path

Path(os.environ["CALLS"]).write_text(json.dumps(sys.argv[1:]))
words = sys.argv[1:]
image = next(place for place, word in enumerate(words) if word.endswith(".sif"))
prefix = "APPTAINERENV_"
inside = {{k.removeprefix(prefix): v for k, v in os.environ.items() if k.startswith(prefix)}}
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

    assert apptainer() == [
        "run",
        "--nv",
        *(word for folder in folders for word in ("--bind", folder)),
        str(image),
        "aframe-train",
        "fit",
        "--config",
        f"{settings['output']}/logs/fit.settings.json",
    ]


def test_an_image_without_gpus(commands, apptainer, image, settings, monkeypatch):
    """No GPU asked for and none in the environment: no driver is bound."""
    _program(commands, "aframe-train", SHOW)
    _run(Stage("train", image), settings)
    without = apptainer()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    _run(Stage("train", image), settings)

    assert "--nv" not in without
    assert apptainer()[1] == "--nv"


def test_dev_binds_the_checkout_over_the_images_code(commands, apptainer, image, settings):
    """What runs in the image is the code at hand."""
    _program(commands, "aframe-train", SHOW)
    _run(Stage("train", image, dev=True), settings)
    words = apptainer()

    assert words[words.index(str(image)) - 1] == f"{CHECKOUT}:/opt/aframe"


def test_the_environment_reaches_the_image(
    commands, apptainer, image, settings, capsys, monkeypatch
):
    """Variables of ours pass through, whatever else the image's environment says."""
    _program(commands, "aframe-train", SHOW)
    monkeypatch.setenv("AFRAME_TMPDIR", "/scratch/mine")
    _run(Stage("train", image, gpus="1"), settings)

    shown = capsys.readouterr().err
    assert "Train | AFRAME_TMPDIR=/scratch/mine\n" in shown
    assert "Train | CUDA_VISIBLE_DEVICES=1\n" in shown


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

    assert words[words.index(str(image)) - 2 : words.index(str(image))] == [
        "--bind",
        f"{tmp_path}/scratch",
    ]
    assert f"Train | TMPDIR={tmp_path}/scratch\n" in capsys.readouterr().err


def test_scratch_that_cannot_be_made(commands, settings, tmp_path):
    """A file in the way of the folder is named, and the variable that names it."""
    _program(commands, "aframe-train", SHOW)
    (tmp_path / "file").touch()
    with pytest.raises(AframeError, match="folder for temporary files cannot be made") as caught:
        _run(Stage("train", scratch=tmp_path / "file" / "tmp"), settings)

    assert str(tmp_path / "file") in caught.value.found
    assert caught.value.wanted_by == "AFRAME_TMPDIR for stage 'train'"


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
    assert error.fix == (
        f"in the root of the checkout: apptainer build {missing} projects/train/apptainer.def"
    )


def test_apptainer_that_is_missing(commands, image, monkeypatch):
    """An image is of no use without Apptainer."""
    monkeypatch.setenv("PATH", str(commands))
    error = _refused(Stage("train", image), match="Apptainer is not installed")

    assert error.wanted_by == f"the image {image}"


def test_dev_without_a_checkout(apptainer, image, monkeypatch, tmp_path):
    """An installed aframe has no projects to bind."""
    monkeypatch.setattr(stages, "__file__", str(tmp_path / "site-packages/aframe/stages.py"))
    error = _refused(Stage("train", image, dev=True), match="there is no checkout to bind")

    assert error.found == f"{tmp_path}/site-packages has no projects"


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


def test_a_killed_stage_is_named_by_its_signal(commands, settings):
    """A step that the kernel ends for want of memory says SIGKILL."""
    _program(commands, "aframe-train", "#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(AframeError, match="step Train failed") as caught:
        _run(Stage("train"), settings)

    assert caught.value.found.startswith("SIGKILL; its last lines:")


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

    assert stages._folders(settings) == [tmp_path, tmp_path / "b" / "run"]


@pytest.mark.parametrize(
    "definition",
    sorted(CHECKOUT.glob("projects/*/apptainer.def")),
    ids=lambda path: path.parent.name,
)
def test_an_image_has_its_code_where_dev_binds_it(definition):
    """The code is installed from where it lies, which a copy in site-packages would hide."""
    text = definition.read_text()

    assert f"aframe {stages.CODE_IN_IMAGE}/aframe\n" in text
    assert re.search(r"pip install[^\n]*(\\\n[^\n]*)* (-e|--editable) '\.\[s3\]' ", text)
    assert re.search(rf"(-e|--editable) '\./projects/{definition.parent.name}[^\n]*\n", text)


def test_all_images_are_built_in_one_way():
    """A recipe is that of any other stage, but for the name and what else it has installed."""
    definitions = CHECKOUT.glob("projects/*/apptainer.def")
    texts = {
        re.sub(r"(projects/\w+)\[[\w,]+\]", r"\1", path.read_text())
        .replace(f"projects/{path.parent.name}", "projects/stage")
        .replace(f"{path.parent.name}.sif", "stage.sif")
        for path in definitions
    }

    assert len(texts) == 1


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
