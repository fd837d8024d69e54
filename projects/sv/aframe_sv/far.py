"""False alarm rates: thresholds from the background, and what a count of it allows to say."""

from __future__ import annotations

import logging
import math

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import chi2

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.errors import AframeError

log = logging.getLogger(__name__)

#: Probability of the intervals the report draws: that of one standard deviation.
ONE_SIGMA = math.erf(1 / math.sqrt(2))
_UNITS = (("year", JULIAN_YEAR), ("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0))


def thresholds_up_to(
    background: Events, max_far: float
) -> tuple[Float[np.ndarray, " threshold"], Float[np.ndarray, " threshold"]]:
    """Use the loudest background events as thresholds, down to a false alarm rate.

    Args:
        background: Events of the time slides.
        max_far: Largest false alarm rate to report (1/yr).

    Returns:
        The thresholds, loudest first and each once, and the false alarm rate of each (1/yr):
        the background events at least as loud, over ``background.Tb``.  The loudest is there
        even where one count is already above *max_far*.

    Raises:
        AframeError: If there is no background.

    Example:
        >>> one_year = Events(
        ...     detection_statistic=np.array([1.0, 3.0, 2.0]),
        ...     detection_time=np.arange(3.0),
        ...     shift=np.zeros((3, 2)),
        ...     Tb=JULIAN_YEAR,
        ... )
        >>> thresholds_up_to(one_year, max_far=2)
        (array([3., 2.]), array([1., 2.]))
    """
    if not (len(background.detection_statistic) and background.Tb > 0):
        raise AframeError(
            "there is no background to estimate a false alarm rate from",
            found=f"{len(background.detection_statistic)} events in {background.Tb:g} s",
            wanted_by="the false alarm rates",
            fix="run the inference with a longer Tb",
        )
    loudest_first = np.unique(background.detection_statistic)[::-1]
    fars = np.asarray(background.false_alarm_rate(loudest_first), dtype=float)
    # Rounding must not lose the k-th event where max_far is k counts to the last digit.
    wanted = max(int(np.searchsorted(fars, max_far * (1 + 1e-12), side="right")), 1)
    if fars[0] > max_far:
        log.warning(
            "one event in this background is already %.3g a year, above max_far %.3g: "
            "only the loudest event is used",
            fars[0],
            max_far,
        )
    return loudest_first[:wanted], fars[:wanted]


def further_thresholds(
    background: Events, thresholds: Float[np.ndarray, " threshold"], factor: float
) -> Float[np.ndarray, " further"]:
    """Go on with quieter thresholds, down to *factor* times the counts of the last.

    Args:
        background: Events of the time slides.
        thresholds: Its loudest statistics, loudest first and each once.
        factor: Number of counts to reach, over that at the last of *thresholds*.

    Returns:
        Thresholds that begin with those given; one more at least, where there is one.
    """
    loudest_first = np.unique(background.detection_statistic)[::-1]
    counts = background.counts_above(loudest_first)
    last = len(thresholds)
    reached = int(np.searchsorted(counts, factor * counts[last - 1], side="right"))
    return loudest_first[: max(reached, last + 1)]


def poisson_interval(
    counts: Int[np.ndarray, "*any"], level: float = ONE_SIGMA
) -> tuple[Float[np.ndarray, "*any"], Float[np.ndarray, "*any"]]:
    """Bound the mean of a Poisson distribution from one count.

    Args:
        counts: Observed numbers.
        level: Probability that the central interval covers the mean, at least.

    Returns:
        Lower and upper bound of the mean.

    Source:
        F. Garwood, Biometrika 28, 437 (1936).

    Example:
        >>> lower, upper = poisson_interval(np.array([0, 4]), level=0.9)
        >>> lower.round(2), upper.round(2)
        (array([0.  , 1.37]), array([3.  , 9.15]))
    """
    tail = (1 - level) / 2
    counts = np.asarray(counts)
    lower = np.where(counts > 0, chi2.ppf(tail, 2 * np.maximum(counts, 1)) / 2, 0.0)
    return lower, chi2.isf(tail, 2 * (counts + 1)) / 2


def in_words(seconds: float) -> str:
    """Say a time span in its natural unit.

    Example:
        >>> in_words(6.02 * 3600), in_words(86_400), in_words(31_557_600 * 1.5), in_words(22)
        ('6.0 hours', '1.0 day', '1.5 years', '22.0 seconds')
    """
    unit, length = next((each for each in _UNITS if seconds >= each[1]), ("second", 1.0))
    number = f"{seconds / length:.1f}"
    return f"{number} {unit}" if number == "1.0" else f"{number} {unit}s"


def measured_rate(count: int, Tb: float) -> str:  # noqa: N803
    """Say the false alarm rate that *count* events in *Tb* (s) tell, and its counting error.

    The range is that of one standard deviation; no count gives a bound instead, one in all *Tb*.

    Example:
        >>> measured_rate(4, 86_400.0), measured_rate(0, 86_400.0)
        ('1 per 6.0 hours (3.4 to 11.5)', '≲ 1 per 1.0 day')
    """
    if not count:
        return f"≲ 1 per {in_words(Tb)}"
    fewest, most = poisson_interval(np.array(count))
    length = next((length for _, length in _UNITS if Tb / count >= length), 1.0)
    return f"1 per {in_words(Tb / count)} ({Tb / most / length:.1f} to {Tb / fewest / length:.1f})"


def rate_in_words(far: float) -> str:
    """Say a false alarm rate (1/yr) as one in a time span.

    Example:
        >>> rate_in_words(1461.0), rate_in_words(0.5)
        ('1 per 6.0 hours', '1 per 2.0 years')
    """
    return f"1 per {in_words(JULIAN_YEAR / far)}"
