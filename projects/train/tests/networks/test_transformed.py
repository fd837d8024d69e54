"""Networks that see a representation."""

import pytest
import torch

from aframe_train.networks import MultiModal, ResNet, Stem, Transformed
from aframe_train.representations import Heterodyned, MultiResolutionSpectrogram, Spectrum

KERNELS = {"sample_rate": 256.0, "kernel_length": 1.0, "highpass": 20.0, "lowpass": None}


def small(dimensions=1, outputs=1):
    """A factory of small residual networks, as a configuration describes one."""
    return lambda channels: ResNet(
        channels, (1,), (8,), (2,), stem=Stem(8), norm_groups=4,
        dimensions=dimensions, outputs=outputs,
    )  # fmt: skip


@pytest.mark.parametrize("ifos", [1, 2, 3])
@pytest.mark.parametrize(
    ("representation", "dimensions"), [(MultiResolutionSpectrogram, 2), (Heterodyned, 1)]
)
def test_the_network_sees_the_representation(ifos, representation, dimensions):
    """Its channels are those of the representation; its score is that of what is shown."""
    network = Transformed(ifos, **KERNELS, representation=representation, network=small(dimensions))
    kernels = torch.randn(4, ifos, 256, generator=torch.Generator().manual_seed(0))

    assert network(kernels).shape == (4, 1)
    torch.testing.assert_close(network(kernels), network.network(network.representation(kernels)))


def test_both_networks_have_a_say():
    """The logit is linear in the features of both."""
    network = MultiModal(
        2, **KERNELS, representation=Spectrum, time=small(outputs=3), frequency=small(outputs=5)
    )
    kernels = torch.randn(4, 2, 256, generator=torch.Generator().manual_seed(0))
    time, frequency = network.time(kernels), network.frequency(kernels)
    weight, bias = network.head.weight[0], network.head.bias

    assert (time.shape, frequency.shape) == ((4, 3), (4, 5))
    torch.testing.assert_close(
        network(kernels)[:, 0], time @ weight[:3] + frequency @ weight[3:] + bias
    )
