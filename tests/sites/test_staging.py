"""What goes with a job that sees none of our disks, and what comes back."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from aframe import program
from aframe.artifacts.record import read_record
from aframe.sites import staging


@pytest.fixture
def home(tmp_path):
    """The folder of a job."""
    return tmp_path / "jobs" / "0-0-1"


def _sent(home):
    return {
        str(path.relative_to(home / "in")): path.read_text()
        for path in sorted((home / "in").rglob("*"))
        if path.is_file()
    }


def test_what_rows_read_goes_along(home, tmp_path):
    """Files and folders below their roots, also by way of links; what is not there does not."""
    data = tmp_path / "elsewhere"
    (data / "deep").mkdir(parents=True)
    (data / "deep" / "a.txt").write_text("a")
    (tmp_path / "background").symlink_to(data)
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "b.txt").write_text("b")
    (tmp_path / "segments.txt").write_text("s")
    (tmp_path / "0.table").write_text("table")
    dealt = {
        "roots": {
            "output": str(tmp_path / "draft"),
            "inputs.background": str(tmp_path / "background"),
            "inputs.segments": str(tmp_path / "segments.txt"),
        },
        "reads": [
            [["inputs.background", "deep"], ["inputs.segments", "."], ["output", "b.txt"]],
            [["output", "not-there.txt"]],
        ],
    }

    staging.send_rows(home, dealt, tmp_path / "0.table", [0, 1])

    assert _sent(home) == {
        "branches.table": "table",
        "output/b.txt": "b",
        "roots/inputs.background/deep/a.txt": "a",
        "roots/inputs.segments": "s",
    }
    # HTCondor follows no link to a folder.
    assert not [path for path in home.rglob("*") if path.is_symlink() and path.is_dir()]
    assert staging.roots_there(dealt)[:4] == [
        "--root", "output=/__scratch__/out",
        "--root", "inputs.background=/__scratch__/in/roots/inputs.background",
    ]  # fmt: skip


def _other_disk():
    """A folder on another disk than those of the tests, if there is one."""
    return Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


@pytest.mark.parametrize("apart", [False, True], ids=["same disk", "other disk"])
def test_what_comes_back_is_moved_into_place(home, tmp_path, apart, request):
    """Each file whole; the job's folder goes."""
    if apart:
        if _other_disk() is None:
            pytest.skip("no second disk")
        home = _other_disk() / f"aframe-{os.getpid()}"
    made = home / "out" / ".draft-fetch" / "background" / "a.hdf5"
    made.parent.mkdir(parents=True)
    made.write_text("strain")
    (home / "out" / "report.json").write_text("{}")

    staging.take_back(home, tmp_path / "output")

    files = [path for path in (tmp_path / "output").rglob("*") if path.is_file()]
    assert files == [tmp_path / "output" / ".draft-fetch" / "background" / "a.hdf5"]
    assert files[0].read_text() == "strain"
    assert not home.exists()


@dataclasses.dataclass
class _Inputs:
    numbers: Path


@dataclasses.dataclass
class _Settings:
    inputs: _Inputs
    output: Path
    factor: int = 2


def _times(settings, draft):
    text = str(settings.factor * int((settings.inputs.numbers / "n.txt").read_text()))
    (draft.path / "product.txt").write_text(text)


TIMES = program.Verb("times", _Settings, _times, ("product.txt",))


def test_a_whole_verb_is_published_here(home, tmp_path, monkeypatch):
    """Its settings name what went along; its record names the places here, and it is current."""
    numbers, output = tmp_path / "numbers", tmp_path / "output"
    numbers.mkdir()
    (numbers / "n.txt").write_text("21")
    told = {"inputs": {"numbers": str(numbers)}, "output": str(output), "factor": 2}
    staging.send_settings(home, {**told, "resources": {"workers": 1}})
    there = json.loads((home / "in" / "settings.json").read_text())
    assert there["inputs"] == {"numbers": "in/roots/numbers/numbers"}
    monkeypatch.chdir(home)
    inputs = _Inputs(Path(there["inputs"]["numbers"]))
    program.run_verb("data", TIMES, _Settings(inputs, Path(there["output"])))

    staging.take_verb_back(home, output, "times", {"numbers": numbers})

    # Run here it has nothing to do but publish.
    never = dataclasses.replace(TIMES, run=lambda *_: pytest.fail("it ran again"))
    program.run_verb("data", never, _Settings(_Inputs(numbers), output))
    assert (output / "product.txt").read_text() == "42"
    places = read_record(output / "times.record.json").places
    assert places == {"numbers": str(numbers), "output": str(output)}
    assert not home.exists()


def test_files_of_a_source_go_along(home, tmp_path):
    """Also those that a pattern means, each where the pattern finds it; names stay names."""
    for name in ("a/H-1.gwf", "b/H-2.gwf", "b/other.txt", "curve [1].txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    pattern, curve = f"{tmp_path}/data/*/H-*.gwf", f"{tmp_path}/data/curve [1].txt"
    gone = "/nowhere/at/all.gwf"
    paths = {"kind": "files", "paths": [pattern, curve, gone]}
    psds = {"kind": "simulated", "psds": {"H1": curve, "L1": "aLIGOO3LowT1800545"}}
    told = {"output": str(tmp_path / "output"), "resources": {"workers": 1}}

    there = []
    for number, source in enumerate((paths, psds)):
        staging.send_settings(home / str(number), {**told, "source": source})
        path = home / str(number) / "in" / "settings.json"
        there.append(json.loads(path.read_text())["source"])

    assert there[0]["paths"] == [
        "in/roots/paths.0/*/H-*.gwf",
        "in/roots/paths.1/curve [1].txt",
        gone,
    ]
    assert there[1]["psds"] == {"H1": "in/roots/psds.H1/curve [1].txt", "L1": "aLIGOO3LowT1800545"}
    sent = _sent(home / "0")
    del sent["settings.json"]
    assert sent == {
        "roots/paths.0/a/H-1.gwf": "a/H-1.gwf",
        "roots/paths.0/b/H-2.gwf": "b/H-2.gwf",
        "roots/paths.1/curve [1].txt": "curve [1].txt",
    }


def test_taken_back_half_way_it_goes_on(home, tmp_path, monkeypatch):
    """A kill between two files loses neither; what an earlier run left in the draft is replaced."""
    numbers, output = tmp_path / "numbers", tmp_path / "output"
    numbers.mkdir()
    (numbers / "n.txt").write_text("21")
    (output / ".draft-times").mkdir(parents=True)
    (output / ".draft-times" / "product.txt").write_text("old")
    home.mkdir(parents=True)
    monkeypatch.chdir(home)
    program.run_verb("data", TIMES, _Settings(_Inputs(numbers), Path("out")))
    move = staging.shutil.move

    def killed(*words):
        move(*words)
        raise KeyboardInterrupt

    monkeypatch.setattr(staging.shutil, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        staging.take_verb_back(home, output, "times", {"numbers": numbers})
    monkeypatch.setattr(staging.shutil, "move", move)

    staging.take_verb_back(home, output, "times", {"numbers": numbers})

    assert (output / ".draft-times" / "product.txt").read_text() == "42"
    assert (output / ".draft-times" / ".record.json").exists()
    assert not home.exists()


def test_a_verb_that_did_not_end_leaves_nothing(home, tmp_path):
    """Without its record, what came back is no output."""
    (home / "out").mkdir(parents=True)

    staging.take_verb_back(home, tmp_path / "output", "times", {})

    assert not (tmp_path / "output").exists()
