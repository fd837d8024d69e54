"""Kernels are scored in order, in batches that nothing but the device decides."""

import numpy as np
import pytest
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


def _network():
    """A small network with all that rounds: convolutions, normalization, sums."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv1d(2, 16, 7, 2, 3),
        torch.nn.GroupNorm(4, 16),
        torch.nn.ReLU(),
        torch.nn.Conv1d(16, 32, 3, 2, 1),
        torch.nn.AdaptiveAvgPool1d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 1),
    ).eval()


def test_a_score_does_not_depend_on_those_beside_it():
    """To the bit, wherever the kernels are cut into groups, or picked one by one."""
    network, strain = _network(), torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    windows = strain.unfold(-1, 512, 16).transpose(0, 1)
    numbers = np.arange(len(windows))

    def run(asked):
        return scores.score(network, lambda each: windows[each], asked, CPU)

    whole = run(numbers)
    cuts = np.sort(np.random.default_rng(0).choice(numbers, 12, replace=False))
    parts = [run(part) for part in np.split(numbers, cuts)]
    every_third = run(numbers[::3])

    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(every_third, whole[::3])
    assert np.ptp(whole) > 1e-3


def test_all_batches_are_whole():
    """The network is never asked for another number of kernels."""
    seen = []

    def network(kernels):
        seen.append(len(kernels))
        return kernels[:, 0, :1]

    found = scores.score(network, lambda each: each[:, None, None].float(), np.arange(70), CPU)

    assert set(seen) == {scores.BATCH["cpu"]}
    np.testing.assert_array_equal(found, np.arange(70))


def test_the_next_is_made_while_the_last_is_worked_on():
    """One ahead and no more, and what fails is raised where it is awaited."""
    made = []
    coming = scores.ahead(lambda each: made.append(each) or 1 / each, [1, 2, 4, 0, 5])

    assert next(coming) == 1
    assert next(coming) == 0.5
    assert len(made) <= 3
    assert next(coming) == 0.25
    with pytest.raises(ZeroDivisionError):
        next(coming)


def test_nothing_asked_is_nothing_scored():
    """Where no kernel hears an injection there is no batch."""
    found = scores.score(lambda kernels: kernels, lambda asked: asked, np.empty(0, int), CPU)

    assert found.shape == (0,)
