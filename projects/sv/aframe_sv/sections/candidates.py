"""The events of zero lag, and what the detectors and the network saw around the loudest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from scipy.signal import butter, sosfiltfilt

from aframe.artifacts.hdf5 import reading
from aframe_sv.clock import Clock, read_clock
from aframe_sv.evidence import Evidence, utc
from aframe_sv.page import (
    COLORS,
    FAINT,
    INK,
    Picture,
    Section,
    Table,
    axes,
    ifo_color,
    legend,
    picture,
    stacked,
)
from aframe_sv.sections.headline import Ranked
from aframe_sv.sections.probability import marked

LISTED, SHOWN = 10, 3
#: Time on either side of an event in the plots of strain (s).
_AROUND = 0.25
#: Band of the bold curve (Hz): where ground-based detectors see heavy binaries.
_BAND = (35.0, 350.0)
#: A filter needs some room below the Nyquist frequency: share of it to use.
_BELOW_NYQUIST = 0.9
#: A curve that ends closer to the event than this is cut off; a peak beyond is not its own (s).
_NEAR = 0.5
_PALE, _TALL = "#c3c9cf", (5.2, 3.9)


@dataclass(frozen=True)
class Series:
    """A stretch of equally spaced values.

    Args:
        values: The values, the last axis in time.
        gps_start: GPS time of the first (s).
        sample_rate: Values a second (Hz).
    """

    values: Float[np.ndarray, "*ifo time"]
    gps_start: float
    sample_rate: float

    def times(self, zero: float) -> Float[np.ndarray, " time"]:
        """Times of the values after *zero* (s)."""
        return self.gps_start - zero + np.arange(self.values.shape[-1]) / self.sample_rate


@dataclass(frozen=True)
class Candidate:
    """The neighborhood of an event.

    Args:
        time: GPS time of the event (s).
        statistic: Its detection statistic.
        whitened: Whitened strain, a row a detector (standard deviations of the noise).
        scores: Output of the network.
        integrated: The detection statistic against time.
    """

    time: float
    statistic: float
    whitened: Series
    scores: Series
    integrated: Series


def read_candidates(path: Path, most: int) -> list[Candidate]:
    """Read the loudest candidates.

    Raises:
        AframeError: If the file is not one of candidates.
    """
    with reading(path, "a file of candidates") as file:
        found = []
        for rank in range(min(most, len(file))):
            group = file[str(rank)]
            start, series = group.attrs["gps_start"], {}
            for name in ("whitened", "scores", "integrated"):
                dataset = group[name]
                begin = float(dataset.attrs.get("gps_start", start))
                series[name] = Series(dataset[:], begin, float(dataset.attrs["sample_rate"]))
            time, statistic = (float(group.attrs[f"detection_{k}"]) for k in ("time", "statistic"))
            found.append(Candidate(time, statistic, **series))
        return found


def section(evidence: Evidence) -> Section:
    """List the events of zero lag and show the loudest."""
    name, title = "candidates", "Zero-lag events"
    background, zero_lag = evidence.background, evidence.zero_lag
    if background is None or zero_lag is None:
        return Section(
            name, title, ["There is no zero lag in this run, or no background to rank it."]
        )
    if not len(zero_lag):
        return Section(name, title, ["The search found no event at zero lag."])
    order = range(len(zero_lag) - 1, max(len(zero_lag) - 1 - LISTED, -1), -1)
    ranked = [Ranked.of(background, zero_lag, index) for index in order]
    found = evidence.probabilities
    p_astro = (
        [marked(found, rank) for rank in range(len(ranked))] if found and found.classes else None
    )
    clock = read_clock(evidence.inputs)
    paragraphs = [_introduction(len(zero_lag), len(ranked))]
    if clock:
        paragraphs.append(_times(clock))
    if evidence.inputs.candidates is None:
        paragraphs.append("Their strain and scores were not kept in this run.")
        return Section(name, title, paragraphs, tables=[table(ranked, clock, p_astro)])
    shown = read_candidates(evidence.inputs.candidates, SHOWN)
    pictures = [
        plot
        for rank, candidate in enumerate(shown, 1)
        for plot in (strain(candidate, evidence.ifos, rank), scores(candidate, rank))
    ]
    return Section(name, title, paragraphs, tables=[table(ranked, clock, p_astro)], pictures=pictures)


def _introduction(events: int, listed: int) -> str:
    which = "listed below" if events == listed else f"of which the {listed} loudest are below"
    count = "One event" if events == 1 else f"{events:,} events"
    return (
        f"{count} at zero lag, {which}. Expected by chance: how many noise events as loud the "
        "searched time holds on average."
    )


def _times(clock: Clock) -> str:
    return (
        f"The loudest of them are timed on a fine grid. There, {clock.injections} loud injections "
        f"scatter by {clock.scatter:.3f} s about their true times: the ± of events that are louder "
        "than all background. A fainter event is timed less well."
    )


def table(ranked: list[Ranked], clock: Clock | None, p_astro: Sequence[str] | None = None) -> Table:
    """List events, loudest first; those louder than all background stand out."""
    rows = [
        (
            str(rank),
            utc(event.time),
            event.gps(clock),
            f"{event.statistic:.2f}",
            event.rate,
            ("" if event.louder else "≲ ") + f"{event.expected:.2g}",
            *([p_astro[rank - 1]] if p_astro else []),
        )
        for rank, event in enumerate(ranked, 1)
    ]
    return Table(
        (
            *("", "Time (UTC)", "GPS (s)", "Statistic", "False alarm rate", "Expected by chance"),
            *(["p_astro"] if p_astro else []),
        ),
        rows,
        "≲ marks one count in all the background, where no background event is as loud. The limit "
        "at 90 % confidence is 2.3 times higher."
        + (" * marks a probability that is extrapolated there." if p_astro else ""),
        emphasize=sum(not event.louder for event in ranked),
    )


def strain(candidate: Candidate, ifos: Sequence[str], rank: int) -> Picture:
    """Plot each detector's whitened strain around an event."""
    whitened = candidate.whitened
    times = whitened.times(candidate.time)
    near = np.abs(times) <= _AROUND
    band = np.array([in_band(row, whitened.sample_rate) for row in whitened.values])
    names = [*ifos, *(f"detector {n}" for n in range(len(ifos) + 1, len(band) + 1))]
    with stacked(len(band), _TALL) as plots:
        for ax, raw, filtered, ifo in zip(plots, whitened.values, band, names, strict=False):
            ax.plot(times[near], raw[near], color=_PALE, linewidth=0.7)
            ax.plot(times[near], filtered[near], color=ifo_color(ifo))
            mark(ax)
            ax.set(ylabel=f"{ifo} (sd of noise)", xlim=(-_AROUND, _AROUND))
        plots[0].set_title(f"Event {rank}: whitened strain")
        plots[-1].set_xlabel(f"Time after GPS {candidate.time:.2f} (s)")
        peaks = np.abs(band[:, near]).max(axis=1, initial=0)
        return picture(
            plots[0],
            caption=f"What the detectors measured around event {rank}, in standard deviations of "
            f"their noise (gray; in color {_BAND[0]:.0f} to {_BAND[1]:.0f} Hz). A merger is an "
            "oscillation that grows in height and pitch and then stops, in all detectors within "
            "10 ms of one another. Dashed: the time that the search gives.",
            alt=f"Whitened strain around GPS {candidate.time:.2f}; largest values in the band: "
            + ", ".join(f"{ifo} {peak:.1f}" for ifo, peak in zip(names, peaks, strict=False))
            + " standard deviations.",
        )


def in_band(series: Float[np.ndarray, " time"], sample_rate: float) -> Float[np.ndarray, " time"]:
    """Keep the band of heavy binaries, as far as *sample_rate* has it, without a delay."""
    edges = (_BAND[0], min(_BAND[1], _BELOW_NYQUIST * sample_rate / 2))
    return sosfiltfilt(butter(4, edges, "bandpass", fs=sample_rate, output="sos"), series)


def mark(ax: Axes) -> None:
    """Mark the time of the event."""
    ax.axvline(0, color=INK, linestyle=(0, (4, 3)), linewidth=1)


def scores(candidate: Candidate, rank: int) -> Picture:
    """Plot the network's output and the detection statistic around an event."""
    with axes(_TALL) as ax:
        for series, color, label, width in (
            (candidate.scores, FAINT, "network output", 1.0),
            (candidate.integrated, COLORS[0], "its running mean", 1.8),
        ):
            times = series.times(candidate.time)
            ax.plot(times, series.values, ".-", color=color, label=label, lw=width, ms=3)
        ax.plot(
            0, candidate.statistic, "D", color=COLORS[1], mec="white", zorder=3, label="as ranked"
        )
        mark(ax)
        ax.set(
            xlabel=f"Time after GPS {candidate.time:.2f} (s)",
            ylabel="Score",
            title=f"Event {rank}: score",
        )
        legend(ax)
        return picture(
            ax,
            caption=f"The score around event {rank}, computed anew every "
            f"{1e3 / candidate.integrated.sample_rate:.0f} ms. Gray: the network's score of each "
            "window of strain, at the window's end. Blue: the mean of the last few scores, at the "
            f"time of the event it stands for. {compared(candidate)}",
            alt=f"Score against time around GPS {candidate.time:.2f}; the event was ranked by "
            f"{candidate.statistic:.2f}.",
        )


def compared(candidate: Candidate) -> str:
    """Say how the finer curve of the statistic compares with what the event was ranked by."""
    curve = candidate.integrated
    times, step = curve.times(candidate.time), 1 / curve.sample_rate
    ranked = f"The search ranked the event by {candidate.statistic:.2f} (point)"
    if not (len(times) and times[0] - step <= 0 <= times[-1] + step):
        return f"{ranked}. The curve does not reach it."
    there, highest = float(np.interp(0, times, curve.values)), int(curve.values.argmax())
    said = [
        f"{ranked}, where the curve has {there:.2f}.",
        "The two differ: each has its own grid and takes the noise from other seconds.",
    ]
    if abs(times[highest]) > _NEAR and curve.values[highest] > max(there, candidate.statistic):
        side = "before" if times[highest] < 0 else "after"
        said.append(
            f"The curve is highest {abs(times[highest]):.1f} s {side} the event, with "
            f"{curve.values[highest]:.2f}: on its own grid the search has less there, or another "
            "event near it, or does not search there."
        )
    if times[-1] < _NEAR:
        said.append("The search ends here, and with it the curve.")
    if times[0] > -_NEAR:
        said.append("The search begins here, and with it the curve.")
    return " ".join(said)
