"""The real stages, end to end: what a run leaves, and that it can be killed anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
import zipfile
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
from end_to_end.conftest import LONGEST

from aframe.artifacts.record import Record, read_record

#: One process runs these: they share one search.
pytestmark = pytest.mark.xdist_group("end_to_end")

#: Verbs that are killed: branches, a training, whole verbs, those that write many files.
KILLED = ("fetch", "testing_waveforms", "fit", "export", "infer", "report")
#: Files that tell when they were made, or how often that was taken up, besides what was made.
TIMED = {"report.html", "last.ckpt", "best.ckpt"}


def records(directory: Path) -> dict[str, Record]:
    """The record of every step, by its path below the run directory."""
    found = {
        str(path.relative_to(directory)): read_record(path)
        for path in sorted(directory.rglob("*.record.json"))
    }
    return {name: record for name, record in found.items() if record is not None}


def results(directory: Path) -> dict[str, str]:
    """Digest of every published file that holds nothing but the result."""
    return {
        f"{Path(name).parent / file}": _digest(directory / Path(name).parent / file)
        for name, record in records(directory).items()
        for file in record.outputs
        if Path(file).name not in TIMED
    }


def _digest(path: Path) -> str:
    """Digest of a file; of a TorchScript archive its numbers, since its code names its making."""
    if path.suffix != ".pt" or not zipfile.is_zipfile(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    with zipfile.ZipFile(path) as archive:
        numbers = [
            name for name in archive.namelist() if {"data", "constants"} & set(Path(name).parts)
        ]
        return hashlib.sha256(b"".join(archive.read(name) for name in sorted(numbers))).hexdigest()


def test_every_step_leaves_its_record(finished):
    """Each step that ran is told, with its settings, versions and times."""
    found = records(finished.directory)

    assert sorted(record.command for record in found.values()) == sorted(
        [
            *["aframe-data query", "aframe-data fetch"] * 3,
            "aframe-data training_waveforms",
            "aframe-data validation_waveforms",
            "aframe-data testing_waveforms",
            "aframe-train fit",
            "aframe-export export",
            "aframe-infer infer",
            "aframe-sv estimate",
            "aframe-sv p_astro",
            "aframe-sv report",
        ]
    )
    assert all(record.versions and record.started <= record.finished for record in found.values())


def test_files_have_the_layout_of_the_field(finished):
    """A user of the older tool opens every file as before."""
    data, results_dir = finished.directory / "data", finished.directory / "results"
    (strain,) = (data / "test" / "background").glob("background-*.hdf5")
    with h5py.File(strain) as file:
        assert {"H1", "L1"} <= set(file)
        assert file["H1"].attrs["dx"] == 1 / 1024
        assert file["H1"].attrs["x0"] == 1240580383
        assert file["H1"].size == 600 * 1024
    with h5py.File(data / "train" / "training_waveforms.hdf5") as file:
        assert file["waveforms/plus"].shape == (256, 8 * 1024)
        assert file.attrs["length"] == 256
    with h5py.File(data / "test" / "waveforms.hdf5") as file:
        assert {"h1", "l1"} == set(file["waveforms"])
        assert file["parameters/shift"].shape == (60, 2)
    with h5py.File(results_dir / "background.hdf5") as file:
        statistic = file["parameters/detection_statistic"][:]
        assert np.all(np.diff(statistic) >= 0)
        assert file.attrs["Tb"] >= 1800
    with h5py.File(results_dir / "foreground.hdf5") as file:
        assert len(file["parameters/injection_time"]) == 60
    with h5py.File(results_dir / "0lag.hdf5") as file:
        times = file["parameters/detection_time"][:]
        assert np.all((times > 1126259446) & (times < 1126259478))
    with h5py.File(results_dir / "plots" / "sensitive_volume.h5") as file:
        assert {"thresholds", "fars", "35-35", "20-20"} <= set(file)
        assert file["35-35/sv"].shape == file["fars"].shape
    for model in ("aframe", "preprocessor", "snapshotter", "aframe-stream"):
        assert (results_dir / "model_repo" / model / "config.pbtxt").is_file()


def test_report_stands_alone(finished):
    """The page says what was searched, and asks nothing of a network."""
    page = (finished.directory / "results" / "report.html").read_text()

    assert "simulated" in page
    assert "data:image/" in page
    assert 'src="http' not in page


def test_second_run_does_nothing(finished):
    """Complete steps do not run again."""
    status, said = finished.run()

    assert status == 0
    assert " | " not in said, "a step ran again"


def test_another_setting_is_named_before_it_is_remade(finished, tmp_path):
    """In a copy of the run, of which nothing else is made again."""
    shutil.copytree(finished.directory, tmp_path / "run")
    run = finished.elsewhere(tmp_path / "run")
    run.set("max_far", "80000")

    status, said = run.run()

    assert status == 2
    assert "max_far: 87660.0 -> 80000.0" in said
    assert "Traceback" not in said
    status, said = run.run("--on-change", "remake")
    assert status == 0, said
    assert {line.partition(" | ")[0] for line in said.splitlines() if "/bin/aframe-" in line} == {
        *("SandboxSV", "SandboxReport")
    }


def test_killed_anywhere_it_ends_with_the_same_files(finished):
    """`kill -9` once within each kind of work; the same command then finishes, to the bit."""
    expected = results(finished.directory)
    found = records(finished.directory)
    # Strain is fetched three times: it is enough that one of them is killed.
    verbs = {record.command.partition(" ")[2]: name for name, record in found.items()}
    steps = {verbs[verb]: _seconds(found[verbs[verb]]) for verb in KILLED}
    for folder in ("data", "training", "results"):
        shutil.rmtree(finished.directory / folder)
    rng = random.Random(150914)  # noqa: S311 (moments to kill at)

    for name, seconds in steps.items():
        _kill_within(finished, finished.directory / name, rng.uniform(0, seconds))
    status, said = finished.run()

    assert status == 0, said
    assert results(finished.directory) == expected


def _seconds(record: Record) -> float:
    begin, end = (datetime.fromisoformat(time) for time in (record.started, record.finished))
    return (end - begin).total_seconds()


def _kill_within(run, record: Path, after: float) -> None:
    """Run until *after* seconds into the step of *record*, then kill every process of the run.

    A step that is done already ran to its end while the run of another was waited for.
    """
    if record.exists():
        return
    draft = record.parent / f".draft-{record.name.removesuffix('.record.json')}"
    end = time.monotonic() + LONGEST
    with tempfile.TemporaryFile("w+") as said:
        process = run.start(said)
        while not (come := draft.exists() or record.exists()) and process.poll() is None:
            if time.monotonic() > end:
                break
            time.sleep(0.002)
        time.sleep(after if come else 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        said.seek(0)
        assert come, f"{draft} did not come; the run said:\n{said.read()}"


def test_a_truncated_strain_file_is_refused(finished, tmp_path):
    """A file cut short is named, with what to do, before any work on it."""
    strain = tmp_path / "H-H1_cut-1126259446-32.hdf5"
    whole = finished.directory / "sandbox.cfg"
    source = json.loads(
        next(
            line.partition("=")[2]
            for line in whole.read_text().splitlines()
            if line.startswith("zero_lag_source")
        )
    )
    strain.write_bytes(Path(source["paths"][0]).read_bytes()[:5000])
    original = whole.read_text()
    finished.set("zero_lag_source", json.dumps({**source, "paths": [str(strain)]}))

    status, said = finished.run("--on-change", "remake")

    whole.write_text(original)
    assert status == 2
    assert str(strain) in said
    assert "Traceback" not in said
