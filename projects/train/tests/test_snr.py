"""Signal-to-noise ratios follow their power law."""

import numpy as np
import pytest
import torch
from ml4gw.distributions import PowerLaw
from scipy.stats import kstest

from aframe.errors import AframeError
from aframe_train.snr import SnrPowerLaw


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("index", [-3.0, -4.0, 2.0])
def test_density_is_the_power_asked_for(index):
    """The draws follow the closed form of the cumulative distribution."""
    law = SnrPowerLaw(minimum=4.0, maximum=100.0, index=index)
    power = index + 1

    def cumulative(x):
        return (x**power - 4**power) / (100**power - 4**power)

    drawn = law.sample(20_000, 0, generator()).double().numpy()

    assert kstest(drawn, cumulative).pvalue > 1e-3


def test_agrees_with_ml4gw():
    """Quantiles are those of ml4gw's distribution of the same law."""
    torch.manual_seed(1)
    theirs = PowerLaw(4.0, 100.0, -3.0).sample((50_000,))
    ours = SnrPowerLaw().sample(50_000, 0, generator())

    at = torch.tensor([0.1, 0.5, 0.9])
    # The 90 % quantile of 50 000 draws is known to 0.4 %, each.
    np.testing.assert_allclose(ours.quantile(at), theirs.quantile(at), rtol=0.02)


def test_lower_edge_falls_in_a_line_and_stays():
    """Loud signals come first; after the decay the lower edge is the minimum."""
    law = SnrPowerLaw(minimum=4.0, first_minimum=12.0, decay_steps=8)

    assert [law.lowest(step) for step in (0, 4, 8, 9)] == [12, 8, 4, 4]
    assert law.sample(1000, 0, generator()).min() >= 12
    assert law.sample(1000, 8, generator()).min() < 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minimum": 0.0}, "minimum 0,"),
        ({"minimum": 5.0, "maximum": 5.0}, "maximum 5,"),
        ({"minimum": 5.0, "first_minimum": 4.0}, "first_minimum 4,"),
        ({"index": -1.0}, "index -1"),
    ],
)
def test_refuses_what_has_no_density(settings, message):
    """Edges out of order, and the exponent that has no power as its integral."""
    with pytest.raises(AframeError, match="ratios have no density") as error:
        SnrPowerLaw(**settings)

    assert message in error.value.found
