"""Whitening against scipy's Welch, numpy's integrals, and what whitening means."""

import numpy as np
import pytest
import scipy.signal
import torch
from gwpy.timeseries import TimeSeries

from aframe.transforms.whitening import Whitener

RATE = 2048
#: Fraction of all frequencies that a highpass of 32 Hz passes.
BAND = 1 - 32 / (RATE / 2)


def _density(frequencies):
    """Give a smooth PSD (1/Hz) with the depth and walls of a detector's."""
    f = np.maximum(frequencies, 8.0)
    return 1e-46 * (0.5 * (f / 60) ** -4.1 + 1 + (f / 300) ** 2)


def _noise(seconds, seed=0, detectors=2):
    """Draw Gaussian noise with that PSD."""
    rng = np.random.default_rng(seed)
    size = int(seconds * RATE)
    density = _density(np.fft.rfftfreq(size, 1 / RATE))
    white = np.fft.rfft(rng.normal(size=(detectors, size)))
    return np.fft.irfft(white * np.sqrt(density * RATE / 2), size)


def _burst(seconds, frequency, amplitude=1e-21, cycles=9.0):
    """Give a sine-Gaussian in the middle of a stretch."""
    time = np.arange(int(seconds * RATE)) / RATE - seconds / 2
    envelope = np.exp(-((2 * np.pi * frequency * time / cycles) ** 2) / 2)
    return amplitude * envelope * np.cos(2 * np.pi * frequency * time)


def _exact(fftlength):
    return torch.tensor(_density(np.fft.rfftfreq(int(fftlength * RATE), 1 / RATE)))[None, None]


@pytest.mark.parametrize("highpass", [None, 32.0])
@pytest.mark.parametrize("fftlength", [1.0, 2.0, 2.5])
def test_the_psd_is_scipys_median_welch(fftlength, highpass):
    """With Hann windows and half overlap; with a highpass, but for the two lowest bins."""
    strain = _noise(16)
    nperseg = int(fftlength * RATE)

    found = Whitener(RATE, 1.0, fftlength, highpass).psd(torch.tensor(strain)).numpy()

    wanted = scipy.signal.welch(strain, RATE, "hann", nperseg, average="median")[1]
    first = 0 if highpass is None else 2
    # The window is held in single precision.
    np.testing.assert_allclose(found[:, first:], wanted[:, first:], rtol=1e-5)


def test_the_psd_is_gwpys():
    """The field's own tool gives the same, in its own conventions."""
    strain = _noise(16, detectors=1)

    found = Whitener(RATE, 1.0, 2.0, 32.0).psd(torch.tensor(strain))[0].numpy()

    wanted = TimeSeries(strain[0], sample_rate=RATE).psd(2.0, 1.0, method="median", window="hann")
    np.testing.assert_allclose(found[2:], wanted.value[2:], rtol=1e-5)


def test_the_psd_is_that_of_the_noise():
    """Within the scatter of a median over many segments, and without bias."""
    found = Whitener(RATE, 1.0, 1.0, 32.0).psd(torch.tensor(_noise(256)))[:, 32:-1].numpy()

    ratio = found / _density(np.arange(32, RATE // 2))
    # 511 segments at half overlap: some 7 % a bin, and 2 * 991 bins.
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    assert ratio.std() < 0.1


def test_an_offset_leaves_no_rounding():
    """Real strain lies some 1e-18 off zero, a thousand times what is in the band."""
    whitener = Whitener(RATE, 1.0, 1.0, 32.0)
    noise = _noise(16)
    psd = whitener.psd(torch.tensor(noise))[None]
    slow = 5e-19 * np.sin(2 * np.pi * np.arange(16 * RATE) / RATE)
    strain = torch.tensor(noise + slow - 5.3e-19).float()[None]

    found = whitener(strain, psd)

    exact = strain.double() - strain.double().mean(-1, keepdim=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, whitener(exact, psd).float(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("psd_length", "fftlength"), [(8, 1.0), (8, 2.0), (64, 1.0), (64, 2.0)])
def test_whitened_noise_has_unit_variance(psd_length, fftlength):
    """With the PSD of the data before it, in the band that is passed."""
    whitener = Whitener(RATE, 1.0, fftlength, 32.0)
    strain = torch.tensor(_noise(psd_length + 64))
    psd = whitener.psd(strain[:, : psd_length * RATE])

    whitened = whitener(strain[None, :, psd_length * RATE :], psd[None])

    # An estimate of the PSD from K segments scatters by some 1.2 / sqrt(K) a bin, and the mean
    # of its inverse is high by the square of that.
    segments = 2 * psd_length / fftlength - 1
    bias = 1.4 / segments
    assert float(whitened.var()) == pytest.approx(BAND * (1 + bias), rel=0.02 + bias / 2)


def test_whitened_noise_is_white():
    """No frequency that is passed stands out, and none that is not is left."""
    whitener = Whitener(RATE, 1.0, 1.0, 32.0, 800.0)
    strain = torch.tensor(_noise(192))
    psd = whitener.psd(strain[:, : 64 * RATE])

    whitened = whitener(strain[None, :, 64 * RATE :], psd[None])[0].numpy()

    spectrum = scipy.signal.welch(whitened, RATE, "hann", 4 * RATE, average="median")[1]
    frequencies = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    inside = (frequencies > 34) & (frequencies < 798)
    outside = (frequencies < 25) | (frequencies > 807)
    # Unit variance over all frequencies is a one-sided density of 2 / RATE.
    assert np.median(spectrum[:, inside]) * RATE / 2 == pytest.approx(1, abs=0.03)
    assert (spectrum[:, outside] * RATE / 2).max() < 0.01


@pytest.mark.parametrize("frequency", [60.0, 150.0, 300.0])
@pytest.mark.parametrize("fftlength", [1.0, 2.0])
@pytest.mark.parametrize("seconds", [2.5, 8.0])
def test_the_power_of_a_whitened_signal_is_its_snr_squared(frequency, fftlength, seconds):
    """The sum of squares is 4 int |h|^2 / S df, whatever the resolution of the PSD."""
    signal = _burst(seconds, frequency)
    whitener = Whitener(RATE, 1.0, fftlength, 32.0)

    whitened = whitener(torch.tensor(signal)[None, None], _exact(fftlength))

    frequencies = np.fft.rfftfreq(signal.size, 1 / RATE)
    passed = frequencies >= 32
    power = np.abs(np.fft.rfft(signal)[passed] / RATE) ** 2 / _density(frequencies[passed])
    assert float((whitened**2).sum()) == pytest.approx(4 * power.sum() / seconds, rel=1e-3)


def test_a_matched_filter_in_whitened_noise_scatters_by_one():
    """The whitened signal's overlap with noise alone has mean 0 and variance SNR^2."""
    whitener = Whitener(RATE, 1.0, 1.0, 32.0)
    noise = torch.tensor(_noise(600, seed=3, detectors=1)).unfold(-1, 5 * RATE // 2, 5 * RATE // 2)
    kernels = whitener(noise.transpose(0, 1), _exact(1.0))
    template = whitener(torch.tensor(_burst(2.5, 150.0))[None, None], _exact(1.0))

    overlap = (kernels * template).sum(-1) / float((template**2).sum()) ** 0.5

    # 240 kernels know a mean to 0.065 and a standard deviation to 4.6 %.
    assert float(overlap.mean()) == pytest.approx(0, abs=0.2)
    assert float(overlap.std()) == pytest.approx(1, abs=0.14)


def test_whitening_is_linear_given_the_psd():
    """A whitened signal may be added to stored whitened background."""
    whitener = Whitener(RATE, 1.0, 1.0, 32.0)
    noise = torch.tensor(_noise(8), dtype=torch.float32)[None]
    signal = torch.tensor(_burst(8, 150.0), dtype=torch.float32)[None, None].expand(1, 2, -1)
    psd = whitener.psd(noise)

    together = whitener(noise + signal, psd)

    apart = whitener(noise, psd) + whitener(signal, psd)
    assert float(whitener(signal, psd).abs().max()) > 1
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


def test_strain_of_single_precision_does_not_underflow():
    """Powers of 1e-46 are below the smallest float32, so they are taken in double."""
    whitener = Whitener(RATE, 1.0, 1.0, 32.0)
    small = torch.tensor(_noise(8), dtype=torch.float32)
    large = small.double() * 1e22

    psd = whitener.psd(small)

    assert psd.dtype == torch.float64
    torch.testing.assert_close(psd * 1e44, whitener.psd(large), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        whitener(small[None], psd[None]).double(),
        whitener(large[None], whitener.psd(large)[None]).double(),
        rtol=0,
        atol=1e-4,
    )


def test_half_the_filter_is_cropped_from_either_edge():
    """What stays is aligned with the strain it came from."""
    whitener = Whitener(RATE, 1.0, 1.0, 32.0)
    strain = torch.zeros(3, 2, 4 * RATE)
    strain[..., 3000] = 1e-21

    whitened = whitener(strain, _exact(1.0).expand(3, 2, -1))

    assert whitener.edge == RATE // 2
    assert whitened.shape == (3, 2, 3 * RATE)
    assert whitened.abs().argmax(-1).unique().tolist() == [3000 - whitener.edge]


def test_detectors_and_batches_do_not_mix():
    """Each is whitened by its own PSD."""
    whitener = Whitener(RATE, 1.0, 1.0, 32.0)
    strain = torch.tensor(np.stack([_noise(4, seed=seed) for seed in (1, 2)]))
    psd = whitener.psd(strain) * torch.tensor([[[1.0], [4.0]], [[9.0], [16.0]]])

    together = whitener(strain, psd)

    for batch in range(2):
        for ifo in range(2):
            one = np.s_[batch : batch + 1, ifo : ifo + 1]
            torch.testing.assert_close(whitener(strain[one], psd[one]), together[one])
