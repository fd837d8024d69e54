"""Representations of kernels, against those of ml4gw and closed forms."""

import math

import pytest
import torch
from ml4gw.transforms import MultiResolutionSpectrogram as TheirSpectrogram
from ml4gw.transforms import SingleQTransform
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aframe.errors import AframeError
from aframe_train.representations import (
    Heterodyned,
    Kernels,
    MultiResolutionSpectrogram,
    QTransform,
    Spectrum,
)

KERNELS = Kernels(512.0, 1.5, 32.0)
ALL = {
    "spectrogram": MultiResolutionSpectrogram,
    "Q-transform": QTransform,
    "spectrum": Spectrum,
    "heterodyned": lambda kernels: Heterodyned(kernels, number=3, keep=0.5),
}


def white(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ALL)
def test_a_kernel_is_shown_alone(name):
    """No kernel and no detector is seen in another's representation, however many there are."""
    make = ALL[name](KERNELS)
    kernels = white(3, 2, KERNELS.size)
    found = make(kernels)

    torch.testing.assert_close(make(kernels[1:2]), found[1:2])
    alone = torch.cat([make(kernels[:, :1]), make(kernels[:, 1:])], 1)
    if name == "spectrum":  # all real parts come first
        alone = alone.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(alone, found)


@pytest.mark.parametrize("name", ALL)
def test_a_traced_representation_takes_any_number(name):
    """TorchScript traced with four kernels is right for one and for seven."""
    make = ALL[name](KERNELS)
    traced = torch.jit.trace(make, white(4, 2, KERNELS.size), check_trace=False)

    for count in (1, 7):
        kernels = white(count, 2, KERNELS.size, seed=count)
        torch.testing.assert_close(traced(kernels), make(kernels))


@pytest.mark.parametrize("name", ALL)
def test_averages_of_weights_leave_a_representation_alone(name):
    """Its numbers are all finite, and the average of equal ones is the same one."""
    make = ALL[name](KERNELS)
    network = torch.nn.Sequential(make, torch.nn.Linear(1, 1))
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.998), use_buffers=True)
    for _ in range(3):
        averaged.update_parameters(network)

    for found, wanted in zip(averaged.module.buffers(), make.buffers(), strict=True):
        assert torch.isfinite(wanted).all()
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("windows", [(0.125,), (0.0625, 0.125, 0.25)])
def test_spectrograms_are_those_of_ml4gw(windows):
    """Power in each place, up to which of two neighbors is nearest."""
    sizes = [round(window * KERNELS.sample_rate) for window in windows]
    theirs = TheirSpectrogram(KERNELS.length, KERNELS.sample_rate, n_fft=sizes)
    kernels = white(2, 2, KERNELS.size)

    torch.testing.assert_close(
        MultiResolutionSpectrogram(KERNELS, windows)(kernels), theirs(kernels)
    )


def test_white_noise_has_unit_power():
    """Whatever the window, apart from its mean and Nyquist and the mirrored ends."""
    for window in (0.0625, 0.25):
        power = MultiResolutionSpectrogram(KERNELS, (window,))(white(64, 2, KERNELS.size))
        assert power[..., 1:-1, 1:-1].mean() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("q", [8.0, 12.0, 25.0])
def test_q_transforms_are_those_of_ml4gw(q):
    """Energy in each place."""
    found = QTransform(KERNELS, q, (32, 48))
    high = 256 / (1 + 11**0.5 / q)
    theirs = SingleQTransform(1.5, 512.0, (32, 48), q, frange=[32.0, high])
    kernels = white(3, 2, KERNELS.size)

    torch.testing.assert_close(found(kernels), theirs(kernels), rtol=1e-4, atol=1e-4)


def test_a_sine_gaussian_is_loudest_where_it_is():
    """At its frequency and time."""
    time = torch.arange(KERNELS.size) / KERNELS.sample_rate
    burst = torch.exp(-(((time - 0.9) / 0.05) ** 2)) * torch.sin(2 * math.pi * 100 * time)
    make = QTransform(KERNELS, 12.0, (64, 150))
    energy = make(20 * burst + white(1, 1, KERNELS.size))[0, 0]
    row, column = divmod(int(energy.argmax()), 150)
    low, high = float(make.frequencies[0]), float(make.frequencies[-1])

    assert low * (high / low) ** (row / 63) == pytest.approx(100, rel=0.06)
    assert column / 100 == pytest.approx(0.9, abs=0.03)


def test_the_spectrum_keeps_the_band():
    """A sine in the band gives its phase and amplitude in one bin; one below gives nothing."""
    time = torch.arange(KERNELS.size) / KERNELS.sample_rate
    inside, below = torch.cos(2 * math.pi * 64 * time), torch.cos(2 * math.pi * 20 * time)
    found = Spectrum(KERNELS)(torch.stack([inside, below])[None])
    real, imaginary = found[0].unflatten(0, (2, 2))
    amplitude = math.sqrt(KERNELS.size / 2)

    assert found.shape == (1, 4, (256 - 32) * 1.5)
    assert real[0, (64 - 32) * 3 // 2] == pytest.approx(amplitude, rel=1e-4)
    assert real[0].square().sum() == pytest.approx(amplitude**2, rel=1e-4)
    assert imaginary[0].abs().max() < 1e-2
    assert real[1].abs().max() < 1e-2


def test_the_spectrum_of_white_noise_has_its_variance():
    """One for each number."""
    assert Spectrum(KERNELS)(white(64, 2, KERNELS.size)).var() == pytest.approx(1, rel=0.02)


def test_an_inspiral_becomes_a_pulse():
    """At its own chirp mass a leading-order inspiral of seconds lasts some milliseconds."""
    kernels = Kernels(1024.0, 8.0)
    masses = (1.0, 1.2, 1.44)
    frequency = torch.fft.rfftfreq(kernels.size, 1 / kernels.sample_rate).double()
    solar_mass = 4.925490947641267e-6  # s
    phase = 3 / 128 * (math.pi * masses[1] * solar_mass * frequency[1:]) ** (-5 / 3)
    coalescence = 7.0
    inspiral = torch.zeros(len(frequency), dtype=torch.cdouble)
    inspiral[1:] = frequency[1:] ** (-7 / 6) * torch.exp(
        -1j * (phase + 2 * math.pi * frequency[1:] * coalescence)
    )
    inspiral[(frequency < 40) | (frequency > 400)] = 0
    series = torch.fft.irfft(inspiral).float()[None, None]
    found = Heterodyned(kernels, masses[0], masses[2], 3)(series)[0]
    near = slice(round(6.98 * 1024), round(7.02 * 1024))
    share = found[:, near].square().sum(-1) / found.square().sum(-1)

    assert found.shape == (3, kernels.size)
    assert share[1] > 0.9
    assert share[0] < 0.2
    assert share[2] < 0.2
    assert series[0, 0, near].square().sum() < 0.2 * series.square().sum()


def test_the_end_is_kept():
    """As much as asked for."""
    whole = Heterodyned(KERNELS, number=2)(white(1, 2, KERNELS.size))
    kept = Heterodyned(KERNELS, number=2, keep=0.25)(white(1, 2, KERNELS.size))

    assert whole.shape == (1, 4, 768)
    torch.testing.assert_close(kept, whole[..., -128:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiResolutionSpectrogram(KERNELS, (2.0,)), "does not fit the kernel"),
        (lambda: MultiResolutionSpectrogram(KERNELS, (0.001,)), "does not fit the kernel"),
        (lambda: MultiResolutionSpectrogram(KERNELS, ()), "does not fit the kernel"),
        (lambda: QTransform(Kernels(64.0, 1.0, 30.0)), "no frequency in the band"),
        (lambda: Heterodyned(KERNELS, 2.0, 1.0), "cannot be heterodyned"),
        (lambda: Heterodyned(KERNELS, keep=2.0), "cannot be heterodyned"),
    ],
)
def test_refuses_what_cannot_be_shown(make, message):
    """Windows longer than the kernel, bands without a row, masses out of order."""
    with pytest.raises(AframeError, match=message):
        make()
