"""TensorRT plans: built where TensorRT is installed and a GPU is at hand, for that GPU alone."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aframe.errors import AframeError

#: Memory that TensorRT may try its kernels with (bytes).
WORKSPACE = 256 * 1024**2


def refuse_missing(*, wanted_by: str) -> None:
    """Refuse to build a plan where there is neither TensorRT nor a GPU.

    Raises:
        AframeError: If either is missing; it names them.
    """
    missing = [] if importlib.util.find_spec("tensorrt") else ["no module tensorrt"]
    missing += [] if torch.cuda.is_available() else ["no GPU"]
    if missing:
        raise AframeError(
            "a TensorRT plan cannot be built here",
            found=" and ".join(missing),
            wanted_by=f"platform TENSORRT of {wanted_by}",
            fix="pip install tensorrt on a machine with the server's kind of GPU, or set platform "
            "to TORCHSCRIPT or ONNX",
        )


def build(onnx: Path, shape: Sequence[int], path: Path) -> None:
    """Build the plan of an ONNX file, in single precision and for inputs of one shape.

    Raises:
        AframeError: If TensorRT cannot read the network or build it.
    """
    trt: Any = importlib.import_module("tensorrt")
    builder = trt.Builder(trt.Logger(trt.Logger.WARNING))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse(onnx.read_bytes()):
        raise _refused(onnx, "; ".join(str(parser.get_error(n)) for n in range(parser.num_errors)))
    settings = builder.create_builder_config()
    settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    # TF32 rounds to ten bits, which parity would not let pass.
    settings.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, *[tuple(shape)] * 3)
    settings.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, settings)
    if plan is None:
        raise _refused(onnx, "the builder gave no plan; its log is above")
    path.write_bytes(plan)


def _refused(onnx: Path, found: str) -> AframeError:
    return AframeError(
        "TensorRT does not take the network",
        found=f"{onnx.name}: {found}",
        wanted_by="platform TENSORRT",
        fix="use another release of TensorRT, or set platform to TORCHSCRIPT or ONNX",
    )


def load(path: Path) -> Callable[..., tuple[Tensor, ...]]:
    """Load a plan as a function of one tensor, of any number of kernels, on the GPU."""
    trt: Any = importlib.import_module("tensorrt")
    runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    context = engine.create_execution_context()
    given, made = (engine.get_tensor_name(place) for place in (0, 1))
    size = engine.get_tensor_shape(given)[0]

    def run(kernels: Tensor) -> tuple[Tensor, ...]:
        scores = [part(each) for each in torch.split(kernels.cuda(), size)]
        return (torch.cat(scores)[: len(kernels)].cpu(),)

    def part(kernels: Tensor) -> Tensor:
        # A plan takes whole batches.
        whole = torch.nn.functional.pad(kernels, (0, 0, 0, 0, 0, size - len(kernels))).contiguous()
        scores = torch.empty(tuple(engine.get_tensor_shape(made)), device="cuda")
        context.set_tensor_address(given, whole.data_ptr())
        context.set_tensor_address(made, scores.data_ptr())
        stream = torch.cuda.current_stream()
        context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        return scores[: len(kernels)]

    return run
