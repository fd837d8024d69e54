"""Sensitive volume."""

import functools
import math

import numpy as np
import pytest
from astropy import units
from astropy.cosmology import Planck15
from bilby.core.prior import Cosine, PriorDict, Uniform
from bilby.gw.prior import UniformComovingVolume, UniformSourceFrame
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from aframe.errors import AframeError
from aframe.priors import load_prior, sample, volume_element
from aframe_sv.volumes import (
    Found,
    Source,
    WeightSums,
    distance,
    effective_samples,
    found_fraction,
    importance_weights,
    outermost_share,
    target_density,
    threshold_error,
)

SIGMA = 0.1
DRAWS = 2_000_000


def detector_frame_prior():
    """Masses uniform as seen at the detector, redshift uniform in volume and source time."""
    return PriorDict(
        {
            "mass_1": Uniform(5, 150),
            "mass_2": Uniform(5, 150),
            "redshift": UniformSourceFrame(0, 1.2, cosmology="Planck15", name="redshift"),
            "ra": Uniform(0, 2 * math.pi),
            "dec": Cosine(),
        }
    )


def part_of_the_sky():
    """A quarter of the sphere: declinations from 0 to 30 degrees."""
    prior = detector_frame_prior()
    prior["dec"] = Cosine(minimum=0, maximum=math.pi / 6)
    return prior


def uniform_in_comoving_volume():
    """Without the time dilation of the target population, and another redshift range."""
    prior = detector_frame_prior()
    prior["redshift"] = UniformComovingVolume(0, 0.9, cosmology="Planck15", name="redshift")
    return prior


SOURCES = {
    "end_o3_ratesandpops": (load_prior("end_o3_ratesandpops")[0], False),
    "log_uniform_bbh": (load_prior("log_uniform_bbh")[0], False),
    "detector frame": (detector_frame_prior(), True),
    "part of the sky": (part_of_the_sky(), True),
    "uniform in comoving volume": (uniform_in_comoving_volume(), False),
}
SKY = {"part of the sky": 0.25}


def drawn(prior, detector_frame, rng, size=DRAWS):
    """Source-frame masses and redshifts as `prior` draws them."""
    names = ("mass_1", "mass_2", "redshift")
    if "psi" in prior:
        values = sample(prior, detector_frame, size, rng)
        scale = 1 + values["redshift"]
    else:
        values = {name: prior[name].rescale(rng.random(size)) for name in names}
        scale = 1 + values["redshift"] if detector_frame else 1.0
    mass_1, mass_2, redshift = (values[name] for name in names)
    return mass_1 / scale, mass_2 / scale, redshift


@functools.cache
def weighed(case, *, legacy_redshift=False):
    """A population of wide masses: volume of its prior, weights and redshifts of its draws."""
    prior, detector_frame = SOURCES[case]
    source = Source(prior, detector_frame=detector_frame, legacy_redshift=legacy_redshift)
    mass_1, mass_2, redshift = drawn(prior, detector_frame, np.random.default_rng(3))
    target = target_density(mass_1, mass_2, pair=(20.0, 16.0), sigma=0.4)
    weights = importance_weights(target, source.density(mass_1, mass_2, redshift))
    return source.volume, weights, redshift


def tophat(case, horizon, *, legacy_redshift=False):
    """Volume of a search that finds all below a redshift: estimate, error, closed form."""
    volume, weights, redshift = weighed(case, legacy_redshift=legacy_redshift)
    statistic = np.where(redshift < horizon, 1.0, -np.inf)
    share, error = found_fraction(weights, Found.at(statistic, np.ones(1)), WeightSums.of(weights))
    true = quad(
        lambda z: Planck15.differential_comoving_volume(z).to_value(units.Gpc**3 / units.sr)
        * 4 * np.pi / (1 + z),
        0, horizon,
    )[0]  # fmt: skip
    return volume * share[0], volume * error[0], true * SKY.get(case, 1.0)


@pytest.mark.parametrize("case", SOURCES)
@pytest.mark.parametrize("horizon", [0.1, 0.2, 0.3, 0.5, 0.7])
def test_volume_of_a_top_hat_search_is_the_closed_form(case, horizon):
    """A search that finds all sources to a redshift has the volume within it."""
    volume, error, true = tophat(case, horizon)

    assert volume == pytest.approx(true, abs=4 * error)
    assert error < 0.12 * true


SNR_AT_1_GPC = 12.0
ALOUD = 8.0


def seen_share(redshift, chirp):
    """Share of directions in which a binary is louder than the threshold.

    Its SNR goes with the chirp mass at the detector, the inverse distance, and the root of
    a number drawn evenly from zero to one for its direction.
    """
    best = SNR_AT_1_GPC * (chirp * (1 + redshift) / 26) ** (5 / 6)
    grid = np.geomspace(1e-4, 3, 5000)
    best = best * 1e3 / np.interp(redshift, grid, Planck15.luminosity_distance(grid).value)
    return np.clip(1 - (ALOUD / best) ** 2, 0, None)


def chirp_mass(mass_1, mass_2):
    """Chirp mass (Msun)."""
    return (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2


@functools.cache
def seen_volume(pair, sigma, steps=400):
    """Volume of a detector with an SNR threshold, integrated on a grid, without aframe."""
    grid = (np.arange(steps) + 0.5) / steps * 10 - 5
    heavier, lighter = np.meshgrid(*(np.exp(np.log(mass) + sigma * grid) for mass in pair))
    density = np.exp(-(grid**2) / 2)[:, None] * np.exp(-(grid**2) / 2)[None]
    density = np.where((lighter <= heavier) & (lighter >= 0.02 * heavier), density, 0.0)
    # Chirp masses in bins: what is seen depends on the masses through them alone.
    mass, edges = np.histogram(chirp_mass(heavier, lighter), 200, weights=density)
    middle, redshift = (edges[1:] + edges[:-1]) / 2, (np.arange(2000) + 0.5) / 2000 * 0.9
    shells = Planck15.differential_comoving_volume(redshift).to_value(units.Gpc**3 / units.sr)
    shells *= 4 * np.pi / (1 + redshift) * 0.9 / 2000
    share = seen_share(redshift[:, None], middle[None])
    return float(shells @ share @ mass / mass.sum())


@pytest.mark.parametrize("case", ["end_o3_ratesandpops", "log_uniform_bbh", "detector frame"])
@pytest.mark.parametrize("pair", [(35.0, 30.0), (20.0, 20.0)])
def test_volume_of_an_snr_threshold_is_the_integral(case, pair):
    """A search that finds what is loud enough has the volume of a numerical integral."""
    prior, detector_frame = SOURCES[case]
    source = Source(prior, detector_frame=detector_frame)
    rng = np.random.default_rng(17)
    mass_1, mass_2, redshift = drawn(prior, detector_frame, rng, size=400_000)
    target = target_density(mass_1, mass_2, pair=pair, sigma=0.3)
    weights = importance_weights(target, source.density(mass_1, mass_2, redshift))
    chirp = chirp_mass(mass_1, mass_2)
    statistic = np.where(rng.random(len(chirp)) < seen_share(redshift, chirp), 1.0, -np.inf)

    share, error = found_fraction(weights, Found.at(statistic, np.ones(1)), WeightSums.of(weights))

    volume, spread = source.volume * share[0], source.volume * error[0]
    assert volume == pytest.approx(seen_volume(pair, 0.3), abs=3.5 * spread)
    assert spread < 0.15 * volume


@pytest.mark.parametrize(
    ("horizon", "ratio"), [(0.1, 0.49), (0.2, 0.52), (0.3, 0.55), (0.5, 0.61), (0.7, 0.67)]
)
def test_legacy_redshift_gives_the_older_numbers(horizon, ratio):
    """Mass-only weights are low by the factors once measured on the older tool."""
    volume, error, true = tophat("end_o3_ratesandpops", horizon, legacy_redshift=True)

    assert volume / true == pytest.approx(ratio, abs=4 * error / true + 0.005)


def test_legacy_weights_take_source_masses_for_the_priors_own():
    """The older tool had no factor for the frame: (1 + z)^2 in a flat prior."""
    prior, masses = detector_frame_prior(), (np.array([30.0]), np.array([20.0]))
    z = np.array([0.5])
    old = Source(prior, detector_frame=True, legacy_redshift=True).density(*masses, z)
    new = Source(prior, detector_frame=True).density(*masses, z)

    assert old == pytest.approx(145.0**-2)
    # This prior's redshifts are those of the target, so that they leave no factor.
    assert new == pytest.approx(1.5**2 * old, rel=2e-3)


@pytest.mark.parametrize("pair", [(35.0, 35.0), (35.0, 20.0), (100.0, 2.5)])
def test_target_masses_are_normalized(pair):
    """The density integrates to one over the mass ratios it allows."""
    # In logarithms, where a log-normal is smooth; mass_2 = mass_1 lies on an edge of the grid.
    step = SIGMA / 100
    heavier, lighter = (np.log(mass) + step * (np.arange(-700, 700) + 0.5) for mass in pair)
    lighter += round((heavier[0] - lighter[0]) / step) * step - (heavier[0] - lighter[0])
    mass_1, mass_2 = (grid.ravel() for grid in np.exp(np.meshgrid(heavier, lighter)))
    density = target_density(mass_1, mass_2, pair=pair, sigma=SIGMA)
    mass = np.sum(density * mass_1 * mass_2) * step**2

    # The edge runs through the cells of the diagonal, and takes each whole.
    assert mass == pytest.approx(1.0, abs=5e-3)


def test_target_masses_keep_their_ratio():
    """There is nothing above the heavier mass nor below a fiftieth of it."""
    lighter = np.array([10.0, 36.0, 0.6])
    density = target_density(np.full(3, 35.0), lighter, pair=(35, 1), sigma=1.0)

    assert density[0] > 0
    assert density[1:].tolist() == [0, 0]


def directly(weights, statistic, threshold, rejected):
    """The formula as it stands, threshold by threshold (the slow way of the older tool)."""
    every = np.concatenate([weights, rejected]) / (weights.sum() + rejected.sum())
    found = np.concatenate([statistic >= threshold, np.zeros(len(rejected), bool)])
    mean = np.sum(every[found])
    return mean, np.sqrt(np.sum((every * (found - mean)) ** 2))


numbers = st.lists(
    st.tuples(st.floats(1e-3, 1e3), st.sampled_from([-np.inf, 0.0, 1.0, 1.5, 7.0])),
    min_size=1,
    max_size=30,
)


@given(numbers, st.lists(st.floats(0, 1e3), max_size=10))
def test_one_sort_gives_what_the_direct_formula_gives(injected, rejected):
    """Cumulative sums equal the sums over all draws at each threshold, ties included."""
    weights, statistic = np.array(injected).T
    rejected = np.array(rejected, float)
    thresholds = np.array([9.0, 7.0, 1.2, 1.0, 0.0, -3.0])
    sums = WeightSums.of(weights) + WeightSums.of(rejected)

    share, error = found_fraction(weights, Found.at(statistic, thresholds), sums)

    slow = np.array([directly(weights, statistic, value, rejected) for value in thresholds])
    assert share == pytest.approx(slow[:, 0], abs=1e-9)
    # The variance is a difference of sums: good to the root of double precision.
    assert error == pytest.approx(slow[:, 1], abs=1e-7)


@given(numbers)
def test_a_lower_threshold_never_finds_less(injected):
    """The share found grows as the threshold falls, and is never more than all."""
    weights, statistic = np.array(injected).T
    thresholds = np.array([8.0, 7.0, 1.2, 0.5, -1.0])
    share, error = found_fraction(weights, Found.at(statistic, thresholds), WeightSums.of(weights))

    assert np.all(np.diff(share) >= 0)
    assert np.all((share >= 0) & (share <= 1 + 1e-12))
    assert np.all(error >= 0)


@given(numbers, st.floats(1e-6, 1e6))
def test_the_scale_of_the_weights_does_not_matter(injected, scale):
    """Weights are normalized: a prior known but for a factor gives the same share."""
    weights, statistic = np.array(injected).T
    got = [
        found_fraction(w, Found.at(statistic, np.ones(1)), WeightSums.of(w))
        for w in (weights, scale * weights)
    ]

    assert got[0][0] == pytest.approx(got[1][0])
    assert got[0][1] == pytest.approx(got[1][1], abs=1e-7)


@pytest.mark.parametrize("found_share", [0.01, 0.3, 0.97])
def test_equal_weights_give_the_binomial_error(found_share):
    """With one weight for all the estimate is a count, its error sqrt(p (1 - p) / N)."""
    statistic = np.where(np.arange(10_000) < found_share * 10_000, 1.0, -np.inf)
    ones = np.ones(10_000)

    share, error = found_fraction(ones, Found.at(statistic, np.ones(1)), WeightSums.of(ones))

    assert share[0] == pytest.approx(found_share)
    assert error[0] == pytest.approx(np.sqrt(found_share * (1 - found_share) / 10_000))


@pytest.mark.parametrize("sigma", [0.2, 0.4])
def test_error_is_the_scatter_of_repeated_searches(sigma):
    """The quoted error agrees with the spread over independent injection sets."""
    prior, _ = SOURCES["end_o3_ratesandpops"]
    source = Source(prior, detector_frame=False)
    rng = np.random.default_rng(190521)
    thresholds = np.array([7.0, 5.0])
    runs = []
    for _ in range(200):
        mass_1, mass_2, redshift = drawn(prior, False, rng, size=10_000)
        target = target_density(mass_1, mass_2, pair=(30.0, 25.0), sigma=sigma)
        weights = importance_weights(target, source.density(mass_1, mass_2, redshift))
        statistic = mass_1 / 4 - 3 * redshift + rng.normal(size=len(redshift))
        runs.append(
            found_fraction(weights, Found.at(statistic, thresholds), WeightSums.of(weights))
        )
    shares, errors = np.moveaxis(np.array(runs), 1, 0)

    # The spread of 200 runs is itself known to 1 / sqrt(400) = 5 %.
    assert errors.mean(axis=0) == pytest.approx(shares.std(axis=0), rel=0.15)
    radii, spreads = distance(source.volume * shares, source.volume * errors)
    assert spreads.mean(axis=0) == pytest.approx(radii.std(axis=0), rel=0.15)


@pytest.mark.parametrize("case", ["uniform in comoving volume", "detector frame"])
def test_share_of_the_outermost_redshifts_is_the_closed_form(case):
    """A search that finds all has there what the volume has; one that ends before has nothing."""
    source = Source(SOURCES[case][0], detector_frame=SOURCES[case][1])
    begin, end = source.outermost
    _, weights, redshift = weighed(case)
    statistic = np.where(redshift < 0.9 * begin, 2.0, 1.0)

    share, bound = outermost_share(
        weights, Found.at(statistic, np.array([2.0, 1.0])), redshift >= begin
    )

    shells = [quad(lambda z: float(volume_element(np.array(z))), low, end)[0] for low in (begin, 0)]
    assert share == pytest.approx([0, shells[0] / shells[1]], rel=0.05)
    assert bound.tolist() == [False, True]
    nothing, nowhere = outermost_share(
        weights, Found.at(statistic, np.array([3.0])), redshift >= begin
    )
    assert (nothing.tolist(), nowhere.tolist()) == ([0.0], [False])


def test_one_far_source_does_not_make_a_bound():
    """A share is said to be too large only by more than its own error."""
    statistic, far = np.ones(20), np.arange(20) < 1

    assert not outermost_share(np.ones(20), Found.at(statistic, np.ones(1)), far)[1].any()
    assert outermost_share(np.ones(200), Found.at(np.ones(200), np.ones(1)), np.arange(200) < 10)[
        1
    ].all()


def test_coverage_is_one_where_the_prior_draws_all_of_the_population():
    """The mean weight is one within its error, and less where the target reaches outside."""
    prior, _ = SOURCES["end_o3_ratesandpops"]
    source = Source(prior, detector_frame=False)
    masses = drawn(prior, False, np.random.default_rng(5), 400_000)

    def coverage(pair):
        target = target_density(masses[0], masses[1], pair=pair, sigma=0.1)
        return WeightSums.of(importance_weights(target, source.density(*masses))).coverage

    whole, error = coverage((35.0, 20.0))
    assert whole == pytest.approx(1.0, abs=4 * error)
    assert error < 0.05
    # Half of a log-normal about the lower edge lies below it.
    half, error = coverage((20.0, 5.0))
    assert half == pytest.approx(0.5, abs=4 * error)


def test_draws_that_their_prior_cannot_make_are_refused():
    """One draw over the edge is rounding; a share of them is another prior."""
    density = np.ones(1000)
    density[0] = 0
    assert importance_weights(np.ones(1000), density)[0] == 0

    density[:20] = 0
    with pytest.raises(AframeError, match="20 of 1000 draws lie where it has none"):
        importance_weights(np.ones(1000), density)


def test_distance_is_the_radius_and_its_error_a_third():
    """A sphere's radius goes with the cube root: its relative error is a third."""
    volume, error = np.array([10.4, 3.1]), np.array([1.04, 0.031])

    radius, spread = distance(volume, error)

    # Volumes and distances as published for a search of the third observing run.
    assert radius == pytest.approx([1355, 905], rel=3e-3)
    assert spread / radius == pytest.approx([0.1 / 3, 0.01 / 3])


def test_effective_samples_of_equal_weights_are_the_found_ones():
    """Where few of many are found, their number is the effective one."""
    ones = np.ones(1_000_000)
    statistic = np.where(np.arange(1_000_000) < 400, 1.0, -np.inf)

    share, error = found_fraction(ones, Found.at(statistic, np.ones(1)), WeightSums.of(ones))

    assert effective_samples(share, error) == pytest.approx([400], rel=1e-3)


def test_error_of_a_threshold_is_the_scatter_of_repeated_backgrounds():
    """Volumes at the k-th loudest event of many backgrounds scatter as each tells of itself.

    The noise has an exponential tail of the statistic, and the volume falls along it, so
    that it goes with the logarithm of the rate.
    """
    rng = np.random.default_rng(11)
    kept = np.array([0, 2, 9, 49])
    volumes, errors = [], []
    for _ in range(2000):
        statistic = np.sort(rng.exponential(size=400))[::-1]
        volume = 10 - statistic
        volumes.append(volume[kept])
        errors.append(threshold_error(volume, np.arange(1, 401))[kept])

    scatter = np.std(volumes, axis=0)
    closed_form = np.sqrt([math.pi**2 / 6, math.pi**2 / 6 - 1.25])
    assert scatter[0] == pytest.approx(closed_form[0], rel=0.05), "that of Gumbel's distribution"
    assert scatter[1] == pytest.approx(closed_form[1], rel=0.05)
    # The slope is measured between few events at the lowest rates, and noisy there.
    assert np.mean(errors, axis=0) == pytest.approx(scatter, rel=0.1)


def test_a_volume_that_does_not_depend_on_the_threshold_has_no_error_of_it():
    """Nothing is lost with a threshold that is off where nothing lies near it."""
    assert threshold_error(np.full(50, 3.0), np.arange(1, 51)).tolist() == [0.0] * 50


def test_a_single_threshold_tells_nothing_of_its_error():
    """The error is then as large as the volume."""
    assert threshold_error(np.array([2.5]), np.array([1])).tolist() == [2.5]


def test_counts_far_apart_take_the_slope_to_their_neighbors():
    """Ties leave no count within a factor of three."""
    got = threshold_error(np.array([1.0, 2.0, 4.0]), np.array([1, 100, 10_000]))

    # The mean logarithm of a Gamma variate is digamma: -0.577 at one, close to ln k above.
    slope = 3 / (np.log(10_000) + 0.5772)
    assert got[1] == pytest.approx(slope * 0.1, rel=0.01)
    assert np.all(got > 0)
