"""Xylophone: bars of different length for the slow and the fast part of a chirp."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aframe.errors import AframeError
from aframe_train.networks.resnet import ResNet, Stem


class Xylophone(nn.Module):
    """Residual networks of parts of the kernel, each tuned to the pitch of a chirp there.

    The parts are of one length and overlap by half. The first of these octaves, for the
    early part, reads samples far apart in broad channels; the last, for the end, reads each
    sample. The arguments hold a value an octave, from the start of the kernel to its end.

    Args:
        num_ifos: Number of detectors, which are the input's channels.
        widths: Channels of the first stage; each stage has twice as many as that before.
        strides: Step of the first convolution (samples).
        dilations: Distance of the samples that the first convolution reads.
        layers: Residual blocks of each stage.
        kernel_size: Length of the convolutions in the blocks (samples); odd.
        norm_groups: Groups of each normalization, at most as many as channels.
        features: Numbers that each octave gives to the last map.

    Raises:
        AframeError: If the octaves disagree in number.

    Source:
        The bars of the existing search's network of this name.
    """

    def __init__(
        self,
        num_ifos: int = 2,
        *,
        widths: Sequence[int] = (64, 32, 16, 8),
        strides: Sequence[int] = (1, 2, 3, 3),
        dilations: Sequence[int] = (8, 4, 2, 1),
        layers: Sequence[Sequence[int]] = ((2, 2), (2, 2, 2), (2, 2, 2, 2), (2, 4, 3, 2)),
        kernel_size: int = 3,
        norm_groups: int = 8,
        features: int = 16,
    ) -> None:
        super().__init__()
        if not len(widths) == len(strides) == len(dilations) == len(layers):
            raise AframeError(
                "the octaves disagree in number",
                found=f"widths {list(widths)}, strides {list(strides)}, "
                f"dilations {list(dilations)}, layers {list(layers)}",
                wanted_by="model.arch of the training configuration",
                fix="give a value of each for an octave",
            )
        self.octaves = nn.ModuleList(
            ResNet(
                num_ifos,
                blocks,
                [width * 2**stage for stage in range(len(blocks))],
                [1, *[2] * (len(blocks) - 1)],
                kernel_size,
                stem=Stem(width, 7, stride, dilation=dilation),
                norm_groups=norm_groups,
                outputs=features,
            )
            for width, stride, dilation, blocks in zip(
                widths, strides, dilations, layers, strict=True
            )
        )
        self.head = nn.Linear(features * len(widths), 1)

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
