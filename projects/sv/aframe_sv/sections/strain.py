"""The strain: when there was any, and how loud its noise is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.signal import welch

from aframe.artifacts.segments import coalesce
from aframe.artifacts.strain import StrainFile, list_strain, read_strain
from aframe_sv.evidence import Evidence, is_simulated, utc
from aframe_sv.far import in_words
from aframe_sv.page import (
    COLORS,
    FAINT,
    Picture,
    Section,
    Table,
    axes,
    ifo_color,
    legend,
    picture,
    stacked,
)

#: Longest stretch that an ASD is estimated from (s), and its Welch segments (s).
_STRETCH, _FFTLENGTH = 256.0, 4.0
_LOWEST = 10.0
#: What is shown ends at this share of the Nyquist frequency: resampling cuts off from there on.
_BELOW_NYQUIST = 0.9
#: Sets of strain: name, input, whether its ASD is shown.
_SETS = (
    ("training", "train_background", False),
    ("time slides", "test_background", True),
    ("zero lag", "zero_lag_background", True),
)
Spectrum = tuple[Float[np.ndarray, " frequency"], Float[np.ndarray, " frequency"]]


def section(evidence: Evidence) -> Section:
    """Show segments and amplitude spectral densities."""
    name, title = "strain", "Strain"
    given = [
        (label, Path(path), shown)
        for label, entry, shown in _SETS
        if (path := getattr(evidence.inputs, entry)) is not None
    ]
    if not given:
        return Section(name, title, ["No strain was given to this report."])
    sets = {label: list_strain(path, evidence.ifos) for label, path, _ in given}
    ifos = evidence.ifos or next(iter(sets.values()))[0].ifos
    paragraphs = []
    if evidence.inputs.zero_lag_background is None:
        paragraphs = ["Zero lag, where it was searched, is that of the strain for time slides."]
    origins = {label: is_simulated(path) for label, path, _ in given}
    pictures = [timeline(sets)]
    spectra = {label: sets[label] for label, _, shown in given if shown}
    edges = evidence.preprocessing
    band = (edges.highpass, edges.lowpass) if edges else (None, None)
    pictures += [
        densities(ifo, {label: asd(files, ifo) for label, files in spectra.items()}, band)
        for ifo in ifos
        if spectra
    ]
    return Section(name, title, paragraphs, tables=[table(sets, origins, ifos)], pictures=pictures)


def table(
    sets: dict[str, list[StrainFile]], origins: dict[str, bool | None], ifos: Sequence[str]
) -> Table:
    """List what strain there is."""
    words = {True: "simulated", False: "files", None: "not recorded"}
    rows = [
        (
            label,
            words[origins[label]],
            ", ".join(ifos),
            f"{files[0].sample_rate:g} Hz",
            f"{utc(files[0].start)} ({files[0].start:.0f})",
            f"{utc(files[-1].segment.stop)} ({files[-1].segment.stop:.0f})",
            f"{len(coalesce(file.segment for file in files))}",
            in_words(livetime(files)),
        )
        for label, files in sets.items()
    ]
    columns = (
        "Used for",
        "Origin",
        "Detectors",
        "Rate",
        "From UTC (GPS)",
        "To UTC (GPS)",
        "Segments",
    )
    return Table((*columns, "Livetime"), rows, "Strain that all detectors have at once.")


def livetime(files: Sequence[StrainFile]) -> float:
    """Time in *files* (s)."""
    return sum(file.duration for file in files)


def timeline(sets: dict[str, list[StrainFile]]) -> Picture:
    """Plot when there is strain, each set on its own axis of time."""
    said = []
    with stacked(len(sets), share=False) as plots:
        for ax, (label, files) in zip(plots, sets.items(), strict=True):
            segments = coalesce(file.segment for file in files)
            start, span = segments[0].start, segments[-1].stop - segments[0].start
            unit, length = time_unit(span)
            bars = [((each.start - start) / length, each.duration / length) for each in segments]
            ax.broken_barh(bars, (0, 1), color=COLORS[0], linewidth=0, alpha=0.85)
            ax.set(xlabel=f"{unit} after GPS {start:.0f}", yticks=[], title=f"Strain for {label}")
            ax.set_xlim(-0.01 * span / length, 1.01 * span / length)
            share = livetime(files) / span
            said.append(f"{label} {share:.0%} of {in_words(span)} in {len(segments)} segments")
        return picture(
            plots[0],
            caption="When all detectors have strain; white are gaps.",
            alt=f"Times with strain: {'; '.join(said)}.",
        )


def time_unit(span: float) -> tuple[str, float]:
    """Unit for an axis of time that is *span* long (s), and its length (s).

    Example:
        >>> time_unit(32.0), time_unit(7 * 86_400.0)
        (('Seconds', 1.0), ('Days', 86400.0))
    """
    units = (("Days", 86_400.0), ("Hours", 3600.0), ("Minutes", 60.0))
    return next((each for each in units if span >= 2 * each[1]), ("Seconds", 1.0))


def asd(files: Sequence[StrainFile], ifo: str) -> Spectrum:
    """Estimate an amplitude spectral density from the longest file's first minutes.

    Returns:
        Frequencies (Hz) and the density (1/sqrt(Hz)): a median over Welch segments.
    """
    longest = max(files, key=lambda file: file.duration)
    stop = min(longest.segment.stop, longest.start + _STRETCH)
    strain = read_strain(longest, [ifo], longest.start, stop)[0].astype(float)
    # A stretch as short as an event's takes shorter segments, to average over some of them.
    size = int(min(_FFTLENGTH, len(strain) / longest.sample_rate / 8) * longest.sample_rate)
    frequency, psd = welch(strain, longest.sample_rate, nperseg=size, average="median")
    return frequency, np.sqrt(psd)


def densities(
    ifo: str, spectra: dict[str, Spectrum], band: tuple[float | None, float | None]
) -> Picture:
    """Plot the amplitude spectral densities of one detector."""
    styles = ((ifo_color(ifo), 1.6), ("#444b53", 0.9))
    highest = _BELOW_NYQUIST * min(spectrum[0][-1] for spectrum in spectra.values())
    with axes() as ax:
        lowest = []
        for (color, width), label in zip(styles, spectra, strict=False):
            frequency, density = spectra[label]
            inside = (frequency >= _LOWEST) & (frequency <= highest)
            ax.loglog(frequency[inside], density[inside], color=color, linewidth=width, label=label)
            quiet = inside & (frequency > 50)  # noqa: PLR2004
            lowest.append((label, float(np.median(density[quiet]))))
        for low, high in ((_LOWEST, band[0]), (band[1], highest)):
            if low is not None and high is not None and low < high:
                ax.axvspan(low, high, color=FAINT, alpha=0.15, linewidth=0)
        ax.set(
            xlabel="Frequency (Hz)",
            ylabel="ASD (1/√Hz)",
            title=f"Noise of {ifo}",
            xlim=(_LOWEST, highest),
        )
        legend(ax)
        return picture(
            ax,
            caption=f"How loud the noise of {ifo} is at each frequency: the lower, the fainter the "
            "signals it can hear; shaded is what the search filters out.",
            alt=f"Amplitude spectral density of {ifo}; median above 50 Hz "
            + ", ".join(f"{value:.2g}/√Hz for {label}" for label, value in lowest)
            + ".",
        )
