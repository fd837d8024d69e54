"""The search's sensitive distance beside those of published searches."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np

from aframe_sv.evidence import Evidence, Volumes
from aframe_sv.far import rate_in_words
from aframe_sv.page import COLORS, FAINT, INK, Picture, Section, Table, legend, picture, stacked
from aframe_sv.published import Published, published
from aframe_sv.sections.sensitivity import distance_in_words, in_solar_masses, thinned

_HEIGHT = 2.3
_STYLES = ("-", "--", "-.", ":")
_CATALOG = (
    "Published searches of the third observing run (O3), for the same populations. The lines are "
    "of the searches of the catalog GWTC-3, at the threshold of the catalog: their volume times "
    "observing time over 149.4 days. They have no false alarm rate to stand at, and are drawn "
    "across all. The points are of a search of this kind, at known rates."
)
_WARNING = (
    "Distances compare searches only in the same strain: those published are of O3, with the "
    "detectors, glitches and times that it had."
)
_SIMULATED = (
    "The strain of this run is simulated. A distance in simulated, stationary noise is not one in "
    "real data, and a comparison with those published here says nothing of which search is better."
)


def section(evidence: Evidence) -> Section | None:
    """Compare with what is published; nothing where it is of other populations."""
    volumes = evidence.volumes
    if volumes is None:
        return None
    known = published(float(np.asarray(volumes.attributes["sigma"])))
    there = {name: known[name] for name in volumes.curves if name in known}
    if not there:
        return None
    sources = next(iter(there.values())).sources
    return Section(
        "comparison",
        "Beside published searches",
        [_CATALOG, _WARNING, f"Sources: {'; '.join(sources)}."],
        notices=[_SIMULATED] if evidence.background_is_simulated else [],
        tables=[table(volumes, there)],
        pictures=[distances(volumes, there)],
    )


def table(volumes: Volumes, known: Mapping[str, Published]) -> Table:
    """List the distance of each search, for each population."""
    first = next(iter(known.values()))
    rows = [
        (search, "of the catalog", *(f"{one.lines[search]:.0f} Mpc" for one in known.values()))
        for search in first.lines
    ]
    for index, (rate, *_) in enumerate(first.points):
        cells = ("{1:.0f} ± {2:.0f} Mpc".format(*one.points[index]) for one in known.values())
        rows.append((first.search, f"{rate:g} a year", *cells))
    ours = (distance_in_words(volumes.curves[name], 0) for name in known)
    rows.insert(0, ("this search", rate_in_words(volumes.fars[0]), *ours))
    return Table(
        ("Search", "False alarm rate", *map(in_solar_masses, known)),
        rows,
        "Sensitive distance of this search at its lowest false alarm rate, and as published.",
        emphasize=1,
    )


def distances(volumes: Volumes, known: Mapping[str, Published]) -> Picture:
    """Plot this search's distance and those published, one plot a population."""
    kept = thinned(len(volumes.fars))
    fars = volumes.fars[kept]
    with stacked(len(known), (5.2, 0.6 + _HEIGHT * len(known))) as plots:
        for ax, (name, one) in zip(plots, known.items(), strict=True):
            curve = volumes.curves[name]
            y, spread = curve["distance"][kept], curve["distance_err"][kept]
            ax.plot(fars, y, "o-" if len(kept) == 1 else "-", color=COLORS[0], label="this search")
            ax.fill_between(fars, y - spread, y + spread, color=COLORS[0], alpha=0.2, linewidth=0)
            for style, (search, far_away) in zip(cycle(_STYLES), one.lines.items(), strict=False):
                ax.axhline(far_away, color=FAINT, linestyle=style, linewidth=1.2, label=search)
            rates, values, errors = np.array(one.points).T
            ax.errorbar(
                rates, values, errors, fmt="D", ms=4, capsize=2, color=COLORS[1], label=one.search
            )
            ax.set(xscale="log", ylabel="Distance (Mpc)")
            ax.set_ylim(bottom=0)
            ax.text(
                0.98, 0.06, in_solar_masses(name), transform=ax.transAxes, ha="right", color=INK
            )
        legend(plots[0], columns=3)
        plots[-1].set_xlabel("False alarm rate (1/yr)")
        return picture(
            plots[0],
            caption="Sensitive distance against the false alarm rate, with the distances of "
            "published searches: lines where no rate is known.",
            alt="Sensitive distance of this search at its lowest rate, of GstLAL as published: "
            + "; ".join(
                f"{in_solar_masses(name)} {volumes.curves[name]['distance'][0]:.0f} and "
                f"{one.lines['GstLAL']:.0f} Mpc"
                for name, one in known.items()
            )
            + ".",
        )
