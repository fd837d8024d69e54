"""Whatever runs the network, its scores are the network's, and a search keeps to one."""

import json
import shutil
import warnings

import pytest
import torch

from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_infer import engines
from aframe_infer.engines import COMPILED, HALF, ONNX, PLAIN, TOLERANCE, best, load, settle, try_out
from aframe_infer.repository import read_repository
from aframe_infer.scores import BATCH

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def convolutional(model_repository, tmp_path_factory):
    """A repository of a small residual network, as TorchScript and ONNX."""
    root = shutil.copytree(model_repository, tmp_path_factory.mktemp("net") / "model_repo")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv1d(2, 8, 7, 4, 3),
        torch.nn.GroupNorm(4, 8),
        torch.nn.ReLU(),
        torch.nn.Conv1d(8, 8, 3, 2, 1),
        torch.nn.AdaptiveAvgPool1d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 1),
    ).eval()
    # Scores of several, as a trained network's are.
    network[-1].weight.data *= 20
    script = torch.jit.trace(network, torch.zeros(2, 2, 256))
    torch.jit.save(script, root / "aframe/1/model.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            script,
            (torch.zeros(2, 2, 256),),
            root / "aframe/1/model.onnx",
            dynamo=False,
            opset_version=17,
            input_names=["input_0"],
            output_names=["discriminator"],
            dynamic_axes={name: {0: "batch"} for name in ("input_0", "discriminator")},
        )
    return read_repository(root, -1)


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """A machine that has chosen nothing and loaded nothing."""
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "cache"))
    load.cache_clear()


@pytest.fixture
def draft(tmp_path):
    """An empty draft."""
    (tmp_path / "draft").mkdir()
    return Draft(tmp_path / "draft")


def _kernels():
    return torch.randn(BATCH["cpu"], 2, 256, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", [PLAIN, ONNX, COMPILED, HALF])
def test_scores_are_the_networks(convolutional, name):
    """In single precision, or in half within what eight bits leave."""
    kernels = _kernels()
    expected = torch.jit.load(convolutional.network).eval()(kernels).detach()

    with torch.inference_mode():
        found = load(name, convolutional, CPU)(kernels)

    assert found.dtype == torch.float32
    assert expected.std() > 0.3
    difference = float((found - expected).abs().max()) / max(1, float(expected.abs().max()))
    assert difference < TOLERANCE[name]
    # Half precision is what it says.
    assert (difference > 1e-4) == (name == HALF)


def test_what_is_to_be_had_depends_on_device_and_amount(convolutional, repository):
    """ONNX where it was written, and compiling where there is much to score."""
    much = engines.WORTH_COMPILING

    assert engines.names(repository, "cpu", 10) == [PLAIN]
    assert engines.names(convolutional, "cpu", 10) == [PLAIN, ONNX]
    assert engines.names(convolutional, "cpu", much) == [PLAIN, ONNX, COMPILED]
    assert engines.names(convolutional, "cuda", 10) == [PLAIN]
    assert engines.names(convolutional, "cuda", much) == [PLAIN, COMPILED, HALF]


def test_each_is_measured_and_held_against_the_network(convolutional):
    """The plain network is itself."""
    found = try_out(convolutional, _kernels(), [PLAIN, ONNX])

    assert found[PLAIN]["deviation"] < 1e-6
    assert found[ONNX]["deviation"] < 1e-5
    assert all(each["speed"] > 0 for each in found.values())


def test_what_cannot_be_made_is_left_out(convolutional, monkeypatch):
    """As where nothing compiles."""

    def fail(*_, half):
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(engines, "_compiled", fail)

    assert set(try_out(convolutional, _kernels(), [PLAIN, COMPILED])) == {PLAIN}


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({PLAIN: (0, 100), ONNX: (1e-6, 109)}, PLAIN),
        ({PLAIN: (0, 100), ONNX: (1e-6, 111)}, ONNX),
        ({PLAIN: (0, 100), ONNX: (1e-3, 300)}, PLAIN),
        ({PLAIN: (0, 100), COMPILED: (1e-6, 300), HALF: (1e-2, 900)}, HALF),
        ({PLAIN: (0, 100), COMPILED: (1e-6, 300), HALF: (1e-1, 900)}, COMPILED),
        ({PLAIN: (0, 100), COMPILED: (float("nan"), 300)}, PLAIN),
        ({ONNX: (1, 300)}, PLAIN),
    ],
)
def test_the_fastest_that_is_right_is_best(found, name):
    """By a margin over the plain one, which is what is left where none is right."""
    tried = {key: {"deviation": each[0], "speed": each[1]} for key, each in found.items()}

    assert best(tried) == name


def _tried(monkeypatch, speeds):
    """Have trials find these speeds; gives the names of all that are tried."""
    asked = []

    def tell(repository, kernels, wanted):
        asked.append(list(wanted))
        return {name: {"deviation": 0.0, "speed": speeds[name]} for name in wanted}

    monkeypatch.setattr(engines, "try_out", tell)
    return asked


def test_a_search_goes_on_with_what_it_began_with(convolutional, draft, monkeypatch):
    """Though another would be faster by now; and the record tells what was tried."""
    _tried(monkeypatch, {PLAIN: 100.0, ONNX: 200.0})
    first = settle(convolutional, "cpu", _kernels, 10, draft)
    asked = _tried(monkeypatch, {PLAIN: 200.0, ONNX: 100.0})

    resumed = settle(convolutional, "cpu", _kernels, 10, draft)

    assert first == resumed == ONNX
    assert asked == []
    assert draft.notes["engine"]["tolerance"] == TOLERANCE[ONNX]
    assert draft.notes["engine"]["tried"][PLAIN] == {"deviation": 0.0, "speed": 100.0}
    json.dumps(draft.notes)


def test_a_machine_chooses_once_for_a_network(convolutional, repository, draft, monkeypatch):
    """Another search makes the same choice, whatever the load; it is tried for its parity."""
    _tried(monkeypatch, {PLAIN: 100.0, ONNX: 200.0})
    settle(convolutional, "cpu", _kernels, 10, draft)
    asked = _tried(monkeypatch, {PLAIN: 200.0, ONNX: 100.0})
    others = [Draft(draft.path.parent / name) for name in ("second", "third")]

    again = settle(convolutional, "cpu", _kernels, 10, others[0])
    other_network = settle(repository, "cpu", _kernels, 10, others[1])

    assert (again, other_network) == (ONNX, PLAIN)
    assert asked == [[ONNX], [PLAIN]]


def test_a_home_that_cannot_be_written_keeps_no_choice(convolutional, draft, tmp_path, monkeypatch):
    """And does no harm."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "file"))
    _tried(monkeypatch, {PLAIN: 200.0, ONNX: 100.0})

    assert settle(convolutional, "cpu", _kernels, 10, draft) == PLAIN


@pytest.mark.parametrize("began", [(COMPILED, "cpu"), (HALF, "cuda")])
def test_refuses_to_go_on_with_another(convolutional, draft, began):
    """Scores of two engines would not be one search's."""
    chosen = dict(zip(("name", "device"), began, strict=True))
    (draft.work / "engine.json").write_text(json.dumps(chosen))

    with pytest.raises(
        AframeError, match=rf"began with another engine(.|\n)*{began[0]} on {began[1]}; cpu has tor"
    ):
        settle(convolutional, "cpu", _kernels, 10, draft)
