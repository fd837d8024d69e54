"""Time and frequency of what lies around an event: the Q-transform of its whitened strain."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import NullFormatter

from aframe_sv.evidence import detectors
from aframe_sv.neighborhood import Candidate, Series
from aframe_sv.page import Picture, label_plainly, picture, stacked

#: Time shown before and after an event (s).
BEFORE, AFTER = 0.6, 0.2
#: Strain on either side of the event that is transformed: noise to compare with (s).
_AROUND = 2.0
#: Range of quality factors: of few cycles, as heavy binaries, to many.
_QUALITIES = (4.0, 64.0)
#: Lowest frequency where nothing says what the network was shown (Hz).
_LOWEST = 20.0
_STEPS, _ROWS = 1 / 256, 120
#: Normalized energy up to which colors differ, at least; noise alone reaches about 10.
_BRIGHTEST = 20.0
_TICKS = (20, 30, 50, 100, 200, 300, 500, 1000, 2000)
_SIZE = (5.2, 3.9)
#: Where plots of this size end.
_MARGINS = {"left": 0.12, "right": 0.99, "bottom": 0.115, "top": 0.93, "hspace": 0.08}


class Scan(NamedTuple):
    """Energy over time and frequency.

    Args:
        times: Times after the event (s).
        frequencies: Frequencies (Hz), equally spaced in their logarithm.
        energy: Energy in units of the noise's median, a row a frequency.
        quality: Quality factor of the transform: that in which the event is brightest.
    """

    times: Float[np.ndarray, " time"]
    frequencies: Float[np.ndarray, " frequency"]
    energy: Float[np.ndarray, "frequency time"]
    quality: float


def scan(strain: Series, zero: float, lowest: float = _LOWEST) -> Scan | None:
    """Transform the whitened strain of one detector.

    Args:
        strain: Whitened strain, of which some seconds around the event are used.
        zero: GPS time of the event (s).
        lowest: Lowest frequency (Hz): below a highpass there is no noise to compare with.

    Returns:
        The scan, or ``None`` where there is too little strain around the event.

    Source:
        S. Chatterji et al., Class. Quantum Grav. 21, S1809 (2004), as gwpy has it.
    """
    # gwpy takes seconds to import.
    from gwpy.segments import Segment  # noqa: PLC0415
    from gwpy.signal.qtransform import q_scan  # noqa: PLC0415
    from gwpy.timeseries import TimeSeries  # noqa: PLC0415

    times = strain.times(zero)
    near = np.abs(times) <= _AROUND
    if not near.any() or times[near][0] > -BEFORE or times[near][-1] < AFTER:
        return None
    shown = Segment(-BEFORE, AFTER)
    series = TimeSeries(strain.values[near], sample_rate=strain.sample_rate, t0=times[near][0])
    with warnings.catch_warnings():
        # The highest frequency depends on the quality, and gwpy says each time that it lowers it.
        warnings.filterwarnings("ignore", message="upper frequency of")
        found, _ = q_scan(
            series, qrange=_QUALITIES, frange=(lowest, strain.sample_rate / 2), search=shown
        )
    image = found.interpolate(tres=_STEPS, fres=_ROWS, logf=True, outseg=shown)
    return Scan(image.times.value, image.frequencies.value, image.value.T, float(found.plane.q))


def qscan(
    candidate: Candidate, ifos: Sequence[str], name: str, lowest: float | None = None
) -> Picture | None:
    """Plot each detector's Q-scan around an event; ``None`` where there is too little strain.

    Args:
        candidate: The event.
        ifos: Detectors in the order of the strain's rows.
        name: What the event is called.
        lowest: Frequency below which the strain has nothing (Hz).
    """
    whitened = candidate.whitened
    rows = [Series(row, whitened.gps_start, whitened.sample_rate) for row in whitened.values]
    scans = [scan(row, candidate.time, lowest or _LOWEST) for row in rows]
    known = [each for each in scans if each is not None]
    if len(known) < len(scans):
        return None
    brightest = max(_BRIGHTEST, *(float(each.energy.max()) for each in known))
    names = detectors(ifos, len(known))
    peaks = []
    with stacked(len(known), _SIZE, margins=_MARGINS) as plots:
        for ax, each, ifo in zip(plots, known, names, strict=True):
            ax.grid(visible=False)
            mesh = ax.pcolormesh(
                each.times, each.frequencies, each.energy, vmin=0, vmax=brightest, cmap="viridis"
            )
            ax.axvline(0, color="white", linestyle=(0, (4, 3)), linewidth=1)
            ax.set(yscale="log", ylabel=f"{ifo} (Hz)", xlim=(-BEFORE, AFTER))
            low, high = each.frequencies[[0, -1]]
            label_plainly(ax.yaxis, [tick for tick in _TICKS if low <= tick <= high])
            ax.yaxis.set_minor_formatter(NullFormatter())
            row, column = np.unravel_index(each.energy.argmax(), each.energy.shape)
            peaks.append(
                f"{ifo} {each.energy.max():.0f} at {each.frequencies[row]:.0f} Hz, "
                f"{each.times[column]:+.2f} s"
            )
        plots[0].set_title(f"{name.capitalize()}: Q-scan")
        plots[-1].set_xlabel(f"Time after GPS {candidate.time:.2f} (s)")
        plots[0].figure.colorbar(mesh, ax=plots, label="Normalized energy", pad=0.02)
        return picture(
            plots[0],
            caption="Where in time and frequency the energy lies, in units of the noise's median "
            "(noise alone is seldom above 10). A merger is a track that rises in pitch and ends at "
            "the dashed line, in all detectors; a glitch is in one.",
            alt=f"Q-scan around GPS {candidate.time:.2f}; brightest: {'; '.join(peaks)}.",
            points=True,
        )
