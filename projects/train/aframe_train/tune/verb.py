"""The verb `tune`: settings in, the best of many trainings out."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from aframe.draft import Draft
from aframe_train.fit import arguments
from aframe_train.outputs import PUBLISHES as TRAINING
from aframe_train.tune.environment import prepare
from aframe_train.tune.settings import TuneSettings, read_search

if TYPE_CHECKING:
    from aframe_train.tune.search import Plan

log = logging.getLogger(__name__)

PUBLISHES = (*TRAINING, "trials.csv", "trials.json", "best.yaml")


def planned(settings: TuneSettings, default: Path) -> Plan:
    """What a search is to do; its trials are kept in *default* unless the settings say where."""
    search = read_search(settings.inputs.tune_config)
    prepare(settings.resources.endpoint)
    # torch and ray take seconds to load, so they are not loaded before the settings are known
    # to be good.
    from aframe_train.tune.search import Plan  # noqa: PLC0415
    from aframe_train.tune.training import DIRECTORY  # noqa: PLC0415
    from aframe_train.tune.trials import open_storage  # noqa: PLC0415

    resources = settings.resources
    storage = open_storage(resources.storage_dir, resources.name, default=default)
    shared = ("seed_everything", *(f"data.{name}" for name in settings.preprocessing))
    words = tuple(arguments(settings, Path(DIRECTORY)))
    return Plan(words, search, storage, resources, fixed=shared)


def _trials(draft: Draft) -> Path:
    """Where trials are kept until the search has ended: with an output on S3 in its draft."""
    trials = draft.work / "trials"
    if draft.mirror is None or draft.mirror.remote is None:
        return trials
    below = trials.relative_to(draft.mirror.directory)
    return Path(draft.mirror.remote.address) / below


def tune(settings: TuneSettings, draft: Draft) -> None:
    """Search for the settings of the training that give the best validation score."""
    plan = planned(settings, _trials(draft))
    from aframe_train.tune.results import publish  # noqa: PLC0415
    from aframe_train.tune.search import run  # noqa: PLC0415

    log.info("python -m train %s", shlex.join(plan.words))
    outcome = run(plan)
    publish(outcome, plan, draft.path)
    ended = [trial.status for trial in outcome.trials]
    draft.notes.update(
        best_trial=outcome.best.number,
        best_settings=outcome.best.settings,
        best_valid_auroc=outcome.best.score,
        trials={status: ended.count(status) for status in sorted(set(ended))},
    )
