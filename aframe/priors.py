"""Populations of compact binaries: what `data` draws from and `sv` weighs with.

A factory returns a bilby prior and whether its masses are those seen at the detector.
Distances follow from redshift with the Planck 2015 cosmology.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.cosmology import Planck15
from bilby.core.prior import (
    ConditionalPowerLaw,
    ConditionalPriorDict,
    ConditionalUniform,
    Constraint,
    Cosine,
    DeltaFunction,
    Gaussian,
    Interped,
    LogNormal,
    LogUniform,
    PowerLaw,
    PriorDict,
    Sine,
    Triangular,
    Uniform,
)
from bilby.core.utils.random import Generator as BilbyGenerator
from bilby.gw.prior import UniformComovingVolume, UniformSourceFrame
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.stats import qmc

from aframe.errors import AframeError, did_you_mean

Values = Float[np.ndarray, " *shape"]
Population = tuple[PriorDict, bool]

#: Parameters of a source, as every ledger of waveforms has them.
PARAMETERS = (
    "mass_1", "mass_2", "a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl",
    "ra", "dec", "redshift", "psi", "theta_jn", "phase",
)  # fmt: skip
#: Tidal deformabilities, which a ledger has where its prior draws them.
TIDES = ("lambda_1", "lambda_2")
_SPINS = ("a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl")
MPC3_IN_GPC3 = 1e9
#: Points (their number's logarithm to base 2) that measure how much of a prior its constraints
#: leave.
_POINTS = 18
#: The same of the points that show which parameters the constraints are on.
_TRIALS = 6
#: Redshifts between which a density of them is interpolated.
_KNOTS = 1501
#: Redshift up to which distances are interpolated.
_FARTHEST = 20.0


def _orientation() -> dict[str, Any]:
    """Anywhere on the sky, any way up."""
    return {
        "ra": Uniform(0, 2 * math.pi, name="ra"),
        "dec": Cosine(name="dec"),
        "theta_jn": Sine(name="theta_jn"),
        "psi": Uniform(0, math.pi, name="psi"),
        "phase": Uniform(0, 2 * math.pi, name="phase"),
    }


def _precessing_spins(fastest: float = 0.998) -> dict[str, Any]:
    """Isotropic spins, their magnitudes uniform up to *fastest*."""
    return {
        "a_1": Uniform(0, fastest, name="a_1"),
        "a_2": Uniform(0, fastest, name="a_2"),
        "tilt_1": Sine(name="tilt_1"),
        "tilt_2": Sine(name="tilt_2"),
        "phi_12": Uniform(0, 2 * math.pi, name="phi_12"),
        "phi_jl": Uniform(0, 2 * math.pi, name="phi_jl"),
    }


def _with_mass_ratio(sample: Mapping[str, Any]) -> dict[str, Any]:
    return {**sample, "mass_ratio": sample["mass_2"] / sample["mass_1"]}


def _below_mass_1(reference: Mapping[str, Any], mass_1: Values) -> dict[str, Any]:
    """Condition of bilby, which reads the names of the arguments: nothing may wrap this."""
    return {**reference, "maximum": mass_1}


def nonspin_bbh() -> Population:
    """Near binary black holes without spin, seen under one polarization angle.

    Detector-frame masses uniform from 5 to 100 Msun, the heavier first; redshift to 0.5,
    uniform in comoving volume and source-frame time.
    """
    prior = PriorDict(
        {
            "mass_1": Uniform(5, 100, name="mass_1"),
            "mass_2": Uniform(5, 100, name="mass_2"),
            "mass_ratio": Constraint(0, 1, name="mass_ratio"),
            "redshift": UniformSourceFrame(0, 0.5, cosmology="Planck15", name="redshift"),
            **_orientation(),
            "psi": DeltaFunction(0.0, name="psi"),
        },
        conversion_function=_with_mass_ratio,
    )
    return prior, True


def spin_bbh() -> Population:
    """Those of :func:`nonspin_bbh` with spins, which lie in one plane with the orbit's.

    Magnitudes are uniform, tilts isotropic; the azimuths ``phi_12`` and ``phi_jl`` are zero.
    """
    prior, detector_frame = nonspin_bbh()
    prior.update({name: _precessing_spins()[name] for name in ("a_1", "a_2", "tilt_1", "tilt_2")})
    return prior, detector_frame


def end_o3_ratesandpops() -> Population:
    """Binary black holes as the LVK drew them for the rates and populations of O3.

    Source-frame mass_1 follows a power law of index -2.35 from 5 to 100 Msun, mass_2 one
    of index 1 from 5 Msun to mass_1; isotropic spins; redshift uniform in comoving
    volume to 2.

    Source:
        LVK, O3 search sensitivity estimates, doi:10.5281/zenodo.5546675.
    """
    prior = ConditionalPriorDict(
        {
            "mass_1": PowerLaw(alpha=-2.35, minimum=5, maximum=100, name="mass_1"),
            "mass_2": ConditionalPowerLaw(
                condition_func=_below_mass_1,
                alpha=1,
                minimum=5,
                maximum=100,
                name="mass_2",
            ),
            "redshift": UniformComovingVolume(0, 2, cosmology="Planck15", name="redshift"),
            **_precessing_spins(),
            **_orientation(),
        }
    )
    return prior, False


def end_o3_ratesandpops_bns() -> Population:
    """Binary neutron stars as the LVK drew them for the rates and populations of O3.

    Source-frame mass_1 rises linearly from nothing at 1 Msun to its end at 2.5 Msun, mass_2
    is uniform from 1 Msun to mass_1; isotropic spins up to 0.4; redshift to 0.15, uniform in
    comoving volume and source-frame time. No tides: see :func:`tidal_bns`.

    Source:
        LVK, O3 search sensitivity estimates, doi:10.5281/zenodo.5546675.
    """
    prior = ConditionalPriorDict(
        {
            "mass_1": Triangular(mode=2.5, minimum=1, maximum=2.5, name="mass_1"),
            "mass_2": ConditionalUniform(
                condition_func=_below_mass_1, minimum=1, maximum=2.5, name="mass_2"
            ),
            "redshift": UniformSourceFrame(0, 0.15, cosmology="Planck15", name="redshift"),
            **_precessing_spins(0.4),
            **_orientation(),
        }
    )
    return prior, False


def tidal_bns() -> Population:
    """Those of :func:`end_o3_ratesandpops_bns` that the companion deforms.

    Tidal deformabilities are uniform from 0 to 5000, whatever the mass, as for GW170817.

    Source:
        LVC, Phys. Rev. X 9, 011001 (2019), section II D.
    """
    prior, detector_frame = end_o3_ratesandpops_bns()
    prior.update({name: Uniform(0, 5000, name=name) for name in TIDES})
    return prior, detector_frame


def log_uniform_bbh() -> Population:
    """Binary black holes with aligned spins, most of them near, for quick searches.

    Source-frame masses are log-uniform from 5 to 100 Msun, the heavier first; spins
    along the orbital angular momentum uniform to 0.9; redshift to 1.5, beyond what two
    detectors of today see, its density that of comoving volume and source-frame time
    times (1 + z)^-4: most draws are of redshifts at which a search begins to miss them.
    """
    redshift, density = _near_redshifts()
    prior = PriorDict(
        {
            "mass_1": LogUniform(5, 100, name="mass_1"),
            "mass_2": LogUniform(5, 100, name="mass_2"),
            "mass_ratio": Constraint(0, 1, name="mass_ratio"),
            "chi_1": Uniform(-0.9, 0.9, name="chi_1"),
            "chi_2": Uniform(-0.9, 0.9, name="chi_2"),
            "redshift": Interped(redshift, density, name="redshift"),
            **_orientation(),
        },
        conversion_function=_with_mass_ratio,
    )
    return prior, False


@functools.cache
def _near_redshifts() -> tuple[Values, Values]:
    """Redshifts and their density, which takes as long as a few dozen waveforms."""
    redshift = np.linspace(0, 1.5, _KNOTS)
    return redshift, volume_element(redshift) * (1 + redshift) ** -4


def log_normal_masses(mass_1: float = 35.0, mass_2: float = 35.0, sigma: float = 0.1) -> Population:
    """Source-frame masses about a pair, log-normal: the populations of sensitive volumes.

    Mass ratios lie between 0.02 and 1; redshift to 2, uniform in comoving volume and
    source-frame time.

    Args:
        mass_1: Median of the heavier mass (Msun).
        mass_2: Median of the lighter mass (Msun).
        sigma: Standard deviation of the logarithm of each mass.
    """
    masses = {
        name: LogNormal(math.log(mass), sigma, name=name)
        for name, mass in (("mass_1", mass_1), ("mass_2", mass_2))
    }
    return _about_a_pair(masses)


def gaussian_masses(mass_1: float = 35.0, mass_2: float = 35.0, sigma: float = 2.0) -> Population:
    """Source-frame masses about a pair, normal.

    Mass ratios lie between 0.02 and 1; redshift to 2, uniform in comoving volume and
    source-frame time.

    Args:
        mass_1: Heavier mass (Msun).
        mass_2: Lighter mass (Msun).
        sigma: Width of either mass (Msun).
    """
    masses = {
        name: Gaussian(mass, sigma, name=name)
        for name, mass in (("mass_1", mass_1), ("mass_2", mass_2))
    }
    return _about_a_pair(masses)


def _about_a_pair(masses: dict[str, Any]) -> Population:
    prior = PriorDict(
        {
            **masses,
            "mass_ratio": Constraint(0.02, 1, name="mass_ratio"),
            "redshift": UniformSourceFrame(0, 2, cosmology="Planck15", name="redshift"),
            **_precessing_spins(),
            **_orientation(),
        },
        conversion_function=_with_mass_ratio,
    )
    return prior, False


def ringdown_prior() -> Population:
    """Damped oscillations of a black hole, of which no binary is known.

    Quality factor uniform from 8 to 20, frequency (Hz) log-uniform from 100 to 1000,
    ``distance`` (Mpc) from 100 to 1000, uniform in comoving volume. Without masses it
    serves :func:`draw` and :func:`log_prob`; waveforms of binaries refuse it.
    """
    distance = UniformComovingVolume(
        100, 1000, cosmology="Planck15", name="luminosity_distance", unit="Mpc"
    )
    prior = PriorDict(
        {
            "quality": Uniform(8, 20, name="quality"),
            "frequency": LogUniform(100, 1000, name="frequency"),
            "distance": distance,
            **_orientation(),
        }
    )
    return prior, True


FACTORIES: dict[str, Callable[..., Population]] = {
    factory.__name__: factory
    for factory in (
        *(end_o3_ratesandpops, log_uniform_bbh, log_normal_masses, gaussian_masses),
        *(nonspin_bbh, spin_bbh, end_o3_ratesandpops_bns, tidal_bns, ringdown_prior),
    )
}
#: Those that :func:`sample` can draw from.
_BINARIES = [name for name in FACTORIES if name != ringdown_prior.__name__]
_PREFIXES = ("aframe.priors.", "priors.priors.")


def load_prior(name: str) -> Population:
    """Make the prior called *name*.

    Args:
        name: A factory of this module, with or without ``aframe.priors.`` (or the older
            ``priors.priors.``) before it, or the dotted path of another that takes no
            argument and returns a bilby prior and whether its masses are detector-frame.

    Raises:
        AframeError: If there is no such factory, or what it returns is not that.
    """
    bare = next((name.removeprefix(head) for head in _PREFIXES if name.startswith(head)), name)
    factory = FACTORIES.get(bare) or _imported(name)
    try:
        made = factory()
        # A dictionary of two keys, or a string, would be unpacked like a pair.
        pair = made if isinstance(made, tuple | list) else (made,)
        kinds = [type(one).__name__ for one in pair]
        if kinds[1:] != ["bool"] or not isinstance(pair[0], PriorDict):
            raise TypeError(f"it returned {', '.join(kinds) or 'nothing'}")
        prior, detector_frame = pair
    except (TypeError, ValueError) as error:
        raise AframeError(
            "a prior cannot be made",
            found=f"{name}: {error}",
            wanted_by="the setting `prior`",
            fix="its factory must take no argument and return (bilby PriorDict, detector_frame)",
        ) from error
    return prior, detector_frame


def _imported(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        if not module:
            raise ImportError("there is no such population")
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise AframeError(
            "there is no such prior",
            found=f"{name}: {error}",
            wanted_by="the setting `prior`",
            fix=f"{did_you_mean(attribute, FACTORIES)}choose one of {', '.join(_BINARIES)}, "
            "or give the dotted path of a factory",
        ) from error


def draw(prior: PriorDict, size: int, rng: np.random.Generator) -> dict[str, Values]:
    """Draw *size* values of each parameter of *prior*, as it names and measures them.

    Args:
        prior: What to draw from.
        size: Number of draws.
        rng: The only source of chance; bilby's own is put back afterwards.
    """
    with _bilby_draws_from(rng):
        return {key: np.atleast_1d(value) for key, value in prior.sample(size).items()}


def sample(
    prior: PriorDict,
    detector_frame: bool,  # noqa: FBT001 - load_prior gives the two as a pair
    size: int,
    rng: np.random.Generator,
) -> dict[str, Float[np.ndarray, " {size}"]]:
    """Draw sources.

    Args:
        prior: What to draw from.
        detector_frame: Whether its masses are those seen at the detector.
        size: Number of sources.
        rng: The only source of chance; bilby's own is put back afterwards.

    Returns:
        Every parameter of :data:`PARAMETERS`, and those of :data:`TIDES` if the prior has
        them, shape ``(size,)``; masses in the detector frame (Msun), angles in rad. Spins
        that the prior leaves out are zero.

    Raises:
        AframeError: If the prior leaves out anything else.
    """
    drawn = draw(prior, size, rng)
    for body in ("1", "2"):
        if f"chi_{body}" in drawn:
            chi = drawn[f"chi_{body}"]
            drawn |= {f"a_{body}": abs(chi), f"tilt_{body}": np.where(chi < 0, np.pi, 0.0)}
    drawn = {**{name: np.zeros(size) for name in _SPINS}, **drawn}
    missing = [name for name in PARAMETERS if name not in drawn]
    if missing:
        raise AframeError(
            "a prior leaves out parameters of a source",
            found=f"no {', '.join(missing)} among {', '.join(prior)}",
            wanted_by="the waveforms drawn from it",
            fix=f"choose one of {', '.join(_BINARIES)}, which have them, or add them to your own",
        )
    if not detector_frame:
        for name in ("mass_1", "mass_2"):
            drawn[name] = drawn[name] * (1 + drawn["redshift"])
    return {name: drawn[name] for name in (*PARAMETERS, *TIDES) if name in drawn}


@contextlib.contextmanager
def _bilby_draws_from(rng: np.random.Generator) -> Iterator[None]:
    """Let bilby, whose generator is global, draw from *rng* for a while."""
    before = BilbyGenerator.rng
    BilbyGenerator.rng = rng
    try:
        yield
    finally:
        BilbyGenerator.rng = before


def log_prob(prior: PriorDict, parameters: Mapping[str, Values]) -> Values:
    """Logarithm of the density of *parameters*, normalized also under constraints.

    bilby's own ``ln_prob`` estimates what a constraint leaves by drawing, to a percent
    and another each time; here it is measured on points that fill the space evenly, to
    1e-4. A parameter that the prior fixes has no density: it counts 1 at its value and 0
    elsewhere.

    Args:
        prior: The density.
        parameters: Values by name; those that the prior does not have are ignored.

    Raises:
        AframeError: If a constraint or a condition of theirs is on a parameter that is left out.
    """
    names = [name for name in prior.non_fixed_keys if name in parameters]
    names += [name for name in prior.fixed_keys if name in parameters]
    _refuse_dependent(prior, names)
    values = {name: np.asarray(parameters[name], float) for name in names}
    # bilby takes the shape from the first.
    known = values | {key: at for key, at in _fixed(prior).items() if key not in values}
    with np.errstate(divide="ignore"):
        logarithm = sum(np.log(_prob(prior, name, known)) for name in names)
        if _constraints(prior):
            allowed = np.asarray(prior.evaluate_constraints(known), bool)
            logarithm = logarithm + np.log(allowed) - math.log(_share_allowed(prior))
    return logarithm


def _constraints(prior: PriorDict) -> list[str]:
    return [name for name, one in prior.items() if isinstance(one, Constraint)]


def _fixed(prior: PriorDict) -> dict[str, Values]:
    return {name: np.asarray(prior[name].peak, float) for name in prior.fixed_keys}


def _needed(prior: PriorDict, name: str) -> tuple[str, ...]:
    """Parameters that a density is conditional on."""
    return tuple(getattr(prior[name], "required_variables", ()))


def _refuse_dependent(prior: PriorDict, names: Sequence[str]) -> None:
    known = {*names, *prior.fixed_keys}
    conditions = {key for name in names for key in _needed(prior, name)} - known
    if conditions or not _told_by(names, prior):
        raise AframeError(
            "a prior ties parameters to others, without which their density is not known",
            found=f"{', '.join(names)} do not tell "
            f"{', '.join(sorted(conditions) or _constraints(prior))}, on which they depend",
            wanted_by=f"the density of {', '.join(names)} (a sensitive volume is weighed with that "
            "of the masses)",
            fix="choose a prior whose constraints and conditions are on these parameters alone",
        )


def _prob(prior: PriorDict, name: str, values: Mapping[str, Values]) -> Values:
    if prior[name].is_fixed:
        return (values[name] == prior[name].peak).astype(float)
    given = {key: values[key] for key in _needed(prior, name)}
    return np.asarray(prior[name].prob(values[name], **given))


def _share_allowed(prior: PriorDict) -> float:
    """Share of the prior that its constraints leave, to 1e-4."""
    free = prior.non_fixed_keys
    masses = [name for name in free if name.startswith("mass_")]
    # With constraints on more than the masses it takes longer.
    points = _spread(masses if _told_by(masses, prior) else free, prior, _POINTS)
    return float(np.mean(prior.evaluate_constraints(points)))


def _told_by(names: Sequence[str], prior: PriorDict) -> bool:
    """Whether parameters of these names alone tell what the constraints are on.

    A conversion may want others, leave out what it cannot tell, whose constraint bilby then
    passes over, or take a value for granted: it is held against one that knows them all.
    """
    if not _constraints(prior):
        return True
    every = _spread(prior.non_fixed_keys, prior, _TRIALS)
    known = {name: every[name] for name in (*names, *prior.fixed_keys)}
    whole = prior.conversion_function(dict(every))
    try:
        fewer = prior.conversion_function(known)
    except (KeyError, TypeError):
        return False
    told = [name for name in _constraints(prior) if name in whole]
    return all(name in fewer and np.array_equal(fewer[name], whole[name]) for name in told)


def _spread(free: Sequence[str], prior: PriorDict, points: int) -> dict[str, Values]:
    """What is fixed, and quantiles of what is *free*, 2^points that fill the space evenly."""
    columns = dict(zip(free, qmc.Sobol(len(free), seed=0).random_base2(points).T, strict=True))
    values: dict[str, Values] = {key: np.full(2**points, at) for key, at in _fixed(prior).items()}
    # Those that others are conditional on come first.
    for name in [name for name in getattr(prior, "sorted_keys", free) if name in columns]:
        given = {key: values[key] for key in _needed(prior, name)}
        values[name] = prior[name].rescale(columns[name], **given)
    return values


def source_mass_density(
    prior: PriorDict,
    detector_frame: bool,  # noqa: FBT001 - load_prior gives the two as a pair
    mass_1_source: Values,
    mass_2_source: Values,
    redshift: Values,
) -> Values:
    r"""Density at which *prior* draws a pair of source-frame masses.

    Where the prior is over detector-frame masses :math:`m_i (1 + z)`,

    .. math:: p(m_1, m_2 | z) = (1 + z)^2\, p_\mathrm{det}(m_1 (1 + z), m_2 (1 + z))

    Args:
        prior: What was drawn from.
        detector_frame: Whether its masses are those seen at the detector.
        mass_1_source: Heavier mass (Msun).
        mass_2_source: Lighter mass (Msun).
        redshift: Redshift of each source.

    Returns:
        Density (1/Msun^2), normalized at each redshift.

    Raises:
        AframeError: If it depends on more, by a constraint on spins or redshift, say.
    """
    scale = 1 + np.asarray(redshift) if detector_frame else np.ones_like(redshift)
    masses = {"mass_1": mass_1_source * scale, "mass_2": mass_2_source * scale}
    return np.exp(log_prob(prior, masses)) * scale**2


def redshift_density(prior: PriorDict, redshift: Values) -> Values:
    """Density at which *prior* draws a redshift; zero outside its range."""
    return np.asarray(prior["redshift"].prob(np.asarray(redshift)))


def redshift_range(prior: PriorDict) -> tuple[float, float]:
    """Least and largest redshift that *prior* draws."""
    return float(prior["redshift"].minimum), float(prior["redshift"].maximum)


def declination_range(prior: PriorDict) -> tuple[float, float]:
    """Least and largest declination that *prior* draws (rad)."""
    return float(prior["dec"].minimum), float(prior["dec"].maximum)


def volume_element(redshift: Values) -> Values:
    r"""Comoving volume of the whole sky a redshift, in time at the detector.

    .. math:: \frac{1}{1 + z} \frac{\mathrm{d}V_c}{\mathrm{d}z}

    Returns:
        Gpc^3, Planck 2015.
    """
    a_steradian = Planck15.differential_comoving_volume(redshift).value
    return np.asarray(4 * math.pi * a_steradian / (1 + redshift) / MPC3_IN_GPC3)


def luminosity_distance(redshift: Values) -> Values:
    """Luminosity distance (Mpc), Planck 2015."""
    redshift = np.asarray(redshift)
    if redshift.size and (redshift.min() < 0 or redshift.max() > _FARTHEST):
        return np.asarray(Planck15.luminosity_distance(redshift).value)
    # astropy integrates for each one anew, which takes as long as part of a waveform.
    return np.asarray(_distance_by_redshift()(np.log1p(redshift)) * redshift)


@functools.cache
def _distance_by_redshift() -> CubicSpline:
    """Luminosity distance over redshift (Mpc), by ``log(1 + z)``: good to 1e-11."""
    knots = np.linspace(0, math.log1p(_FARTHEST), _KNOTS)
    redshift = np.expm1(knots[1:])
    ratios = Planck15.luminosity_distance(redshift).value / redshift
    return CubicSpline(knots, [Planck15.hubble_distance.value, *ratios])
