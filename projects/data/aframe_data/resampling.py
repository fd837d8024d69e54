"""Resampling with an anti-alias filter."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32
from scipy.signal import firwin, kaiserord, resample_poly

from aframe.artifacts.segments import Segment

#: Suppression of what lies above the new Nyquist frequency, and ripple below (dB).
ATTENUATION = 80.0
#: The filter passes frequencies below this share of the new Nyquist frequency.
PASSBAND = 0.9
#: Strain to resample at a time (s).
_STRETCH = 512


@functools.lru_cache(maxsize=8)
def _filter(up: int, down: int) -> Float[np.ndarray, " tap"]:
    """Kaiser-windowed low pass, at *up* times the rate that comes in, of which *down* go out."""
    # Frequencies are shares of the Nyquist frequency between the two steps.
    edge = 1 / max(up, down)
    taps, beta = kaiserord(ATTENUATION, (1 - PASSBAND) * edge)
    return firwin(taps | 1, (1 + PASSBAND) / 2 * edge, window=("kaiser", beta))


def resample(
    strain: Float[np.ndarray, " time"], sample_rate: float, wanted: float
) -> Float[np.ndarray, " resampled"]:
    """Bring a series to another sample rate.

    The filter passes to 1e-4 what lies below 0.9 of the new Nyquist frequency, without
    delay, and takes 80 dB from what lies above it. Beyond the ends the series is taken to go
    on as its point reflection.

    Args:
        strain: Series.
        sample_rate: Its samples a second (Hz), a whole number.
        wanted: Samples a second to have (Hz), a whole number.
    """
    if sample_rate == wanted:
        return strain
    common = math.gcd(round(sample_rate), round(wanted))
    up, down = round(wanted) // common, round(sample_rate) // common
    return resample_poly(strain, up, down, window=_filter(up, down), padtype="antireflect")


def resample_piece(
    read: Callable[[Segment], Float[np.ndarray, " time"]],
    piece: Segment,
    around: Segment,
    *,
    sample_rate: float,
    wanted: float,
) -> Float32[np.ndarray, " resampled"]:
    """Resample a piece of a longer segment a stretch at a time, without seams.

    Args:
        read: Gives the strain of a segment at *sample_rate*.
        piece: What to resample; whole seconds (GPS s).
        around: The segment it is a piece of, whose strain the filter may reach into.
        sample_rate: Samples a second that come in (Hz).
        wanted: Samples a second to have (Hz).
    """
    reach = margin(sample_rate, wanted)
    resampled = np.empty(round(piece.duration * wanted), np.float32)
    for begin in range(round(piece.start), round(piece.stop), _STRETCH):
        end = min(begin + _STRETCH, round(piece.stop))
        wide = Segment(max(begin - reach, around.start), min(end + reach, around.stop))
        series = resample(read(wide), sample_rate, wanted)
        first, skip, count = (
            round(seconds * wanted)
            for seconds in (begin - piece.start, begin - wide.start, end - begin)
        )
        resampled[first : first + count] = series[skip : skip + count]
    return resampled


def margin(sample_rate: float, wanted: float) -> int:
    """Whole seconds to either side that a resampled value may depend on.

    Args:
        sample_rate: Samples a second that come in (Hz).
        wanted: Samples a second to have (Hz).
    """
    taps, _ = kaiserord(ATTENUATION, (1 - PASSBAND) * wanted / sample_rate)
    return math.ceil(taps / 2 / sample_rate + 2 / wanted)
