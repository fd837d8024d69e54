"""What a search leaves: a table of its trials, and the best one as an ordinary training."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from aframe.artifacts.record import write_text
from aframe_train.callbacks import copy_training
from aframe_train.outputs import PUBLISHES as TRAINING
from aframe_train.tune.search import Outcome, Plan, locate
from aframe_train.tune.training import SCORE
from aframe_train.tune.trials import Trial

TABLE, TRIALS, BEST = "trials.csv", "trials.json", "best.yaml"
PUBLISHES = (*TRAINING, TABLE, TRIALS, BEST)


def publish(outcome: Outcome, plan: Plan, directory: Path) -> None:
    """Write the tables, and the files of the best trial as a training leaves them.

    Args:
        outcome: What the search found.
        plan: What it was to do.
        directory: Where to write.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / TABLE, table(outcome.trials))
    write_text(directory / TRIALS, json.dumps(report(outcome, plan), indent=1) + "\n")
    write_text(directory / BEST, difference(outcome))
    with tempfile.TemporaryDirectory() as scratch:
        copy_training(plan.storage.fetch(outcome.best.number, Path(scratch)), directory)


def table(trials: Sequence[Trial]) -> str:
    """Write the trials as comma-separated values, a row each."""
    keys = list(trials[0].settings)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "status", "score", "epochs", *keys, "reason"])
    for trial in trials:
        score = "" if math.isnan(trial.score) else trial.score
        tried = [trial.settings[key] for key in keys]
        writer.writerow([trial.number, trial.status, score, trial.epochs, *tried, trial.reason])
    return text.getvalue()


def report(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    """Give all that is known of the search, for its pictures."""
    search = plan.search
    return {
        "metric": SCORE,
        "best": outcome.best.number,
        "max_epochs": outcome.base["trainer"]["max_epochs"],
        "grace_period": search.grace_period,
        "reduction_factor": search.reduction_factor,
        "space": dict(search.space),
        "trials": [_plain(trial) for trial in outcome.trials],
    }


def _plain(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "status": trial.status,
        "score": _number(trial.score),
        "epochs": trial.epochs,
        "settings": trial.settings,
        "scores": [_number(score) for score in trial.scores],
        "times": trial.times,
        "reason": trial.reason,
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def difference(outcome: Outcome) -> str:
    """Write the settings of the best trial as YAML that goes on top of the base."""
    best = outcome.best
    nested: dict[str, Any] = {}
    for key, value in best.settings.items():
        _place(nested, locate(outcome.base, key), value)
    head = f"# Trial {best.number}, {SCORE} {best.score:.6g}: what differs from the configuration\n"
    head += "# that was searched around. Give it as a second --config, after that one.\n"
    return head + yaml.safe_dump(nested, sort_keys=False)


def _place(nested: dict[str, Any], place: Sequence[str], value: Any) -> None:
    *parents, last = place
    for name in parents:
        nested = nested.setdefault(name, {})
    nested[last] = value
