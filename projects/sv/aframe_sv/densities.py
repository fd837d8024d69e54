"""Rate densities of signals and of noise against the detection statistic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.stats import poisson

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.errors import AframeError

#: Points of a table of densities, and the bandwidths by which it reaches beyond the events.
_POINTS, _REACH = 8192, 5.0
#: Fewest events that a density is made of.
FEWEST = 10
#: Least logarithm of a density: what is nowhere seen is still not impossible.
_FLOOR = -700.0
#: Share of Scott's width that kernels have: his is best for a normal distribution, and smears the
#: edges and the saturation of a network's statistic, by 15 % of the odds on a toy search.
_NARROWER = 0.5
#: How often a background that is as it should be is taken for one that is not.
_BY_CHANCE = 1e-3

Values = Float[np.ndarray, " event"]
Grid = Float[np.ndarray, " point"]


@dataclass(frozen=True)
class Density:
    """Rate a year and unit of the statistic, tabulated: its cost is that of a look-up.

    Args:
        grid: Detection statistics, evenly spaced.
        logarithm: Natural logarithm of the rate density (1/yr) at each.
    """

    grid: Grid
    logarithm: Grid

    def log(self, statistic: Float[np.ndarray, " *any"] | float) -> Float[np.ndarray, " *any"]:
        """Logarithm of the density; beyond the table, that of its ends."""
        return np.interp(np.asarray(statistic, float), self.grid, self.logarithm)

    def __call__(self, statistic: Float[np.ndarray, " *any"] | float) -> Float[np.ndarray, " *any"]:
        """Rate density (1/yr)."""
        return np.exp(self.log(statistic))


def bandwidth(statistic: Values, weights: Values) -> float:
    r"""Width of the kernel of a density estimate, :math:`\sigma n^{-1/5}`.

    :math:`n = (\sum w)^2 / \sum w^2` is the effective number of events.

    Source:
        D. W. Scott, Multivariate Density Estimation (1992), as in scipy.stats.gaussian_kde.
    """
    total = weights.sum()
    mean = np.sum(weights * statistic) / total
    effective = total**2 / np.sum(weights**2)
    # An unbiased variance, as scipy's: one effective event has none.
    variance = np.sum(weights * (statistic - mean) ** 2) / total / (1 - 1 / effective)
    return math.sqrt(variance) * effective ** (-1 / 5)


def smooth(statistic: Values, weights: Values, grid: Grid, width: float) -> Grid:
    """Density of weighted events on a grid: their histogram under a Gaussian kernel.

    Args:
        statistic: Detection statistic of each event.
        weights: Weight of each.
        grid: Where to give the density, evenly spaced.
        width: Standard deviation of the kernel.

    Returns:
        Density whose integral is the sum of the weights of the events within the grid.
    """
    step = grid[1] - grid[0]
    edges = np.concatenate([grid - step / 2, [grid[-1] + step / 2]])
    counts = np.histogram(statistic, edges, weights=weights)[0]
    return gaussian_filter1d(counts / step, width / step, mode="constant", truncate=8.0)


def suffice(statistic: Values, fewest: int) -> bool:
    """Whether there are *fewest* events at least, and not all alike."""
    return len(statistic) >= fewest and bool(np.ptp(statistic) > 0)


def common_grid(*statistics: Values) -> Grid:
    """Grid that holds all events with room for their kernels.

    Raises:
        AframeError: If a kind of events is too few or all alike.
    """
    for values in statistics:
        if not suffice(values, FEWEST):
            raise AframeError(
                "there are too few events to model their density",
                found=f"{len(values)} events, {len(np.unique(values))} of them different",
                wanted_by=f"at least {FEWEST} of noise and of signals",
                fix="search more background (Tb) or more injections",
            )
    room = _REACH * max(bandwidth(values, np.ones(len(values))) for values in statistics)
    low, high = min(map(np.min, statistics)), max(map(np.max, statistics))
    return np.linspace(low - room, high + room, _POINTS)


def foreground(statistic: Values, weights: Values, rate: float, grid: Grid) -> Density:
    """Model the signals that are found.

    Args:
        statistic: Detection statistic of found injections.
        weights: How many sources of the population each stands for.
        rate: Signals found a year.
        grid: Where to tabulate.
    """
    density = smooth(statistic, weights, grid, _NARROWER * bandwidth(statistic, weights))
    return Density(grid, _log(density * rate / weights.sum()))


def background(noise: Events, grid: Grid) -> Density:
    """Model the noise: a kernel density below a split, an exponential tail above.

    The tail holds the loudest events, as many as the root of their number but 30 at least,
    with the rate they have and the mean excess over the split that they have: its integral from
    any statistic on is then the false alarm rate there, as far as the tail is exponential.

    Args:
        noise: Events of the time slides.
        grid: Where to tabulate.

    Source:
        The mean excess is the maximum-likelihood scale of an exponential distribution.
    """
    statistic = noise.detection_statistic.astype(float)
    split, scale, excess = tail_of(statistic)
    per_event = JULIAN_YEAR / noise.Tb
    ones = np.ones(len(statistic))
    width = _NARROWER * bandwidth(statistic, ones)
    bulk = _log(smooth(statistic, ones, grid, width) * per_event)
    falling = math.log(len(excess) * per_event / scale) - (grid - split) / scale
    return Density(grid, np.maximum(np.where(grid < split, bulk, falling), _FLOOR))


def tail_of(statistic: Values) -> tuple[float, float, Values]:
    """Where the exponential tail begins, its scale, and the events' excess over it, least first."""
    ordered = np.sort(statistic)
    count = min(max(math.isqrt(len(ordered)), 30), len(ordered) - 1)
    split = float(ordered[-count - 1])
    excess = ordered[-count:] - split
    return split, float(np.mean(excess)) or np.finfo(float).eps, excess


class Excess(NamedTuple):
    """More background than the tail promises: events at and above a statistic, and promised."""

    statistic: float
    events: int
    promised: float


def tail_excess(noise: Events) -> Excess | None:
    """Find where the loudest background is not exponential, as glitches make it.

    Returns:
        The least probable excess, if Poisson counts exceed it by chance in one of a thousand
        searches at most, however many of the tail's events it is looked for at.
    """
    split, scale, excess = tail_of(noise.detection_statistic.astype(float))
    events = np.arange(len(excess), 0, -1)
    promised = len(excess) * np.exp(-excess / scale)
    chance = poisson.sf(events - 1, promised)
    least = int(chance.argmin())
    if chance[least] * len(excess) > _BY_CHANCE:
        return None
    return Excess(split + float(excess[least]), int(events[least]), float(promised[least]))


def _log(density: Grid) -> Grid:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(density), _FLOOR)


@dataclass(frozen=True)
class Model:
    """Signals of each class and noise, and from both the probability of either.

    Args:
        classes: Rate density of the signals of each class, all on one grid.
        noise: Rate density of the noise, on the same grid.
    """

    classes: Mapping[str, Density]
    noise: Density

    @cached_property
    def log_odds(self) -> Density:
        """Logarithm of the rate of signals over that of noise, nowhere falling.

        Far from most events of a kind a kernel density falls faster than what it stands for:
        without this the loudest events of all would be noise, and the quietest signals. So
        the ratio is kept from falling on either side of where there is most noise.
        """
        signals = np.logaddexp.reduce([each.logarithm for each in self.classes.values()], axis=0)
        ratio, most = signals - self.noise.logarithm, int(self.noise.logarithm.argmax())
        below = np.minimum.accumulate(ratio[most::-1])[::-1]
        above = np.maximum.accumulate(ratio[most:])
        return Density(self.noise.grid, np.concatenate([below, above[1:]]))

    def p_astro(self, statistic: Float[np.ndarray, " *any"] | float) -> Float[np.ndarray, " *any"]:
        """Probability that an event is a signal and not noise."""
        return 1 / (1 + np.exp(-self.log_odds.log(statistic)))

    def probabilities(self, statistic: Values) -> dict[str, Values]:
        """Probability of each class and of noise, ``terrestrial``; they add up to one."""
        logs = np.array([each.log(statistic) for each in self.classes.values()])
        shares = np.exp(logs - np.logaddexp.reduce(logs, axis=0))
        astro = self.p_astro(statistic)
        found = dict(zip(self.classes, astro * shares, strict=True))
        return found | {"terrestrial": 1 - astro}
