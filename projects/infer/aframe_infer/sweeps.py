"""Networks that are swept over whitened blocks, where they offer that, and not kernel by kernel.

A stretch of a slide is swept detector by detector and block by block, as it was whitened;
only what sees the detectors together runs for each kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch

from aframe.transforms.sweep import Sweep, find_sweep
from aframe_infer.kernels import Blocks, Kernels
from aframe_infer.repository import Repository


# The branches of a process share what was loaded.
@lru_cache(maxsize=1)
def load_sweep(repository: Repository, device: torch.device) -> Sweep | None:
    """Load the parts of a network that can be swept at the stride of the search, or nothing."""
    network = torch.jit.load(repository.network, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    sweep = find_sweep(network, repository.stream)
    if sweep is None:
        return None
    single, together = (
        torch.jit.freeze(part.to(device)) for part in (sweep.single, sweep.together)
    )
    return replace(sweep, single=single, together=together)


def swept(sweep: Sweep, blocks: Sequence[Blocks], offsets: Sequence[int]) -> Kernels:
    """Sweep over each detector's blocks, and index what they leave as kernels of a slide."""
    # One block at a time: so no rounding depends on how many are in memory.
    with torch.inference_mode():
        found = [
            Blocks(
                each.first,
                torch.cat([sweep.features(block) for block in torch.split(each.whitened, 1)]),
                each.psd,
            )
            for each in blocks
        ]
    return Kernels(found, sweep, offsets)


def with_signals(blocks: Sequence[Blocks], signals: Sequence[Blocks]) -> list[Blocks]:
    """Add signals to what they were whitened for."""
    return [
        replace(each, whitened=each.whitened + signal.whitened)
        for each, signal in zip(blocks, signals, strict=True)
    ]
