"""How the settings of the training were found."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from aframe.errors import AframeError
from aframe_sv.evidence import Evidence
from aframe_sv.page import COLORS, FAINT, INK, Fold, Picture, Section, Table, axes, legend, picture

#: Trials in the table at the top; all of them stand below, to be opened.
SHOWN = 8
_LONG = 9  # characters of a value in a figure
_STATUS = {"finished": "trained to the end", "stopped": "stopped early", "failed": "failed"}
_MARKS = {"finished": "o", "stopped": "x", "failed": "v"}
_COLORMAP = mpl.colormaps["viridis_r"]


@dataclass(frozen=True)
class Trial:
    """A training of the search.

    Args:
        trial: Its number.
        status: How it ended: ``finished``, ``stopped`` or ``failed``.
        score: Best score, or ``None``.
        epochs: Epochs that it was trained.
        settings: What it tried.
        scores: Score of each epoch, ``None`` where it was no number.
        times: When each of them was known (s since 1970).
        reason: Why it failed.
    """

    trial: int
    status: str
    score: float | None
    epochs: int
    settings: dict[str, Any]
    scores: Sequence[float | None]
    times: Sequence[float]
    reason: str


@dataclass(frozen=True)
class Search:
    """A search for settings.

    Args:
        metric: What trials were compared by.
        best: Number of the best trial.
        max_epochs: Epochs of a whole training.
        grace_period: Epochs before the first comparison.
        reduction_factor: Trials of which one went on.
        space: Distribution of each setting.
        trials: The trials.
    """

    metric: str
    best: int
    max_epochs: int
    grace_period: int
    reduction_factor: int
    space: dict[str, str]
    trials: list[Trial] = field(default_factory=list)

    @property
    def ranked(self) -> list[Trial]:
        """Trials with a score, the best of those that ended first."""
        scored = [trial for trial in self.trials if trial.score is not None]
        return sorted(scored, key=lambda trial: (trial.status != "finished", -_score(trial)))

    @property
    def comparisons(self) -> list[int]:
        """Epochs after which trials were compared."""
        found, epoch = [], self.grace_period
        while epoch < self.max_epochs:
            found.append(epoch)
            epoch *= self.reduction_factor
        return found


def _score(trial: Trial) -> float:
    return math.nan if trial.score is None else trial.score


def read_search(path: Path) -> Search:
    """Read the trials of a search.

    Raises:
        AframeError: If the file is no such table.
    """
    try:
        content = json.loads(Path(path).read_text())
        trials = [Trial(**each) for each in content.pop("trials")]
        return Search(**content, trials=trials)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AframeError(
            "the trials of the search for settings cannot be read",
            found=f"{path}: {error!r}",
            wanted_by="the report",
            fix="give the trials.json that `aframe-train tune` made, or null",
        ) from error


def section(evidence: Evidence) -> Section | None:
    """Show which settings were tried and how each did; nothing where none were."""
    if evidence.inputs.tune is None:
        return None
    search = read_search(evidence.inputs.tune)
    ranked = search.ranked
    text = (
        "Many trainings with settings drawn at random ran side by side; those that lagged behind "
        "where they were compared were stopped early, and the network of the best one went on."
    )
    rows = [_row(search, trial) for trial in search.trials]
    tables = [Table(_columns(search), rows, "All trials, in the order in which they began.")]
    failed = [[str(trial.trial), trial.reason] for trial in search.trials if trial.reason]
    if failed:
        tables.append(Table(["Trial", "Reason"], failed, "Why trials failed."))
    return Section(
        "tuning",
        "Search for settings",
        [text],
        facts=_facts(search),
        tables=[
            Table(
                _columns(search),
                [_row(search, trial) for trial in ranked[:SHOWN]],
                "The best trials; the first is the one that was kept.",
                emphasize=1,
            )
        ],
        pictures=[parallel(search), curves(search), progress(search)],
        folds=[Fold("Every trial", tables)],
    )


def _columns(search: Search) -> list[str]:
    return ["Trial", "Score", "Epochs", "How it ended", *_names(search.space)]


def _row(search: Search, trial: Trial) -> list[str]:
    tried = [_value(trial.settings[key]) for key in search.space]
    score = "" if trial.score is None else f"{trial.score:.4f}"
    return [str(trial.trial), score, str(trial.epochs), _STATUS[trial.status], *tried]


def _names(keys: Iterable[str]) -> list[str]:
    """Give the last word of each key, or all of it where others end alike."""
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    alike = Counter(last.values())
    return [(short if alike[short] == 1 else key).replace("_", " ") for key, short in last.items()]


def _value(value: Any) -> str:
    if isinstance(value, list):  # without spaces, at which a cell would be broken
        return ",".join(map(_value, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _facts(search: Search) -> list[tuple[str, str]]:
    ended = [trial.status for trial in search.trials]
    trained = sum(trial.epochs for trial in search.trials)
    whole = search.max_epochs * len(ended)
    return [
        ("Trials", str(len(ended))),
        *((words.capitalize(), str(ended.count(name))) for name, words in _STATUS.items()),
        ("Epochs trained", f"{trained:,} of {whole:,}"),
        ("Best score", f"{_score(search.ranked[0]):.4f}"),
    ]


def parallel(search: Search) -> Picture:
    """Draw each trial as a line through its settings to its score."""
    ranked = search.ranked
    columns = [[trial.settings[key] for trial in ranked] for key in search.space]
    scores = [_score(trial) for trial in ranked]
    names = [*_names(search.space), "score"]
    logs = [text.removeprefix("tune.").startswith(("log", "qlog")) for text in
            search.space.values()]  # fmt: skip
    heights = np.array(
        [*(_heights(column, log=log) for column, log in zip(columns, logs, strict=True)),
         _heights(scores, log=False)]
    )  # fmt: skip
    with axes((5.2, 3.6)) as ax:
        ax.grid(visible=False)
        places = np.arange(len(names))
        for line, trial, shade in reversed(list(zip(heights.T, ranked, heights[-1], strict=True))):
            kept = trial.trial == search.best
            style = {"linewidth": 3, "zorder": 3} if kept else {"linewidth": 1.4, "alpha": 0.8}
            dashes = "-" if trial.status == "finished" else ":"
            ax.plot(places, line, dashes, color=_COLORMAP(0.25 + 0.75 * shade), **style)
        for place, column in enumerate([*columns, scores]):
            _label_axis(ax, place, column)
        ax.set_xticks(places, names, rotation=25, ha="right", rotation_mode="anchor")
        ax.set_yticks([])
        ax.set(xlim=(-0.3, len(names) - 0.7), ylim=(-0.12, 1.12))
        ax.spines["left"].set_visible(False)
        return picture(
            ax,
            caption="What the trials tried, and how well it did: each line is a training, darker "
            "for a better score; the thick one was kept, dotted ones were stopped early or failed.",
            alt=f"Parallel coordinates of {len(ranked)} trials over {', '.join(names)}; the best "
            f"score is {max(scores):.4g}.",
        )


def _heights(values: Sequence[Any], *, log: bool) -> np.ndarray:
    """Place *values* between 0 and 1; what are no numbers, in the order of their text."""
    if not all(isinstance(value, (int, float)) for value in values):
        known = sorted(set(map(str, values)))
        values, log = [known.index(str(value)) for value in values], False
    numbers = np.log(values) if log else np.array(values, float)
    span = np.ptp(numbers)
    return (numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)


def _label_axis(ax: Axes, place: int, values: Sequence[Any]) -> None:
    numbers = all(isinstance(value, (int, float)) for value in values)
    ordered = sorted(values, key=None if numbers else str)
    ax.axvline(place, 0.1, 0.9, color=FAINT, linewidth=1)
    for height, value in ((-0.04, ordered[0]), (1.04, ordered[-1])):
        ax.text(
            place, height, _short(_value(value)), ha="center", color=INK, fontsize=7.5,
            va="top" if height < 0 else "bottom",
        )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def curves(search: Search) -> Picture:
    """Plot the score of each trial against the epoch, and where it was stopped."""
    with axes() as ax:
        for epoch in search.comparisons:
            ax.axvline(epoch, color=FAINT, linestyle="--", linewidth=0.8)
        for trial in search.ranked:
            kept = trial.trial == search.best
            color = COLORS[1] if kept else COLORS[0] if trial.status == "finished" else FAINT
            scores = np.array(trial.scores, float)  # None becomes NaN, and a gap
            epochs = np.arange(1, len(scores) + 1)
            ax.plot(epochs, scores, color=color, linewidth=2.2 if kept else 1, zorder=2 + kept)
            end = INK if color == FAINT else color
            ax.plot(epochs[-1], scores[-1], _MARKS[trial.status], color=end, markersize=5, zorder=4)
        ended = {trial.status for trial in search.ranked}
        for status in sorted(ended, key=list(_STATUS).index):
            ax.plot([], [], _MARKS[status], color=INK, label=_STATUS[status])
        ax.set(xlabel="Epoch", ylabel=search.metric.replace("_", " "))
        legend(ax)
        stopped = sum(trial.status == "stopped" for trial in search.trials)
        return picture(
            ax,
            caption="The score of each trial as it was trained. At the dashed lines trials were "
            "compared, and the poorer ones stopped; the one in orange was kept.",
            alt=f"Score against epoch for {len(search.ranked)} trials, of which {stopped} were "
            f"stopped before epoch {search.max_epochs}.",
        )


def progress(search: Search) -> Picture:
    """Plot the best score so far against the time since the search began."""
    told = sorted(
        (time, score)
        for trial in search.trials
        for time, score in zip(trial.times, trial.scores, strict=True)
        if score is not None
    )
    times, scores = np.array(told).T
    hours = (times - times[0]) / 3600
    with axes() as ax:
        ax.plot(hours, scores, ".", color=COLORS[0], alpha=0.4, label="an epoch of a trial")
        best = np.maximum.accumulate(scores)
        ax.step(hours, best, where="post", color=COLORS[1], label="best so far")
        ax.set(xlabel="Time since the first score (h)", ylabel=search.metric.replace("_", " "))
        legend(ax)
        return picture(
            ax,
            caption="How the best score rose while the search ran: where it is flat, more trials "
            "changed little. Pauses of the search count as time.",
            alt=f"Best score against time, from {best[0]:.4g} to {best[-1]:.4g} in "
            f"{hours[-1]:.3g} hours.",
        )
