"""The search for settings in the report."""

import json

import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_sv.sections.tuning import (
    Search,
    Trial,
    curves,
    parallel,
    progress,
    read_search,
    section,
)

T0 = 1_700_000_000.0


def trial(number, status, scores, rate, layers, reason=""):
    known = [score for score in scores if score is not None]
    return {
        "trial": number,
        "status": status,
        "score": max(known, default=None),
        "epochs": len(scores),
        "settings": {"model.learning_rate": rate, "model.arch.layers": layers},
        "scores": scores,
        "times": [T0 + 600 * (number + epoch) for epoch in range(len(scores))],
        "reason": reason,
    }


CONTENT = {
    "metric": "valid_auroc",
    "best": 2,
    "max_epochs": 4,
    "grace_period": 1,
    "reduction_factor": 2,
    "space": {
        "model.learning_rate": "loguniform(1e-4, 1e-2)",
        "model.arch.layers": "choice([[1, 1], [2, 2]])",
    },
    "trials": [
        trial(0, "finished", [0.5, 0.6, 0.65, 0.64], 1e-3, [1, 1]),
        trial(1, "stopped", [0.4], 1e-4, [2, 2]),
        trial(2, "finished", [0.55, None, 0.8, 0.82], 5e-3, [1, 1]),
        trial(3, "failed", [], 1e-2, [2, 2], "RuntimeError: CUDA out of memory"),
    ],
}


@pytest.fixture
def trials(tmp_path):
    """A table of four trials."""
    path = tmp_path / "trials.json"
    path.write_text(json.dumps(CONTENT))
    return path


def test_a_search_shows_its_trials(evidence, trials):
    """The kept one on top, all of them below, with the reason of a failure."""
    got = section(evidence(tune=trials))

    assert got.tables[0].rows[0][:4] == ["2", "0.8200", "4", "trained to the end"]
    assert [row[0] for row in got.tables[0].rows] == ["2", "0", "1"]
    everything, failed = got.folds[0].tables
    assert [row[0] for row in everything.rows] == ["0", "1", "2", "3"]
    assert everything.rows[3][3] == "failed"
    assert failed.rows == [["3", "RuntimeError: CUDA out of memory"]]
    assert everything.columns[-2:] == ["learning rate", "layers"]
    assert everything.rows[1][-2:] == ["0.0001", "2,2"]


def test_a_search_is_counted(evidence, trials):
    """How many trials ended how, and what stopping early saved."""
    facts = dict(section(evidence(tune=trials)).facts)

    assert facts == {
        "Trials": "4",
        "Trained to the end": "2",
        "Stopped early": "1",
        "Failed": "1",
        "Epochs trained": "9 of 16",
        "Best score": "0.8200",
    }


def test_no_search_is_not_mentioned(evidence):
    """Most runs have none."""
    assert section(evidence()) is None


def test_pictures_tell_what_they_show(trials):
    """The text for those who cannot see them has the numbers."""
    search = read_search(trials)

    assert parallel(search).alt == (
        "Parallel coordinates of 3 trials over learning rate, layers, score; the best score is "
        "0.82."
    )
    assert "3 trials, of which 1 were stopped before epoch 4" in curves(search).alt
    # Scores in the order in which they came: 0.5 first, 0.82 at the end, 50 minutes later.
    assert "from 0.5 to 0.82 in 0.833 hours" in progress(search).alt


def test_comparisons_come_at_powers_of_the_factor():
    """As the scheduler has them: 3, 6, 12, but none at the end."""
    assert Search("s", 0, 24, 3, 2, {}).comparisons == [3, 6, 12]


def test_a_search_of_one_trial_can_be_drawn():
    """Nothing spans an axis."""
    one = Trial(0, "finished", 0.5, 1, {"a": 1.0}, [0.5], [T0], "")

    assert "1 trials" in parallel(Search("s", 0, 1, 1, 2, {"a": "uniform(0, 2)"}, [one])).alt


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"trials": [{}]}', json.dumps({**CONTENT, "epochs": 3})]
)
def test_a_file_that_is_no_search_is_refused(tmp_path, text):
    """Missing keys, other keys, another format."""
    path = tmp_path / "trials.json"
    path.write_text(text)

    with pytest.raises(AframeError, match="trials of the search for settings cannot be read"):
        read_search(path)


def test_many_trials_can_be_drawn(evidence, tmp_path):
    """A search of hundreds, some without any score."""
    rng = np.random.default_rng(1)
    some = [
        trial(number, "finished" if number % 3 else "stopped", list(rng.random(3)), rate, [1, 1])
        for number, rate in enumerate(10 ** rng.uniform(-4, -2, 300))
    ]
    path = tmp_path / "trials.json"
    path.write_text(json.dumps({**CONTENT, "trials": some}))

    got = section(evidence(tune=path))

    assert len(got.pictures) == 3
    assert len(got.tables[0].rows) == 8
    # Nothing failed, so there is no table of reasons.
    assert len(got.folds[0].tables) == 1


def test_keys_that_end_alike_are_told_apart(evidence, tmp_path):
    """By all their words."""
    settings = {"model.arch.kernel_size": 3, "model.arch.stem.kernel_size": 5, "model.rate": 0.1}
    one = {**CONTENT["trials"][0], "settings": settings}
    space = dict.fromkeys(settings, "uniform(0, 9)")
    path = tmp_path / "trials.json"
    path.write_text(json.dumps({**CONTENT, "best": 0, "space": space, "trials": [one]}))

    assert section(evidence(tune=path)).tables[0].columns[-3:] == [
        "model.arch.kernel size", "model.arch.stem.kernel size", "rate"
    ]  # fmt: skip
