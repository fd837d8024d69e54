"""WaveNet: causal convolutions that look exponentially far back."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Gated(nn.Module):
    """A causal dilated convolution with a gate, and what it leaves for the head.

    Args:
        width: Channels in and out.
        kernel_size: Samples that it reads.
        dilation: Distance of these samples.
    """

    def __init__(self, width: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.reach = dilation * (kernel_size - 1)
        self.conv = nn.Conv1d(width, 2 * width, kernel_size, dilation=dilation)
        self.residual = nn.Conv1d(width, width, 1)
        self.skip = nn.Conv1d(width, width, 1)

    def forward(
        self, series: Float[Tensor, "batch channel time"]
    ) -> tuple[Float[Tensor, "batch channel time"], Float[Tensor, "batch channel time"]]:
        """Give the series for the next layer, and that for the head."""
        past = nn.functional.pad(series, (self.reach, 0))
        value, gate = self.conv(past).chunk(2, 1)
        gated = value.tanh() * gate.sigmoid()
        return series + self.residual(gated), self.skip(gated)


class WaveNet(nn.Module):
    """Gated causal convolutions at the full rate, from whitened kernels to one logit.

    In a block each layer looks twice as far back as the one before; the defaults reach
    over 2 blocks of 10 layers, 2047 samples.

    Args:
        num_ifos: Number of detectors, which are the input's channels.
        res_channels: Channels of all layers.
        layers_per_block: Layers in a block, of dilations 1, 2, 4, …
        num_blocks: Number of blocks.
        kernel_size: Samples that a layer reads.

    Source:
        van den Oord et al., arXiv:1609.03499, section 2, with a dense head on the mean and the
        largest value over time in place of a prediction of the next sample.
    """

    def __init__(
        self,
        num_ifos: int = 2,
        res_channels: int = 64,
        layers_per_block: int = 10,
        num_blocks: int = 2,
        kernel_size: int = 2,
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(num_ifos, res_channels, 1)
        self.layers = nn.ModuleList(
            Gated(res_channels, kernel_size, 2**layer)
            for _ in range(num_blocks)
            for layer in range(layers_per_block)
        )
        self.last = nn.Sequential(nn.ReLU(), nn.Conv1d(res_channels, res_channels, 1), nn.ReLU())
        self.head = nn.Sequential(
            nn.Linear(2 * res_channels, res_channels), nn.ReLU(), nn.Linear(res_channels, 1)
        )

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*: the larger, the more like a signal."""
        features = self.last(self.features(kernels))
        return self.head(torch.cat([features.mean(-1), features.amax(-1)], 1))

    def features(
        self, kernels: Float[Tensor, "batch ifo time"]
    ) -> Float[Tensor, "batch channel time"]:
        """Sum what all layers leave and the last one gives; none looks into a sample's future."""
        series = self.first(kernels)
        total = torch.zeros_like(series)
        for layer in self.layers:
            series, skipped = layer(series)
            total = total + skipped
        return total + series
