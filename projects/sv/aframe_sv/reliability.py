"""How far probabilities hold: what they promise against what held-out events show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from aframe_sv.densities import Values

#: Widths of the bins of the logarithm (to base 10) of the odds.
_DECADES = 0.5
#: Odds below which nobody asks: there most noise is, and kernels blur its lower edge.
LEAST_ODDS = 1e-4


@dataclass(frozen=True)
class Scored:
    """Events that had no part in the model that scored them.

    Args:
        log_odds: Natural logarithm of the odds that the model gives to each.
        weights: How many such events a year each stands for (1/yr).
        signal: Whether it is a signal.
    """

    log_odds: Values
    weights: Values
    signal: Bool[np.ndarray, " event"]


@dataclass(frozen=True)
class Reliability:
    """Promised and observed probability of a signal, in bins of the promise.

    Args:
        promised: Mean probability of the events of each bin, by the model.
        observed: Share of signals among them.
        low: Lower end of that share's interval, one standard deviation of the log odds.
        high: Upper end of it.
        signals: Effective number of signals in each.
        noise: Number of noise events in each.
    """

    promised: Float[np.ndarray, " bin"]
    observed: Float[np.ndarray, " bin"]
    low: Float[np.ndarray, " bin"]
    high: Float[np.ndarray, " bin"]
    signals: Float[np.ndarray, " bin"]
    noise: Float[np.ndarray, " bin"]

    @property
    def deviations(self) -> Float[np.ndarray, " bin"]:
        """Observed less promised log odds, in standard deviations."""
        width = (logit(self.high) - logit(self.low)) / 2
        return (logit(self.observed) - logit(self.promised)) / width


def logit(p: Float[np.ndarray, " bin"]) -> Float[np.ndarray, " bin"]:
    """Logarithm of the odds of a probability."""
    return np.log(p) - np.log1p(-p)


def reliability(scored: Sequence[Scored]) -> Reliability:
    r"""Compare promised with observed odds of held-out events.

    In a bin of the promise, weights :math:`F` of signals and :math:`B` of noise show the odds
    :math:`F/B`, whose logarithm has the variance :math:`1/n_F + 1/n_B` of the effective numbers
    :math:`n = (\sum w)^2 / \sum w^2`. Bins that lack either show nothing and are left out, as
    are events of odds below :data:`LEAST_ODDS`.

    Args:
        scored: Held-out events, of one fold or several; each fold stands for all by itself.

    Source:
        The error of a log odds ratio: B. Woolf, Ann. Hum. Genet. 19, 251 (1955).
    """
    log_odds, weights, signal = (
        np.concatenate([np.zeros(0), *(getattr(each, name) for each in scored)])
        for name in ("log_odds", "weights", "signal")
    )
    signal = signal.astype(bool)
    # Rounding must not move the least odds to the bin below.
    asked = log_odds >= np.log(LEAST_ODDS) + 1e-9
    log_odds, weights, signal = log_odds[asked], weights[asked], signal[asked]
    decade = np.floor(log_odds / np.log(10) / _DECADES).astype(int)
    rows = [
        row
        for each in np.unique(decade)
        if (row := _bin(*(values[decade == each] for values in (log_odds, weights, signal))))
    ]
    columns = np.array(rows, float).reshape(len(rows), 6).T
    return Reliability(*columns)


def _bin(
    log_odds: Values, weights: Values, signal: Bool[np.ndarray, " event"]
) -> tuple[float, ...] | None:
    if signal.all() or not signal.any():
        return None
    sums = {kind: float(weights[signal == kind].sum()) for kind in (True, False)}
    numbers = {kind: sums[kind] ** 2 / float(np.sum(weights[signal == kind] ** 2)) for kind in sums}
    promised = float(np.average(1 / (1 + np.exp(-log_odds)), weights=weights))
    odds, spread = sums[True] / sums[False], np.sqrt(sum(1 / each for each in numbers.values()))
    observed, low, high = (
        each / (1 + each) for each in (odds, odds * np.exp(-spread), odds * np.exp(spread))
    )
    return promised, observed, float(low), float(high), numbers[True], numbers[False]
