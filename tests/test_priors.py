"""Populations: drawn as they say, and with densities that integrate to one."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from astropy.cosmology import Planck15
from bilby.core.prior import ConditionalPriorDict, Constraint, PriorDict, Uniform
from bilby.core.utils import random as bilby_random
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, trapezoid
from scipy.stats import kstest, lognorm, norm

from aframe import priors
from aframe.errors import AframeError

NAMES = sorted(priors.FACTORIES)
BINARIES = [name for name in NAMES if name != "ringdown_prior"]
#: Those whose lighter mass depends on the heavier one.
CONDITIONAL = ["end_o3_ratesandpops", "end_o3_ratesandpops_bns", "tidal_bns"]
#: Chance below which a Kolmogorov-Smirnov test is taken to fail; seeds are fixed.
CHANCE = 1e-3


def drawn(name, size=4000, seed=0):
    """Draw from a prior by name, and give its source-frame masses."""
    prior, detector_frame = priors.load_prior(name)
    found = priors.sample(prior, detector_frame, size, np.random.default_rng(seed))
    return found, [found[mass] / (1 + found["redshift"]) for mass in ("mass_1", "mass_2")]


@pytest.mark.parametrize("name", BINARIES)
class TestSample:
    """What a draw has, whatever the population."""

    def test_has_every_parameter(self, name):
        """All parameters of a source are there, finite and in their ranges."""
        found, (mass_1, mass_2) = drawn(name)

        tides = priors.TIDES if name == "tidal_bns" else ()
        assert tuple(found) == (*priors.PARAMETERS, *tides)
        assert all(np.isfinite(values).all() for values in found.values())
        assert (mass_1 >= mass_2).all()
        assert (abs(found["dec"]) <= np.pi / 2).all()
        assert ((found["a_1"] >= 0) & (found["a_1"] < 1)).all()

    def test_depends_on_its_generator_only(self, name):
        """The same generator gives the same sources, another others."""
        first, again, other = (drawn(name, 50, seed)[0] for seed in (1, 1, 2))

        assert all((first[key] == again[key]).all() for key in first)
        assert (first["mass_1"] != other["mass_1"]).all()

    def test_has_no_draw_twice(self, name):
        """As many values as draws, though constraints throw some of the draws away."""
        found, _ = drawn(name, 1000)

        assert len(set(found["mass_1"])) == len(set(found["mass_2"])) == 1000

    def test_leaves_the_chance_of_bilby_alone(self, name):
        """A draw neither uses nor moves the global generator of bilby."""
        before = bilby_random.rng
        state = before.bit_generator.state

        drawn(name, 50)

        assert bilby_random.rng is before
        assert bilby_random.rng.bit_generator.state == state


def test_puts_the_chance_of_bilby_back_after_an_error():
    """Also when drawing fails."""
    prior, frame = priors.load_prior("log_uniform_bbh")
    before = bilby_random.rng

    with pytest.raises(TypeError):
        priors.sample(prior, frame, "many", np.random.default_rng(0))

    assert bilby_random.rng is before


def test_end_o3_masses_follow_their_power_laws():
    """mass_1 goes as m^-2.35, mass_2 given mass_1 as m."""
    _, (mass_1, mass_2) = drawn("end_o3_ratesandpops", 20_000)
    powers = mass_1**-1.35, 5.0**-1.35, 100.0**-1.35

    share_1 = (powers[0] - powers[1]) / (powers[2] - powers[1])
    share_2 = (mass_2**2 - 25) / (mass_1**2 - 25)

    assert kstest(share_1, "uniform").pvalue > CHANCE
    assert kstest(share_2, "uniform").pvalue > CHANCE


def test_end_o3_density_is_the_product_of_its_power_laws():
    """The joint density is that of the two power laws, normalized by hand."""
    prior, frame = priors.load_prior("end_o3_ratesandpops")
    mass_1, mass_2 = np.array([10.0, 40.0, 40.0]), np.array([7.0, 39.0, 41.0])

    found = priors.source_mass_density(prior, frame, mass_1, mass_2, np.full(3, 0.3))

    first = mass_1**-2.35 * -1.35 / (100.0**-1.35 - 5.0**-1.35)
    wanted = first * mass_2 * 2 / (mass_1**2 - 25) * (mass_2 <= mass_1)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_log_uniform_masses_and_aligned_spins():
    """Masses are log-uniform and ordered; spins point along the orbit or against it."""
    prior, frame = priors.load_prior("log_uniform_bbh")
    found, (mass_1, mass_2) = drawn("log_uniform_bbh", 20_000)
    spin = found["a_1"] * np.cos(found["tilt_1"])
    span = math.log(100 / 5)

    # The larger of two uniform numbers has the distribution u^2.
    assert kstest((np.log(mass_1 / 5) / span) ** 2, "uniform").pvalue > CHANCE
    assert kstest(spin / 1.8 + 0.5, "uniform").pvalue > CHANCE
    assert set(found["tilt_1"]) == {0.0, np.pi}
    density = priors.source_mass_density(prior, frame, mass_1, mass_2, found["redshift"])
    np.testing.assert_allclose(density, 2 / (mass_1 * mass_2 * span**2), rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("end_o3_ratesandpops", 0),
        ("log_uniform_bbh", -5),
        ("log_normal_masses", -1),
        ("nonspin_bbh", -1),
        ("end_o3_ratesandpops_bns", -1),
    ],
)
def test_redshifts_follow_the_comoving_volume(name, power):
    """Redshifts go as dVc/dz (1+z)^power, by astropy."""
    prior, _ = priors.load_prior(name)
    low, high = priors.redshift_range(prior)
    grid = np.linspace(low, high, 4001)
    density = Planck15.differential_comoving_volume(grid).value * (1 + grid) ** power
    density /= trapezoid(density, grid)
    shares = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])

    found = drawn(name, 20_000)[0]["redshift"]

    assert kstest(np.interp(found, grid, shares), "uniform").pvalue > CHANCE
    # bilby interpolates between a thousand redshifts.
    np.testing.assert_allclose(
        priors.redshift_density(prior, grid[1:-1]), density[1:-1], atol=1e-4 * density.max()
    )
    assert priors.redshift_density(prior, np.array([high + 0.1])) == 0


def masses_grid(prior, cells=1200):
    """Quantiles of either mass, so that cells of equal weight fill the plane."""
    edges = (np.arange(cells) + 0.5) / cells
    low = [float(prior[name].rescale(1e-6)) for name in ("mass_1", "mass_2")]
    high = [float(prior[name].rescale(1 - 1e-6)) for name in ("mass_1", "mass_2")]
    axes = [a * (b / a) ** edges for a, b in zip(low, high, strict=True)]
    steps = [math.log(b / a) / cells * axis for a, b, axis in zip(low, high, axes, strict=True)]
    mass_1, mass_2 = (grid.ravel() for grid in np.meshgrid(*axes, indexing="ij"))
    return mass_1, mass_2, np.outer(*steps).ravel()


@pytest.mark.parametrize("redshift", [0.0, 0.4])
@pytest.mark.parametrize("name", [name for name in BINARIES if name not in CONDITIONAL])
def test_mass_density_integrates_to_one(name, redshift):
    """Also under the constraint on the mass ratio, and of source-frame masses at a redshift."""
    prior, frame = priors.load_prior(name)
    mass_1, mass_2, areas = masses_grid(prior)
    scale = 1 + redshift if frame else 1.0

    density = priors.source_mass_density(
        prior, frame, mass_1 / scale, mass_2 / scale, np.full_like(mass_1, redshift)
    )

    # The cells along the diagonal, where the constraint cuts, count wholly or not.
    assert (density * areas).sum() / scale**2 == pytest.approx(1, abs=3e-3)
    assert (density[mass_2 > mass_1] == 0).all()


@pytest.mark.parametrize("name", CONDITIONAL)
def test_conditional_mass_density_integrates_to_one(name):
    """Whatever the heavier mass, that of the lighter one is normalized."""
    prior, frame = priors.load_prior(name)
    low, high = prior["mass_1"].minimum, prior["mass_1"].maximum

    def density(mass_1, mass_2):
        values = (np.array([value]) for value in (mass_1, mass_2, 0.0))
        return priors.source_mass_density(prior, frame, *values)[0]

    for mass in np.linspace(low, high, 5)[1:]:
        alone = float(prior["mass_1"].prob(mass))
        assert quad(lambda other, m=mass: density(m, other), low, mass)[0] == pytest.approx(alone)
    assert quad(prior["mass_1"].prob, low, high)[0] == pytest.approx(1)


def cut_at_half(rng, size):
    """A conditional population whose mass ratio is above one half.

    Returns:
        It, draws of its masses and redshift by hand, and a cell across its edge.
    """
    prior = ConditionalPriorDict(
        {**priors.end_o3_ratesandpops()[0], "mass_ratio": Constraint(0.5, 1, name="mass_ratio")},
        conversion_function=lambda one: {**one, "mass_ratio": one["mass_2"] / one["mass_1"]},
    )
    low, high = 5.0**-1.35, 100.0**-1.35
    mass_1 = (low + (high - low) * rng.random(size)) ** (-1 / 1.35)
    mass_2 = np.sqrt(25 + (mass_1**2 - 25) * rng.random(size))
    redshift = prior["redshift"].rescale(rng.random(size))
    kept = mass_2 > mass_1 / 2
    return prior, np.stack([mass_1, mass_2, redshift])[:, kept], ([10, 5, 1], [14, 7, 1.6])


def cut_by_redshift(rng, size):
    """Masses at the source below 60 Msun, though the prior draws those at the detector."""
    prior = priors.nonspin_bbh()[0]
    prior["source_mass"] = Constraint(0, 60, name="source_mass")
    prior.conversion_function = lambda one: {
        **one,
        "mass_ratio": one["mass_2"] / one["mass_1"],
        "source_mass": one["mass_1"] / (1 + one["redshift"]),
    }
    mass_1, mass_2 = rng.uniform(5, 100, (2, size))
    redshift = prior["redshift"].rescale(rng.random(size))
    kept = (mass_2 < mass_1) & (mass_1 < 60 * (1 + redshift))
    return prior, np.stack([mass_1, mass_2, redshift])[:, kept], ([70, 60, 0.2], [85, 80, 0.4])


@pytest.mark.parametrize("case", [cut_at_half, cut_by_redshift])
def test_density_under_constraints_is_that_of_a_rejection_sampler(case):
    """Counts, in a cell, of draws that a plain sampler keeps, which knows nothing of bilby's.

    The constraints cut a conditional prior, and one by a parameter that is no mass.
    """
    rng = np.random.default_rng(3)
    prior, kept, (low, high) = case(rng, 400_000)
    low, high = np.array(low)[:, None], np.array(high)[:, None]
    names = ("mass_1", "mass_2", "redshift")

    inside = np.all((kept > low) & (kept < high), axis=0).sum()
    points = rng.uniform(low, high, (3, 100_000))
    density = np.exp(priors.log_prob(prior, dict(zip(names, points, strict=True))))

    assert 0.2 < (density > 0).mean() < 0.9
    wanted = density.mean() * np.prod(high - low) * kept.shape[1]
    # Both are counts of random points.
    assert inside == pytest.approx(wanted, rel=4 * np.sqrt(1 / inside + 1e-5))
    assert inside > 1000


def chi_eff_of(one):
    """Add the mean of the aligned spins, weighted by mass."""
    spin = one["mass_1"] * one["chi_1"] + one["mass_2"] * one["chi_2"]
    return {**one, "chi_eff": spin / (one["mass_1"] + one["mass_2"])}


def lenient(one):
    """Leaves the spin out where it is not told."""
    ratio = {"mass_ratio": one["mass_2"] / one["mass_1"]}
    return {**(chi_eff_of(one) if "chi_1" in one else one), **ratio}


def strict(one):
    """Ends with a KeyError where spins are not told."""
    return {**chi_eff_of(one), "mass_ratio": one["mass_2"] / one["mass_1"]}


def supposing(one):
    """Takes spins that are not told for zero."""
    return strict({"chi_1": 0.0, "chi_2": 0.0, **one})


def slow_spinning(conversion):
    """The demo's population with a mean spin of 0.1 to 0.5."""
    prior, _ = priors.log_uniform_bbh()
    prior["chi_eff"] = Constraint(0.1, 0.5, name="chi_eff")
    prior.conversion_function = conversion
    return prior


@pytest.mark.parametrize("conversion", [lenient, strict, supposing])
class TestConstraintsOnSpins:
    """Constraints on more than the masses, whatever the conversion does without the rest."""

    def test_density_is_normalized(self, conversion):
        """By the share that a plain sampler, which knows nothing of bilby's, keeps."""
        prior, size = slow_spinning(conversion), 400_000
        rng = np.random.default_rng(5)
        mass_1, mass_2 = 5 * 20 ** rng.random((2, size))
        chi_1, chi_2 = rng.uniform(-0.9, 0.9, (2, size))
        mean = (mass_1 * chi_1 + mass_2 * chi_2) / (mass_1 + mass_2)
        share = np.mean((mass_2 < mass_1) & (mean > 0.1) & (mean < 0.5))
        one = {"mass_1": [30.0], "mass_2": [20.0], "chi_1": [0.3], "chi_2": [0.2]}

        found = np.exp(priors.log_prob(prior, {key: np.array(at) for key, at in one.items()}))

        wanted = 1 / (30 * 20 * math.log(20) ** 2) / 1.8**2 / share
        assert found[0] == pytest.approx(wanted, rel=1e-2)

    def test_masses_alone_are_refused(self, conversion):
        """How the masses are spread then depends on the spins."""
        prior = slow_spinning(conversion)
        with pytest.raises(AframeError, match="a prior ties parameters to others") as caught:
            priors.source_mass_density(prior, False, *np.array([[30.0], [20.0], [0.1]]))

        assert "mass_1, mass_2 do not tell" in caught.value.found
        assert "chi_eff, on which they depend" in caught.value.found


def test_masses_on_condition_of_others_are_refused():
    """Their density is not known without these."""
    prior, _ = priors.load_prior("end_o3_ratesandpops")

    with pytest.raises(AframeError, match="a prior ties parameters to others") as caught:
        priors.log_prob(prior, {"mass_2": np.array([20.0])})

    assert caught.value.found == "mass_2 do not tell mass_1, on which they depend"


def test_a_fixed_parameter_has_no_density():
    """The angle that a prior fixes counts nothing where it is right, and rules out all else."""
    prior, _ = priors.load_prior("nonspin_bbh")
    found = priors.draw(prior, 50, np.random.default_rng(0))
    assert (found["psi"] == 0).all()

    logarithm = priors.log_prob(prior, found)
    without = priors.log_prob(prior, {key: found[key] for key in found if key != "psi"})

    np.testing.assert_array_equal(logarithm, without)
    assert (priors.log_prob(prior, {**found, "psi": found["psi"] + 0.1}) == -np.inf).all()


def test_nonspin_and_spin_differ_in_spins():
    """Masses uniform and ordered; spins none, or of uniform magnitude and isotropic tilt."""
    for name in ("nonspin_bbh", "spin_bbh"):
        found, _ = drawn(name, 20_000)
        # The larger of two uniform numbers has the distribution u^2.
        assert kstest(((found["mass_1"] - 5) / 95) ** 2, "uniform").pvalue > CHANCE
        assert (found["psi"] == 0).all()
        assert (found["phi_12"] == 0).all()
        assert (found["phi_jl"] == 0).all()
        if name == "nonspin_bbh":
            assert not any(found[spin].any() for spin in ("a_1", "a_2", "tilt_1", "tilt_2"))
        else:
            assert kstest(found["a_1"] / 0.998, "uniform").pvalue > CHANCE
            assert kstest((1 - np.cos(found["tilt_2"])) / 2, "uniform").pvalue > CHANCE


def test_neutron_stars_follow_their_laws():
    """A triangle, a uniform mass below it, slow spins, and uniform tides where there are any."""
    found, (mass_1, mass_2) = drawn("tidal_bns", 20_000)

    for share in (
        ((mass_1 - 1) / 1.5) ** 2,
        (mass_2 - 1) / (mass_1 - 1),
        found["a_1"] / 0.4,
        found["lambda_1"] / 5000,
        found["lambda_2"] / 5000,
    ):
        assert kstest(share, "uniform").pvalue > CHANCE
    assert "lambda_1" not in drawn("end_o3_ratesandpops_bns", 5)[0]


def test_ringdowns_are_drawn_but_are_no_binaries():
    """Frequencies, quality and distances as documented; waveforms of binaries refuse them."""
    prior, frame = priors.load_prior("ringdown_prior")
    found, again = (priors.draw(prior, 20_000, np.random.default_rng(0)) for _ in range(2))
    volumes = [Planck15.comoving_volume(z).value for z in redshifts_at([100, 1000])]
    share = Planck15.comoving_volume(redshifts_at(found["distance"])).value

    assert all((found[name] == again[name]).all() for name in found)
    assert kstest((found["quality"] - 8) / 12, "uniform").pvalue > CHANCE
    assert kstest(np.log10(found["frequency"]) - 2, "uniform").pvalue > CHANCE
    assert kstest((share - volumes[0]) / (volumes[1] - volumes[0]), "uniform").pvalue > CHANCE
    one = {"quality": np.array([10.0]), "frequency": np.array([300.0])}
    wanted = 1 / 12 / (300 * math.log(10))
    assert np.exp(priors.log_prob(prior, one))[0] == pytest.approx(wanted)
    with pytest.raises(AframeError, match="no mass_1, mass_2, redshift among"):
        priors.sample(prior, frame, 5, np.random.default_rng(0))


def redshifts_at(distances):
    """Redshifts of luminosity distances (Mpc), by astropy's distances read backward."""
    grid = np.linspace(0.001, 0.5, 5000)
    return np.interp(distances, Planck15.luminosity_distance(grid).value, grid)


@given(st.floats(0, 3))
@settings(max_examples=20, deadline=None)
def test_density_of_detector_frame_masses_carries_its_jacobian(redshift):
    """Uniform masses at the detector are uniform at the source, in a smaller square."""
    prior = PriorDict({name: Uniform(10, 90, name=name) for name in ("mass_1", "mass_2")})
    scale = 1 + redshift
    inside, outside = np.array([50.0 / scale]), np.array([5.0 / scale])

    found = priors.source_mass_density(prior, True, inside, inside, np.array([redshift]))
    beyond = priors.source_mass_density(prior, True, inside, outside, np.array([redshift]))

    assert found == pytest.approx(scale**2 / 80**2)
    assert beyond == 0


def test_sampled_masses_of_a_detector_frame_prior_stay():
    """Only source-frame masses are multiplied by 1 + z."""
    prior, _ = priors.load_prior("log_uniform_bbh")

    one, other = (
        priors.sample(prior, frame, 20, np.random.default_rng(0)) for frame in (True, False)
    )

    np.testing.assert_allclose(other["mass_1"], one["mass_1"] * (1 + one["redshift"]))


def test_log_prob_takes_all_parameters():
    """The logarithm is the sum over parameters, less that of the share allowed."""
    prior, _ = priors.load_prior("log_uniform_bbh")
    found, (mass_1, mass_2) = drawn("log_uniform_bbh", 100)
    values = {**found, "mass_1": mass_1, "mass_2": mass_2, "chi_1": 0.1, "chi_2": 0.2}

    logarithm = priors.log_prob(prior, values)

    masses = priors.source_mass_density(prior, False, mass_1, mass_2, found["redshift"])
    others = [np.log(prior[key].prob(found[key])) for key in ("redshift", "dec", "theta_jn")]
    constants = -2 * math.log(1.8) - math.log(2 * np.pi) * 2 - math.log(np.pi)
    np.testing.assert_allclose(logarithm, np.log(masses) + sum(others) + constants)


def test_log_prob_outside_a_constraint_is_minus_infinity():
    """A lighter primary cannot be."""
    prior, _ = priors.load_prior("log_uniform_bbh")

    found = priors.log_prob(prior, {"mass_1": np.array([10.0]), "mass_2": np.array([20.0])})

    assert found == -np.inf


def test_volume_element_integrates_to_the_comoving_volume():
    """Without its dilation, the element of the whole sky is astropy's, in Gpc^3."""
    found = quad(lambda z: priors.volume_element(np.array(z)) * (1 + z), 0, 1.2)[0]

    assert found == pytest.approx(Planck15.comoving_volume(1.2).value / 1e9, rel=1e-6)


def test_luminosity_distance_is_that_of_planck_2015():
    """In Mpc, by astropy's integral: interpolated, from here to far away, and beyond."""
    near, far = np.array([0.0, *np.geomspace(1e-6, 20, 200)]), np.array([0.5, 30.0])

    for redshift in (near, far):
        distance = Planck15.comoving_distance(redshift).value * (1 + redshift)
        np.testing.assert_allclose(priors.luminosity_distance(redshift), distance, rtol=1e-11)


@pytest.mark.parametrize(
    ("pair", "sigma"), [((35.0, 35.0), 0.1), ((20.0, 16.0), 0.1), ((20.0, 16.0), 0.4)]
)
def test_constraints_leave_what_the_closed_form_says(pair, sigma):
    """The ratio of two log-normal masses is log-normal: what lies below one is known."""
    prior, frame = priors.log_normal_masses(*pair, sigma)
    ratio = norm(math.log(pair[1] / pair[0]), sigma * math.sqrt(2))
    allowed = ratio.cdf(0) - ratio.cdf(math.log(0.02))
    mass_1, mass_2 = np.array([22.0]), np.array([17.0])

    found = priors.source_mass_density(prior, frame, mass_1, mass_2, np.zeros(1))

    free = [
        lognorm.pdf(m, sigma, scale=median)
        for m, median in zip((mass_1, mass_2), pair, strict=True)
    ]
    np.testing.assert_allclose(found, free[0] * free[1] / allowed, rtol=1e-4)


def test_declinations_cover_the_sky():
    """All populations come from anywhere."""
    for name in NAMES:
        prior, _ = priors.load_prior(name)
        assert priors.declination_range(prior) == pytest.approx((-np.pi / 2, np.pi / 2))


class TestLoadPrior:
    """How a population is called."""

    @pytest.mark.parametrize("head", ["", "aframe.priors.", "priors.priors."])
    def test_knows_all_its_spellings(self, head):
        """Bare, with this module, or with that of the older tool."""
        prior, detector_frame = priors.load_prior(f"{head}end_o3_ratesandpops")

        assert "mass_1" in prior
        assert detector_frame is False

    def test_takes_a_factory_from_elsewhere(self, tmp_path, monkeypatch):
        """Any dotted path to a factory will do."""
        (tmp_path / "elsewhere.py").write_text(
            "from bilby.core.prior import PriorDict\ndef mine():\n    return PriorDict({}), True\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "elsewhere", raising=False)

        assert priors.load_prior("elsewhere.mine") == (PriorDict({}), True)

    @pytest.mark.parametrize("name", ["nope", "nowhere.nope", "aframe.priors.nope", ".nope"])
    def test_refuses_an_unknown_name(self, name):
        """The message lists those it knows."""
        with pytest.raises(AframeError, match=r"no such prior[\s\S]*end_o3_ratesandpops"):
            priors.load_prior(name)

    def test_tells_the_nearest_name(self):
        """Of a name without a module it is not said that its module is empty."""
        with pytest.raises(AframeError, match=r"did you mean log_uniform_bbh\?") as error:
            priors.load_prior("log_uniform_bh")

        assert error.value.found == "log_uniform_bh: there is no such population"
        assert "gaussian_masses" in error.value.fix
        assert "ringdown_prior" not in error.value.fix

    @pytest.mark.parametrize(
        "name", ["builtins.list", "aframe.priors.sample", "math.pi", "elsewhere.pair"]
    )
    def test_refuses_what_is_no_factory(self, name, tmp_path, monkeypatch):
        """A thing that gives no population is told apart from one that is not there."""
        (tmp_path / "elsewhere.py").write_text("def pair():\n    return {}, True\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "elsewhere", raising=False)

        with pytest.raises(AframeError, match="a prior cannot be made"):
            priors.load_prior(name)

    @pytest.mark.parametrize(
        ("made", "told"),
        [
            ("PriorDict({'mass_1': 30.0, 'mass_2': 20.0})", "PriorDict"),
            ("(PriorDict({}), 'source')", "PriorDict, str"),
            ("(PriorDict({}), True, 1)", "PriorDict, bool, int"),
            ("({}, True)", "dict, bool"),
            ("()", "nothing"),
            ("None", "NoneType"),
        ],
    )
    def test_says_what_a_factory_returned(self, made, told, tmp_path, monkeypatch):
        """As it was returned, not what it falls apart into."""
        (tmp_path / "elsewhere.py").write_text(
            f"from bilby.core.prior import PriorDict\ndef mine():\n    return {made}\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "elsewhere", raising=False)

        with pytest.raises(AframeError, match="a prior cannot be made") as error:
            priors.load_prior("elsewhere.mine")

        assert error.value.found == f"elsewhere.mine: it returned {told}"


def test_refuses_a_prior_without_a_sky():
    """A parameter that cannot be filled in is named."""
    prior = PriorDict({name: Uniform(10, 90, name=name) for name in ("mass_1", "mass_2")})

    with pytest.raises(AframeError, match="no ra, dec, redshift, psi, theta_jn, phase among"):
        priors.sample(prior, True, 5, np.random.default_rng(0))


def test_tells_why_ringdowns_make_no_waveforms_of_binaries():
    """And which populations do."""
    with pytest.raises(AframeError, match="no mass_1, mass_2, redshift among quality") as error:
        priors.sample(*priors.load_prior("ringdown_prior"), 5, np.random.default_rng(0))

    assert "log_uniform_bbh, log_normal_masses" in error.value.fix
    assert "ringdown_prior" not in error.value.fix
