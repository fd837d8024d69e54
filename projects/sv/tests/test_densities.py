"""Rate densities of signals and noise."""

import copy
import pickle

import numpy as np
import pytest
from scipy.stats import gaussian_kde, norm

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.errors import AframeError
from aframe_sv.densities import (
    FEWEST,
    Density,
    Model,
    background,
    bandwidth,
    common_grid,
    foreground,
    smooth,
    tail_excess,
)

RNG = np.random.default_rng(3)
TB = 10 * JULIAN_YEAR
#: Signals found a year: a normal distribution; noise events a year: an exponential above zero.
SIGNALS, MEAN, WIDTH = 50.0, 6.0, 2.0
NOISE, SCALE = 20_000.0, 0.7


def events(statistic, Tb=TB):  # noqa: N803
    """Events of these loudnesses."""
    statistic = np.asarray(statistic)
    return Events(statistic, np.zeros(len(statistic)), np.zeros((len(statistic), 2)), Tb)


@pytest.fixture(scope="module")
def model():
    """A model of drawn signals and noise, whose densities are known."""
    noise = events(RNG.exponential(SCALE, int(NOISE * TB / JULIAN_YEAR)))
    found = RNG.normal(MEAN, WIDTH, 20_000)
    grid = common_grid(noise.detection_statistic, found)
    return Model(
        {"BBH": foreground(found, np.ones(len(found)), SIGNALS, grid)}, background(noise, grid)
    )


def true_odds(statistic):
    """Closed form of the signals' rate density over that of the noise."""
    noise = NOISE / SCALE * np.exp(-statistic / SCALE)
    return SIGNALS * norm.pdf(statistic, MEAN, WIDTH) / noise


def test_probability_is_the_closed_form(model):
    """Signals and noise of known densities give the known probability, from 0.001 to 0.95."""
    statistic = np.linspace(2.0, 8.0, 60)
    odds = true_odds(statistic)
    true = odds / (1 + odds)

    assert model.p_astro(statistic) == pytest.approx(true, abs=0.03)
    assert true.min() < 1e-3
    assert true.max() > 0.95


def test_noise_has_the_rate_of_its_exponential(model):
    """A density a year, in the bulk and far above the loudest of 200 000 events."""
    for statistic in (1.0, 3.0, 6.0, 10.0):
        expected = NOISE / SCALE * np.exp(-statistic / SCALE)
        assert model.noise(statistic) == pytest.approx(expected, rel=0.35), statistic


def test_densities_hold_the_rates_that_made_them(model):
    """Their integrals are events a year, whatever the unit of the time searched."""
    step = model.noise.grid[1] - model.noise.grid[0]

    assert np.sum(model.classes["BBH"](model.noise.grid)) * step == pytest.approx(SIGNALS, rel=1e-3)
    assert np.sum(model.noise(model.noise.grid)) * step == pytest.approx(NOISE, rel=0.01)


@pytest.mark.parametrize("weighted", [False, True])
def test_smooth_density_is_scipys(weighted):
    """The sum of one kernel an event, without the cost of it."""
    statistic = RNG.normal(size=500)
    weights = RNG.lognormal(size=500) if weighted else np.ones(500)
    grid = np.linspace(-6, 6, 4001)
    theirs = gaussian_kde(statistic, weights=weights)

    width = bandwidth(statistic, weights)
    ours = smooth(statistic, weights, grid, width) / weights.sum()

    assert width == pytest.approx(np.sqrt(theirs.covariance[0, 0]), rel=1e-9)
    assert ours == pytest.approx(theirs(grid), abs=2e-4)


def test_whole_numbers_are_statistics_like_others():
    """Statistics that come as integers lose nothing of the density's fractions."""
    whole = np.repeat(np.arange(10), 50)
    grid = common_grid(whole.astype(float))
    kinds = [background(events(whole.astype(kind)), grid) for kind in (int, float)]

    assert kinds[0].logarithm == pytest.approx(kinds[1].logarithm)
    model = Model({"BBH": foreground(whole, np.ones(500), 1.0, grid)}, kinds[0])
    assert model.p_astro(3) == pytest.approx(model.p_astro(3.0))
    assert 0 < model.p_astro(3) < 1


def test_a_louder_event_is_never_less_of_a_signal(model):
    """Also far above all injections, where a kernel density has nothing left."""
    p = model.p_astro(np.linspace(-5, 60, 2000))

    assert np.all(np.diff(p) >= 0)
    assert p[-1] > 0.98


def test_what_is_quieter_than_all_is_noise(model):
    """Below everything that was ever seen the answer is that of the quietest."""
    assert model.p_astro(-100.0) < 1e-3


def test_classes_and_noise_add_up_to_one():
    """Each class has its share of the signals at that loudness."""
    grid = np.linspace(0, 10, 500)
    logs = {"BBH": np.log(2 + 0 * grid), "BNS": np.log(1 + grid)}
    classes = {name: Density(grid, log) for name, log in logs.items()}
    model = Model(classes, Density(grid, 5 - grid))
    statistic = np.array([1.0, 5.0, 9.0])

    got = model.probabilities(statistic)

    noise = np.exp(5 - statistic)
    assert sum(got.values()) == pytest.approx(1)
    assert got["BBH"] == pytest.approx(2 / (3 + statistic + noise), rel=1e-3)
    assert got["BNS"] == pytest.approx((1 + statistic) / (3 + statistic + noise), rel=1e-3)
    assert got["terrestrial"] == pytest.approx(noise / (3 + statistic + noise), rel=1e-3)


def test_a_model_is_a_table_that_can_be_kept(model):
    """No event is in it, however many it was made of."""
    assert len(pickle.dumps(model)) < 500_000
    assert copy.deepcopy(model).p_astro(4.0) == model.p_astro(4.0)


@pytest.mark.parametrize("few", [np.arange(FEWEST - 1.0), np.ones(100), np.zeros(0)])
def test_too_few_events_are_refused(few):
    """Where there is nothing to model, no number is made up."""
    with pytest.raises(AframeError, match="too few events to model their density"):
        common_grid(np.arange(100.0), few)


def test_a_tail_of_glitches_is_seen():
    """Two loud ones among fifty thousand quiet; few normal backgrounds are taken for it."""
    rng = np.random.default_rng(4)

    def noise(*loud):
        return events(np.concatenate([rng.normal(size=50_000), loud]))

    found = tail_excess(noise(14.0, 20.0))

    assert found.events <= 2
    assert found.statistic >= 14
    assert found.promised < 1e-3
    assert sum(tail_excess(noise()) is not None for _ in range(200)) <= 2
