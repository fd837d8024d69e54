"""Kernels that share their work: a whitened block is swept once, detector by detector.

A network offers this by two parts of its own: ``single``, convolutions without padding
from one detector's series to features, and ``together``, which scores the features of all
detectors in a kernel. Their composition is the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aframe.transforms.stream import Stream

#: Largest difference of a feature between two kernels, relative to the largest feature.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Sweep:
    """A network in two parts, and how kernels lie in the features of a block.

    Args:
        single: From series ``(batch, 1, time)`` of one detector to features.
        together: From features ``(batch, ifo, channel, frame)`` of a kernel to scores.
        batch_size: Kernels in a block.
        frames: Frames of a kernel.
        step: Frames from one kernel to the next.
    """

    single: torch.nn.Module
    together: torch.nn.Module
    batch_size: int
    frames: int
    step: int

    def features(
        self, whitened: Float[Tensor, "block time"]
    ) -> Float[Tensor, "block channel frame"]:
        """Sweep over whitened blocks of one detector."""
        features: Tensor = self.single(whitened[:, None])
        return features

    def unfold(
        self, features: Float[Tensor, "*block channel swept"]
    ) -> Float[Tensor, "*block kernel channel frame"]:
        """View the features of a block as those of its kernels."""
        return features.unfold(-1, self.frames, self.step).movedim(-2, -3)

    def scores(self, whitened: Float[Tensor, "ifo time"]) -> Float[Tensor, "kernel 1"]:
        """Score all kernels of a whitened block."""
        scores: Tensor = self.together(self.unfold(self.features(whitened)).transpose(0, 1))
        return scores


def find_sweep(network: torch.nn.Module, stream: Stream) -> Sweep | None:
    """Take a network apart, if it offers that and its kernels do share their work.

    They do not where a kernel's features depend on where it begins or ends, or where the
    stride is no whole number of frames.
    """
    parts = dict(network.named_children())
    if not {"single", "together"} <= set(parts):
        return None
    single, together = parts["single"], parts["together"]
    size, stride = stream.kernel_size, stream.stride_size
    drawn = torch.Generator().manual_seed(0)
    series = torch.randn(1, 1, size + stride, generator=drawn)
    with torch.no_grad():
        both, first, second = (
            single(series),
            single(series[..., :size]),
            single(series[..., stride:]),
        )
    frames = first.shape[-1]
    step = both.shape[-1] - frames
    tolerance = TOLERANCE * float(both.abs().max())
    apart = ((both[..., :frames], first), (both[..., step:], second))
    if step < 1 or any(float((a - b).abs().max()) > tolerance for a, b in apart):
        return None
    return Sweep(single, together, stream.batch_size, frames, step)
