"""A network whose kernels share their work: one sweep over a stretch scores all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aframe.errors import AframeError


class Sweep(nn.Module):
    """Convolutions over each detector alone, and a small network of what they leave.

    No layer pads its input or looks at a kernel as a whole before the last one, so a frame
    of *single* is the same in every kernel that holds its samples: it need be computed
    once for the six kernels that overlap at four a second, and once for all time slides.
    Only *together*, which is small, runs for each kernel of each slide. See
    :mod:`aframe.transforms.sweep`.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Samples a second (Hz).
        kernel_length: Length of a kernel (s).
        stem: Channels of the first convolution, of 16 samples in steps of 4.
        widths: Channels of each block; a block halves the rate.
        kernel_size: Length of the convolutions in the blocks (samples); odd.
        hidden: Channels of what sees the detectors together.

    Raises:
        AframeError: If the convolutions have an even length or reach over more than a kernel.
    """

    def __init__(
        self,
        num_ifos: int = 2,
        sample_rate: float = 2048.0,
        kernel_length: float = 1.5,
        *,
        stem: int = 64,
        widths: Sequence[int] = (64, 64, 128, 64),
        kernel_size: int = 7,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        reach = _reach(kernel_size, len(widths))
        size = round(kernel_length * sample_rate)
        if kernel_size % 2 == 0 or reach > size:
            raise AframeError(
                "the network cannot be built",
                found=f"kernel_size {kernel_size} and {len(widths)} widths: a frame reaches over "
                f"{reach} samples, and a kernel has {size}",
                wanted_by="model.arch of the training configuration",
                fix="give an odd kernel_size, and fewer widths or shorter convolutions",
            )
        self.num_ifos = num_ifos
        ends = [stem, *widths]
        blocks = [_Block(*each, kernel_size) for each in zip(ends, widths, strict=False)]
        self.single = nn.Sequential(nn.Conv1d(1, stem, _STEM, _STEP), _Norm(stem), *blocks)
        self.together = _Together(num_ifos * ends[-1], hidden)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*: the larger, the more like a signal."""
        # Reshaped, as ONNX knows no unflattening of what has any number of dimensions.
        features = self.single(kernels.reshape(-1, 1, kernels.shape[-1]))
        return self.together(features.reshape(-1, self.num_ifos, *features.shape[1:]))


#: Length and step of the first convolution (samples).
_STEM, _STEP = 16, 4
#: Root mean square over the channels that no instant exceeds; the noise's is about one.
_LOUDEST = 16.0


def _reach(kernel_size: int, blocks: int) -> int:
    """Samples that a frame is made of: a block reads at its input's rate and at half of it."""
    return _STEM + sum(3 * (kernel_size - 1) * _STEP * 2**block for block in range(blocks))


class _Norm(nn.Module):
    """Bound each instant's loudness, and leave out what is negative.

    Whitened noise has unit variance wherever it is from, so that nothing need be measured
    to keep it so; glitches, thousands of times louder, come out with the size of
    :data:`_LOUDEST`. Statistics of a kernel would differ from one to the next, and those
    of a batch from training to search. Signals are loud too: with a bound of one their
    loudness is lost, and the network learns ten times as slowly.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1))

    def forward(
        self, series: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel time"]:
        loudness = (series / _LOUDEST).square().mean(1, keepdim=True)
        return torch.relu(series * (loudness + 1).rsqrt() * self.scale)


class _Block(nn.Module):
    """Two convolutions beside a shortcut that begins and ends where they do."""

    def __init__(self, before: int, after: int, kernel_size: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv1d(before, after, kernel_size, 2),
            nn.ReLU(),
            nn.Conv1d(after, after, kernel_size),
        )
        self.crop = 3 * (kernel_size - 1) // 2
        self.shortcut = nn.Conv1d(before, after, 1, 2, bias=False)
        self.norm = _Norm(after)

    def forward(
        self, series: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel frame"]:
        beside = self.shortcut(series[..., self.crop : -self.crop])
        return self.norm((self.path(series) + beside) / math.sqrt(2))


class _Together(nn.Module):
    """One logit of the frames of all detectors: of their mean and their largest values."""

    def __init__(self, before: int, hidden: int) -> None:
        super().__init__()
        self.frames = nn.Sequential(
            nn.Conv1d(before, hidden, 1), nn.ReLU(), nn.Conv1d(hidden, hidden, 1), nn.ReLU()
        )
        self.head = nn.Linear(2 * hidden, 1)

    def forward(
        self, features: Float[Tensor, "batch ifo channel frame"]
    ) -> Float[Tensor, "batch 1"]:
        frames = self.frames(features.flatten(1, 2))
        return self.head(torch.cat([frames.mean(-1), frames.amax(-1)], 1))
