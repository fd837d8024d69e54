"""Whitened blocks of a segment, and the kernels cut from them.

Each detector is whitened once, block by block, as the stream of updates would be. A
time slide is then an index: it pairs kernel *n* of the first detector with kernel
``n + shift * inference_sampling_rate`` of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from aframe.artifacts.strain import StrainFile, read_strain
from aframe.transforms.stream import Stream
from aframe.transforms.sweep import Sweep
from aframe.transforms.whitening import Whitener
from aframe_infer.repository import Repository

#: Samples whitened at a time, those of the PSDs included: a bound of the memory, whatever the
#: length of the segment. Fixed, so that no rounding depends on the machine's load.
_SAMPLES = 2**19


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
        whitened: The blocks, or what a sweep left of each.
        psd: PSD that each was whitened with (1/Hz).
    """

    first: int
    whitened: Float[Tensor, "block *channel time"]
    psd: Float[Tensor, "block frequency"]

    @property
    def numbers(self) -> range:
        """Numbers of the blocks."""
        return range(self.first, self.first + len(self.whitened))

    def part(self, blocks: range, device: torch.device) -> Blocks:
        """Copy *blocks* of these, onto a GPU through memory that it reads by itself."""
        rows = slice(blocks.start - self.first, blocks.stop - self.first)
        copied = [each[rows].clone() for each in (self.whitened, self.psd)]
        if device.type == "cuda":
            copied = [each.pin_memory().to(device, non_blocking=True) for each in copied]
        return Blocks(blocks.start, *copied)


def whiten_blocks(
    strain: Float[Tensor, " time"],
    stream: Stream,
    whitener: Whitener,
    blocks: range,
    begin: int = 0,
) -> Blocks:
    """Whiten *blocks*, each with the PSD of the data before it.

    Where less than ``psd_length`` lies before a block, as for the first few, the PSD is
    that of the segment's first ``psd_length``. Beyond either end strain counts as zero;
    no kernel that is scored reaches there.

    Args:
        strain: The segment, or as much of it as :func:`behind` says.
        stream: The lengths.
        whitener: The whitening.
        blocks: Numbers of the blocks.
        begin: Which sample of the segment is the first of *strain*.
    """
    psds = strain.unfold(0, stream.psd_size, 1)
    windows = _windows(strain, stream, blocks, begin)
    whitened, psd = [], []
    for part in _parts(blocks, stream):
        ends = (torch.tensor(part) + 1) * stream.update_size
        starts = (ends - stream.window_size - stream.psd_size).clamp(min=0) - begin
        psd.append(whitener.psd(psds[starts.to(strain.device)][:, None]))
        chosen = windows[part.start - blocks.start : part.stop - blocks.start, None]
        whitened.append(whitener(chosen, psd[-1])[:, 0])
    return Blocks(blocks.start, torch.cat(whitened), torch.cat(psd)[:, 0])


def behind(blocks: range, stream: Stream, size: int) -> range:
    """Samples of a segment of *size* that give *blocks*, those of their PSDs included."""
    begin = max(0, (blocks.start + 1) * stream.update_size - stream.window_size - stream.psd_size)
    return range(begin, min(size, max(blocks.stop * stream.update_size, stream.psd_size)))


def whiten_signal(
    signal: Float[Tensor, " time"],
    stream: Stream,
    whitener: Whitener,
    background: Blocks,
    begin: int = 0,
) -> Blocks:
    """Whiten a signal as it would be within the strain of *background*.

    Whitening is linear once the PSD is given, and an injection stays out of its PSD.

    Args:
        signal: The signal in the segment, or in as much of it as :func:`behind` says.
        stream: The lengths.
        whitener: The whitening.
        background: The blocks that it is in.
        begin: Which sample of the segment is the first of *signal*.
    """
    windows = _windows(signal, stream, background.numbers, begin)
    whitened = torch.zeros_like(background.whitened)
    (loud,) = torch.nonzero((windows != 0).any(-1), as_tuple=True)
    for begun in range(0, len(loud), _at_once(stream)):
        part = loud[begun : begun + _at_once(stream)]
        psd = background.psd[part].to(signal.device)
        whitened[part] = whitener(windows[part, None], psd[:, None])[:, 0]
    return Blocks(background.first, whitened, background.psd)


def _windows(
    series: Float[Tensor, " time"], stream: Stream, blocks: range, begin: int
) -> Float[Tensor, "block window"]:
    """View the stretch of *series* behind each block, with zeros beyond its ends."""
    first = (blocks.start + 1) * stream.update_size - stream.window_size - begin
    last = blocks.stop * stream.update_size - begin
    padding = max(0, -first), max(0, last - len(series))
    padded = torch.nn.functional.pad(series, padding)[max(0, first) : last + padding[0]]
    return padded.unfold(0, stream.window_size, stream.update_size)


def _at_once(stream: Stream) -> int:
    return max(1, _SAMPLES // (stream.psd_size + stream.window_size))


def _parts(blocks: range, stream: Stream) -> Iterator[range]:
    step = _at_once(stream)
    for start in range(blocks.start, blocks.stop, step):
        yield range(start, min(start + step, blocks.stop))


class Kernels:
    """Kernels of several detectors at one time slide.

    Args:
        blocks: Whitened blocks of each detector.
        stream: The lengths, or a sweep, where blocks hold what it left.
        offsets: Kernels by which each detector is shifted.
    """

    def __init__(
        self, blocks: Sequence[Blocks], stream: Stream | Sweep, offsets: Sequence[int]
    ) -> None:
        self.offsets = offsets
        self.batch_size = stream.batch_size
        self.first = [each.first for each in blocks]
        self.unfolded = [stream.unfold(each.whitened) for each in blocks]

    def __call__(
        self, numbers: Int[Tensor, " kernel"]
    ) -> Float[Tensor, "kernel ifo *channel time"]:
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
    for part in torch.split(blocks.whitened, _at_once(stream)):
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
    stream, whitener = repository.stream, repository.whitener.to(device)
    blocks = block_range(stream, file.duration)
    whitened, psd = paths(work, file, ifo)
    drafts = [path.with_suffix(".draft") for path in (psd, whitened)]
    with drafts[0].open("wb") as psds, drafts[1].open("wb") as series, torch.inference_mode():
        for part in _parts(blocks, stream):
            found = _whiten_part(file, ifo, stream, whitener, part, device)
            for handle, rows in ((psds, found.psd), (series, found.whitened)):
                if part.start == blocks.start:
                    _write_header(handle, len(blocks), rows)
                handle.write(rows.cpu().numpy().tobytes())
    # The blocks come last: their file says that this detector is done.
    for draft, path in zip(drafts, (psd, whitened), strict=True):
        draft.rename(path)


def block_reads(
    repository: Repository, file: StrainFile, _ifo: str, _work: Path, _device: torch.device
) -> list[Path]:
    """Give the files and folders that :func:`write_blocks` reads."""
    return [repository.network.parent, file.path]


def block_writes(
    _repository: Repository, file: StrainFile, ifo: str, work: Path, _device: torch.device
) -> list[Path]:
    """Give the files that :func:`write_blocks` writes."""
    return list(paths(work, file, ifo))


def _whiten_part(
    file: StrainFile,
    ifo: str,
    stream: Stream,
    whitener: Whitener,
    part: range,
    device: torch.device,
) -> Blocks:
    rate = stream.sample_rate
    samples = behind(part, stream, round(file.duration * rate))
    start, stop = (file.start + sample / rate for sample in (samples.start, samples.stop))
    strain = torch.from_numpy(read_strain(file, [ifo], start, stop)[0]).to(device)
    return whiten_blocks(strain, stream, whitener, part, samples.start)


def _write_header(handle: BinaryIO, length: int, rows: Float[Tensor, "block value"]) -> None:
    like = rows[:0].cpu().numpy()
    described = {
        "descr": np.lib.format.dtype_to_descr(like.dtype),
        "fortran_order": False,
        "shape": (length, *like.shape[1:]),
    }
    np.lib.format.write_array_header_1_0(handle, described)


def read_blocks(
    repository: Repository,
    file: StrainFile,
    ifos: Sequence[str],
    work: Path,
    device: torch.device,
) -> list[Blocks]:
    """Map the whitened blocks of *ifos* into memory, or copy them onto a GPU."""
    first = block_range(repository.stream, file.duration).start
    found = []
    for ifo in ifos:
        # Copy-on-write, because torch has no tensors that are only read.
        arrays = [np.load(path, mmap_mode="c") for path in paths(work, file, ifo)]
        found.append(Blocks(first, *(torch.from_numpy(each).to(device) for each in arrays)))
    return found
