"""Promised against observed probabilities."""

import numpy as np
import pytest

from aframe_sv.reliability import Scored, logit, reliability


def drawn(rng, bias=0.0, size=40_000):
    """Events whose odds are promised with a bias: signals and noise drawn at the true odds."""
    log_odds = rng.uniform(-6, 6, size)
    signal = rng.random(size) < 1 / (1 + np.exp(-log_odds))
    return Scored(log_odds + bias, np.ones(size), signal)


def test_true_odds_are_observed_within_their_errors():
    """Deviations of a true model are of one standard deviation."""
    rng = np.random.default_rng(4)
    deviations = np.concatenate([reliability([drawn(rng)]).deviations for _ in range(60)])

    assert np.mean(deviations) == pytest.approx(0, abs=0.1)
    assert np.std(deviations) == pytest.approx(1, abs=0.1)
    assert np.mean(np.abs(deviations) > 2) < 0.08


def test_odds_that_promise_too_much_show():
    """A model whose odds are twice the true ones is off by ln 2 in every bin."""
    got = reliability([drawn(np.random.default_rng(4), bias=np.log(2))])

    assert logit(got.promised) - logit(got.observed) == pytest.approx(np.log(2), abs=0.25)
    assert np.sum(got.deviations < -2) > 0.7 * len(got.deviations)


def test_observed_odds_are_weights_over_weights():
    """One bin, worked out by hand: four signals of a half a year, one noise event of three."""
    scored = Scored(
        np.full(5, 0.1), np.array([0.5, 0.5, 0.5, 0.5, 3.0]), np.array([True] * 4 + [False])
    )
    got = reliability([scored])

    assert got.observed == pytest.approx([2 / 5])
    assert got.promised == pytest.approx([1 / (1 + np.exp(-0.1))])
    assert (got.signals, got.noise) == (pytest.approx([4]), pytest.approx([1]))
    spread = np.sqrt(1 / 4 + 1)
    assert logit(got.high) - logit(got.observed) == pytest.approx([spread])


def test_bins_of_one_kind_alone_show_nothing():
    """Above all noise no share can be measured."""
    scored = Scored(np.array([-3.0, -3.1, 9.0]), np.ones(3), np.array([True, False, True]))

    assert len(reliability([scored]).promised) == 1
    assert len(reliability([scored, scored]).promised) == 1
    nothing = Scored(np.array([1.0]), np.ones(1), np.array([True]))
    assert len(reliability([nothing]).promised) == 0


def test_events_that_are_surely_noise_are_not_compared():
    """Odds of one to a hundred thousand interest nobody."""
    scored = Scored(
        np.log([1e-5, 1e-5, 1e-3, 1e-3]), np.ones(4), np.array([True, False, True, False])
    )

    assert reliability([scored]).promised == pytest.approx([1e-3], rel=2e-3)
