"""Kernels are scored in order, in batches that nothing but the device decides."""

import numpy as np
import torch

from aframe_infer import scores

CPU = torch.device("cpu")


def test_scores_are_in_the_order_asked(monkeypatch):
    """Whatever the batch, each number gets its own kernel's score, in single precision."""
    strain = torch.arange(100.0)
    numbers = np.random.default_rng(0).permutation(100)

    for batch in (1, 7, 128):
        monkeypatch.setitem(scores.BATCH, "cpu", batch)
        found = scores.score(
            lambda kernels: kernels.mean((1, 2))[:, None],
            lambda asked: strain[asked][:, None, None].expand(-1, 2, 5),
            numbers,
            CPU,
        )
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, numbers)


def test_nothing_asked_is_nothing_scored():
    """Where no kernel hears an injection there is no batch."""
    found = scores.score(lambda kernels: kernels, lambda asked: asked, np.empty(0, int), CPU)

    assert found.shape == (0,)
