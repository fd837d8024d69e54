"""One sweep over a block, against its kernels one by one."""

import io

import pytest
import torch

from aframe.transforms.stream import Stream
from aframe.transforms.sweep import find_sweep

STREAM = Stream(256.0, 1.0, 0.5, 4.0, 4.0, 8)


class Parts(torch.nn.Module):
    """A network in two parts, whose first is any convolution."""

    def __init__(self, first):
        super().__init__()
        self.single = first
        self.together = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(1))

    def forward(self, kernels):
        """Score kernels one by one."""
        features = self.single(kernels.flatten(0, 1)[:, None])
        return self.together(features.unflatten(0, (-1, 2)))


def convolution(stride, padding=0):
    """A convolution over five samples, and what bends it."""
    layer = torch.nn.Conv1d(1, 3, 5, stride, padding=padding)
    return torch.nn.Sequential(layer, torch.nn.Tanh())


def built(first):
    """Make a network and let it see a kernel."""
    torch.manual_seed(0)
    network = Parts(first)
    network(torch.zeros(1, 2, STREAM.kernel_size))
    return network.eval()


@pytest.mark.parametrize("stride", [1, 4, 32])
def test_a_sweep_gives_what_kernels_give(stride):
    """Whatever the frames, for eager networks and for TorchScript of them."""
    network = built(convolution(stride))
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, torch.zeros(2, 2, STREAM.kernel_size)), file)
    file.seek(0)
    script = torch.jit.load(file)
    block = torch.randn(2, STREAM.whitened_size)
    with torch.no_grad():
        expected = network(STREAM.unfold(block).transpose(0, 1))
        for each in (network, script):
            sweep = find_sweep(each, STREAM)

            assert (sweep.step, sweep.batch_size) == (STREAM.stride_size // stride, 8)
            torch.testing.assert_close(sweep.scores(block), expected)


@pytest.mark.parametrize(
    "first",
    [
        convolution(48),  # 64 samples are no whole number of frames
        convolution(128),  # nor are they one frame
        convolution(1, padding=2),  # begins and ends with zeros
        torch.nn.Sequential(convolution(1), torch.nn.GroupNorm(1, 3)),  # of its own kernel
    ],
)
def test_kernels_that_share_nothing_are_not_swept(first):
    """Their features would not be those of the kernels."""
    assert find_sweep(built(first), STREAM) is None


def test_a_network_of_one_part_is_not_swept():
    """As all others are."""
    assert find_sweep(torch.nn.Linear(256, 1), STREAM) is None
