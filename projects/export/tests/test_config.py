"""The configuration is read back and held against what a server would be given."""

import re

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from aframe_export import config


def _parse(text):
    """Read protobuf text into lists of values by field, by a grammar of its own."""
    tokens = iter(re.findall(r'"[^"]*"|[\w.+-]+|[{}:]', text))

    def block(ends):
        fields = {}
        for name in tokens:
            if name == "}":
                assert ends
                return fields
            following = next(tokens)
            value = block(ends=True) if following == "{" else _value(next(tokens))
            assert following in "{:"
            fields.setdefault(name, []).append(value)
        assert not ends
        return fields

    return block(ends=False)


def _value(token):
    if token.startswith('"'):
        return token[1:-1]
    return int(token) if re.fullmatch(r"-?\d+", token) else config.Symbol(token)


def _tensors(fields):
    return {each["name"][0]: (each["data_type"][0], each["dims"]) for each in fields}


@pytest.fixture
def models(stream):
    """Parse the four configurations of the small stream of two detectors."""
    return _models(stream, "ONNX")


def _models(stream, platform, *, onnx=True):
    texts = config.repository(
        stream,
        2,
        streams_per_gpu=3,
        instances={"preprocessor": 2, "aframe": 4},
        chosen=config.runners(platform, onnx=onnx),
    )
    return {name: _parse(text) for name, text in texts.items()}


def test_names_platforms_and_tensors(models, stream):
    """Four models, of the names and shapes that clients of the field's tool know."""
    update, state = 8 * 64, stream.state_size
    tensors = {
        name: (_tensors(model["input"]), _tensors(model["output"]))
        for name, model in models.items()
    }

    assert {name: model["platform"] for name, model in models.items()} == {
        "snapshotter": ["onnxruntime_onnx"],
        "preprocessor": ["pytorch_libtorch"],
        "aframe": ["onnxruntime_onnx"],
        "aframe-stream": ["ensemble"],
    }
    assert all(model["name"] == [name] for name, model in models.items())
    assert all(model["max_batch_size"] == [0] for model in models.values())
    stream_in = {"stream": ("TYPE_FP32", [2, 2, update])}
    strain = {"strain": ("TYPE_FP32", [2, 2, state + update])}
    kernels = {"input_0": ("TYPE_FP32", [8, 2, 256])}
    scores = {"discriminator": ("TYPE_FP32", [8, 1])}
    assert tensors == {
        "snapshotter": (stream_in, strain),
        "preprocessor": (strain, kernels),
        "aframe": (kernels, scores),
        "aframe-stream": (stream_in, scores),
    }


@pytest.mark.parametrize("platform", config.PLATFORMS)
@pytest.mark.parametrize("onnx", [True, False])
def test_the_server_knows_every_field(stream, platform, onnx):
    """By its own definition of a configuration, which refuses what it does not know."""
    texts = config.repository(
        stream,
        2,
        streams_per_gpu=3,
        instances={"preprocessor": 2, "aframe": 4},
        chosen=config.runners(platform, onnx=onnx),
    )

    for name, text in texts.items():
        read = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert read.name == name
        assert bool(read.backend) != bool(read.platform)


def test_the_snapshotter_carries_a_state_that_starts_empty(models, stream):
    """One sequence, one slot; the state is kept by the server."""
    batching = models["snapshotter"]["sequence_batching"][0]
    (state,) = batching["state"]
    shape = [2, 2, stream.state_size]

    assert batching["direct"] == [{}]
    assert batching["max_sequence_idle_microseconds"] == [600_000_000]
    assert state["input_name"] == ["input_snapshot"]
    assert state["output_name"] == ["output_snapshot"]
    assert state["dims"] == shape
    assert state["initial_state"][0]["dims"] == shape
    assert state["initial_state"][0]["zero_data"] == ["true"]
    assert models["snapshotter"]["instance_group"] == [{"count": [3], "kind": ["KIND_AUTO"]}]


def test_the_ensemble_hands_each_result_to_the_next(models):
    """Every tensor a step takes is the stream or comes from a step before."""
    steps = models["aframe-stream"]["ensemble_scheduling"][0]["step"]

    known = {"stream"}
    for step in steps:
        (model,) = step["model_name"]
        taken, given = step["input_map"], step["output_map"]
        assert {each["key"][0] for each in taken} == set(_tensors(models[model]["input"]))
        assert {each["key"][0] for each in given} == set(_tensors(models[model]["output"]))
        assert {each["value"][0] for each in taken} <= known
        known |= {each["value"][0] for each in given}
    assert [step["model_version"] for step in steps] == [[-1]] * 3
    assert "discriminator" in known


def test_scalars_are_written_as_protobuf_text_has_them():
    """Names stand without quotes, texts with, truth in small letters, lists repeated."""
    text = config.text({"a": True, "b": config.Symbol("X"), "c": "x", "d": [1, 2.5], "e": {}})

    assert text.splitlines() == ["a: true", "b: X", 'c: "x"', "d: 1", "d: 2.5", "e {", "}"]


@pytest.mark.parametrize(
    ("platform", "onnx", "expected"),
    [
        ("TORCHSCRIPT", True, ("onnxruntime_onnx", "pytorch_libtorch", "pytorch_libtorch")),
        ("ONNX", True, ("onnxruntime_onnx", "pytorch_libtorch", "onnxruntime_onnx")),
        ("TENSORRT", True, ("onnxruntime_onnx", "pytorch_libtorch", "tensorrt_plan")),
        ("PYTHON", True, ("python", "python: model.onnx", "python: model.onnx")),
        ("PYTHON", False, ("python", "python: model.pt", "python: model.pt")),
    ],
)
def test_what_runs_each_model(stream, platform, onnx, expected):
    """A platform of the server, or its Python backend with a file."""
    models = _models(stream, platform, onnx=onnx)

    found = []
    for name in ("snapshotter", "preprocessor", "aframe"):
        (runner,) = models[name].get("platform") or models[name]["backend"]
        for each in models[name].get("parameters", ()):
            if each["key"] == ["file"]:
                runner += f": {each['value'][0]['string_value'][0]}"
        found.append(runner)
    assert tuple(found) == expected


def test_instances_are_as_many_as_asked(stream):
    """Of the models without a state; streams are those of the snapshotter."""
    models = _models(stream, "TORCHSCRIPT")

    counts = {
        name: each["instance_group"][0]["count"][0]
        for name, each in models.items()
        if name != "aframe-stream"
    }
    assert counts == {"snapshotter": 3, "preprocessor": 2, "aframe": 4}


def test_one_process_of_python_keeps_all_states(stream):
    """That backend has no state of its own for a model."""
    (batching,) = _models(stream, "PYTHON")["snapshotter"]["sequence_batching"]

    assert batching["oldest"] == [{"max_candidate_sequences": [3]}]
    assert "state" not in batching
