"""Training batches: noise of unit variance, signals of the ratio asked for, right labels."""

import numpy as np
import pytest
import torch

from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener
from aframe_train.background import Background
from aframe_train.batches import Mixture, TrainingBatches, augment
from aframe_train.chunks import Chunks
from aframe_train.injections import Injector
from aframe_train.placement import Placement
from aframe_train.snr import SnrPowerLaw
from aframe_train.waveforms import Stored

CPU = torch.device("cpu")
PSD = 16 * 256


@pytest.fixture
def make(small):
    """Make batches of the small search."""
    strain = [small.noise(1, 128), small.noise(2, 64)]
    waves = torch.from_numpy(small.chirps(1, 40))

    def batches(snr=None, seed=1, **mixture):
        mixture = Mixture(**{"batch_size": 32, "waveform_prob": 0.5, **mixture})
        whitener = Whitener(256.0, 0.5, 0.5, 20.0)
        injector = Injector(("H1", "L1"), whitener, Placement.of(1.0, 0.7, 0.1, 256.0), 384, 512)
        size = PSD + 128 + 256 * mixture.kernels_per_stretch
        return TrainingBatches(
            Chunks(lambda _: Background(strain, size, CPU), None),
            Stored(Chunks(lambda _: waves, None)),
            injector,
            mixture=mixture,
            snr=snr or SnrPowerLaw(),
            psd_size=PSD,
            seed=seed,
            device=CPU,
        )

    return batches


@pytest.mark.parametrize("kernels_per_stretch", [1, 4])
def test_background_has_unit_variance(make, kernels_per_stretch):
    """Whitened noise is white: variance 1 in each detector, mean 0.

    The band is cut at 20 of 128 Hz; a PSD from 16 s is known to 14 %, which adds the
    square of that to the variance.
    """
    batches = make(waveform_prob=0.0, kernels_per_stretch=kernels_per_stretch)
    kernels = torch.cat([batches(index)[0] for index in range(20)])

    assert kernels.shape == (640, 2, 256)
    np.testing.assert_allclose(kernels.var((0, 2)), (1 - 20 / 128) * 1.02, rtol=0.03)
    np.testing.assert_allclose(kernels.mean((0, 2)), 0, atol=0.01)


def test_an_index_makes_its_batch_whatever_came_before(make):
    """Two makers agree on a batch, bit for bit, in whatever order they are asked."""
    one, other = make(), make()
    one(0), one(1)

    for mine, theirs in zip(one(2), other(2), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(one(2)[0], one(3)[0])
    assert not torch.equal(one(2)[0], make(seed=2)(2)[0])


def test_shares_are_those_of_the_batch(make):
    """Labels count exactly the share with a signal, on average over many batches."""
    batches = make(batch_size=10, waveform_prob=0.33, swap_prob=0.12, mute_prob=0.07)
    labels = torch.stack([batches(index)[1] for index in range(100)])

    assert labels.shape == (100, 10, 1)
    assert set(labels.unique().tolist()) == {0.0, 1.0}
    # Each batch has 3 or 4 of them: a scatter of 0.05 in the share, 0.005 in the mean.
    assert labels.mean().item() == pytest.approx(0.33, abs=0.02)


def test_signals_are_added_to_the_background_of_their_kernel(make):
    """Batches with and without signals differ by signals of the ratio asked for.

    The pads leave 0.7 s for a signal that decays by 0.2 s, so 99.9 % of its power is
    in the kernel.
    """
    snr = SnrPowerLaw(minimum=8.0, maximum=8.001)
    quiet, _ = make(waveform_prob=0.0)(5)
    loud, labels = make(snr)(5)
    signals = loud - quiet

    present = signals.abs().amax((1, 2)) > 0
    assert torch.equal(present[:, None].float(), labels)
    np.testing.assert_allclose(signals[present].square().sum((1, 2)), 64, rtol=0.02)


def test_swapped_and_muted_signals_are_labeled_noise(make):
    """They are there, and their label is 0."""
    quiet, _ = make(waveform_prob=0.0)(5)
    loud, labels = make(waveform_prob=0.25, swap_prob=0.25, mute_prob=0.25)(5)
    present = (loud - quiet).abs().amax((1, 2)) > 0

    assert present.sum() == 24
    assert labels.sum() == 8


@pytest.fixture
def sources(make):
    """Tell stretch and place of each kernel of a batch, of 8 stretches of 4 kernels."""
    batches = make(waveform_prob=0.0, kernels_per_stretch=4, inversion_prob=0.0, reversal_prob=0.0)
    whitener = Whitener(256.0, 0.5, 0.5, 20.0)

    def find(index):
        stretches = batches.background.at(index).draw(8, batches._stream.at(index))
        psd = whitener.psd(stretches[..., :PSD])
        parts = whitener(stretches[..., PSD:], psd).unflatten(-1, (4, 256)).movedim(2, 1)
        kernels, mine = batches._noise(index, batches._stream.at(index))
        gaps = (kernels[:, None, None] - parts).abs().amax((-2, -1))
        assert (gaps.flatten(1) < 1e-5).sum(1).tolist() == [1] * 32
        number = gaps.flatten(1).argmin(1)
        torch.testing.assert_close(mine, psd[number // 4], rtol=1e-5, atol=0)
        return number

    return find


def test_whitening_is_that_of_the_search(sources):
    """The shared whitener makes each kernel of its stretch, once, with its first part's PSD."""
    assert sorted(sources(3).tolist()) == list(range(32))


def test_the_place_in_a_stretch_tells_nothing_of_the_label(make, sources):
    """Signals are as often near to the data of the PSD as far from them, and in each stretch."""
    loud = make(waveform_prob=0.5, kernels_per_stretch=4, inversion_prob=0.0, reversal_prob=0.0)
    counts = torch.zeros(32)
    for index in range(100):
        labels = loud(index)[1][:, 0]
        assert labels.sum() == 16
        counts[sources(index)] += labels

    # 400 expected in each place of 8 stretches, with a scatter of at most 14; 50 of 5 in each.
    np.testing.assert_allclose(counts.reshape(8, 4).sum(0), 400, atol=60)
    np.testing.assert_allclose(counts, 50, atol=22)


def test_background_is_turned_over_by_detector():
    """Each detector's series is reversed, inverted, both or neither, a quarter of times each."""
    mixture = Mixture(batch_size=1, waveform_prob=0.0)
    kernels = torch.tensor([1.0, 2.0]).expand(4000, 2, 2)
    found = augment(kernels, mixture, torch.Generator().manual_seed(0)).flatten(0, 1)

    forms, counts = found.unique(dim=0, return_counts=True)
    assert forms.tolist() == [[-2, -1], [-1, -2], [1, 2], [2, 1]]
    # 2000 expected of each, with a scatter of 39.
    assert (counts - 2000).abs().max() < 200


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"waveform_prob": 0.9, "mute_prob": 0.2}, "shares of a batch do not add up"),
        ({"waveform_prob": -0.1}, "shares of a batch do not add up"),
        ({"waveform_prob": 0.5, "kernels_per_stretch": 5}, "no whole number of stretches"),
        ({"waveform_prob": 0.5, "kernels_per_stretch": 0}, "no whole number of stretches"),
        ({"waveform_prob": 0.5, "batch_size": 0}, "no whole number of stretches"),
        ({"waveform_prob": 0.5, "inversion_prob": 2.0}, "cannot be turned over so often"),
        ({"waveform_prob": 0.5, "reversal_prob": -0.5}, "cannot be turned over so often"),
    ],
)
def test_refuses_impossible_mixtures(settings, message):
    """More than the whole, less than nothing, and a fraction of a stretch or none."""
    with pytest.raises(AframeError, match=message):
        Mixture(**{"batch_size": 32, **settings})
