"""A draft says how far it is: in the log, and in a file for whoever looks on."""

import json
import logging
import os
import time
from types import SimpleNamespace

import pytest

from aframe import draft as module
from aframe.draft import Draft, Status


@pytest.fixture
def status(tmp_path):
    """A status file in a folder that is there."""
    (tmp_path / "logs").mkdir()
    return Status(tmp_path / "logs" / "fetch.status.json", "aframe-data fetch")


def _told(status):
    return json.loads(status.path.read_text())


def test_progress_is_said_now_and_then(tmp_path, caplog, monkeypatch):
    """At most every few seconds, and at the end."""
    clock = iter(range(100, 200))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    draft = Draft(tmp_path)

    with caplog.at_level(logging.INFO):
        for done in range(1, 21):
            draft.progress(done, 20, "slides")

    assert caplog.messages == [f"{n} of 20 slides" for n in (1, 7, 13, 19, 20)]


def test_a_status_names_the_step_and_who_does_it(status):
    """Whoever looks on knows what is done, where, and by which process."""
    status.tell("running")

    told = _told(status)
    assert (told["step"], told["state"]) == ("aframe-data fetch", "running")
    assert (told["host"], told["pid"]) == (os.uname().nodename, os.getpid())
    assert told["started"] <= told["updated"]
    assert told["total"] is None


def test_progress_reaches_the_status(tmp_path, status, monkeypatch):
    """The count of branches is written at most every two seconds; an end always is."""
    clock = iter([0.5 * n for n in range(100, 200)])
    # Not the module's own function, which the log and other threads ask as well.
    told = SimpleNamespace(time=lambda: next(clock), monotonic=time.monotonic)
    monkeypatch.setattr(module, "time", told)
    draft = Draft(tmp_path, status=status)
    seen = []

    for done in range(1, 10):
        draft.progress(done, 9, "files")
        seen.append(_told(status)["done"])
    status.tell("done")

    assert seen == [1, 1, 1, 1, 5, 5, 5, 5, 9]
    assert (_told(status)["state"], _told(status)["unit"]) == ("done", "files")


def test_no_folder_is_made_for_a_status(tmp_path):
    """A command run by hand leaves no file beside its output."""
    Status(tmp_path / "logs" / "x.status.json", "aframe-data fetch").tell("running")

    assert not list(tmp_path.iterdir())
