"""Whitening by the PSD of preceding data, the same in training, export and inference."""

from __future__ import annotations

import torch
from jaxtyping import Float
from ml4gw.transforms import SpectralDensity, Whiten
from torch import Tensor


class Whitener(torch.nn.Module):
    """Estimate a PSD from one stretch of strain and whiten another with it.

    The PSD is a median Welch estimate with a Hann window and half overlap. The
    whitening filter is the inverse of its square root, truncated to *fduration*
    in the time domain and set to zero outside *highpass* and *lowpass*.
    Both are computed in double precision, since a PSD of strain (1e-46 / Hz)
    is below the smallest float32.

    Args:
        sample_rate: Samples a second (Hz).
        fduration: Length of the filter's impulse response (s).
        fftlength: Length of a Welch segment (s).
        highpass: Lower edge of the band (Hz), or ``None``.
        lowpass: Upper edge of the band (Hz), or ``None``.

    Source:
        :mod:`ml4gw.spectral`; the truncation follows Allen et al.,
        arXiv:gr-qc/0509116, appendix on inverse spectrum truncation.
    """

    def __init__(
        self,
        sample_rate: float,
        fduration: float,
        fftlength: float,
        highpass: float | None = None,
        lowpass: float | None = None,
    ) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.edge = int(fduration * sample_rate / 2)
        # The fast estimate is inexact in the two lowest bins, which a highpass removes.
        self.spectral_density = SpectralDensity(
            sample_rate, fftlength, average="median", fast=highpass is not None
        )
        self.whiten = Whiten(fduration, sample_rate, highpass, lowpass)

    def psd(
        self, strain: Float[Tensor, "*batch ifo time"]
    ) -> Float[Tensor, "*batch ifo frequency"]:
        """Estimate the one-sided PSD (1/Hz) of *strain*, as float64."""
        return self.spectral_density(strain)

    def forward(
        self,
        strain: Float[Tensor, "batch ifo time"],
        psd: Float[Tensor, "#batch ifo frequency"],
    ) -> Float[Tensor, "batch ifo whitened"]:
        """Whiten *strain* to unit variance and crop ``fduration / 2`` from either edge."""
        # Left to itself, ml4gw would read the PSD half a bin off: 1 % in power at 60 Hz.
        bins = strain.size(-1) // 2 + 1
        fine = torch.nn.functional.interpolate(psd, size=bins, mode="linear", align_corners=True)
        # The mean of real strain is some thousand times what is left of it in the band: taken in
        # single precision, it would leave a rounding of 1e-3, other on each runtime.
        return self.whiten(strain.double(), fine).to(strain.dtype)
