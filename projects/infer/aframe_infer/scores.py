"""Kernels through the network, in batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

#: Kernels at a time. On a CPU the activations of so many stay in its cache; a GPU wants
#: more. Every batch is whole, so that neither the rounding of a score nor what is compiled
#: for it depends on which kernels are scored together.
BATCH = {"cpu": 32, "cuda": 1024}

Network = Callable[[Float[Tensor, "kernel ifo time"]], Float[Tensor, "kernel score"]]
Given = TypeVar("Given")
Made = TypeVar("Made")


def score(
    network: Network,
    kernels: Callable[[Int[Tensor, " kernel"]], Float[Tensor, "kernel ifo time"]],
    numbers: Int[np.ndarray, " kernel"],
    device: torch.device,
) -> Float32[np.ndarray, " kernel"]:
    """Score the kernels of these *numbers*; the last is repeated until its batch is whole."""
    if not len(numbers):
        return np.empty(0, np.float32)
    batch = BATCH[device.type]
    whole = np.pad(numbers, (0, -len(numbers) % batch), mode="edge")
    found = torch.empty(len(whole), device=device)
    # A GPU is given the next batch while it is at one: nothing is waited for until the end.
    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(whole).to(device), batch)
        for place, asked in zip(torch.split(found, batch), batches, strict=True):
            place.copy_(network(kernels(asked))[:, 0])
    return found[: len(numbers)].cpu().numpy()


def ahead(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """Make something of each of *given*, the next one while the last is worked on.

    Example:
        >>> list(ahead(abs, [-1, 2, -3]))
        [1, 2, 3]
    """
    with ThreadPoolExecutor(1) as thread:
        coming = None
        for each in given:
            following = thread.submit(make, each)
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()
