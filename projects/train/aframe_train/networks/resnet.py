"""Residual networks over time, or over frequency and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from ml4gw.nn.resnet import resnet_1d, resnet_2d
from torch import Tensor, nn

from aframe.errors import AframeError

Norm = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Layers:
    """The layers of a network in one or two dimensions."""

    conv: type[nn.Conv1d | nn.Conv2d]
    pool: type[nn.MaxPool1d | nn.MaxPool2d]
    basic: type[nn.Module]
    bottleneck: type[nn.Module]


LAYERS = {
    1: Layers(nn.Conv1d, nn.MaxPool1d, resnet_1d.BasicBlock, resnet_1d.Bottleneck),
    2: Layers(nn.Conv2d, nn.MaxPool2d, resnet_2d.BasicBlock, resnet_2d.Bottleneck),
}


@dataclass(frozen=True)
class Stem:
    """The first convolution, which brings the rate of the samples down.

    Args:
        width: Channels that come out.
        kernel_size: Length (samples); odd.
        stride: Step (samples).
        pool: Whether the largest of 3 samples follows, in steps of 2.
        dilation: Distance of the samples that it reads: above 1, for slower ones.
    """

    width: int = 64
    kernel_size: int = 7
    stride: int = 2
    pool: bool = True
    dilation: int = 1


class ResNet(nn.Module):
    """Residual network, from whitened kernels (or spectrograms of them) to one logit.

    The defaults are the 34-layer network of 7.2 million parameters of the published
    search; narrow widths and a few blocks give one that two cores can train. With
    *bottleneck* the same blocks make one of 54 layers that have weights: 48 in the
    blocks, 4 projections beside them, the stem and the head.

    Args:
        num_ifos: Number of input channels: the detectors.
        layers: Number of residual blocks in each stage.
        widths: Channels of each stage.
        strides: Step of the first block of each stage.
        kernel_size: Length of the convolutions in the blocks (samples); odd.
        stem: The first convolution.
        norm_groups: Groups of each normalization, at most as many as channels.
        max_pool: Whether the logit sees each channel's largest value as well as its mean.
        bottleneck: Whether a block has three convolutions and gives four times its width.
        dimensions: 1 for series ``(batch, channel, time)``, 2 for spectrograms
            ``(batch, channel, frequency, time)``.
        outputs: Numbers that come out: 1, a logit, or the features of a larger network.

    Raises:
        AframeError: If the stages disagree in number, a length is even, or the groups
            do not divide a width.

    Source:
        He et al., arXiv:1512.03385, with the blocks of :mod:`ml4gw.nn.resnet`.
    """

    def __init__(  # noqa: PLR0913 (a setting each)
        self,
        num_ifos: int = 2,
        layers: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (1, 2, 2, 2),
        kernel_size: int = 3,
        *,
        stem: Stem = Stem(),
        norm_groups: int = 16,
        max_pool: bool = False,
        bottleneck: bool = False,
        dimensions: Literal[1, 2] = 1,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        all_widths = (stem.width, *widths)
        if (
            not len(layers) == len(widths) == len(strides)
            or not kernel_size % 2 == stem.kernel_size % 2 == 1
            or any(width % min(norm_groups, width) for width in all_widths)
        ):
            raise AframeError(
                "the network cannot be built",
                found=f"layers {list(layers)}, widths {list(widths)}, strides {list(strides)}, "
                f"kernel_size {kernel_size}, norm_groups {norm_groups}, {stem}",
                wanted_by="model.arch of the training configuration",
                fix="give one layers, widths and strides a stage, odd kernel sizes, and "
                "norm_groups that divides each width above it",
            )

        # torch's normalization: ml4gw's takes 1.3 times as long on a processor.
        def norm(width: int) -> nn.Module:
            return nn.GroupNorm(min(norm_groups, width), width)

        kinds = LAYERS[dimensions]
        self.stem = _stem(num_ifos, stem, kinds, norm)
        blocks: list[nn.Module] = []
        before = stem.width
        for width, count, stride in zip(widths, layers, strides, strict=True):
            for step in (stride, *[1] * (count - 1)):
                block = _block(before, width, step, kernel_size, kinds, norm, bottleneck=bottleneck)
                blocks.append(block)
                before = width * (4 if bottleneck else 1)
        self.stages = nn.Sequential(*blocks)
        self.max_pool = max_pool
        self.head = nn.Linear(before * (1 + max_pool), outputs)
        for module in self.modules():
            if isinstance(module, kinds.conv):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, kernels: Float[Tensor, "batch ifo *place"]) -> Float[Tensor, "batch output"]:
        """Score *kernels*: the larger, the more like a signal."""
        features = self.stages(self.stem(kernels)).flatten(2)
        pooled = features.mean(-1)
        if self.max_pool:
            pooled = torch.cat([pooled, features.amax(-1)], dim=1)
        return self.head(pooled)


def _stem(channels: int, stem: Stem, kinds: Layers, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = [
        kinds.conv(
            channels,
            stem.width,
            stem.kernel_size,
            stride=stem.stride,
            padding=stem.dilation * (stem.kernel_size // 2),
            dilation=stem.dilation,
            bias=False,
        ),
        norm(stem.width),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([kinds.pool(3, 2, 1)] if stem.pool else []))


def _block(
    before: int,
    width: int,
    stride: int,
    kernel_size: int,
    kinds: Layers,
    norm: Norm,
    *,
    bottleneck: bool,
) -> nn.Module:
    """Make a residual block, with a projection where its input has another shape."""
    kind = kinds.bottleneck if bottleneck else kinds.basic
    after = width * (4 if bottleneck else 1)
    change = None
    if stride != 1 or before != after:
        change = nn.Sequential(kinds.conv(before, after, 1, stride=stride, bias=False), norm(after))
    return kind(before, width, kernel_size, stride, change, norm_layer=norm)
