"""Sensitive volume: weights of the draws, and the volume at every threshold at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from bilby.core.prior import PriorDict
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.special import digamma, polygamma

from aframe.errors import AframeError
from aframe.priors import (
    declination_range,
    log_normal_masses,
    redshift_density,
    redshift_range,
    source_mass_density,
    volume_element,
)

_KNOTS = 1001
_MOST_OVER_THE_EDGE = 1e-3
#: Share of the range of redshifts that is its outermost part.
_OUTERMOST = 0.1
#: A volume that has more than this share there goes on beyond: with less, the distance of a
#: search of binary black holes is short by no more than 3 %.
_MOST_OUTERMOST = 0.03
#: Counts between which the slope of a volume is measured, as factors of the threshold's own.
SLOPE = 3.0
Draws = Float[np.ndarray, " draw"]
Thresholds = Float[np.ndarray, " threshold"]


class Source:
    """The population that the injections were drawn from.

    Args:
        prior: Its priors.
        detector_frame: Whether they draw detector-frame masses.
        legacy_redshift: Whether to weigh by the masses alone, as aframe did up to 2025.
    """

    def __init__(
        self, prior: PriorDict, *, detector_frame: bool, legacy_redshift: bool = False
    ) -> None:
        self.prior = prior
        self.detector_frame = detector_frame
        self.legacy_redshift = legacy_redshift
        # A spline is good to 1e-8 here, and a thousand times faster than an integral a draw.
        redshift = np.linspace(*redshift_range(prior), _KNOTS)
        self._volume_element = CubicSpline(redshift, volume_element(redshift))

    @property
    def volume(self) -> float:
        """Volume it fills, in time at the detector (Gpc^3): that of its redshifts and sky."""
        south, north = declination_range(self.prior)
        return self._depth * (math.sin(north) - math.sin(south)) / 2

    @property
    def _depth(self) -> float:
        """Volume of the whole sky (Gpc^3)."""
        return float(self._volume_element.integrate(*redshift_range(self.prior)))

    @property
    def outermost(self) -> tuple[float, float]:
        """The outermost tenth of its range of redshifts."""
        low, high = redshift_range(self.prior)
        return high - _OUTERMOST * (high - low), high

    def density(self, mass_1: Draws, mass_2: Draws, redshift: Draws) -> Draws:
        """Density from which draws came, over that of the volume at their redshift.

        Args:
            mass_1: Heavier mass in the source's frame (Msun).
            mass_2: Lighter mass in the source's frame (Msun).
            redshift: Redshift of each draw.

        Returns:
            Density of the source-frame masses (1/Msun^2), times the density of the redshift
            over that of sources uniform in comoving volume and source-frame time.
        """
        # The older tool asks the prior for its density at source-frame masses, whatever frame
        # it draws in, and takes its redshifts for those of the target population.
        seen_at_detector = self.detector_frame and not self.legacy_redshift
        masses = source_mass_density(self.prior, seen_at_detector, mass_1, mass_2, redshift)
        return masses / self.redshift_weights(redshift)

    def redshift_weights(self, redshift: Draws) -> Draws:
        """Density of the redshift of sources uniform in comoving volume and source-frame time.

        Over that of the prior, so that draws of it weigh as such sources; one for all where
        *legacy_redshift* takes the one for the other.
        """
        if self.legacy_redshift:
            return np.ones_like(redshift)
        density = redshift_density(self.prior, redshift)
        target = self._volume_element(redshift) / self._depth
        return np.divide(target, density, out=np.full_like(density, np.inf), where=density > 0)


def target_density(
    mass_1: Draws, mass_2: Draws, *, pair: tuple[float, float], sigma: float
) -> Draws:
    """Density of the masses of a population whose volume is asked for.

    Args:
        mass_1: Heavier mass in the source's frame (Msun).
        mass_2: Lighter mass in the source's frame (Msun).
        pair: Medians of the two masses (Msun).
        sigma: Standard deviation of the logarithm of either.

    Returns:
        Density (1/Msun^2) of :func:`aframe.priors.log_normal_masses`, normalized.

    Example:
        >>> heavier, lighter = np.array([35.0, 35.0]), np.array([30.0, 36.0])
        >>> target_density(heavier, lighter, pair=(35, 35), sigma=0.1).round(6)
        array([0.00924, 0.     ])
    """
    prior, detector_frame = log_normal_masses(*pair, sigma)
    return source_mass_density(prior, detector_frame, mass_1, mass_2, np.zeros_like(mass_1))


def importance_weights(target: Draws, density: Draws) -> Draws:
    """Weigh draws so that they stand for another population.

    Args:
        target: Density of the population at each draw.
        density: Density from which each draw came.

    Returns:
        Their ratio; its mean over many draws is 1.

    Raises:
        AframeError: If the draws cannot have come from *density*.

    Example:
        >>> importance_weights(np.array([0.2, 0.0]), np.array([0.4, 0.1]))
        array([0.5, 0. ])
    """
    impossible = ~(density > 0)
    # Rounding to float32 puts one in a million just over an edge of its prior.
    if impossible.sum() > max(_MOST_OVER_THE_EDGE * len(density), 1):
        raise AframeError(
            "the injections cannot come from the prior they are said to come from",
            found=f"{impossible.sum()} of {len(density)} draws lie where it has none",
            wanted_by="the weights of the sensitive volume (source_prior)",
            fix="name the prior that the testing waveforms were drawn from",
        )
    return np.divide(target, density, out=np.zeros(len(density)), where=~impossible)


@dataclass(frozen=True)
class WeightSums:
    """What the weights of all draws add up to, also of those that were never injected.

    Args:
        draws: Number of draws.
        total: Sum of their weights.
        squares: Sum of their weights' squares.
    """

    draws: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, weights: Draws) -> WeightSums:
        """Add up *weights*."""
        return cls(len(weights), float(weights.sum()), float((weights**2).sum()))

    def __add__(self, other: WeightSums) -> WeightSums:
        return WeightSums(
            self.draws + other.draws, self.total + other.total, self.squares + other.squares
        )

    def share(self, kept: float) -> WeightSums:
        """Sums over a part of the draws, chosen without regard to their weights."""
        return WeightSums(round(self.draws * kept), self.total * kept, self.squares * kept)

    @property
    def coverage(self) -> tuple[float, float]:
        """Share of the target that the source can draw, and its standard error."""
        mean = self.total / self.draws
        variance = max(self.squares / self.draws - mean**2, 0.0) / self.draws
        return mean, math.sqrt(variance)


@dataclass(frozen=True)
class Found:
    """Which draws are found at which threshold.

    Args:
        first: Number of the loudest threshold that each draw reaches; that of the
            thresholds where it reaches none.
        thresholds: Number of thresholds.
    """

    first: Int[np.ndarray, " draw"]
    thresholds: int

    @classmethod
    def at(cls, statistic: Draws, thresholds: Thresholds) -> Found:
        """Compare draws with thresholds.

        Args:
            statistic: Detection statistic of each draw, ``-inf`` where it was not recovered.
            thresholds: Smallest statistic that counts as found, loudest first.

        Example:
            >>> Found.at(np.array([1.0, 3.0, -np.inf]), np.array([3.0, 2.0, 1.0])).first
            array([2, 0, 3])
        """
        reached = np.searchsorted(thresholds[::-1], statistic, side="right")
        return cls(len(thresholds) - reached, len(thresholds))

    def sums(self, weights: Draws) -> tuple[Thresholds, Thresholds]:
        """Sums of the weights, and of their squares, of what is found at each threshold.

        A draw is counted once, where it is first found: n draws and k thresholds take
        ``n log k`` steps for all thresholds together.
        """
        total, squares = (
            np.bincount(self.first, values, self.thresholds + 1)[: self.thresholds].cumsum()
            for values in (weights, weights**2)
        )
        return total, squares


def found_fraction(weights: Draws, found: Found, sums: WeightSums) -> tuple[Thresholds, Thresholds]:
    r"""Estimate the share of a population that is found above each threshold.

    With the weights :math:`w_i` of all draws and :math:`f_i` one for a draw that is found,

    .. math:: \mu = \frac{\sum_i w_i f_i}{\sum_i w_i}, \qquad
              \sigma_\mu^2 = \frac{\sum_i w_i^2 (f_i - \mu)^2}{(\sum_i w_i)^2}.

    Args:
        weights: Weights of the injected draws.
        found: At which thresholds each is found.
        sums: Sums over all draws, the injected ones included.

    Returns:
        The share at each threshold and its standard error; dimensionless.

    Example:
        >>> weights, statistic = np.ones(4), np.array([1.0, 2.0, 3.0, 4.0])
        >>> found = Found.at(statistic, np.array([4.0, 2.5]))
        >>> found_fraction(weights, found, WeightSums.of(weights))
        (array([0.25, 0.5 ]), array([0.21650635, 0.25      ]))

    Source:
        The self-normalized estimate of importance sampling and its delta-method error
        (A. B. Owen, Monte Carlo theory, ch. 9, eqs. 9.6 and 9.9).
        For equal weights the error is binomial.  W. M. Farr, RNAAS 3, 66 (2019) divides by
        the number of draws instead of the sum of their weights; where few are found the two
        errors agree to order :math:`\mu`.
    """
    sum_found, squares_found = found.sums(weights)
    mean = sum_found / sums.total
    variance = squares_found * (1 - 2 * mean) + mean**2 * sums.squares
    # Rounding can push the sum just below zero when every draw is found.
    return mean, np.sqrt(np.maximum(variance, 0.0)) / sums.total


def outermost_share(
    weights: Draws, found: Found, outermost: Bool[np.ndarray, " draw"]
) -> tuple[Thresholds, Bool[np.ndarray, " threshold"]]:
    """Estimate how much of the volume lies in the outermost redshifts of the draws.

    Args:
        weights: Weights of the injected draws.
        found: At which thresholds each is found.
        outermost: Whether each draw has one of the outermost redshifts.

    Returns:
        The share, and whether it shows, by more than its standard error, that the search
        still sees where the draws end: the volume is then a lower bound.

    Example:
        >>> statistic = np.array([1.0, 2.0, 3.0, 4.0])
        >>> found = Found.at(statistic, np.array([2.5, 0.5]))
        >>> outermost_share(np.ones(4), found, statistic < 1.5)
        (array([0.  , 0.25]), array([False,  True]))
    """
    total, squares = found.sums(weights)
    last, last_squares = found.sums(weights * outermost)
    total = np.where(total > 0, total, 1.0)
    share = last / total
    variance = last_squares * (1 - 2 * share) + share**2 * squares
    error = np.sqrt(np.maximum(variance, 0.0)) / total
    return share, share - error > _MOST_OUTERMOST


def threshold_error(volume: Thresholds, counts: Int[np.ndarray, " threshold"]) -> Thresholds:
    r"""Error that a volume has because its threshold rests on a number of background events.

    The loudest :math:`k` of a background stand for a rate of :math:`k` in its time, but
    the number that noise like it makes on average above the :math:`k`-th is distributed
    as :math:`\Gamma(k, 1)`, whose logarithm has the variance :math:`\psi'(k)`.  With the slope
    of the volume against that logarithm,

    .. math:: \sigma_V = \left|\frac{\mathrm{d}V}{\mathrm{d}\ln k}\right| \sqrt{\psi'(k)},

    which is 1.28 times the slope for the loudest event and goes as :math:`1/\sqrt{k}`.

    Args:
        volume: Volume at each threshold, loudest first.
        counts: Background events at least as loud as each.

    Returns:
        Its standard error, in units of *volume*: all of the volume where there is a single
        threshold, which tells no slope.

    Example:
        >>> volume, counts = np.array([1.0, 1.5, 2.0, 2.0]), np.array([1, 2, 3, 4])
        >>> threshold_error(volume, counts).round(2)
        array([0.86, 0.44, 0.34, 0.32])

    Source:
        Times of a Poisson process of rate one: the k-th is :math:`\Gamma(k, 1)`; the mean
        of the logarithm, :math:`\psi(k)`, is what the slope is taken against.
    """
    if len(volume) < 2:  # noqa: PLR2004
        return np.abs(volume)
    # The neighbors at least, so that there is a slope where counts are far apart.
    here, last = np.arange(len(volume)), len(volume) - 1
    low = np.minimum(np.searchsorted(counts, counts / SLOPE), np.maximum(here - 1, 0))
    high = np.searchsorted(counts, counts * SLOPE, side="right") - 1
    high = np.maximum(high, np.minimum(here + 1, last))
    slope = (volume[high] - volume[low]) / (digamma(counts[high]) - digamma(counts[low]))
    return np.abs(slope) * np.sqrt(polygamma(1, counts))


def effective_samples(value: Thresholds, error: Thresholds) -> Thresholds:
    """Number of equally weighted found sources with the same relative error.

    Source:
        W. M. Farr, RNAAS 3, 66 (2019), arXiv:1904.10879, eq. 9.

    Example:
        >>> effective_samples(np.array([2.0, 0.0]), np.array([0.2, 0.0]))
        array([100.,   0.])
    """
    return np.divide(value, error, out=np.zeros_like(value), where=error > 0) ** 2


def distance(volume: Thresholds, error: Thresholds) -> tuple[Thresholds, Thresholds]:
    """Radius of a sphere of this Euclidean volume, and its error.

    Args:
        volume: Volume (Gpc^3).
        error: Its standard error (Gpc^3).

    Returns:
        Radius and standard error (Mpc), zero where the volume is zero.

    Example:
        >>> distance(np.array([4 / 3 * np.pi, 0.0]), np.array([4 * np.pi * 0.01, 0.0]))
        (array([1000.,    0.]), array([10.,  0.]))
    """
    radius = np.cbrt(3 * volume / (4 * math.pi))
    surface = 4 * math.pi * radius**2
    spread = np.divide(error, surface, out=np.zeros_like(error), where=surface > 0)
    return 1e3 * radius, 1e3 * spread
