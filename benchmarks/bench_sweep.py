"""A network that is swept over whitened blocks, against the same one kernel by kernel.

Twenty minutes of two detectors at 2048 Hz, four kernels a second, the network of
`projects/train/configs/sweep.yaml` with random weights, on one thread. All that a search
does for a slide is counted: reading, whitening, features, scores, events.
"""

import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from aframe.artifacts.preprocessing import Preprocessing, Streaming
from aframe.artifacts.strain import list_strain, write_strain
from aframe_infer import slides
from aframe_infer.injections import Injections
from aframe_infer.kernels import write_blocks
from aframe_infer.repository import Repository, read_repository
from aframe_infer.slides import Branch, Search, analyze
from aframe_train.networks import Sweep

IFOS, RATE, SECONDS = ("H1", "L1"), 2048.0, 1200
CPU = torch.device("cpu")


def write_repository(root: Path) -> Repository:
    """Write the network where inference looks for it."""
    torch.manual_seed(0)
    network, stream = root / "aframe/1", root / "aframe-stream/1"
    network.mkdir(parents=True)
    stream.mkdir(parents=True)
    script = torch.jit.trace(Sweep().eval(), torch.zeros(1, 2, 3072))
    torch.jit.save(script, network / "model.pt")
    Preprocessing(IFOS, RATE, 1.5, 1.0, 2.0, 32.0, None, 8.0).write(network / "preprocessing.json")
    Streaming(4.0, 128, 64.0).write(stream / "streaming.json")
    return read_repository(root, -1)


def seconds(search: Search, branch: Branch, none: Injections, work: Path) -> tuple[float, float]:
    """Time one slide: of this process alone, and of the clock."""
    begin, clock = time.process_time(), time.perf_counter()
    analyze(search, branch, none, work)
    return time.process_time() - begin, time.perf_counter() - clock


def main() -> None:
    """Make noise and a network, and compare."""
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        strain = np.random.default_rng(0).standard_normal((2, int(SECONDS * RATE))) * 1e-21
        write_strain(work / "strain", strain, ifos=IFOS, start=1_240_000_000.0, sample_rate=RATE)
        (file,) = list_strain(work / "strain", IFOS)
        repository = write_repository(work / "model_repo")
        search = Search(repository, 1.5, 8.0, keep_scores=False, device="cpu")
        (work / "background").mkdir()
        begin, clock = time.process_time(), time.perf_counter()
        for ifo in IFOS:
            write_blocks(repository, file, ifo, work / "background", CPU)
        whitening = time.process_time() - begin, time.perf_counter() - clock
        none = Injections.__new__(Injections)
        branch = Branch(file, (0.0, 1.0), np.empty(0, np.int64), "background")
        analyze(search, branch, none, work)
        swept = seconds(search, branch, none, work)
        slides.load_sweep = lambda *_: None
        windows = seconds(search, branch, none, work)
    for label, own in (("processor time", 0), ("clock", 1)):
        print(
            f"{label}: {SECONDS / swept[own]:,.0f} s of strain a second of a slide, kernel by "
            f"kernel {SECONDS / windows[own]:,.0f}, ratio {windows[own] / swept[own]:.1f}; with "
            f"the whitening of a single slide {SECONDS / (swept[own] + whitening[own]):,.0f}"
        )


if __name__ == "__main__":
    main()
