"""Kernels through the network, at a batch size that suits the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

#: Kernels at a time. On a CPU the activations of so many stay in its cache; a GPU wants
#: more. Fixed, so that a score never depends on how many workers there are.
BATCH = {"cpu": 128, "cuda": 4096}


def score(
    network: Callable[[Tensor], Tensor],
    kernels: Callable[[Int[Tensor, " kernel"]], Float[Tensor, "kernel ifo time"]],
    numbers: Int[np.ndarray, " kernel"],
    device: torch.device,
) -> Float32[np.ndarray, " kernel"]:
    """Score the kernels of these *numbers*."""
    asked, batch = torch.from_numpy(numbers).to(device), BATCH[device.type]
    found = np.empty(len(numbers), np.float32)
    with torch.inference_mode():
        for begin in range(0, len(numbers), batch):
            part = slice(begin, begin + batch)
            found[part] = network(kernels(asked[part]))[:, 0].cpu().numpy()
    return found
