"""Runs whose data, training and results lie on S3, with stand-in stages."""

import json
import os
import subprocess

import pytest

from aframe.artifacts.inventory import RECORD

#: What the run needs of this machine, and what it may find in the user's surroundings.
KEPT = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")


@pytest.fixture
def run(on_s3):
    """A run whose directories but for scratch are on S3, in which nothing has run."""
    return on_s3


def _published(bucket):
    """Content of all but records and logs, by name."""
    names = (name for name in bucket.names("my/run/") if not name.endswith(RECORD))
    return {
        name.removeprefix("my/run/"): bucket.get(name).decode()
        for name in names
        if "logs" not in name.split("/")
    }


def _made(run):
    """The same of a run on a disk."""
    return {name: text for name, text in run.files().items() if "/" in name}


def test_run_sh_runs_it_all_on_s3(run, bucket, finished):
    """The same files as on a disk, whole and without a draft; a second time nothing runs."""
    script = run.directory / "run.sh"
    script.write_text(script.read_text().replace("export PATH=", f"export PATH={run.stubs}:"))
    told = {"calls": run.directory.parent / "calls", "checks": run.directory.parent / "checks"}
    environment = {
        "PATH": os.environ["PATH"],
        **{name: os.environ[name] for name in KEPT},
        **{f"STUB_{name.upper()}": str(path) for name, path in told.items()},
    }

    def bash():
        return subprocess.run(
            ["bash", script], env=environment, capture_output=True, text=True, check=False
        )

    first, calls = bash(), run.calls()
    again = bash()

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert len(calls) == len(set(calls)) == 15
    assert run.calls() == []
    assert "complete: nothing was to be done" in again.stderr
    assert _published(bucket) == _made(finished)
    assert not {"data", "training", "results"} & {path.name for path in run.directory.iterdir()}


def _moved(finished, bucket):
    """Copy a run from this machine's disk to S3."""
    for folder in ("data", "training", "results"):
        bucket.put(finished.directory / folder, f"my/run/{folder}")


def test_a_run_moved_to_s3_is_finished_there(run, finished, bucket, faulty):
    """Nothing runs, on a machine with nothing; records alone are read, in few requests."""
    _moved(finished, bucket)

    done = run.law("--workers", "5")

    assert done.returncode == 0, done.stderr
    assert "complete: nothing was to be done" in done.stderr
    assert run.calls() == []
    read = [path for (method, path), _ in faulty.requests.items() if method == "GET"]
    data = [path for path in read if "list-type" not in path and RECORD not in path]
    assert data == []
    assert sum(faulty.requests.values()) <= 30  # 15 records, 6 folders and their parents
    assert not run.cache.exists()


def test_a_run_moved_to_s3_in_the_middle_goes_on_there(run, bucket, finished):
    """What was done stays; the rest is as if it had never moved."""
    made = _made(finished)
    bucket.put(finished.directory / "data", "my/run/data")

    done = run.law("--workers", "5")

    assert done.returncode == 0, done.stderr
    assert sorted(run.calls()) == sorted(
        [
            *("train fit in training", "export export in results", "infer infer in results"),
            *("sv estimate in results/plots", "sv p_astro in results/plots"),
            "sv report in results",
        ]
    )
    assert _published(bucket) == made


def test_an_output_on_s3_is_accepted(run, finished, bucket):
    """Its record there remembers what was accepted, and nothing is to be done."""
    _moved(finished, bucket)
    run.set("luigi_TrainingWaveforms", "num_signals", "9999")
    words = ["accept", "TrainingWaveforms", "--because", "of one signal"]

    done = run.aframe(*words)

    assert done.returncode == 0, done.stderr
    assert "num_signals: 10000 -> 9999\n  because of one signal\n" in done.stdout
    record = json.loads(bucket.get("my/run/data/train/training_waveforms.record.json"))
    assert record["notes"]["accepted"][0]["because"] == "of one signal"
    after = run.law()
    assert after.returncode == 0, after.stderr
    assert "complete: nothing was to be done" in after.stderr


def test_a_run_is_taken_up_on_an_empty_machine(run, bucket):
    """Where the first one failed; a changed setting is named there, and remade if so asked."""
    assert run.law("--workers", "5", fail="infer infer").returncode == 1
    run.calls()
    run.lose_machine()

    done = run.law("--workers", "5")

    assert done.returncode == 0, done.stderr
    assert run.calls()[0] == "infer infer in results"
    assert len(_published(bucket)) > 15
    run.lose_machine()
    run.set("luigi_SandboxInfer", "cluster_window_length", "4")
    refused = run.law()
    assert refused.returncode == 2
    assert "cluster_window_length: 8.0 -> 4.0" in refused.stderr
    assert f"wanted by  SandboxInfer in {run.home}/results" in refused.stderr
    remade = run.law("--on-change", "remake")
    assert remade.returncode == 0, remade.stderr
    assert run.calls()[0] == "infer infer in results"


def test_logs_are_seen_from_another_machine(run, bucket):
    """Of what ended there, well or not; those of the machine at hand come first."""
    assert run.law("--workers", "5", fail="infer infer").returncode == 1
    here, machine = run.aframe("logs", "SandboxInfer"), run.cache
    run.lose_machine()

    there = run.aframe("logs", "SandboxInfer")

    assert here.stderr.startswith(f"{machine}/")
    assert there.stderr == f"{run.home}/results/logs/infer.log\n"
    assert there.stdout == here.stdout
    assert "told to fail" in there.stdout
    assert run.aframe("logs", "Train", "--lines", "1").stdout.count("\n") == 1
    assert not run.cache.exists()
    none = run.aframe("logs", "SandboxSV")
    assert none.returncode == 2
    assert "there is no log yet" in none.stderr


def test_the_status_is_shown_from_s3(run, finished, bucket):
    """Absent, existent, or with what differs, as on a disk."""
    assert "absent" in run.law("--print-status", "9").stdout
    _moved(finished, bucket)
    bucket.client.delete_object(Bucket=bucket.name, Key="my/run/training/model.pt")

    said = run.law("--print-status", "9").stdout

    assert f"path={run.home}/results/report.html" in said
    assert "existent" in said
    assert "absent" in said


def test_the_status_of_a_store_out_of_reach(run, monkeypatch):
    """The tree is shown, and at its end why nothing is known of it; the store is asked twice."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    done = run.law("--print-status", "9")

    assert done.returncode == 2
    assert "not known: the store cannot be reached" in done.stdout
    assert done.stdout.count("status") or "SandboxInfer" in done.stdout
    assert "ERROR: the store cannot be reached" in done.stderr
    assert f"wanted by  {run.home}" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_status_without_credentials(run, monkeypatch, tmp_path):
    """Likewise."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    done = run.law("--print-status", "9")

    assert done.returncode == 2
    assert "not known: there are no credentials for S3" in done.stdout
    assert "ERROR: there are no credentials for S3" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_input_that_is_not_on_s3_is_refused_before_the_run(run):
    """As one that is not on a disk."""
    gone = f"{run.home}/elsewhere"

    done = run.law("--data-dir", gone, task="aframe.Train")

    assert done.returncode == 2
    assert "an input is missing" in done.stderr
    assert f"{gone}/background does not exist" in done.stderr


def test_outputs_are_removed_from_s3(run, finished, bucket):
    """As law removes them: what is removed is made anew, and only that step."""
    _moved(finished, bucket)

    done = run.law("--remove-output", "0,a,y", task="aframe.Train")

    assert done.returncode == 0, done.stderr
    assert run.calls() == ["train fit in training"]
    assert _published(bucket) == _made(finished)


def test_scratch_is_not_on_s3(run, monkeypatch):
    """It says so before anything runs."""
    environment = {**run.environment(), "AFRAME_TMPDIR": f"{run.home}/scratch"}
    monkeypatch.setattr(type(run), "environment", lambda *_, **__: environment)

    done = run.law("--print-status", "1")

    assert done.returncode != 0
    assert "a folder of this machine cannot be on S3" in done.stderr + done.stdout
    assert "AFRAME_TMPDIR" in done.stderr + done.stdout
