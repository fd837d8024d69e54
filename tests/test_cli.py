"""`aframe-init`: what it writes, what it keeps, what it refuses; and `run.sh`, by a real shell."""

import configparser
import glob
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from aframe import cli
from aframe.cli import CONFIGS, PRESETS, write_run_directory
from aframe.errors import AframeError

VARIABLES = {
    "AFRAME_TRAIN_DATA_DIR": "data/train",
    "AFRAME_TEST_DATA_DIR": "data/test",
    "AFRAME_TRAIN_RUN_DIR": "training",
    "AFRAME_CONDOR_DIR": "condor",
    "AFRAME_RESULTS_DIR": "results",
    "AFRAME_TMPDIR": "tmp",
}


def _init(*words):
    return cli.main(["offline", "--mode", "sandbox", *map(str, words)])


def _configuration(directory):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(directory / "sandbox.cfg")
    return parser


def _run(script, *words):
    """Run *script* with a bare environment, as after a login."""
    return subprocess.run(
        ["bash", script, *words],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_writes_the_run_directory(tmp_path, capsys, preset):
    """The configuration, the training's YAML and `run.sh`, and nothing else."""
    directory = tmp_path / "a" / "run"
    status = _init("--preset", preset, "--directory", directory)
    script = (directory / "run.sh").read_text().splitlines()

    assert status == 0
    assert sorted(path.name for path in directory.iterdir()) == [
        "run.sh",
        "sandbox.cfg",
        "train.yaml",
    ]
    assert (directory / "train.yaml").read_text() == (CONFIGS / f"{preset}.yaml").read_text()
    assert _configuration(directory)["luigi_Train"]["config"] == f"{directory}/train.yaml"
    assert [line for line in script if line.startswith("export AFRAME_")] == [
        f"export {name}={directory}/{folder}" for name, folder in VARIABLES.items()
    ]
    assert (
        f"LAW_CONFIG_FILE={directory}/sandbox.cfg exec law run aframe.pipelines.sandbox.Sandbox "
        '--workers 5 --gpus 0 "$@"'
    ) in script
    assert os.access(directory / "run.sh", os.X_OK)
    assert capsys.readouterr().out.splitlines() == [
        *(f"wrote {directory}/{name}" for name in ("sandbox.cfg", "train.yaml", "run.sh")),
        f"start the run with: bash {directory}/run.sh",
    ]


def test_the_full_search_is_the_default(tmp_path):
    """Without `--preset`, the full search is written."""
    _init("-d", tmp_path)

    assert (tmp_path / "train.yaml").read_text() == (CONFIGS / "bbh.yaml").read_text()


def test_nothing_is_left_to_fill_in(tmp_path):
    """No mark of the templates stays."""
    for preset in PRESETS:
        write_run_directory(tmp_path / preset, preset=preset)
        assert "@" not in (tmp_path / preset / "sandbox.cfg").read_text()


@pytest.mark.parametrize("name", ["run", "o'brien's run", "größe [1] #2; @x &::y"])
def test_run_sh_plans_the_run_wherever_it_lies(tmp_path, name, monkeypatch):
    """Spaces, quotes and other letters in a path are no obstacle."""
    monkeypatch.chdir(tmp_path)
    write_run_directory(tmp_path / name, preset="demo")
    done = _run(f"{name}/run.sh", "--print-status", "9")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"path={tmp_path}/{name}/results/report.html" in done.stdout


def test_run_sh_says_that_it_was_moved(tmp_path):
    """Its paths are absolute, so a moved directory is refused; the error tells how to go on."""
    old, new = tmp_path / "it was here", tmp_path / "it is there"
    write_run_directory(old, preset="demo")
    old.rename(new)
    done = _run(new / "run.sh", "--print-status", "9")
    command = f"sed -i 's|{old}|{new}|g' run.sh *.cfg"

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "run.sh: error: the run directory was moved or copied\n"
        f"  found      {new}\n"
        f"  wanted by  the paths in its files, which were made for {old}\n"
        f"  fix        move it back, or in it: {command}\n"
    )
    subprocess.run(["bash", "-c", command], cwd=new, check=True)
    mended = _run(new / "run.sh", "--print-status", "9")
    assert (mended.returncode, mended.stderr) == (0, "")
    assert f"path={new}/results/report.html" in mended.stdout


def test_run_sh_refuses_a_slip_in_its_configuration(tmp_path):
    """What law would meet with a traceback is told in our words, before law is imported."""
    write_run_directory(tmp_path, preset="demo")
    with (tmp_path / "sandbox.cfg").open("a") as file:
        file.write("[luigi_base]\nhighpass = 30\n")
    done = _run(tmp_path / "run.sh")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ERROR: a section stands twice in a configuration file\n")
    assert "Traceback" not in done.stderr


def test_run_sh_works_through_a_link(tmp_path):
    """A link to the run directory is no move."""
    write_run_directory(tmp_path / "run", preset="demo")
    (tmp_path / "link").symlink_to("run")

    assert _run(tmp_path / "link" / "run.sh", "--print-deps", "1").returncode == 0


def test_a_link_is_resolved_when_it_is_written(tmp_path):
    """A run directory that is named by a link is where it lies."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    write_run_directory(tmp_path / "link", preset="demo")

    assert f"export AFRAME_TMPDIR={tmp_path}/run/tmp\n" in (tmp_path / "run/run.sh").read_text()
    assert _run(tmp_path / "link" / "run.sh", "--print-deps", "1").returncode == 0


def test_the_same_again_writes_nothing(tmp_path, capsys):
    """Files that are as they should be are left alone."""
    _init("-d", tmp_path, "--preset", "demo")
    capsys.readouterr()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    assert _init("-d", tmp_path, "--preset", "demo") == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert "wrote" not in capsys.readouterr().out


def test_an_edited_file_is_kept(tmp_path, capsys):
    """Status 2, our form of an error, and no file changed, not even a missing one."""
    _init("-d", tmp_path, "--preset", "demo")
    edited = tmp_path / "sandbox.cfg"
    edited.write_text(edited.read_text() + "# mine\n")
    (tmp_path / "train.yaml").unlink()
    capsys.readouterr()

    assert _init("-d", tmp_path, "--preset", "demo") == 2
    assert capsys.readouterr().err.splitlines() == [
        "aframe-init: error: the run directory holds other configuration files",
        f"  found      {edited}",
        f"  wanted by  aframe-init for {tmp_path}",
        "  fix        choose a new directory, or add --force to rewrite only these files",
    ]
    assert edited.read_text().endswith("# mine\n")
    assert not (tmp_path / "train.yaml").exists()


def test_force_rewrites_what_was_edited_and_nothing_else(tmp_path):
    """Results and files of other names stay as they are."""
    write_run_directory(tmp_path, preset="demo")
    original = (tmp_path / "sandbox.cfg").read_text()
    (tmp_path / "sandbox.cfg").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    written = write_run_directory(tmp_path, preset="demo", force=True)

    assert written == [tmp_path / "sandbox.cfg"]
    assert (tmp_path / "sandbox.cfg").read_text() == original
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_seed_is_written_once(tmp_path):
    """One seed for all steps, in the shared section."""
    _init("-d", tmp_path, "--preset", "demo", "--seed", "7")
    parser = _configuration(tmp_path)

    assert parser["luigi_base"]["seed"] == "7"
    assert [name for name in parser.sections() if "seed" in parser[name]] == ["luigi_base"]


def test_the_demo_searches_the_shipped_strain(tmp_path):
    """Both detectors' files, by absolute paths; the full search takes the testing strain."""
    write_run_directory(tmp_path / "demo", preset="demo")
    write_run_directory(tmp_path / "bbh", preset="bbh")
    source = json.loads(_configuration(tmp_path / "demo")["luigi_SandboxInfer"]["zero_lag_source"])

    assert source["kind"] == "files"
    assert [Path(path).name[:4] for path in source["paths"]] == ["H-H1", "L-L1"]
    assert all(Path(path).is_file() and Path(path).is_absolute() for path in source["paths"])
    assert _configuration(tmp_path / "bbh")["luigi_SandboxInfer"]["zero_lag_source"] == ""


def test_other_strain_is_searched(tmp_path, monkeypatch):
    """`--strain` names files, relative to where the user is."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(next((CONFIGS / "strain").glob("H-*.hdf5")), tmp_path / "h one.hdf5")
    (tmp_path / "l[1].gwf").write_bytes(b"IGWD")
    _init("-d", "run", "--strain", "h one.hdf5", "l[1].gwf")
    source = json.loads(_configuration(tmp_path / "run")["luigi_SandboxInfer"]["zero_lag_source"])

    assert source["kind"] == "files"
    assert source["paths"][0] == f"{tmp_path}/h one.hdf5"
    # The stage takes patterns: each of these matches its file and no other.
    assert [glob.glob(path) for path in source["paths"]] == [  # noqa: PTH207
        [f"{tmp_path}/h one.hdf5"],
        [f"{tmp_path}/l[1].gwf"],
    ]


def test_missing_strain_is_refused(tmp_path, capsys):
    """A file that is not there is named, and no run directory appears."""
    status = _init("-d", tmp_path / "run", "--strain", tmp_path / "h.hdf5")
    error = capsys.readouterr().err

    assert status == 2
    assert error.startswith("aframe-init: error: a strain file is missing\n")
    assert f"  found      {tmp_path}/h.hdf5 is no file\n" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_strain_that_is_cut_short_or_foreign_is_refused(tmp_path, capsys, version):
    """What the first bytes of a file tell."""
    whole, short, text = (tmp_path / name for name in ("h.hdf5", "short.hdf5", "text.gwf"))
    with h5py.File(whole, "w", libver=version) as file:
        file["H1"] = np.zeros(1000)
    size = whole.stat().st_size
    short.write_bytes(whole.read_bytes()[:-100])
    text.write_text("strain of H1, see attachment; this is a text of more than sixty-four bytes")
    words = ("-d", tmp_path / "run", "--strain")

    assert _init(*words, whole, short) == 2
    assert f"  found      {short}: {size - 100} of its {size} bytes\n" in capsys.readouterr().err
    assert _init(*words, text) == 2
    error = capsys.readouterr().err
    assert error.startswith("aframe-init: error: a strain file cannot be used\n")
    assert f"  found      {text}: neither HDF5 nor a frame file\n" in error
    assert not (tmp_path / "run").exists()
    assert _init(*words, whole) == 0


@pytest.mark.parametrize(("name", "mark"), [("$HOME", "$"), ("100%", "%")])
def test_a_path_that_a_cfg_would_expand_is_refused(tmp_path, name, mark):
    """Law and luigi read `$` and `%` as the begin of something else."""
    with pytest.raises(AframeError, match=r"a path cannot stand in a \.cfg") as caught:
        write_run_directory(tmp_path / name, preset="demo")

    assert caught.value.found == f"{tmp_path}/{name}"
    assert f"without {mark}, which" in caught.value.fix
    assert not (tmp_path / name).exists()


def test_a_directory_that_cannot_be_written_is_refused(tmp_path):
    """A file in the way of the directory is named."""
    (tmp_path / "file").touch()

    with pytest.raises(AframeError, match="the run directory cannot be written") as caught:
        write_run_directory(tmp_path / "file" / "run", preset="demo")
    assert str(tmp_path / "file") in caught.value.found


def test_a_path_is_quoted_for_the_shell(tmp_path, capsys):
    """What aframe-init prints can be pasted."""
    _init("-d", tmp_path / "my run", "--preset", "demo")

    assert capsys.readouterr().out.endswith(f"bash '{tmp_path}/my run/run.sh'\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["offline", "--mode", "sandbox"], "required: -d/--directory"),
        (["offline", "-d", "x"], "required: --mode"),
        (["offline", "--mode", "search", "-d", "x"], "invalid choice: 'search'"),
        (["offline", "--mode", "sandbox", "-d", "x", "--preset", "nsbh"], "invalid choice: 'nsbh'"),
        (["offline", "--mode", "sandbox", "-d", "x", "--seed", "a"], "invalid int value: 'a'"),
        ([], "required: COMMAND"),
    ],
)
def test_a_wrong_command_line_is_refused(words, message, capsys):
    """The parser names what is wrong; status 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("aframe-init: error: the command line cannot be used\n  found      ")
    assert message in error
    assert "usage" not in error


def test_a_mistyped_choice_is_told_the_nearest(capsys):
    """As everywhere else."""
    with pytest.raises(SystemExit):
        cli.main(["offline", "--mode", "sandbox", "-d", "x", "--preset", "dem"])
    error = capsys.readouterr().err

    assert "  wanted by  aframe-init offline\n" in error
    assert "  fix        did you mean demo? aframe-init offline --help shows all\n" in error


def test_the_command_is_installed(tmp_path):
    """`aframe-init` is a program of its own, and describes its options."""
    program = Path(sys.executable).with_name("aframe-init")
    done = subprocess.run(
        [program, "offline", "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    for option in ("--mode", "--directory", "--preset", "--seed", "--strain", "--force"):
        assert option in done.stdout


def _exports(directory, **surroundings):
    """What `run.sh` exports, by a real shell."""
    lines = (directory / "run.sh").read_text().splitlines()
    script = "\n".join(line for line in lines if line.startswith("export ")) + "\nenv -0"
    said = subprocess.run(
        ["bash", "-c", script], env=surroundings, capture_output=True, text=True, check=True
    )
    pairs = (item.partition("=") for item in said.stdout.split("\0"))
    return {name: value for name, _, value in pairs if name.startswith(("AFRAME_", "AWS_"))}


def test_a_run_may_be_kept_on_s3(tmp_path, monkeypatch):
    """All but scratch; the store is that of the day, unless another is named; no key is written."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://s3.example.org")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    assert _init("--directory", tmp_path / "my run", "--s3-bucket", "s3://bucket/my/run/") == 0

    exported = _exports(tmp_path / "my run")
    assert exported == {
        **{name: f"s3://bucket/my/run/{folder}" for name, folder in VARIABLES.items()},
        "AFRAME_CONDOR_DIR": f"{tmp_path}/my run/condor",
        "AFRAME_TMPDIR": f"{tmp_path}/my run/tmp",
        "AFRAME_CACHE_DIR": f"{tmp_path}/my run/cache",
        "AWS_ENDPOINT_URL": "https://s3.example.org",
    }
    others = {"AWS_ENDPOINT_URL": "http://inside:9000", "AFRAME_CACHE_DIR": "/scratch"}
    assert others.items() <= _exports(tmp_path / "my run", **others).items()
    assert not any("secret" in path.read_text() for path in (tmp_path / "my run").iterdir())


def test_a_whole_bucket_may_be_a_run(tmp_path):
    """Without a prefix."""
    write_run_directory(tmp_path, s3_bucket="s3://bucket")

    assert _exports(tmp_path)["AFRAME_RESULTS_DIR"] == "s3://bucket/results"


@pytest.mark.parametrize(
    "address", ["bucket/run", "/data/run", "s3://", "s3://My_Bucket", "s3:/b/r"]
)
def test_a_place_that_is_no_address_is_refused(tmp_path, capsys, address):
    """Before anything is written, with how one is written."""
    assert _init("--directory", tmp_path / "run", "--s3-bucket", address) == 2

    said = capsys.readouterr().err
    assert "the run cannot be kept there" in said
    assert "s3://BUCKET/PREFIX" in said
    assert not (tmp_path / "run").exists()
