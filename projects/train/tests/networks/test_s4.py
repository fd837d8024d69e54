"""S4 against ml4gw's, and how it is built."""

import pytest
import torch
from ml4gw.nn.ssm.s4d import S4DKernel, S4Model

from aframe_train.networks import S4
from aframe_train.networks.s4 import Response


@pytest.mark.parametrize("size", [1, 100, 3072])
def test_responses_are_those_of_ml4gw(size):
    """Also where the length is no square."""
    torch.manual_seed(0)
    kernel = S4DKernel(4, 16)

    torch.testing.assert_close(Response(kernel, size)(size), kernel(size), rtol=1e-3, atol=1e-3)


def test_scores_are_those_of_ml4gw():
    """The same network from the same weights."""
    ours = S4(2, 256.0, 1.0, d_model=8, n_layers=2).eval()
    theirs = S4Model(2, 1, 8, 64, 2).eval()
    theirs.load_state_dict(
        {
            name.replace("kernel.kernel", "kernel"): weight
            for name, weight in ours.model.state_dict().items()
            if not name.endswith(("coarse", "fine"))
        }
    )
    kernels = torch.randn(3, 2, 256, generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(ours(kernels), theirs(kernels), rtol=1e-4, atol=1e-5)


def test_the_defaults_are_the_published_size():
    """0.2 million parameters: four layers of 128 channels and 64 states."""
    assert sum(each.numel() for each in S4(2, 2048.0, 1.5).parameters()) == 200_193


def test_scores_in_single_precision():
    """Whatever precision the trainer asks for."""
    network = S4(2, 256.0, 1.0, d_model=8, n_layers=2).eval()
    kernels = torch.randn(3, 2, 256, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(kernels)

    assert torch.equal(found, network(kernels))


def test_the_states_are_learned_slowly():
    """Rates, frequencies and steps of time of each layer, and nothing else."""
    network = S4(2, 256.0, 1.0, d_model=8, n_layers=2)
    slow = {id(each) for each in network.slow()}
    names = [name for name, each in network.named_parameters() if id(each) in slow]

    assert len(slow) == len(names) == 6
    assert {name.rsplit(".", 1)[1] for name in names} == {"log_dt", "log_A_real", "A_imag"}
