"""Whitened blocks of a segment, and the kernels cut from them.

Each detector is whitened once, block by block, as the stream of updates would be. A
time slide is then an index: it pairs kernel *n* of the first detector with kernel
``n + shift * inference_sampling_rate`` of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aframe.artifacts.strain import StrainFile, read_strain
from aframe.transforms.streaming import Stream
from aframe.transforms.whitening import Whitener
from aframe_infer.repository import Repository

#: Blocks whitened at a time. Fixed, so that no rounding depends on the machine's load.
_BLOCKS = 64


def first_kernel(stream: Stream) -> int:
    """Number of the first kernel that is searched: the time before gives its PSD."""
    return stream.psd_size // stream.stride_size


def first_whole(stream: Stream) -> int:
    """Number of the first kernel that lies, filter included, after the start of the strain."""
    return -(-(stream.kernel_size + 2 * stream.edge_size) // stream.stride_size) - 1


def num_kernels(stream: Stream, duration: float) -> int:
    """Number of kernels that end, filter included, within *duration* (s)."""
    return int(duration * stream.sample_rate + 1e-6) // stream.stride_size


def block_range(stream: Stream, duration: float) -> range:
    """Blocks that hold all whole kernels; first and last may reach beyond the strain."""
    return range(
        first_whole(stream) // stream.batch_size,
        -(-num_kernels(stream, duration) // stream.batch_size),
    )


@dataclass(frozen=True)
class Blocks:
    """Whitened blocks of one detector.

    Args:
        first: Number of the first block.
        whitened: The blocks.
        psd: PSD that each was whitened with (1/Hz).
    """

    first: int
    whitened: Float[Tensor, "block time"]
    psd: Float[Tensor, "block frequency"]


def whiten_blocks(
    strain: Float[Tensor, " time"], stream: Stream, whitener: Whitener, blocks: range
) -> Blocks:
    """Whiten *blocks*, each with the PSD of the data before it.

    Where less than ``psd_length`` lies before a block, as for the first few, the PSD is
    that of the segment's first ``psd_length``. Beyond either end strain counts as zero;
    no kernel that is scored reaches there.
    """
    psds = strain.unfold(0, stream.psd_size, 1)
    windows = _windows(strain, stream, blocks)
    whitened, psd = [], []
    for part in _parts(blocks):
        ends = (torch.tensor(part) + 1) * stream.update_size
        starts = (ends - stream.window_size - stream.psd_size).clamp(min=0)
        psd.append(whitener.psd(psds[starts.to(strain.device)][:, None]))
        chosen = windows[part.start - blocks.start : part.stop - blocks.start, None]
        whitened.append(whitener(chosen, psd[-1])[:, 0])
    return Blocks(blocks.start, torch.cat(whitened), torch.cat(psd)[:, 0])


def whiten_signal(
    signal: Float[Tensor, " time"], stream: Stream, whitener: Whitener, background: Blocks
) -> Blocks:
    """Whiten a signal as it would be within the strain of *background*.

    Whitening is linear once the PSD is given, and an injection stays out of its PSD.
    """
    blocks = range(background.first, background.first + len(background.psd))
    windows = _windows(signal, stream, blocks)
    whitened = torch.zeros_like(background.whitened)
    (loud,) = torch.nonzero((windows != 0).any(-1), as_tuple=True)
    for begin in range(0, len(loud), _BLOCKS):
        part = loud[begin : begin + _BLOCKS]
        psd = background.psd[part].to(signal.device)
        whitened[part] = whitener(windows[part, None], psd[:, None])[:, 0]
    return Blocks(background.first, whitened, background.psd)


def _windows(
    series: Float[Tensor, " time"], stream: Stream, blocks: range
) -> Float[Tensor, "block window"]:
    """View the stretch of *series* behind each block, with zeros beyond its ends."""
    begin = (blocks.start + 1) * stream.update_size - stream.window_size
    end = blocks.stop * stream.update_size
    padding = max(0, -begin), max(0, end - len(series))
    padded = torch.nn.functional.pad(series, padding)[max(0, begin) : end + padding[0]]
    return padded.unfold(0, stream.window_size, stream.update_size)


def _parts(blocks: range) -> Iterator[range]:
    for start in range(blocks.start, blocks.stop, _BLOCKS):
        yield range(start, min(start + _BLOCKS, blocks.stop))


class Kernels:
    """Kernels of several detectors at one time slide.

    Args:
        blocks: Whitened blocks of each detector.
        stream: The lengths.
        offsets: Kernels by which each detector is shifted.
    """

    def __init__(self, blocks: Sequence[Blocks], stream: Stream, offsets: Sequence[int]) -> None:
        self.offsets = offsets
        self.batch_size = stream.batch_size
        self.first = [each.first for each in blocks]
        self.unfolded = [stream.unfold(each.whitened) for each in blocks]

    def __call__(self, numbers: Int[Tensor, " kernel"]) -> Float[Tensor, "kernel ifo time"]:
        """Gather the kernels of these *numbers*, counted in the unshifted detector."""
        gathered = []
        for first, unfolded, offset in zip(self.first, self.unfolded, self.offsets, strict=True):
            own = numbers + offset
            gathered.append(unfolded[own // self.batch_size - first, own % self.batch_size])
        return torch.stack(gathered, dim=1)


def kernel_energy(blocks: Blocks, stream: Stream) -> Float[Tensor, "block kernel"]:
    """Sum of squares of each kernel of a whitened signal: its squared SNR there."""
    start = torch.arange(stream.batch_size, device=blocks.whitened.device) * stream.stride_size
    energy = []
    for part in torch.split(blocks.whitened, _BLOCKS):
        power = torch.nn.functional.pad(part.double() ** 2, (1, 0)).cumsum(-1)
        energy.append(power[:, start + stream.kernel_size] - power[:, start])
    return torch.cat(energy)


def paths(work: Path, file: StrainFile, ifo: str) -> tuple[Path, Path]:
    """Files that hold a detector's whitened blocks and their PSDs."""
    return tuple(work / f"{kind}-{file.start:.6f}-{ifo}.npy" for kind in ("whitened", "psd"))  # type: ignore[return-value]


def write_blocks(
    repository: Repository, file: StrainFile, ifo: str, work: Path, device: torch.device
) -> None:
    """Whiten one detector's strain and keep it in *work*."""
    torch.set_num_threads(1)
    strain = torch.from_numpy(read_strain(file, [ifo])[0]).to(device)
    stream = repository.stream
    with torch.inference_mode():
        whitener = repository.whitener.to(device)
        blocks = whiten_blocks(strain, stream, whitener, block_range(stream, file.duration))
    whitened, psd = paths(work, file, ifo)
    # The blocks come last: their file says that this detector is done.
    for path, array in ((psd, blocks.psd), (whitened, blocks.whitened)):
        draft = path.with_suffix(".draft")
        with draft.open("wb") as handle:
            np.save(handle, array.cpu().numpy())
        draft.rename(path)


def read_blocks(
    repository: Repository,
    file: StrainFile,
    ifos: Sequence[str],
    work: Path,
    device: torch.device,
) -> list[Blocks]:
    """Map the whitened blocks of *ifos* into memory, or onto a GPU."""
    first = block_range(repository.stream, file.duration).start
    found = []
    for ifo in ifos:
        # Copy-on-write, because torch has no tensors that are only read.
        arrays = [np.load(path, mmap_mode="c") for path in paths(work, file, ifo)]
        found.append(Blocks(first, *(torch.from_numpy(each).to(device) for each in arrays)))
    return found
