"""Random streams: each a pure function of the seed, a purpose and an index.

Nothing random is carried from one batch to the next, so a training that was
killed goes on with the numbers it would have had.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def entropy(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    """Give the source of random numbers of (*seed*, *purpose*, *index*)."""
    return np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), *index])


def host_stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Random numbers on the host."""
    return np.random.default_rng(entropy(seed, purpose, *index))


class DeviceStream:
    """Random numbers drawn where the tensors live.

    Args:
        seed: Seed of the run.
        purpose: What the numbers are for.
        device: Where to draw.
    """

    def __init__(self, seed: int, purpose: str, device: torch.device) -> None:
        self._first = int(entropy(seed, purpose).generate_state(1, np.uint32)[0])
        self._generator = torch.Generator(device)

    def at(self, index: int) -> torch.Generator:
        """Generator of the numbers that belong to *index*."""
        # Neighboring seeds, since the CPU's generator keeps only 32 bits of one:
        # no two of fewer than 2^32 indices then share their numbers.
        return self._generator.manual_seed((self._first + index) % 2**32)
