"""A trial, epoch by epoch, without Ray around it."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from aframe_train.tune.trials import Storage, Trial, folder, read_trial, write_trial
from aframe_train.tune.worker import Epochs, Halving, TrialFailedError

STUB = str(Path(__file__).with_name("stub_training.py"))


@pytest.fixture
def begin(tmp_path):
    """Begin a trial with a learning rate, of three epochs."""
    begun = []

    def function(rate, number=0, max_epochs=3, storage=tmp_path):
        plan = {
            "storage": str(storage), "max_epochs": max_epochs, "program": [STUB],
            "environment": {"OMP_NUM_THREADS": "3"},
        }  # fmt: skip
        words = [
            "--trainer.logger.save_dir={directory}",
            f"--trainer.max_epochs={max_epochs}",
            f"--model.learning_rate={rate}",
        ]
        asked = {"number": number, "settings": {"model.learning_rate": rate}, "words": words}
        for each in begun:
            each.close()
        begun.append(Epochs(plan, asked))
        return begun[-1]

    yield function
    for each in begun[-1:]:
        each.close()


def tell(epochs):
    """All that a trial says."""
    said = [epochs.next()]
    while not said[-1]["done"]:
        said.append(epochs.next())
    return said


def started(directory):
    """How often a trial's training began."""
    events = (directory / "events").read_text().splitlines()
    return sum(json.loads(event)["event"] == "start" for event in events)


def test_each_epoch_is_told_once(begin, tmp_path):
    """With the best score so far; the last only when the training's files are there."""
    said = tell(begin(0.5))

    assert said == [
        {"valid_auroc": 0.5, "done": False},
        {"valid_auroc": 0.501, "done": False},
        {"valid_auroc": 0.502, "done": True},
    ]
    trial = read_trial(Storage(str(tmp_path)), 0, {})
    assert (trial.status, trial.scores) == ("finished", [0.5, 0.501, 0.502])
    assert trial.times == sorted(trial.times)
    assert len(trial.times) == 3


def test_the_last_epoch_waits_for_the_files(begin):
    """A scheduler that ends a trial at its last epoch would else lose model.pt."""
    epochs = begin(0.5)
    tell(epochs)

    assert (epochs.directory / "model.pt").exists()


def test_a_trial_that_ended_is_told_and_not_run(begin, tmp_path):
    """A search that goes on knows its scores, at no cost."""
    said = tell(begin(0.5))

    again = begin(0.5)

    assert tell(again) == said
    assert started(again.directory) == 1


def test_a_trial_that_was_killed_goes_on(begin, tmp_path):
    """From its checkpoint: what it had is told first, and not trained again."""
    home = tmp_path / folder(0)
    home.mkdir()
    (home / "last.ckpt").write_text("[0.5, 0.6]")
    (home / "metrics.csv").write_text("epoch,valid_auroc\n0,0.5\n1,0.6\n")
    write_trial(Storage(str(tmp_path)), Trial(0, {}, "running", [0.5], [12.0]))

    said = tell(begin(0.5))

    assert [each["valid_auroc"] for each in said] == [0.5, 0.6, 0.6]
    assert read_trial(Storage(str(tmp_path)), 0, {}).times[0] == 12.0
    assert f"--ckpt_path={home / 'last.ckpt'}" in json.loads(
        (home / "events").read_text().splitlines()[0]
    )["words"]  # fmt: skip


def test_a_trial_on_s3_leaves_what_the_next_stages_read(begin, bucket):
    """Trained on this machine, kept there; told again from there."""
    address = f"{bucket.address}/search"
    said = tell(begin(0.5, storage=address))

    assert {name.split("/")[-1] for name in bucket.names("search/trial-0000")} >= {
        "model.pt", "best.ckpt", "last.ckpt", "metrics.csv", "preprocessing.json", "trial.json"
    }  # fmt: skip
    assert read_trial(Storage(address), 0, {}).status == "finished"
    assert tell(begin(0.5, storage=address)) == said


def test_a_failed_training_says_why(begin, tmp_path):
    """In one line, which is kept; the next run of the search tries again."""
    epochs = begin(2.0)

    with pytest.raises(TrialFailedError, match="RuntimeError: CUDA out of memory"):
        tell(epochs)

    epochs.close()
    trial = read_trial(Storage(str(tmp_path)), 0, {})
    assert (trial.status, trial.reason) == ("failed", "RuntimeError: CUDA out of memory")
    with pytest.raises(TrialFailedError):
        tell(begin(2.0))
    assert started(epochs.directory) == 2


def test_a_training_without_a_network_has_failed(begin, tmp_path):
    """Success is a model.pt, not an exit status."""
    script = tmp_path / "script.py"
    script.write_text("print('nothing to do')")
    plan = {"storage": str(tmp_path), "max_epochs": 3, "program": [str(script)], "environment": {}}
    epochs = Epochs(plan, {"number": 1, "settings": {}, "words": []})

    with pytest.raises(TrialFailedError, match="nothing to do"):
        tell(epochs)

    epochs.close()


def test_a_training_may_end_before_its_last_epoch(begin):
    """By a callback that sees no progress: the last epoch is told as the end."""
    epochs = begin(0.5, max_epochs=3)
    epochs.max_epochs = 10

    said = tell(epochs)

    assert [each["done"] for each in said][-1]
    assert said[-1]["valid_auroc"] == 0.502


def test_a_score_that_is_no_number_counts_as_nothing(tmp_path):
    """A network that diverged loses every comparison."""
    write_trial(Storage(str(tmp_path)), Trial(0, {}, "finished", [math.nan, 0.6], [0.0, 1.0]))
    plan = {"storage": str(tmp_path), "max_epochs": 2, "program": [], "environment": {}}

    epochs = Epochs(plan, {"number": 0, "settings": {}, "words": []})

    assert [each["valid_auroc"] for each in tell(epochs)] == [0.0, 0.6]
    epochs.close()


def test_halving_marks_what_it_stops(tmp_path):
    """Of two trials the worse one ends, and the storage knows."""
    scheduler = Halving(str(tmp_path), max_epochs=4, grace_period=2, reduction_factor=2)
    scheduler.set_search_properties("valid_auroc", "max")
    trials = [
        SimpleNamespace(trial_id=str(n), config={"trial": {"number": n}}) for n in range(2)
    ]  # fmt: skip
    decisions = []
    for trial, score in zip(trials, (0.7, 0.6), strict=True):
        write_trial(Storage(str(tmp_path)), Trial(int(trial.trial_id), {}, "running", [score], [0]))
        scheduler.on_trial_add(None, trial)
        for epoch in (1, 2):
            result = {"training_iteration": epoch, "valid_auroc": score}
            decisions.append(scheduler.on_trial_result(None, trial, result))

    assert decisions == [Halving.CONTINUE] * 3 + [Halving.STOP]
    assert [read_trial(Storage(str(tmp_path)), n, {}).status for n in range(2)] == [
        "running", "stopped"
    ]  # fmt: skip
