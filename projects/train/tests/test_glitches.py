"""Glitches: in one detector, where and as loud as they should be, labeled noise."""

import numpy as np
import pytest
import torch

from aframe.artifacts.preprocessing import Preprocessing
from aframe.artifacts.strain import list_strain, write_strain
from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener
from aframe_train.background import Stretch
from aframe_train.batches import Mixture
from aframe_train.data import AframeData
from aframe_train.glitches import GlitchSettings, SineGaussians, read_table, real_glitches
from aframe_train.snr import SnrPowerLaw
from aframe_train.trainer import train
from aframe_train.validation import ValidationAmounts

PREPROCESSING = Preprocessing(("H1", "L1"), 256.0, 1.0, 0.5, 0.5, 20.0, None, 4.0)

#: A kernel of a second after a PSD of four; more glitches than any test has.
SIZES = {"psd_size": 1024, "kernel": 256, "most": 100, "seed": 3}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_sine_gaussian_is_in_one_detector_and_as_loud_as_asked():
    """What is added has a norm within the range of ratios, half of the time in each detector."""
    make = SineGaussians(GlitchSettings(minimum=5, maximum=80), PREPROCESSING)
    kernels = torch.randn(2000, 2, 256, generator=generator())
    added = make(kernels, generator(1)) - kernels
    loudness = added.norm(dim=-1)
    found = loudness.amax(1)

    assert (loudness.amin(1) == 0).all()
    assert found.min() > 4.99
    assert found.max() < 80.01
    assert found.log().mean() == pytest.approx(np.log(20), abs=0.06)  # of 5 and 80
    assert (loudness[:, 0] > 0).float().mean() == pytest.approx(0.5, abs=0.04)


def test_sine_gaussians_lie_in_the_band_and_anywhere_in_the_kernel():
    """By the mean of frequency and of time that their power has."""
    make = SineGaussians(GlitchSettings(lowest_q=20, highest_q=30), PREPROCESSING)
    added = make(torch.zeros(2000, 2, 2560), generator()).sum(1)
    power = torch.fft.rfft(added).abs().square()
    frequency = (power * torch.fft.rfftfreq(2560, 1 / 256)).sum(-1) / power.sum(-1)
    time = (added.square() * torch.arange(2560)).sum(-1) / added.square().sum(-1)

    # The width of the widest adds to the lowest and highest frequency.
    assert 17 < frequency.min() < 25
    assert 110 < frequency.max() < 129
    assert torch.histc(time, 4, 0, 2560).min() > 2000 / 4 * 0.8


@pytest.fixture
def planted(tmp_path, small):
    """Strain with a pulse in H1 each 16 s, and a table of them."""
    strain = small.noise(5, 64)
    times = np.arange(12, 64, 16)
    strain[0, times * 256] += 3e-20
    write_strain(tmp_path, strain, ifos=small.IFOS, start=small.START, sample_rate=small.RATE)
    rows = [f"{small.START + time},H1,Blip" for time in times]
    table = tmp_path / "glitches.csv"
    table.write_text("\n".join(["event_time,ifo,ml_label", *rows, f"{small.START + 20},V1,Koi"]))
    return table, [Stretch(file, *file.segment) for file in list_strain(tmp_path, small.IFOS)]


def test_real_glitches_are_whitened_and_anywhere_in_the_kernel(planted):
    """The pulse is in each kernel, in its detector alone; the other is left as it was."""
    table, stretches = planted
    whitener = Whitener(256.0, 0.5, 0.5, 20.0)
    make = real_glitches(table, stretches, ("H1", "L1"), whitener, **SIZES)
    kernels = torch.zeros(400, 2, 256)
    found = make(kernels, generator())
    place = found[:, 0].abs().argmax(-1)

    assert make.windows.shape == (4, 512)
    assert torch.equal(kernels, torch.zeros(400, 2, 256))
    assert (found[:, 1] == 0).all()
    assert found[:, 0].abs().amax(-1).min() > 8
    assert make.windows[:, :200].var() == pytest.approx(0.84, abs=0.15)  # 20 of 128 Hz are cut
    assert place.min() < 8
    assert place.max() > 247
    assert torch.histc(place.float(), 4, 0, 256).min() > 60


def test_of_too_many_glitches_some_are_held(planted):
    """As many as there is memory for, the same for a seed, and none twice."""
    table, stretches = planted
    whitener = Whitener(256.0, 0.5, 0.5, 20.0)

    def held(**changes):
        return real_glitches(table, stretches, ("H1",), whitener, **{**SIZES, **changes}).windows

    everything, some = held(), held(most=2)
    rows = [row for row in everything if any(torch.equal(row, each) for each in some)]
    others = [held(most=2, seed=seed) for seed in range(5)]

    assert some.shape == (2, 512)
    assert len(rows) == 2
    assert torch.equal(held(most=2), some)
    assert not all(torch.equal(other, some) for other in others)


def test_the_table_names_detectors_and_times(planted, small):
    """Of the detectors that are searched."""
    assert read_table(planted[0], ("H1", "L1"))[1] == ("H1", small.START + 28)
    assert read_table(planted[0], ("V1",)) == [("V1", small.START + 20)]


@pytest.mark.parametrize("text", ["time,ifo\n1,H1\n", "event_time,ifo\nsoon,H1\n", None])
def test_refuses_a_table_that_is_none(tmp_path, text):
    """Columns by other names, times that are no numbers, no file."""
    table = tmp_path / "table.csv"
    if text is not None:
        table.write_text(text)

    with pytest.raises(AframeError, match="table of glitches cannot be read"):
        read_table(table, ("H1",))


def test_refuses_glitches_outside_of_the_strain(planted):
    """The strain before a glitch must hold its PSD."""
    table, stretches = planted
    whitener = Whitener(256.0, 0.5, 0.5, 20.0)

    with pytest.raises(AframeError, match="no glitch lies in the training strain"):
        real_glitches(table, stretches, ("L1",), whitener, **SIZES)


@pytest.mark.parametrize("change", [{"minimum": 0}, {"maximum": 1}, {"lowest_q": 50}])
def test_refuses_empty_ranges(change):
    """Ratios and qualities in order, above zero."""
    with pytest.raises(AframeError, match="glitches cannot be drawn"):
        GlitchSettings(**change)


@pytest.mark.parametrize("real", [False, True])
def test_a_share_of_the_batch_has_a_glitch_and_is_noise(data_dir, tmp_path, small, real):
    """As many as asked for over many batches, beside the signals; else the batch is the same."""
    table = tmp_path / "table.csv"
    table.write_text(f"event_time,ifo\n{small.START + 20},L1\n{small.START + 40},H1\n")
    glitches = GlitchSettings(table if real else None, minimum=1000, maximum=1000)

    def batches(share):
        data = AframeData(
            ifos=list(small.IFOS),
            mixture=Mixture(16, 0.3, 2, glitch_prob=share),
            batches_per_epoch=4,
            snr=SnrPowerLaw(minimum=6, maximum=10),
            validation=ValidationAmounts(60, 60),
            glitches=glitches if share else GlitchSettings(),
            data_dir=str(data_dir),
            psd_length=4.0,
            **small.PREPROCESSING,
        )
        data.setup("fit")
        return [data.training_batches(index) for index in range(20)]

    without, with_some = batches(0.0), batches(0.2)
    changed = [
        (kernels != before).any(-1)
        for (kernels, _), (before, _) in zip(with_some, without, strict=True)
    ]
    share = torch.cat(changed).any(1).float().mean()
    labels = [torch.cat([labels for _, labels in each]) for each in (without, with_some)]

    assert share == pytest.approx(0.2, abs=1 / 16)
    assert torch.cat(changed).sum(1).max() == 1  # one detector
    assert torch.equal(*labels)
    assert labels[1].mean() == pytest.approx(0.3, abs=1 / 16)
    assert not labels[1][torch.cat(changed).any(1)].any()


def test_a_configuration_names_the_table(config, data_dir, tmp_path, small):
    """As `glitches: {table: …}`, which config.yaml repeats."""
    table = tmp_path / "table.csv"
    table.write_text(f"event_time,ifo\n{small.START + 20},L1\n")
    text = config.read_text().replace("{batch_size: 16,", "{batch_size: 16, glitch_prob: 0.2,")
    text = text.replace("    snr:", f"    glitches: {{table: {table}}}\n    snr:")
    config.write_text(text)
    words = [f"--data.{name}={value}" for name, value in small.PREPROCESSING.items() if value]
    short = ["--trainer.max_epochs=1", "--data.batches_per_epoch=2"]
    cli = train(
        ["--config", str(config), "--data.ifos=[H1,L1]", "--data.data_dir", str(data_dir),
         f"--trainer.logger.save_dir={tmp_path / 'run'}", *words, *short]
    )  # fmt: skip

    assert len(cli.datamodule.training_batches.glitches.windows) == 1
    assert str(table) in (tmp_path / "run" / "config.yaml").read_text()
