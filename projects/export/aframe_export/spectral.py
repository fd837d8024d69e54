"""Whitening in real arithmetic, for exchange formats that know no complex numbers.

The same formulas as :class:`aframe.transforms.whitening.Whitener`, in double
precision and in operations that every ONNX runtime has; export compares the two.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from aframe.transforms.whitening import Whitener

Complex = tuple[Tensor, Tensor]


class Fourier(torch.nn.Module):
    r"""Discrete Fourier transform as two small matrix products.

    With :math:`N = PQ`, :math:`n = Qp + q` and :math:`k = u + Pv`,

    .. math:: X_k = \sum_q \left[ e^{-2\pi i qu/N}
              \sum_p x_n e^{-2\pi i pu/P} \right] e^{-2\pi i qv/Q}

    which costs :math:`N (P + Q)` multiplications in place of :math:`N^2`.

    Args:
        size: Number of samples *N*.

    Source:
        Cooley and Tukey, Math. Comput. 19, 297 (1965).
    """

    inner_real: Tensor
    inner_imag: Tensor
    twiddle_real: Tensor
    twiddle_imag: Tensor
    outer_real: Tensor
    outer_imag: Tensor
    mirrored: Tensor
    sign: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.rows = next(p for p in range(math.isqrt(size), 0, -1) if size % p == 0)
        self.columns = size // self.rows
        p, q = torch.arange(self.rows), torch.arange(self.columns)
        for name, product, period in (
            ("inner", torch.outer(p, p), self.rows),
            ("twiddle", torch.outer(p, q), size),
            ("outer", torch.outer(q, q), self.columns),
        ):
            angle = -2 * math.pi * (product % period).double() / period
            self.register_buffer(f"{name}_real", angle.cos())
            self.register_buffer(f"{name}_imag", angle.sin())
        mirrored = torch.minimum(torch.arange(size), size - torch.arange(size))
        self.register_buffer("mirrored", mirrored)
        sign = torch.where(torch.arange(size) <= size // 2, 1.0, -1.0)
        self.register_buffer("sign", sign.double())

    def forward(self, real: Tensor, imag: Tensor | None = None) -> Complex:
        """Transform the last axis of complex or, without *imag*, real series."""
        shape = (*real.shape[:-1], self.rows, self.columns)
        real = real.reshape(shape)
        a, b = self.inner_real @ real, self.inner_imag @ real
        if imag is not None:
            imag = imag.reshape(shape)
            a, b = a - self.inner_imag @ imag, b + self.inner_real @ imag
        a, b = (
            a * self.twiddle_real - b * self.twiddle_imag,
            a * self.twiddle_imag + b * self.twiddle_real,
        )
        a, b = (
            a @ self.outer_real - b @ self.outer_imag,
            a @ self.outer_imag + b @ self.outer_real,
        )
        flat = (*shape[:-2], self.size)
        return a.transpose(-1, -2).reshape(flat), b.transpose(-1, -2).reshape(flat)

    def one_sided(self, series: Float[Tensor, "*batch time"]) -> Complex:
        """Transform real series and keep the frequencies from zero to Nyquist."""
        real, imag = self(series)
        half = self.size // 2 + 1
        return real[..., :half], imag[..., :half]

    def inverse(self, real: Tensor, imag: Tensor) -> Float[Tensor, "*batch time"]:
        """Sum one-sided frequencies to real series, without dividing by their number."""
        full = real[..., self.mirrored]
        # The sum over e^{+i} of a spectrum is the transform over e^{-i} of its conjugate.
        conjugate = -imag[..., self.mirrored] * self.sign
        return self(full, conjugate)[0]


class RealWhitener(torch.nn.Module):
    """A :class:`Whitener` for windows of one length, without complex numbers.

    Args:
        whitener: What to repeat.
        psd_size: Samples that give the PSD.
        window_size: Samples to whiten.

    Source:
        :func:`ml4gw.spectral.fast_spectral_density` and :func:`ml4gw.spectral.whiten`.
    """

    window: Tensor
    segments: Tensor
    passed: Tensor
    scale: Tensor
    taper: Tensor
    lower: Tensor
    upper: Tensor
    weight: Tensor

    def __init__(self, whitener: Whitener, psd_size: int, window_size: int) -> None:
        super().__init__()
        density, whiten = whitener.spectral_density, whitener.whiten
        self.detrend_whole = bool(density.fast)
        self.sample_rate = float(whitener.sample_rate)
        self.edge = whiten.window.numel() // 2
        self.register_buffer("window", density.window.double())
        starts = torch.arange(0, psd_size - density.nperseg + 1, density.nstride)
        self.register_buffer("segments", starts[:, None] + torch.arange(density.nperseg))
        self.welch = Fourier(density.nperseg)
        self.data = Fourier(window_size)
        frequencies = window_size // 2 + 1
        # Where a window has an odd number of samples its filter has one less.
        self.filter = Fourier(2 * (frequencies - 1))
        self.register_buffer("passed", self._band(frequencies, whiten.highpass, whiten.lowpass))
        self.register_buffer("scale", self._scale(float(density.scale)))
        self.register_buffer("taper", self._taper(whiten.window))
        self._interpolation(density.nperseg // 2 + 1, frequencies)

    def _band(self, frequencies: int, highpass: float | None, lowpass: float | None) -> Tensor:
        passed = torch.ones(frequencies, dtype=torch.bool)
        spacing = self.sample_rate / self.filter.size
        if highpass is not None:
            passed[: int(highpass / spacing)] = False
        if lowpass is not None:
            passed[int(lowpass / spacing) :] = False
        if frequencies % 2:
            passed[-1] = False
        return passed

    def _scale(self, density: float) -> Tensor:
        """Density of each bin's power: one-sided, and with the bias of a median removed.

        Source:
            Allen et al., arXiv:gr-qc/0509116, appendix B.
        """
        count, bins = len(self.segments), self.welch.size // 2 + 1
        scale = torch.full((bins,), 2 * density, dtype=torch.float64)
        scale[0] /= 2
        if self.welch.size % 2 == 0:
            scale[-1] /= 2
        return scale / (1 + sum(1 / (2 * k + 1) - 1 / (2 * k) for k in range(1, (count + 1) // 2)))

    def _taper(self, window: Tensor) -> Tensor:
        """Window of the filter's response, which is centered on its first sample."""
        taper = torch.zeros(self.filter.size, dtype=torch.float64)
        taper[: self.edge] = window[self.edge :]
        taper[-self.edge :] = window[: self.edge]
        return taper

    def _interpolation(self, coarse: int, fine: int) -> None:
        """Neighbors and weights of the linear interpolation from *coarse* to *fine* bins."""
        position = torch.arange(fine).double() * ((coarse - 1) / (fine - 1))
        lower = position.long().clamp(max=coarse - 1)
        self.register_buffer("lower", lower)
        self.register_buffer("upper", (lower + 1).clamp(max=coarse - 1))
        self.register_buffer("weight", position - lower)

    def psd(self, strain: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch frequency"]:
        """Estimate the one-sided PSD (1/Hz): median over Hann-windowed segments."""
        strain = strain.double()
        if self.detrend_whole:
            strain = strain - strain.mean(-1, keepdim=True)
        frames = strain[..., self.segments]
        if not self.detrend_whole:
            frames = frames - frames.mean(-1, keepdim=True)
        real, imag = self.welch.one_sided(frames * self.window)
        ordered = (real**2 + imag**2).transpose(-1, -2).sort(dim=-1)[0]
        count = len(self.segments)
        return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2 * self.scale

    def forward(
        self,
        strain: Float[Tensor, "batch ifo time"],
        psd: Float[Tensor, "#batch ifo frequency"],
    ) -> Float[Tensor, "batch ifo whitened"]:
        """Whiten *strain* to unit variance and crop ``fduration / 2`` from either edge."""
        gain = self._gain(psd)
        exact = strain.double()
        real, imag = self.data.one_sided(exact - exact.mean(-1, keepdim=True))
        size = self.data.size
        whitened = self.data.inverse(real / size * gain, imag / size * gain)
        return whitened[..., self.edge : -self.edge].float() / self.sample_rate**0.5

    def _gain(self, psd: Tensor) -> Tensor:
        """Inverse amplitude spectrum, truncated in time to the taper's length."""
        low, high = psd[..., self.lower], psd[..., self.upper]
        inverse = 1 / (low + self.weight * (high - low)) ** 0.5
        inverse = torch.where(self.passed, inverse, torch.zeros_like(inverse))
        response = self.filter.inverse(inverse, torch.zeros_like(inverse))
        real, imag = self.filter.one_sided(response * self.taper / self.filter.size)
        return (2 * (real**2 + imag**2)) ** 0.5
