"""One time slide of one segment: scores, events, recovered injections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from aframe.artifacts.hdf5 import writing
from aframe.artifacts.segments import gps
from aframe.artifacts.strain import StrainFile
from aframe.transforms.stream import Stream
from aframe.transforms.sweep import Sweep
from aframe_infer.engines import EACH, PLAIN, load, settle_here
from aframe_infer.injections import Injections, signal
from aframe_infer.kernels import (
    Blocks,
    Kernels,
    behind,
    first_kernel,
    kernel_energy,
    num_kernels,
    paths,
    read_blocks,
    whiten_signal,
)
from aframe_infer.repository import Repository
from aframe_infer.scores import BATCH, Network, ahead, score
from aframe_infer.statistic import cluster, integrate, integration_size, raw_times
from aframe_infer.sweeps import load_sweep, swept, with_signals

#: Kernels in which an injection's network SNR is below this keep the background's score:
#: it moves no statistic by more than 1e-4.
FAINT = 1e-2

#: Kernels whose whitened strain is in memory at a time, of each detector: a whole number of
#: batches, wherever the network runs.
STRETCH = 8192

Numbers = Int[np.ndarray, " kernel"]
NONE = np.empty(0, np.int64)
Cut = Callable[[Int[Tensor, " kernel"]], Float[Tensor, "kernel ifo time"]]
#: Scores the kernels of some numbers, given how they are cut.
Scorer = Callable[[Cut, Numbers], Float32[np.ndarray, " kernel"]]


@dataclass(frozen=True)
class Search:
    """What every branch of a search shares.

    Args:
        repository: The network and its stream.
        integration_window_length: Length of the average over scores (s).
        cluster_window_length: Time in which one event is kept (s).
        keep_scores: Whether branches keep their scores.
        device: Where tensors live: ``cpu`` or ``cuda``.
        engine: What runs the network, see :mod:`aframe_infer.engines`.
    """

    repository: Repository
    integration_window_length: float
    cluster_window_length: float
    keep_scores: bool
    device: str
    engine: str = PLAIN

    @property
    def stream(self) -> Stream:
        """Lengths of the stream."""
        return self.repository.stream

    @property
    def ifos(self) -> tuple[str, ...]:
        """Detectors in channel order."""
        return self.repository.preprocessing.ifos

    @property
    def window(self) -> int:
        """Scores in an average."""
        return integration_size(self.stream.inference_sampling_rate, self.integration_window_length)

    def offsets(self, shifts: Sequence[float]) -> list[int]:
        """Kernels by which each detector is shifted."""
        return [round(shift * self.stream.inference_sampling_rate) for shift in shifts]

    def scored(self, outputs: Numbers) -> Numbers:
        """Numbers of the kernels to score, so that each of *outputs* has its whole average."""
        return np.arange(outputs[0] - self.window + 1, outputs[-1] + 1)

    def events(
        self, scores: Float[np.ndarray, " kernel"], start: float, left_out: Numbers = NONE
    ) -> tuple[Float[np.ndarray, " event"], Float[np.ndarray, " event"]]:
        """Statistic and GPS time (s, not calibrated) of the events in *scores*.

        Outputs that are *left_out*, by the numbers of their kernels, make no event and hide none.
        """
        statistic = integrate(scores, self.window)
        half = int(self.stream.inference_sampling_rate * self.cluster_window_length) // 2
        first = first_kernel(self.stream)
        statistic[left_out - first] = -np.inf
        found = cluster(statistic, half)
        found = found[np.isin(found, left_out - first, invert=True)]
        numbers = first + found
        times = raw_times(self.stream, start, self.integration_window_length, numbers)
        return statistic[found], times


@dataclass(frozen=True)
class Branch:
    """A time slide of a segment.

    Args:
        file: The segment.
        shifts: Time by which each detector is shifted (s).
        rows: Rows of its injections.
        folder: Name of the folder of its whitened blocks, below the scratch directory.
        left_out: Numbers of the kernels at which the background is not searched, though the
            slide is.
    """

    file: StrainFile
    shifts: tuple[float, ...]
    rows: np.ndarray
    folder: str
    left_out: np.ndarray = field(default_factory=lambda: NONE)

    @property
    def name(self) -> str:
        """File of its result, below the scratch directory."""
        moved = "-".join(gps(shift) for shift in self.shifts)
        return f"{self.folder}/slide-{gps(self.file.start)}-{moved}.hdf5"


def outputs(stream: Stream, duration: float, shifts: Sequence[float]) -> Numbers:
    """Numbers of the kernels at which a slide of a segment of *duration* (s) is searched.

    Each stands for a stride of livetime, from ``number / inference_sampling_rate`` on.
    """
    return np.arange(first_kernel(stream), num_kernels(stream, duration - max(shifts)))


def analyze(search: Search, branch: Branch, injections: Injections, work: Path) -> None:
    """Search one slide of one segment, and again with its injections, and write the result."""
    torch.set_num_threads(1)
    device = torch.device(search.device)
    sweep = load_sweep(search.repository, device)
    numbers = search.scored(outputs(search.stream, branch.file.duration, branch.shifts))
    network = sweep.together if sweep else _load(search, branch, work, len(numbers))

    def scored(cut: Cut, asked: Numbers) -> Float32[np.ndarray, " kernel"]:
        return score(network, cut, asked, device)

    series = score_stretches(search, branch, injections, work, numbers, scored, sweep)
    write_branch(search, branch, injections, series, work / branch.name)


def _load(search: Search, branch: Branch, work: Path, amount: int) -> Network:
    """Load what runs the network, which a machine that was dealt the branch finds for itself."""
    engine, device = search.engine, torch.device(search.device)
    if engine == EACH:
        kernels = partial(sample, search, branch, work, BATCH[search.device])
        engine = settle_here(search.repository, search.device, kernels, amount)
    return load(engine, search.repository, device)


def slide_reads(
    search: Search, branch: Branch, injections: Injections, work: Path, *_: Any
) -> list[Path]:
    """Give the files and folders that :func:`analyze` reads, on a server or not."""
    folder = work / branch.folder
    blocks = [path for ifo in search.ifos for path in paths(folder, branch.file, ifo)]
    signals = [injections.path] if len(branch.rows) else []
    return [search.repository.network.parent, branch.file.path, *blocks, *signals]


def slide_writes(
    _search: Search, branch: Branch, _injections: Injections, work: Path, *_: Any
) -> list[Path]:
    """Give the file that :func:`analyze` writes."""
    return [work / branch.name]


def score_stretches(
    search: Search,
    branch: Branch,
    injections: Injections,
    work: Path,
    numbers: Numbers,
    scored: Scorer,
    sweep: Sweep | None = None,
) -> dict[str, Float32[np.ndarray, " kernel"]]:
    """Score kernels of a slide, stretch by stretch, so that no more of them is in memory.

    Args:
        search: What every branch shares.
        branch: The slide.
        injections: All injections.
        work: Scratch directory, where the whitened blocks lie.
        numbers: Numbers of consecutive kernels.
        scored: What scores them.
        sweep: What scores features instead, where the network can be swept.

    Returns:
        Scores of the ``background``, and where there are injections of the ``foreground``.
    """
    clean = np.empty(len(numbers), np.float32)
    series = {"background": clean} | ({"foreground": clean.copy()} if len(branch.rows) else {})
    stretches = [slice(begin, begin + STRETCH) for begin in range(0, len(numbers), STRETCH)]
    asked = [numbers[each] for each in stretches]
    offsets = search.offsets(branch.shifts)
    blocks = read_ahead(search, branch, asked, work)
    for stretch, each, own in zip(stretches, asked, blocks, strict=True):
        kernels = swept(sweep, own, offsets) if sweep else Kernels(own, search.stream, offsets)
        clean[stretch] = scored(kernels, each)
        if len(branch.rows):
            heard = series["foreground"][stretch]
            heard[:] = clean[stretch]
            loud, cut = _with_signals(search, branch, injections, own, each, sweep)
            heard[loud] = scored(cut, each[loud])
    return series


def read_ahead(
    search: Search, branch: Branch, asked: Sequence[Numbers], work: Path
) -> Iterator[list[Blocks]]:
    """Read each detector's blocks behind the kernels *asked* for, while others are scored."""
    device, cpu, size = torch.device(search.device), torch.device("cpu"), search.stream.batch_size
    offsets = search.offsets(branch.shifts)

    def read(numbers: Numbers) -> list[Blocks]:
        first, last = numbers[0], numbers[-1]
        # Mapped anew each time: what was read before is given back.
        folder = work / branch.folder
        whole = read_blocks(search.repository, branch.file, search.ifos, folder, cpu)
        return [
            blocks.part(range((first + offset) // size, (last + offset) // size + 1), device)
            for blocks, offset in zip(whole, offsets, strict=True)
        ]

    return ahead(read, asked)


def sample(
    search: Search, branch: Branch, work: Path, count: int
) -> Float[Tensor, "kernel ifo time"]:
    """Take *count* kernels of a slide, from all over its first stretch."""
    numbers = search.scored(outputs(search.stream, branch.file.duration, branch.shifts))[:STRETCH]
    (blocks,) = read_ahead(search, branch, [numbers], work)
    chosen = numbers[np.linspace(0, len(numbers) - 1, count).astype(int)]
    kernels = Kernels(blocks, search.stream, search.offsets(branch.shifts))
    return kernels(torch.from_numpy(chosen).to(search.device))


def _with_signals(
    search: Search,
    branch: Branch,
    injections: Injections,
    blocks: Sequence[Blocks],
    numbers: Numbers,
    sweep: Sweep | None,
) -> tuple[np.ndarray, Cut]:
    """Tell which kernels of *numbers* hold a part of an injection, and how to cut them."""
    offsets = search.offsets(branch.shifts)
    added = whitened_signals(search, branch, injections, blocks)
    clean, signals = (Kernels(each, search.stream, offsets) for each in (blocks, added))
    loud = audible(added, search.stream, offsets, numbers)
    if sweep:
        return loud, swept(sweep, with_signals(blocks, added), offsets)
    return loud, lambda each: clean(each) + signals(each)


def whitened_signals(
    search: Search, branch: Branch, injections: Injections, blocks: Sequence[Blocks]
) -> list[Blocks]:
    """Whiten the injections of a slide as they lie in each detector."""
    stream, rate = search.stream, search.stream.sample_rate
    whitener = search.repository.whitener.to(search.device)
    whitened = []
    for ifo, shift, background in zip(search.ifos, branch.shifts, blocks, strict=True):
        samples = behind(background.numbers, stream, round(branch.file.duration * rate))
        strain = signal(
            injections,
            branch.rows,
            ifo,
            start=branch.file.start,
            shift=shift,
            size=len(samples),
            sample_rate=rate,
            begin=samples.start,
        )
        with torch.inference_mode():
            on_device = torch.from_numpy(strain).to(search.device)
            found = whiten_signal(on_device, stream, whitener, background, samples.start)
            whitened.append(found)
    return whitened


def audible(
    signals: Sequence[Blocks], stream: Stream, offsets: Sequence[int], numbers: Numbers
) -> np.ndarray:
    """Which kernels of *numbers* hold a part of a signal that could be heard."""
    energy = np.zeros(len(numbers))
    for blocks, offset in zip(signals, offsets, strict=True):
        each = kernel_energy(blocks, stream).cpu().numpy().ravel()
        energy += each[numbers + offset - blocks.first * stream.batch_size]
    return energy > FAINT**2


def write_branch(
    search: Search,
    branch: Branch,
    injections: Injections,
    series: Mapping[str, Float32[np.ndarray, " kernel"]],
    path: Path,
) -> None:
    """Write the events of a branch, and the event nearest to each injection."""
    with writing(path) as out:
        searched = outputs(search.stream, branch.file.duration, branch.shifts)
        out.attrs["Tb"] = len(searched) / search.stream.inference_sampling_rate
        for name, scores in series.items():
            left_out = branch.left_out if name == "background" else NONE
            statistic, time = search.events(scores, branch.file.start, left_out)
            if name == "foreground":
                recovered = nearest(time, injections.time[branch.rows])
                statistic, time = statistic[recovered], time[recovered]
            out[f"{name}/detection_statistic"], out[f"{name}/detection_time"] = statistic, time
            if search.keep_scores:
                out[f"{name}/scores"] = scores


def nearest(
    times: Float[np.ndarray, " event"], wanted: Float[np.ndarray, " injection"]
) -> Int[np.ndarray, " injection"]:
    """Find the nearest of *times*, which ascend, to each that is *wanted*; of two, the first.

    Example:
        >>> nearest(np.array([0.0, 4.0, 6.0]), np.array([-1.0, 2.0, 5.1, 9.0]))
        array([0, 0, 2, 2])
    """
    after = np.searchsorted(times, wanted).clip(min(1, len(times) - 1), len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(wanted - times[before]) <= np.abs(times[after] - wanted), before, after)
