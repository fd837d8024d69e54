"""A search: its trials drawn, run by Ray Tune, and read again."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from ray import tune
from ray.tune.search.sample import Domain

from aframe.artifacts.record import file_digest
from aframe.artifacts.remote import address, cache_directory, copy_of
from aframe.errors import AframeError
from aframe_train.trainer import train
from aframe_train.tune.cluster import Room, cluster, room_here
from aframe_train.tune.settings import Search, TuneResources
from aframe_train.tune.space import as_words, draw, parse
from aframe_train.tune.training import SCORE
from aframe_train.tune.trials import (
    Storage,
    Trial,
    claim,
    read_trial,
    refuse_other_search,
    refuse_unwritable,
    write_trial,
)
from aframe_train.tune.worker import Halving, TrialRunner

log = logging.getLogger(__name__)

#: Settings of a trial that are the search's own: by epochs it compares trials, and it gives
#: each its device and directory.
_OWN = (
    "trainer.max_epochs", "trainer.max_steps", "trainer.accelerator", "trainer.devices",
    "trainer.logger.save_dir",
)  # fmt: skip
_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_LOOKS = {False: 0.5, True: 10.0}  # at a directory, at a distant storage


@dataclass(frozen=True)
class Plan:
    """What a search is to do.

    Args:
        words: Command line of a training, with ``{directory}`` for the trial's directory.
        search: What is tried.
        storage: Where the trials are kept.
        resources: What they may use.
        program: Arguments of Python that come before *words*.
        fixed: Keys of the configuration that other steps share, which no trial may change.
    """

    words: tuple[str, ...]
    search: Search
    storage: Storage
    resources: TuneResources
    program: tuple[str, ...] = ("-m", "train")
    fixed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    Args:
        trials: All of them, by number.
        base: The whole configuration that they change.
    """

    trials: Sequence[Trial]
    base: Mapping[str, Any]

    @property
    def best(self) -> Trial:
        """The best of those that were trained to their end."""
        return max(
            (trial for trial in self.trials if trial.status == "finished"),
            key=lambda trial: -math.inf if math.isnan(trial.score) else trial.score,
        )


def run(plan: Plan) -> Outcome:
    """Run the trials that have not ended yet.

    Raises:
        AframeError: If the search could not begin (:func:`foresee`), or no trial was trained to
            its end.
    """
    space, base = foresee(plan)
    epochs = base["trainer"]["max_epochs"]
    claim(plan.storage, _what_decides(plan))
    seed = int(base["seed_everything"])
    drawn = [draw(space, number, seed) for number in range(plan.search.num_samples)]
    trials = [read_trial(plan.storage, *each) for each in enumerate(drawn)]
    if not all(trial.ended for trial in trials):
        _say_begin(trials)
        resources = replace(plan.resources, device=_device(base))
        with cluster(resources, len(trials)) as room:
            log.info("%d trials side by side, each with %s", room.trials, _share(room))
            with _watched(plan.storage, drawn):
                _fit(plan, room, drawn, epochs)
    outcome = Outcome([read_trial(plan.storage, *each) for each in enumerate(drawn)], base)
    _refuse_failure(outcome.trials, plan.storage)
    return outcome


def foresee(plan: Plan) -> tuple[dict[str, Domain], dict[str, Any]]:
    """Refuse a search that could not begin; nothing is written.

    Returns:
        What is tried, and the whole configuration that the trials change.

    Raises:
        AframeError: If a key or value cannot be used, there is no room for the trials, or a
            directory cannot be written or holds the trials of another search.
    """
    space = {key: parse(key, text) for key, text in plan.search.space.items()}
    base = _changed(plan.words, draw(space, 0, 0))
    _refuse_fixed(space, base, plan.fixed)
    _refuse_late_comparison(plan.search, base["trainer"]["max_epochs"])
    resources = plan.resources
    if not plan.storage.remote:
        refuse_unwritable(Path(plan.storage.address), "storage_dir")
    refuse_other_search(plan.storage, _what_decides(plan))
    if resources.endpoint is None:
        if resources.temp_dir is not None:
            refuse_unwritable(resources.temp_dir, "temp_dir")
        room_here(replace(resources, device=_device(base)))
    return space, base


def _device(base: Mapping[str, Any]) -> str:
    accelerator = base["trainer"]["accelerator"]
    return {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}.get(accelerator, "auto")


def _changed(words: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the whole configuration of a trial; what is wrong is told of whom it is wrong."""
    try:
        return resolve([*words, *as_words(settings)])
    except AframeError as error:
        resolve(words)
        raise AframeError(
            "a training cannot be given what the search tries",
            found=error.found,
            wanted_by="the space of the search",
            fix="correct the key or value; python -m train fit --print_config shows all keys",
        ) from error


def resolve(words: Sequence[str]) -> dict[str, Any]:
    """Give the whole configuration that a training's command line means.

    Raises:
        AframeError: If a key or value in it cannot be used.
    """
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        train([*words, "--print_config"])
    return yaml.safe_load(said.getvalue())


def locate(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Find where a dotted *key* stands in a whole configuration.

    As on the command line, ``init_args`` may be left out.

    Raises:
        AframeError: If it stands nowhere.

    Example:
        >>> locate({"model": {"class_path": "A", "init_args": {"rate": 1}}}, "model.rate")
        ('model', 'init_args', 'rate')
    """
    place: list[str] = []
    node: Any = config
    for part in key.split("."):
        if isinstance(node, Mapping) and "init_args" in node and part not in node:
            place.append("init_args")
            node = node["init_args"]
        if not isinstance(node, Mapping) or part not in node:
            raise AframeError(
                "the training configuration has no such key",
                found=f"{key}: no {part} in {'.'.join(place) or 'it'}",
                wanted_by="the space of the search",
                fix="correct the key; python -m train fit --print_config shows them all",
            )
        place.append(part)
        node = node[part]
    return tuple(place)


def _refuse_fixed(space: Iterable[str], base: Mapping[str, Any], fixed: Iterable[str]) -> None:
    """Refuse keys that stand nowhere, and those that are not for the trials to change."""
    places = {key: locate(base, key) for key in space}
    taken = {_bare(key.split(".")) for key in (*_OWN, *fixed)}
    wrong = [key for key, place in places.items() if _bare(place) in taken]
    if wrong:
        raise AframeError(
            "trials may not differ in this",
            found=", ".join(wrong),
            wanted_by="the space of the search",
            fix="take it out: the search sets devices, directories and the number of epochs by "
            "which trials are compared, and the .cfg what other steps share",
        )


def _bare(place: Iterable[str]) -> tuple[str, ...]:
    return tuple(part for part in place if part != "init_args")


def _refuse_late_comparison(search: Search, epochs: int | None) -> None:
    if epochs is None or epochs < search.grace_period:
        raise AframeError(
            "trials end before they may be compared",
            found=f"max_epochs {epochs}, grace_period {search.grace_period}",
            wanted_by="the configuration of the search",
            fix="give trainer.max_epochs, and a grace_period of no more than that",
        )


def _what_decides(plan: Plan) -> dict[str, Any]:
    """What a trial depends on: the command line, the content of its files, the space."""
    files = [Path(word) for before, word in zip(plan.words, plan.words[1:], strict=False)
             if before == "--config"]  # fmt: skip
    search = plan.search
    return {
        "words": [_anywhere(word) for word in plan.words],
        "configurations": [file_digest(path) for path in files],
        "space": search.space,
        "grace_period": search.grace_period,
        "reduction_factor": search.reduction_factor,
    }


def _anywhere(word: str) -> str:
    """Write a word alike on all machines: what lies on S3 by its place in a cache."""
    key, equals, value = word.rpartition("=")
    copy = str(copy_of(value)) if address(value) else value
    return f"{key}{equals}{copy.removeprefix(f'{cache_directory()}/')}"


def _fit(plan: Plan, room: Room, drawn: Sequence[dict[str, Any]], epochs: int) -> None:
    storage, search = plan.storage, plan.search
    environment = {
        "OMP_NUM_THREADS": str(room.cpus),
        "WANDB_RUN_GROUP": plan.resources.name,
    }
    shared = {
        "storage": storage.address,
        "max_epochs": epochs,
        "program": list(plan.program),
        "environment": environment,
    }
    each = [
        {
            "number": number,
            "settings": settings,
            "words": [*plan.words, *as_words(settings), *_devices(room)],
        }
        for number, settings in enumerate(drawn)
    ]
    tuner = tune.Tuner(
        tune.with_resources(TrialRunner, {"cpu": room.cpus, "gpu": room.gpus}),
        param_space={"trial": tune.grid_search(each), "plan": shared},
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="max",
            scheduler=Halving(
                storage.address, epochs, search.grace_period, search.reduction_factor
            ),
            max_concurrent_trials=room.trials,
        ),
        run_config=tune.RunConfig(
            name="ray",
            # Of no use after the search.
            storage_path=str(room.notes or storage.address),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    results = tuner.fit()
    for index in range(len(results)):
        _note_loss(storage, results[index])


def _devices(room: Room) -> list[str]:
    """Arguments that give a training the GPUs that Ray shows it, or none."""
    accelerator = "gpu" if room.gpus else "cpu"
    return [f"--trainer.accelerator={accelerator}", f"--trainer.devices={room.gpus or 1}"]


def _note_loss(storage: Storage, result: tune.Result) -> None:
    """Keep why a trial is lost whose process could not say so itself."""
    asked = (result.config or {})["trial"]
    trial = read_trial(storage, asked["number"], asked["settings"])
    if result.error is not None and trial.status in ("waiting", "running"):
        said = [line.strip() for line in str(result.error).splitlines() if line.strip()]
        trial.status, trial.reason = "failed", said[-1] if said else repr(result.error)
        write_trial(storage, trial)


def _refuse_failure(trials: Sequence[Trial], storage: Storage) -> None:
    if any(trial.status == "finished" for trial in trials):
        return
    failed = [trial for trial in trials if trial.status == "failed"]
    reasons = sorted({trial.reason for trial in failed})
    raise AframeError(
        "every trial failed" if len(failed) == len(trials) else "no trial reached its end",
        found=f"{len(failed)} of {len(trials)} failed: {'; '.join(reasons)}",
        wanted_by="the search",
        fix=f"mend that, then run the same command; each trial's train.log is in {storage.address}",
    )


def _say_begin(trials: Sequence[Trial]) -> None:
    ended = sum(trial.ended for trial in trials)
    log.info("%d trials%s", len(trials), f", {ended} of which have ended before" if ended else "")


def _share(room: Room) -> str:
    return f"{room.cpus} cores" + (f" and {room.gpus} GPUs" if room.gpus else "")


@contextlib.contextmanager
def _watched(storage: Storage, drawn: Sequence[Mapping[str, Any]]) -> Iterator[None]:
    """Say how the trials go while they run, from what they leave in the storage."""
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(storage, drawn, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(storage: Storage, drawn: Sequence[Mapping[str, Any]], over: threading.Event) -> None:
    trials = [read_trial(storage, *each) for each in enumerate(drawn)]
    said = time.monotonic()
    last = False
    while not last:
        last = over.wait(_SECONDS_BETWEEN_LOOKS[storage.remote])
        for number, before in enumerate(trials):
            if not before.ended:
                trials[number] = now = read_trial(storage, number, before.settings)
                if now.status not in (before.status, "running"):
                    log.info("%s", line(now))
        if time.monotonic() - said > _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            log.info("%s", summary(trials))


def line(trial: Trial) -> str:
    """Say in one line how a trial ended.

    Example:
        >>> line(Trial(3, {"model.rate": 0.1}, "stopped", [0.5, 0.6], [0, 1]))
        'trial 3 stopped after 2 epochs, score 0.6000: model.rate=0.1'
    """
    if trial.status == "failed":
        return f"trial {trial.number} failed: {trial.reason}"
    tried = ", ".join(word.removeprefix("--") for word in as_words(trial.settings))
    after = f"after {trial.epochs} epochs, score {trial.score:.4f}"
    return f"trial {trial.number} {trial.status} {after}: {tried}"


def summary(trials: Sequence[Trial]) -> str:
    """Say in one line how far a search is.

    Example:
        >>> summary([Trial(0, {}, "finished", [0.7], [0]), Trial(1, {}, "running")])
        '1 of 2 trials ended, 1 running; best score 0.7000 (trial 0)'
    """
    ended = sum(trial.status in ("finished", "stopped", "failed") for trial in trials)
    running = sum(trial.status == "running" for trial in trials)
    scored = [trial for trial in trials if not math.isnan(trial.score)]
    top = max(scored, key=lambda trial: trial.score, default=None)
    best = f"; best score {top.score:.4f} (trial {top.number})" if top else ""
    return f"{ended} of {len(trials)} trials ended, {running} running{best}"
