"""How the training went."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float

from aframe.errors import AframeError
from aframe_sv.evidence import Evidence
from aframe_sv.page import COLORS, FAINT, Picture, Section, axes, legend, picture

_LOSS = (
    "How wrong the network is on the signals and noise that it is trained with. Compare losses "
    "only where these are equally hard."
)
_EASING = (
    " Here they get harder: the faintest signals have SNR {first:g} at first and {last:g} from "
    "step {steps:,} on (dashed). The loss may rise until then while the network gets better, "
    "which the validation score shows."
)
Column = tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]


@dataclass(frozen=True)
class Easing:
    """A training that begins with loud signals.

    Args:
        first: Least network SNR of its signals at the first step.
        last: Least network SNR at the end.
        steps: Steps until then.
    """

    first: float
    last: float
    steps: int


def read_metrics(path: Path) -> dict[str, Column]:
    """Read a table of a training, whose rows each have some of the columns.

    Returns:
        For each quantity that was ever logged, the steps at which it was and its values.

    Raises:
        AframeError: If the file is no such table.
    """
    try:
        with Path(path).open(newline="") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in (rows[0] if rows else {}) if name not in ("epoch", "step")]
        found = {name: [(row["step"], row[name]) for row in rows if row[name]] for name in names}
        columns = {name: np.array(pairs, float).reshape(-1, 2) for name, pairs in found.items()}
        # An epoch without validation may be logged as not a number.
        numbers = {name: pairs[~np.isnan(pairs[:, 1])].T for name, pairs in columns.items()}
        return {name: (steps, values) for name, (steps, values) in numbers.items() if len(values)}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise AframeError(
            "the table of the training cannot be read",
            found=f"{path}: {error!r}",
            wanted_by="the report (metrics.csv with the columns epoch and step)",
            fix="give the metrics.csv that `aframe-train fit` made, or null",
        ) from error


def read_easing(metrics: Path) -> Easing | None:
    """Read how the signals of a training got fainter, from its settings beside *metrics*.

    Returns:
        ``None`` where they did not, or where the settings are not there or say it otherwise.
    """
    path = Path(metrics).parent / "config.yaml"
    said: Any = yaml.safe_load(path.read_text()) if path.exists() else None
    for name in ("data", "init_args", "snr"):
        said = said.get(name) if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping):
        return None
    first, last, steps = (said.get(name) for name in ("first_minimum", "minimum", "decay_steps"))
    return Easing(first, last, steps) if first and last and steps else None


def section(evidence: Evidence) -> Section:
    """Show loss and validation score."""
    name, title = "training", "Training"
    if evidence.inputs.metrics is None:
        return Section(name, title, ["This run has no table of a training."])
    columns = read_metrics(evidence.inputs.metrics)
    losses = {name: each for name, each in columns.items() if "loss" in name}
    scores = {
        name: each
        for name, each in columns.items()
        if name.startswith("valid") and name not in losses
    }
    pictures = [loss(losses, read_easing(evidence.inputs.metrics))] if losses else []
    pictures += [score(scores)] if scores else []
    paragraphs = [] if pictures else ["The training logged neither loss nor validation score."]
    return Section(name, title, paragraphs, facts=_facts(evidence, columns), pictures=pictures)


def _facts(evidence: Evidence, columns: Mapping[str, Column]) -> list[tuple[str, str]]:
    steps = max((steps.max() for steps, _ in columns.values()), default=0)
    facts = [("Steps", f"{steps:,.0f}")]
    trained = evidence.preprocessing
    if trained:
        facts += [
            ("Kernel", f"{trained.kernel_length:g} s at {trained.sample_rate:g} Hz"),
            ("Band", _band(trained.highpass, trained.lowpass)),
            ("PSD", f"{trained.psd_length:g} s, in segments of {trained.fftlength:g} s"),
        ]
    return facts


def _band(highpass: float | None, lowpass: float | None) -> str:
    if highpass is None:
        return "all" if lowpass is None else f"below {lowpass:g} Hz"
    return f"above {highpass:g} Hz" if lowpass is None else f"{highpass:g} to {lowpass:g} Hz"


def loss(columns: Mapping[str, Column], easing: Easing | None) -> Picture:
    """Plot the losses against the step, and mark where training signals are at their faintest."""
    with axes() as ax:
        for color, (name, (steps, values)) in zip(cycle(COLORS), columns.items(), strict=False):
            ax.plot(steps, values, color=color, label=name.replace("_", " "))
        if easing:
            ax.axvline(
                easing.steps, color=FAINT, linestyle=(0, (4, 3)), label="signals at their faintest"
            )
        ax.set(xlabel="Step", ylabel="Loss")
        legend(ax)
        first, last = next(iter(columns.values()))[1][[0, -1]]
        return picture(
            ax,
            caption=_LOSS + (_EASING.format_map(vars(easing)) if easing else ""),
            alt=f"Training loss against step, from {first:.3g} to {last:.3g}.",
        )


def score(columns: Mapping[str, Column]) -> Picture:
    """Plot the validation scores against the step, and mark the best."""
    with axes() as ax:
        for color, (name, (steps, values)) in zip(cycle(COLORS[2:]), columns.items(), strict=False):
            best = int(values.argmax())
            ax.plot(steps, values, ".-", color=color, label=name.replace("_", " "))
            ax.plot(steps[best], values[best], "*", color=COLORS[1], markersize=11)
        ax.plot([], [], "*", color=COLORS[1], markersize=9, label="best: kept")
        ax.set(xlabel="Step", ylabel="Validation score")
        legend(ax)
        top = max(values.max() for _, values in columns.values())
        return picture(
            ax,
            caption="How well the network tells unseen signals from unseen noise at low "
            "false-positive rates: the validation score after each epoch; the weights of the best "
            "one are kept.",
            alt=f"Validation score against step, best {top:.3g}.",
        )
