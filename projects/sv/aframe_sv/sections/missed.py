"""Which injections the search found and which it missed, and some of both from near."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.priors import luminosity_distance
from aframe_sv.evidence import Evidence, Recovered
from aframe_sv.far import rate_in_words
from aframe_sv.neighborhood import Candidate, read_candidates
from aframe_sv.page import (
    COLORS,
    Fold,
    Picture,
    Section,
    Table,
    axes,
    label_plainly,
    legend,
    picture,
    stacked,
)
from aframe_sv.sections.closeup import close_up
from aframe_sv.sections.ranking import SNR_TICKS, binomial_interval

LISTED = 10
#: Injections that are drawn, at most; those beyond are left out evenly.
_DRAWN = 20_000
#: Optimal SNRs from which on injections are counted in the curves of the efficiency.
_LOUD = (0.0, 8.0, 12.0, 20.0)
_POINTS = 200
_BINS = 12
_FOUND = (
    "Found are injections that are ranked within {:g} s of their time at a false alarm rate of {} "
    "or less: as loud as the loudest background event. Of {:,} injections {:,} are found."
)
_OPEN = (
    "Open an injection at the end of this section to see what the search saw of it, in the noise "
    "that it was injected into: the loudest that are missed, and the quietest that are found."
)


@dataclass(frozen=True)
class Injected:
    """What the injections were, in what readers compare them by.

    Args:
        snr: Optimal SNR of the network.
        chirp_mass: Chirp mass in the source's frame (Msun).
        distance: Luminosity distance (Mpc).
    """

    snr: Float[np.ndarray, " injection"]
    chirp_mass: Float[np.ndarray, " injection"]
    distance: Float[np.ndarray, " injection"]

    @classmethod
    def of(cls, recovered: Recovered) -> Injected:
        """Take them from the columns of the recovered injections."""
        first, second, redshift, snr = (
            recovered.columns[name].astype(float)
            for name in ("mass_1", "mass_2", "redshift", "snr")
        )
        return cls(snr, chirp_mass(first, second) / (1 + redshift), luminosity_distance(redshift))


def chirp_mass(
    mass_1: Float[np.ndarray, "*any"], mass_2: Float[np.ndarray, "*any"]
) -> Float[np.ndarray, "*any"]:
    """Chirp mass, in the unit and frame of the masses.

    Example:
        >>> chirp_mass(np.array([30.0]), np.array([30.0])).round(2)
        array([26.12])
    """
    return (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2


def section(evidence: Evidence) -> Section | None:
    """Show what was missed and found; nothing where there is no background or injection."""
    background, recovered = evidence.background, evidence.recovered
    if background is None or not len(background) or recovered is None or not len(recovered.offset):
        return None
    far = JULIAN_YEAR / background.Tb
    found = recovered.statistic >= background.threshold_at_far(far)
    injected = Injected.of(recovered)
    name, text = (
        "missed",
        _FOUND.format(recovered.dt, rate_in_words(far), len(found), int(found.sum())),
    )
    pictures = [
        roc(background, recovered),
        *scatter(injected, found),
        share_found(injected, found),
    ]
    tables = [] if found.all() else [table(injected, found, recovered)]
    shown = folds(evidence, name)
    paragraphs = [text, *([_OPEN] if shown else [])]
    return Section(
        name, "Missed and found injections", paragraphs, tables=tables, pictures=pictures,
        folds=shown,
    )  # fmt: skip


def folds(evidence: Evidence, group: str) -> list[Fold]:
    """Show the examples that the search kept, one to open at a time."""
    path = evidence.inputs.examples
    if path is None:
        return []
    shown = [example for example in read_candidates(path) if example.injected]
    return [
        Fold(
            title(example),
            pictures=close_up(example, evidence, f"injection {number}"),
            group=group,
        )
        for number, example in enumerate(shown, 1)
    ]


def title(example: Candidate) -> str:
    """Name an injection by what it is and whether it was found."""
    said, words = example.injection, ["Found" if example.found else "Missed"]
    if "snr" in said:
        words.append(f"SNR {said['snr']:.1f}")
    if {"mass_1", "mass_2", "redshift"} <= set(said):
        words.append(in_source_frame(said["mass_1"], said["mass_2"], said["redshift"]))
        words.append(f"{luminosity_distance(np.array([said['redshift']]))[0]:.0f} Mpc")
    return f"{words[0]}: {', '.join([*words[1:], f'statistic {example.statistic:.2f}'])}"


def in_source_frame(mass_1: float, mass_2: float, redshift: float) -> str:
    """Masses of a source in its own frame, in words.

    Example:
        >>> in_source_frame(44.0, 33.0, 0.1)
        '40 + 30 M☉'
    """
    return f"{mass_1 / (1 + redshift):.0f} + {mass_2 / (1 + redshift):.0f} M☉"


def table(injected: Injected, found: Bool[np.ndarray, " injection"], recovered: Recovered) -> Table:
    """List the loudest injections that were missed."""
    order = np.argsort(-injected.snr, kind="stable")
    columns = recovered.columns
    rows = [
        (
            f"{injected.snr[row]:.1f}",
            in_source_frame(*(float(columns[n][row]) for n in ("mass_1", "mass_2", "redshift"))),
            f"{injected.distance[row]:.0f} Mpc",
            f"{columns['injection_time'][row]:.2f}",
            f"{columns['detection_statistic'][row]:.2f}",
            f"{recovered.offset[row].round(2) + 0.0:+.2f} s",
        )
        for row in order[~found[order]][:LISTED]
    ]
    return Table(
        ("SNR", "Masses (source)", "Distance", "GPS (s)", "Nearest event", "Its time after"),
        rows,
        "The loudest injections that are missed. Nearest event: the statistic of the event nearest "
        "in time, which must lie within the window to count.",
    )


def scatter(injected: Injected, found: Bool[np.ndarray, " injection"]) -> list[Picture]:
    """Plot the injections over mass, distance and SNR, those found and those missed."""
    distance = ("Luminosity distance (Mpc)", injected.distance, None)
    mass = ("Chirp mass (source, M☉)", injected.chirp_mass, (2, 5, 10, 20, 30, 50, 80))
    snr = ("Network SNR", injected.snr, SNR_TICKS)
    return [_scatter(found, *pair) for pair in ((distance, snr), (mass, distance), (mass, snr))]


_Quantity = tuple[str, Float[np.ndarray, " injection"], "tuple[float, ...] | None"]


def _scatter(found: Bool[np.ndarray, " injection"], x: _Quantity, y: _Quantity) -> Picture:
    kept = np.arange(0, len(found), -(-len(found) // _DRAWN))
    size = 2.5 if len(kept) > 2_000 else 4.0  # noqa: PLR2004 - a matter of looks
    with axes() as ax:
        for which, color, marker, label in (
            (found, COLORS[0], ".", "found"),
            (~found, COLORS[1], "x", "missed"),
        ):
            rows = kept[which[kept]]
            ax.plot(x[1][rows], y[1][rows], marker, color=color, ms=size, mew=0.6, alpha=0.6)
            ax.plot([], [], marker, color=color, ms=6, label=f"{label} ({which.sum():,})")
        ax.set(xscale="log", yscale="log", xlabel=x[0], ylabel=y[0])
        for axis, (_, values, ticks) in ((ax.xaxis, x), (ax.yaxis, y)):
            label_plainly(axis, ticks or _round_ticks(values))
        legend(ax)
        over = f"{_words(y[0])} against {_words(x[0])}"
        return picture(
            ax,
            caption=f"Injections found and missed: {over}. A missed injection among found ones is "
            "worth a look.",
            alt=f"Scatter of {found.sum():,} found and {(~found).sum():,} missed injections: "
            f"{over}.",
            points=True,
        )


def _words(label: str) -> str:
    name = re.sub(r" \(.*", "", label)
    return name if name.isupper() or "SNR" in name else name.lower()


def _round_ticks(values: Float[np.ndarray, " injection"]) -> list[float]:
    """Numbers 1, 2 and 5 of each decade that *values* reach."""
    low, high = np.floor(np.log10(values.min())), np.ceil(np.log10(values.max()))
    decades = 10.0 ** np.arange(low, high + 1)
    return [float(step * decade) for decade in decades for step in (1, 2, 5)]


def share_found(injected: Injected, found: Bool[np.ndarray, " injection"]) -> Picture:
    """Plot the share of injections that is found against distance and mass."""
    with stacked(2, (5.2, 4.4), share=False) as plots:
        for ax, values, label in zip(
            plots,
            (injected.distance, injected.chirp_mass),
            ("Luminosity distance (Mpc)", "Chirp mass (source, M☉)"),
            strict=True,
        ):
            _shares(ax, values, found)
            ax.set(xscale="log", xlabel=label, ylabel="Share found", ylim=(-0.03, 1.03))
            label_plainly(ax.xaxis, _round_ticks(values))
        return picture(
            plots[0],
            caption="The share of the injections that is found, in bins with as many injections "
            "each, with binomial errors. It depends on the population that was injected, and "
            "leaves out the draws that were too faint to inject.",
            alt=f"Share of injections found against distance and chirp mass; {found.mean():.0%} of "
            "all.",
        )


def _shares(
    ax: Axes, values: Float[np.ndarray, " injection"], found: Bool[np.ndarray, " injection"]
) -> None:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)))
    if len(edges) == 1:
        edges = edges * np.array([0.99, 1.01])
    counts, total = np.histogram(values[found], edges)[0], np.histogram(values, edges)[0]
    low, high = binomial_interval(counts, total)
    share, centers = counts / total, np.sqrt(edges[1:] * edges[:-1])
    ax.errorbar(
        centers, share, [share - low, high - share], fmt="o-", ms=3.5, lw=1.2, color=COLORS[0]
    )


def roc(background: Events, recovered: Recovered) -> Picture:
    """Plot the share of injections that is found against the false alarm rate."""
    said = []
    with axes() as ax:
        for color, least in zip(COLORS, _LOUD, strict=False):
            loud = recovered.columns["snr"] >= least
            if not loud.any():
                continue
            fars, share, (low, high) = efficiency(background, recovered.statistic[loud])
            label = f"SNR ≥ {least:g}" if least else "all"
            ax.plot(fars, share, drawstyle="steps-post", color=color, label=label)
            ax.fill_between(fars, low, high, step="post", color=color, alpha=0.15, linewidth=0)
            said.append(f"{label} {share[0]:.0%} to {share[-1]:.0%}")
        ax.set(
            xscale="log",
            xlabel="False alarm rate (1/yr)",
            ylabel="Share found",
            ylim=(-0.03, 1.03),
        )
        legend(ax)
        return picture(
            ax,
            caption="Efficiency against false alarm rate (the ROC curve of the search): the share "
            "of injections that is found when one accepts this many false alarms a year, for all "
            "and for the louder ones, with binomial errors.",
            alt=f"Share of injections found against false alarm rate, from {fars[0]:.3g} to "
            f"{fars[-1]:.3g} a year: {'; '.join(said)}.",
        )


def efficiency(
    background: Events, statistic: Float[np.ndarray, " injection"]
) -> tuple[
    Float[np.ndarray, " point"],
    Float[np.ndarray, " point"],
    tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]],
]:
    """Count the injections that are found at false alarm rates of the background.

    Args:
        background: Events of the time slides.
        statistic: Statistic of each injection, ``-inf`` where it has no event.

    Returns:
        False alarm rates (1/yr), lowest first; the share of the injections that is found at
        each; and its bounds of one standard deviation.
    """
    loudest_first = np.sort(background.detection_statistic)[::-1]
    counts = np.unique(np.geomspace(1, len(loudest_first), _POINTS).round().astype(int))
    thresholds = loudest_first[counts - 1]
    # Ties: a threshold accepts all background events that are as loud as it.
    fars = np.asarray(background.false_alarm_rate(thresholds), float)
    found = len(statistic) - np.searchsorted(np.sort(statistic), thresholds, side="left")
    total = np.full(len(found), len(statistic))
    return fars, found / total, binomial_interval(found, total)
