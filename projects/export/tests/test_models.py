"""What leaves Python has the names and shapes of its configuration."""

import re

import onnx
import pytest
import torch

from aframe_export import models


@pytest.fixture(scope="module")
def parts(stream, whitener, network):
    """Take the small search apart."""
    update = models.random_updates(stream, 2)[0]
    return {part.name: part for part in models.parts(stream, whitener, network, update)}


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("snapshotter", ["stream", "input_snapshot"], ["strain", "output_snapshot"]),
        ("preprocessor", ["strain"], ["input_0"]),
        ("aframe", ["input_0"], ["discriminator"]),
        ("aframe-stream", ["stream", "input_snapshot"], ["discriminator", "output_snapshot"]),
    ],
)
def test_onnx_is_whole_and_named(parts, tmp_path, name, inputs, outputs):
    """The file passes the checker, also its shapes, and names its tensors."""
    path = tmp_path / "model.onnx"

    models.write_onnx(models.torchscript(parts[name]), parts[name], path)

    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.load(path).graph
    assert [each.name for each in graph.input] == inputs
    assert [each.name for each in graph.output] == outputs


def test_the_network_takes_any_batch(parts, tmp_path):
    """Its first dimension stays open, so that other clients may batch as they like."""
    models.write_onnx(models.torchscript(parts["aframe"]), parts["aframe"], tmp_path / "a.onnx")

    graph = onnx.load(tmp_path / "a.onnx").graph

    for tensor in (graph.input[0], graph.output[0]):
        assert tensor.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_torchscript_stands_alone(parts, tmp_path):
    """A saved search runs without a class of ours."""
    part = parts["aframe-stream"]
    torch.jit.save(models.torchscript(part), tmp_path / "model.pt")

    scores, state = torch.jit.load(tmp_path / "model.pt")(*part.arguments)

    assert scores.shape == (8, 1)
    assert state.shape == part.arguments[1].shape


def test_random_updates_fill_the_state(stream):
    """They are always the same, of the size of strain, and some follow the full state."""
    updates = models.random_updates(stream, 3)

    assert torch.equal(updates, models.random_updates(stream, 3))
    assert updates.shape[1:] == (2, 3, stream.update_size)
    steps = len(updates) - models.WHOLE_UPDATES
    assert steps * stream.update_size >= stream.state_size
    assert float(updates.std()) == pytest.approx(1e-21, rel=0.05)


def test_complex_numbers_have_no_onnx(network):
    """Wherever in a network they are; another has nothing that the format lacks."""

    class Inner(torch.nn.Module):
        def forward(self, kernels):
            return torch.fft.irfft(torch.fft.rfft(kernels))

    kernels = torch.zeros(1, 2, 256)
    inner = torch.jit.trace(Inner(), kernels)
    outer = torch.jit.trace(torch.nn.Sequential(inner, network), kernels)

    assert models.without_onnx(outer, kernels) == ["aten::fft_irfft", "aten::fft_rfft"]
    assert models.without_onnx(network, kernels) == []


def test_what_the_exporter_does_not_know_has_no_onnx(network, capfd):
    """In its own words, without the network that it would print."""
    kernels = torch.zeros(1, 2, 256)
    pooled = torch.nn.Sequential(torch.nn.AdaptiveMaxPool1d(7), torch.nn.Flatten())

    (told,) = models.without_onnx(torch.jit.trace(pooled, kernels), kernels)

    assert re.search("adaptive_max_pool1d, output size", told)
    assert "\n" not in told
    assert capfd.readouterr() == ("", "")
