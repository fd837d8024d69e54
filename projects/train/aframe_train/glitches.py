"""Glitches: transients of one detector, which a network must not take for signals."""

from __future__ import annotations

import csv
import logging
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aframe.artifacts.preprocessing import Preprocessing
from aframe.artifacts.strain import StrainFile, read_strain
from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener
from aframe_train.background import Stretch
from aframe_train.placement import cut
from aframe_train.streams import host_stream

log = logging.getLogger(__name__)

#: Columns of a table of glitches; further ones are not read.
IFO, TIME = "ifo", "event_time"
#: Lowest frequency of a simulated glitch where no highpass bounds it (Hz).
LOWEST = 20.0
#: Glitches that are read and whitened at a time.
AT_A_TIME = 64


@dataclass(frozen=True)
class GlitchSettings:
    """Where glitches come from.

    Args:
        table: Comma-separated values with the columns ``ifo`` and ``event_time`` (GPS s), as
            Gravity Spy publishes: real glitches of the training strain. If ``None``,
            simulated ones: sine-Gaussians.
        minimum: Smallest signal-to-noise ratio of a sine-Gaussian.
        maximum: Largest signal-to-noise ratio of a sine-Gaussian.
        lowest_q: Smallest quality of a sine-Gaussian.
        highest_q: Largest quality of a sine-Gaussian.

    Raises:
        AframeError: If a range is empty.
    """

    table: Path | None = None
    minimum: float = 5.0
    maximum: float = 100.0
    lowest_q: float = 3.0
    highest_q: float = 30.0

    def __post_init__(self) -> None:
        if not (0 < self.minimum <= self.maximum and 0 < self.lowest_q <= self.highest_q):
            raise AframeError(
                "glitches cannot be drawn",
                found=str(self),
                wanted_by="the setting `glitches` of the training data",
                fix="give 0 < minimum <= maximum and 0 < lowest_q <= highest_q",
            )


class Glitches(Protocol):
    """Puts glitches into background."""

    def __call__(
        self, kernels: Float[Tensor, "glitch ifo time"], generator: torch.Generator
    ) -> Float[Tensor, "glitch ifo time"]:
        """Give *kernels* with a glitch in one detector each."""
        ...


class SineGaussians(torch.nn.Module):
    r"""Simulated glitches :math:`e^{-t^2 / 2\tau^2} \cos(2\pi f t + \phi)`, added to a detector.

    As they are after whitening, with :math:`\tau = Q / (\sqrt{2}\,2\pi f)`. Frequencies and
    signal-to-noise ratios are uniform in their logarithm; quality, time and phase are uniform.

    Args:
        settings: Their ranges.
        preprocessing: Rate and band of the kernels.
    """

    def __init__(self, settings: GlitchSettings, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.settings, self.sample_rate = settings, preprocessing.sample_rate
        low, high = preprocessing.highpass, preprocessing.lowpass
        self.band = (low or LOWEST, high or self.sample_rate / 2)

    def forward(
        self, kernels: Float[Tensor, "glitch ifo time"], generator: torch.Generator
    ) -> Float[Tensor, "glitch ifo time"]:
        """Add one to a random detector of each kernel."""
        count, ifos, size = kernels.shape
        device, settings = kernels.device, self.settings
        uniform = torch.rand(5, count, 1, generator=generator, device=device)
        one = torch.randint(ifos, (count,), generator=generator, device=device)
        frequency = _logarithmic(uniform[0], *self.band)
        snr = _logarithmic(uniform[1], settings.minimum, settings.maximum)
        quality = settings.lowest_q + (settings.highest_q - settings.lowest_q) * uniform[2]
        time = (torch.arange(size, device=device) - size * uniform[3]) / self.sample_rate
        wave = (2 * math.pi * (frequency * time + uniform[4])).cos()
        wave = wave * (-((2 * math.pi * frequency / quality * time) ** 2)).exp()
        wave = snr * wave / wave.square().sum(-1, keepdim=True).sqrt()
        added = kernels.clone()
        added[torch.arange(count, device=device), one] += wave
        return added


def _logarithmic(uniform: Tensor, low: float, high: float) -> Tensor:
    return low * (high / low) ** uniform


class RealGlitches(torch.nn.Module):
    """Glitches of the strain, each in place of one detector's background.

    Args:
        windows: Whitened strain about each, twice as long as a kernel.
        detectors: Number of each one's detector.
    """

    windows: Tensor
    detectors: Tensor

    def __init__(
        self, windows: Float[Tensor, "glitch window"], detectors: Int[Tensor, " glitch"]
    ) -> None:
        super().__init__()
        self.register_buffer("windows", windows)
        self.register_buffer("detectors", detectors)

    def forward(
        self, kernels: Float[Tensor, "glitch ifo time"], generator: torch.Generator
    ) -> Float[Tensor, "glitch ifo time"]:
        """Put one into each kernel, anywhere in it."""
        count, _, size = kernels.shape
        device = kernels.device
        row = torch.randint(len(self.windows), (count,), generator=generator, device=device)
        start = torch.randint(1, size + 1, (count, 1), generator=generator, device=device)
        replaced = kernels.clone()
        replaced[torch.arange(count, device=device), self.detectors[row]] = cut(
            self.windows[row, None], start, size
        )[:, 0]
        return replaced


def read_table(path: Path, ifos: Sequence[str]) -> list[tuple[str, float]]:
    """Read detector and GPS time (s) of the glitches of *ifos*.

    Raises:
        AframeError: If a column is missing or a time is no number.
    """
    try:
        with path.open(newline="") as file:
            rows = [(row[IFO].strip(), float(row[TIME])) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise AframeError(
            "the table of glitches cannot be read",
            found=f"{path}: {type(error).__name__} {error}",
            wanted_by="`glitches.table` of the training configuration",
            fix=f"give comma-separated values with the columns {IFO} and {TIME} (GPS s)",
        ) from error
    return [(ifo, time) for ifo, time in rows if ifo in ifos]


def real_glitches(
    table: Path,
    stretches: Sequence[Stretch],
    ifos: Sequence[str],
    whitener: Whitener,
    *,
    psd_size: int,
    kernel: int,
    most: int,
    seed: int,
) -> RealGlitches:
    """Read and whiten the strain about the glitches that lie in *stretches*.

    Each is whitened with the PSD of the strain before it, as kernels are.

    Args:
        table: Detectors and times.
        stretches: The training's strain.
        ifos: Detectors in channel order.
        whitener: Whitening of strain.
        psd_size: Length of the data that give a PSD (samples).
        kernel: Length of a kernel (samples).
        most: Most glitches to hold; of more, so many are chosen at random.
        seed: Seed of that choice.

    Raises:
        AframeError: If no glitch has so much strain about it.
    """
    before = psd_size + whitener.edge + kernel
    size = before + whitener.edge + kernel
    found = _within(stretches, read_table(table, ifos), before, size)
    if not found:
        raise AframeError(
            "no glitch lies in the training strain",
            found=f"{table}, for {', '.join(ifos)}",
            wanted_by="`glitches.table` of the training configuration",
            fix="give times of glitches between the start and the end of the training strain",
        )
    if len(found) > most:
        log.info("%d of %d glitches are used, to keep within `memory`", most, len(found))
        chosen = host_stream(seed, "glitches").choice(len(found), most, replace=False)
        found = [found[number] for number in sorted(chosen)]
    windows = []
    for begin in range(0, len(found), AT_A_TIME):
        part = found[begin : begin + AT_A_TIME]
        strain = np.stack([read_strain(file, [ifo], *span) for file, ifo, *span in part])
        raw = torch.from_numpy(strain)
        windows.append(whitener(raw[..., psd_size:], whitener.psd(raw[..., :psd_size]))[:, 0])
    detectors = [ifos.index(ifo) for _, ifo, *_ in found]
    return RealGlitches(torch.cat(windows), torch.tensor(detectors))


def _within(
    stretches: Sequence[Stretch], glitches: Sequence[tuple[str, float]], before: int, size: int
) -> list[tuple[StrainFile, str, float, float]]:
    """Find the strain, from *before* samples ahead of each glitch on and *size* long."""
    glitches = sorted(glitches, key=itemgetter(1))
    times = [time for _, time in glitches]
    found = []
    for file, start, stop in stretches:
        rate = file.sample_rate
        inside = slice(bisect_left(times, start), bisect_right(times, stop))
        for ifo, time in glitches[inside]:
            first = file.start + (round((time - file.start) * rate) - before) / rate
            if start <= first and first + size / rate <= stop:
                found.append((file, ifo, first, first + size / rate))
    return found
