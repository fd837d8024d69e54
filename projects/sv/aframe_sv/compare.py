"""The verb `compare`: several runs on one page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from aframe.artifacts.cache import cached
from aframe.artifacts.events import JULIAN_YEAR
from aframe.artifacts.record import write_text
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_sv.evidence import Evidence, Inputs
from aframe_sv.far import in_words, rate_in_words
from aframe_sv.page import (
    COLORS,
    Picture,
    Section,
    Table,
    axes,
    label_plainly,
    legend,
    picture,
    render,
    stacked,
)
from aframe_sv.report import read_records
from aframe_sv.sections.headline import Ranked
from aframe_sv.sections.missed import efficiency
from aframe_sv.sections.ranking import (
    SNR_EDGES,
    SNR_TICKS,
    binomial_interval,
    found_by_snr,
    rates_by_statistic,
)
from aframe_sv.sections.sensitivity import distance_in_words, in_solar_masses

OUTPUT = "comparison.html"
_NONE = "none"
_STYLES = ("-", "--", "-.", ":")
_ALIKE = (
    "Shares and distances compare searches only where strain and injections are alike: the end of "
    "this page lists the settings that differ."
)


@dataclass(frozen=True)
class CompareInputs:
    """What is compared.

    Args:
        runs: JSON: a list of objects with ``name``, ``inputs`` (as of the report), ``records``
            (paths) and ``digests`` (of those inputs).
    """

    runs: Path


@dataclass(frozen=True)
class CompareSettings:
    """Settings of ``aframe-sv compare``.

    Args:
        inputs: The list of runs.
        output: Directory in which ``comparison.html`` appears.
        title: Headline of the page.
        resources: How to use the machine.
    """

    inputs: CompareInputs
    output: Path
    title: str = "Searches side by side"
    resources: Resources = field(default_factory=Resources)


Runs = Mapping[str, Evidence]


def compare(settings: CompareSettings, draft: Draft) -> None:
    """Write one self-contained page that holds several runs against one another."""
    runs = read_runs(settings.inputs.runs)
    parts = [numbers(runs), curves(runs), different(runs)]
    page = render(settings.title, f"{len(runs)} runs: {', '.join(runs)}", parts)
    write_text(draft.path / OUTPUT, page)
    draft.notes["runs"] = len(runs)


def read_runs(path: Path) -> Runs:
    """Read what each run left behind, by its name.

    Raises:
        AframeError: If the file is no list of runs with names of their own.
    """
    try:
        content = json.loads(Path(path).read_text())
        runs = {each["name"]: _evidence(each) for each in content}
        if not len(runs) == len(content) > 1:
            raise ValueError(f"{len(content)} runs with {len(runs)} names")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AframeError(
            "the list of runs cannot be used",
            found=f"{path}: {error!r}",
            wanted_by="aframe-sv compare",
            fix="let `aframe report DIR1 DIR2` write it",
        ) from error
    return runs


def _evidence(run: Mapping[str, Any]) -> Evidence:
    inputs = {name: cached(path) for name, path in run["inputs"].items() if path}
    return Evidence(Inputs(**inputs), read_records([Path(each) for each in run["records"]]))


def numbers(runs: Runs) -> Section:
    """Hold the main numbers of the runs against one another."""
    shared = common_far(runs)
    names = populations(runs)
    columns = ["Run", "Background", "Zero lag", "Loudest event", "Its false alarm rate"]
    columns += ["Found", *map(in_solar_masses, names)]
    rows = [
        [name, *_searched(run), _found(run, shared), *_distances(run, names, shared)]
        for name, run in runs.items()
    ]
    said = (
        f"All runs are held at {rate_in_words(shared)}, the lowest rate that each of them measures."
        if shared
        else "None of these runs measures a false alarm rate."
    )
    caption = "Found: the share of a run's own injections. Masses: its sensitive distance."
    table = Table(columns, rows, caption)
    return Section("runs", "The runs", [said, _ALIKE], tables=[table])


def common_far(runs: Runs) -> float | None:
    """Lowest false alarm rate (1/yr) that all runs with a background measure."""
    rates = [JULIAN_YEAR / run.background.Tb for run in runs.values() if run.background is not None]
    return max(rates, default=None)


def populations(runs: Runs) -> list[str]:
    """Populations whose volume every run with volumes has."""
    known = [run.volumes.curves for run in runs.values() if run.volumes is not None]
    return [name for name in known[0] if all(name in each for each in known)] if known else []


def _searched(run: Evidence) -> list[str]:
    background, zero_lag = run.background, run.zero_lag
    said = [in_words(each.Tb) if each is not None else _NONE for each in (background, zero_lag)]
    if background is None or zero_lag is None or not len(zero_lag):
        return [*said, _NONE, _NONE]
    loudest = Ranked.of(background, zero_lag, -1)
    return [*said, f"{loudest.statistic:.2f}", loudest.rate]


def _found(run: Evidence, far: float | None) -> str:
    if run.background is None or run.recovered is None or far is None:
        return _NONE
    found = run.recovered.statistic >= run.background.threshold_at_far(far)
    return f"{found.mean():.0%} of {len(found):,}"


def _distances(run: Evidence, names: Sequence[str], far: float | None) -> list[str]:
    if run.volumes is None or far is None:
        return [_NONE] * len(names)
    # The last threshold whose rate is no higher, or the only one there is.
    place = max(int(np.searchsorted(run.volumes.fars, far * (1 + 1e-9), side="right")) - 1, 0)
    return [distance_in_words(run.volumes.curves[name], place) for name in names]


def curves(runs: Runs) -> Section:
    """Draw the runs' curves into the same plots."""
    ranked = {name: run for name, run in runs.items() if run.background is not None}
    searched = {name: run for name, run in ranked.items() if run.recovered is not None}
    pictures = []
    if searched:
        pictures += [roc(searched), by_snr(searched)]
    if ranked:
        pictures.append(false_alarm_rates(ranked))
    if names := populations(runs):
        pictures.append(distances(runs, names))
    paragraphs = [] if pictures else ["None of the runs has a background."]
    return Section("curves", "Curves", paragraphs, pictures=pictures)


@contextmanager
def _plot(runs: Runs, said: dict[str, Any]) -> Iterator[tuple[Axes, Iterator[Any]]]:
    with axes() as ax:
        ax.set(**said)
        yield ax, zip(runs.items(), cycle(COLORS), cycle(_STYLES), strict=False)
        legend(ax, columns=2)


def roc(runs: Runs) -> Picture:
    """Plot the share of injections found against the false alarm rate."""
    said = {"xscale": "log", "xlabel": "False alarm rate (1/yr)", "ylabel": "Share found"}
    with _plot(runs, said) as (ax, each):
        for (name, run), color, style in each:
            assert run.background is not None and run.recovered is not None  # noqa: S101, PT018
            fars, share, (low, high) = efficiency(run.background, run.recovered.statistic)
            ax.plot(fars, share, style, drawstyle="steps-post", color=color, label=name)
            ax.fill_between(fars, low, high, step="post", color=color, alpha=0.15, linewidth=0)
        ax.set_ylim(-0.03, 1.03)
    return picture(
        ax,
        caption="The share of each run's injections that is found, against the false alarm rate "
        "one accepts, with binomial errors.",
        alt=f"Share found against false alarm rate for {', '.join(runs)}.",
    )


def by_snr(runs: Runs) -> Picture:
    """Plot the share of injections found against SNR, at the rate that all runs measure."""
    far = common_far(runs) or 0.0
    centers = np.sqrt(SNR_EDGES[1:] * SNR_EDGES[:-1])
    said = {"xscale": "log", "xlabel": "Network SNR", "ylabel": "Share found"}
    with _plot(runs, said) as (ax, each):
        for (name, run), color, style in each:
            assert run.background is not None and run.recovered is not None  # noqa: S101, PT018
            found, total = found_by_snr(run.recovered, run.background.threshold_at_far(far))
            there = total > 0
            share = found[there] / total[there]
            low, high = binomial_interval(found[there], total[there])
            ax.errorbar(
                centers[there], share, [share - low, high - share], fmt=f"o{style}", ms=3.5,
                lw=1.2, color=color, label=name,
            )  # fmt: skip
        label_plainly(ax.xaxis, SNR_TICKS)
    return picture(
        ax,
        caption=f"The share found against optimal SNR, at {rate_in_words(far)} in each run.",
        alt=f"Share found against SNR for {', '.join(runs)}.",
    )


def false_alarm_rates(runs: Runs) -> Picture:
    """Plot the false alarm rate against the statistic."""
    said = {"yscale": "log", "xlabel": "Detection statistic", "ylabel": "False alarm rate (1/yr)"}
    with _plot(runs, said) as (ax, each):
        for (name, run), color, style in each:
            assert run.background is not None  # noqa: S101
            statistic, fars, low, high = rates_by_statistic(run.background)
            ax.plot(statistic, fars, style, drawstyle="steps-pre", color=color, label=name)
            ax.fill_between(statistic, low, high, step="pre", color=color, alpha=0.15, linewidth=0)
    return picture(
        ax,
        caption="How often noise is at least as loud, with its Poisson uncertainty. Statistics of "
        "different networks have different scales: only rates can be compared between them.",
        alt=f"False alarm rate against statistic for {', '.join(runs)}.",
    )


def distances(runs: Runs, names: Sequence[str]) -> Picture:
    """Plot the sensitive distance against the false alarm rate, one plot a population."""
    with stacked(len(names), (5.2, 0.6 + 2.0 * len(names))) as plots:
        for ax, population in zip(plots, names, strict=True):
            for (name, run), color, style in zip(
                runs.items(), cycle(COLORS), cycle(_STYLES), strict=False
            ):
                if run.volumes is None:
                    continue
                curve, fars = run.volumes.curves[population], run.volumes.fars
                y, spread = curve["distance"], curve["distance_err"]
                ax.plot(fars, y, style, color=color, label=name)
                ax.fill_between(fars, y - spread, y + spread, color=color, alpha=0.15, linewidth=0)
            ax.set(xscale="log", ylabel="Distance (Mpc)")
            ax.text(0.98, 0.06, in_solar_masses(population), transform=ax.transAxes, ha="right")
        legend(plots[0], columns=2)
        plots[-1].set_xlabel("False alarm rate (1/yr)")
        return picture(
            plots[0],
            caption="Sensitive distance against the false alarm rate, with its errors.",
            alt=f"Sensitive distance for {', '.join(map(in_solar_masses, names))} of "
            f"{', '.join(runs)}.",
        )


def different(runs: Runs) -> Section:
    """List the settings of the steps that differ between the runs."""
    known = {name: settings_of(run) for name, run in runs.items()}
    keys = sorted({key for settings in known.values() for key in settings})
    rows = [
        [*key, *(settings.get(key, _NONE) for settings in known.values())]
        for key in keys
        if len({settings.get(key) for settings in known.values()}) > 1
    ]
    title = "Settings that differ"
    if not rows:
        return Section("settings", title, ["All steps had the same settings."])
    return Section("settings", title, tables=[Table(["Step", "Setting", *runs], rows)])


def settings_of(run: Evidence) -> dict[tuple[str, str], str]:
    """Settings of a run by step and name; of steps that ran several times, all values."""
    found: dict[tuple[str, str], set[str]] = {}
    for _, record in run.records:
        step = record.command.removeprefix("aframe-")
        for name, value in record.settings.items():
            found.setdefault((step, name), set()).add(json.dumps(value, sort_keys=True))
    return {key: " / ".join(sorted(values)) for key, values in found.items()}
