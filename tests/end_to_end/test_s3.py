"""The real data stage with its directories on S3, against the same on a disk."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import condor_pool
import pytest
from end_to_end.conftest import LONGEST

from aframe import report
from aframe.artifacts import inventory
from aframe.artifacts.record import Record, read_record, write_record
from aframe.cli import write_run_directory

#: One process runs these: each takes the machine's cores.
pytestmark = pytest.mark.xdist_group("end_to_end")

RECORDS = (
    *("data/train/query", "data/train/fetch", "data/train/validation_waveforms"),
    *("data/test/query", "data/test/fetch", "data/test/testing_waveforms"),
)
TASKS = ("aframe.ValidationWaveforms", "aframe.TestingWaveforms")
#: Ten minutes of strain each, and few signals.
TINY = {"train_stop": "1240580383", "test_stop": "1240580983", "Tb": "1800"}
SIGNALS = {"Training": 64, "Validation": 8, "Testing": 20}


def _write(directory: Path, **options: str) -> None:
    write_run_directory(directory, preset="demo", **options)
    text = (directory / "sandbox.cfg").read_text()
    for key, value in TINY.items():
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
    for kind, number in SIGNALS.items():
        section = rf"(\[luigi_{kind}Waveforms\]\n(?:#.*\n)*num_signals = )\d+"
        text = re.sub(section, rf"\g<1>{number}", text)
    (directory / "sandbox.cfg").write_text(text)


def _run(directory: Path, task: str) -> str:
    """Run *task* where `run.sh` would."""
    script = (directory / "run.sh").read_text()
    only = re.sub(r"law run \S+", f"law run {task}", script)
    done = subprocess.run(
        ["bash", "-c", only.replace("${BASH_SOURCE[0]}", str(directory / "run.sh"))],
        env=dict(os.environ), capture_output=True, text=True, check=False, timeout=LONGEST,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A run directory whose validation and test data are made."""
    directory = tmp_path_factory.mktemp("disk") / "run"
    _write(directory)
    for task in TASKS:
        _run(directory, task)
    return directory


def test_data_made_on_s3_are_those_of_a_disk(disk, tmp_path, bucket, monkeypatch):
    """Digest by digest; made once, also for a machine that has nothing of them."""
    monkeypatch.delenv("AFRAME_CACHE_DIR")
    _write(tmp_path / "s3", s3_bucket=f"{bucket.address}/my-run")

    for task in TASKS:
        _run(tmp_path / "s3", task)
    shutil.rmtree(tmp_path / "s3" / "cache")
    again = [_run(tmp_path / "s3", task) for task in TASKS]

    assert all("complete: nothing was to be done" in said for said in again)
    inventory.forget()
    for name in RECORDS:
        here = read_record(disk / f"{name}.record.json")
        there = inventory.read_record(f"{bucket.address}/my-run/{name}.record.json")
        assert (there.outputs, there.inputs) == (here.outputs, here.inputs), name
        assert all(place.startswith(f"{bucket.address}/my-run/") for place in there.places.values())
    assert not (tmp_path / "s3" / "data").exists()
    assert not [name for name in bucket.names() if "/." in name]


@pytest.mark.skipif(not condor_pool.answers(), reason="no HTCondor pool answers condor_q")
@pytest.mark.parametrize("shared_disk", [True, False])
def test_a_run_moves_to_s3_and_to_the_pool(disk, tmp_path, bucket, monkeypatch, shared_disk):
    """What one place made another goes on from: the injections are those of one disk."""
    monkeypatch.delenv("AFRAME_CACHE_DIR")
    made = read_record(disk / "data" / "test" / "testing_waveforms.record.json")
    missing = shutil.ignore_patterns("testing_waveforms*", *made.outputs)
    shutil.copytree(disk / "data" / "test", tmp_path / "fetched", ignore=missing)
    bucket.put(tmp_path / "fetched", "my-run/data/test")
    _write(tmp_path / "s3", s3_bucket=f"{bucket.address}/my-run")
    asked = (
        f"workflow = htcondor\nshared_disk = {shared_disk}\njob_length = 60\n"
        "request_memory = 2GB\nrequest_disk = 1GB\n"
    )
    path = tmp_path / "s3" / "sandbox.cfg"
    path.write_text(path.read_text().replace("[luigi_base]\n", f"[luigi_base]\n{asked}"))

    said = _run(tmp_path / "s3", "aframe.TestingWaveforms")

    assert "jobs in cluster" in said
    assert "FetchTest |" not in said
    inventory.forget()
    for name in RECORDS[3:]:
        here = read_record(disk / f"{name}.record.json")
        there = inventory.read_record(f"{bucket.address}/my-run/{name}.record.json")
        assert there.outputs == here.outputs, name
    assert not [name for name in bucket.names() if "/." in name]


def test_the_page_of_a_run_on_s3_is_made_anew(disk, tmp_path, bucket, capfd):
    """From an address, with a title of its own; it is kept there."""
    search = tmp_path / "results"
    _as_if_searched(search, disk)
    bucket.put(disk / "data", "mine/data")
    bucket.put(search, "mine/results")
    inventory.forget()

    status = report.main(["report", f"{bucket.address}/mine", "--title", "From afar"])

    assert status == 0, capfd.readouterr().err
    assert b"From afar" in bucket.get("mine/results/report.html")
    assert "mine/results/report.record.json" in bucket.names("mine/results/")


def _as_if_searched(results: Path, run: Path) -> None:
    """Leave the record of a search that found nothing to keep, of the injections that were made."""
    results.mkdir()
    places = {
        "background": str(run / "data/test/background"),
        "injections": str(run / "data/test/waveforms.hdf5"),
        "output": str(results),
    }
    record = Record(
        "aframe-infer infer", {"ifos": ["H1", "L1"]}, {}, {}, {},
        started="2015-09-14T09:50:45+00:00", finished="2015-09-14T09:50:46+00:00", places=places,
    )  # fmt: skip
    write_record(results / "infer.record.json", record)
