"""The files of a repository, run as a server's Python backend runs them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aframe.draft import Draft
from aframe_export.backend import runner
from aframe_export.backend.runner import TritonPythonModel
from aframe_export.export import export


@pytest.mark.parametrize("file", ["model.onnx", "model.pt"])
def test_a_file_is_run(settings, tmp_path, triton, request_of, network, file):
    """ONNX or TorchScript, by the names of the configuration."""
    export(settings, Draft(tmp_path))
    config = {
        "input": [{"name": "input_0"}],
        "output": [{"name": "discriminator"}],
        "parameters": {"file": {"string_value": file}},
    }
    model = TritonPythonModel()
    model.initialize(
        {
            "model_config": json.dumps(config),
            "model_repository": str(tmp_path / "model_repo/aframe"),
            "model_version": "1",
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    kernels = np.random.default_rng(0).standard_normal((8, 2, 256)).astype(np.float32)

    (response,) = model.execute([request_of(input_0=kernels)])

    with torch.no_grad():
        expected = network(torch.from_numpy(kernels)).numpy()
    np.testing.assert_allclose(response.arrays["discriminator"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("there", "gpu", "expected"),
    [
        (["CUDAExecutionProvider"], 1, [("CUDAExecutionProvider", {"device_id": 1})]),
        (["CUDAExecutionProvider"], None, []),
        ([], 0, []),
    ],
)
def test_a_gpu_is_used_where_the_server_gives_one(monkeypatch, tmp_path, there, gpu, expected):
    """And where the runtime knows it."""
    asked = []
    stand_in = SimpleNamespace(
        get_available_providers=lambda: [*there, "CPUExecutionProvider"],
        InferenceSession=lambda *_, providers: (
            asked.append(providers)
            or SimpleNamespace(get_inputs=lambda: [SimpleNamespace(name="x")])
        ),
    )
    monkeypatch.setattr(runner.importlib, "import_module", lambda *_: stand_in)

    runner.load(tmp_path / "model.onnx", gpu)

    assert asked == [[*expected, "CPUExecutionProvider"]]
