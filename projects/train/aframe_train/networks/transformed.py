"""Networks that see a representation of the kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aframe_train.representations import Kernels


class Transformed(nn.Module):
    """A network of represented kernels: spectrograms, Q-transforms, heterodyned series.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Samples a second (Hz).
        kernel_length: Length of a kernel (s).
        highpass: Lower edge of the whitened band (Hz), or ``None``.
        lowpass: Upper edge of the whitened band (Hz), or ``None``.
        representation: What is shown, of :mod:`aframe_train.representations`.
        network: What sees it; its first argument is the number of channels.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        highpass: float | None,
        lowpass: float | None,
        *,
        representation: Callable[[Kernels], nn.Module],
        network: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        kernels = Kernels(sample_rate, kernel_length, highpass, lowpass)
        self.representation = representation(kernels)
        shown = self.representation(torch.zeros(1, num_ifos, kernels.size))
        self.network = network(shown.shape[1])

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch output"]:
        """Score *kernels*: the larger, the more like a signal."""
        return self.network(self.representation(kernels))


class MultiModal(nn.Module):
    """Two networks, one over time and one of a representation, that decide together.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Samples a second (Hz).
        kernel_length: Length of a kernel (s).
        highpass: Lower edge of the whitened band (Hz), or ``None``.
        lowpass: Upper edge of the whitened band (Hz), or ``None``.
        representation: What the second is shown, of :mod:`aframe_train.representations`.
        time: Network of the kernels, from the number of channels; it gives features.
        frequency: Network of the representation, likewise.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        highpass: float | None,
        lowpass: float | None,
        *,
        representation: Callable[[Kernels], nn.Module],
        time: Callable[[int], nn.Module],
        frequency: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.time = time(num_ifos)
        self.frequency = Transformed(
            num_ifos, sample_rate, kernel_length, highpass, lowpass,
            representation=representation, network=frequency,
        )  # fmt: skip
        example = torch.zeros(1, num_ifos, round(kernel_length * sample_rate))
        self.head = nn.Linear(self._features(example).shape[1], 1)

    def _features(self, kernels: Tensor) -> Float[Tensor, "batch feature"]:
        return torch.cat([self.time(kernels), self.frequency(kernels)], 1)

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*: the larger, the more like a signal."""
        return self.head(self._features(kernels))
