"""How the search ranks: scores, efficiency, false alarm rate, timing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from scipy.stats import beta, poisson

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe_sv.clock import Clock, read_clock
from aframe_sv.evidence import Evidence, Recovered, detectors
from aframe_sv.far import ONE_SIGMA, in_words, poisson_interval, rate_in_words
from aframe_sv.neighborhood import read_candidates
from aframe_sv.page import (
    COLORS,
    FAINT,
    INK,
    Fold,
    Picture,
    Section,
    axes,
    label_plainly,
    legend,
    picture,
)
from aframe_sv.sections.closeup import close_up

SNR_EDGES = np.array([4.0, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 25, 35, 50, 100])
SNR_TICKS = (4, 6, 8, 10, 15, 20, 30, 50, 100)
_BINS = 60
_SLIDES = (
    "The background comes from time slides: the strain of one detector is shifted against the "
    "other's by more than light needs between them, so that no signal is in both at once."
)
#: What the search left out of the slides, by its convention, and what that does to the rates.
_REMOVED = (
    "Known events are removed from the background: strain within {half:g} s of {events} is left "
    "out of it, {time} in all slides. Such rates are right on average for noise, as long as no "
    "signal is in the strain that nobody knows."
)
_KEPT = (
    "Known events are kept in the background: strain of {events} is slid like any other. In a "
    "slide each pairs with noise of the other detectors, so that the rates are those of noise and "
    "signals, as in zero lag itself, and too high for noise alone."
)
_UNNAMED = (
    "No known event was named to the search (known_events): signals that the strain holds are in "
    "the background too, and make its rates too high for noise alone."
)
_OPEN = (
    "Open one of the loudest background events at the end of this section to see what the network "
    "took for a signal."
)
_POINTS = 300
#: Least number of events that is drawn.
_LOWEST = 0.3
#: SNR from which on injections tell how far off the times of clear signals are.
_CLEAR = 15.0
#: Fewest injections that tell a median.
_ENOUGH = 20
#: Zero-lag events that are marked, the loudest.
_MARKED = 30
#: Counts in the background at whose rates the efficiency is shown.
_COUNTS = (1, 10, 100)
_NAMED_RATES = {
    "1 per minute": JULIAN_YEAR / 60,
    "1 per hour": JULIAN_YEAR / 3600,
    "1 per day": 365.25,
    "1 per month": 12.0,
    "1 per year": 1.0,
    "1 per 10 years": 0.1,
}


def section(evidence: Evidence) -> Section:
    """Show how background and injections are ranked."""
    name, title = "ranking", "Background, injections and false alarm rate"
    background = evidence.background
    if background is None or not len(background):
        return Section(name, title, ["There is no background in this run, and so no rate."])
    paragraphs = [_SLIDES, *_convention(evidence)]
    pictures = [false_alarm_rate(background, evidence.zero_lag)]
    if evidence.zero_lag is not None and len(evidence.zero_lag) and evidence.zero_lag.Tb > 0:
        pictures.append(counts(background, evidence.zero_lag))
    shown = folds(evidence, background, name)
    opening = [_OPEN] if shown else []
    recovered = evidence.recovered
    if recovered is None:
        paragraphs.append("No injections were searched in this run.")
        return Section(name, title, [*paragraphs, *opening], pictures=pictures, folds=shown)
    pictures += [
        histogram(background, recovered, evidence.zero_lag),
        efficiency(background, recovered),
    ]
    found = recovered.statistic >= background.threshold_at_far(JULIAN_YEAR / background.Tb)
    if found.any():
        pictures.append(timing(recovered, found, read_clock(evidence.inputs)))
    else:
        paragraphs.append("No injection is as loud as the loudest background event.")
    return Section(name, title, [*paragraphs, *opening], pictures=pictures, folds=shown)


def folds(evidence: Evidence, background: Events, group: str) -> list[Fold]:
    """Show the loudest events of the background that the search kept, one to open at a time."""
    if evidence.inputs.examples is None:
        return []
    shown = [
        example
        for example in read_candidates(evidence.inputs.examples)
        # Of a background with vetoes, those that are left.
        if example.slid and np.any(background.detection_time == example.time)
    ]
    return [
        Fold(
            f"Background event {number}: statistic {example.statistic:.2f}, "
            + slide(evidence.ifos, example.shifts),
            pictures=close_up(example, evidence, f"background event {number}"),
            group=group,
        )
        for number, example in enumerate(shown, 1)
    ]


def slide(ifos: Sequence[str], shifts: Sequence[float]) -> str:
    """Say which detector's strain is read how much later than another's.

    Example:
        >>> slide(["H1", "L1", "V1"], [0.0, 2.0, 4.5])
        'L1 2 s and V1 4.5 s after H1'
    """
    first, *others = zip(detectors(ifos, len(shifts)), shifts, strict=True)
    later = [f"{ifo} {shift - first[1]:g} s" for ifo, shift in others]
    return f"{' and '.join(later)} after {first[0]}"


def _convention(evidence: Evidence) -> list[str]:
    """Say whether known events count as background, as far as the search's record tells."""
    searches = (r for _, r in evidence.records if r.command == "aframe-infer infer")
    told = (record.notes.get("background") or {} for record in searches)
    notes: Mapping[str, Any] = next(told, {})
    events = notes.get("known_events")
    if events is None or evidence.background_is_simulated:
        return []
    if not events:
        return [_UNNAMED]
    said = _REMOVED if notes["known_events_are"] == "removed" else _KEPT
    half, time = notes["known_events_half_width"], in_words(notes["left_out"])
    return [said.format(events=", ".join(events), half=half, time=time)]


def false_alarm_rate(background: Events, zero_lag: Events | None) -> Picture:
    """Plot the false alarm rate against the statistic, with the events of zero lag."""
    statistic, fars, low, high = rates_by_statistic(background)
    with axes() as ax:
        ax.fill_between(statistic, low, high, step="pre", color=COLORS[0], alpha=0.2, linewidth=0)
        ax.plot(statistic, fars, drawstyle="steps-pre", color=COLORS[0], label="background")
        louder = 0
        if zero_lag is not None and len(zero_lag):
            louder = _mark(ax, background, zero_lag)
        ax.set(yscale="log", xlabel="Detection statistic", ylabel="False alarm rate (1/yr)")
        ax.set_ylim(JULIAN_YEAR / background.Tb / 4, None)
        _name_rates(ax)
        legend(ax)
        return picture(
            ax,
            caption="How often noise is at least as loud: the false alarm rate against the "
            "statistic with its Poisson uncertainty, and the zero-lag events at theirs. An arrow "
            "marks an event that no background event reaches: it stands at one count.",
            alt=f"False alarm rate against detection statistic; the loudest of {len(background):,} "
            f"background events is at {statistic[-1]:.2f}, and {louder} zero-lag events are "
            "louder.",
        )


def counts(background: Events, zero_lag: Events) -> Picture:
    """Plot how many zero-lag events are as rare as this, against what noise would give.

    Noise alone gives Poisson counts about its false alarm rate times the time searched.
    """
    years = zero_lag.Tb / JULIAN_YEAR
    rates = np.sort(background.false_alarm_rate(zero_lag.detection_statistic))
    most = rates_by_statistic(background)[1].max()
    grid = np.geomspace(JULIAN_YEAR / background.Tb, max(most, 1.01 * rates[0]), _POINTS)
    with axes() as ax:
        for sigmas in (3, 2, 1):
            low, high = poisson.interval(math.erf(sigmas / math.sqrt(2)), grid * years)
            ax.fill_between(
                1 / grid, np.maximum(low, _LOWEST), high, color=FAINT, alpha=0.15, linewidth=0
            )
        ax.plot(1 / grid, grid * years, color=FAINT, linestyle=(0, (4, 3)), label="noise, expected")
        ax.plot(
            1 / rates, np.arange(1, len(rates) + 1), "o", color=COLORS[1], ms=4, label="zero lag"
        )
        ax.set(xscale="log", yscale="log", xlabel="Inverse false alarm rate (yr)")
        ax.set(ylabel="Events at least as rare")
        ax.set_ylim(_LOWEST, None)
        legend(ax)
        first, few = 1 / rates[0], float(rates[0] * years)
        return picture(
            ax,
            caption="How many events zero lag has against how many noise would give: at each "
            "inverse false alarm rate the events that are at least as rare, what the background "
            "lets one expect, and the central intervals of a Poisson distribution about it that "
            "hold as much as one, two and three standard deviations. Noise stays within; a signal "
            "stands out on the right, where an event louder than all background stands at one "
            "count.",
            alt=f"Number of {len(zero_lag):,} zero-lag events against inverse false alarm rate; "
            f"the rarest stands at {first:.2g} years, where noise gives {few:.2g} events.",
        )


def rates_by_statistic(
    background: Events,
) -> tuple[
    Float[np.ndarray, " point"],
    Float[np.ndarray, " point"],
    Float[np.ndarray, " point"],
    Float[np.ndarray, " point"],
]:
    """Tell false alarm rates at some of the background's statistics, quietest first.

    The rate of a statistic between two events is that of the louder one: a step.

    Args:
        background: Events of the time slides.

    Returns:
        Statistics; the rate at each (1/yr), ties counted whole; and its bounds of one standard
        deviation of the count.
    """
    if not len(background):
        none = np.empty(0)
        return none, none, none, none
    loudest_first = np.sort(background.detection_statistic)[::-1]
    chosen = np.unique(np.geomspace(1, len(loudest_first), _POINTS).round().astype(int))
    statistic = np.unique(loudest_first[chosen - 1])
    counts, year = background.counts_above(statistic), JULIAN_YEAR / background.Tb
    low, high = poisson_interval(counts)
    return statistic, counts * year, low * year, high * year


def _mark(ax: Axes, background: Events, zero_lag: Events) -> int:
    """Mark zero-lag events; give the number of those above all background."""
    statistic = zero_lag.detection_statistic[-_MARKED:]
    fars = background.false_alarm_rate(statistic)
    bounded = background.counts_above(statistic) == 0
    color = COLORS[1]
    ax.plot(statistic[~bounded], fars[~bounded], "o", color=color, markersize=4, mec="white")
    ax.plot(statistic[bounded], fars[bounded], "o", color=color, markersize=6, mec="white")
    for x, y in zip(statistic[bounded], fars[bounded], strict=True):
        ax.annotate(
            "", (x, y / 3.2), (x, y), arrowprops={"arrowstyle": "->", "color": color, "lw": 1.5}
        )
    ax.plot([], [], "o", color=color, label="zero lag")
    return int(bounded.sum())


def _name_rates(ax: Axes) -> None:
    low, high = ax.get_ylim()
    named = {label: rate for label, rate in _NAMED_RATES.items() if low < rate < high}
    side = ax.secondary_yaxis("right")
    side.set_yticks(list(named.values()), list(named))
    side.yaxis.set_minor_locator(NullLocator())
    side.spines["right"].set_visible(False)


def histogram(background: Events, recovered: Recovered, zero_lag: Events | None) -> Picture:
    """Plot the distributions of the statistic."""
    found = recovered.statistic[np.isfinite(recovered.statistic)]
    everything = np.concatenate([background.detection_statistic, found])
    edges = np.linspace(everything.min(), everything.max(), _BINS + 1)
    with axes() as ax:
        for values, color, label in (
            (background.detection_statistic, FAINT, "background"),
            (found, COLORS[0], "injections"),
        ):
            share = np.histogram(values, edges)[0] / max(len(values), 1)
            ax.stairs(share, edges, color=color, fill=True, alpha=0.25)
            ax.stairs(share, edges, color=color, label=label, linewidth=1.3)
        if zero_lag is not None and len(zero_lag):
            loudest = float(zero_lag.detection_statistic[-1])
            ax.axvline(loudest, color=COLORS[1], linestyle=(0, (4, 2)), label="loudest at zero lag")
        ax.set(yscale="log", xlabel="Detection statistic", ylabel="Share of events a bin")
        legend(ax)
        above = np.mean(found > background.detection_statistic.max()) if len(found) else 0.0
        return picture(
            ax,
            caption="What separates signals from noise: the statistic of background events and of "
            "recovered injections; the less the two overlap, the better the search.",
            alt=f"Histograms of the detection statistic of {len(background):,} background events "
            f"and {len(found):,} recovered injections, {above:.0%} of which are louder than all "
            "background.",
        )


def efficiency(background: Events, recovered: Recovered) -> Picture:
    """Plot the share of injections that is found against their SNR."""
    centers = np.sqrt(SNR_EDGES[1:] * SNR_EDGES[:-1])
    said = []
    with axes() as ax:
        for index, count in enumerate(count for count in _COUNTS if count <= len(background)):
            far = count * JULIAN_YEAR / background.Tb
            threshold = background.threshold_at_far(far)
            found, total = found_by_snr(recovered, threshold)
            there = total > 0
            share = found[there] / total[there]
            low, high = binomial_interval(found[there], total[there])
            ax.errorbar(
                centers[there] * (1 + 0.012 * index),
                share,
                [share - low, high - share],
                fmt="o-",
                markersize=3.5,
                linewidth=1.2,
                color=COLORS[index],
                label=rate_in_words(far),
            )
            said.append(f"{np.mean(recovered.statistic >= threshold):.0%} at {rate_in_words(far)}")
        ax.set(xscale="log", xlabel="Network SNR", ylabel="Share found", ylim=(-0.03, 1.03))
        label_plainly(ax.xaxis, SNR_TICKS)
        legend(ax, title="false alarm rate")
        return picture(
            ax,
            caption="How loud a signal must be to be found: the share of injections recovered "
            f"within {recovered.dt:g} s at a false alarm rate or less, against their optimal "
            "SNR.",
            alt=f"Efficiency against SNR; of all {len(recovered.offset):,} injections found: "
            f"{', '.join(said)}.",
        )


def found_by_snr(
    recovered: Recovered, threshold: float
) -> tuple[Int[np.ndarray, " bin"], Int[np.ndarray, " bin"]]:
    """Count the injections in bins of SNR: those found, and all."""
    snr, found = recovered.columns["snr"], recovered.statistic >= threshold
    return np.histogram(snr[found], SNR_EDGES)[0], np.histogram(snr, SNR_EDGES)[0]


def binomial_interval(
    found: Int[np.ndarray, " bin"], total: Int[np.ndarray, " bin"]
) -> tuple[Float[np.ndarray, " bin"], Float[np.ndarray, " bin"]]:
    """Bound a probability from *found* of *total*, one standard deviation.

    Source:
        Jeffreys' interval, closed at 0 and 1 (L. D. Brown et al., Stat. Sci. 16, 101 (2001)).

    Example:
        >>> low, high = binomial_interval(np.array([0, 5]), np.array([10, 10]))
        >>> low.round(3), high.round(3)
        (array([0.   , 0.349]), array([0.092, 0.651]))
    """
    tail = (1 - ONE_SIGMA) / 2
    missed = total - found
    low = np.where(found > 0, beta.ppf(tail, found + 0.5, missed + 0.5), 0.0)
    return low, np.where(missed > 0, beta.isf(tail, found + 0.5, missed + 0.5), 1.0)


def timing(
    recovered: Recovered, found: Bool[np.ndarray, " injection"], clock: Clock | None
) -> Picture:
    """Plot how far in time the events lie from the injections that made them."""
    milliseconds = 1e3 * recovered.offset[found]
    low, middle, high = np.percentile(milliseconds, [15.9, 50, 84.1])
    first, last = np.percentile(milliseconds, [0.5, 99.5])
    room = max(0.15 * (last - first), 1.0)
    with axes() as ax:
        bins = np.linspace(first - room, last + room, 81)
        ax.stairs(*np.histogram(milliseconds, bins), color=COLORS[0], fill=True, alpha=0.8)
        ax.axvline(middle, color=INK, linestyle=(0, (4, 3)), linewidth=1, label="median")
        ax.axvspan(low, high, color=FAINT, alpha=0.2, linewidth=0, label="middle 68 %")
        ax.set(xlabel="Event time after injection time (ms)", ylabel="Injections")
        legend(ax)
        return picture(
            ax,
            caption="Event time less injection time, for injections louder than all background. "
            f"The middle 68 % lie between {low:.0f} and {high:.0f} ms. "
            f"{_bias(recovered, found)}{_grid(clock)}",
            alt=f"Histogram of time differences of {found.sum():,} injections: median "
            f"{middle:.0f} ms, the middle 68 % between {low:.0f} and {high:.0f} ms.",
        )


def _bias(recovered: Recovered, found: Bool[np.ndarray, " injection"]) -> str:
    """Say how far off the times of clear signals are on average."""
    clear = 1e3 * recovered.offset[found & (recovered.columns["snr"] >= _CLEAR)]
    if len(clear) < _ENOUGH:
        return ""
    # Of the median of a normal distribution.
    error = math.sqrt(math.pi / 2) * clear.std(ddof=1) / math.sqrt(len(clear))
    return (
        f"Of the {len(clear):,} with an SNR of {_CLEAR:g} or more the median is "
        f"{np.median(clear) + 0.0:.0f} ± {error:.0f} ms. "
    )


def _grid(clock: Clock | None) -> str:
    if clock is None:
        return "These times lie on the grid of the search's scores."
    return (
        f"These times lie on the search's grid, with one score each {1e3 * clock.stride:.0f} ms. "
        "Evenly spaced injections fall on few places between its points: the teeth. "
        f"The loudest zero-lag events are timed on a finer grid: there, {clock.injections} loud "
        f"injections scatter by {1e3 * clock.scatter:.0f} ms."
    )
