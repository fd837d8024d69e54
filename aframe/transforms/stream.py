"""Lengths of the stream of kernels, which planning knows too: torch is not imported for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from aframe.checks import refuse_fractions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Stream:
    """Lengths of a stream and of the kernels cut from it, in samples.

    Kernel *n* of the stream ends, with half a filter behind it, at sample
    ``(n + 1) * stride_size``; kernels are whitened in blocks of *batch_size*.

    Args:
        sample_rate: Samples a second (Hz).
        kernel_length: Length of the network's input (s).
        fduration: Length of the whitening filter's impulse response (s).
        psd_length: Length of the data before a block that give its PSD (s).
        inference_sampling_rate: Kernels a second (Hz).
        batch_size: Kernels in a block, which is one update of the stream.

    Raises:
        AframeError: If a length is not a whole number of samples.
    """

    sample_rate: float
    kernel_length: float
    fduration: float
    psd_length: float
    inference_sampling_rate: float
    batch_size: int

    def __post_init__(self) -> None:
        refuse_fractions(**asdict(self), wanted_by="the stream of kernels")

    @property
    def stride_size(self) -> int:
        """Samples from one kernel to the next."""
        return round(self.sample_rate / self.inference_sampling_rate)

    @property
    def kernel_size(self) -> int:
        """Samples of a kernel."""
        return round(self.kernel_length * self.sample_rate)

    @property
    def edge_size(self) -> int:
        """Samples that whitening takes from either edge."""
        return round(self.fduration / 2 * self.sample_rate)

    @property
    def psd_size(self) -> int:
        """Samples that give a block its PSD."""
        return round(self.psd_length * self.sample_rate)

    @property
    def update_size(self) -> int:
        """Samples of one update."""
        return self.batch_size * self.stride_size

    @property
    def whitened_size(self) -> int:
        """Samples of a whitened block."""
        return self.kernel_size + (self.batch_size - 1) * self.stride_size

    @property
    def window_size(self) -> int:
        """Samples that are whitened to give a block."""
        return self.whitened_size + 2 * self.edge_size

    @property
    def state_size(self) -> int:
        """Samples kept from one update to the next."""
        return self.psd_size + self.window_size - self.update_size

    def unfold(self, whitened: Tensor) -> Tensor:
        """View a whitened block as its overlapping kernels."""
        # torch takes seconds to load, which the lengths alone should not wait for.
        from aframe.transforms.kernels import unfold  # noqa: PLC0415

        return unfold(whitened, self.kernel_size, self.stride_size)
