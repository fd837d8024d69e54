"""Simulated detector noise: a pure function of seed, detector and GPS time.

White samples are drawn in blocks that lie at fixed GPS times, and one finite filter
colors them. Each block of output comes from the same samples by the same Fourier
transform whatever is asked for, so any chunking gives the same noise bit for bit, and
the seams of the blocks do not exist in it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float, Float32
from scipy.fft import irfft, rfft

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.spectra import LOWEST, Asd
from aframe_data.streams import white_noise

#: Length of a block of white noise, and of the coloring filter (s).
BLOCK = 16


class ColoredNoise:
    """Stationary Gaussian noise of one detector.

    The noise has the spectrum *asd* from 10 Hz, or from the lowest frequency of *asd* if
    that is higher, up to Nyquist, smoothed over 1/16 Hz by the filter's length. Below, a
    raised cosine takes the amplitude of that frequency to nothing at half of it.

    Args:
        asd: Amplitude spectral density to have.
        sample_rate: Samples a second (Hz), a whole number.
        seed: Seed of the run.
        ifo: Detector; each has noise of its own.
    """

    def __init__(self, asd: Asd, *, sample_rate: float, seed: int, ifo: str) -> None:
        self.sample_rate = round(sample_rate)
        self.seed, self.ifo = seed, ifo
        self.size = BLOCK * self.sample_rate
        self.response = coloring_response(asd, self.sample_rate)

    def __call__(self, segment: Segment) -> Float32[np.ndarray, " time"]:
        """Give the noise of *segment*.

        Raises:
            AframeError: If it does not begin and end on a sample.
        """
        first, stop = (self._index(time) for time in segment)
        strain = np.empty(stop - first, np.float32)
        before, now = (self._white(first // self.size - back) for back in (1, 0))
        for block in range(first // self.size, -(-stop // self.size)):
            after = self._white(block + 1)
            colored = self._colored(before, now, after)
            before, now = now, after
            begin = block * self.size
            part = slice(max(first, begin) - begin, min(stop, begin + self.size) - begin)
            strain[begin + part.start - first : begin + part.stop - first] = colored[part]
        return strain

    def _index(self, time: float) -> int:
        index = time * self.sample_rate
        if index != round(index) or index < self.size:
            raise AframeError(
                "simulated noise begins and ends on samples",
                found=f"GPS time {time!r}",
                wanted_by=f"noise of {self.ifo} at {self.sample_rate} Hz",
                fix=f"give whole seconds of GPS time, from {BLOCK} on",
            )
        return round(index)

    def _white(self, block: int) -> Float[np.ndarray, " block"]:
        return white_noise(self.seed, self.ifo, block, self.size)

    def _colored(
        self,
        before: Float[np.ndarray, " block"],
        now: Float[np.ndarray, " block"],
        after: Float[np.ndarray, " block"],
    ) -> Float[np.ndarray, " block"]:
        # Overlap-save: the filter reaches half a block to either side, so that the
        # middle of two blocks' length is free of the transform's wrap-around.
        half = self.size // 2
        white = np.concatenate([before[half:], now, after[:half]])
        return irfft(rfft(white) * self.response, 2 * self.size)[half : half + self.size]


def coloring_response(asd: Asd, sample_rate: int) -> Complex[np.ndarray, " frequency"]:
    """Frequency response of the filter that gives white noise the spectrum *asd*.

    Args:
        asd: Amplitude spectral density.
        sample_rate: Samples a second (Hz).

    Returns:
        Response at multiples of ``1 / (2 * BLOCK)`` Hz of a filter without delay whose
        impulse response ends half a block to either side.
    """
    size = 2 * BLOCK * sample_rate
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    lowest = max(LOWEST, asd.frequencies[0])
    edge = np.clip(2 * frequencies / lowest - 1, 0, 1)
    amplitude = asd(np.maximum(frequencies, lowest)) * (1 - np.cos(np.pi * edge)) / 2
    # Unit white noise has the one-sided density 2 / sample_rate.
    impulse = irfft(amplitude * np.sqrt(sample_rate / 2), size)
    return rfft(impulse * _window(size))


def _window(size: int) -> Float[np.ndarray, " time"]:
    """Keep an eighth of a circle to either side of zero, and end at a quarter."""
    distance = np.minimum(np.arange(size), size - np.arange(size)) / (size / 8)
    return (1 + np.cos(np.pi * np.clip(distance - 1, 0, 1))) / 2
