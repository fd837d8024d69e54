"""The training configurations that are shipped."""

import importlib
import inspect
import json
import math
import re
from pathlib import Path

import jsonargparse
import pytest
import torch
import yaml

import aframe.pipelines
from aframe_train import model
from aframe_train.metric import TimeSlideAUROC, auroc
from aframe_train.trainer import train

PRESETS = sorted((Path(aframe.pipelines.__file__).parent / "configs").glob("*.yaml"))
FAMILIES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
#: Parameters of each network, and of the whole search what the .cfg hands over.
SIZES = {
    "demo": 80_961,
    "bbh": 7_219_201,
    "bns": 21_282_049,
    "resnet54": 24_615_681,
    "s4": 200_193,
    "sweep": 411_969,
    "wavenet": 509_313,
    "xylophone": 792_673,
    "spectrogram": 21_282_049,
    "qtransform": 21_282_049,
    "multimodal": 14_504_065,
    "autoencoder": 93_380,
    "heterodyne": 58_851_969,
}
BATCH_NORM = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
#: What does not fit kernels of a second.
SHORTER = {"bns": ["--model.arch.init_args.representation.init_args.q=8"]}
#: What kernels of a second at 256 Hz have no room for, and what one core has no time for.
SMALLER = {
    "s4": ["d_model=32", "n_layers=2"],
    "wavenet": ["res_channels=16", "layers_per_block=7"],
    "sweep": ["stem=16", "widths=[16,32]", "kernel_size=5"],
    "bns": ["representation.init_args.q=8"],
    "heterodyne": [
        f"representation.init_args.{each}" for each in ("number=8", "lowest=8", "highest=20")
    ],
}
NARROW = ("widths=[8,16,32,64]", "stem.width=8", "norm_groups=8")
#: Of the autoencoder's loss, less the score, noise makes 2; of the others ln 2 is chance.
FAR_BELOW_CHANCE = {"autoencoder": -6.0}
MSUN_SECONDS = 4.925491e-6
HANDED_OVER = {
    "ifos", "sample_rate", "kernel_length", "fduration", "fftlength", "highpass", "lowpass", "seed",
    "data_dir", "background_dir", "training_waveforms", "validation_waveforms",
}  # fmt: skip


def test_every_preset_is_known():
    """A new preset comes with its row here."""
    assert {path.stem for path in (*PRESETS, *FAMILIES)} == set(SIZES)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_trains(path, data_dir, small, tmp_path):
    """Its network is of the size it says, and learns from small data for two steps."""
    preprocessing = [
        f"--data.{name}={'null' if value is None else value}"
        for name, value in small.PREPROCESSING.items()
    ]
    amounts = {"batch_size": 16, "kernels_per_stretch": 2}
    validation = {"min_valid_duration": 60, "valid_livetime": 8}
    cli = train(
        ["--config", str(path), "--data.ifos=[H1,L1]", "--data.data_dir", str(data_dir),
         f"--trainer.logger.save_dir={tmp_path}", "--trainer.max_epochs=1",
         "--trainer.accelerator=cpu", "--data.batches_per_epoch=2", "--data.psd_length=4",
         "--data.left_pad=0.25", *preprocessing, *SHORTER.get(path.stem, ()),
         *(f"--data.mixture.{name}={value}" for name, value in amounts.items()),
         *(f"--data.validation.{name}={value}" for name, value in validation.items())]
    )  # fmt: skip

    assert sum(each.numel() for each in cli.model.arch.parameters()) == SIZES[path.stem]
    assert cli.trainer.global_step == 2
    assert torch.jit.load(tmp_path / "model.pt")(torch.zeros(3, 2, 256)).shape == (3, 1)


def built(path, *words, **told):
    """Make the network that *path* describes, with what *words* change as on a command line."""
    described = yaml.safe_load(path.read_text())["model"]["init_args"]["arch"]
    module, name = described["class_path"].rsplit(".", 1)
    asked = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    init_args = {**{key: told[key] for key in told if key in asked}, **described["init_args"]}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(torch.nn.Module, "arch")
    arch = json.dumps({**described, "init_args": init_args})
    config = parser.parse_args([f"--arch={arch}", *(f"--arch.init_args.{each}" for each in words)])
    return parser.instantiate_classes(config).arch.eval()


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
def test_a_family_has_its_size(path):
    """Its network is of the size it says, and learns with all of its parameters.

    A parameter without a part in the loss would stop a training on several devices. That it
    trains and is exported is seen in `tests/end_to_end/test_families.py`.
    """
    network = built(
        path, num_ifos=2, sample_rate=2048.0, kernel_length=1.5, highpass=32.0, lowpass=None
    )
    size = sum(each.numel() for each in network.parameters())

    assert size == SIZES[path.stem]
    # The file says so too, in millions.
    stated = re.search(r"([0-9.]+) million parameters", path.read_text())[1]
    assert stated == f"{size / 1e6:.{len(stated.split('.')[1])}f}"
    assert not any(isinstance(each, BATCH_NORM) for each in network.modules())
    scores = network(torch.randn(1, 2, 3072))
    assert scores.shape == (1, 1)
    scores.sum().backward()
    assert [name for name, each in network.named_parameters() if each.grad is None] == []


@pytest.mark.parametrize("path", [*PRESETS, *FAMILIES], ids=lambda path: path.stem)
def test_no_number_stands_twice(path):
    """What the run's .cfg says is not said again."""
    data = yaml.safe_load(path.read_text())["data"]["init_args"]

    assert not HANDED_OVER & set(data)


def narrowed(settings, place=""):
    """Name what makes each published residual network of *settings* an eighth as wide."""
    if not isinstance(settings, dict):
        return []
    if settings.get("class_path", "").endswith(".ResNet") and "widths" not in settings["init_args"]:
        return [place + each for each in NARROW]
    return [
        word
        for key, value in settings.items()
        for word in narrowed(value, f"{place}{key}." if place or key != "init_args" else place)
    ]


def batch(generator, count, first=0.25, last=0.95):
    """Kernels of 1 s at 256 Hz: loud inspirals in white noise, then as many of noise alone.

    Phases of the leading post-Newtonian order, of chirp masses of 8 to 20 Msun, coalescing
    from *first* to *last* (s), with network signal-to-noise ratios of 15 to 40; upside down
    and 8 ms later in the second detector.
    """

    def uniform(low, high):
        return low + (high - low) * torch.rand(count, 1, 1, generator=generator)

    left = uniform(first, last) - torch.arange(256) / 256
    tau = left.clamp_min(1 / 256)
    phase = -2 * (tau / (5 * MSUN_SECONDS * uniform(8, 20))) ** 0.625
    # Short, as the band leaves those of heavy ones.
    wave = (left > 0) * torch.exp(-tau / 0.05) * torch.cos(phase + uniform(0, 2 * math.pi))
    waves = torch.cat([wave, -wave.roll(2, -1)], 1)
    waves *= uniform(15, 40) / waves.square().sum((1, 2), keepdim=True).sqrt()
    kernels = torch.randn(2 * count, 2, 256, generator=generator)
    kernels[:count] += waves
    return kernels, (torch.arange(2 * count) < count).float()[:, None]


@pytest.mark.parametrize("path", [*PRESETS, *FAMILIES], ids=lambda path: path.stem)
def test_a_family_learns(path):
    """At its own learning rate, until it tells loud signals that it has not seen from noise.

    Wherever in the kernel they end, so a network that is deaf to a part of it fails.
    """
    torch.manual_seed(0)
    settings = yaml.safe_load(path.read_text())["model"]
    words = [*narrowed(settings["init_args"]["arch"]), *SMALLER.get(path.stem, ())]
    network = built(
        path, *words, num_ifos=2, sample_rate=256.0, kernel_length=1.0, highpass=20.0, lowpass=None
    )
    kind = getattr(model, settings["class_path"].rsplit(".", 1)[1])
    rate = settings["init_args"]["learning_rate"]
    loss = kind(network, TimeSlideAUROC(), rate, pct_lr_ramp=0.1).loss
    optimizer = torch.optim.AdamW(model.parameter_groups(network, rate), weight_decay=0)
    drawn = torch.Generator().manual_seed(1)
    edges = (0.25, 0.5, 0.85, 0.95)
    unseen = [batch(torch.Generator().manual_seed(2), 24, *edges[n : n + 2]) for n in range(3)]

    def worst():
        network.eval()
        with torch.no_grad():
            return max(float(loss(network(kernels), labels)) for kernels, labels in unseen)

    goal = FAR_BELOW_CHANCE.get(path.stem, math.log(2) / 2)
    before = found = worst()
    steps = 0
    while found > goal and steps < 250:
        network.train()
        for _ in range(10):
            kernels, labels = batch(drawn, 16)
            optimizer.zero_grad()
            loss(network(kernels), labels).backward()
            optimizer.step()
        steps, found = steps + 10, worst()

    assert found < goal < before
    with torch.no_grad():
        scores = torch.cat([network(kernels)[:, 0].view(2, -1) for kernels, _ in unseen], 1)
    assert auroc(scores[1], scores[0], 1.0) > 0.9
