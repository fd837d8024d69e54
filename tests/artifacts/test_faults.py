"""A store that fails in the ways stores do, in front of one that answers as S3 does."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from aframe.artifacts import inventory, store
from aframe.artifacts.cache import cached, journal_of_sent
from aframe.artifacts.record import Record, file_digest, record_path, write_record
from aframe.artifacts.remote import Entry, Remote, here
from aframe.errors import AframeError

#: More than one part of an upload or a download.
LARGE = 9 << 20
#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 300


@pytest.fixture(autouse=True)
def _nothing_seen():
    inventory.forget()


@pytest.fixture
def remote(bucket, faulty):
    """A directory with a small and a large file, by way of the store with faults."""
    for name, size in (("small", 1000), ("large", LARGE)):
        content = os.urandom(size)
        bucket.client.put_object(Bucket=bucket.name, Key=f"run/{name}", Body=content)
    return Remote(f"{bucket.address}/run")


def test_a_burst_of_refusals_is_outlasted(bucket, faulty, remote, tmp_path):
    """Each kind of request is asked again, until it is answered."""
    for method in ("GET", "PUT", "POST"):
        faulty.add("busy", method, times=2)
    (tmp_path / "x").write_text("x")

    assert set(remote.entries()) == {"small", "large"}
    remote.upload(tmp_path / "x", "x")
    remote.remove(["small"])
    faulty.add("busy", "HEAD")
    remote.download("large", tmp_path / "large")

    assert bucket.names("run/") == ["run/large", "run/x"]
    assert (tmp_path / "large").stat().st_size == LARGE
    assert (faulty.asked("PUT"), faulty.asked("POST")) == (3, 3)


def test_a_store_that_stays_busy_is_told_so(faulty, remote, monkeypatch):
    """With the word of the store and that the same command goes on later."""
    monkeypatch.setattr(store, "ATTEMPTS", 2)
    store._client.cache_clear()
    faulty.add("busy", times=99)

    with pytest.raises(AframeError, match="the store is busy") as error:
        Remote(remote.address).entries()
    assert "SlowDown" in error.value.found
    assert "run the same command again" in error.value.fix
    assert faulty.asked("GET") == 2
    store._client.cache_clear()


def test_slow_answers_are_waited_for(faulty, remote, tmp_path):
    """They are no faults."""
    faulty.add("slow", seconds=1.5, times=2)

    remote.download("small", tmp_path / "small", remote.entries()["small"])

    assert faulty.asked("GET") == 2


def test_an_answer_that_does_not_come_is_asked_for_again(faulty, remote, monkeypatch):
    """After a while."""
    monkeypatch.setattr(store, "_SECONDS_TO_ANSWER", 1)
    store._client.cache_clear()
    faulty.add("slow", seconds=5)

    assert set(Remote(remote.address).entries()) == {"small", "large"}
    # On a busy machine the second may take too long as well.
    assert faulty.asked("GET") >= 2
    store._client.cache_clear()


@pytest.mark.parametrize("size", [1000, LARGE])
def test_a_cut_upload_is_sent_again(bucket, faulty, remote, tmp_path, size):
    """The connection is reset in the middle; whole it arrives."""
    (tmp_path / "x").write_bytes(os.urandom(size))
    faulty.add("cut upload", "PUT", times=2)

    tag = remote.upload(tmp_path / "x", "x")

    assert bucket.get("run/x") == (tmp_path / "x").read_bytes()
    assert remote.entries()["x"] == Entry(size, tag)


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_truncated_download_is_fetched_again(bucket, faulty, remote, tmp_path, name):
    """What arrives is whole."""
    entry = remote.entries()[name]
    faulty.add("cut download", part=f"run/{name}", times=2)

    remote.download(name, tmp_path / name, entry)

    assert (tmp_path / name).read_bytes() == bucket.get(f"run/{name}")


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_download_that_stays_truncated_leaves_nothing(
    faulty, remote, tmp_path, monkeypatch, name
):
    """No part of a file takes its name."""
    monkeypatch.setattr("aframe.artifacts.remote.ATTEMPTS", 2)
    monkeypatch.setattr(store, "ATTEMPTS", 2)
    entry = remote.entries()[name]
    faulty.add("cut download", part=f"run/{name}", times=999)

    with pytest.raises(AframeError, match="the store cannot be reached"):
        remote.download(name, tmp_path / name, entry)
    assert not (tmp_path / name).exists()


def test_a_cut_answer_of_a_small_file_is_read_again(bucket, faulty, remote):
    """Of a record or a claim."""
    faulty.add("cut download", part="run/small", times=2)

    assert remote.look("small").content == bucket.get("run/small")


def test_a_file_that_changes_between_listing_and_reading_is_refused(bucket, remote, tmp_path):
    """Of two versions neither is mixed with what the listing said of the other."""
    there = remote.entries()
    for name in there:
        bucket.client.put_object(Bucket=bucket.name, Key=f"run/{name}", Body=b"new")

    found = {"small": "PreconditionFailed", "large": f"large has 3 bytes, and had {LARGE}"}
    for name, entry in there.items():
        with pytest.raises(AframeError, match="a file on S3 changed while it was read") as error:
            remote.download(name, tmp_path / name, entry)
        assert found[name] in error.value.found
        assert not (tmp_path / name).exists()


def test_wrong_credentials_are_told_at_once(remote, faulty, request):
    """What they are, where they may stand, and no second attempt."""
    request.getfixturevalue("keys_count")
    with pytest.raises(AframeError, match="the store refuses these credentials") as error:
        remote.entries()

    assert "InvalidAccessKeyId" in error.value.found
    assert error.value.wanted_by == f"{remote.address} at {faulty.address}"
    assert "~/.aws/credentials" in error.value.fix
    assert faulty.asked("GET") == 1


def test_an_endpoint_without_its_scheme_is_told(bucket, monkeypatch):
    """A newcomer's first."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:9000")

    with pytest.raises(AframeError, match="AWS_ENDPOINT_URL is no address") as error:
        Remote(bucket.address)
    assert "127.0.0.1:9000" in error.value.found


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(AframeError, match="an address has no bucket"):
        Remote("s3://")


def test_what_the_record_does_not_list_is_not_taken(bucket, remote, tmp_path):
    """A file that was replaced behind the record's back is no input, though it is as long."""
    digests = {}
    for name in ("small", "large"):
        (tmp_path / name).write_bytes(bucket.get(f"run/{name}"))
        digests[name] = file_digest(tmp_path / name)
    sizes = {"small": 1000, "large": LARGE}
    write_record(record_path(tmp_path, "count"), Record("x count", {}, {}, digests, sizes))
    bucket.put(record_path(tmp_path, "count"), "run/count.record.json")
    assert cached(f"{remote.address}/large").stat().st_size == LARGE

    bucket.client.put_object(Bucket=bucket.name, Key="run/small", Body=b"?" * 1000)

    with pytest.raises(AframeError, match="a file on S3 is not what its record says") as error:
        cached(f"{remote.address}/small")
    assert digests["small"][:8] in error.value.found


#: A verb of four files, the last of which is sent in parts.
STAGE = f"""
import os, sys
from dataclasses import dataclass, field
from pathlib import Path
from aframe import program

@dataclass(frozen=True)
class Settings:
    output: Path
    resources: program.Resources = field(default_factory=program.Resources)

def make(settings, draft):
    '''Make files.'''
    for n in range(4):
        size = {LARGE} if n == 3 else 1000
        (draft.path / f"{{n}}.txt").write_bytes(bytes([n]) * size)

sys.exit(program.main("data", [program.Verb("make", Settings, make, ("0.txt", "1.txt"))]))
"""


@pytest.fixture
def make(bucket, tmp_path, faulty):
    """Starts the verb in a process of its own, by way of the store with faults."""
    (tmp_path / "stage.py").write_text(STAGE)

    def start(output=f"{bucket.address}/run"):
        words = [sys.executable, tmp_path / "stage.py", "make", "--output", output]
        return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)

    return start


def test_killed_while_it_sends_it_goes_on_where_it_was(bucket, faulty, make):
    """No record tells of half an output; the next run sends the rest, and no part stays behind."""
    held = faulty.add("held", "PUT", "partNumber", times=999)
    process = make()
    assert held.reached.wait(LONGEST)
    sent = journal_of_sent(here(f"{bucket.address}/run"), "make")
    _until(lambda: {"0.txt", "1.txt", "2.txt"} <= {*sent.read()})
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert inventory.read_record(f"{bucket.address}/run/make.record.json") is None
    assert not inventory.exists(f"{bucket.address}/run/3.txt")
    held.times = 0
    faulty.requests.clear()

    again = make()
    said = again.communicate(timeout=LONGEST)[1]

    assert again.returncode == 0, said
    assert "sending 1 files" in said
    assert [faulty.asked("PUT", f"run/{n}.txt") for n in range(3)] == [0, 0, 0]
    assert bucket.get("run/3.txt") == b"\x03" * LARGE
    assert bucket.names("run/") == [*(f"run/{n}.txt" for n in range(4)), "run/make.record.json"]
    left = bucket.client.list_multipart_uploads(Bucket=bucket.name)
    assert left.get("Uploads", []) == []


def test_killed_while_it_sends_another_machine_makes_it(
    bucket, faulty, make, monkeypatch, tmp_path
):
    """Whose cache is empty; the claim of the dead process does not stand in its way."""
    held = faulty.add("held", "PUT", "partNumber", times=999)
    process = make()
    assert held.reached.wait(LONGEST)
    process.send_signal(signal.SIGKILL)
    process.wait()
    held.times = 0
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "another cache"))

    again = make()
    said = again.communicate(timeout=LONGEST)[1]

    assert again.returncode == 0, said
    record = json.loads(bucket.get("run/make.record.json"))
    assert set(record["outputs"]) == {f"{n}.txt" for n in range(4)}


def test_of_two_at_once_one_writes(bucket, faulty, make, monkeypatch, tmp_path):
    """The other one, of another cache, is told who does."""
    held = faulty.add("held", "PUT", "partNumber", times=999)
    first = make()
    assert held.reached.wait(LONGEST)
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "another cache"))

    second = make()
    said = second.communicate(timeout=LONGEST)[1]
    held.times = 0
    held.let_go.set()
    first.communicate(timeout=LONGEST)

    assert (first.returncode, second.returncode) == (0, 2)
    assert "another run is writing this output" in said
    assert f"process {first.pid} on" in said
    assert "run/make.record.json" in bucket.names("run/")


def test_a_bucket_that_is_not_there_is_told_before_the_work(make):
    """With the command that makes it."""
    process = make("s3://not-there/run")
    said = process.communicate(timeout=LONGEST)[1]

    assert process.returncode == 2
    assert "there is no such bucket" in said
    assert "aws s3 mb s3://not-there" in said


def _until(true):
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_was_made_here_is_not_fetched(bucket, faulty, make, tmp_path):
    """An output that is the next step's input is on this machine already."""
    assert make().wait(LONGEST) == 0
    faulty.requests.clear()

    found = cached(f"{bucket.address}/run/3.txt")

    assert found.read_bytes() == b"\x03" * LARGE
    assert found.samefile(here(f"{bucket.address}/run/3.txt"))
    assert faulty.asked("GET", "run/3.txt") == 0


def test_what_was_made_here_and_replaced_there_is_fetched(bucket, make):
    """The tag tells."""
    assert make().wait(LONGEST) == 0
    bucket.client.put_object(Bucket=bucket.name, Key="run/1.txt", Body=b"!" * 1000)
    bucket.client.delete_object(Bucket=bucket.name, Key="run/make.record.json")

    assert cached(f"{bucket.address}/run/1.txt").read_bytes() == b"!" * 1000
