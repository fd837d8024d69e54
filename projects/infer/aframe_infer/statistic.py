"""From scores to events: integration, clustering, times."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from aframe.transforms.stream import Stream


def integrate(scores: Float[np.ndarray, " kernel"], window: int) -> Float[np.ndarray, " output"]:
    """Average each score with those before it, *window* in all.

    The first ``window - 1`` scores have too few before them and get no average: nothing
    is made up for what was not scored.

    Example:
        >>> integrate(np.array([3.0, 3.0, 0.0, 0.0]), 2)
        array([3. , 1.5, 0. ])
    """
    return np.convolve(scores.astype(np.float64), np.full(window, 1 / window), mode="valid")


def integration_size(rate: float, integration_window_length: float) -> int:
    """Scores in an average over *integration_window_length* (s)."""
    return int(rate * integration_window_length) + 1


def cluster(statistic: Float[np.ndarray, " output"], half: int) -> Int[np.ndarray, " event"]:
    """Find the outputs that no output in the *half* window after them exceeds.

    The search starts at the loudest of the first *half* outputs and jumps to the
    loudest of the next *half* as long as that is louder; where none is, there is an
    event, and the search goes on ``half + 1`` later.

    Returns:
        Positions of the events, in order and more than *half* apart.
    """
    if not len(statistic):
        return np.empty(0, np.int64)
    target = _next_louder(statistic, half)
    position = int(np.argmax(statistic[:half]))
    events = []
    while position < len(statistic):
        if target[position] == position:
            events.append(position)
            position += half + 1
        else:
            position = int(target[position])
    return np.array(events)


def _next_louder(statistic: Float[np.ndarray, " output"], half: int) -> Int[np.ndarray, " output"]:
    """Position of the loudest of the next *half* outputs if that is louder, else its own."""
    padded = np.concatenate([statistic, np.full(half, -np.inf)])
    ahead = np.lib.stride_tricks.sliding_window_view(padded[1:], half)[: len(statistic)]
    own = np.arange(len(statistic))
    step = ahead.argmax(axis=1)
    return np.where(ahead[own, step] > statistic, own + 1 + step, own)


def raw_times(
    stream: Stream, start: float, integration: float, numbers: Int[np.ndarray, " event"]
) -> Float[np.ndarray, " event"]:
    """GPS times (s) of outputs, before any calibration.

    Args:
        stream: The lengths.
        start: GPS time of the segment's first sample (s).
        integration: Length of the average over scores (s).
        numbers: Numbers of the last kernels of the events.
    """
    before = stream.fduration / 2 + integration
    return start - before + numbers / stream.inference_sampling_rate


def kernel_number(stream: Stream, start: float, integration: float, raw_time: float) -> int:
    """Number of the last kernel of the event with this raw time: :func:`raw_times` undone."""
    after = raw_time - start + stream.fduration / 2 + integration
    return round(after * stream.inference_sampling_rate)
