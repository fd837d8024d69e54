"""Random streams that depend on what they are for, never on who draws first."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, purpose: str, *branch: int) -> np.random.Generator:
    """Open the random stream of one branch.

    Args:
        seed: Seed of the run, not negative.
        purpose: What the numbers are for, such as ``training waveforms``.
        branch: Numbers that tell the branches of one purpose apart, not negative.
    """
    entropy = [seed, _number(purpose)]
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=branch))


def white_noise(seed: int, ifo: str, block: int, size: int) -> np.ndarray:
    """Draw the standard normal samples of one block of a detector's noise.

    A counter-based generator starts at any block at no cost.

    Args:
        seed: Seed of the run, not negative.
        ifo: Detector.
        block: Number of the block, counted from GPS zero.
        size: Samples a block.

    Source:
        Philox: Salmon et al., SC 2011, doi:10.1145/2063384.2063405.
    """
    key = np.random.SeedSequence([seed, _number(f"noise of {ifo}")]).generate_state(2, np.uint64)
    # The counter's highest word numbers the blocks, so that none can run into the next.
    bits = np.random.Philox(key=key, counter=[0, 0, 0, block])
    return np.random.Generator(bits).standard_normal(size)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
