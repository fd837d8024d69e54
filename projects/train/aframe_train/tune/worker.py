"""What Ray runs: a trial, told step by step, and the scheduler that stops the poor ones."""

from __future__ import annotations

import contextlib
import fcntl
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from aframe_train.tune.training import LOG, SCORE, Training, read_scores, reason
from aframe_train.tune.trials import (
    Storage,
    best,
    mark_stopped,
    read_trial,
    write_trial,
)

_SECONDS_BETWEEN_LOOKS = 0.2
#: What changes from epoch to epoch.
_CHANGING = ("metrics.csv", "last.ckpt", "best.ckpt", LOG)


class TrialFailedError(RuntimeError):
    """A training ended with an error."""


class Epochs:
    """The epochs of a trial, one after another as they come to be known.

    Epochs that an earlier run of the search left come first, so that the scheduler knows
    them; of a trial that had ended there are no others.

    Args:
        plan: What all trials share: ``storage``, ``max_epochs``, ``program``, ``environment``.
        asked: What this one tries: ``number``, ``settings``, ``words``.
    """

    def __init__(self, plan: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        self.storage = Storage(plan["storage"])
        self.max_epochs = plan["max_epochs"]
        self.told = 0
        self._scratch, scratch = contextlib.ExitStack(), Path()
        if self.storage.remote:
            here = tempfile.TemporaryDirectory(prefix="aframe-trial-")
            scratch = Path(self._scratch.enter_context(here))
        self.directory = self.storage.fetch(asked["number"], scratch)
        # A run of this search that was killed may take a moment to end everywhere.
        self._lock = (self.directory / ".lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.trial = read_trial(self.storage, asked["number"], asked["settings"])
        self.training: Training | None = None
        if not self.trial.ended:
            self.trial.status, self.trial.reason = "running", ""
            write_trial(self.storage, self.trial)
            self.training = Training(
                plan["program"], asked["words"], self.directory, plan["environment"]
            )

    def next(self) -> dict[str, Any]:
        """Wait for the next epoch, and tell it with the best score so far.

        Raises:
            TrialFailedError: If the training ended with an error.
        """
        status = self._wait() if self.training is not None else 0
        self.told = min(self.told + 1, self.trial.epochs)
        done = status is not None and self.told == self.trial.epochs
        if done and self.training is not None:
            self._finish(status)
        score = best(self.trial.scores[: self.told])
        return {SCORE: 0.0 if math.isnan(score) else score, "done": done}

    def _wait(self) -> int | None:
        """Wait for an epoch that was not told yet, or for the training's end."""
        training: Any = self.training
        while True:
            status = training.status()
            scores = read_scores(self.directory)
            self._note(scores)
            # The last epoch has not ended before the files of the training are written.
            unfinished = status is None and len(scores) >= self.max_epochs
            if status is not None or len(scores) - unfinished > self.told:
                return status
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _note(self, scores: list[float]) -> None:
        """Keep epochs that are new."""
        trial = self.trial
        if len(scores) > trial.epochs:
            trial.times += [time.time()] * (len(scores) - trial.epochs)
            trial.scores = scores
            self.storage.keep(trial.number, self.directory, _CHANGING)
            write_trial(self.storage, trial)

    def _finish(self, status: int | None) -> None:
        trial = self.trial
        self.storage.keep(trial.number, self.directory)
        failed = status != 0 or not (self.directory / "model.pt").exists()
        if failed:
            log = (self.directory / LOG).read_text(errors="replace")
            trial.reason = reason(status or 0, log)
        trial.status = "failed" if failed else "finished"
        write_trial(self.storage, trial)
        if failed:
            raise TrialFailedError(trial.reason)

    def close(self) -> None:
        """End the training, if it has not ended."""
        if self.training is not None:
            self.training.stop()
        self._lock.close()
        self._scratch.close()


class TrialRunner(tune.Trainable):
    """A trial as Ray knows it, of which a step is an epoch."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begin the training, go on with it, or only read it."""
        self.epochs = Epochs(config["plan"], config["trial"])

    def step(self) -> dict[str, Any]:
        """Tell the next epoch."""
        return self.epochs.next()

    def cleanup(self) -> None:
        """End the training."""
        self.epochs.close()


class Halving(ASHAScheduler):
    """Asynchronous successive halving that leaves a mark where it stops a trial.

    Args:
        storage: Where the trials are kept.
        max_epochs: Epochs of a whole training.
        grace_period: Epochs before the first comparison.
        reduction_factor: Trials of which one goes on.
    """

    def __init__(
        self, storage: str, max_epochs: int, grace_period: int, reduction_factor: int
    ) -> None:
        super().__init__(
            max_t=max_epochs,
            grace_period=grace_period,
            reduction_factor=reduction_factor,
            # Who reaches the end ends by itself, after it has written its files.
            stop_last_trials=False,
        )
        self._address = storage

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether *trial* goes on."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if decision == self.STOP:
            epochs = result["training_iteration"]
            mark_stopped(Storage(self._address), trial.config["trial"]["number"], epochs)
        return decision
