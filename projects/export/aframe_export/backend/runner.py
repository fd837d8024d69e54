"""A stateless model of a Triton server's Python backend: it runs an ONNX or TorchScript file.

It runs in the server's own environment, which needs numpy and, for the file at hand,
onnxruntime or torch.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Model = Callable[[np.ndarray], np.ndarray]


def load(path: Path, gpu: int | None) -> Model:
    """Load a file as a function of one array, on a GPU by its number or on the CPU."""
    return _onnx(path, gpu) if path.suffix == ".onnx" else _torchscript(path, gpu)


def _onnx(path: Path, gpu: int | None) -> Model:
    onnxruntime = importlib.import_module("onnxruntime")
    there = set(onnxruntime.get_available_providers())
    on_gpu = [("CUDAExecutionProvider", {"device_id": gpu})] if gpu is not None else []
    providers = [each for each in on_gpu if each[0] in there]
    session = onnxruntime.InferenceSession(path, providers=[*providers, "CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    return lambda array: session.run(None, {name: array})[0]


def _torchscript(path: Path, gpu: int | None) -> Model:
    torch = importlib.import_module("torch")
    device = "cpu" if gpu is None or not torch.cuda.is_available() else f"cuda:{gpu}"
    model = torch.jit.load(path, map_location=device).eval()

    def run(array: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(array).to(device)).cpu().numpy()

    return run


class TritonPythonModel:
    """What the server calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the file that the configuration names."""
        self.triton: Any = importlib.import_module("triton_python_backend_utils")
        config = json.loads(args["model_config"])
        self.given, self.made = (config[name][0]["name"] for name in ("input", "output"))
        folder = Path(args["model_repository"], args["model_version"])
        on_gpu = args["model_instance_kind"] == "GPU"
        gpu = int(args["model_instance_device_id"]) if on_gpu else None
        self.model = load(folder / config["parameters"]["file"]["string_value"], gpu)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests."""
        return [self._answer(each) for each in requests]

    def _answer(self, request: Any) -> Any:
        given = self.triton.get_input_tensor_by_name(request, self.given).as_numpy()
        made = np.ascontiguousarray(self.model(given))
        return self.triton.InferenceResponse([self.triton.Tensor(self.made, made)])
