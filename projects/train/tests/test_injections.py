"""Signals in a kernel: projection, signal-to-noise ratio, place, swapping and muting."""

import numpy as np
import pytest
import torch
from ml4gw.gw import compute_network_snr

from aframe.transforms.whitening import Whitener
from aframe_train.injections import Counts, Injector, scale
from aframe_train.placement import Placement


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def psd(small):
    """PSD of the small search's noise, for one signal."""
    strain = torch.from_numpy(small.noise(0, 256))
    return Whitener(256.0, 0.5, 0.5, 20.0).psd(strain)[None]


def make(ifos=("H1", "L1"), pads=(0.25, 0.05), kernel=1.0):
    placement = Placement.of(kernel, *pads, 256.0)
    return Injector(ifos, Whitener(256.0, 0.5, 0.5, 20.0), placement, 384, 512)


def tones(frequencies):
    """Short bursts at the coalescence, ``(2, signal, time)``."""
    time = torch.arange(512) / 256 - 1.5
    phase = 2 * torch.pi * torch.tensor(frequencies)[:, None] * time
    envelope = 1e-21 * torch.exp(-((time / 0.05) ** 2))
    return torch.stack([envelope * phase.cos(), envelope * phase.sin()])


def test_counts_are_right_on_average():
    """Over all roundings the shares are exact, and those of the batch."""
    shares = (0.277, 0.014, 0.055, 0.1)
    drawn = [Counts.of(384, shares, uniform) for uniform in np.arange(2000) / 2000]

    np.testing.assert_allclose(np.mean(drawn, axis=0) / 384, shares, atol=2e-6)
    assert all(abs(sum(counts) - 384 * 0.446) < 1 for counts in drawn)


def test_sources_are_isotropic():
    """The mean of the antenna pattern squared over sky and polarization is 1/5."""
    waves = torch.zeros(2, 40_000, 4)
    waves[0] = 1
    strain = make().project(waves, generator())

    assert strain.shape == (40_000, 2, 4)
    # The scatter of F+^2 is about 0.2, so that of the mean 0.001.
    np.testing.assert_allclose(strain.square().mean((0, 2)), 0.2, atol=0.006)


def test_channels_follow_the_order_of_the_detectors(psd, small):
    """Detectors given the other way round swap the channels and nothing else."""
    waves = torch.from_numpy(small.chirps(3, 5))
    one, other = (
        make(ifos)(waves, of, torch.full((5,), 9.0), Counts(5, 0, 0), generator())
        for ifos, of in ((("H1", "L1"), psd), (("L1", "H1"), psd.flip(1)))
    )

    # The network's ratio is a sum over detectors, whose order rounds differently.
    torch.testing.assert_close(one, other.flip(1), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(one, other)


def test_scaled_signals_have_the_ratio_asked_for():
    """The sum of squares of a whitened signal is its ratio squared."""
    whitened = torch.randn(3, 2, 50, generator=generator())
    snr = torch.tensor([4.0, 10.0, 50.0])

    torch.testing.assert_close(scale(whitened, snr).square().sum((1, 2)), snr**2)


def test_the_ratio_is_the_optimal_one(psd, small):
    """The sum of squares of the whitened strain is 4 times the integral of |h|^2 / S."""
    injector = make()
    strain = injector.project(torch.from_numpy(small.chirps(3, 20)), generator())
    whitened = injector.whiten(strain, psd).square().sum((1, 2)).sqrt()

    expected = compute_network_snr(strain, psd, 256.0, highpass=20.0).float()

    # The whitening filter is truncated, which smooths the PSD and its edge.
    torch.testing.assert_close(whitened, expected, rtol=0.02, atol=0)


def test_a_kernel_holds_the_signal(psd):
    """What lies in the kernel has the ratio asked for, and peaks between the pads."""
    waves = tones([40.0, 60.0, 80.0] * 20)
    injector = make(pads=(0.4, 0.4))
    kernels = injector(waves, psd, torch.full((60,), 12.0), Counts(60, 0, 0), generator())

    np.testing.assert_allclose(kernels.square().sum((1, 2)), 144, rtol=0.02)
    peak = kernels.square().sum(1).argmax(-1) / 256
    # The envelope is 0.05 s wide, and Earth 0.02 s.
    assert 0.33 < peak.min() < 0.42
    assert 0.58 < peak.max() < 0.67


def test_muted_signals_lack_one_detector(psd, small):
    """One channel, either of them, is silent; the other is as it would have been."""
    waves, snr = torch.from_numpy(small.chirps(3, 40)), torch.full((40,), 9.0)
    whole = make()(waves, psd, snr, Counts(40, 0, 0), generator())
    muted = make()(waves, psd, snr, Counts(10, 0, 30), generator())

    torch.testing.assert_close(muted[:10], whole[:10])
    silent = muted[10:].abs().amax(-1) == 0
    assert (silent.sum(1) == 1).all()
    assert 0 < silent[:, 0].sum() < 30
    torch.testing.assert_close(muted[10:][~silent], whole[10:][~silent])


def test_swapped_signals_are_of_two_sources_at_two_times(psd):
    """One channel shows the signal before it in the batch, placed by itself."""
    frequencies = [30.0, 50.0, 70.0, 90.0] * 10
    waves, snr = tones(frequencies), torch.full((40,), 20.0)
    kernels = make()(waves, psd, snr, Counts(8, 32, 0), generator())

    found = np.fft.rfft(kernels.double().numpy()).__abs__().argmax(-1)
    own = np.array(frequencies)[:, None]
    mine = np.abs(found - own) < 8

    assert mine[:8].all()
    assert (mine[8:].sum(1) == 1).all()
    donor = np.roll(own, 1, 0)
    assert (np.abs(found - donor) < 8)[8:][~mine[8:]].all()
    apart = kernels.square().argmax(-1).diff(dim=1).abs()[:, 0] / 256
    assert apart[:8].max() < 0.1
    assert (apart[8:] > 0.1).float().mean() > 0.6
