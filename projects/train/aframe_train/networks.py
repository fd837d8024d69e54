"""Networks that score whitened kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from ml4gw.nn.norm import GroupNorm1D
from ml4gw.nn.resnet.resnet_1d import BasicBlock
from torch import Tensor, nn

from aframe.errors import AframeError

#: Two forms of the same normalization: torch's is 1.3 times faster on a processor,
#: ml4gw's keeps the form that compiles best for inference on a GPU.
NORMS = {"torch": nn.GroupNorm, "ml4gw": lambda groups, width: GroupNorm1D(width, groups)}


class ResNet(nn.Module):
    """Residual network over time, from whitened kernels to one logit.

    The defaults are the 34-layer network of 7.2 million parameters that the published
    search uses; narrow widths and a few blocks give one that two cores can train.

    Args:
        num_ifos: Number of detectors, which are the input's channels.
        layers: Number of residual blocks in each stage.
        widths: Channels of each stage.
        strides: Step of the first block of each stage.
        kernel_size: Length of the convolutions in the blocks (samples); odd.
        stem_width: Channels of the first convolution.
        stem_kernel_size: Its length (samples); odd.
        stem_stride: Its step.
        stem_pool: Whether a maximum over 3 samples in steps of 2 follows it.
        norm_groups: Groups of each normalization, at most as many as channels.
        norm: Form of the normalization: ``torch`` or ``ml4gw``.
        max_pool: Whether the logit sees each channel's maximum over time as well as
            its mean.

    Raises:
        AframeError: If the stages disagree in number, a length is even, or the groups
            do not divide a width.

    Source:
        He et al., arXiv:1512.03385, with blocks from :mod:`ml4gw.nn.resnet`.
    """

    def __init__(
        self,
        num_ifos: int = 2,
        layers: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (64, 128, 256, 512),
        strides: Sequence[int] = (1, 2, 2, 2),
        kernel_size: int = 3,
        *,
        stem_width: int = 64,
        stem_kernel_size: int = 7,
        stem_stride: int = 2,
        stem_pool: bool = True,
        norm_groups: int = 16,
        norm: Literal["torch", "ml4gw"] = "torch",
        max_pool: bool = False,
    ) -> None:
        super().__init__()
        all_widths = (stem_width, *widths)
        wrong = [width for width in all_widths if width % min(norm_groups, width)]
        if not (
            len(layers) == len(widths) == len(strides)
            and kernel_size % 2 == stem_kernel_size % 2 == 1
            and not wrong
        ):
            raise AframeError(
                "the network cannot be built",
                found=f"layers {list(layers)}, widths {list(widths)}, strides {list(strides)}, "
                f"kernel_size {kernel_size}, stem_kernel_size {stem_kernel_size}, "
                f"stem_width {stem_width}, norm_groups {norm_groups}",
                wanted_by="model.arch of the training configuration",
                fix="give one layers, widths and strides a stage, odd kernel sizes, and "
                "norm_groups that divides each width above it",
            )

        def make_norm(width: int) -> nn.Module:
            return NORMS[norm](min(norm_groups, width), width)

        stem: list[nn.Module] = [
            nn.Conv1d(
                num_ifos,
                stem_width,
                stem_kernel_size,
                stride=stem_stride,
                padding=stem_kernel_size // 2,
                bias=False,
            ),
            make_norm(stem_width),
            nn.ReLU(inplace=True),
        ]
        self.stem = nn.Sequential(*stem, *([nn.MaxPool1d(3, 2, 1)] if stem_pool else []))
        stages = zip(all_widths, widths, layers, strides, strict=False)
        self.stages = nn.Sequential(
            *(
                _block(before if first else width, width, stride if first else 1, kernel_size, make_norm)
                for before, width, count, stride in stages
                for first in [True] + [False] * (count - 1)
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


def _block(before, width, stride, kernel_size, make_norm):
    change = None
    if stride != 1 or before != width:
        change = nn.Sequential(
            nn.Conv1d(before, width, 1, stride=stride, bias=False), make_norm(width)
        )
    return BasicBlock(before, width, kernel_size, stride, change, norm_layer=make_norm)
