"""Signal-to-noise ratios of training signals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aframe.errors import AframeError


@dataclass(frozen=True)
class SnrPowerLaw:
    """Network signal-to-noise ratios with a density that is a power of the ratio.

    Training may begin with loud signals: the lower edge falls in a straight line
    from *first_minimum* to *minimum* over the first *decay_steps* batches.

    Args:
        minimum: Lower edge.
        maximum: Upper edge.
        index: Exponent of the density; not -1.
        first_minimum: Lower edge at the first batch; *minimum* if ``None``.
        decay_steps: Number of batches until the lower edge is *minimum*.
    """

    minimum: float = 4.0
    maximum: float = 100.0
    index: float = -3.0
    first_minimum: float | None = None
    decay_steps: int = 0

    def __post_init__(self) -> None:
        first = self.minimum if self.first_minimum is None else self.first_minimum
        if not 0 < self.minimum <= first < self.maximum or self.index == -1:
            raise AframeError(
                "the signal-to-noise ratios have no density",
                found=f"minimum {self.minimum:g}, first_minimum {first:g}, "
                f"maximum {self.maximum:g}, index {self.index:g}",
                wanted_by="the setting `snr` of the training data",
                fix="give 0 < minimum <= first_minimum < maximum and an index that is not -1",
            )

    def lowest(self, step: int) -> float:
        """Lower edge at the batch *step*."""
        if self.first_minimum is None or step >= self.decay_steps:
            return self.minimum
        return self.first_minimum + (self.minimum - self.first_minimum) * step / self.decay_steps

    def sample(
        self, count: int, step: int, generator: torch.Generator
    ) -> Float[Tensor, " {count}"]:
        """Draw *count* ratios for the batch *step*, on the generator's device."""
        power = self.index + 1
        low, high = self.lowest(step) ** power, self.maximum**power
        uniform = torch.rand(count, generator=generator, device=generator.device)
        return (low + (high - low) * uniform) ** (1 / power)
