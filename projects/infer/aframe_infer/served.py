"""One time slide of one segment, scored by a Triton server.

The numbers are those of the search in this process. Where a slide's shifts are whole
updates, strain is streamed and the server whitens it: block by block, the PSDs are the
same. Otherwise, and for the first blocks, before which there is no whole ``psd_length``,
kernels that were whitened here are sent to the network alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from aframe.artifacts.strain import read_strain
from aframe.errors import AframeError
from aframe.transforms.stream import Stream
from aframe_infer.client import Client, Model, Request
from aframe_infer.injections import Injections, signal
from aframe_infer.repository import Repository
from aframe_infer.settings import COMMAND
from aframe_infer.slides import (
    Branch,
    Cut,
    Numbers,
    Search,
    outputs,
    score_stretches,
    write_branch,
)

#: Largest difference of a server's score from that of this process, relative to the score
#: where that is above one.
TOLERANCE = 1e-3
#: Kernels that are compared; more would take the CPU long.
_COMPARED = 4


@dataclass(frozen=True)
class Link:
    """How a branch reaches the server.

    Args:
        address: Its ``host:port``.
        timeout: How long to wait for an answer, or for a server that is lost (s).
        run: Name of this run, which no other has; sequences begin with it.
    """

    address: str
    timeout: float
    run: str

    def client(self) -> Client:
        """Make a connection, for the ``with`` statement."""
        return Client(self.address, self.timeout)

    def sequence(self, branch: int, kind: str) -> str:
        """Name a branch's sequence: unique as its run and its branch's number are."""
        return f"{self.run}-{branch}-{kind}"


def network(repository: Repository) -> Model:
    """The network as the server knows it."""
    return Model("aframe", repository.version, "input_0", "discriminator")


def ensemble(repository: Repository) -> Model:
    """The streaming search as the server knows it."""
    return Model("aframe-stream", repository.version, "stream", "discriminator")


def analyze(
    search: Search, branch: Branch, injections: Injections, work: Path, link: Link, number: int
) -> None:
    """Search one slide of one segment, and again with its injections, and write the result.

    Args:
        search: What every branch shares.
        branch: The slide.
        injections: All injections.
        work: Scratch directory.
        link: How to reach the server.
        number: The branch's number among all.
    """
    torch.set_num_threads(1)
    numbers = search.scored(outputs(search.stream, branch.file.duration, branch.shifts))
    streamed = numbers >= first_streamed(search.stream, search.offsets(branch.shifts))
    with link.client() as client:

        def scored(cut: Cut, asked: Numbers) -> Float32[np.ndarray, " kernel"]:
            return send_kernels(client, search.repository, cut, asked, torch.device(search.device))

        series = score_stretches(search, branch, injections, work, numbers[~streamed], scored)
        for kind in series if streamed.any() else ():
            pairs = Pairs(search, branch, injections if kind == "foreground" else None)
            name = link.sequence(number, kind)
            rest = stream_strain(client, search.repository, pairs, name, numbers[streamed])
            series[kind] = np.concatenate([series[kind], rest])
    write_branch(search, branch, injections, series, work / branch.name)


def first_streamed(stream: Stream, offsets: list[int]) -> float:
    """Number of the first kernel that a stream scores as this process does; infinite if none.

    Args:
        stream: The lengths.
        offsets: Kernels by which each detector is shifted.
    """
    if any(offset % stream.batch_size for offset in offsets):
        return np.inf
    return (
        -(-(stream.psd_size + stream.window_size) // stream.update_size) - 1
    ) * stream.batch_size


def send_kernels(
    client: Client, repository: Repository, cut: Cut, numbers: Numbers, device: torch.device
) -> Float32[np.ndarray, " kernel"]:
    """Have the network score the kernels of these *numbers*, a batch a request."""
    batch = repository.stream.batch_size

    def requests() -> Iterator[Request]:
        for begin in range(0, len(numbers), batch):
            part = torch.from_numpy(numbers[begin : begin + batch]).to(device)
            kernels = cut(part)
            # The server takes whole batches.
            whole = torch.nn.functional.pad(kernels, (0, 0, 0, 0, 0, batch - len(kernels)))
            yield Request(str(begin), whole.cpu().numpy())

    answers = client.ask(network(repository), requests)
    joined = [answers[str(begin)][:, 0] for begin in range(0, len(numbers), batch)]
    return np.concatenate([np.empty(0, np.float32), *joined])[: len(numbers)]


@dataclass(frozen=True)
class Pairs:
    """Updates of a slide's strain, read one by one: what gives the PSD, and what is whitened.

    Args:
        search: What every branch shares.
        branch: The slide.
        injections: All injections if the slide's are to be added, or ``None``.
    """

    search: Search
    branch: Branch
    injections: Injections | None = None

    def __call__(self, block: int) -> Float32[np.ndarray, "pair ifo update"]:
        """Read the update that ends with this block; beyond the segment's end it is zero."""
        clean, whole = [], []
        for ifo, shift in zip(self.search.ifos, self.branch.shifts, strict=True):
            each = self._read(ifo, shift, block)
            clean.append(each)
            whole.append(each + self._signal(ifo, shift, block))
        return np.stack([clean, whole])

    def _begin(self, shift: float, block: int) -> int:
        stream = self.search.stream
        return block * stream.update_size + round(shift * stream.sample_rate)

    def _read(self, ifo: str, shift: float, block: int) -> Float32[np.ndarray, " update"]:
        file, stream = self.branch.file, self.search.stream
        begin = self._begin(shift, block)
        end = min(begin + stream.update_size, round(file.duration * stream.sample_rate))
        update = np.zeros(stream.update_size, np.float32)
        if begin < end:
            start, stop = (file.start + each / stream.sample_rate for each in (begin, end))
            update[: end - begin] = read_strain(file, [ifo], start, stop)[0]
        return update

    def _signal(self, ifo: str, shift: float, block: int) -> Float32[np.ndarray, "..."]:
        if self.injections is None:
            return np.zeros((), np.float32)
        return signal(
            self.injections,
            self.branch.rows,
            ifo,
            start=self.branch.file.start,
            shift=shift,
            size=self.search.stream.update_size,
            sample_rate=self.search.stream.sample_rate,
            begin=self._begin(shift, block),
        )


def stream_strain(
    client: Client,
    repository: Repository,
    pairs: Callable[[int], Float32[np.ndarray, "pair ifo update"]],
    name: str,
    numbers: Numbers,
) -> Float32[np.ndarray, " kernel"]:
    """Stream strain from its start, and take the scores of the kernels of these *numbers*.

    One sequence at a time: who holds one of the server's places never waits for another.

    Args:
        client: The connection.
        repository: The network and its stream.
        pairs: Gives the update of each block.
        name: Name of the sequence, which no other has.
        numbers: Numbers of consecutive kernels.
    """
    size = repository.stream.batch_size
    first, last = int(numbers[0]) // size, int(numbers[-1]) // size

    def requests() -> Iterator[Request]:
        for block in range(last + 1):
            ends = {"start": block == 0, "end": block == last}
            yield Request(str(block), pairs(block), sequence=name, **ends)

    answers = client.ask(ensemble(repository), requests)
    scores = [answers[str(block)][:, 0] for block in range(first, last + 1)]
    return np.concatenate(scores)[numbers - first * size]


def refuse_other_network(link: Link, repository: Repository) -> dict[str, float]:
    """Compare the server's network and stream with those of the repository, on white noise.

    Returns:
        The largest deviation of each.

    Raises:
        AframeError: If one deviates by more than :data:`TOLERANCE`: another network is served.
    """
    stream, ifos = repository.stream, len(repository.preprocessing.ifos)
    blocks = -(-(stream.psd_size + stream.window_size) // stream.update_size)
    rng = np.random.default_rng(0)
    strain = rng.standard_normal((ifos, blocks * stream.update_size)) * 1e-21
    strain = strain.astype(np.float32)
    updates = np.split(np.stack([strain, strain]), blocks, axis=-1)
    cut = _last_kernels(repository, torch.from_numpy(strain))
    expected = repository.load_network(torch.device("cpu"))(cut(torch.arange(_COMPARED)))[:, 0]
    numbers = np.arange(stream.batch_size)
    with link.client() as client:
        found = {
            "aframe": send_kernels(client, repository, cut, numbers, torch.device("cpu")),
            "aframe-stream": stream_strain(
                client,
                repository,
                updates.__getitem__,
                f"{link.run}-trial",
                numbers + (blocks - 1) * stream.batch_size,
            ),
        }
    compared = expected.detach().numpy()
    scale = max(1.0, float(np.abs(compared).max()))
    deviations = {
        name: float(np.abs(each[: len(compared)] - compared).max()) / scale
        for name, each in found.items()
    }
    wrong = [
        f"{name} by {value:.2g}" for name, value in deviations.items() if not value < TOLERANCE
    ]
    if wrong:
        raise AframeError(
            "the server gives other scores than the model repository",
            found=f"at {link.address}, {', '.join(wrong)} on white noise",
            wanted_by=f"{COMMAND}: {repository.network} within {TOLERANCE:g}",
            fix="have the server load this repository, or give the repository that it serves",
        )
    return deviations


def _last_kernels(repository: Repository, strain: Float[Tensor, "ifo time"]) -> Cut:
    """Whiten the last block of *strain*, as the stream does, and cut its kernels."""
    stream, whitener = repository.stream, repository.whitener
    snapshot = strain[:, -stream.psd_size - stream.window_size :]
    with torch.inference_mode():
        psd = whitener.psd(snapshot[:, : stream.psd_size])
        whitened = whitener(snapshot[None, :, -stream.window_size :], psd[None])[0]
    return lambda numbers: stream.unfold(whitened).transpose(0, 1)[numbers]
