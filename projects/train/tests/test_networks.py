"""Networks: the published one, small ones, and what cannot be built."""

import pytest
import torch
from ml4gw.nn.norm import GroupNorm1D
from ml4gw.nn.resnet.resnet_1d import ResNet1D

from aframe.errors import AframeError
from aframe_train.networks import ResNet, Stem


def test_defaults_are_the_published_network():
    """Same number of parameters, and same scores from the same weights, as ml4gw's network."""
    theirs = ResNet1D(2, [3, 4, 6, 3], 1, norm_layer=lambda width: GroupNorm1D(width, 16)).eval()
    ours = ResNet().eval()
    weights = list(theirs.state_dict().values())
    ours.load_state_dict(
        {
            name: weight.reshape(like.shape)
            for (name, like), weight in zip(ours.state_dict().items(), weights, strict=True)
        }
    )
    kernels = torch.randn(2, 2, 512, generator=torch.Generator().manual_seed(0))

    assert sum(each.numel() for each in ours.parameters()) == pytest.approx(7.2e6, rel=0.01)
    with torch.no_grad():
        torch.testing.assert_close(ours(kernels), theirs(kernels), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("ifos", [1, 2, 3])
@pytest.mark.parametrize("max_pool", [False, True])
def test_small_networks_score_any_number_of_kernels(ifos, max_pool):
    """One logit a kernel, from any number of detectors."""
    network = ResNet(
        ifos, (1, 2), (8, 16), (2, 2), 7, stem=Stem(4, 15, 4, False), norm_groups=4,
        max_pool=max_pool,
    )  # fmt: skip

    assert network(torch.randn(5, ifos, 300)).shape == (5, 1)


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
