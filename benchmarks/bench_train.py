"""A training step, data and all, against the step of its network alone: the demo's and bbh's.

Both take turns on the same batch, on one thread; time is that of the process, so that
others on the machine matter less. Of the data, the background (stretches, PSD, whitening)
is timed by itself, as is one kernel a stretch instead of the configuration's. Of bbh the
batch is a part of the real one, since on a processor that takes minutes; times are in
proportion. The demo's network is tiny, so that its data weigh more: the data of bbh are to
add at most 15 % to its step.

Where there is a GPU, the whole batch of bbh is trained on there too, by the clock: in bfloat16
with the network compiled, and in single precision as it stands, with the data and without.
"""

import copy
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
import yaml

import aframe.pipelines
from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.artifacts.strain import write_strain
from aframe_train.batches import Mixture
from aframe_train.data import AframeData
from aframe_train.networks import ResNet, Stem
from aframe_train.snr import SnrPowerLaw
from aframe_train.validation import ValidationAmounts

IFOS, SECONDS, SIGNALS, LENGTH = ["H1", "L1"], 1200, 500, 8
WARM_UP, GPU_STEPS = 10, 50
CONFIGS = Path(aframe.pipelines.__file__).parent / "configs"


class Case(NamedTuple):
    """A configuration, the rate (Hz) and Welch segments (s) of its .cfg, and what is measured."""

    name: str
    rate: float
    fftlength: float | None
    batch_size: int | None
    steps: int


CASES = (Case("demo", 1024.0, 1.0, None, 12), Case("bbh", 2048.0, None, 48, 4))


def write_data(home: Path, rate: float) -> None:
    """Write noise and bursts; what is in them makes no difference to the time."""
    rng = np.random.default_rng(0)
    noise = 1e-21 * rng.normal(size=(2, int(SECONDS * rate)))
    write_strain(home / "background", noise, ifos=IFOS, start=1e9, sample_rate=rate)
    waves = 1e-21 * rng.normal(size=(SIGNALS, int(LENGTH * rate))).astype(np.float32)
    known = {"sample_rate": rate, "right_pad": 2.0}
    for name, fields in (("training", ("plus", "cross")), ("val", ("h1", "l1"))):
        ledger = Ledger({}, dict.fromkeys(fields, waves), known)
        write_ledger(home / f"{name}_waveforms.hdf5", ledger)


def load(
    home: Path, content: dict, mixture: Mixture, fftlength: float | None, device: str = "cpu"
) -> AframeData:
    """Open the data with the configuration's amounts."""
    data = AframeData(
        ifos=IFOS,
        mixture=mixture,
        batches_per_epoch=100,
        snr=SnrPowerLaw(**content["snr"]),
        validation=ValidationAmounts(200.0, 60.0),
        data_dir=str(home),
        psd_length=float(content["psd_length"]),
        fftlength=fftlength,
    )
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1)
    data.setup("fit")
    return data


def seconds(steps: int, *functions: Callable[[int], object]) -> list[float]:
    """Median time of each function, all called in turns."""
    taken = []
    for index in range(steps + 1):
        taken.append([])
        for function in functions:
            start = time.process_time()
            function(index)
            taken[-1].append(time.process_time() - start)
    return np.median(taken[1:], axis=0).tolist()


def compare(case: Case, content: dict, network: ResNet, home: Path) -> None:
    """Print how long each part takes."""
    mixture = Mixture(**content["mixture"])
    mixture = replace(mixture, batch_size=case.batch_size or mixture.batch_size)
    batches = load(home, content, mixture, case.fftlength).training_batches
    sparse = replace(mixture, kernels_per_stretch=1)
    single = load(home, content, sparse, case.fftlength).training_batches
    optimizer = torch.optim.AdamW(network.parameters())

    def step(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(batch[0]), batch[1])
        loss.backward()
        optimizer.step()

    fixed = batches(0)
    whole, bare, noise, alone = seconds(
        case.steps,
        lambda index: step(batches(index)),
        lambda _: step(fixed),
        lambda index: batches._noise(index, batches._stream.at(index)),  # noqa: SLF001
        lambda index: single._noise(index, single._stream.at(index)),  # noqa: SLF001
    )
    size = mixture.batch_size
    print(
        f"{case.name}, {size} kernels: step with data {1e3 * whole:.0f} ms "
        f"({size / whole:.0f} samples/s), network alone "
        f"{1e3 * bare:.0f} ms ({size / bare:.0f} samples/s), ratio {whole / bare:.2f}; background "
        f"{1e3 * noise:.0f} ms, with one kernel a stretch {1e3 * alone:.0f} ms"
    )


def throughput(
    network: torch.nn.Module, batches: Callable[[int], tuple], device: str, *, half: bool
) -> float:
    """Samples a second of a training on *device*, in half precision and compiled or neither."""
    optimizer = torch.optim.AdamW(network.parameters())
    score = torch.compile(network) if half else network
    begun = 0.0
    for index in range(WARM_UP + GPU_STEPS):
        if index == WARM_UP:
            wait(device)
            begun = time.perf_counter()
        kernels, labels = batches(index)
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(score(kernels), labels)
        loss.backward()
        optimizer.step()
    wait(device)
    return GPU_STEPS * len(labels) / (time.perf_counter() - begun)


def wait(device: str) -> None:
    """Let the device end what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def on_gpu(case: Case, content: dict, network: ResNet, home: Path, device: str = "cuda") -> None:
    """Print the speed of whole steps and of the bare network's."""
    data = load(home, content, Mixture(**content["mixture"]), case.fftlength, device)
    fixed = data.training_batches(0)
    for half in (True, False):
        one = copy.deepcopy(network).to(device)
        whole = throughput(one, data.training_batches, device, half=half)
        bare = throughput(one, lambda _: fixed, device, half=half)
        print(
            f"{case.name} on {torch.cuda.get_device_name()}, batches of {len(fixed[0])}, "
            f"{'bfloat16, compiled' if half else 'float32, eager'}: {whole:.0f} samples/s with "
            f"data, network alone {bare:.0f} samples/s, ratio {bare / whole:.2f}"
        )


def measure(case: Case) -> None:
    """Compare the steps of a configuration."""
    content = yaml.safe_load((CONFIGS / f"{case.name}.yaml").read_text())
    arch = content["model"]["init_args"]["arch"]["init_args"]
    stem = {"stem": Stem(**arch["stem"])} if "stem" in arch else {}
    network = ResNet(len(IFOS), **{**arch, **stem})
    with tempfile.TemporaryDirectory() as name:
        write_data(Path(name), case.rate)
        compare(case, content["data"]["init_args"], network, Path(name))
        if case.name == "bbh" and torch.cuda.is_available():
            on_gpu(case, content["data"]["init_args"], network, Path(name))


def main() -> None:
    """Compare on one thread."""
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, one thread")
    for case in CASES:
        measure(case)


if __name__ == "__main__":
    main()
