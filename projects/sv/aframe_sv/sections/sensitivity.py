"""How far the search sees: sensitive volume and distance against the false alarm rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from aframe.artifacts.record import read_record, record_path
from aframe_sv.estimate import COVERAGE_TOLERANCE, ENOUGH_SAMPLES
from aframe_sv.evidence import Evidence, Volumes
from aframe_sv.far import rate_in_words
from aframe_sv.page import COLORS, MARKERS, Picture, Section, Table, axes, bound, legend, picture
from aframe_sv.volumes import effective_samples

_POINTS = 300
_MEANING = (
    "The sensitive volume is that in which the search finds a population of sources; the "
    "sensitive distance is the radius of a sphere of that volume. Each population has log-normal "
    "source-frame masses (width {:g} of the logarithm) about the pair named, and is uniform in "
    "comoving volume and source-frame time."
)
_ERRORS = (
    "Errors are one standard deviation, of the finite number of injections and of the threshold, "
    "which rests on few background events, at the lowest rate on a single one."
)
_LEGACY = (
    "These volumes use mass-only weights (legacy_redshift): where the injections are uniform in "
    "comoving volume they are too low by a factor of up to two."
)
_BOUND = (
    "The volume of {name} is a lower bound at {bounds} of {all} false alarm rates, the lowest of "
    "them {rate}: up to {share:.0%} of it lies at redshifts {low:.3g} to {high:.3g}, the outermost "
    "of the injections, so that the search sees farther than they reach."
)
_ROUGH = (
    "Few injections that were found are like some populations. They count for as few as {counts}, "
    "where {wanted} are wanted. Volume, distance and their errors are rough there: ≈ marks it in "
    "the table, a dashed line in the figures."
)
_UNCOVERED = (
    "The mean weight of all draws for {name} is {mean:.3f} ± {error:.3f} instead of 1. The prior "
    "of the injections cannot draw all of this population, or they are not from it."
)
#: Up to so many points each gets its marker.
_FEW = 30


def section(evidence: Evidence) -> Section:
    """Show sensitive volume and distance."""
    name, title = "sensitivity", "Sensitive volume and distance"
    volumes = evidence.volumes
    if volumes is None:
        return Section(name, title, ["The sensitive volume was not estimated in this run."])
    paragraphs = [
        _MEANING.format(volumes.attributes["sigma"]),
        _ERRORS,
    ]
    notices = [_LEGACY] if volumes.attributes["legacy_redshift"] else []
    notices += [*roughness(volumes), *bounds(volumes), *uncovered(evidence)]
    pictures = [
        curves(volumes, "distance", "distance_err", "Sensitive distance (Mpc)"),
        curves(volumes, "sv", "err", "Sensitive volume (Gpc³)"),
    ]
    return Section(name, title, paragraphs, notices, tables=[table(volumes)], pictures=pictures)


def rough(curve: Mapping[str, np.ndarray]) -> Bool[np.ndarray, " threshold"]:
    """Where too few effective injections were found for a volume and its error to be good."""
    return effective_samples(curve["sv"], curve["err_injections"]) < ENOUGH_SAMPLES


def roughness(volumes: Volumes) -> list[str]:
    """Say which volumes rest on too few injections, as the estimate warns."""
    least = {
        name: effective_samples(curve["sv"], curve["err_injections"]).min()
        for name, curve in volumes.curves.items()
        if rough(curve).any()
    }
    counts = " and ".join(f"{count:.1f} ({in_solar_masses(name)})" for name, count in least.items())
    return [_ROUGH.format(counts=counts, wanted=ENOUGH_SAMPLES)] if least else []


def uncovered(evidence: Evidence) -> list[str]:
    """Say which populations the injections' prior does not hold, as the estimate found."""
    path, volumes = evidence.inputs.sensitive_volume, evidence.volumes
    record = read_record(record_path(Path(path).parent, "estimate")) if path else None
    if record is None or volumes is None or volumes.attributes["legacy_redshift"]:
        return []
    share, errors = COVERAGE_TOLERANCE
    means = {
        name: (record.notes[name]["mean_weight"], record.notes[name]["mean_weight_error"])
        for name in volumes.curves
        if name in record.notes
    }
    return [
        _UNCOVERED.format(name=in_solar_masses(name), mean=mean, error=error)
        for name, (mean, error) in means.items()
        if abs(mean - 1) > share + errors * error
    ]


def bounds(volumes: Volumes) -> list[str]:
    """Say which volumes the injections cut off."""
    low, high = np.asarray(volumes.attributes["outermost_redshifts"])
    return [
        _BOUND.format(
            name=in_solar_masses(name),
            bounds=int(low_only.sum()),
            all=len(low_only),
            rate=rate_in_words(volumes.fars[low_only][0]),
            share=curve["outermost"][low_only].max(),
            low=low,
            high=high,
        )
        for name, curve in volumes.curves.items()
        if (low_only := curve["lower_bound"]).any()
    ]


def thinned(size: int) -> np.ndarray:
    """Indices of at most a few hundred of *size* points, evenly in their logarithm."""
    return np.unique(np.geomspace(1, size, min(size, _POINTS)).round().astype(int)) - 1


def curves(volumes: Volumes, value: str, error: str, label: str) -> Picture:
    """Plot one quantity of each population against the false alarm rate."""
    kept = thinned(len(volumes.fars))
    fars, what = volumes.fars[kept], label.split(" (", maxsplit=1)[0].lower()
    with axes() as ax:
        styles = zip(cycle(COLORS), cycle(MARKERS), volumes.curves.items(), strict=False)
        for color, marker, (name, curve) in styles:
            y, spread = curve[value][kept], curve[error][kept]
            shape = marker if len(kept) <= _FEW else ""
            ax.plot(fars, y, "--", color=color)
            sure = np.where(rough(curve)[kept], np.nan, y)
            ax.plot(fars, sure, color=color, label=in_solar_masses(name))
            ax.plot(fars, y, marker=shape, markersize=3.5, color=color, linestyle="")
            ax.fill_between(fars, y - spread, y + spread, color=color, alpha=0.18, linewidth=0)
            if len(kept) == 1:
                ax.errorbar(fars, y, spread, color=color, capsize=3)
        ax.set(xscale="log", xlabel="False alarm rate (1/yr)", ylabel=label)
        ax.set_ylim(bottom=0)
        legend(ax, columns=2, title="source-frame masses")
        at_lowest = ", ".join(
            f"{measured(curve[value][0], curve[error][0])} for {in_solar_masses(name)}"
            for name, curve in volumes.curves.items()
        )
        return picture(
            ax,
            caption=f"The more false alarms one accepts, the farther the search sees: {what} of "
            "each population against the false alarm rate, in bands of one standard deviation."
            + (" Dashed: rough." if roughness(volumes) else ""),
            alt=f"{what.capitalize()} against false alarm rate; at {rate_in_words(fars[0])} "
            f"{at_lowest}.",
        )


def in_solar_masses(name: str) -> str:
    """Name a population as a reader would.

    Example:
        >>> in_solar_masses("35-20")
        '35 + 20 M☉'
    """
    return f"{name.replace('-', ' + ')} M☉"


def distance_in_words(curve: Mapping[str, np.ndarray], index: int) -> str:
    """Tell a distance with its error, marked where it is a lower bound or rough.

    Example:
        >>> far = {"distance": [812.0], "distance_err": [31.0], "lower_bound": [True]}
        >>> far |= {"sv": [2.2], "err_injections": [0.2]}
        >>> distance_in_words({name: np.array(values) for name, values in far.items()}, 0)
        '≥ 812 ± 31 Mpc'
    """
    mark = "≥ " if curve["lower_bound"][index] else ""
    mark += "≈ " if rough(curve)[index] else ""
    return f"{mark}{curve['distance'][index]:.0f} ± {curve['distance_err'][index]:.0f} Mpc"


def measured(value: float, error: float) -> str:
    """Tell a value to the digit that its error leaves, the error to one digit or two.

    Example:
        >>> measured(3.04, 0.61), measured(18.9, 2.7), measured(5.68, 1.01), measured(1.0, 0.0)
        ('3.0 ± 0.6', '19 ± 3', '5.7 ± 1.0', '1 ± 0')
    """
    digits = max(0, -math.floor(math.log10(error / 2))) if error > 0 else 0
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def table(volumes: Volumes) -> Table:
    """List volumes at the lowest rate, and at the first of each power of ten above it."""
    decades = np.floor(np.log10(volumes.fars) + 1e-9)
    chosen = [0, *(np.flatnonzero(np.diff(decades)) + 1)]
    rows = [
        (
            rate_in_words(volumes.fars[index]),
            *(
                bound(
                    f"{distance_in_words(curve, index)}, "
                    f"{measured(curve['sv'][index], curve['err'][index])} Gpc³"
                )
                for curve in volumes.curves.values()
            ),
        )
        for index in chosen
    ]
    return Table(
        ("False alarm rate", *map(in_solar_masses, volumes.curves)),
        rows,
        "Sensitive distance and volume at some false alarm rates. ≥ marks a lower bound, "
        "≈ a rough value.",
    )
