"""Residual networks: the published ones, small ones, and what cannot be built."""

import pytest
import torch
from ml4gw.nn.norm import GroupNorm1D, GroupNorm2D
from ml4gw.nn.resnet.resnet_1d import BottleneckResNet1D, ResNet1D
from ml4gw.nn.resnet.resnet_2d import ResNet2D

from aframe.errors import AframeError
from aframe_train.networks import ResNet, Stem


def norm_1d(width):
    return GroupNorm1D(width, 16)


def norm_2d(width):
    return GroupNorm2D(width, 16)


@pytest.mark.parametrize(
    ("theirs", "ours", "shape", "parameters"),
    [
        (ResNet1D(2, [3, 4, 6, 3], 1, norm_layer=norm_1d), {}, (2, 2, 512), 7.22e6),
        (
            BottleneckResNet1D(2, [3, 4, 6, 3], 1, norm_layer=norm_1d),
            {"bottleneck": True},
            (2, 2, 512),
            24.62e6,
        ),
        (
            ResNet2D(2, [3, 4, 6, 3], 1, norm_layer=norm_2d),
            {"dimensions": 2},
            (2, 2, 64, 96),
            21.28e6,
        ),
    ],
    ids=["34", "54", "34 in two dimensions"],
)
def test_layouts_are_the_published_networks(theirs, ours, shape, parameters):
    """Same number of parameters, and same scores from the same weights, as ml4gw's networks."""
    ours = ResNet(**ours).eval()
    weights = list(theirs.eval().state_dict().values())
    ours.load_state_dict(
        {
            name: weight.reshape(like.shape)
            for (name, like), weight in zip(ours.state_dict().items(), weights, strict=True)
        }
    )
    kernels = torch.randn(*shape, generator=torch.Generator().manual_seed(0))

    assert sum(each.numel() for each in ours.parameters()) == pytest.approx(parameters, rel=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(ours(kernels), theirs(kernels), rtol=1e-3, atol=1e-4)


def test_54_layers_have_weights():
    """Convolutions and the last linear map, counted: the layout has its name from them."""
    kinds = (torch.nn.Conv1d, torch.nn.Linear)

    assert sum(isinstance(each, kinds) for each in ResNet(bottleneck=True).modules()) == 54


@pytest.mark.parametrize("ifos", [1, 2, 3])
@pytest.mark.parametrize("max_pool", [False, True])
def test_small_networks_score_any_number_of_kernels(ifos, max_pool):
    """One logit a kernel, from any number of detectors."""
    network = ResNet(
        ifos, (1, 2), (8, 16), (2, 2), 7, stem=Stem(4, 15, 4, False), norm_groups=4,
        max_pool=max_pool,
    )  # fmt: skip

    assert network(torch.randn(5, ifos, 300)).shape == (5, 1)


def test_features_for_a_larger_network():
    """As many numbers as asked for."""
    network = ResNet(2, (1,), (8,), (1,), stem=Stem(8), norm_groups=4, outputs=6)

    assert network(torch.randn(5, 2, 300)).shape == (5, 6)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": (1,)},
        {"kernel_size": 4},
        {"stem": Stem(kernel_size=4)},
        {"norm_groups": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_refuses_what_cannot_be_built(change):
    """Stages that disagree, even lengths, groups that do not divide."""
    with pytest.raises(AframeError, match="network cannot be built"):
        ResNet(**{"layers": (1, 1), "widths": (8, 8), "strides": (1, 2), **change})
