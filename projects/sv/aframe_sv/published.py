"""Sensitive distances of published searches, for comparison."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from aframe_sv.volumes import distance

_DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Published:
    """What is published of one population.

    Args:
        lines: Distance (Mpc) of each search at the threshold of its catalog.
        search: Name of the search whose distance is known at some rates.
        points: False alarm rate (1/yr), distance and its standard error (Mpc) of that search.
        sources: Where the numbers are from.
    """

    lines: dict[str, float]
    search: str
    points: list[tuple[float, float, float]]
    sources: tuple[str, ...]


def published(sigma: float) -> dict[str, Published]:
    """Read what is published of populations with this width, by their name.

    Args:
        sigma: Standard deviation of the logarithm of either mass.

    Returns:
        Nothing where *sigma* is another than that of the publications.

    Example:
        >>> round(published(0.1)["35-35"].lines["GstLAL"]), published(0.3)
        (1338, {})
    """
    file = resources.files("aframe_sv") / "published.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    if not np.isclose(sigma, found["sigma"]):
        return {}
    names = next(iter(found["volume_time"]["searches"].values()))
    return {name: _of(name, found) for name in names}


def _of(name: str, found: dict[str, Any]) -> Published:
    volume_time, distances = found["volume_time"], found["distance"]
    years = volume_time["observing_days"] / _DAYS_A_YEAR
    lines = {
        search: float(distance(np.array([values[name] / years]), np.zeros(1))[0][0])
        for search, values in volume_time["searches"].items()
    }
    points = [(point["per_year"], *point[name]) for point in distances["points"]]
    sources = (volume_time["source"], distances["source"])
    return Published(lines, distances["search"], points, sources)
