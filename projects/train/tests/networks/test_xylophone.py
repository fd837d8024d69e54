"""Xylophone: which part each bar hears."""

import pytest
import torch

from aframe.errors import AframeError
from aframe_train.networks import Xylophone
from aframe_train.networks.xylophone import overlapping


def test_parts_overlap_by_half_and_reach_from_start_to_end():
    """Four of two fifths each; a length that five does not divide loses no sample."""
    parts = overlapping(torch.arange(10.0).expand(1, 1, -1), 4)

    assert [part[0, 0].tolist() for part in parts] == [
        [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9],
    ]  # fmt: skip
    assert overlapping(torch.arange(3072.0).expand(1, 1, -1), 4)[-1][0, 0, -1] == 3071


def test_each_octave_hears_its_part():
    """A change at the end of a kernel changes what the last octave gives, and no other's."""
    network = Xylophone(
        2, widths=(8, 4), strides=(1, 2), dilations=(2, 1), layers=((1,), (1, 1)), norm_groups=4
    )
    kernels = torch.randn(3, 2, 256, generator=torch.Generator().manual_seed(0))
    changed = kernels.clone()
    changed[..., -20:] *= 2
    first, last = (
        [bar(part) for bar, part in zip(network.octaves, overlapping(each, 2), strict=True)]
        for each in (kernels, changed)
    )

    assert network(kernels).shape == (3, 1)
    assert torch.equal(first[0], last[0])
    assert not torch.allclose(first[1], last[1])


def test_the_defaults_are_the_published_octaves():
    """Channels, steps, distances and blocks of all four, with 0.8 million parameters."""
    network = Xylophone()

    assert [bar.stem[0].out_channels for bar in network.octaves] == [64, 32, 16, 8]
    assert [bar.stem[0].stride[0] for bar in network.octaves] == [1, 2, 3, 3]
    assert [bar.stem[0].dilation[0] for bar in network.octaves] == [8, 4, 2, 1]
    assert [len(bar.stages) for bar in network.octaves] == [4, 6, 8, 11]
    assert sum(each.numel() for each in network.parameters()) == 792_673


def test_refuses_octaves_that_disagree():
    """Each list has a value an octave."""
    with pytest.raises(AframeError, match="octaves disagree in number"):
        Xylophone(widths=(8, 4))
