"""`aframe report`: what it finds in run directories, and what it tells the stage."""

import json
import os
import shutil
from pathlib import Path

import pytest

from aframe import report
from aframe.artifacts import inventory
from aframe.artifacts.record import Record, write_record

#: A stand-in for the stage: it keeps what it is told, and writes the page and its record.
STUB = """#!/bin/bash
verb=$1; page=$([ "$verb" = report ] && echo report.html || echo comparison.html)
[ -e "{root}/fail" ] && exit 2
[ "$4" = --remake ] || exit 3
cp "$3" "{root}/told.json"
output=$(sed -n 's/.*"output": "\\(.*\\)".*/\\1/p' "$3")
[ -e "$output/$page" ] && exit 4
echo new > "$output/$page"
"""


def step(path, command, files=(), reads=(), **settings):
    """Write the record of a step and the files that it made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in files:
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / name).write_text(name)
    places = {**{name: str(place) for name, place in reads}, "output": str(path.parent)}
    outputs = {name: f"digest of {name}" for name in files}
    sizes = {name: len(name) for name in files}
    write_record(path, Record(command, settings, {}, outputs, sizes, places=places))


@pytest.fixture
def run(tmp_path):
    """A run directory as `run.sh` leaves it."""
    root = tmp_path / "run"
    test, train, results = root / "data/test", root / "data/train", root / "results"
    strain = "background/background-0-64.hdf5"
    step(test / "fetch.record.json", "aframe-data fetch", [strain])
    step(train / "fetch.record.json", "aframe-data fetch", [strain])
    ledgers = ["waveforms.hdf5", "rejected-parameters.hdf5"]
    step(test / "testing_waveforms.record.json", "aframe-data testing_waveforms", ledgers)
    step(
        root / "training/fit.record.json", "aframe-train fit",
        ["metrics.csv", "preprocessing.json"], [("background", train / "background")],
    )  # fmt: skip
    step(
        results / "infer.record.json", "aframe-infer infer",
        ["background.hdf5", "foreground.hdf5", "0lag.hdf5", "candidates.hdf5"],
        [("background", test / "background"), ("injections", test / "waveforms.hdf5")],
    )  # fmt: skip
    step(
        results / "plots/estimate.record.json", "aframe-sv estimate", ["sensitive_volume.h5"],
        [("rejected_parameters", test / "rejected-parameters.hdf5")],
    )  # fmt: skip
    step(results / "report.record.json", "aframe-sv report", ["report.html"], title="Mine")
    # A killed step's draft is no step.
    step(results / ".draft-infer/infer.record.json", "aframe-infer infer")
    return root


@pytest.fixture(autouse=True)
def stage(tmp_path, monkeypatch):
    """The stand-in, and what it was told."""
    program = tmp_path / "bin/aframe-sv"
    program.parent.mkdir()
    program.write_text(STUB.format(root=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return lambda: json.loads((tmp_path / "told.json").read_text())


def test_the_page_of_a_run_is_made_anew(run, stage, capsys):
    """With the title it had, beside the events, of all that is there; the old one goes."""
    assert report.main(["report", str(run)]) == 0

    told, results = stage(), run / "results"
    assert capsys.readouterr().out == f"wrote {results / 'report.html'}\n"
    assert (results / "report.html").read_text() == "new\n"
    assert not list(results.glob(".*before"))
    assert (told["title"], told["output"]) == ("Mine", str(results))
    assert {name: path for name, path in told["inputs"].items() if path} == {
        "background": str(results / "background.hdf5"),
        "foreground": str(results / "foreground.hdf5"),
        "zero_lag": str(results / "0lag.hdf5"),
        "candidates": str(results / "candidates.hdf5"),
        "sensitive_volume": str(results / "plots/sensitive_volume.h5"),
        "rejected_parameters": str(run / "data/test/rejected-parameters.hdf5"),
        "injections": str(run / "data/test/waveforms.hdf5"),
        "train_background": str(run / "data/train/background"),
        "test_background": str(run / "data/test/background"),
        "metrics": str(run / "training/metrics.csv"),
        "preprocessing": str(run / "training/preprocessing.json"),
    }
    names = [Path(path).name for path in told["resources"]["records"]]
    assert "report.record.json" not in names
    assert len(names) == 6


def test_a_run_that_was_moved_is_found_where_it_is(run, stage, tmp_path):
    """Though its records name the old place; what lies elsewhere is still found there."""
    shutil.move(run, tmp_path / "moved")
    report.main(["report", str(tmp_path / "moved")])

    paths = [path for path in stage()["inputs"].values() if path]
    assert len(paths) == 11
    assert all(Path(path).is_relative_to(tmp_path / "moved") for path in paths)


def test_strain_outside_of_the_run_is_found_by_its_record(run, stage, tmp_path, bucket):
    """Its own record is shown too; what lies on S3 is left to the stage to fetch."""
    (tmp_path / "strain").write_text("")
    bucket.put(tmp_path / "strain", "strain")
    step(tmp_path / "shared/fetch.record.json", "aframe-data fetch", ["background/b.hdf5"])
    step(
        run / "training/fit.record.json", "aframe-train fit", ["metrics.csv"],
        [("background", tmp_path / "shared/background")],
    )  # fmt: skip
    step(
        run / "results/infer.record.json", "aframe-infer infer", ["background.hdf5"],
        [("background", f"{bucket.address}/strain"), ("injections", "/gone/waveforms.hdf5")],
    )  # fmt: skip

    report.main(["report", str(run)])

    inputs = stage()["inputs"]
    assert inputs["train_background"] == str(tmp_path / "shared/background")
    assert inputs["test_background"] == f"{bucket.address}/strain"
    assert inputs["injections"] is None
    assert str(tmp_path / "shared/fetch.record.json") in stage()["resources"]["records"]


def test_vetoed_events_count_where_there_are_any(run, stage):
    """As in the pipeline; what a veto does not hold is that of the search."""
    vetoed = run / "results/vetoed"
    step(vetoed / "veto.record.json", "aframe-sv veto", ["background.hdf5", "foreground.hdf5"])

    report.main(["report", str(run), "--title", "Vetoed", "--output", str(run / "again")])

    assert stage()["inputs"]["background"] == str(vetoed / "background.hdf5")
    assert (stage()["title"], stage()["output"]) == ("Vetoed", str(run / "again"))


def test_several_runs_are_compared(run, stage, tmp_path):
    """Named by as much of their paths as tells them apart, listed in a file beside the page."""
    other = tmp_path / "other/run"
    shutil.copytree(run, other)
    out = tmp_path / "out"

    assert report.main(["report", str(run), str(other), "--output", str(out)]) == 0

    assert stage() == {"inputs": {"runs": str(out / "runs.json")}, "output": str(out)}
    first, second = json.loads((out / "runs.json").read_text())
    assert [first["name"], second["name"]] == [f"{tmp_path.name}/run", "other/run"]
    assert second["inputs"]["background"] == str(other / "results/background.hdf5")
    assert first["digests"][str(run / "results/0lag.hdf5")] == "digest of 0lag.hdf5"
    assert (out / "comparison.html").exists()


def test_a_page_that_cannot_be_made_leaves_the_old_one(run, tmp_path, capsys):
    """And the exit status tells."""
    (tmp_path / "fail").touch()

    assert report.main(["report", str(run)]) == 2

    assert (run / "results/report.html").read_text() == "report.html"
    assert "the page was not made" in capsys.readouterr().err


def test_what_is_no_finished_search_is_refused(run, tmp_path, capsys):
    """Nothing there, or several; a run named twice."""
    assert report.main(["report", str(tmp_path / "nothing")]) == 2
    err = capsys.readouterr().err
    assert f"0 infer.record.json below {tmp_path}/nothing, which does not exist\n" in err
    step(run / "second/infer.record.json", "aframe-infer infer")
    assert report.main(["report", str(run)]) == 2
    assert "the directory holds not one finished search" in capsys.readouterr().err
    (run / "second/infer.record.json").unlink()
    assert report.main(["report", str(run), str(run)]) == 2
    assert "a run is named twice" in capsys.readouterr().err


def test_a_wrong_word_is_refused_in_the_house_format(capsys):
    """With the name of this command."""
    with pytest.raises(SystemExit, match="2"):
        report.main(["rapport", "x"])

    assert capsys.readouterr().err.startswith("aframe: error: the command line cannot be used")


def test_a_run_on_s3(run, stage, bucket, capsys):
    """All is named by its address; the page that was there is back if none is made."""
    bucket.put(run, "my/run")
    inventory.forget()

    # The stand-in cannot write to an address.
    assert report.main(["report", f"{bucket.address}/my/run"]) == 2

    told, home = stage(), f"{bucket.address}/my/run"
    assert told["output"] == f"{home}/results"
    assert told["inputs"]["background"] == f"{home}/results/background.hdf5"
    assert told["inputs"]["test_background"] == f"{home}/data/test/background"
    assert told["inputs"]["tune"] is None
    assert f"{home}/data/test/fetch.record.json" in told["resources"]["records"]
    assert len(told["resources"]["records"]) == 6
    assert "the page was not made" in capsys.readouterr().err
    assert bucket.get("my/run/results/report.html") == b"report.html"
