"""The metric of the mock data challenge MLGWSC-1: sensitive distance against false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int

from aframe.artifacts.hdf5 import reading
from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_sv.volumes import Found

#: Length of the challenge's month (s).
MONTH = 30 * 86_400.0
#: Chirp mass (Msun) of the binary of 1.4 + 1.4 Msun that chirp distances refer to.
REFERENCE = 1.4 * 2 ** (-1 / 5)
#: Share of the sampled volume, the nearest, that stands for what is nearer than all of it.
_NEAREST = 0.02
#: Time at either end of a segment in which the challenge's code counts no injection (s).
EDGE = 30.0
#: Rounding of a chirp distance, as a share of it.
_ROUNDING = 1e-3
_SPHERE = 4 / 3 * math.pi

Values = Float[np.ndarray, " event"]
Draws = Float[np.ndarray, " injection"]
Thresholds = Float[np.ndarray, " threshold"]


@dataclass(frozen=True)
class Triggers:
    """Events that a search hands in.

    Args:
        time: GPS time of each (s).
        stat: How loud each is.
        var: Largest distance in time at which each claims a signal (s).
    """

    time: Values
    stat: Values
    var: Values


@dataclass(frozen=True)
class Campaign:
    """Injections of the challenge.

    Args:
        time: GPS time of each coalescence (s).
        distance: Luminosity distance (Mpc).
        chirp_mass: Chirp mass (Msun).
    """

    time: Draws
    distance: Draws
    chirp_mass: Draws

    def __len__(self) -> int:
        return len(self.time)

    @property
    def chirp_distance(self) -> Draws:
        """Distance at which 1.4 + 1.4 Msun are as loud (Mpc)."""
        return self.distance * (REFERENCE / self.chirp_mass) ** (5 / 6)


def read_triggers(path: Path) -> Triggers:
    """Read an event file of the challenge: datasets ``time``, ``stat``, ``var``.

    Raises:
        AframeError: If it is none, its columns differ in length, or a value is no number.
    """
    with reading(path, "an event file of the challenge") as file:
        return Triggers(*_columns(file, ("time", "stat", "var")))


def _columns(file: h5py.File, names: Sequence[str]) -> list[Float[np.ndarray, " row"]]:
    columns = [np.asarray(file[name][()], float) for name in names]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
        raise ValueError(f"columns of shapes {[column.shape for column in columns]}")
    for name, column in zip(names, columns, strict=True):
        if np.isnan(column).any():
            raise ValueError(f"{name} of row {int(np.isnan(column).argmax())} is not a number")
    return columns


def read_campaign(path: Path, searched: Sequence[Segment] | None, edge: float = EDGE) -> Campaign:
    """Read the challenge's injections, those in what was *searched* where that is known.

    Args:
        path: Datasets ``tc``, ``distance``, ``mass1``, ``mass2``.
        searched: Segments of the foreground's strain; ``None`` for all injections.
        edge: Time at either end of a segment in which no injection counts (s).

    Raises:
        AframeError: If the file is none of the challenge.
    """
    with reading(path, "an injection file of the challenge") as file:
        time, distance, mass_1, mass_2 = _columns(file, ("tc", "distance", "mass1", "mass2"))
        if min(mass_1.min(initial=1), mass_2.min(initial=1)) <= 0:
            raise ValueError("a mass is not above zero")
    chirp_mass = (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2
    inside = np.ones(len(time), bool)
    if searched is not None:
        inner = ((start + edge, stop - edge) for start, stop in searched)
        edges = np.array([each for each in inner if each[0] < each[1]], float).ravel()
        inside = np.searchsorted(edges, time, side="right") % 2 == 1
    order = np.argsort(time[inside], kind="stable")
    return Campaign(*(each[inside][order] for each in (time, distance, chirp_mass)))


def read_searched(path: Path) -> list[Segment]:
    """Read when there is strain in an input file of the challenge: ``<IFO>/<start>``.

    Raises:
        AframeError: If the file is none of the challenge.
    """
    with reading(path, "an input file of the challenge") as file:
        ifo = next((name for name in file if hasattr(file[name], "keys")), None)
        if ifo is None:
            raise ValueError("no group of a detector")
        spans = []
        for name, series in file[ifo].items():
            start = float(series.attrs.get("start_time", name))
            spans.append(Segment(start, start + len(series) * float(series.attrs["delta_t"])))
        return sorted(spans)


def loudest_claims(triggers: Triggers, campaign: Campaign) -> Draws:
    """Find the loudest event that claims each injection.

    An event claims the injection nearest to it, where that lies within its own ``var``.

    Returns:
        Its ``stat``; ``-inf`` where none does.
    """
    after = np.searchsorted(campaign.time, triggers.time).clip(1, max(len(campaign) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(campaign) - 1)
    near = np.abs(campaign.time[after] - triggers.time) < np.abs(
        campaign.time[before] - triggers.time
    )
    nearest = np.where(near, after, before)
    claims = np.abs(campaign.time[nearest] - triggers.time) <= triggers.var
    loudest = np.full(len(campaign), -np.inf)
    np.maximum.at(loudest, nearest[claims], triggers.stat[claims])
    return loudest


def thresholds_at(
    stat: Values, counts: Int[np.ndarray, " rate"], repeats: Int[np.ndarray, " event"] | None = None
) -> Float[np.ndarray, " rate"]:
    """Find the loudness that a number of false alarms exceed.

    Args:
        stat: Events of the background, loudest first.
        counts: Numbers of events that are to be strictly louder.
        repeats: How often each event counts; once if ``None``.

    Returns:
        The threshold, which itself is not passed; ``-inf`` where there are too few events.
    """
    numbers = np.arange(1, len(stat) + 1) if repeats is None else np.cumsum(repeats)
    at = np.searchsorted(numbers, counts, side="right")
    return np.append(stat, -np.inf)[at]


def volumes(
    campaign: Campaign,
    loudest: Draws,
    thresholds: Thresholds,
    chirp_distances: tuple[float, float],
    repeats: Int[np.ndarray, " injection"] | None = None,
) -> tuple[Thresholds, Thresholds]:
    r"""Sensitive volume, as the challenge's code has it and without its bias (Mpc^3).

    Injections are uniform in the volume of the chirp distance :math:`d_c` from
    :math:`d_0` to :math:`d_1`, whatever their masses. The official estimate is

    .. math:: V = \frac{4\pi}{3} d_\max^3 \frac{1}{N} \sum_{i\ \mathrm{found}}
              \left(\frac{\mathcal{M}_i}{\mathcal{M}_\max}\right)^{5/2}

    with the largest distance and chirp mass of the sample, which need not be of one
    injection, and as if :math:`d_0` were zero. With :math:`M_0` the chirp mass of 1.4 + 1.4 Msun,
    the volume that was sampled is

    .. math:: V = \frac{4\pi}{3} \frac{d_1^3 - d_0^3}{N} \sum_{i\ \mathrm{found}}
              \left(\frac{\mathcal{M}_i}{M_0}\right)^{5/2}

    and within :math:`d_0` as large a share is taken as found as in the nearest fiftieth of it.

    Args:
        campaign: All injections.
        loudest: Loudest event that claims each, ``-inf`` where none does.
        thresholds: Loudness that is to be exceeded, loudest first.
        chirp_distances: Least and largest chirp distance of the injections (Mpc).
        repeats: How often each injection counts; once if ``None``.

    Returns:
        Official and unbiased volume at each threshold.

    Source:
        M. B. Schäfer et al., Phys. Rev. D 107, 023021 (2023), section II D, for the first.
    """
    times = np.ones(len(campaign)) if repeats is None else repeats.astype(float)
    # Strictly louder than the threshold: from the next number above it on.
    found = Found.at(loudest, np.nextafter(thresholds, np.inf))
    # A resampling of few injections may draw none.
    number, heaviest = max(times.sum(), 1.0), campaign.chirp_mass.max()
    farthest, (low, high) = campaign.distance.max(), chirp_distances
    official = found.sums(times * (campaign.chirp_mass / heaviest) ** 2.5)[0]
    weights = times * (campaign.chirp_mass / REFERENCE) ** 2.5
    shell = (high**3 - low**3) * found.sums(weights)[0]
    near = weights * (campaign.chirp_distance**3 <= low**3 + _NEAREST * (high**3 - low**3))
    share = found.sums(near)[0] / near.sum() if near.any() else np.zeros(len(thresholds))
    unbiased = shell + low**3 * weights.sum() * share
    return _SPHERE * farthest**3 * official / number, _SPHERE * unbiased / number


def radius(volume: Thresholds) -> Thresholds:
    """Radius of a sphere of this volume."""
    return np.cbrt(volume / _SPHERE)


def refuse_other_distances(campaign: Campaign, chirp_distances: tuple[float, float]) -> None:
    """Refuse injections that were not drawn between these chirp distances.

    Raises:
        AframeError: If there is none, or one lies outside.
    """
    if not len(campaign):
        raise AframeError(
            "there is no injection to be found",
            found="none in the time searched",
            wanted_by="the sensitive distance of the challenge",
            fix="give the injections and the foreground file of one data set",
        )
    low, high = chirp_distances
    reached = campaign.chirp_distance.min(), campaign.chirp_distance.max()
    if reached[0] < low * (1 - _ROUNDING) or reached[1] > high * (1 + _ROUNDING):
        raise AframeError(
            "the injections are not of the chirp distances they are said to be of",
            found=f"{reached[0]:.1f} to {reached[1]:.1f} Mpc",
            wanted_by=f"chirp_distances {low:g} to {high:g} Mpc",
            fix="give the range that the injections were drawn from",
        )
