"""What runs the network: the best of several on this machine, found by trying them.

Whichever runs, the scores are those of the exported network in single precision within
a tolerance, which is tried on kernels of the search. The choice is kept with the search,
so that a resumed one goes on with it, and with the machine, so that another search with
this network makes the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from jaxtyping import Float
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from aframe.artifacts.record import file_digest, write_text
from aframe.artifacts.remote import cache_directory
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_infer.repository import Repository
from aframe_infer.scores import BATCH, Network
from aframe_infer.settings import COMMAND

log = logging.getLogger(__name__)

PLAIN, ONNX, COMPILED, HALF = "torchscript", "onnxruntime", "compiled", "compiled-bfloat16"
#: Stands for that which each machine finds for itself, where the search is dealt to others.
EACH = "each machine's own"
#: Largest deviation of a score from the exported network's, relative to the largest score
#: where that is above one: of sums in another order, and with the eight bits of bfloat16.
TOLERANCE = {PLAIN: 1e-4, ONNX: 1e-4, COMPILED: 1e-4, HALF: 2e-2}
#: Kernels that are compared; a CPU scores them all once more.
COMPARED = 32
#: Compiling takes a minute or more, which so many kernels are worth.
WORTH_COMPILING = 1_000_000
#: By how much another must be faster than the plain one: less is noise.
GAIN = 1.1
_TURNS = 3
_ATEN = torch.ops.aten


def names(repository: Repository, device: str, amount: int) -> list[str]:
    """Name what could run the network.

    Args:
        repository: The network.
        device: Where: ``cpu`` or ``cuda``.
        amount: Kernels of the search.
    """
    long = amount >= WORTH_COMPILING
    if device == "cuda":
        return [PLAIN, *([COMPILED, HALF] if long else [])]
    onnx = [ONNX] if repository.onnx.exists() else []
    return [PLAIN, *onnx, *([COMPILED] if long else [])]


# The branches of a process share what was loaded or compiled.
@lru_cache(maxsize=len(TOLERANCE))
def load(name: str, repository: Repository, device: torch.device) -> Network:
    """Make the network ready to score batches of :data:`BATCH` kernels."""
    # TF32 has ten bits: too few for single precision, and not needed for bfloat16.
    torch.backends.cudnn.allow_tf32 = False
    if name == ONNX:
        return _onnx(repository)
    network = repository.load_network(device)
    if name == PLAIN:
        return network
    return _compiled(network, _example(repository, device), half=name == HALF)


def _example(repository: Repository, device: torch.device) -> Float[Tensor, "kernel ifo time"]:
    size = repository.stream.kernel_size
    return torch.zeros(BATCH[device.type], len(repository.preprocessing.ifos), size, device=device)


def _onnx(repository: Repository) -> Network:
    options = onnxruntime.SessionOptions()
    # As torch: processes, not threads, share the cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        repository.onnx, options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()

    def run(kernels: Tensor) -> Tensor:
        (scores,) = session.run(None, {given.name: kernels.numpy()})
        return torch.from_numpy(scores)

    return run


def _compiled(
    network: torch.nn.Module, example: Float[Tensor, "kernel ifo time"], *, half: bool
) -> Network:
    """Compile the operations of TorchScript; on a GPU they are launched as one graph.

    In half precision convolutions multiply in bfloat16 and add in float32; between them,
    and in the last layer, all is float32.
    """

    # The compiler knows this form of a convolution, not the one in TorchScript.
    def convolution(series: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        given = [series, weight, bias]
        if half:
            given = [each if each is None else each.bfloat16() for each in given]
        return _ATEN.convolution(*given, *how[:6]).float()

    with torch.no_grad():
        known = {_ATEN._convolution.default: convolution}  # noqa: SLF001
        graph = make_fx(network, decomposition_table=known)(example)
    options: dict[str, Any] = {"freezing": True, "triton.cudagraphs": example.is_cuda}
    run = torch.compile(graph, options=options)

    def without_gradients(kernels: Tensor) -> Tensor:
        # Weights are folded in only where there is no gradient.
        with torch.inference_mode(mode=False), torch.no_grad():
            return run(kernels.clone())

    # A GPU's launches are recorded at the second call, while nothing else may use it.
    for _ in range(2):
        without_gradients(example)
    return without_gradients


def settle(
    repository: Repository,
    device: str,
    kernels: Callable[[], Float[Tensor, "kernel ifo time"]],
    amount: int,
    draft: Draft,
) -> str:
    """Choose what runs the network, or take what the search began with.

    Args:
        repository: The network.
        device: Where: ``cpu`` or ``cuda``.
        kernels: Gives a batch of the search's kernels.
        amount: Kernels of the search.
        draft: Where the choice is kept, and noted.

    Raises:
        AframeError: If what the search began with is not to be had here.
    """
    path, there = draft.work / "engine.json", names(repository, device, amount)
    if not path.exists():
        write_text(path, json.dumps(_choose(repository, device, kernels(), there)))
    draft.keep(path, wait=True)
    chosen = json.loads(path.read_text())
    if chosen["device"] != device or chosen["name"] not in there:
        raise AframeError(
            "the search began with another engine, which is not here",
            found=f"{chosen['name']} on {chosen['device']}; {device} has {', '.join(there)}",
            wanted_by=f"{COMMAND}, whose scores are to be of one engine ({path})",
            fix=f"resume it on a machine like the first, or remove {draft.path} to begin again",
        )
    draft.notes["engine"] = chosen
    return str(chosen["name"])


#: What this process found, by network and device.
_settled: dict[tuple[Path, str], str] = {}


def settle_here(
    repository: Repository,
    device: str,
    kernels: Callable[[], Float[Tensor, "kernel ifo time"]],
    amount: int,
) -> str:
    """Choose what runs the network in this process, for :data:`EACH`; arguments as above."""
    key = (repository.network, device)
    if key not in _settled:
        there = names(repository, device, amount)
        _settled[key] = str(_choose(repository, device, kernels(), there)["name"])
    return _settled[key]


def _choose(
    repository: Repository, device: str, kernels: Tensor, there: Sequence[str]
) -> dict[str, Any]:
    """Try what is there, unless this machine has chosen before, and tell of it."""
    known = _known(repository, device, there)
    before = known.read_text() if known.exists() else ""
    found = try_out(repository, kernels, [before] if before in there else there)
    name = best(found)
    log.info("the network runs by %s (tried: %s)", name, ", ".join(found))
    if before != name:
        # A home that cannot be written keeps no choice.
        with contextlib.suppress(OSError):
            known.parent.mkdir(parents=True, exist_ok=True)
            write_text(known, name)
    return {"name": name, "device": device, "tolerance": TOLERANCE[name], "tried": found}


def _known(repository: Repository, device: str, there: Sequence[str]) -> Path:
    """File in which this machine keeps its choice for a network."""
    machine = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else (platform.machine(), torch.backends.cpu.get_cpu_capability(), _processor())
    )
    what = [file_digest(repository.network), str(machine), torch.__version__]
    what += [onnxruntime.__version__, str(BATCH[device]), *there]
    return cache_directory() / "engines" / hashlib.sha256("\n".join(what).encode()).hexdigest()[:16]


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = [line for line in lines if line.startswith(("model name", "CPU part"))]
    return named[0] if named else platform.processor()


Tried = dict[str, dict[str, float]]


def try_out(
    repository: Repository, kernels: Float[Tensor, "kernel ifo time"], wanted: Sequence[str]
) -> Tried:
    """Measure speed (kernels a second) and deviation of each, in turns.

    One that cannot be made, as where there is no compiler, is left out.
    """
    cpu = torch.device("cpu")
    with torch.inference_mode():
        expected = repository.load_network(cpu)(kernels[:COMPARED].to(cpu))
    ready: dict[str, Network] = {}
    found: Tried = {}
    for name in wanted:
        try:
            ready[name] = load(name, repository, kernels.device)
            found[name] = {"deviation": _deviation(ready[name], kernels, expected), "speed": 0.0}
        except RuntimeError as error:
            log.info("%s does not run here: %s", name, str(error).strip().splitlines()[0])
            ready.pop(name, None)
    for turn in range(_TURNS + 1):
        for name, network in ready.items():
            speed = _speed(network, kernels)
            # The first turn warms up.
            found[name]["speed"] = max(found[name]["speed"], speed) if turn else 0.0
    return found


def _deviation(network: Network, kernels: Tensor, expected: Tensor) -> float:
    with torch.inference_mode():
        scores = network(kernels)[:COMPARED].float().cpu()
    return float((scores - expected).abs().max()) / max(1.0, float(expected.abs().max()))


def _speed(network: Network, kernels: Tensor) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        network(kernels).cpu()
    return len(kernels) / (time.perf_counter() - start)


def best(found: Mapping[str, Mapping[str, float]]) -> str:
    """Name the fastest whose deviation is tolerated; the plain one, unless another gains.

    Example:
        >>> best({"torchscript": {"deviation": 0, "speed": 100},
        ...       "onnxruntime": {"deviation": 1e-6, "speed": 120},
        ...       "compiled": {"deviation": 1e-3, "speed": 500}})
        'onnxruntime'
    """
    tolerated = {
        name: each["speed"] * (GAIN if name == PLAIN else 1)
        for name, each in found.items()
        if each["deviation"] <= TOLERANCE[name]
    }
    return max(tolerated, key=lambda name: tolerated[name], default=PLAIN)
