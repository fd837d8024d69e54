"""WaveNet: what its layers see."""

import torch

from aframe_train.networks import WaveNet


def test_no_layer_sees_the_future_and_all_reach_back():
    """A change of one sample reaches that sample and as many later ones as it should."""
    torch.manual_seed(0)
    network = WaveNet(2, 8, layers_per_block=3, num_blocks=2)
    kernels = torch.randn(1, 2, 64)
    changed = kernels.clone()
    changed[..., 20] += 1
    moved = (network.features(changed) - network.features(kernels)).abs().sum((0, 1)) > 0
    reach = 2 * (1 + 2 + 4)

    assert moved.nonzero()[:, 0].tolist() == list(range(20, 20 + reach + 1))


def test_scores_any_number_of_kernels():
    """One logit a kernel, from three detectors."""
    assert WaveNet(3, 8, 2, 1)(torch.randn(5, 3, 64)).shape == (5, 1)


def test_the_defaults_reach_over_a_second():
    """2047 samples at 2048 Hz, with half a million parameters."""
    network = WaveNet()

    assert 1 + sum(layer.reach for layer in network.layers) == 2047
    assert sum(each.numel() for each in network.parameters()) == 509_313
