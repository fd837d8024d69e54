"""Configuration of the models in a Triton repository, as protobuf text.

Source:
    ``model_config.proto`` of NVIDIA's Triton Inference Server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aframe.transforms.streaming import Stream

#: How the server names what runs a model's file.
ONNX = "onnxruntime_onnx"
TORCHSCRIPT = "pytorch_libtorch"
#: A stream may pause for so long before the server forgets its state (us).
IDLE_MICROSECONDS = 60_000_000_000
_FLOAT = "TYPE_FP32"


class Symbol(str):
    """A member of an enumeration, which stands without quotes."""

    __slots__ = ()


Fields = Mapping[str, Any]
Shape = Sequence[int]


def text(fields: Fields) -> str:
    """Write nested fields as protobuf text.

    Example:
        >>> print(text({"name": "a", "input": [{"data_type": Symbol("TYPE_FP32")}]}), end="")
        name: "a"
        input {
          data_type: TYPE_FP32
        }
    """
    return "".join(f"{line}\n" for line in _lines(fields))


def _lines(fields: Fields) -> Iterator[str]:
    for name, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield f"{name} {{"
                yield from (f"  {line}" for line in _lines(item))
                yield "}"
            else:
                yield f"{name}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Symbol) else str(value)


def _tensor(name: str, shape: Shape) -> dict[str, Any]:
    return {"name": name, "data_type": Symbol(_FLOAT), "dims": list(shape)}


def _model(name: str, platform: str, inputs: Fields, outputs: Fields) -> dict[str, Any]:
    return {
        "name": name,
        "platform": platform,
        "max_batch_size": 0,
        "input": [_tensor(*each) for each in inputs.items()],
        "output": [_tensor(*each) for each in outputs.items()],
    }


def repository(stream: Stream, ifos: int, *, streams_per_gpu: int, platform: str) -> dict[str, str]:
    """Write the configuration of the four models, by their names.

    Args:
        stream: The lengths.
        ifos: Number of detectors.
        streams_per_gpu: Streams that one device serves at a time.
        platform: What runs the network, :data:`ONNX` or :data:`TORCHSCRIPT`.
    """
    update = (2, ifos, stream.update_size)
    state = (2, ifos, stream.state_size)
    snapshot = (2, ifos, stream.state_size + stream.update_size)
    kernels = (stream.batch_size, ifos, stream.kernel_size)
    scores = (stream.batch_size, 1)
    models = [
        _snapshotter(update, state, snapshot, streams_per_gpu),
        _model("preprocessor", TORCHSCRIPT, {"strain": snapshot}, {"input_0": kernels}),
        _model("aframe", platform, {"input_0": kernels}, {"discriminator": scores}),
        _ensemble(update, scores),
    ]
    return {model["name"]: text(model) for model in models}


def _snapshotter(update: Shape, state: Shape, snapshot: Shape, streams: int) -> dict[str, Any]:
    carried = {
        "input_name": "input_snapshot",
        "output_name": "output_snapshot",
        "data_type": Symbol(_FLOAT),
        "dims": list(state),
        "initial_state": {
            "data_type": Symbol(_FLOAT),
            "dims": list(state),
            "zero_data": True,
            "name": "empty",
        },
    }
    return {
        **_model("snapshotter", ONNX, {"stream": update}, {"strain": snapshot}),
        "sequence_batching": {
            "max_sequence_idle_microseconds": IDLE_MICROSECONDS,
            "direct": {},
            "state": carried,
        },
        "instance_group": {"count": streams, "kind": Symbol("KIND_AUTO")},
        "parameters": {"key": "intra_op_thread_count", "value": {"string_value": "2"}},
    }


def _ensemble(update: Shape, scores: Shape) -> dict[str, Any]:
    chain = (
        ("snapshotter", ("stream", "stream"), ("strain", "snapshot")),
        ("preprocessor", ("strain", "snapshot"), ("input_0", "kernels")),
        ("aframe", ("input_0", "kernels"), ("discriminator", "discriminator")),
    )
    steps = [
        {
            "model_name": name,
            "model_version": -1,
            "input_map": {"key": taken[0], "value": taken[1]},
            "output_map": {"key": given[0], "value": given[1]},
        }
        for name, taken, given in chain
    ]
    return {
        **_model("aframe-stream", "ensemble", {"stream": update}, {"discriminator": scores}),
        "ensemble_scheduling": {"step": steps},
    }
