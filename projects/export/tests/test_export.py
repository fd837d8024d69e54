"""The verb: a repository that another program could serve, or nothing."""

import dataclasses
import json

import h5py
import numpy as np
import onnxruntime
import pytest
import torch

from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import run_verb
from aframe.transforms.streaming import streaming_search
from aframe_export import export as module
from aframe_export import models, parity
from aframe_export.cli import VERBS
from aframe_export.export import export

FILES = {
    "snapshotter": {"model.pt", "model.onnx"},
    "preprocessor": {"model.pt", "model.onnx"},
    "aframe": {"model.pt", "model.onnx", "preprocessing.json"},
    "aframe-stream": {"model.empty", "model.pt", "model.onnx", "streaming.json"},
}


@pytest.fixture
def draft(tmp_path):
    """An empty draft."""
    (tmp_path / "draft").mkdir()
    return Draft(tmp_path / "draft")


def test_the_repository_has_its_layout(settings, draft):
    """Four models with a configuration and a numbered version each."""
    export(settings, draft)

    repository = draft.path / "model_repo"
    assert {folder.name for folder in repository.iterdir()} == set(FILES)
    for name, files in FILES.items():
        assert {each.name for each in (repository / name).iterdir()} == {"1", "config.pbtxt"}
        assert {each.name for each in (repository / name / "1").iterdir()} == files
    streaming = json.loads((repository / "aframe-stream/1/streaming.json").read_text())
    assert streaming == {
        "schema_version": 1,
        "inference_sampling_rate": 4,
        "batch_size": 8,
        "psd_length": 4,
    }
    kept = repository / "aframe/1/preprocessing.json"
    assert kept.read_text() == settings.inputs.preprocessing.read_text()


def test_the_exported_search_is_the_trained_one(settings, draft, stream, whitener, network):
    """ONNX on another runtime, fed update by update, gives the scores of torch."""
    export(settings, draft)
    path = draft.path / "model_repo/aframe-stream/1/model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    search = streaming_search(stream, whitener, network)
    rng = np.random.default_rng(5)
    state = np.zeros((2, 2, stream.state_size), np.float32)
    ours = torch.from_numpy(state)

    for step in range(8):
        update = (rng.standard_normal((2, 2, stream.update_size)) * 1e-21).astype(np.float32)
        scores, state = session.run(None, {"stream": update, "input_snapshot": state})
        with torch.no_grad():
            wanted, ours = search(torch.from_numpy(update), ours)
        if (step + 1) * stream.update_size >= stream.state_size:
            np.testing.assert_allclose(scores, wanted.numpy(), atol=1e-5)

    np.testing.assert_array_equal(state, ours.numpy())


def test_the_record_tells_the_deviations(settings, draft):
    """One number for each file that holds a model, all of them small."""
    export(settings, draft)

    told = draft.notes["parity"]
    assert set(told["deviations"]) == {
        "ensemble",
        *(f"{name}/{file}" for name in FILES for file in ("model.pt", "model.onnx")),
    }
    assert max(told["deviations"].values()) < 1e-5 < told["tolerance"]


@pytest.mark.parametrize(
    ("platform", "named"), [("TORCHSCRIPT", "pytorch_libtorch"), ("ONNX", "onnxruntime_onnx")]
)
def test_the_platform_decides_how_the_network_is_served(settings, draft, platform, named):
    """Only its configuration differs."""
    export(dataclasses.replace(settings, platform=platform), draft)

    text = (draft.path / "model_repo/aframe/config.pbtxt").read_text()
    assert f'platform: "{named}"' in text


def test_a_server_of_python_alone_gets_scripts(settings, draft):
    """Beside the files that they run; what the server would chain repeats the trained search."""
    export(dataclasses.replace(settings, platform="PYTHON"), draft)

    for name in ("snapshotter", "preprocessor", "aframe"):
        folder = draft.path / "model_repo" / name
        assert {each.name for each in (folder / "1").iterdir()} == FILES[name] | {"model.py"}
        assert 'backend: "python"' in (folder / "config.pbtxt").read_text()
    assert draft.notes["parity"]["deviations"]["ensemble"] < 1e-5


def test_a_wrong_model_in_the_ensemble_stops_the_export(settings, draft, monkeypatch):
    """Each file may be right by itself, and the chain that the server runs still wrong."""
    right = parity.chain

    def wrong(files):
        return right({**files, "snapshotter": files["snapshotter"].with_name("late.py")})

    monkeypatch.setattr(parity, "chain", wrong)
    monkeypatch.setattr(parity, "_snapshots", lambda update, state: (_joined(update, state), state))

    with pytest.raises(AframeError, match=r"found +ensemble"):
        export(settings, draft)


def _joined(update, state):
    return torch.cat([state, update], dim=-1)


@pytest.fixture
def spectral(settings):
    """A network that computes with a Fourier transform."""

    class Spectral(torch.nn.Module):
        def forward(self, kernels):
            return torch.fft.rfft(kernels).abs().amax(-1).sum(-1, keepdim=True)

    traced = torch.jit.trace(Spectral(), torch.zeros(1, 2, 256))
    torch.jit.save(traced, settings.inputs.weights)
    return settings


def test_what_has_no_onnx_is_torchscript_alone(spectral, draft):
    """All else is there in both forms."""
    export(spectral, draft)
    repository = draft.path / "model_repo"

    assert {path.parents[1].name for path in repository.glob("*/1/model.pt")} == set(FILES)
    assert {path.parents[1].name for path in repository.glob("*/1/model.onnx")} == {
        "snapshotter",
        "preprocessor",
    }


@pytest.fixture
def unknown(settings):
    """A network with an operation that the exporter of ONNX does not know at this size."""
    layers = [torch.nn.AdaptiveMaxPool1d(7), torch.nn.Flatten(), torch.nn.Linear(14, 1)]
    kernels = torch.zeros(1, 2, 256)
    torch.jit.save(
        torch.jit.trace(torch.nn.Sequential(*layers).eval(), kernels), settings.inputs.weights
    )
    return settings


def test_what_the_exporter_does_not_know_is_torchscript_alone(unknown, draft):
    """As what has no ONNX at all; it is refused where ONNX is to be served, before any work."""
    with pytest.raises(AframeError, match=r"no ONNX form\n +found .*adaptive_max_pool1d, output"):
        export(dataclasses.replace(unknown, platform="ONNX"), draft)
    assert not list(draft.path.iterdir())

    export(dataclasses.replace(unknown, platform="PYTHON"), draft)

    assert {path.name for path in (draft.path / "model_repo/aframe/1").iterdir()} == {
        *("model.py", "model.pt", "preprocessing.json")
    }


def test_the_python_backend_runs_it_as_torchscript(spectral, draft):
    """Where the network has no ONNX form."""
    export(dataclasses.replace(spectral, platform="PYTHON"), draft)

    text = (draft.path / "model_repo/aframe/config.pbtxt").read_text()
    assert 'string_value: "model.pt"' in text


@pytest.mark.parametrize("platform", ["ONNX", "TENSORRT"])
def test_refuses_to_serve_what_has_no_onnx(spectral, draft, platform, monkeypatch):
    """Before any work, and says which operation it is."""
    monkeypatch.setattr(module.plan, "refuse_missing", lambda **_: None)

    with pytest.raises(AframeError, match=r"no ONNX form\n +found .*aten::fft_rfft"):
        export(dataclasses.replace(spectral, platform=platform), draft)

    assert not list(draft.path.iterdir())


def test_what_a_killed_run_left_is_not_kept(settings, draft):
    """The repository is written anew, since a file in it may be half."""
    left = draft.path / "model_repo" / "aframe" / "7"
    left.mkdir(parents=True)

    export(settings, draft)

    assert not left.exists()
    assert (draft.path / "model_repo/aframe/1/model.pt").exists()


def test_a_failed_export_publishes_nothing(settings, monkeypatch):
    """A model that does not repeat the trained one never appears in the output."""
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)

    with pytest.raises(AframeError, match="does not repeat the trained one"):
        run_verb("export", VERBS[0], settings)

    assert not (settings.output / "model_repo").exists()


def test_a_wrong_formula_stops_the_export(settings, draft, monkeypatch):
    """Parity is asked of the files as written, not of what they were made from."""
    right = models.write_onnx

    def wrong(script, part, path):
        if part.name == "aframe-stream":
            script = models.torchscript(
                dataclasses.replace(part, exported=_Negative(part.exported))
            )
        right(script, part, path)

    monkeypatch.setattr(module.models, "write_onnx", wrong)

    with pytest.raises(AframeError, match=r"found +aframe-stream/model.onnx"):
        export(settings, draft)


class _Negative(torch.nn.Module):
    def __init__(self, search):
        super().__init__()
        self.search = search

    def forward(self, stream, state):
        scores, state = self.search(stream, state)
        return -scores, state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"highpass": 25.0}, r"highpass 25.0 \(trained with 20.0\)"),
        ({"ifos": ("L1", "H1")}, r"ifos \['L1', 'H1'\]"),
        ({"kernel_length": 2.0}, "kernel_length 2.0"),
        ({"fftlength": 1.0}, "fftlength 1.0"),
        ({"psd_length": 0.25}, "shorter than one Welch segment"),
    ],
)
def test_refuses_settings_that_do_not_fit_the_training(settings, draft, change, message):
    """Before anything is written."""
    with pytest.raises(AframeError, match=message):
        export(dataclasses.replace(settings, **change), draft)

    assert not list(draft.path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"platform": "TRITON"}, r"platform TRITON(.|\n)*choose one of TORCHSCRIPT, ONNX, TENS"),
        ({"streams_per_gpu": 0}, "streams_per_gpu 0"),
        ({"aframe_instances": 0}, r"copy of each model at least\n +found +aframe_instances 0"),
        ({"preproc_instances": -1}, "preproc_instances -1"),
        ({"inference_sampling_rate": 3.0}, "no whole number of samples"),
    ],
)
def test_refuses_settings_that_cannot_be(settings, change, message):
    """As soon as they are read."""
    with pytest.raises(AframeError, match=message):
        dataclasses.replace(settings, **change)


@pytest.mark.parametrize("shape", [(16, 3, 256), (16, 2, 128), (16, 512)])
def test_refuses_a_batch_of_another_training(settings, draft, shape):
    """Whose kernels do not have the shape that the preprocessing says."""
    with h5py.File(settings.inputs.batch, "w") as file:
        file["input_0"] = np.zeros(shape, np.float32)

    with pytest.raises(AframeError, match="batch does not fit the preprocessing"):
        export(settings, draft)


def test_refuses_a_file_that_is_no_network(settings, draft):
    """And says which file."""
    settings.inputs.weights.write_bytes(b"not a network")

    with pytest.raises(AframeError, match=r"network cannot be used\n +found .*model.pt"):
        export(settings, draft)


def test_refuses_a_network_of_another_kind(settings, draft):
    """One score a kernel is asked, not a vector."""
    torch.jit.save(
        torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 2, 256)), settings.inputs.weights
    )

    with pytest.raises(AframeError, match=r"scores 16 kernels with shape \(16, 512\)"):
        export(settings, draft)
