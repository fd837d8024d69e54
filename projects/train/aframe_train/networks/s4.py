"""S4: a linear state-space model in each channel, run as one long convolution."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from ml4gw.nn.ssm.s4d import S4DKernel, S4Model
from torch import Tensor, nn


class Response(nn.Module):
    r"""Impulse response of a layer's state-space models.

    .. math:: K_l = 2 \mathrm{Re} \sum_n C_n \frac{e^{\Delta A_n} - 1}{A_n} e^{l \Delta A_n}

    as :class:`ml4gw.nn.ssm.s4d.S4DKernel` has it. With :math:`l = jm + k` the powers are
    products of few, so that a matrix product sums them and none is held for all *l*; and the
    steps lie in buffers: made on the way, they would stay on the device of the tracing.

    Args:
        kernel: The layer's parameters.
        size: Length (samples).
    """

    coarse: Tensor
    fine: Tensor

    def __init__(self, kernel: S4DKernel, size: int) -> None:
        super().__init__()
        self.kernel, self.size = kernel, size
        step = math.isqrt(size - 1) + 1
        self.register_buffer("fine", torch.arange(step).float())
        self.register_buffer("coarse", step * torch.arange(-(-size // step)).float())

    def forward(self, L: int) -> Float[Tensor, "channel time"]:  # noqa: ARG002, N803 (ml4gw's name)
        """Give the response of each channel."""
        kernel = self.kernel
        rate = torch.complex(-kernel.log_A_real.exp(), kernel.A_imag)
        exponent = rate * kernel.log_dt.exp()[:, None]
        weight = torch.view_as_complex(kernel.C) * (exponent.exp() - 1) / rate
        coarse = weight[..., None] * (exponent[..., None] * self.coarse).exp()
        fine = (exponent[..., None] * self.fine).exp()
        return 2 * (coarse.mT @ fine).real.flatten(1)[:, : self.size]


class S4(nn.Module):
    """Diagonal structured state spaces (S4D), from whitened kernels to one logit.

    A layer holds *d_model* linear systems of *d_state* states, whose outputs a gated linear
    map mixes; a normalization over the channels follows each.

    Its logit is linear in a mean over time, in which a short signal is little: at a learning
    rate of 1e-3 the loss stays at chance for long, at 1e-2 it does not. The states'
    parameters want the former and no weight decay, and have it whatever the others' rate.

    Args:
        num_ifos: Number of detectors, which are the input's channels.
        sample_rate: Samples a second (Hz).
        kernel_length: Length of a kernel (s).
        d_model: Channels of all layers.
        d_state: States of each system; even.
        n_layers: Number of layers.
        dropout: Share of the channels that a training step leaves out.
        dt_min: Shortest step of the systems' time, in which a state decays by half its value.
        dt_max: Longest step.

    Source:
        Gu et al., arXiv:2206.11893, as :class:`ml4gw.nn.ssm.S4Model`.
    """

    def __init__(  # noqa: PLR0913 (a setting each)
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        *,
        d_model: int = 128,
        d_state: int = 64,
        n_layers: int = 4,
        dropout: float = 0.1,
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__()
        self.model = S4Model(
            num_ifos, 1, d_model, d_state, n_layers, dropout=dropout, dt_min=dt_min, dt_max=dt_max
        )
        for layer in self.model.s4_layers:
            layer.kernel = Response(layer.kernel, round(kernel_length * sample_rate))

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*: the larger, the more like a signal."""
        # In single precision whatever the trainer's: there is no Fourier transform of bfloat16.
        with torch.autocast(kernels.device.type, enabled=False):
            return self.model(kernels)

    def slow(self) -> list[nn.Parameter]:
        """Name the parameters of the states' rates and of their time, to be learned slowly."""
        kernels = [layer.kernel.kernel for layer in self.model.s4_layers]
        return [
            parameter
            for each in kernels
            for parameter in (each.log_dt, each.log_A_real, each.A_imag)
        ]
