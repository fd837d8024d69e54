"""A training step of the demo, data and all, against the step of its network alone.

Both take turns on the same batch, on one thread; time is that of the process, so that
others on the machine matter less. Of the data, the background (stretches, PSD, whitening)
is timed by itself, as is one kernel a stretch instead of the demo's.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

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

IFOS, RATE, SECONDS, SIGNALS, LENGTH, STEPS = ["H1", "L1"], 1024.0, 1200, 500, 8, 12
DEMO = Path(aframe.pipelines.__file__).parent / "configs" / "demo.yaml"


def write_data(home: Path) -> None:
    """Write noise and bursts; what is in them makes no difference to the time."""
    rng = np.random.default_rng(0)
    noise = 1e-21 * rng.normal(size=(2, int(SECONDS * RATE)))
    write_strain(home / "background", noise, ifos=IFOS, start=1e9, sample_rate=RATE)
    waves = 1e-21 * rng.normal(size=(SIGNALS, int(LENGTH * RATE))).astype(np.float32)
    known = {"sample_rate": RATE, "right_pad": 2.0}
    for name, fields in (("training", ("plus", "cross")), ("val", ("h1", "l1"))):
        ledger = Ledger({}, dict.fromkeys(fields, waves), known)
        write_ledger(home / f"{name}_waveforms.hdf5", ledger)


def load(home: Path, demo: dict, mixture: Mixture) -> AframeData:
    """Open the data with the demo's amounts."""
    data = AframeData(
        ifos=IFOS,
        mixture=mixture,
        batches_per_epoch=STEPS,
        snr=SnrPowerLaw(**demo["snr"]),
        validation=ValidationAmounts(200.0, 60.0),
        data_dir=str(home),
        psd_length=float(demo["psd_length"]),
        fftlength=1.0,
    )
    data.setup("fit")
    return data


def seconds(*functions: Callable[[int], object]) -> list[float]:
    """Median time of each function, all called in turns."""
    taken = []
    for index in range(STEPS + 2):
        taken.append([])
        for function in functions:
            start = time.process_time()
            function(index)
            taken[-1].append(time.process_time() - start)
    return np.median(taken[2:], axis=0).tolist()


def compare(demo: dict, network: ResNet, home: Path) -> None:
    """Print how long each part takes."""
    mixture = Mixture(**demo["mixture"])
    batches = load(home, demo, mixture).training_batches
    single = load(home, demo, replace(mixture, kernels_per_stretch=1)).training_batches
    optimizer = torch.optim.AdamW(network.parameters())

    def step(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(batch[0]), batch[1])
        loss.backward()
        optimizer.step()

    fixed = batches(0)
    whole, bare, noise, alone = seconds(
        lambda index: step(batches(index)),
        lambda _: step(fixed),
        lambda index: batches._noise(index, batches._stream.at(index)),  # noqa: SLF001
        lambda index: single._noise(index, single._stream.at(index)),  # noqa: SLF001
    )
    size = mixture.batch_size
    print(
        f"step with data {1e3 * whole:.0f} ms ({size / whole:.0f} samples/s), network alone "
        f"{1e3 * bare:.0f} ms ({size / bare:.0f} samples/s), ratio {whole / bare:.2f}; background "
        f"{1e3 * noise:.0f} ms, with one kernel a stretch {1e3 * alone:.0f} ms"
    )


def main() -> None:
    """Compare on one thread."""
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, torch {torch.__version__}, {DEMO.name}, one thread")
    content = yaml.safe_load(DEMO.read_text())
    arch = content["model"]["init_args"]["arch"]["init_args"]
    network = ResNet(len(IFOS), **{**arch, "stem": Stem(**arch["stem"])})
    with tempfile.TemporaryDirectory() as name:
        write_data(Path(name))
        compare(content["data"]["init_args"], network, Path(name))


if __name__ == "__main__":
    main()
