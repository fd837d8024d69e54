"""Xylophone: bars of different length for the slow and the fast part of a chirp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aframe_train.networks.resnet import ResNet, Stem


@dataclass(frozen=True)
class Octave:
    """Settings of one bar, a residual network of a part of the kernel.

    Args:
        width: Channels of its first stage; each stage has twice as many as that before.
        stride: Step of its first convolution (samples).
        dilation: Distance of the samples that its first convolution reads.
        layers: Residual blocks of each stage.
    """

    width: int
    stride: int
    dilation: int
    layers: Sequence[int]


OCTAVES = (
    Octave(64, 1, 8, (2, 2)),
    Octave(32, 2, 4, (2, 2, 2)),
    Octave(16, 3, 2, (2, 2, 2, 2)),
    Octave(8, 3, 1, (2, 4, 3, 2)),
)


class Xylophone(nn.Module):
    """Residual networks of parts of the kernel, each tuned to the pitch of a chirp there.

    The parts are of one length and overlap by half. The first octave, for the early part,
    reads samples far apart in broad channels; the last, for the end, reads each sample.

    Args:
        num_ifos: Number of detectors, which are the input's channels.
        octaves: The bars, from the start of the kernel to its end.
        kernel_size: Length of the convolutions in the blocks (samples); odd.
        norm_groups: Groups of each normalization, at most as many as channels.
        features: Numbers that each octave gives to the last map.

    Source:
        The bars of the existing search's network of this name.
    """

    def __init__(
        self,
        num_ifos: int = 2,
        octaves: Sequence[Octave] = OCTAVES,
        kernel_size: int = 3,
        norm_groups: int = 8,
        features: int = 16,
    ) -> None:
        super().__init__()
        self.octaves = nn.ModuleList(
            ResNet(
                num_ifos,
                octave.layers,
                [octave.width * 2**stage for stage in range(len(octave.layers))],
                [1, *[2] * (len(octave.layers) - 1)],
                kernel_size,
                stem=Stem(octave.width, 7, octave.stride, dilation=octave.dilation),
                norm_groups=norm_groups,
                outputs=features,
            )
            for octave in octaves
        )
        self.head = nn.Linear(features * len(octaves), 1)

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*: the larger, the more like a signal."""
        parts = overlapping(kernels, len(self.octaves))
        heard = [octave(part) for octave, part in zip(self.octaves, parts, strict=True)]
        return self.head(torch.cat(heard, 1))


def overlapping(
    kernels: Float[Tensor, "batch ifo time"], count: int
) -> list[Float[Tensor, "batch ifo part"]]:
    """Cut *kernels* into *count* parts that overlap by half and reach from start to end."""
    edges = [kernels.shape[-1] * n // (count + 1) for n in range(count + 2)]
    return [kernels[..., edges[n] : edges[n + 2]] for n in range(count)]
