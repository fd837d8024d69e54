"""Real arithmetic against numpy's transform, and against the whitening of the training."""

import numpy as np
import pytest
import torch

from aframe.transforms.whitening import Whitener
from aframe_export.spectral import Fourier, RealWhitener


# Powers of two, products, odd sizes and primes.
@pytest.mark.parametrize("size", [2, 7, 13, 64, 360, 1155, 3328])
def test_transforms_are_numpys(size):
    """Forth to the one-sided spectrum, back to the series, and of complex series."""
    rng = np.random.default_rng(size)
    series, other = rng.standard_normal((2, 3, size))
    fourier = Fourier(size)

    real, imag = (each.numpy() for each in fourier.one_sided(torch.tensor(series)))
    back = fourier.inverse(torch.tensor(real), torch.tensor(imag)) / size
    both = [each.numpy() for each in fourier(torch.tensor(series), torch.tensor(other))]

    np.testing.assert_allclose(real + 1j * imag, np.fft.rfft(series), atol=1e-11)
    np.testing.assert_allclose(back.numpy(), series, atol=1e-13)
    np.testing.assert_allclose(both[0] + 1j * both[1], np.fft.fft(series + 1j * other), atol=1e-11)


@pytest.mark.parametrize("band", [(20.0, None), (None, None), (17.3, 90.0), (None, 100.0)])
@pytest.mark.parametrize("fftlength", [0.5, 129 / 256, 1.0])
@pytest.mark.parametrize("window_size", [640, 641, 642])
def test_whitening_is_that_of_the_training(band, fftlength, window_size):
    """Whatever the band, the resolution and the parity of the lengths."""
    whitener = Whitener(256.0, 0.5, fftlength, *band)
    real = RealWhitener(whitener, 1024, window_size)
    rng = np.random.default_rng(0)
    before = torch.tensor(rng.standard_normal((2, 1024)) * 1e-21, dtype=torch.float32)
    window = torch.tensor(rng.standard_normal((1, 2, window_size)) * 1e-21, dtype=torch.float32)

    psd = real.psd(before)

    # The bias of the median is held in single precision there.
    torch.testing.assert_close(psd, whitener.psd(before), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        real(window, psd[None]), whitener(window, whitener.psd(before)[None]), rtol=0, atol=1e-5
    )


def test_gives_what_whitening_is_for():
    """White noise of any size comes out with unit variance in the band that is passed."""
    whitener = RealWhitener(Whitener(256.0, 0.5, 0.5, 32.0), 256 * 64, 256 * 32)
    noise = torch.tensor(np.random.default_rng(1).standard_normal((1, 2, 256 * 96)) * 3e-22)

    whitened = whitener(noise[..., 256 * 64 :], whitener.psd(noise[..., : 256 * 64]))

    # 255 segments know the PSD to 0.5 %; a fourth of the band is cut away.
    assert float(whitened.var()) == pytest.approx(0.75, rel=0.03)
