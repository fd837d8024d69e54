"""The models of a repository, and the forms in which they leave Python."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aframe.transforms.stream import Stream
from aframe.transforms.streaming import (
    Preprocessor,
    Snapshotter,
    StreamingSearch,
    streaming_search,
)
from aframe.transforms.whitening import Whitener
from aframe_export.config import NETWORK, PREPROCESSOR, SEARCH, SNAPSHOTTER
from aframe_export.spectral import RealWhitener

#: The oldest operator set of ONNX that has every operation used here.
OPSET = 17
#: Operations that ONNX lacks, as it has no complex numbers.
COMPLEX = ("aten::fft_", "aten::stft", "aten::complex", "aten::view_as_complex")
#: Size of the random strain that models are tried on, about that of real strain.
AMPLITUDE = 1e-21
#: Updates of random strain after the state is whole.
WHOLE_UPDATES = 3


@dataclass(frozen=True)
class Part:
    """A model of the repository.

    Args:
        name: Its folder.
        module: What it does, in torch.
        exported: The same as it can leave Python.
        arguments: Arguments of the shapes it takes.
        inputs: Names of its arguments.
        outputs: Names of its results.
        any_batch: Whether the first dimension of all its tensors stays open in ONNX.
    """

    name: str
    module: torch.nn.Module
    exported: torch.nn.Module
    arguments: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    any_batch: bool = False


def parts(
    stream: Stream,
    whitener: Whitener,
    network: torch.jit.ScriptModule,
    update: Float[Tensor, "pair ifo update"],
) -> list[Part]:
    """Take the streaming search apart into the models of a repository."""
    search = streaming_search(stream, whitener, network)
    real = RealWhitener(whitener, stream.psd_size, stream.window_size)
    portable = StreamingSearch(Snapshotter(stream), Preprocessor(stream, real.psd, real), network)
    state = torch.zeros(*update.shape[:2], stream.state_size)
    strain = _noise((*update.shape[:2], stream.state_size + stream.update_size))
    kernels = search.preprocessor(strain)
    carried = ("stream", "input_snapshot"), "output_snapshot"
    return [
        Part(
            SNAPSHOTTER,
            search.snapshotter,
            portable.snapshotter,
            (update, state),
            carried[0],
            ("strain", carried[1]),
        ),
        Part(
            PREPROCESSOR,
            search.preprocessor,
            portable.preprocessor,
            (strain,),
            ("strain",),
            ("input_0",),
        ),
        Part(
            NETWORK, network, network, (kernels,), ("input_0",), ("discriminator",), any_batch=True
        ),
        Part(SEARCH, search, portable, (update, state), carried[0], ("discriminator", carried[1])),
    ]


def random_updates(stream: Stream, ifos: int) -> Float[Tensor, "step pair ifo update"]:
    """White noise of the size of strain: updates that fill the state, and some more."""
    steps = -(-stream.state_size // stream.update_size) + WHOLE_UPDATES
    return _noise((steps, 2, ifos, stream.update_size))


def _noise(shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    values = np.random.default_rng(0).standard_normal(shape) * AMPLITUDE
    return torch.from_numpy(values.astype(np.float32))


def torchscript(part: Part) -> torch.jit.ScriptModule:
    """Make TorchScript of a model, for arguments of these shapes."""
    if isinstance(part.exported, torch.jit.ScriptModule):
        return part.exported
    with torch.no_grad(), warnings.catch_warnings():
        # Shapes become constants, as they should.
        warnings.simplefilter("ignore")
        return torch.jit.trace(part.exported.eval(), part.arguments, check_trace=False)  # type: ignore[no-untyped-call]


def without_onnx(script: torch.jit.ScriptModule, kernels: Float[Tensor, "..."]) -> list[str]:
    """Tell what of a network the format has no form of; empty if there is nothing.

    Args:
        script: The network.
        kernels: Some kernels, which it is tried with.
    """
    found = {node.kind() for node in script.inlined_graph.nodes()}
    lacking = sorted(kind for kind in found if kind.startswith(COMPLEX))
    if lacking:
        return lacking
    try:
        _write_onnx(script, (kernels,), io.BytesIO())
    except RuntimeError as error:
        return [str(error).splitlines()[0].partition(" Please ")[0]]
    return []


def write_onnx(script: torch.jit.ScriptModule, part: Part, path: Path) -> None:
    """Write the TorchScript of a model as ONNX."""
    named = (*part.inputs, *part.outputs) if part.any_batch else ()
    _write_onnx(
        script,
        part.arguments,
        path,
        input_names=list(part.inputs),
        output_names=list(part.outputs),
        dynamic_axes={name: {0: "batch"} for name in named},
    )


def _write_onnx(
    script: torch.jit.ScriptModule, arguments: tuple[Tensor, ...], place: Any, **named: Any
) -> None:
    with warnings.catch_warnings(), _without_log():
        # The newer exporter does not take TorchScript, the one form in which a trained
        # network comes.
        warnings.simplefilter("ignore")
        torch.onnx.export(script, arguments, place, dynamo=False, opset_version=OPSET, **named)


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Keep the exporter from printing the whole network where it fails."""
    said = torch._C._jit_onnx_log  # noqa: SLF001 (the exporter takes no other silence)
    torch._C._jit_onnx_log = lambda *_: None  # noqa: SLF001
    try:
        yield
    finally:
        torch._C._jit_onnx_log = said  # noqa: SLF001
