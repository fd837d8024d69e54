"""What a search leaves."""

import csv
import io
import json
import math
from types import SimpleNamespace

import yaml

from aframe_train.tune.results import difference, report, table
from aframe_train.tune.search import Outcome
from aframe_train.tune.settings import Search
from aframe_train.tune.trials import Trial

KEYS = ("model.learning_rate", "data.mixture.batch_size")
BASE = {
    "model": {"class_path": "M", "init_args": {"learning_rate": 1.0}},
    "data": {"class_path": "D", "init_args": {"mixture": {"batch_size": 1}}},
    "trainer": {"max_epochs": 3},
}


def outcome():
    """A finished, a stopped, a failed trial, and one that diverged."""
    settings = [dict(zip(KEYS, each, strict=True)) for each in ((1e-3, 8), (1e-4, 16), (9e-3, 8))]
    return Outcome(
        [
            Trial(0, settings[0], "finished", [0.5, 0.8, 0.7], [10.0, 20.0, 30.0]),
            Trial(1, settings[1], "stopped", [0.4], [11.0]),
            Trial(2, settings[2], "failed", reason="RuntimeError: no, really"),
            Trial(3, settings[2], "finished", [math.nan], [12.0]),
        ],
        BASE,
    )


def test_the_table_has_a_row_a_trial():
    """Settings, score, epochs, status and reason; what has no score has a blank."""
    rows = list(csv.DictReader(io.StringIO(table(outcome().trials))))

    assert rows[0] == {
        "trial": "0", "status": "finished", "score": "0.8", "epochs": "3", KEYS[0]: "0.001",
        KEYS[1]: "8", "reason": "",
    }  # fmt: skip
    assert [row["status"] for row in rows] == ["finished", "stopped", "failed", "finished"]
    assert [row["score"] for row in rows] == ["0.8", "0.4", "", ""]
    assert rows[2]["reason"] == "RuntimeError: no, really"


def test_the_best_settings_lie_where_the_configuration_has_them():
    """As YAML that goes on top of the base."""
    text = difference(outcome())

    assert yaml.safe_load(text) == {
        "model": {"init_args": {"learning_rate": 0.001}},
        "data": {"init_args": {"mixture": {"batch_size": 8}}},
    }
    assert text.startswith("# Trial 0, valid_auroc 0.8")


def test_the_report_is_plain_json():
    """What is no number is null, and all that was searched is named."""
    plan = SimpleNamespace(search=Search(dict.fromkeys(KEYS, "uniform(0, 1)")))

    found = json.loads(json.dumps(report(outcome(), plan), allow_nan=False))

    assert found["best"] == 0
    assert found["max_epochs"] == 3
    assert list(found["space"]) == list(KEYS)
    assert found["trials"][3]["scores"] == [None]
    assert found["trials"][0]["times"] == [10.0, 20.0, 30.0]
