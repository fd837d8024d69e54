"""Random streams: their own for each purpose and branch, the same for the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from aframe_data.streams import stream, white_noise


@given(st.integers(0, 2**32), st.text(max_size=8), st.integers(0, 10**6))
def test_the_same_branch_draws_the_same(seed, purpose, branch):
    """A stream depends on its name only."""
    one, other = (stream(seed, purpose, branch).random(4) for _ in range(2))

    assert (one == other).all()


def test_streams_differ_by_seed_purpose_and_branch():
    """Changing any of the three changes the numbers."""
    names = [(1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1), (1, "a")]
    first = [stream(seed, purpose, *branch).random() for seed, purpose, *branch in names]

    assert len(set(first)) == len(names)


def test_white_noise_is_standard_normal():
    """In one block."""
    assert kstest(white_noise(1, "H1", 77_500_000, 20_000), "norm").pvalue > 1e-3


def test_blocks_of_white_noise_are_independent():
    """Between blocks, detectors and seeds, the correlation is that of chance."""
    size = 20_000
    names = [(1, "H1", 5), (1, "H1", 6), (1, "L1", 5), (2, "H1", 5)]
    noise = np.stack([white_noise(*name, size) for name in names])

    correlation = np.corrcoef(noise) - np.eye(len(names))

    assert abs(correlation).max() < 5 / np.sqrt(size)


def test_a_block_of_white_noise_begins_like_a_shorter_one():
    """The counter numbers blocks; their length only says where they end."""
    assert (white_noise(1, "H1", 5, 100)[:10] == white_noise(1, "H1", 5, 10)).all()
