"""Which run directory is meant, and what its `run.sh` sets."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aframe.cli import write_run_directory
from aframe.commands.run_directory import RunDirectory
from aframe.errors import AframeError


def test_the_directory_that_holds_the_present_folder(empty, monkeypatch):
    """From any folder in it, its exports and its task."""
    folder = empty.directory / "data/train"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    found = RunDirectory.find(None)

    assert found == RunDirectory.find(empty.directory)
    assert found.path == empty.directory
    assert found.task == "aframe.pipelines.sandbox.Sandbox"
    assert list(found.options) == ["--workers", "5", "--gpus", "0"]
    assert found.variables["AFRAME_RESULTS_DIR"] == f"{empty.directory}/results"
    assert found.variables["LAW_CONFIG_FILE"] == f"{empty.directory}/sandbox.cfg"
    assert found.variables["PATH"].endswith(f":{os.environ['PATH']}")


@pytest.mark.parametrize("own", [None, "", "http://my.store:9000"])
def test_a_default_gives_way_to_the_environment(tmp_path, monkeypatch, own):
    """As where `aframe-init` notes the endpoint of S3: `${NAME:-default}`, as bash has it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://first's.store:9000")
    write_run_directory(tmp_path / "run", preset="demo", s3_bucket="s3://bucket/run")
    script = tmp_path / "run" / "run.sh"
    assert "export AWS_ENDPOINT_URL=${AWS_ENDPOINT_URL:-" in script.read_text()
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    if own is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own)

    found = RunDirectory.find(tmp_path / "run")

    assert found.variables["AWS_ENDPOINT_URL"] == (own or "http://first's.store:9000")


def test_what_a_user_wrote_into_run_sh(empty, monkeypatch):
    """Exports of variables and of the home folder, lines that go on, options."""
    monkeypatch.setenv("HOME", "/home/me")
    script = empty.directory / "run.sh"
    lines = [
        "export IMAGES=~/images",
        'export AFRAME_CONTAINER_ROOT="$IMAGES/v1" # mine',
        'cat <<"END"\nisn\'t\nEND',
        "LAW_CONFIG_FILE=$AFRAME_RESULTS_DIR/x.cfg law run mine.Search \\",
        '  --workers 2 --image $IMAGES/a.sif "$@"',
    ]
    text = script.read_text()
    script.write_text(text[: text.index("python3 -P")] + "\n".join(lines) + "\n")
    found = RunDirectory.find(empty.directory)

    assert found.variables["AFRAME_CONTAINER_ROOT"] == "/home/me/images/v1"
    assert found.variables["LAW_CONFIG_FILE"] == f"{empty.directory}/results/x.cfg"
    assert found.task == "mine.Search"
    assert list(found.options) == ["--workers", "2", "--image", "/home/me/images/a.sif"]


def test_no_run_directory(tmp_path, monkeypatch):
    """The error tells how to get to one."""
    monkeypatch.delenv("LAW_CONFIG_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for directory, found in (
        (None, "nor above it"),
        (tmp_path / "x", "x does not exist"),
        (tmp_path / "file", "nor above it"),
    ):
        with pytest.raises(AframeError, match="there is no run directory") as caught:
            RunDirectory.find(directory)
        assert found in caught.value.found
        assert "aframe-init" in caught.value.fix


def test_a_folder_with_another_script(tmp_path, monkeypatch):
    """A run.sh of something else is none of ours."""
    monkeypatch.delenv("LAW_CONFIG_FILE", raising=False)
    (tmp_path / "run.sh").write_text("make all\n")
    with pytest.raises(AframeError, match="there is no run directory"):
        RunDirectory.find(tmp_path)
    (tmp_path / "run.sh").write_text("echo law run\n")
    with pytest.raises(AframeError, match="script starts no task"):
        RunDirectory.find(tmp_path)


def test_without_run_sh_the_environment_counts(tmp_path, monkeypatch):
    """As for `law run`."""
    monkeypatch.setenv("LAW_CONFIG_FILE", str(tmp_path / "my.cfg"))
    monkeypatch.chdir(tmp_path)
    found = RunDirectory.find(None)

    assert (found.path, found.task) == (tmp_path, "aframe.pipelines.sandbox.Sandbox")


def test_a_directory_that_was_copied(empty, tmp_path):
    """As its run.sh says, with the same fix."""
    shutil.copytree(empty.directory, tmp_path / "copy")
    with pytest.raises(AframeError, match="the run directory was moved or copied") as caught:
        RunDirectory.find(tmp_path / "copy")

    assert caught.value.found == str(tmp_path / "copy")
    words = ["bash", "-c", caught.value.fix.split("in it: ")[1]]
    subprocess.run(words, cwd=tmp_path / "copy", check=True)
    assert RunDirectory.find(tmp_path / "copy").path == tmp_path / "copy"


def test_the_command_itself(empty):
    """In a process of its own, as it is installed: what it needs is the base package."""
    heavy = ["numpy", "torch", "h5py", "boto3", "jsonargparse"]
    code = (
        "import sys\n"
        f"for name in {heavy}: sys.modules[name] = None\n"
        "from aframe.commands import main\n"
        "sys.exit(main())\n"
    )
    for words, status in ((["plan"], 0), (["nonsense"], 2), (["plan", "--no-such-option"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--directory", str(empty.directory)],
            env={name: value for name, value in os.environ.items() if "AFRAME" not in name},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        assert (status == 0) == ("15 steps" in done.stdout)
        assert status == 0 or "error: " in done.stderr.lower()
    assert not (empty.directory / "data").exists()


def test_a_configuration_that_law_cannot_use(empty):
    """Refused in one block."""
    with (empty.directory / "sandbox.cfg").open("a") as file:
        file.write("[luigi_Train]\n")
    status, _, err = empty.aframe("plan")

    assert status == 2
    assert err.startswith("aframe: error: a section stands twice in a configuration file\n")


def test_a_value_that_cannot_be_used(empty):
    """An option's value is refused as law's run refuses it."""
    status, _, err = empty.aframe("plan", "--SandboxInfer-Tb", "soon")

    assert status == 2
    assert "a parameter cannot be used" in err
    assert "Tb = 'soon'" in err


def test_help_names_every_word(capsys):
    """And each says what it takes."""
    from aframe import commands  # noqa: PLC0415

    for words in (["--help"], *([name, "--help"] for name in commands.COMMANDS)):
        with pytest.raises(SystemExit, match="0"):
            commands.main(words)
    shown = capsys.readouterr().out
    assert all(f"    {name}" in shown for name in (*commands.COMMANDS, "report"))
    assert "--because TEXT" in shown


def test_ctrl_c_and_a_reader_that_has_seen_enough(empty, monkeypatch):
    """Status 130, and none of Python's own words."""
    from aframe.commands import plan  # noqa: PLC0415

    monkeypatch.setattr(plan, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert empty.aframe("plan")[0] == 130
    aframe = f"{sys.executable} -c 'from aframe.commands import main; main()'"
    piped = f"{aframe} graph --directory {empty.directory} | head -c 1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert Path(empty.directory).exists()


@pytest.mark.parametrize("words", ["plan", "graph"])
def test_a_full_disk_behind_standard_output(empty, words):
    """Is told as any other."""
    aframe = f"{sys.executable} -c 'import sys; from aframe.commands import main; sys.exit(main())'"
    full = f"{aframe} {words} --directory {empty.directory} >/dev/full"

    done = subprocess.run(["bash", "-c", full], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("aframe: error: the disk is full\n  found      [Errno 28]")
    assert "Traceback" not in done.stderr


def test_what_may_not_be_written_is_told(empty, monkeypatch):
    """Such as the record of somebody else's run; any other error of ours is not hidden."""
    from aframe.commands import plan  # noqa: PLC0415

    def refuse(*_):
        raise OSError(error, os.strerror(error), "a.record.json")

    monkeypatch.setattr(plan, "run", refuse)
    error = errno.EROFS
    status, _, err = empty.aframe("plan")
    assert status == 2
    assert "cannot be written or read\n  found      [Errno 30] Read-only file system" in err
    error = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        empty.aframe("plan")
