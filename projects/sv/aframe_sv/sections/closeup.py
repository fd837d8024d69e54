"""An event or injection from near: its whitened strain, its Q-scan and its scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from scipy.signal import butter, sosfiltfilt

from aframe_sv.evidence import Evidence, detectors
from aframe_sv.neighborhood import Candidate
from aframe_sv.page import (
    COLORS,
    FAINT,
    INK,
    Picture,
    axes,
    ifo_color,
    legend,
    picture,
    stacked,
)
from aframe_sv.sections.qscan import qscan

#: Time on either side of an event in the plots of strain (s).
_AROUND = 0.25
#: Band of the bold curve (Hz): where ground-based detectors see heavy binaries.
_BAND = (35.0, 350.0)
#: A filter needs some room below the Nyquist frequency: share of it to use.
_BELOW_NYQUIST = 0.9
#: A curve that ends closer to the event than this is cut off; a peak beyond is not its own (s).
_NEAR = 0.5
#: What the line at zero is, for an event and for an injection.
_DASHED = {False: "the time that the search gives", True: "the merger, as injected"}
_MERGER = (
    "A merger is an oscillation that grows in height and pitch and then stops, in all detectors "
    "within 10 ms of one another."
)
_SLID = "The detectors' strain is of different times here: what is in several of them is chance."
_PALE, _TALL = "#c3c9cf", (5.2, 3.9)
#: Where plots of this size end, with room for three digits, and for a legend.
_MARGINS = {"left": 0.11, "right": 0.975, "bottom": 0.115, "top": 0.93, "hspace": 0.08}
_WITH_LEGEND = {"left": 0.11, "right": 0.975, "bottom": 0.115, "top": 0.88}


def close_up(candidate: Candidate, evidence: Evidence, name: str) -> list[Picture]:
    """Plot the strain, the Q-scan and the scores around an event or injection.

    Args:
        candidate: What is seen there.
        evidence: Says which detectors there are, and what the network was shown of them.
        name: What it is called, such as "event 1".
    """
    trained, ifos = evidence.preprocessing, evidence.ifos
    seen = qscan(candidate, ifos, name, trained.highpass if trained else None)
    return [strain(candidate, ifos, name), *([seen] if seen else []), scores(candidate, name)]


def strain(candidate: Candidate, ifos: Sequence[str], name: str) -> Picture:
    """Plot each detector's whitened strain around an event."""
    whitened = candidate.whitened
    times = whitened.times(candidate.time)
    near = np.abs(times) <= _AROUND
    band = np.array([in_band(row, whitened.sample_rate) for row in whitened.values])
    names = detectors(ifos, len(band))
    with stacked(len(band), _TALL, margins=_MARGINS) as plots:
        for ax, raw, filtered, ifo in zip(plots, whitened.values, band, names, strict=False):
            ax.plot(times[near], raw[near], color=_PALE, linewidth=0.7)
            ax.plot(times[near], filtered[near], color=ifo_color(ifo))
            mark(ax)
            ax.set(ylabel=f"{ifo} (sd of noise)", xlim=(-_AROUND, _AROUND))
        plots[0].set_title(f"{name.capitalize()}: whitened strain")
        plots[-1].set_xlabel(f"Time after GPS {candidate.time:.2f} (s)")
        peaks = np.abs(band[:, near]).max(axis=1, initial=0)
        return picture(
            plots[0],
            caption=f"What the detectors measured around {name}, in standard deviations of "
            f"their noise (gray; in color {_BAND[0]:.0f} to {_BAND[1]:.0f} Hz). "
            + (_SLID if candidate.slid else _MERGER)
            + f" Dashed: {_DASHED[candidate.injected]}.",
            alt=f"Whitened strain around GPS {candidate.time:.2f}; largest values in the band: "
            + ", ".join(f"{ifo} {peak:.1f}" for ifo, peak in zip(names, peaks, strict=False))
            + " standard deviations.",
            points=True,
        )


def in_band(series: Float[np.ndarray, " time"], sample_rate: float) -> Float[np.ndarray, " time"]:
    """Keep the band of heavy binaries, as far as *sample_rate* has it, without a delay."""
    edges = (_BAND[0], min(_BAND[1], _BELOW_NYQUIST * sample_rate / 2))
    return sosfiltfilt(butter(4, edges, "bandpass", fs=sample_rate, output="sos"), series)


def mark(ax: Axes) -> None:
    """Mark the time of the event."""
    ax.axvline(0, color=INK, linestyle=(0, (4, 3)), linewidth=1)


def scores(candidate: Candidate, name: str) -> Picture:
    """Plot the network's output and the detection statistic around an event."""
    with axes(_TALL, margins=_WITH_LEGEND) as ax:
        for series, color, label, width in (
            (candidate.scores, FAINT, "network output", 1.0),
            (candidate.integrated, COLORS[0], "its running mean", 1.8),
        ):
            times = series.times(candidate.time)
            ax.plot(times, series.values, ".-", color=color, label=label, lw=width, ms=3)
        if abs(candidate.offset) < _NEAR:
            place, height = candidate.offset, candidate.statistic
            ax.plot(place, height, "D", color=COLORS[1], mec="white", zorder=3, label="as ranked")
        mark(ax)
        ax.set(
            xlabel=f"Time after GPS {candidate.time:.2f} (s)",
            ylabel="Score",
            title=f"{name.capitalize()}: score",
        )
        legend(ax)
        return picture(
            ax,
            caption=f"The score around {name}, computed anew every "
            f"{1e3 / candidate.integrated.sample_rate:.0f} ms. Gray: the network's score of each "
            "window of strain, at the window's end. Blue: the mean of the last few scores, at the "
            "time of the event it stands for. "
            + (answered(candidate) if candidate.injected else compared(candidate)),
            alt=f"Score against time around GPS {candidate.time:.2f}; the event was ranked by "
            f"{candidate.statistic:.2f}.",
            points=True,
        )


def answered(candidate: Candidate) -> str:
    """Say what the search made of an injection."""
    away, side = abs(candidate.offset), "before" if candidate.offset < 0 else "after"
    if away < _NEAR:
        ranked = f"The search ranked it by {candidate.statistic:.2f} (point)"
        return f"{ranked}, {away:.2f} s {side} its merger."
    return f"The event nearest to it is {away:.1f} s {side} it: the search has none of it."


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
