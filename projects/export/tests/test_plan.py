"""TensorRT is asked for what it needs, and refused where it is not.

No plan can be built without its kind of GPU: here a stand-in takes the place of the library.
"""

import dataclasses
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from aframe.errors import AframeError
from aframe_export import plan


@pytest.mark.parametrize(
    ("module", "gpu", "found"),
    [
        (False, True, "no module tensorrt"),
        (True, False, "no GPU"),
        (False, False, "no module tensorrt and no GPU"),
    ],
)
def test_refuses_before_any_work(settings, monkeypatch, module, gpu, found):
    """As soon as the settings are read, so also when a run is planned."""
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda *_: module or None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    with pytest.raises(
        AframeError, match=rf"TensorRT plan cannot be built here\n +found +{found}\n(.|\n)*TORCHS"
    ):
        dataclasses.replace(settings, platform="TENSORRT")


def test_takes_the_platform_where_it_can_be_built(settings, monkeypatch):
    """With TensorRT and a GPU."""
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    assert dataclasses.replace(settings, platform="TENSORRT").platform == "TENSORRT"


@pytest.fixture
def tensorrt(monkeypatch):
    """A stand-in that takes any call."""
    library = MagicMock()
    library.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=0)
    library.Builder.return_value.build_serialized_network.return_value = b"plan"
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    return library


def test_builds_for_one_shape(tensorrt, tmp_path):
    """In single precision, without the ten bits of TF32."""
    (tmp_path / "model.onnx").write_bytes(b"onnx")

    plan.build(tmp_path / "model.onnx", (8, 2, 256), tmp_path / "model.plan")

    assert (tmp_path / "model.plan").read_bytes() == b"plan"
    builder = tensorrt.Builder.return_value
    tensorrt.OnnxParser.return_value.parse.assert_called_once_with(b"onnx")
    name = builder.create_network.return_value.get_input.return_value.name
    profile = builder.create_optimization_profile.return_value
    profile.set_shape.assert_called_once_with(name, (8, 2, 256), (8, 2, 256), (8, 2, 256))
    builder.create_builder_config.return_value.clear_flag.assert_called_once_with(
        tensorrt.BuilderFlag.TF32
    )


@pytest.mark.parametrize(
    ("parsed", "message"), [(False, "no such operator"), (True, "the builder gave no plan")]
)
def test_refuses_what_tensorrt_does_not_take(tensorrt, tmp_path, parsed, message):
    """With what it says."""
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    parser = tensorrt.OnnxParser.return_value
    parser.parse.return_value, parser.num_errors = parsed, 1
    parser.get_error.return_value = "no such operator"
    tensorrt.Builder.return_value.build_serialized_network.return_value = None

    with pytest.raises(AframeError, match=rf"does not take the network\n +found +model.*{message}"):
        plan.build(tmp_path / "model.onnx", (8, 2, 256), tmp_path / "model.plan")

    assert not (tmp_path / "model.plan").exists()
