"""Parity finds faults that are planted, and none where there is none."""

import copy

import pytest
import torch

from aframe.errors import AframeError
from aframe_export import models, parity


@pytest.fixture(scope="module")
def updates(stream):
    """Random strain."""
    return models.random_updates(stream, 2)


@pytest.fixture(scope="module")
def parts(stream, whitener, network, updates):
    """Take the small search apart."""
    return {part.name: part for part in models.parts(stream, whitener, network, updates[0])}


@pytest.fixture(scope="module")
def batch():
    """Some kernels."""
    return torch.randn(8, 2, 256, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["snapshotter", "preprocessor", "aframe", "aframe-stream"])
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_both_forms_repeat_the_trained_search(parts, updates, batch, tmp_path, name, suffix):
    """On kernels of the training and on strain that flows through the state."""
    part, path = parts[name], tmp_path / f"model{suffix}"
    script = models.torchscript(part)
    if suffix == ".pt":
        torch.jit.save(script, path)
    else:
        models.write_onnx(script, part, path)

    found = parity.deviation(parity.load(path), part, batch=batch, updates=updates)

    assert found < 1e-5


def _shifted(model):
    """A network whose scores are a little off."""

    def run(kernels):
        return (model(kernels) + 0.001,)

    return run


def _deaf(model):
    """A network that is right for loud kernels alone."""

    def run(kernels):
        return (model(kernels) + (0.001 if kernels.std() < 100 else 0),)

    return run


def _forgetful(search):
    """A search that keeps the state it was given."""

    def run(update, state):
        scores, _ = search(update, state)
        return scores, state

    return run


def _misplaced(preprocessor):
    """Kernels with the detectors exchanged."""

    def run(strain):
        return (preprocessor(strain).flip(1),)

    return run


def _other_band(search):
    """A search with the lowest bin that the highpass leaves cut away too."""
    other = copy.deepcopy(search)
    other.preprocessor.whiten.passed[
        : 2 + int(other.preprocessor.whiten.passed.long().argmax())
    ] = False
    return parity._torch(other)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("aframe", _shifted),
        ("aframe", _deaf),
        ("aframe-stream", _forgetful),
        ("preprocessor", _misplaced),
        ("aframe-stream", _other_band),
    ],
)
def test_faults_are_seen(parts, updates, batch, name, fault):
    """Each is far above the tolerance."""
    part = parts[name]
    if fault is _deaf:
        batch = 1000 * batch

    with torch.no_grad():
        found = parity.deviation(fault(part.exported), part, batch=batch, updates=updates)

    assert found > parity.TOLERANCE


def test_what_is_not_finite_or_of_another_shape_never_agrees():
    """Not a number compares with nothing, and one score does not stand for eight."""
    one = torch.ones(8, 1)

    assert parity._difference(one, one) == 0
    assert parity._difference(one * float("nan"), one * float("nan")) == float("inf")
    assert parity._difference(one[:1], one) == float("inf")


def test_refuses_a_deviation():
    """The models above the tolerance are named, those below are not."""
    parity.refuse_deviation({"aframe/model.pt": parity.TOLERANCE})

    with pytest.raises(
        AframeError, match=r"does not repeat(.|\n)*found +b 0.02, c inf\n"
    ) as caught:
        parity.refuse_deviation({"aaa": 1e-6, "b": 0.02, "c": float("inf")})
    assert "aaa" not in str(caught.value)


class Swept(torch.nn.Module):
    """A network in two parts, that may forget to divide by two."""

    def __init__(self, factor):
        super().__init__()
        self.single, self.together = torch.nn.Conv1d(1, 1, 32, 32), Mean()
        self.factor = factor

    def forward(self, kernels):
        """Score kernels one by one."""
        features = self.single(kernels.reshape(-1, 1, kernels.shape[-1]))
        return self.factor * self.together(features.reshape(-1, 2, *features.shape[1:]))


class Mean(torch.nn.Module):
    """The mean of all features of a kernel."""

    def forward(self, features):
        """Give one score a kernel."""
        return features.flatten(1).mean(1, keepdim=True)


def test_a_sweep_that_is_not_its_kernels_is_found(network, stream):
    """Its deviation says so; a network that cannot be swept has none."""
    torch.manual_seed(0)

    assert parity.sweep_deviation(Swept(1.0), stream, 2) < parity.TOLERANCE
    with pytest.raises(AframeError, match=r"found +sweep 0\.2"):
        parity.refuse_deviation({"sweep": parity.sweep_deviation(Swept(2.0), stream, 2)})
    assert parity.sweep_deviation(network, stream, 2) is None
