"""Background strain: its split into training and validation, and random stretches of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from aframe.artifacts.strain import StrainFile, read_strain
from aframe.errors import AframeError
from aframe_train.streams import host_stream

BYTES = 4  # of a float32


class Stretch(NamedTuple):
    """A part of a strain file, from *start* to *stop* (GPS s)."""

    file: StrainFile
    start: float
    stop: float

    @property
    def duration(self) -> float:
        """Length (s)."""
        return self.stop - self.start

    def read(self, ifos: Sequence[str]) -> Float32[np.ndarray, "ifo time"]:
        """Read the strain of *ifos*."""
        return read_strain(self.file, ifos, self.start, self.stop)


def split(
    files: Sequence[StrainFile], min_valid_duration: float
) -> tuple[list[Stretch], list[Stretch]]:
    """Part strain into training and validation.

    The last files are for validation, as many as give *min_valid_duration*. Where
    that would leave none for training, the first of them is cut in two.

    Args:
        files: Strain files sorted by time.
        min_valid_duration: Time to keep for validation (s).

    Returns:
        Stretches for training, and for validation.

    Raises:
        AframeError: If there is no more strain than that.
    """
    stretches = [Stretch(file, *file.segment) for file in files]
    total = sum(stretch.duration for stretch in stretches)
    if total <= min_valid_duration:
        raise AframeError(
            "there is too little strain to train and validate",
            found=f"{total:g} s in {len(files)} files",
            wanted_by=f"more than min_valid_duration = {min_valid_duration:g} s",
            fix="fetch more strain, or lower min_valid_duration in the training configuration",
        )
    first, kept = len(stretches), 0.0
    while kept < min_valid_duration:
        first -= 1
        kept += stretches[first].duration
    training, validation = stretches[:first], stretches[first:]
    if not training:
        file, start, stop = validation[0]
        cut = start + kept - min_valid_duration
        training, validation[0] = [Stretch(file, start, cut)], Stretch(file, cut, stop)
    return training, validation


def pieces(stretches: Sequence[Stretch], longest: float) -> list[Stretch]:
    """Cut *stretches* into pieces of at most *longest* seconds."""
    return [
        Stretch(file, begin, min(begin + longest, stop))
        for file, start, stop in stretches
        for begin in np.arange(start, stop, longest).tolist()
    ]


def choose(stretches: Sequence[Stretch], total: float, seed: int, index: int) -> list[Stretch]:
    """Choose *stretches* at random, without repetition, up to *total* seconds in all."""
    chosen: list[Stretch] = []
    for number in host_stream(seed, "background chunk", index).permutation(len(stretches)):
        if chosen and sum(each.duration for each in [*chosen, stretches[number]]) > total:
            break
        chosen.append(stretches[number])
    return chosen


def read_segments(
    stretches: Sequence[Stretch], ifos: Sequence[str]
) -> list[Float32[np.ndarray, "ifo _"]]:
    """Read strain, with stretches that follow one another joined."""
    segments: list[list[np.ndarray]] = []
    end = None
    for stretch in stretches:
        if end is None or abs(stretch.start - end) > 0.5 / stretch.file.sample_rate:
            segments.append([])
        segments[-1].append(stretch.read(ifos))
        end = stretch.stop
    return [np.concatenate(parts, axis=-1) for parts in segments]


class Background:
    """Strain in memory, from which each detector draws stretches by itself.

    Args:
        strain: Contiguous parts, each of shape ``(ifo, time)``.
        size: Length of a stretch (samples).
        device: Where to hold it.

    Raises:
        AframeError: If no part is long enough for one stretch.
    """

    def __init__(
        self,
        strain: Sequence[Float32[np.ndarray, "ifo _"]],
        size: int,
        device: torch.device,
    ) -> None:
        lengths = np.array([part.shape[-1] for part in strain])
        starts = np.maximum(lengths - size + 1, 0)
        if not starts.sum():
            raise AframeError(
                "the strain for training is too short",
                found=f"{len(strain)} stretches of at most {max(lengths, default=0)} samples",
                wanted_by=f"{size} contiguous samples: the PSD, the filter and the kernels",
                fix="fetch longer strain, or lower psd_length or kernels_per_stretch",
            )
        self.size = size
        self.strain = torch.from_numpy(np.concatenate(strain, axis=-1)).to(device)
        # The n-th possible start lies n + gap samples from the beginning of the whole.
        ends = np.cumsum(starts)
        gaps = np.cumsum(lengths) - lengths - (ends - starts)
        self._ends = torch.from_numpy(ends).to(device)
        self._gaps = torch.from_numpy(gaps).to(device)
        self._count = int(ends[-1])

    def draw(
        self, count: int, generator: torch.Generator
    ) -> Float[Tensor, "{count} ifo {self.size}"]:
        """Draw stretches whose start is uniform, and independent in each detector."""
        ifos = len(self.strain)
        shape = (count, ifos)
        number = torch.randint(self._count, shape, generator=generator, device=self.strain.device)
        start = number + self._gaps[torch.searchsorted(self._ends, number, right=True)]
        rows = torch.arange(ifos, device=self.strain.device).expand(shape)
        return self.strain.unfold(-1, self.size, 1)[rows, start]
