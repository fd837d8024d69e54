"""Networks that score whitened kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from ml4gw.nn.resnet.resnet_1d import BasicBlock
from torch import Tensor, nn

from aframe.errors import AframeError

Norm = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Stem:
    """The first convolution, which brings the rate of the samples down.

    Args:
        width: Channels that come out.
        kernel_size: Length (samples); odd.
        stride: Step (samples).
        pool: Whether the largest of 3 samples follows, in steps of 2.
    """

    width: int = 64
    kernel_size: int = 7
    stride: int = 2
    pool: bool = True


class ResNet(nn.Module):
    """Residual network over time, from whitened kernels to one logit.

    The defaults are the 34-layer network of 7.2 million parameters of the published
    search; narrow widths and a few blocks give one that two cores can train.

    Args:
        num_ifos: Number of detectors, which are the input's channels.
        layers: Number of residual blocks in each stage.
        widths: Channels of each stage.
        strides: Step of the first block of each stage.
        kernel_size: Length of the convolutions in the blocks (samples); odd.
        stem: The first convolution.
        norm_groups: Groups of each normalization, at most as many as channels.
        max_pool: Whether the logit sees each channel's largest value over time as well
            as its mean.

    Raises:
        AframeError: If the stages disagree in number, a length is even, or the groups
            do not divide a width.

    Source:
        He et al., arXiv:1512.03385, with the blocks of :mod:`ml4gw.nn.resnet`.
    """

    def __init__(
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

        stages = zip(all_widths, widths, layers, strides, strict=False)
        self.stem = _stem(num_ifos, stem, norm)
        self.stages = nn.Sequential(
            *(
                _block(width if inner else before, width, 1 if inner else stride, kernel_size, norm)
                for before, width, count, stride in stages
                for inner in range(count)
            )
        )
        self.max_pool = max_pool
        self.head = nn.Linear(widths[-1] * (1 + max_pool), 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*: the larger, the more like a signal."""
        features = self.stages(self.stem(kernels))
        pooled = features.mean(-1)
        if self.max_pool:
            pooled = torch.cat([pooled, features.amax(-1)], dim=1)
        return self.head(pooled)


def _stem(channels: int, stem: Stem, norm: Norm) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv1d(
            channels,
            stem.width,
            stem.kernel_size,
            stride=stem.stride,
            padding=stem.kernel_size // 2,
            bias=False,
        ),
        norm(stem.width),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([nn.MaxPool1d(3, 2, 1)] if stem.pool else []))


def _block(before: int, width: int, stride: int, kernel_size: int, norm: Norm) -> nn.Module:
    """Make a residual block, with a projection where its input has another shape."""
    change = None
    if stride != 1 or before != width:
        change = nn.Sequential(nn.Conv1d(before, width, 1, stride=stride, bias=False), norm(width))
    return BasicBlock(before, width, kernel_size, stride, change, norm_layer=norm)
