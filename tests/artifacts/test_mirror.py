"""A verb whose output lies on S3, on machines that come and go."""

import dataclasses
import logging
import os
import platform
import shutil
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aframe.artifacts import claim
from aframe.artifacts.cache import cached
from aframe.artifacts.mirror import Mirror
from aframe.artifacts.record import file_digest, input_digest
from aframe.artifacts.remote import Remote, cache_directory
from aframe.errors import AframeError
from aframe.program import Resources, Verb, run_verb


@dataclass(frozen=True)
class Inputs:
    """What the verb reads.

    Args:
        strain: Strain.
    """

    strain: Path


@dataclass(frozen=True)
class Settings:
    """What the verb is told.

    Args:
        output: Where to.
        inputs: What it reads.
        steps: How many steps it takes.
        resources: How.
    """

    output: Path
    inputs: Inputs
    steps: int = 3
    resources: Resources = field(default_factory=Resources)


class Killed(BaseException):
    """Stands for what ends a process."""


class Counter:
    """A verb that counts, and keeps how far it is."""

    def __init__(self):
        self.until = None
        self.taken = 0

    def __call__(self, settings, draft):
        """Count."""
        path = draft.work / "state"
        state = int(path.read_text()) if path.exists() else 0
        while state < settings.steps:
            if state == self.until:
                raise Killed
            state += 1
            self.taken += 1
            path.write_text(str(state))
            draft.keep(path, wait=True)
        (draft.path / "result.txt").write_text(f"{state} {settings.inputs.strain.read_text()}")
        if settings.steps < 4:
            (draft.path / "folder").mkdir(exist_ok=True)
            (draft.path / "folder" / "few.txt").write_text("few")


@pytest.fixture
def counter():
    return Counter()


@pytest.fixture
def settings(bucket, tmp_path):
    (tmp_path / "strain.txt").write_text("noise")
    bucket.put(tmp_path / "strain.txt", "strain.txt")
    return Settings(Path(f"{bucket.address}/run"), Inputs(Path(f"{bucket.address}/strain.txt")))


def run(counter, settings, *, remake=False):
    verb = Verb("count", type(settings), counter, ("result.txt", "folder"))
    run_verb("data", verb, settings, remake=remake)


def lose_machine():
    """Nothing of what was here is left."""
    shutil.rmtree(cache_directory())


def test_an_output_on_s3_is_whole(bucket, settings, counter):
    """Files and record are there, at hand as well, and nothing of the draft."""
    run(counter, settings)

    published = ["run/count.record.json", "run/folder/few.txt", "run/result.txt"]
    assert bucket.names("run/") == published
    assert bucket.get("run/result.txt") == b"3 noise"
    assert (cache_directory() / bucket.name / "run/result.txt").read_text() == "3 noise"


@pytest.mark.parametrize("lost", [False, True])
def test_a_finished_output_is_current_anywhere(settings, counter, lost):
    """The same command does nothing, on this machine or an empty one, and fetches nothing."""
    run(counter, settings)
    if lost:
        lose_machine()
    run(counter, settings)

    assert counter.taken == 3
    assert bool(list(cache_directory().rglob("run/result.txt"))) != lost


def test_a_killed_run_goes_on_anywhere(bucket, settings, counter):
    """From what it kept, on a machine that has nothing."""
    counter.until = 2
    with pytest.raises(Killed):
        run(counter, settings)
    lose_machine()
    counter.until = None
    run(counter, settings)

    assert counter.taken == 3
    assert bucket.get("run/result.txt") == b"3 noise"
    assert not any("draft" in name for name in bucket.names())


def test_what_others_left_is_newer(settings, counter, tmp_path):
    """A machine that went away and comes back takes what another has done since."""
    counter.until = 1
    with pytest.raises(Killed):
        run(counter, settings)
    cache_directory().rename(tmp_path / "first machine")
    counter.until = 2
    with pytest.raises(Killed):
        run(counter, settings)
    lose_machine()
    (tmp_path / "first machine").rename(cache_directory())
    counter.until = None
    run(counter, settings)

    assert counter.taken == 3


class Elsewhere(Counter):
    """While it counts, another machine is told to do the same."""

    def __init__(self, monkeypatch, cache):
        super().__init__()
        self.other = Counter()
        self.refused = None
        self.patch, self.cache = monkeypatch, cache

    def __call__(self, settings, draft):
        """Count, after the other has tried."""
        with self.patch.context() as machine:
            machine.setenv("AFRAME_CACHE_DIR", str(self.cache))
            machine.setattr(claim.platform, "node", lambda: "other")
            with pytest.raises(AframeError, match="another run is writing this output") as error:
                run(self.other, settings)
            self.refused = error.value
        super().__call__(settings, draft)


def test_two_machines_do_not_write_one_output(bucket, settings, monkeypatch, tmp_path):
    """The second is told of the first, and finds the output once that has ended."""
    counter = Elsewhere(monkeypatch, tmp_path / "other")
    run(counter, settings)
    run(counter.other, settings)

    assert counter.refused.wanted_by == f"{bucket.address}/run"
    assert counter.refused.found.startswith(f"process {os.getpid()} on {platform.node()}, last")
    assert (counter.taken, counter.other.taken) == (3, 0)
    assert bucket.names("run/.") == []


def test_who_was_taken_over_sends_no_more(bucket, settings, counter, monkeypatch):
    """A machine that was asleep does not write among what another makes."""
    monkeypatch.setattr(claim, "SECONDS_TO_STALE", 0)
    go_on = counter.__call__

    def overtaken(settings, draft):
        Mirror(settings.output, "count", ".digest").claim.hold()
        draft.mirror.claim._renew()  # its next sign
        go_on(settings, draft)

    with pytest.raises(AframeError, match="another run has taken over this output"):
        run(overtaken, settings)
    assert bucket.names("run/") == ["run/.draft-count/.claim.json", "run/.draft-count/.digest"]


def test_other_settings_begin_anew(bucket, settings, counter):
    """A draft of other settings is no part of this one."""
    counter.until = 2
    with pytest.raises(Killed):
        run(counter, settings)
    lose_machine()
    counter.until = None
    run(counter, Settings(settings.output, settings.inputs, steps=4))

    assert counter.taken == 2 + 4
    assert bucket.get("run/result.txt") == b"4 noise"


def test_remade_with_other_settings_it_replaces(bucket, settings, counter):
    """Refused first, with the setting; then what is no longer made goes, there as here."""
    run(counter, settings)
    lose_machine()
    other = Settings(settings.output, settings.inputs, steps=4)
    with pytest.raises(AframeError, match="made with other settings"):
        run(counter, other)
    run(counter, other, remake=True)

    assert bucket.names("run/") == ["run/count.record.json", "run/result.txt"]
    assert bucket.get("run/result.txt") == b"4 noise"


def test_killed_before_it_was_sent_it_is_sent_by_the_next(bucket, settings, counter, monkeypatch):
    """What was published here is not made again."""
    push = Mirror.push
    monkeypatch.setattr(Mirror, "push", lambda _: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        run(counter, settings)
    monkeypatch.setattr(Mirror, "push", push)
    assert "run/result.txt" not in bucket.names()
    run(counter, settings)

    assert counter.taken == 3
    assert bucket.get("run/result.txt") == b"3 noise"


def test_what_another_wrote_meanwhile_gets_no_record(bucket, settings, counter, monkeypatch):
    """It is told, and the same command sends its own files again."""
    upload = Remote.upload

    def overwritten(self, path, name):
        tag = upload(self, path, name)
        if name == "result.txt":
            bucket.client.put_object(Bucket=bucket.name, Key="run/result.txt", Body=b"other")
        return tag

    monkeypatch.setattr(Remote, "upload", overwritten)
    with pytest.raises(AframeError, match="files on S3 are not what was sent there") as error:
        run(counter, settings)
    assert error.value.found == "1 of them, the first result.txt"
    assert "run/count.record.json" not in bucket.names("run/")
    monkeypatch.setattr(Remote, "upload", upload)
    run(counter, settings)

    assert counter.taken == 3
    assert bucket.get("run/result.txt") == b"3 noise"
    assert "run/count.record.json" in bucket.names("run/")


def test_changed_inputs_are_seen(bucket, settings, counter, tmp_path):
    """Their content counts, wherever they lie."""
    run(counter, settings)
    (tmp_path / "strain.txt").write_text("other")
    bucket.put(tmp_path / "strain.txt", "strain.txt")

    with pytest.raises(AframeError, match="made with other settings") as error:
        run(counter, settings)
    assert "input strain: its content changed" in error.value.found


def test_what_another_machine_made_is_what_is_read(bucket, settings, counter, tmp_path):
    """Of an output that another has remade nothing old is read, nor an old digest believed."""
    run(counter, settings)
    cache_directory().rename(tmp_path / "first machine")
    (tmp_path / "strain.txt").write_text("other")  # as long as before
    bucket.put(tmp_path / "strain.txt", "strain.txt")
    run(counter, dataclasses.replace(settings, steps=4), remake=True)
    lose_machine()
    (tmp_path / "first machine").rename(cache_directory())

    found = cached(settings.output)

    assert not (found / "folder").exists()
    assert (found / "result.txt").read_text() == "4 other"
    assert input_digest(found / "result.txt") == file_digest(found / "result.txt")


def test_what_another_machine_remade_leaves_nothing_old_here(settings, counter, tmp_path):
    """What lies here by the same names is not what is there, and goes."""
    run(counter, settings)
    cache_directory().rename(tmp_path / "first machine")
    other = dataclasses.replace(settings, steps=4)
    run(counter, other, remake=True)
    lose_machine()
    (tmp_path / "first machine").rename(cache_directory())
    run(counter, other)

    assert counter.taken == 3 + 4
    assert [
        path.name
        for path in cache_directory().rglob("run/*")
        if path.is_file() and path.name[0] != "."
    ] == ["count.record.json"]


def test_a_sending_that_fails_here_is_told(bucket, tmp_path):
    """A store may recover; a file that cannot be read does not."""
    mirror = Mirror(f"{bucket.address}/run", "fit", ".digest")
    work = mirror.directory / ".draft-fit"
    work.mkdir(parents=True)
    (work / "last").write_text("last")

    def fails(path, name):
        raise OSError(path)

    mirror.remote.upload = fails
    mirror.keep(work / "last", wait=False)
    with pytest.raises(OSError, match="last"):
        mirror.push()


def test_a_file_of_ones_own_is_not_overwritten(bucket, settings, counter, tmp_path):
    """As on a disk."""
    (tmp_path / "mine").write_text("mine")
    bucket.put(tmp_path / "mine", "run/result.txt")

    with pytest.raises(AframeError, match="a file without a record is in the way") as error:
        run(counter, settings)
    assert error.value.found == "result.txt"
    assert bucket.get("run/result.txt") == b"mine"


def test_the_order_of_checkpoints_outlives_a_store_that_fails(bucket, tmp_path, caplog):
    """What had to be there before another is sent before it, once the store answers again."""
    mirror = Mirror(f"{bucket.address}/run", "fit", ".digest")
    work = mirror.directory / ".draft-fit"
    work.mkdir(parents=True)
    for name in ("best", "last"):
        (work / name).write_text(f"{name} of epoch 1")
    sent = []
    upload = mirror.remote.upload

    def fails(path, name):
        raise AframeError("no", found="503", wanted_by="x", fix="y")

    mirror.remote.upload = fails
    with caplog.at_level(logging.WARNING):
        mirror.keep(work / "best", wait=True)
    mirror.remote.upload = lambda path, name: (sent.append(name), upload(path, name))
    mirror.keep(work / "last", wait=False)
    mirror.push()

    assert "was not sent" in caplog.text
    assert sent == [".draft-fit/best", ".draft-fit/last"]


def test_the_last_checkpoint_waits_for_none(bucket):
    """While one is on its way the training goes on, and the next one is sent after it."""
    mirror = Mirror(f"{bucket.address}/run", "fit", ".digest")
    mirror.directory.mkdir(parents=True)
    path = mirror.directory / "last"
    started = mirror._sender.submit(lambda: None)
    started.result()
    sent = []
    mirror.remote.upload = lambda path, _: sent.append(path.read_text())
    mirror._last = type("Future", (), {"done": lambda _: False})()
    path.write_text("1")
    mirror.keep(path, wait=False)
    mirror._last = None
    path.write_text("2")
    mirror.keep(path, wait=False)
    path.write_text("3")
    mirror.push()

    assert sent == ["2"]


def test_what_a_store_in_trouble_refused_is_sent_with_the_next(bucket, caplog):
    """In the order in which it was made, and none of it once the work is done."""
    mirror = Mirror(f"{bucket.address}/run", "fetch", ".digest")
    mirror.directory.mkdir(parents=True)
    paths = [mirror.directory / name for name in "abc"]
    sent = []

    def fails(path, name):
        raise AframeError("no", found="503", wanted_by="x", fix="y")

    mirror.remote.upload = fails
    mirror.add(paths[0])
    mirror._last.result()
    mirror.remote.upload = lambda _path, name: sent.append(name)
    mirror.add(paths[1])
    mirror._last.result()
    mirror.settle()
    mirror.add(paths[2])
    mirror.close()

    assert "a file was not sent" in caplog.text
    assert sent == ["a", "b"]


def test_a_file_that_comes_as_the_last_was_sent_is_sent_too(bucket):
    """What is at work has found nothing more just before, and has not ended yet."""
    mirror = Mirror(f"{bucket.address}/run", "fetch", ".digest")
    mirror.directory.mkdir(parents=True)
    sent, late = [], [mirror.directory / "late"]

    class Files(deque):
        """Tells that there is none, while one comes."""

        def __bool__(self):
            known = len(self) > 0
            if not known and late:
                mirror.add(late.pop())
            return known

    mirror._added = Files()
    mirror.remote.upload = lambda _path, name: sent.append(name)
    mirror.add(mirror.directory / "first")
    mirror._last.result()
    mirror._last.result()
    mirror.close()

    assert sent == ["first", "late"]


def test_a_file_that_cannot_be_sent_is_told(bucket):
    """A store may recover; what is not there does not."""
    mirror = Mirror(f"{bucket.address}/run", "fetch", ".digest")
    mirror.directory.mkdir(parents=True)
    mirror.add(mirror.directory / "lost")
    with pytest.raises(FileNotFoundError, match="lost"):
        mirror.settle()


def test_at_hand_there_is_nothing_to_do(tmp_path):
    """An output on a disk has no mirror."""
    mirror = Mirror(tmp_path, "fit", ".digest")
    mirror.pull(())
    mirror.begin()
    mirror.keep(tmp_path / "none", wait=True)
    mirror.add(tmp_path / "none")
    mirror.settle()
    mirror.push()

    assert mirror.remote is None
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_named_in_what_is_refused(bucket):
    """Of a bucket that is not there."""
    with pytest.raises(AframeError, match="there is no such bucket"):
        Remote("s3://no-such-bucket/run").entries()
