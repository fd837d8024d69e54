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
    asked = torch.from_numpy(numbers).to(device)
    with torch.inference_mode():
        parts = [network(kernels(part))[:, 0].cpu() for part in asked.split(BATCH[device.type])]
    return torch.cat(parts).numpy() if len(numbers) else np.empty(0, np.float32)
