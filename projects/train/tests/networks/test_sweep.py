"""The network whose kernels share their work."""

import pytest
import torch

from aframe.errors import AframeError
from aframe.transforms.stream import Stream
from aframe.transforms.sweep import find_sweep
from aframe_train.networks import Sweep


@pytest.mark.parametrize(("rate", "stride"), [(4.0, 8), (16.0, 2), (32.0, 1)])
def test_a_sweep_gives_what_windows_give(rate, stride):
    """Block by block as inference whitens, at any rate of whole frames."""
    torch.manual_seed(0)
    network = Sweep(2, 2048.0, 1.5, stem=8, widths=(8, 8, 8, 8), hidden=8).eval()
    stream = Stream(2048.0, 1.5, 1.0, 64.0, rate, 6)
    sweep = find_sweep(network, stream)
    block = torch.randn(2, stream.whitened_size)
    block[0, stream.whitened_size // 2] = 1000  # a glitch
    with torch.no_grad():
        windows = network(stream.unfold(block).transpose(0, 1))
        found = sweep.scores(block)

    assert sweep.step == stride
    torch.testing.assert_close(found, windows, rtol=1e-5, atol=1e-5)


def test_a_frame_reaches_as_far_as_it_says():
    """A kernel of that many samples has one frame, one of fewer is refused."""
    kernel = Sweep(1, 1.0, 160.0, stem=4, widths=(4, 4), kernel_size=5, hidden=4)
    assert kernel.single(torch.zeros(1, 1, 160)).shape == (1, 4, 1)
    with pytest.raises(AframeError, match="a frame reaches over 160 samples, and a kernel has 159"):
        Sweep(1, 1.0, 159.0, stem=4, widths=(4, 4), kernel_size=5)
    with pytest.raises(AframeError, match="kernel_size 4 and 2 widths"):
        Sweep(1, 1.0, 1000.0, widths=(4, 4), kernel_size=4)


def test_glitches_are_bounded_and_noise_is_left_alone():
    """Features of what is a million times the noise are those of the loudest allowed."""
    torch.manual_seed(0)
    network = Sweep(1, 1024.0, 1.5, stem=8, widths=(8, 8, 8), hidden=8)
    noise = torch.randn(1, 1, 1536)
    with torch.no_grad():
        quiet, usual, loud = (network.single(noise * scale) for scale in (1e-3, 1, 1e6))

    assert float(loud.abs().max()) <= 16 * 8**0.5
    assert float(quiet.abs().mean()) < float(usual.abs().mean()) < float(loud.abs().mean())


def test_detectors_are_told_apart_only_together():
    """Three of them; their order matters to the score, not to the features of one."""
    torch.manual_seed(0)
    network = Sweep(3, 1024.0, 1.5, stem=8, widths=(8, 8, 8), hidden=8)
    kernels = torch.randn(4, 3, 1536)
    with torch.no_grad():
        scores, turned = network(kernels), network(kernels.flip(1))

    assert scores.shape == (4, 1)
    assert not torch.allclose(scores, turned)
