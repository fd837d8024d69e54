"""Whether exported models give what the trained one gives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor

from aframe.errors import AframeError
from aframe.transforms.stream import Stream
from aframe.transforms.sweep import find_sweep
from aframe_export import plan
from aframe_export.backend.snapshotter import Snapshots
from aframe_export.config import NETWORK, PREPROCESSOR, SEARCH, SNAPSHOTTER
from aframe_export.models import WHOLE_UPDATES, Part

#: Largest deviation, relative to the largest value where that is above one.
#: Float32 sums in another order agree to some 1e-6; a wrong formula does not.
TOLERANCE = 1e-4

Model = Callable[..., tuple[Tensor, ...]]
Updates = Float[Tensor, "step pair ifo update"]


def load(path: Path) -> Model:
    """Load what a server would run as a function of tensors: on the CPU, but for a plan."""
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.suffix == ".plan":
        return plan.load(path)
    if path.suffix == ".py":
        return _snapshots
    return _torch(torch.jit.load(path).eval())  # type: ignore[no-untyped-call]


def _snapshots(update: Tensor, state: Tensor) -> tuple[Tensor, ...]:
    """Carry a state as the Python backend's snapshotter does."""
    kept = Snapshots(tuple(state.shape), math.inf)
    kept.states["sequence"] = time.monotonic(), state.numpy()
    strain = kept("sequence", 0, update.numpy())
    return torch.from_numpy(strain), torch.from_numpy(kept.states["sequence"][1])


def _onnx(path: Path) -> Model:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(*arguments: Tensor) -> tuple[Tensor, ...]:
        fed = {name: each.numpy() for name, each in zip(names, arguments, strict=True)}
        return tuple(torch.from_numpy(each) for each in session.run(None, fed))

    return run


def _torch(model: torch.nn.Module) -> Model:
    def run(*arguments: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            results = model(*arguments)
        return results if isinstance(results, tuple) else (results,)

    return run


def deviation(found: Model, part: Part, *, batch: Tensor, updates: Updates) -> float:
    """Try an exported model beside the module that it was made of.

    Args:
        found: The exported model.
        part: What it was made of.
        batch: Kernels of the training, for the network, beside those of random strain.
        updates: Strain for all others; it also fills the state.
    """
    expected = _torch(part.module)
    state = torch.zeros(part.arguments[-1].shape)
    if part.name == NETWORK:
        # Apart, as the larger scores of a training would hide what noise differs by.
        kernels = (batch, *part.arguments)
        return max(_difference(found(each)[0], expected(each)[0]) for each in kernels)
    if part.name == SEARCH:
        # Until the state is whole, the scores mean nothing.
        mine, theirs = (_stream(each, updates, state) for each in (found, expected))
        whole = islice(zip(mine, theirs, strict=True), len(updates) - WHOLE_UPDATES, None)
        return max(_difference(*pair) for steps in whole for pair in zip(*steps, strict=True))
    # Random strain of the size that the model takes: a snapshot, or an update and a state.
    arguments = tuple(_filled(each, updates) for each in part.arguments)
    outcomes = zip(found(*arguments), expected(*arguments), strict=True)
    return max(_difference(*pair) for pair in outcomes)


def sweep_deviation(network: torch.nn.Module, stream: Stream, ifos: int) -> float | None:
    """How far one sweep over a random whitened block is from its kernels, one by one.

    Args:
        network: The exported network.
        stream: The lengths.
        ifos: Number of detectors.

    Returns:
        The deviation, or nothing where the network cannot be swept at this stride.
    """
    sweep = find_sweep(network, stream)
    if sweep is None:
        return None
    drawn = torch.Generator().manual_seed(0)
    block = torch.randn(ifos, stream.whitened_size, generator=drawn)
    with torch.no_grad():
        kernels = stream.unfold(block).transpose(0, 1)
        # Kernels of a long block would need memory for all at once.
        windows = torch.cat([network(part) for part in torch.split(kernels, 32)])
        return _difference(sweep.scores(block), windows)


def chain(files: Mapping[str, Path]) -> Model:
    """Load the files of snapshotter, preprocessor and network as the ensemble of the server.

    Args:
        files: What runs each model, by its name.
    """
    snapshot, whiten, score = (load(files[n]) for n in (SNAPSHOTTER, PREPROCESSOR, NETWORK))

    def run(update: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        strain, state = snapshot(update, state)
        return *score(*whiten(strain)), state

    return run


def _stream(model: Model, updates: Updates, state: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    for update in updates:
        scores, state = model(update, state)
        yield scores, state


def _filled(like: Tensor, updates: Updates) -> Tensor:
    strain = updates.permute(1, 2, 0, 3).flatten(2)
    return strain[..., -like.shape[-1] :].contiguous()


def _difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference; infinite where a shape differs or a value is not finite."""
    if found.shape != expected.shape or not (found.isfinite() & expected.isfinite()).all():
        return float("inf")
    return float((found - expected).abs().max()) / max(1.0, float(expected.abs().max()))


def refuse_deviation(deviations: Mapping[str, float]) -> None:
    """Refuse exported models that do not repeat the trained one.

    Raises:
        AframeError: If a deviation is above :data:`TOLERANCE`; it names each.
    """
    wrong = [f"{name} {value:.2g}" for name, value in deviations.items() if value > TOLERANCE]
    if wrong:
        raise AframeError(
            "an exported model does not repeat the trained one",
            found=", ".join(wrong),
            wanted_by=f"a deviation of at most {TOLERANCE:g}",
            fix="nothing was published; report this with the configuration of the training",
        )
