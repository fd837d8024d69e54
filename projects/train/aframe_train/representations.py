"""What a network may be shown in place of a whitened kernel.

Each is a module without weights and a part of the network, so that an exported model takes
whitened kernels whatever it makes of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from ml4gw.transforms import Heterodyne, SingleQTransform
from torch import Tensor, nn

from aframe.errors import AframeError


@dataclass(frozen=True)
class Kernels:
    """What a representation must know of the kernels.

    Args:
        sample_rate: Samples a second (Hz).
        length: Length (s).
        highpass: Lower edge of the whitened band (Hz), or ``None``.
        lowpass: Upper edge of the whitened band (Hz), or ``None``.
    """

    sample_rate: float
    length: float
    highpass: float | None = None
    lowpass: float | None = None

    @property
    def size(self) -> int:
        """Length (samples)."""
        return round(self.length * self.sample_rate)

    @property
    def band(self) -> tuple[float, float]:
        """Lower and upper edge of the band (Hz)."""
        nyquist = self.sample_rate / 2
        return self.highpass or 0.0, nyquist if self.lowpass is None else self.lowpass


class MultiResolutionSpectrogram(nn.Module):
    """Spectrograms of several resolutions in one: in each place the largest of them.

    Each is normalized so that white noise of unit variance has unit power, whatever its
    window. The finest frequencies and times of all are the grid, which each fills by its
    own nearest values.

    Args:
        kernels: What is shown.
        windows: Lengths of the Hann windows (s), which follow one another by half of that.

    Raises:
        AframeError: If a window is longer than the kernel or shorter than two samples.

    Source:
        :class:`ml4gw.transforms.MultiResolutionSpectrogram`, in the memory of one
        spectrogram in place of that of all their pairs.
    """

    def __init__(self, kernels: Kernels, windows: Sequence[float] = (0.0625, 0.125, 0.25)) -> None:
        super().__init__()
        self.sizes = [round(window * kernels.sample_rate) for window in windows]
        if not self.sizes or not 1 < min(self.sizes) <= max(self.sizes) <= kernels.size:
            raise AframeError(
                "a window of the spectrogram does not fit the kernel",
                found=f"windows {list(windows)} s at {kernels.sample_rate:g} Hz",
                wanted_by=f"kernels of {kernels.length:g} s",
                fix="give windows of at least two samples and at most the kernel's length",
            )
        self.shape = (max(self.sizes) // 2 + 1, kernels.size // (min(self.sizes) // 2) + 1)
        for size in self.sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size))

    def forward(
        self, kernels: Float[Tensor, "batch ifo time"]
    ) -> Float[Tensor, "batch ifo frequency frame"]:
        """Give power by frequency and time."""
        return torch.stack([self._power(kernels, size) for size in self.sizes]).amax(0)

    def _power(self, kernels: Tensor, size: int) -> Tensor:
        window = self.get_buffer(f"window_{size}")
        spectrum = torch.stft(
            kernels.flatten(0, 1), size, size // 2, window=window, return_complex=True
        )
        power = (spectrum.real.square() + spectrum.imag.square()) / window.square().sum()
        return nn.functional.interpolate(
            power.reshape(*kernels.shape[:2], *power.shape[1:]), self.shape
        )


class QTransform(nn.Module):
    r"""Energy in windows of constant quality :math:`Q = f / \Delta f`, over frequency and time.

    The rows are spaced logarithmically over the whitened band; each is divided by its median.

    Args:
        kernels: What is shown.
        q: Quality of the windows: the larger, the finer in frequency and the coarser in time.
        shape: Frequencies and times to interpolate to.

    Raises:
        AframeError: If the quality leaves no frequency in the band.

    Source:
        Chatterji et al., Class. Quantum Grav. 21, S1809 (2004), with the tiles of
        :class:`ml4gw.transforms.SingleQTransform`; rows of one length are transformed
        together, and no shape waits for the device.
    """

    def __init__(
        self, kernels: Kernels, q: float = 12.0, shape: tuple[int, int] = (64, 128)
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        low, high = kernels.band
        # Above, a row's window would reach beyond Nyquist; below, it holds few cycles.
        high = min(high, kernels.sample_rate / 2 / (1 + math.sqrt(11) / q))
        low = low or 50 * q / (2 * math.pi * kernels.length)
        if not 0 < low < high:
            raise AframeError(
                "the Q-transform has no frequency in the band",
                found=f"q {q:g}: {low:g} Hz to {high:g} Hz",
                wanted_by=f"kernels of {kernels.length:g} s at {kernels.sample_rate:g} Hz",
                fix="lower q in the training configuration",
            )
        transform = SingleQTransform(
            kernels.length, kernels.sample_rate, self.shape, q, frange=[low, high]
        )
        self.frequencies = transform.freqs
        rows = list(transform.qtile_transforms)
        self.lengths = sorted({row.ntiles() for row in rows})
        for length in self.lengths:
            chosen = [row for row in rows if row.ntiles() == length]
            for name in ("indices", "window"):
                padded = [_centered(getattr(row, name), length) for row in chosen]
                # As floats: an average of weights would round whole numbers down.
                self.register_buffer(f"{name}_{length}", torch.stack(padded).float())

    def forward(
        self, kernels: Float[Tensor, "batch ifo time"]
    ) -> Float[Tensor, "batch ifo frequency frame"]:
        """Give energy by frequency and time."""
        spectrum = torch.fft.rfft(kernels, norm="forward")
        rows = [self._rows(spectrum, length) for length in self.lengths]
        return nn.functional.interpolate(torch.cat(rows, -2), self.shape, mode="bicubic")

    def _rows(self, spectrum: Tensor, length: int) -> Tensor:
        indices, window = (self.get_buffer(f"{name}_{length}") for name in ("indices", "window"))
        # One-sided: the other half of the spectrum is as large.
        series = torch.fft.ifft(2 * spectrum[..., indices.long()] * window)
        energy = series.real.square() + series.imag.square()
        ordered = energy.sort(-1).values
        middle = ordered[..., length // 2 - 1 : length // 2 + 1].mean(-1, keepdim=True)
        return nn.functional.interpolate(
            energy / middle, (indices.shape[0], self.shape[1]), mode="bicubic"
        )


def _centered(values: Tensor, length: int) -> Tensor:
    """Pad the values of a window on either side to *length*, and begin with its center."""
    missing = length - len(values)
    padded = nn.functional.pad(values, ((missing - 1) // 2, (missing + 1) // 2))
    return torch.fft.ifftshift(padded)


class Spectrum(nn.Module):
    """The kernel's Fourier transform in the whitened band: real parts, then imaginary ones.

    Args:
        kernels: What is shown.
    """

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        low, high = kernels.band
        # Not the mean and, in a real series, not Nyquist: they have no phase.
        self.first = max(1, math.ceil(low * kernels.length))
        self.stop = min(math.ceil(high * kernels.length), kernels.size // 2)

    def forward(
        self, kernels: Float[Tensor, "batch ifo time"]
    ) -> Float[Tensor, "batch part frequency"]:
        """Give as much variance to each number as the kernel's samples have."""
        spectrum = math.sqrt(2) * torch.fft.rfft(kernels, norm="ortho")[..., self.first : self.stop]
        return torch.cat([spectrum.real, spectrum.imag], 1)


class Heterodyned(nn.Module):
    r"""Kernels in which an inspiral of about one of several chirp masses is one short pulse.

    Each frequency is turned by the leading post-Newtonian phase of an inspiral,
    :math:`\frac{3}{128} (\pi G \mathcal{M} f / c^3)^{-5/3}`, so that all of a signal of chirp
    mass :math:`\mathcal{M}` arrives with its coalescence.

    Args:
        kernels: What is shown.
        lowest: Smallest chirp mass (Msun).
        highest: Largest chirp mass (Msun).
        number: How many, spaced logarithmically.
        keep: Length of the kernel's end to keep (s), where the pulses are; all if ``None``.

    Raises:
        AframeError: If the masses are not in order, or more is to be kept than there is.

    Source:
        :class:`ml4gw.transforms.Heterodyne`.
    """

    def __init__(
        self,
        kernels: Kernels,
        lowest: float = 1.0,
        highest: float = 2.5,
        number: int = 100,
        keep: float | None = None,
    ) -> None:
        super().__init__()
        keep = kernels.length if keep is None else keep
        if not (0 < lowest <= highest and number > 0 and 0 < keep <= kernels.length):
            raise AframeError(
                "the kernels cannot be heterodyned",
                found=f"lowest {lowest:g} Msun, highest {highest:g} Msun, number {number}, "
                f"keep {keep:g} s",
                wanted_by=f"kernels of {kernels.length:g} s",
                fix="give 0 < lowest <= highest, a number above zero, and at most the "
                "kernel's length to keep",
            )
        masses = torch.logspace(math.log10(lowest), math.log10(highest), number)
        self.heterodyne = Heterodyne(kernels.sample_rate, kernels.length, masses, "time")
        # The mean has no phase; it is set to zero, but not a number times zero would not be.
        self.heterodyne.heterodyning_phase[:, 0] = 0
        self.first = kernels.size - round(keep * kernels.sample_rate)

    def forward(
        self, kernels: Float[Tensor, "batch ifo time"]
    ) -> Float[Tensor, "batch ifo_and_mass kept"]:
        """Give a series for each detector and chirp mass."""
        return self.heterodyne(kernels).flatten(1, 2)[..., self.first :]
