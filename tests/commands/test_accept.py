"""`aframe accept`: an output is kept after a change, and remembers what was accepted."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from aframe.artifacts.record import read_record
from aframe.commands import accept
from aframe.errors import AframeError
from aframe.tasks.outlook import RUNNING, Progress


def _accepted(run, path):
    return json.loads((run.directory / path).read_text())["notes"]["accepted"]


def test_a_setting_is_accepted(finished):
    """The step is current after it, and so is what rests on it; the old value is kept."""
    finished.set("luigi_TrainingWaveforms", "num_signals", "9999")
    before = finished.plan()
    status, out, _ = finished.aframe(
        "accept", "TrainingWaveforms", "--because", "one signal is no matter"
    )
    record = "data/train/training_waveforms.record.json"
    (note,) = _accepted(finished, record)

    assert (before["TrainingWaveforms"]["state"], before["Train"]["state"]) == ("stops", "waits")
    assert status == 0
    assert out == (
        "TrainingWaveforms is kept, though it was made with\n  num_signals: 10000 -> 9999\n"
        "  because one signal is no matter\n"
    )
    assert {step["state"] for step in finished.plan().values()} == {"done"}
    assert (note["settings"]["num_signals"], note["because"]) == (10000, "one signal is no matter")
    assert note["changes"] == ["num_signals: 10000 -> 9999"]
    assert " on " in note["who"]
    _, out, _ = finished.aframe("explain", "TrainingWaveforms")
    assert "by " in out
    assert "num_signals: 10000 -> 9999\n             because one signal is no matter\n" in out


def test_an_input_is_accepted(finished):
    """A comment in a file that a step reads."""
    with (finished.directory / "train.yaml").open("a") as file:
        file.write("# a comment\n")
    status, out, _ = finished.aframe("accept", "Train")

    assert status == 0
    assert "no reason is kept" in out
    assert "--because TEXT" in out
    assert {step["state"] for step in finished.plan().values()} == {"done"}
    assert _accepted(finished, "training/fit.record.json")[0]["because"] is None


def test_the_stage_sees_it_as_current_too(finished):
    """A run does not make it again."""
    finished.set("luigi_TrainingWaveforms", "num_signals", "9999")
    finished.aframe("accept", "TrainingWaveforms")
    path = finished.directory / "data/train/training_waveforms.record.json"
    before = path.read_bytes()
    finished.make("TrainingWaveforms")

    assert path.read_bytes() == before


def test_two_changes_are_two_notes(finished):
    """Each with what it was before."""
    for number in ("9999", "9998"):
        finished.set("luigi_TrainingWaveforms", "num_signals", number)
        finished.aframe("accept", "TrainingWaveforms")
    notes = _accepted(finished, "data/train/training_waveforms.record.json")

    assert [note["settings"]["num_signals"] for note in notes] == [10000, 9999]


def test_nothing_is_to_be_accepted(finished):
    """Nothing is written then."""
    path = finished.directory / "training/fit.record.json"
    before = path.read_bytes()
    _, out, _ = finished.aframe("accept", "Train")

    assert out == "Train is as it is asked for: nothing was to be accepted\n"
    assert path.read_bytes() == before


def test_what_is_not_whole_is_refused(finished):
    """No record, or a file that is gone; of several steps none is changed then."""
    finished.set("luigi_TrainingWaveforms", "num_signals", "9999")
    (finished.directory / "training/model.pt").unlink()
    status, _, err = finished.aframe("accept", "TrainingWaveforms", "Train")
    (finished.directory / "training/fit.record.json").unlink()

    assert status == 2
    assert "there is no whole output to accept" in err
    assert "fit.record.json are gone or cut short" in err
    record = read_record(finished.directory / "data/train/training_waveforms.record.json")
    assert record.settings["num_signals"] == 10000
    said = finished.aframe("accept", "Train")[2]
    assert "there is no whole output to accept\n  found      a file without a record is in" in said


def test_what_is_at_work_is_refused(finished, monkeypatch):
    """It is about to have another record."""
    finished.set("luigi_TrainingWaveforms", "num_signals", "9999")
    monkeypatch.setattr(
        "aframe.tasks.outlook.read_progress",
        lambda *_: Progress("running", alive=True),
    )
    assert finished.plan()["TrainingWaveforms"]["state"] == RUNNING
    status, _, err = finished.aframe("accept", "TrainingWaveforms")

    assert (status, "it is being made at this moment" in err) == (2, True)


def test_a_record_on_s3_that_another_run_wrote_meanwhile_is_kept(finished, bucket):
    """What was looked at is not there any more: nothing of the other's is lost."""
    path = finished.directory / "data/train/training_waveforms.record.json"
    bucket.put(path.parent, "run")
    mine = read_record(path)
    there = Path(f"{bucket.address}/run/{path.name}")
    each = SimpleNamespace(name="Waveforms", step=SimpleNamespace(record=there), record=mine)

    first, second = (
        {"accepted": [{"when": "now", "who": who, "changes": []}]} for who in ("one", "another")
    )

    accept._replace(each, replace(mine, notes=first))
    with pytest.raises(AframeError, match="the record on S3 has changed meanwhile"):
        accept._replace(each, replace(mine, notes=second))

    assert json.loads(bucket.get(f"run/{path.name}"))["notes"] == first


def test_an_input_elsewhere_cannot_be_accepted(finished):
    """What cannot be looked at cannot be known to be the same."""
    finished.set("luigi_Train", "config", "/nowhere/train.yaml")
    status, _, err = finished.aframe("accept", "Train")

    assert status == 2
    assert "what changed cannot be accepted" in err
