"""Injections that are worth a close look: the loudest missed and the quietest found."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from aframe_infer.timing import Event, Found

#: How many of each kind, and of the loudest background events.
NUM_EXAMPLES = 6
#: An event this far from an injection is not its own (s).
RECOVERY = 1.0


def choose(
    recovered: Found,
    injected: Float[np.ndarray, " injection"],
    snr: Float[np.ndarray, " injection"],
    threshold: float,
    offset: float,
) -> list[tuple[Event, bool]]:
    """Choose injections to look at, each with whether it was found; those missed come first.

    Args:
        recovered: The event nearest to each injection.
        injected: GPS time of each injection (s), by its row.
        snr: SNR of each injection, by its row.
        threshold: Statistic that an injection must reach to be found.
        offset: What to add to raw times (s).

    Returns:
        Events: those of the injections found, and for the injections missed what is seen at
        their own time, with the statistic of the event nearest to them.
    """
    time, loudness = injected[recovered.row], snr[recovered.row]
    near = np.abs(recovered.raw_time + offset - time) <= RECOVERY
    found = near & (recovered.statistic >= threshold)
    loudest_first = np.argsort(-loudness, kind="stable")
    missed = loudest_first[~found[loudest_first]][:NUM_EXAMPLES]
    faintest = loudest_first[found[loudest_first]][::-1][:NUM_EXAMPLES]
    own = recovered[missed]
    there = Found(own.branches, own.owner, time[missed] - offset, own.statistic, own.row)
    return [*((event, False) for event in there), *((event, True) for event in recovered[faintest])]
