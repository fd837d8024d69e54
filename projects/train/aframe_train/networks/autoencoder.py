"""A semi-supervised network: what one detector's data foretell of another's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from ml4gw.nn.autoencoder import ConvolutionalAutoencoder
from torch import Tensor, nn

from aframe.errors import AframeError


class CoherentAutoencoder(nn.Module):
    r"""Reconstruct each detector's signal from its own data, and find it in the others' data.

    All convolutions and normalizations are grouped by detector, so no reconstruction
    :math:`r_j` sees data :math:`x_i` of another. The score of :math:`T` samples is

    .. math:: \sqrt{\frac{T}{n} \sum_{i \ne j} \max_{|\tau| \le \tau_0} \rho_{ij}(\tau)^2}

    with Pearson's correlation :math:`\rho` of :math:`x_i(t + \tau)` and :math:`r_j(t)`, over
    the :math:`n` ordered pairs. For white noise :math:`\sqrt{T} \rho` at a shift has unit
    variance whatever the reconstruction: as for a matched filter with the reconstruction as
    template. So the network need learn from signals only.

    Args:
        num_ifos: Number of detectors, which are the input's channels.
        sample_rate: Samples a second (Hz).
        channels: Channels of a detector's encoding after each layer.
        kernel_size: Length of the convolutions (samples); odd.
        stride: Step of each layer (samples).
        max_shift: Longest delay between two detectors (s): of light, and some for the timing.

    Raises:
        AframeError: If there is one detector alone, or the kernel size is even.

    Source:
        The convolutional autoencoder of :mod:`ml4gw`; the score is the existing search's,
        which adds the pairs in quadrature.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        *,
        channels: Sequence[int] = (16, 32, 64),
        kernel_size: int = 9,
        stride: int = 2,
        max_shift: float = 0.012,
    ) -> None:
        super().__init__()
        if num_ifos == 1 or kernel_size % 2 == 0:
            raise AframeError(
                "the autoencoder cannot be built",
                found=f"{num_ifos} detectors, kernel_size {kernel_size}",
                wanted_by="model.arch of the training configuration",
                fix="give two detectors or more, and an odd kernel_size",
            )
        self.others = range(1, num_ifos)
        self.autoencoder = ConvolutionalAutoencoder(
            num_ifos,
            channels,
            kernel_size,
            stride,
            groups=num_ifos,
            activation=nn.ELU,
            output_activation=nn.Identity,
            norm=lambda width: nn.GroupNorm(num_ifos, width),
        )
        self.max_shift = round(max_shift * sample_rate)

    def reconstruct(
        self, kernels: Float[Tensor, "batch ifo time"]
    ) -> Float[Tensor, "batch ifo time"]:
        """Reconstruct what each detector alone shows of a signal, in any scale."""
        return self.autoencoder(kernels)

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*: the larger, the more of what one detector shows is in another."""
        found = self.reconstruct(kernels).float()
        # The sign depends on where in the sky a source is.
        best = [
            shifted_correlation(kernels, found.roll(n, 1), self.max_shift).abs().amax(0)
            for n in self.others
        ]
        power = torch.cat(best, 1).square().mean(1, keepdim=True)
        return (kernels.shape[-1] * power).sqrt()


def shifted_correlation(
    x: Float[Tensor, "batch ifo time"], y: Float[Tensor, "batch ifo time"], max_shift: int
) -> Float[Tensor, "shift batch ifo"]:
    """Correlate *x*, shifted by up to *max_shift* samples either way, with *y* (Pearson).

    What :class:`ml4gw.transforms.ShiftedPearsonCorrelation` gives, but without a copy of the
    data for each shift, and in operations that ONNX has.
    """
    size = x.shape[-1]
    padded = nn.functional.pad(x, (max_shift, max_shift))
    y = y - y.mean(-1, keepdim=True)
    y = y / y.square().sum(-1, keepdim=True).sqrt()
    found = []
    for begin in range(2 * max_shift + 1):
        window = padded[..., begin : begin + size]
        power = window.square().sum(-1) - window.sum(-1).square() / size
        found.append((window * y).sum(-1) / power.sqrt())
    return torch.stack(found)
