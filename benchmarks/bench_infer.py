"""The engine of inference beside its network alone, and beside the way it was done before.

Two detectors at 2048 Hz, 4 kernels a second, and the published search's network of 7.2 million
parameters with random weights. All runs on one thread and is told in seconds of its processor's
time, so that other work on the machine disturbs it little; a search runs one such process a core.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.artifacts.preprocessing import Preprocessing, Streaming
from aframe.artifacts.strain import list_strain, write_strain
from aframe_infer.engines import load
from aframe_infer.injections import Injections, read_injections
from aframe_infer.kernels import Kernels, read_blocks, write_blocks
from aframe_infer.repository import Repository, read_repository
from aframe_infer.scores import BATCH
from aframe_infer.slides import Branch, Search, analyze, audible, outputs, whitened_signals
from aframe_train.networks.resnet import ResNet

IFOS, RATE, START, CPU = ("H1", "L1"), 2048.0, 1_240_000_000.0, torch.device("cpu")
PSD, SHIFTS = 64, (0.0, 1.0)
#: Time that is searched in a slide (s); slides, and their length, where the network costs nothing.
SEARCHED, SLIDES, LONG = 256, 20, 2048
#: Blocks of 32 s that are searched in the existing way.
BLOCKS = 4
#: Segments whose search's memory is measured (s).
LENGTHS = (4096, 16384)


class Mean(torch.nn.Module):
    """A network that costs nothing."""

    def forward(self, kernels: torch.Tensor) -> torch.Tensor:
        """Give a kernel's first sample."""
        return kernels[:, 0, :1]


def write_repository(root: Path, network: torch.nn.Module) -> Repository:
    """Write a network where inference looks for it."""
    folder, stream = root / "aframe/1", root / "aframe-stream/1"
    folder.mkdir(parents=True)
    stream.mkdir(parents=True)
    torch.jit.save(torch.jit.trace(network.eval(), torch.zeros(2, 2, 3072)), folder / "model.pt")
    Preprocessing(IFOS, RATE, 1.5, 1.0, 2.5, 32.0, None, 8.0).write(folder / "preprocessing.json")
    Streaming(4.0, 128, float(PSD)).write(stream / "streaming.json")
    return read_repository(root, -1)


def write_data(root: Path, seconds: float) -> Injections:
    """Write noise, and bursts 32 s apart to inject into its first slide."""
    rng = np.random.default_rng(0)
    strain = rng.standard_normal((2, int(seconds * RATE)), np.float32) * 1e-21
    write_strain(root / "strain", strain, ifos=IFOS, start=START, sample_rate=RATE)
    times = np.arange(START + PSD + 8, START + seconds - 8, 32)
    wave = np.zeros((len(times), int(8 * RATE)))
    wave[:, int(5 * RATE) : int(6 * RATE)] = 1e-21 * np.sin(np.arange(int(RATE)) * 0.3)
    parameters = {"injection_time": times, "shift": np.tile(SHIFTS, (len(times), 1))}
    metadata = {"sample_rate": RATE, "duration": 8.0, "right_pad": 2.0, "ifos": list(IFOS)}
    metadata |= {"num_injections": len(times), "prior": "bursts"}
    write_ledger(root / "w.hdf5", Ledger(parameters, {"h1": wave, "l1": wave}, metadata))
    return read_injections(root / "w.hdf5", IFOS, RATE)


def seconds(work: Callable[[], object]) -> float:
    """Time one call, in seconds of this process's processor."""
    start = time.process_time()
    work()
    return time.process_time() - start


def whiten(repository: Repository, root: Path) -> None:
    """Whiten both detectors."""
    (file,) = list_strain(root / "strain", IFOS)
    (root / "background").mkdir(exist_ok=True)
    for ifo in IFOS:
        write_blocks(repository, file, ifo, root / "background", CPU)


def slide(repository: Repository, root: Path, known: Injections, shift: float) -> None:
    """Search a slide, with injections in the first."""
    (file,) = list_strain(root / "strain", IFOS)
    rows = np.arange(len(known.time)) if shift == SHIFTS[1] else np.empty(0, np.int64)
    search = Search(repository, 1.5, 8.0, keep_scores=False, device="cpu")
    analyze(search, Branch(file, (0.0, shift), rows, "background"), known, root)


def scored(repository: Repository, root: Path, known: Injections) -> list[torch.Tensor]:
    """Cut all kernels that the engine scores in the first slide, in its batches."""
    (file,) = list_strain(root / "strain", IFOS)
    search = Search(repository, 1.5, 8.0, keep_scores=False, device="cpu")
    branch = Branch(file, SHIFTS, np.arange(len(known.time)), "background")
    blocks = read_blocks(repository, file, IFOS, root / "background", CPU)
    numbers = search.scored(outputs(repository.stream, file.duration, SHIFTS))
    offsets = search.offsets(SHIFTS)
    added = whitened_signals(search, branch, known, blocks)
    loud = numbers[audible(added, repository.stream, offsets, numbers)]
    kernels = Kernels(blocks, repository.stream, offsets)
    every = kernels(torch.from_numpy(np.concatenate([numbers, loud])))
    return list(every.split(BATCH["cpu"]))


def existing(network: torch.nn.Module, repository: Repository, strain: torch.Tensor) -> None:
    """Whiten every block of both streams of a slide, and score all of it, 128 kernels at a time."""
    stream, whitener = repository.stream, repository.whitener
    with torch.no_grad():
        for block in range(BLOCKS):
            for _ in ("background", "foreground"):
                end = (PSD + 32 * (block + 1)) * int(RATE)
                window = strain[:, end - stream.window_size : end].double()
                begin = max(0, end - stream.window_size - stream.psd_size)
                psd = whitener.psd(strain[:, begin : begin + stream.psd_size].double())
                whitened = whitener(window[None], psd[None])[0]
                network(stream.unfold(whitened).transpose(0, 1).float().contiguous())


def peak(length: str) -> None:
    """Search a segment with a network that costs nothing, and print the peak memory (MB)."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if os.fork() == 0:
            write_data(root, float(length))
            os._exit(0)
        os.wait()
        repository, known = (
            write_repository(root / "model_repo", Mean()),
            read_injections(root / "w.hdf5", IFOS, RATE),
        )
        whiten(repository, root)
        slide(repository, root, known, SHIFTS[1])
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    known_here = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    print((known_here or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss])[0] // 1024)


def compare(root: Path) -> None:
    """Print what a slide costs in the engine, in its network alone, and as it was done before."""
    torch.manual_seed(0)
    network = ResNet(len(IFOS)).eval()
    repository = write_repository(root / "model_repo", network)
    known = write_data(root, PSD + SEARCHED + SHIFTS[1])
    whitening = seconds(lambda: whiten(repository, root))
    alone, batches = load("torchscript", repository, CPU), scored(repository, root, known)
    count = sum(map(len, batches))
    strain = torch.randn(2, int((PSD + SEARCHED) * RATE)) * 1e-21
    with torch.inference_mode():
        for _ in range(2):
            alone(batches[0])
        bare = seconds(lambda: [alone(each) for each in batches[: len(batches) // 2]])
        engine = seconds(lambda: slide(repository, root, known, SHIFTS[1])) + whitening
        bare += seconds(lambda: [alone(each) for each in batches[len(batches) // 2 :]])
    before = seconds(lambda: existing(network, repository, strain)) * SEARCHED / (32 * BLOCKS)
    print(f"a slide of {SEARCHED} s of strain with {len(known.time)} injections, {count} kernels:")
    for name, cost in (
        ("engine, whitening and all else", engine),
        ("its network alone", bare),
        (f"the existing way, {2 * SEARCHED * 4} kernels", before),
    ):
        print(
            f"  {name:38s}{2 * SEARCHED / cost:7.1f} s of strain a second on two cores, "
            f"ratio {cost / engine:.2f}"
        )
    print(f"  engine / network alone: {engine / bare:.3f}; kernels a second and core: ", end="")
    print(f"{count / bare:.0f} alone, {2 * SEARCHED * 4 / before:.0f} the existing way")


def slides_alone(root: Path) -> None:
    """Print what is left where the network costs nothing."""
    known = write_data(root, LONG)
    repository = write_repository(root / "model_repo", Mean())
    whitening = seconds(lambda: whiten(repository, root))
    shifts = range(2, SLIDES + 2)
    sliding = seconds(lambda: [slide(repository, root, known, float(each)) for each in shifts])
    injected = seconds(lambda: slide(repository, root, known, SHIFTS[1]))
    print(f"without a network, {LONG} s, seconds of strain a second on two cores:")
    print(f"  whitening once                {2 * LONG / whitening:10,.0f}")
    print(f"  a slide                       {2 * LONG * SLIDES / sliding:10,.0f}")
    print(f"  a slide with injections       {2 * LONG / injected:10,.0f}")
    whole = whitening + sliding
    print(f"  whitening and {SLIDES} slides       {2 * LONG * SLIDES / whole:10,.0f}")


def main() -> None:
    """Make noise and networks, and compare."""
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}")
    for part in (compare, slides_alone):
        with tempfile.TemporaryDirectory() as name:
            part(Path(name))
    for length in map(str, LENGTHS):
        words = [sys.executable, __file__, length]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        print(f"peak memory of a segment of {length} s: {done.stdout.strip()} MB")


if __name__ == "__main__":
    peak(sys.argv[1]) if len(sys.argv) > 1 else main()
