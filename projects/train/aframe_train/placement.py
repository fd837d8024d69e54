"""Where in a kernel a signal lies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aframe.errors import AframeError


@dataclass(frozen=True)
class Placement:
    """Positions of the coalescence in a whitened kernel.

    Args:
        size: Length of the kernel (samples).
        first: Earliest position (samples from the kernel's start).
        last: Latest position.
    """

    size: int
    first: int
    last: int

    @classmethod
    def of(
        cls, kernel_length: float, left_pad: float, right_pad: float, sample_rate: float
    ) -> Placement:
        """Keep *left_pad* before and *right_pad* after the coalescence (all lengths in s).

        Raises:
            AframeError: If the pads leave no room.
        """
        if not (left_pad >= 0 and right_pad >= 0 and left_pad + right_pad <= kernel_length):
            raise AframeError(
                "the coalescence has no place in the kernel",
                found=f"left_pad {left_pad:g} s, right_pad {right_pad:g} s",
                wanted_by=f"a kernel of {kernel_length:g} s",
                fix="give pads that are not negative and shorter than the kernel together",
            )
        size = round(kernel_length * sample_rate)
        first = round(left_pad * sample_rate)
        return cls(size, first, max(first, size - round(right_pad * sample_rate)))

    def padding(self, samples: int, coalescence: int) -> tuple[int, int]:
        """Zeros to add at either end of a waveform so that each kernel lies within it."""
        after = self.size - self.first - (samples - coalescence)
        return max(0, self.last - coalescence), max(0, after)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Int[Tensor, "*shape"]:
        """Draw positions, uniform from the first to the last."""
        return torch.randint(
            self.first, self.last + 1, shape, generator=generator, device=generator.device
        )

    def views(self, count: int) -> list[int]:
        """Give *count* positions that are evenly spread, from the last to the first."""
        return torch.linspace(self.last, self.first, count).round().long().tolist()


def cut(
    series: Float[Tensor, "batch ifo time"], start: Int[Tensor, "batch ifo"], size: int
) -> Float[Tensor, "batch ifo {size}"]:
    """Cut *size* samples out of each row, from an own *start* each."""
    batch, ifos, _ = series.shape
    rows = torch.arange(batch, device=series.device)[:, None]
    columns = torch.arange(ifos, device=series.device)
    return series.unfold(-1, size, 1)[rows, columns, start]
