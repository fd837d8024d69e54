"""What jobs are given so that servers know whom they are for, and that nobody else sees it."""

import os
import shlex
import subprocess
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest

from aframe.artifacts.record import Record, read_record, write_record
from aframe.errors import AframeError
from aframe.failures import Failure
from aframe.sites import workflow
from aframe.sites.jobs import PieceFailedError
from aframe.sites.pieces import Piece
from aframe.sites.requests import Request, Terms
from aframe.sites.step import PoolStep
from aframe.sites.submission import RETURNED
from aframe.sites.work import WholeWork
from aframe.stages import Stage, Step
from aframe.tasks.pool import FORWARDED

#: A queue in which nothing is left of the step.
QUEUE = SimpleNamespace(remove=lambda _constraint: None)


@pytest.fixture
def step(tmp_path, monkeypatch):
    """A step of a user who has a key in a home, a token in a file, and a key in a variable."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".netrc").write_text("machine api.wandb.ai password w\n")
    (home / ".aws" / "credentials").write_text("[default]\n")
    (tmp_path / "proxy").write_text("certificate")
    monkeypatch.setenv("HOME", str(home))
    for name in [*os.environ]:
        if any(fnmatch(name, pattern) for pattern in FORWARDED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "it's a key")
    monkeypatch.setenv("OTHER", "of nobody's business")
    settings = {"output": str(tmp_path / "output"), "resources": {"workers": 1}}
    (tmp_path / "condor").mkdir()
    return PoolStep(
        Stage("data"), Step("Query", "query", settings), Request(), Terms(forward=FORWARDED),
        tmp_path / "condor", branched=False, published=lambda: False,
    )  # fmt: skip


def _prepared(step):
    batch = step.batch(0, "token")
    step.logs.mkdir(parents=True, exist_ok=True)
    piece = Piece(0, "", step.request)
    WholeWork(step, batch).prepare([piece])
    return batch, piece


def _variables(path, folder):
    """What a shell has of a file of secrets, in *folder*."""
    words = ["sh", "-c", f"set -a; . {shlex.quote(str(path))}; env -0"]
    done = subprocess.run(words, cwd=folder, env={}, capture_output=True, text=True, check=True)
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)


def test_files_with_credentials_are_copied_for_jobs(step):
    """Those of a home, and those that a variable names: on a shared disk jobs see the copies."""
    batch, _ = _prepared(step)
    found = _variables(step.folder / "secrets.env", step.folder)

    assert found["AWS_ACCESS_KEY_ID"] == "it's a key"
    assert "OTHER" not in found
    content = {name: Path(found[name]).read_text() for name in ("NETRC", "X509_USER_PROXY")}
    assert content == {
        "NETRC": "machine api.wandb.ai password w\n",
        "X509_USER_PROXY": "certificate",
    }
    assert found["AWS_SHARED_CREDENTIALS_FILE"].startswith(str(step.folder))
    secrets = list(step.folder.glob("secrets.*"))
    assert len(secrets) == 4
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    assert "key" not in batch.script.read_text()


def test_without_a_shared_disk_they_go_along(step):
    """Their names count from the folder in which a job begins."""
    step = replace(step, terms=replace(step.terms, shared_disk=False))
    batch, piece = _prepared(step)
    home = batch.homes / batch.name(piece)
    found = _variables(home / "in" / "secrets.env", home)

    assert found["NETRC"] == "in/secrets.NETRC"
    assert (home / found["NETRC"]).read_text() == "machine api.wandb.ai password w\n"
    assert (home / found["X509_USER_PROXY"]).read_text() == "certificate"


def test_an_image_sees_the_copies(step, tmp_path):
    """To read only."""
    image = tmp_path / "data.sif"
    image.touch()
    batch, _ = _prepared(replace(step, stage=Stage("data", image)))

    assert f"--bind {step.folder}/secrets.NETRC:{step.folder}/secrets.NETRC:ro" in (
        batch.script.read_text()
    )


FAILED = PieceFailedError(Failure("Query", "it broke", command="x", ended="y", log="z"))
REFUSED = AframeError("HTCondor refuses the jobs", found="x", wanted_by="y", fix="z")


@pytest.mark.parametrize("error", [FAILED, REFUSED], ids=["failed", "refused"])
def test_a_step_that_failed_leaves_no_secrets(step, monkeypatch, error):
    """Nobody wants them until it is run again, which writes them anew."""

    def fail(work, *_):
        _prepared(work)
        raise error

    monkeypatch.setattr(workflow, "_run_whole", fail)
    with pytest.raises(AframeError):
        workflow.run_step(step, QUEUE)

    assert list(step.folder.glob("secrets.*")) == []
    assert (step.output / "logs" / "query.failure.json").exists() == (error is FAILED)


def test_jobs_under_way_keep_their_secrets(step, monkeypatch):
    """Another piece was refused: these go on."""

    def fail(work, state, _):
        _prepared(work)
        state.begin(0, ["", ""], work.request)
        state.pieces[0].submitted = True
        raise REFUSED

    monkeypatch.setattr(workflow, "_run_whole", fail)
    with pytest.raises(AframeError, match="refuses the jobs"):
        workflow.run_step(step, QUEUE)

    assert len(list(step.folder.glob("secrets.*"))) == 4


RECORD = Record("aframe-data query", {}, {}, {}, {}, usage={"wall": 5.0, "queue": 0.0})


@pytest.mark.parametrize("shared", [True, False])
def test_the_record_tells_how_long_the_job_waited(step, shared):
    """All attempts together; without a shared disk before it is published, with one after."""
    terms = replace(step.terms, shared_disk=shared)
    step = replace(step, terms=terms, published=lambda: True)
    batch, piece = _prepared(step)
    work = WholeWork(step, batch)
    made, told = (
        (step.output, step.output / "query.record.json")
        if shared
        else (batch.homes / batch.name(piece) / RETURNED, step.draft / ".record.json")
    )
    made.mkdir(parents=True, exist_ok=True)
    write_record(made / "query.record.json", RECORD)
    work.account(None, 60.0)
    work.account(None, 30.5)
    work.collect(piece)

    assert read_record(told).usage == {"wall": 5.0, "queue": 90.5}


@pytest.mark.parametrize(
    ("published", "usage"), [(False, RECORD.usage), (True, {})], ids=["of other settings", "older"]
)
def test_other_records_stay(step, published, usage):
    """What a job did not make, and what tells of no use."""
    step = replace(step, published=lambda: published)
    batch, piece = _prepared(step)
    record = replace(RECORD, usage=usage)
    write_record(step.output / "query.record.json", record)
    work = WholeWork(step, batch)
    work.account(None, 60.0)
    work.collect(piece)

    assert read_record(step.output / "query.record.json") == record
