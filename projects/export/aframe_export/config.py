"""Configuration of the models in a Triton repository, as protobuf text.

Source:
    ``model_config.proto`` of NVIDIA's Triton Inference Server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aframe.transforms.stream import Stream

SNAPSHOTTER, PREPROCESSOR, NETWORK, SEARCH = (
    "snapshotter",
    "preprocessor",
    "aframe",
    "aframe-stream",
)
#: A sequence may pause for so long before the server forgets it (us): longer than a client
#: waits before it starts the sequence anew, and short enough that the place of a client that
#: was killed becomes free.
IDLE_MICROSECONDS = 600_000_000
_FLOAT = "TYPE_FP32"


class Symbol(str):
    """A member of an enumeration, which stands without quotes."""

    __slots__ = ()


Fields = Mapping[str, Any]
Shape = Sequence[int]


@dataclass(frozen=True)
class Runner:
    """What runs a model in the server, and the file in its version's folder that it runs.

    Args:
        field: What the configuration calls it: a ``platform`` or a ``backend``.
        name: The server's name for it.
        file: What it runs.
    """

    field: str
    name: str
    file: str

    @property
    def fields(self) -> dict[str, Any]:
        """What the configuration says of it."""
        told: dict[str, Any] = {self.field: self.name}
        if self == PYTHON_STATE or self.name != "python":
            return told
        return {**told, "parameters": _parameter("file", self.file)}


def _parameter(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"string_value": value}}


ONNX = Runner("platform", "onnxruntime_onnx", "model.onnx")
TORCHSCRIPT = Runner("platform", "pytorch_libtorch", "model.pt")
TENSORRT = Runner("platform", "tensorrt_plan", "model.plan")
PYTHON_ONNX = Runner("backend", "python", "model.onnx")
PYTHON_TORCHSCRIPT = Runner("backend", "python", "model.pt")
PYTHON_STATE = Runner("backend", "python", "model.py")

#: What runs snapshotter, preprocessor and network on each platform.
PLATFORMS = {
    "TORCHSCRIPT": (ONNX, TORCHSCRIPT, TORCHSCRIPT),
    "ONNX": (ONNX, TORCHSCRIPT, ONNX),
    "TENSORRT": (ONNX, TORCHSCRIPT, TENSORRT),
    "PYTHON": (PYTHON_STATE, PYTHON_ONNX, PYTHON_ONNX),
}


def runners(platform: str, *, onnx: bool) -> dict[str, Runner]:
    """What runs each model on a *platform*, for a network with an ONNX form or without."""
    names = (SNAPSHOTTER, PREPROCESSOR, NETWORK)
    chosen = dict(zip(names, PLATFORMS[platform], strict=True))
    if chosen[NETWORK] == PYTHON_ONNX and not onnx:
        # The server's environment then needs torch anyway.
        chosen |= dict.fromkeys((PREPROCESSOR, NETWORK), PYTHON_TORCHSCRIPT)
    return chosen


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


def _model(name: str, runner: Fields, inputs: Fields, outputs: Fields) -> dict[str, Any]:
    return {
        "name": name,
        **runner,
        "max_batch_size": 0,
        "input": [_tensor(*each) for each in inputs.items()],
        "output": [_tensor(*each) for each in outputs.items()],
    }


def repository(
    stream: Stream,
    ifos: int,
    *,
    streams_per_gpu: int,
    instances: Mapping[str, int],
    chosen: Mapping[str, Runner],
) -> dict[str, str]:
    """Write the configuration of the four models, by their names.

    Args:
        stream: The lengths.
        ifos: Number of detectors.
        streams_per_gpu: Streams that one device serves at a time.
        instances: Copies of the preprocessor and of the network on each device.
        chosen: What runs each model.
    """
    update = (2, ifos, stream.update_size)
    state = (2, ifos, stream.state_size)
    snapshot = (2, ifos, stream.state_size + stream.update_size)
    kernels = (stream.batch_size, ifos, stream.kernel_size)
    scores = (stream.batch_size, 1)
    tensors: dict[str, tuple[Fields, Fields]] = {
        PREPROCESSOR: ({"strain": snapshot}, {"input_0": kernels}),
        NETWORK: ({"input_0": kernels}, {"discriminator": scores}),
    }
    models = [
        {
            **_model(
                SNAPSHOTTER, chosen[SNAPSHOTTER].fields, {"stream": update}, {"strain": snapshot}
            ),
            **_sequences(chosen[SNAPSHOTTER], state, streams_per_gpu),
        },
        *(
            {**_model(name, chosen[name].fields, *tensors[name]), **_copies(instances[name])}
            for name in tensors
        ),
        _ensemble(update, scores),
    ]
    return {model["name"]: text(model) for model in models}


def _copies(count: int, kind: str = "KIND_AUTO") -> dict[str, Any]:
    return {"instance_group": {"count": count, "kind": Symbol(kind)}}


def _sequences(runner: Runner, state: Shape, streams: int) -> dict[str, Any]:
    """How many sequences there may be at a time, and where the state of each is kept."""
    idle = {"max_sequence_idle_microseconds": IDLE_MICROSECONDS}
    if runner == PYTHON_STATE:
        # One process keeps the states of all, by their correlation ids.
        batching = {**idle, "oldest": {"max_candidate_sequences": streams}}
        return {"sequence_batching": batching, **_copies(1, "KIND_CPU")}
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
        "sequence_batching": {**idle, "direct": {}, "state": carried},
        **_copies(streams),
        "parameters": _parameter("intra_op_thread_count", "2"),
    }


def _ensemble(update: Shape, scores: Shape) -> dict[str, Any]:
    chain = (
        (SNAPSHOTTER, ("stream", "stream"), ("strain", "snapshot")),
        (PREPROCESSOR, ("strain", "snapshot"), ("input_0", "kernels")),
        (NETWORK, ("input_0", "kernels"), ("discriminator", "discriminator")),
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
        **_model(SEARCH, {"platform": "ensemble"}, {"stream": update}, {"discriminator": scores}),
        "ensemble_scheduling": {"step": steps},
    }
