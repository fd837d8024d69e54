"""The autoencoder: detectors stay apart, and the score is a correlation."""

import pytest
import torch
from ml4gw.transforms import ShiftedPearsonCorrelation
from scipy.stats import pearsonr

from aframe.errors import AframeError
from aframe_train.networks import CoherentAutoencoder
from aframe_train.networks.autoencoder import shifted_correlation


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CoherentAutoencoder(3, 256.0, channels=(4, 6)).eval()


def white(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("changed", range(3))
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_no_reconstruction_sees_another_detector(network, changed, mode):
    """Other data in one detector leave the reconstructions of the others bit for bit."""
    getattr(network, mode)()
    kernels = white(4, 3, 256)
    other = kernels.clone()
    other[:, changed] = 10 * white(4, 256, seed=1)
    before, after = network.reconstruct(kernels), network.reconstruct(other)

    for ifo in range(3):
        assert torch.equal(before[:, ifo], after[:, ifo]) == (ifo != changed)


def test_no_gradient_crosses_either(network):
    """The derivative of one detector's reconstruction by another's data is nothing at all."""
    kernels = white(2, 3, 256).requires_grad_()
    network.reconstruct(kernels)[:, 0].square().sum().backward()

    assert kernels.grad[:, 0].abs().max() > 0
    assert kernels.grad[:, 1:].abs().max() == 0


def test_the_score_is_the_largest_correlation_over_shifts(network):
    """Each pair by scipy, three samples to either side (12 ms at 256 Hz)."""
    kernels = white(2, 3, 256)
    found = network.reconstruct(kernels).detach()
    scores = []
    for x, r in zip(kernels, found, strict=True):
        power = 0.0
        for i in range(3):
            for j in {0, 1, 2} - {i}:
                padded = torch.nn.functional.pad(x[i], (3, 3))
                shifted = [pearsonr(padded[s : s + 256], r[j])[0] for s in range(7)]
                power += max(abs(each) for each in shifted) ** 2
        scores.append([(256 * power / 6) ** 0.5])

    torch.testing.assert_close(network(kernels), torch.tensor(scores), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_correlations_are_those_of_ml4gw(shift):
    """Every shift, where neither series has a mean of zero."""
    x, y = 3 + white(2, 3, 64), 1 + white(2, 3, 64, seed=1)

    torch.testing.assert_close(
        shifted_correlation(x, y, shift), ShiftedPearsonCorrelation(shift)(x, y)
    )


def test_noise_scores_a_few_and_a_signal_its_strength():
    """Whatever the reconstruction, noise scores as the largest of few normal numbers does."""
    torch.manual_seed(0)
    network = CoherentAutoencoder(2, 256.0).eval()
    network.reconstruct = lambda kernels: kernels
    noise = white(200, 2, 1024)
    signal = torch.sin(torch.arange(1024) / 3.0)
    snr = 40.0

    largest = white(10_000, 7).abs().amax(-1).mean()
    assert network(noise).mean() == pytest.approx(float(largest), rel=0.06)
    loud = noise + snr * signal / signal.norm()
    # Both have the fraction snr^2 / (snr^2 + samples) of their power in common.
    assert network(loud).mean() == pytest.approx(32 * snr**2 / (snr**2 + 1024), rel=0.05)


@pytest.mark.parametrize("change", [{"num_ifos": 1}, {"kernel_size": 4}])
def test_refuses_what_cannot_be_built(change):
    """One detector has nothing to foretell; an even kernel shifts by half a sample."""
    with pytest.raises(AframeError, match="autoencoder cannot be built"):
        CoherentAutoencoder(**{"num_ifos": 2, "sample_rate": 256.0, **change})
