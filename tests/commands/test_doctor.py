"""`aframe doctor`: what it finds amiss, and how to mend it."""

import base64
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest

from aframe.artifacts.segments import Segment, write_segments
from aframe.commands import credentials, doctor
from aframe.errors import AframeError
from aframe.sites import queue

VARIABLES = (
    *("X509_USER_PROXY", "BEARER_TOKEN", "BEARER_TOKEN_FILE", "SCITOKEN", "SCITOKEN_FILE"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_CREDENTIAL_EXPIRATION", "AWS_PROFILE"),
    *("AWS_SHARED_CREDENTIALS_FILE", "WANDB_API_KEY", "NETRC"),
    "WANDB_MODE",
)


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path, request):
    """No credentials and no GPU; the stages look through their steps where that is the point."""
    if "looked_through" not in request.fixturenames:
        monkeypatch.setattr(doctor, "refuse_wrong", lambda *_, **__: None)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    monkeypatch.setattr(doctor, "_LITTLE", 0.0)


@pytest.fixture
def looked_through():
    """Have the stages look."""


@pytest.fixture
def no_pool(monkeypatch):
    """Nobody is asked for a pool, nor NVIDIA's program for GPUs."""
    monkeypatch.setattr(doctor, "_pool", lambda _: iter(()))
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: which(name, **more)
                        if name != "nvidia-smi" else None)  # fmt: skip


def _found(run, *words):
    """Findings by what they are about, and the status."""
    status, out, _ = run.aframe("doctor", "--json", *words)
    return status, {each["about"]: each for each in json.loads(out)}


def _token(seconds):
    """An unsigned token that holds for so long."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.x"


def _move(run, variable, place):
    """Have `run.sh` say that a piece of the run lies at *place*."""
    script = run.directory / "run.sh"
    lines = script.read_text().splitlines(keepends=True)
    here = f"export {variable}="
    script.write_text("".join(f"{here}{place}\n" if each.startswith(here) else each
                              for each in lines))  # fmt: skip
    assert place in script.read_text()


@pytest.fixture
def patient(monkeypatch):
    """Others may use the machine."""
    monkeypatch.setattr(doctor, "_PATIENCE", 60.0)


def test_a_run_that_can_begin(empty):
    """Nothing fails; what is looked at stands in one line each, and nothing is written."""
    status, out, _ = empty.aframe("doctor")
    lines = {line[9:].partition(":")[0]: line for line in out.splitlines()}

    assert status == 0, out
    assert lines["settings"] == "ok       settings: 15 steps of Sandbox agree"
    assert lines["stage data"] == "ok       stage data: aframe-data is installed"
    assert "the testing strain's segments are not known yet" in lines["livetime"]
    assert lines["X.509 proxy"] == "-        X.509 proxy: none, and none is needed"
    assert lines["HTCondor pool"] == "-        HTCondor pool: no step runs on one"
    assert "GPU" in lines
    assert not (empty.directory / "data").exists()


def test_settings_that_contradict_each_other(empty):
    """Nyquist, PSD, livetime: the first that is refused, with its fix; the rest cannot be seen."""
    empty.set("luigi_base", "highpass", "600")
    status, found = _found(empty)

    assert status == 1
    assert found["settings"]["state"] == "failed"
    assert "highpass is not between zero and the Nyquist frequency" in found["settings"]["found"]
    assert found["settings"]["fix"].startswith("choose a highpass below 512 Hz")
    assert set(found) == {"settings", "GPU"}


def test_steps_that_a_run_would_refuse(empty):
    """The first, why, and how to mend it."""
    file = empty.directory / "data/test/segments.txt"
    file.parent.mkdir(parents=True)
    write_segments(file, [Segment(0.0, 3600.0)])
    status, found = _found(empty)

    assert (status, found["settings"]["state"]) == (1, "failed")
    assert found["settings"]["found"].endswith(
        f" stops the run: a file without a record is in the way: {file}"
    )
    assert found["settings"]["fix"] == "move it away, or choose another output directory"


def test_strain_that_is_too_short(empty):
    """Once the segments are known, livetime and injections are held against them."""
    folder = empty.directory / "data/test"
    folder.mkdir(parents=True)
    write_segments(folder / "segments.txt", [Segment(0.0, 3600.0)])
    _, long = _found(empty)
    write_segments(folder / "segments.txt", [Segment(0.0, 40.0)])
    _, short = _found(empty)

    assert (long["livetime"]["state"], long["injections"]["state"]) == ("ok", "ok")
    assert (short["livetime"]["state"], short["injections"]["state"]) == ("failed", "failed")
    assert "the segments are too short for the livetime asked for" in short["livetime"]["found"]


def test_an_image_that_is_missing(empty, tmp_path):
    """Of each stage, with the command that builds it."""
    status, found = _found(empty, "--container-root", str(tmp_path))

    assert status == 1
    for stage in ("data", "train", "export", "infer", "sv"):
        assert found[f"stage {stage}"]["state"] == "failed"
        assert found[f"stage {stage}"]["found"].startswith(
            f"no container image for stage '{stage}'"
        )
        assert stage in found[f"stage {stage}"]["fix"]


def test_an_image_of_other_code(empty, tmp_path, monkeypatch):
    """It is a warning: the run may want it so."""
    for stage in ("data", "train", "export", "infer", "sv"):
        (tmp_path / f"{stage}.sif").touch()
    monkeypatch.setattr(doctor.images, "outdated", lambda stage, _: f"{stage} is old")
    monkeypatch.setattr("aframe.stages.Stage.refuse_missing", lambda _: None)
    status, found = _found(empty, "--container-root", str(tmp_path))

    assert status == 0
    assert (found["stage sv"]["state"], found["stage sv"]["found"]) == ("warning", "sv is old")
    assert found["stage sv"]["fix"] == f"build-containers sv --root {tmp_path}"


def test_a_missing_input(empty):
    """What no step makes must be there."""
    (empty.directory / "train.yaml").unlink()
    status, found = _found(empty)

    assert status == 1
    assert found["inputs"]["found"] == (
        f"an input is missing: {empty.directory}/train.yaml does not exist"
    )


def test_a_directory_that_cannot_be_written(empty, monkeypatch):
    """Or in whose place a file lies."""
    (empty.directory / "training").touch()
    _, found = _found(empty)
    monkeypatch.setattr(os, "access", lambda *_: False)
    status, closed = _found(empty)

    assert found[f"directory {empty.directory}/training"]["found"] == "a file is in its place"
    assert status == 1
    assert closed[f"directory {empty.directory}"]["found"] == "it cannot be written"


def test_a_disk_with_little_room(finished, monkeypatch):
    """Less than is to be written fails; little is a warning."""
    shutil.rmtree(finished.directory / "training")
    free = shutil._ntuple_diskusage(10**12, 10**12, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    enough = doctor._directory(finished.directory, 0.5)
    short = doctor._directory(finished.directory, 2.0)
    monkeypatch.setattr(doctor, "_LITTLE", 1e10)

    assert (enough.state, short.state) == ("ok", "failed")
    assert short.found == "1 B are free, about 2 B are to be written"
    assert doctor._directory(finished.directory, 0.0).found == "1 B are free"
    assert doctor._directory(finished.directory, 0.5).state == "warning"


def test_directories_that_share_a_disk(empty, monkeypatch):
    """What is to be written on one disk is summed; elsewhere it is each directory's own."""
    for name in ("data", "training", "results"):
        (empty.directory / name).mkdir()
    monkeypatch.setattr(doctor, "estimate", lambda *_: SimpleNamespace(written=10.0))
    free = shutil._ntuple_diskusage(10**12, 10**12, 149)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    shared = _found(empty)[1]
    monkeypatch.setattr(doctor, "_disk", hash)
    apart = _found(empty)[1]

    about = f"directory {empty.directory}/training"
    assert shared[about]["state"] == "failed"
    assert shared[about]["found"] == (
        "149 B are free, about 10 B are to be written and 140 B elsewhere on this disk"
    )
    assert apart[about]["found"] == "149 B are free, about 10 B are to be written"
    assert apart[about]["state"] == "ok"


@pytest.mark.usefixtures("no_pool")
def test_the_directory_of_jobs(empty):
    """It is looked at where a step runs on a pool, and only there."""
    place = empty.directory / "condor"
    place.touch()
    here = _found(empty)[1]
    there = _found(empty, "--Train-workflow", "htcondor")[1]

    assert f"directory {place}" not in here
    assert there[f"directory {place}"]["state"] == "failed"
    assert there[f"directory {place}"]["found"] == "a file is in its place"


@pytest.mark.parametrize(
    ("seconds", "state", "says"),
    [
        (86400, "ok", ", for 2"),
        (3600, "warning", "min, wanted"),
        (-9000, "failed", "it ended 2.5 h"),
    ],
)
def test_the_life_of_a_token(empty, monkeypatch, seconds, state, says):
    """Where strain is asked for with it, what is over fails and what ends soon is a warning."""
    source = '{"kind": "datafind", "frametypes": {"H1": "H1_HOFT_C00", "L1": "L1_HOFT_C00"}}'
    empty.set("luigi_base", "source", source)
    token = _token(seconds + 5)
    monkeypatch.setenv("BEARER_TOKEN", token)
    _, out, _ = empty.aframe("doctor")
    _, found = _found(empty)

    assert found["bearer token"]["state"] == state, out
    assert says in found["bearer token"]["found"]
    assert "wanted by" in found["bearer token"]["found"]
    # What it is, is nobody's business.
    assert token not in out
    monkeypatch.delenv("BEARER_TOKEN")
    assert _found(empty)[1]["bearer token"]["state"] == "failed"


def test_tokens_are_found_where_they_lie(tmp_path, monkeypatch):
    """A variable, a file that one names, the user's own folder; what is no token says so."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    environment = {"XDG_RUNTIME_DIR": str(runtime)}
    assert credentials.token(environment).place is None
    (runtime / "bt_u987654").write_text(_token(100))
    assert credentials.token(environment).place == str(runtime / "bt_u987654")
    (tmp_path / "mine").write_text("no token")
    mine = credentials.token({**environment, "BEARER_TOKEN_FILE": str(tmp_path / "mine")})
    assert (mine.place, mine.fault) == (str(tmp_path / "mine"), "it is no JSON web token")
    assert credentials.token({"SCITOKEN": _token(100)}).left == pytest.approx(100, abs=60)


def test_the_life_of_a_proxy(tmp_path):
    """Read from the certificate itself."""
    path = tmp_path / "proxy.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=me"]
    subprocess.run([*words, "-days", "3", "-keyout", "/dev/null", "-out", path], check=True,
                   capture_output=True)  # fmt: skip
    there = credentials.proxy({"X509_USER_PROXY": str(path)})
    path.with_name("x").write_text("x")
    broken = credentials.proxy({"X509_USER_PROXY": str(path.with_name("x"))})

    # A clock that steps, and the seconds that openssl took.
    assert there.left == pytest.approx(3 * 86400, abs=300)
    assert broken.fault == "it is no certificate"
    assert credentials.proxy({}).place is None


def test_keys_of_s3(tmp_path):
    """In the environment, whole or half, or in the file of the chosen profile."""
    assert credentials.aws({"AWS_ACCESS_KEY_ID": "a"}).fault == "the other half is not set"
    both = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert credentials.aws(both).place == "$AWS_ACCESS_KEY_ID"
    assert credentials.aws({**both, "AWS_CREDENTIAL_EXPIRATION": "2000-01-01T00:00:00Z"}).left < 0
    assert credentials.aws({**both, "AWS_CREDENTIAL_EXPIRATION": "soon"}).left is None
    file = tmp_path / "credentials"
    file.write_text("[lab]\naws_access_key_id = a\n")
    named = {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    assert credentials.aws(named).place is None
    assert credentials.aws({**named, "AWS_PROFILE": "lab"}).place == f"[lab] of {file}"
    file.write_text("x\n")
    assert credentials.aws(named).fault == "the file cannot be read"


def test_the_key_of_wandb(tmp_path):
    """In the environment or the user's netrc."""
    file = tmp_path / "netrc"
    assert credentials.wandb({"WANDB_API_KEY": "k"}).place == "$WANDB_API_KEY"
    assert credentials.wandb({"NETRC": str(file)}).place is None
    file.write_text("machine api.wandb.ai login user password k\n")
    assert credentials.wandb({"NETRC": str(file)}).place == str(file)
    file.write_text("nonsense\n")
    assert credentials.wandb({"NETRC": str(file)}).place is None


def test_a_key_of_s3_that_is_wanted(empty, monkeypatch):
    """By a step whose output is there."""
    script = empty.directory / "run.sh"
    text = script.read_text()
    old = f"AFRAME_TRAIN_RUN_DIR={empty.directory}/training"
    script.write_text(text.replace(old, "AFRAME_TRAIN_RUN_DIR=s3://bucket/run"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    _, found = _found(empty)

    assert found["S3 key"]["state"] == "failed"
    assert "wanted by " in found["S3 key"]["found"]


@pytest.mark.usefixtures("patient")
def test_a_store_that_can_be_used(empty, bucket):
    """Of each of the run's directories there, with nothing left behind; its inputs are read."""
    results, strain = f"{bucket.address}/run/results", f"{bucket.address}/run/data"
    _move(empty, "AFRAME_RESULTS_DIR", results)
    _move(empty, "AFRAME_TEST_DATA_DIR", strain)
    status, found = _found(empty)

    assert status == 0, [each for each in found.values() if each["state"] == "failed"]
    store = found[f"store {strain}, {results}"]
    assert (store["state"], store["found"]) == ("ok", "it answers, and can be read and written")
    assert found["settings"]["state"] == found["S3 key"]["state"] == "ok"
    assert bucket.names() == []


@pytest.mark.usefixtures("patient")
def test_a_store_that_is_only_read(finished, bucket):
    """Where nothing is to be made there, no leave to write is asked for."""
    bucket.put(finished.directory / "results", "run/results")
    there = bucket.names()
    _move(finished, "AFRAME_RESULTS_DIR", f"{bucket.address}/run/results")
    _, found = _found(finished)

    assert found["settings"]["state"] == "ok", found["settings"]
    store = found[f"store {bucket.address}/run/results"]
    assert store["found"] == "it answers, and can be read; nothing is to be written"
    assert bucket.names() == there


@pytest.mark.usefixtures("patient")
def test_a_store_that_writes_on_no_condition(empty, bucket, monkeypatch):
    """It could not keep two runs apart; what it wrote is removed."""
    _move(empty, "AFRAME_RESULTS_DIR", bucket.address)

    def put(self, name, content, _tag):
        return self._put(name, content)["ETag"]

    monkeypatch.setattr("aframe.artifacts.remote.Remote.swap", put)
    status, found = _found(empty)

    assert status == 0
    assert found[f"store {bucket.address}"]["state"] == "warning"
    assert "it cannot keep two runs apart" in found[f"store {bucket.address}"]["found"]
    assert bucket.names() == []


@pytest.mark.usefixtures("patient")
def test_a_bucket_that_is_not_there(empty, bucket):
    """And the steps that a run would refuse for it."""
    _move(empty, "AFRAME_RESULTS_DIR", "s3://bigg/run/results")
    status, found = _found(empty)

    assert status == 1
    store = found["store s3://bigg/run/results"]
    assert store["state"] == "failed"
    assert store["found"].startswith("there is no such bucket: ")
    assert store["fix"].endswith("make it: aws s3 mb s3://bigg")
    assert found["settings"]["found"].startswith(
        "ExportLocal and 4 more of 15 steps (aframe plan) stop the run: there is no such bucket"
    )
    assert found["settings"]["fix"] == store["fix"]
    assert bucket.name != "bigg"


@pytest.mark.usefixtures("patient", "keys_count")
def test_keys_that_the_store_refuses(empty, bucket):
    """They are there, and are of no use."""
    _move(empty, "AFRAME_RESULTS_DIR", f"{bucket.address}/run/results")
    status, found = _found(empty)

    assert status == 1
    store = found[f"store {bucket.address}/run/results"]
    assert store["state"] == "failed"
    assert store["found"].startswith("the store refuses these credentials: ")
    assert "AWS_PROFILE" in store["fix"]


@pytest.mark.usefixtures("patient")
def test_a_store_that_lets_nobody_write(empty, bucket, monkeypatch):
    """Reading alone is not enough where steps are to write there."""
    _move(empty, "AFRAME_RESULTS_DIR", f"{bucket.address}/run/results")

    def refuse(*_):
        raise AframeError("the store refuses", found="403", wanted_by="it", fix="ask for leave")

    monkeypatch.setattr("aframe.artifacts.remote.Remote.swap", refuse)
    status, found = _found(empty)

    store = found[f"store {bucket.address}/run/results"]
    assert (status, store["found"], store["fix"]) == (1, "the store refuses: 403", "ask for leave")
    assert found["settings"]["state"] == "ok"


@pytest.mark.usefixtures("patient")
def test_a_store_that_nobody_answers_for(empty, bucket, monkeypatch):
    """It is a fault of the store, and none of the strain, of which nothing is known."""
    _move(empty, "AFRAME_TEST_DATA_DIR", f"{bucket.address}/run/data")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    status, found = _found(empty)

    assert status == 1
    store = found[f"store {bucket.address}/run/data"]
    assert store["state"] == "failed"
    assert store["found"].startswith("the store cannot be reached: ")
    assert store["fix"].startswith("correct AWS_ENDPOINT_URL")
    assert found["livetime"]["state"] == "-"


@pytest.mark.usefixtures("patient")
def test_a_key_of_s3_that_boto3_finds_elsewhere(empty, bucket, monkeypatch):
    """Where the store takes it, none is missing: a profile may name a program that tells it."""
    _move(empty, "AFRAME_RESULTS_DIR", f"{bucket.address}/run/results")
    nobody = credentials.Credential("S3 key", None, "set it")
    monkeypatch.setattr(credentials, "aws", lambda _: nobody)
    status, found = _found(empty)

    assert (status, found["S3 key"]["state"]) == (0, "ok")
    assert found["S3 key"]["found"].startswith("the store takes what boto3 finds, wanted by ")


@pytest.mark.usefixtures("patient")
def test_strain_on_s3(empty, bucket, tmp_path):
    """Its segments are read there, as those here are."""
    _move(empty, "AFRAME_TEST_DATA_DIR", f"{bucket.address}/run/data")
    write_segments(tmp_path / "segments.txt", [Segment(0.0, 3600.0)])
    bucket.put(tmp_path / "segments.txt", "run/data/segments.txt")
    _, long = _found(empty)
    write_segments(tmp_path / "segments.txt", [Segment(0.0, 40.0)])
    bucket.put(tmp_path / "segments.txt", "run/data/segments.txt")
    _, short = _found(empty)

    assert (long["livetime"]["state"], long["injections"]["state"]) == ("ok", "ok")
    assert "of background fit" in long["livetime"]["found"]
    assert (short["livetime"]["state"], short["injections"]["state"]) == ("failed", "failed")
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("patient")
def test_the_cache_of_a_run_on_s3(empty, bucket, tmp_path, monkeypatch):
    """It is looked at where something lies there, and named; a home may have a quota."""
    alone = _found(empty)[1]
    _move(empty, "AFRAME_RESULTS_DIR", f"{bucket.address}/run/results")
    monkeypatch.setattr(doctor, "estimate", lambda *_: SimpleNamespace(written=10.0))
    named = _found(empty)[1][f"cache of S3 {tmp_path}/cache"]
    monkeypatch.delenv("AFRAME_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    usual = _found(empty)[1][f"cache of S3 {tmp_path}/home/.cache/aframe"]
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    status, found = _found(empty)
    taken = found[f"cache of S3 {tmp_path}/file"]

    assert not any(about.startswith("cache") for about in alone)
    assert named["state"] == usual["state"] == "ok"
    assert "about 50 B are to be written and 100 B elsewhere on this disk" in named["found"]
    assert named["found"].endswith(f" in {tmp_path}")
    assert usual["found"].endswith("; AFRAME_CACHE_DIR is not set")
    assert (status, taken["state"], taken["found"]) == (1, "failed", "a file is in its place")
    assert "export AFRAME_CACHE_DIR=" in taken["fix"]


@pytest.mark.parametrize(
    ("mode", "state", "found"),
    [
        ("online", "failed", "none, wanted by Train"),
        ("offline", "-", "none, and none is needed"),
        ("disabled", "-", "none, and none is needed"),
    ],
)
def test_a_key_of_wandb_that_is_wanted(empty, monkeypatch, mode, state, found):
    """By a training that logs there, unless its client is told to stay offline."""
    monkeypatch.setenv("WANDB_MODE", mode)
    key = _found(empty, "--Train-use-wandb")[1]["W&B key"]

    assert (key["state"], key["found"]) == (state, found)


@pytest.mark.usefixtures("no_pool")
def test_tokens_that_a_pool_brings(empty):
    """Jobs get theirs; a step that runs here wants one of the user's nevertheless."""
    source = '{"kind": "datafind", "frametypes": {"H1": "H1_HOFT_C00", "L1": "L1_HOFT_C00"}}'
    for key, value in {
        "source": source,
        "workflow": "htcondor",
        "use_oauth_services": "a,b",
    }.items():
        empty.set("luigi_base", key, value)
    brought = _found(empty)[1]["bearer token"]
    wanted = _found(empty, "--FetchTrain-workflow", "local")[1]["bearer token"]

    own = "jobs get their own by HTCondor (use_oauth_services = a, b)"
    assert (brought["state"], brought["found"]) == ("-", f"none; {own}")
    assert (wanted["state"], wanted["found"]) == ("failed", f"none, wanted by FetchTrain; {own}")


def test_a_server_that_is_out_of_reach(empty):
    """And one that answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        there = _found(empty, "--SandboxInfer-server", f"127.0.0.1:{port}")[1]
    status, gone = _found(empty, "--SandboxInfer-server", f"127.0.0.1:{port}")

    assert there["Triton server"]["state"] == "ok"
    assert (status, gone["Triton server"]["state"]) == (1, "failed")


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        ("echo '[]'", "ok", "its scheduler answers"),
        ("echo 'nobody home' >&2; exit 1", "failed", "does not answer: nobody home"),
        (None, "failed", "HTCondor is not installed"),
    ],
)
def test_a_pool(empty, tmp_path, monkeypatch, script, state, found):
    """Its scheduler is asked where a step runs there, and only there."""
    empty.set("luigi_base", "workflow", "htcondor")
    monkeypatch.setattr(doctor, "_PATIENCE", 60.0)
    monkeypatch.setattr(queue, "_bindings_serve", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    for name in ("condor_q", "condor_submit") if script else ():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    pool = _found(empty)[1]["HTCondor pool"]

    assert pool["state"] == state
    assert found in pool["found"]


_SLOT = {"TotalSlotMemory": 24105, "TotalSlotDisk": 52259328.0, "TotalSlotCpus": 4}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("slots", "words", "state", "says"),
    [
        ([_SLOT], (), "ok", "at most 23.5 GB memory, 49.8 GB disk, 4 cores, 0 GPUs"),
        ([_SLOT], ("--Train-request-memory", "30GB"), "failed", "a job of Train asks for: 30 GB"),
        ([_SLOT, {**_SLOT, "TotalSlotGPUs": 1}], ("--Train-request-gpus", "1"), "ok", "1 GPU"),
        # Each is there, but not on one machine.
        (
            [{**_SLOT, "TotalSlotMemory": 65536}, {**_SLOT, "TotalSlotGPUs": 1}],
            ("--Train-request-gpus", "1", "--Train-request-memory", "30GB"),
            "failed",
            "at most 64 GB memory, 49.8 GB disk, 4 cores, 1 GPU; none has",
        ),
        ([], (), "warning", "none is there now"),
        (None, (), "-", "condor_status is not here to tell"),
        ("nobody home", (), "failed", "nobody home"),
        ("", (), "failed", "condor_status failed"),
    ],
)
def test_machines_of_a_pool(empty, tmp_path, monkeypatch, slots, words, state, says):
    """The most that one offers, and which request fits on none that is there."""
    empty.set("luigi_base", "workflow", "htcondor")
    monkeypatch.setattr(queue, "_bindings_serve", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    told = (
        f"echo '{slots}' >&2; exit 1" if isinstance(slots, str) else f"echo '{json.dumps(slots)}'"
    )
    scripts = {"condor_q": "echo '[]'", "condor_submit": "", "condor_status": told}
    for name, script in scripts.items():
        if name != "condor_status" or slots is not None:
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "bin" / name).chmod(0o755)

    status, findings = _found(empty, *words)
    found = findings["machines of the pool"]

    assert (found["state"], status) == (state, int(state == "failed")), findings
    assert says in found["found"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("asked", "answer", "state", "says"),
    [
        ("TARGET.NoSuch == 1", "[]", "warning", "those of Train: TARGET.NoSuch == 1"),
        ("TARGET.NoSuch == 1", "[{}]", "ok", "machines meet them now"),
        ("TARGET.NoSuch == 1", "{", "warning", "an answer is cut or no JSON"),
        ("MY.NoSuch == 1", "[]", "ok", "machines meet them now"),
        ("", "", None, ""),
    ],
)
def test_requirements_of_jobs(empty, tmp_path, monkeypatch, asked, answer, state, says):
    """Whether machines meet them; what is not known, or may be busy, is no fault."""
    empty.set("luigi_base", "workflow", "htcondor")
    monkeypatch.setattr(queue, "_bindings_serve", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    told = f"case \"$*\" in *NoSuch*) echo '{answer}';; *) echo '{json.dumps([_SLOT])}';; esac"
    scripts = {"condor_q": "echo '[]'", "condor_submit": "", "condor_status": told}
    for name, script in scripts.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    status, findings = _found(empty, *(("--Train-requirements", asked) if asked else ()))

    assert status == 0
    found = findings.get("requirements", {"state": None, "found": ""})
    assert (found["state"], says in found["found"]) == (state, True)


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        ("echo 'GPU 0: NVIDIA A40 (UUID: x)'", "ok", "NVIDIA A40"),
        ("echo 'no driver' >&2; exit 9", "failed", "no driver"),
        ("exit 0", "failed", "none"),
        ("exec sleep 60", "failed", "nvidia-smi did not answer within 0.2 s"),
    ],
)
def test_gpus(tmp_path, monkeypatch, script, state, found):
    """What NVIDIA's own program says of them."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if "sleep" in script:
        monkeypatch.setattr(doctor, "_PATIENCE", 0.2)
    else:
        monkeypatch.setattr(doctor, "_PATIENCE", 60.0)

    assert (doctor._gpu().state, doctor._gpu().found) == (state, found)


def test_without_a_gpu(tmp_path, monkeypatch):
    """No more than a warning."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert doctor._gpu().state == "warning"


@pytest.mark.usefixtures("no_pool")
def test_gpus_that_jobs_ask_for(empty):
    """Not this machine is to have them; what runs here without is named."""
    empty.set("luigi_base", "workflow", "htcondor")
    without = _found(empty)[1]["GPU"]
    some = _found(empty, "--Train-request-gpus", "1")[1]["GPU"]
    empty.set("luigi_base", "request_gpus", "1")
    every = _found(empty)[1]["GPU"]

    assert (without["state"], some["state"], every["state"]) == ("warning", "warning", "-")
    assert without["found"] == "none is seen: training and search run on the CPU"
    assert some["found"].startswith("none is seen, for ")
    assert some["found"].endswith("; jobs of Train ask for their own")
    assert every["found"].startswith("none is seen here; jobs of ")


@pytest.mark.usefixtures("no_pool")
def test_commands_that_a_pool_must_have(empty, monkeypatch, tmp_path):
    """Without a shared disk and an image: those of the stages whose steps are jobs."""
    monkeypatch.setattr("aframe.stages.Stage.refuse_missing", lambda _: None)
    words = ("--Train-workflow", "htcondor")
    shared = _found(empty, *words)[1]["stage train"]
    empty.set("luigi_base", "shared_disk", "False")
    found = _found(empty, *words)[1]
    (tmp_path / "train.sif").touch()
    image = _found(empty, *words, "--Train-image", str(tmp_path / "train.sif"))[1]["stage train"]

    assert (shared["state"], shared["found"]) == ("ok", "aframe-train is installed")
    assert found["stage train"] == {
        "about": "stage train",
        "state": "warning",
        "found": "aframe-train is installed here, and must be on PATH on the pool's machines, "
        "for Train",
        "fix": "give --image or --container-root",
    }
    assert found["stage data"]["state"] == "ok"
    assert "PATH" not in image["found"]


def test_what_does_not_answer_is_given_up(monkeypatch):
    """And whatever a library says of it is a finding."""
    monkeypatch.setattr(doctor, "_PATIENCE", 0.1)

    def fail():
        raise RuntimeError("no schedd")

    end = threading.Event()
    slow = doctor._in_time("pool", "fine", end.wait, "wait")
    end.set()
    assert (slow.state, slow.found) == ("failed", "no answer within 0.1 s")
    monkeypatch.setattr(doctor, "_PATIENCE", 60.0)
    assert doctor._in_time("pool", "fine", fail, "wait").found == "RuntimeError: no schedd"
    assert doctor._in_time("pool", "fine", lambda: 1, "wait").state == "ok"


@pytest.mark.usefixtures("looked_through")
def test_what_a_stage_refuses(empty, monkeypatch):
    """A prior or a noise curve that there is not is known to its stage alone, and told here."""
    monkeypatch.setenv("STUB_REFUSE", "data testing_waveforms")

    status, found = _found(empty)

    assert status == 1
    assert found["steps"]["state"] == "failed"
    assert found["steps"]["fix"]


@pytest.mark.usefixtures("looked_through")
def test_what_no_stage_refuses(empty):
    """All that are to run are looked through."""
    _, found = _found(empty)

    assert (found["steps"]["state"], found["steps"]["found"]) == (
        "ok",
        "the stages refuse none of 15",
    )
