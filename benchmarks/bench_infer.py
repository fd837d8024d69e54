"""The engine of inference against its network alone, and whitening once against each slide.

An hour of two detectors at 1024 Hz and a network of the demo's size, on one thread. The
network alone scores the engine's own batches, gathered beforehand; both take turns.
"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from aframe.artifacts.preprocessing import Preprocessing, Streaming
from aframe.artifacts.strain import StrainFile, list_strain, write_strain
from aframe_infer.kernels import Kernels, read_blocks, write_blocks
from aframe_infer.repository import Repository, read_repository
from aframe_infer.scores import BATCH, score
from aframe_infer.slides import Search, outputs

IFOS, RATE, SECONDS, TURNS = ("H1", "L1"), 1024.0, 3600, 3
WIDTHS = (16, 16, 16, 32, 32, 64)
CPU = torch.device("cpu")


class Block(torch.nn.Module):
    """Two convolutions beside a shortcut, at half the rate."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.path = torch.nn.Sequential(
            torch.nn.Conv1d(before, after, 7, 2, 3, bias=False),
            torch.nn.GroupNorm(8, after),
            torch.nn.ReLU(),
            torch.nn.Conv1d(after, after, 7, 1, 3, bias=False),
            torch.nn.GroupNorm(8, after),
        )
        self.shortcut = torch.nn.Sequential(
            torch.nn.Conv1d(before, after, 1, 2, bias=False), torch.nn.GroupNorm(8, after)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give what both paths agree on."""
        return torch.relu(self.path(x) + self.shortcut(x))


def write_repository(root: Path) -> Repository:
    """Write a random network of 0.08 million parameters where inference looks for it."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv1d(2, 16, 15, 2, 7, bias=False), torch.nn.GroupNorm(8, 16)]
    layers += [torch.nn.ReLU(), *map(Block, WIDTHS, WIDTHS[1:])]
    layers += [torch.nn.AdaptiveMaxPool1d(1), torch.nn.Flatten(), torch.nn.Linear(64, 1)]
    network, stream = root / "aframe/1", root / "aframe-stream/1"
    network.mkdir(parents=True)
    stream.mkdir(parents=True)
    model = torch.nn.Sequential(*layers).eval()
    torch.jit.save(torch.jit.trace(model, torch.zeros(1, 2, 1536)), network / "model.pt")
    Preprocessing(IFOS, RATE, 1.5, 1.0, 1.0, 32.0, None, 8.0).write(network / "preprocessing.json")
    Streaming(4.0, 4, 8.0).write(stream / "streaming.json")
    return read_repository(root, -1)


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(repository: Repository, file: StrainFile, folder: Path) -> None:
    """Print what a slide costs beside its network, and what whitening adds."""
    search = Search(repository, 1.5, 8.0, keep_scores=False, device="cpu")
    whitening = seconds(lambda: [write_blocks(repository, file, ifo, folder, CPU) for ifo in IFOS])
    network = repository.load_network(CPU)
    blocks = read_blocks(repository, file, IFOS, folder, CPU)
    kernels = Kernels(blocks, repository.stream, (0, 4))
    numbers = outputs(repository.stream, SECONDS, (0.0, 1.0))
    batches = [kernels(part) for part in torch.from_numpy(numbers).split(BATCH["cpu"])]

    def engine() -> None:
        search.events(score(network, kernels, numbers, CPU), file.start)

    def alone() -> None:
        with torch.inference_mode():
            for batch in batches:
                network(batch)

    alone()
    times = np.array([(seconds(engine), seconds(alone)) for _ in range(TURNS)])
    ours, theirs = np.median(times, axis=0)
    print(
        f"one slide, {len(numbers):,} kernels: {len(numbers) / ours:,.0f} a second, the network "
        f"alone {len(numbers) / theirs:,.0f}, ratio {np.median(times[:, 0] / times[:, 1]):.3f}"
    )
    print(
        f"whitening an hour of two detectors {whitening:.1f} s: "
        f"{whitening / (whitening + 6 * ours):.0%} of six slides, against "
        f"{6 * whitening / (6 * whitening + 6 * ours):.0%} if each slide were whitened anew"
    )
    print(f"six slides: {6 * SECONDS / (whitening + 6 * ours):,.0f} s of strain a second")


def main() -> None:
    """Make noise and a network, and compare."""
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        strain = np.random.default_rng(0).standard_normal((2, int(SECONDS * RATE))) * 1e-21
        write_strain(folder / "strain", strain, ifos=IFOS, start=1_240_000_000.0, sample_rate=RATE)
        (file,) = list_strain(folder / "strain", IFOS)
        compare(write_repository(folder / "model_repo"), file, folder)


if __name__ == "__main__":
    main()
