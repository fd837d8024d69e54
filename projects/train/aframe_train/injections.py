"""Signals as a kernel shows them: projected, whitened, scaled, placed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from ml4gw.gw import compute_observed_strain, get_ifo_geometry
from torch import Tensor

from aframe.transforms.whitening import Whitener
from aframe_train.placement import Placement, cut


class Counts(NamedTuple):
    """How many of a batch's kernels hold what; the rest is background alone."""

    signals: int
    swapped: int
    muted: int
    glitches: int = 0

    @property
    def injected(self) -> int:
        """Kernels into which a waveform goes, signal or not."""
        return self.signals + self.swapped + self.muted

    @classmethod
    def of(cls, batch: int, probabilities: Sequence[float], uniform: float) -> Counts:
        """Split *batch* so that each share is right on average.

        Args:
            batch: Number of kernels.
            probabilities: Shares of the batch with a signal, swapped, muted, and a glitch.
            uniform: A random number in [0, 1), which rounds up or down.
        """
        edges = [0]
        share = 0.0
        for probability in probabilities:
            share += probability
            edges.append(math.floor(batch * share + uniform))
        return cls(*(stop - start for start, stop in pairwise(edges)))


class Injector(torch.nn.Module):
    """Turn polarizations into whitened signals in a kernel.

    Args:
        ifos: Detectors in channel order.
        whitener: Whitening of strain.
        placement: Where the coalescence may lie.
        coalescence: Index of the coalescence in a waveform.
        samples: Length of a waveform.
    """

    def __init__(
        self,
        ifos: Sequence[str],
        whitener: Whitener,
        placement: Placement,
        coalescence: int,
        samples: int,
    ) -> None:
        super().__init__()
        tensors, vertices = get_ifo_geometry(*ifos)
        self.register_buffer("tensors", tensors)
        self.register_buffer("vertices", vertices)
        self.whitener = whitener
        self.placement = placement
        left, right = placement.padding(samples, coalescence)
        self.coalescence = coalescence + left
        self.padding = (left + whitener.edge, right + whitener.edge)

    def project(
        self, polarizations: Float[Tensor, "2 signal time"], generator: torch.Generator
    ) -> Float[Tensor, "signal ifo time"]:
        """Give each signal (plus, cross) a random sky position and polarization angle.

        Sources are isotropic; right ascension is counted from Greenwich, which for a
        uniform one makes no difference.
        """
        uniform = torch.rand(
            3, polarizations.shape[1], generator=generator, device=generator.device
        )
        return compute_observed_strain(
            dec=torch.arcsin(2 * uniform[0] - 1),
            psi=math.pi * uniform[1],
            phi=2 * math.pi * uniform[2],
            detector_tensors=self.tensors,
            detector_vertices=self.vertices,
            sample_rate=self.whitener.sample_rate,
            plus=polarizations[0],
            cross=polarizations[1],
        )

    def whiten(
        self,
        strain: Float[Tensor, "signal ifo time"],
        psd: Float[Tensor, "#signal ifo frequency"],
    ) -> Float[Tensor, "signal ifo padded"]:
        """Whiten whole waveforms, with silence on either side for any kernel."""
        return self.whitener(torch.nn.functional.pad(strain, self.padding), psd)

    def forward(
        self,
        polarizations: Float[Tensor, "2 signal time"],
        psd: Float[Tensor, "#signal ifo frequency"],
        snr: Float[Tensor, " signal"],
        counts: Counts,
        generator: torch.Generator,
    ) -> Float[Tensor, "signal ifo kernel"]:
        """Make the whitened signals of a batch.

        The first ``counts.signals`` are whole. The next ``counts.swapped`` have one
        detector's signal from another source, at another time; the last ``counts.muted``
        lack one detector's. A network that sees these as noise must look for coincidence.

        Args:
            polarizations: Strain of plus and cross.
            psd: One-sided PSD of each signal's background (1/Hz).
            snr: Network signal-to-noise ratio to scale each signal to, before muting.
            counts: How many are what; their sum is the number of signals.
            generator: Source of random numbers.
        """
        strain = self.project(polarizations, generator)
        number, ifos, _ = strain.shape
        one = torch.randint(ifos, (number, 1), generator=generator, device=generator.device)
        chosen = one == torch.arange(ifos, device=generator.device)
        swap = slice(counts.signals, counts.signals + counts.swapped)
        position = self.placement.draw((number, ifos), generator)
        coincident = position[:, :1].expand_as(position).clone()
        if counts.swapped:
            strain[swap] = torch.where(chosen[swap, :, None], strain.roll(1, 0)[swap], strain[swap])
            coincident[swap] = position[swap]
        whitened = scale(self.whiten(strain, psd), snr)
        kernels = cut(whitened, self.coalescence - coincident, self.placement.size)
        if counts.muted:
            mute = slice(number - counts.muted, number)
            kernels[mute] *= ~chosen[mute, :, None]
        return kernels


def scale(
    whitened: Float[Tensor, "signal ifo time"], snr: Float[Tensor, " signal"]
) -> Float[Tensor, "signal ifo time"]:
    r"""Scale whitened signals to a network signal-to-noise ratio.

    In whitened data noise has unit variance, so that a signal's optimal ratio is
    :math:`\rho^2 = \sum_{\mathrm{ifo},\,t} h_w^2`, filter truncation and band edges included.
    It is that of the whole waveform: a kernel, cut from it afterwards, holds less where the
    signal is longer or lies at its edge.
    """
    power = whitened.square().sum(dim=(1, 2))
    return whitened * (snr * power.clamp_min(torch.finfo(power.dtype).tiny).rsqrt())[:, None, None]
