"""The verb `tune`: settings in, the best of many trainings out."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

from aframe.program import Draft
from aframe_train.fit import PUBLISHES as TRAINING
from aframe_train.fit import arguments
from aframe_train.tune.environment import prepare
from aframe_train.tune.settings import TuneSettings, read_search

log = logging.getLogger(__name__)

PUBLISHES = (*TRAINING, "trials.csv", "trials.json", "best.yaml")


def tune(settings: TuneSettings, draft: Draft) -> None:
    """Search for the settings of the training that give the best validation score."""
    search = read_search(settings.inputs.tune_config)
    prepare(settings.resources.endpoint)
    # torch and ray take seconds to load, so they are not loaded before the settings are known
    # to be good.
    from aframe_train.tune.results import publish  # noqa: PLC0415
    from aframe_train.tune.search import Plan, run  # noqa: PLC0415
    from aframe_train.tune.training import DIRECTORY  # noqa: PLC0415
    from aframe_train.tune.trials import open_storage  # noqa: PLC0415

    words = arguments(settings, Path(DIRECTORY))
    resources = settings.resources
    storage = open_storage(resources.storage_dir, resources.name, default=draft.work / "trials")
    plan = Plan(tuple(words), search, storage, resources)
    log.info("python -m train %s", shlex.join(words))
    outcome = run(plan)
    publish(outcome, plan, draft.path)
    ended = [trial.status for trial in outcome.trials]
    draft.notes.update(
        best_trial=outcome.best.number,
        best_settings=outcome.best.settings,
        best_valid_auroc=outcome.best.score,
        trials={status: ended.count(status) for status in sorted(set(ended))},
    )
