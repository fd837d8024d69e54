"""Trials in their storage."""

import math
import os

import pytest

from aframe.errors import AframeError
from aframe_train.tune.trials import (
    Storage,
    Trial,
    claim,
    folder,
    mark_stopped,
    open_storage,
    read_trial,
    refuse_other_search,
    refuse_unwritable,
    write_trial,
)


@pytest.fixture(params=["directory", "bucket"])
def storage(request, tmp_path):
    """A search's place on this machine, and on S3."""
    if request.param == "directory":
        return Storage(str(tmp_path / "search"))
    return Storage(f"{request.getfixturevalue('bucket').address}/search")


def test_a_trial_is_read_as_it_was_written(storage):
    """With scores that are no numbers, too."""
    trial = Trial(3, {"rate": 0.1}, "running", [0.5, math.nan, 0.4], [1.0, 2.0, 3.0])
    write_trial(storage, trial)

    found = read_trial(storage, 3, {})

    assert repr(found) == repr(trial)
    assert (found.score, found.epochs, found.ended) == (0.5, 3, False)


def test_a_trial_that_nobody_began_waits(storage):
    """It has its settings and no score."""
    found = read_trial(storage, 0, {"rate": 1})

    assert found == Trial(0, {"rate": 1}, "waiting")
    assert math.isnan(found.score)


def test_a_stopped_trial_has_ended(storage):
    """The mark of the scheduler counts, whoever was killed before writing more."""
    write_trial(storage, Trial(1, {}, "running", [0.5], [1.0]))
    mark_stopped(storage, 1, 1)

    assert read_trial(storage, 1, {}).status == "stopped"
    assert read_trial(storage, 1, {}).ended


def test_a_trial_goes_on_on_another_machine(bucket, tmp_path):
    """What it resumes from is sent, and fetched by whoever runs it next; scratch is not."""
    storage = Storage(f"{bucket.address}/search")
    one = storage.fetch(2, tmp_path / "one")
    (one / "validation").mkdir()
    names = ("last.ckpt", "metrics.csv", "validation/epoch-0001.png")
    for name in (*names, "scratch", "validation/.epoch-0002.png"):
        (one / name).write_text(name)
    storage.keep(2, one)

    other = storage.fetch(2, tmp_path / "other")

    found = [path for path in other.rglob("*") if path.is_file()]
    assert sorted(path.relative_to(other).as_posix() for path in found) == list(names)
    assert (other / "last.ckpt").read_text() == "last.ckpt"


def test_a_store_that_refuses_is_an_error(bucket):
    """Not a trial that nobody began."""
    with pytest.raises(AframeError, match="there is no such bucket"):
        Storage("s3://no-such-bucket/search").read("search.json")


def test_a_directory_at_hand_is_used_itself(tmp_path):
    """No copies are made of what is there."""
    storage = Storage(str(tmp_path / "search"))
    here = storage.fetch(5, tmp_path / "scratch")
    storage.keep(5, here)

    assert here == tmp_path / "search" / folder(5)
    assert not (tmp_path / "scratch").exists()


def test_the_storage_has_the_name_of_the_search(tmp_path, monkeypatch):
    """Below storage_dir, a directory or an address; else where it is told."""
    monkeypatch.chdir(tmp_path)

    assert open_storage("runs", "first", default=tmp_path).address == f"{tmp_path}/runs/first"
    assert open_storage(None, "first", default=tmp_path / "d").address == f"{tmp_path}/d"


def test_a_storage_is_of_one_search(storage):
    """The same goes on, more trials go on, another is refused by the name of what differs."""
    asked = {"words": ["a"], "space": {"x": "uniform(0, 1)"}}
    refuse_other_search(storage, asked)
    claim(storage, asked)
    refuse_other_search(storage, {"words": ("a",), "space": {"x": "uniform(0, 1)"}})

    with pytest.raises(AframeError, match="trials of another search") as error:
        refuse_other_search(storage, {"words": ["a"], "space": {"x": "uniform(0, 2)"}})

    assert error.value.found == f"{storage.address}: other space"


def test_a_directory_that_is_to_be_made_can_be_written(tmp_path):
    """The nearest one that is there decides; one that cannot be written is named."""
    refuse_unwritable(tmp_path / "a" / "b", "storage_dir")
    (tmp_path / "file").touch()

    for place in ("file", "file/below"):
        with pytest.raises(AframeError, match="cannot be written") as error:
            refuse_unwritable(tmp_path / place, "storage_dir")
        assert error.value.found == f"{tmp_path / 'file'} is no directory"


def test_a_directory_of_somebody_else_is_refused(tmp_path, monkeypatch):
    """Also where permissions are what is in the way."""
    monkeypatch.setattr("os.access", lambda _, mode: mode == os.F_OK)

    with pytest.raises(AframeError, match="cannot be written") as error:
        refuse_unwritable(tmp_path, "temp_dir")

    assert error.value.found == f"{tmp_path} is not writable"
