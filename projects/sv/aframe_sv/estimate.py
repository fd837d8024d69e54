"""The verb `estimate`: sensitive volume and distance against false alarm rate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Shaped

from aframe.artifacts.events import Events
from aframe.artifacts.hdf5 import writing
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.priors import load_prior, source_mass_density
from aframe.program import Resources
from aframe_sv.draws import Sources, read_injections, read_rejected, refuse_strangers
from aframe_sv.far import further_thresholds, thresholds_up_to
from aframe_sv.volumes import (
    SLOPE,
    Draws,
    Found,
    Source,
    Thresholds,
    WeightSums,
    distance,
    effective_samples,
    found_fraction,
    importance_weights,
    outermost_share,
    target_density,
    threshold_error,
)

log = logging.getLogger(__name__)

OUTPUT = "sensitive_volume.h5"
#: Farr (2019) asks for four effective samples a detection; with ten, both the volume and its
#: error are good to a third.
ENOUGH_SAMPLES = 4 * 10
#: How far the mean weight may lie from one: this share, and this many standard errors.
COVERAGE_TOLERANCE = (0.02, 5.0)
#: Columns of a population in the file, one value a threshold.
Curve = dict[str, Shaped[np.ndarray, " threshold"]]


@dataclass(frozen=True)
class EstimateInputs:
    """Files that the volume is estimated from.

    Args:
        background: Events of the time slides (``background.hdf5``).
        foreground: Recovered injections (``foreground.hdf5``).
        rejected_parameters: Draws that were too faint to inject (``rejected-parameters.hdf5``).
    """

    background: Path
    foreground: Path
    rejected_parameters: Path


@dataclass(frozen=True)
class EstimateSettings:
    """Settings of ``aframe-sv estimate``.

    Args:
        inputs: What to read.
        output: Directory in which ``sensitive_volume.h5`` appears.
        ifos: Detectors of the search.
        mass_combos: Medians of the source-frame masses of each population (Msun), heavier first.
        source_prior: Prior that the testing waveforms were drawn from.
        dt: Largest difference between an injection's and its event's time (s).
        max_far: Largest false alarm rate to report (1/yr).
        sigma: Standard deviation of the logarithm of each mass.
        legacy_redshift: Weigh by the masses alone, for numbers like those of aframe up to 2025;
            they are too low by a factor of up to two where the prior is uniform in volume.
        resources: How to use the machine.

    Raises:
        AframeError: If a value cannot be meant.
    """

    inputs: EstimateInputs
    output: Path
    ifos: list[str]
    mass_combos: list[list[float]]
    source_prior: str
    dt: float = 1.0
    max_far: float = 365.0
    sigma: float = 0.1
    legacy_redshift: bool = False
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        for name in ("dt", "max_far", "sigma"):
            if not getattr(self, name) > 0:
                raise _unmeant(name, getattr(self, name), "give a number above zero")
        if not self.ifos or not self.mass_combos:
            empty = "mass_combos" if self.ifos else "ifos"
            raise _unmeant(empty, "[]", "name at least one")
        names = [pair_name(pair) for pair in self.mass_combos]
        if len(set(names)) < len(names):
            raise _unmeant("mass_combos", names, "name each pair once")

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Medians of the masses of each population (Msun)."""
        return [(first, second) for first, second in self.mass_combos]


def refuse_unknown_prior(settings: EstimateSettings) -> None:
    """Refuse a prior that there is not, or whose masses have no density of their own.

    Raises:
        AframeError: If so.
    """
    prior, detector_frame = load_prior(settings.source_prior)
    source_mass_density(prior, detector_frame, *np.ones((3, 1)))


def pair_name(pair: Sequence[float]) -> str:
    """Name of a population in the result.

    Raises:
        AframeError: If *pair* is not two masses, the heavier first.

    Example:
        >>> pair_name([35, 20.0]), pair_name([1.6, 1.4])
        ('35-20', '1.6-1.4')
    """
    if len(pair) != 2 or not pair[0] >= pair[1] > 0:  # noqa: PLR2004
        raise _unmeant("mass_combos", list(pair), "give two masses in Msun, the heavier first")
    return f"{pair[0]:g}-{pair[1]:g}"


def _unmeant(name: str, found: Any, fix: str) -> AframeError:
    return AframeError(
        f"{name} cannot be used", found=f"{found}", wanted_by="aframe-sv estimate", fix=fix
    )


def estimate(settings: EstimateSettings, draft: Draft) -> None:
    """Estimate the sensitive volume against the false alarm rate."""
    refuse_strangers(settings.inputs, settings.ifos, settings.source_prior)
    source = _source(settings)
    background = Events.read(settings.inputs.background)
    thresholds, fars = thresholds_up_to(background, settings.max_far)
    injections = read_injections(settings.inputs.foreground, settings.dt)
    weights = population_weights(settings, source, injections.draws)
    rejected = rejected_sums(settings, source, injections.kept)
    further = further_thresholds(background, thresholds, SLOPE)
    counts, curves = background.counts_above(further), {}
    found = Found.at(injections.statistic, further)
    outermost = injections.draws.redshift >= source.outermost[0]
    for name in weights:
        sums = WeightSums.of(weights[name]) + rejected[name]
        _refuse_uncovered(sums, name, settings)
        columns = curve(source, weights[name], found, sums, counts, outermost)
        # Those beyond serve the error of the threshold.
        curves[name] = {key: values[: len(thresholds)] for key, values in columns.items()}
        draft.notes[name] = _notes(sums, fars, curves[name])
        _warn(name, draft.notes[name], source.outermost, legacy=settings.legacy_redshift)
    draft.notes.update(
        Tb=background.Tb,
        injected=len(injections.statistic),
        recovered_within_dt=int(np.isfinite(injections.statistic).sum()),
        volume_of_prior=source.volume,
    )
    attributes = {
        "Tb": background.Tb,
        "dt": settings.dt,
        "legacy_redshift": settings.legacy_redshift,
        "mass_combos": settings.mass_combos,
        "max_far": settings.max_far,
        "outermost_redshifts": source.outermost,
        "sigma": settings.sigma,
        "source_prior": settings.source_prior,
        "volume_of_prior": source.volume,
    }
    write_volumes(draft.path / OUTPUT, thresholds, fars, curves, attributes)


def _source(settings: EstimateSettings) -> Source:
    prior, detector_frame = load_prior(settings.source_prior)
    return Source(prior, detector_frame=detector_frame, legacy_redshift=settings.legacy_redshift)


def population_weights(
    settings: EstimateSettings, source: Source, draws: Sources
) -> dict[str, Draws]:
    """Weigh *draws* as each of the populations asked for."""
    density = source.density(draws.mass_1, draws.mass_2, draws.redshift)
    return {
        pair_name(pair): importance_weights(
            target_density(draws.mass_1, draws.mass_2, pair=pair, sigma=settings.sigma), density
        )
        for pair in settings.pairs
    }


def rejected_sums(
    settings: EstimateSettings, source: Source, kept: float = 1.0
) -> dict[str, WeightSums]:
    """Add up the weights of the rejected draws for each population, some rows at a time.

    Args:
        settings: What is estimated.
        source: What was drawn from.
        kept: Share of the injections that no veto took: of the rejected draws, which have no
            time, as large a share counts.
    """
    sums = {pair_name(pair): WeightSums() for pair in settings.pairs}
    for draws in read_rejected(settings.inputs.rejected_parameters):
        for name, values in population_weights(settings, source, draws).items():
            sums[name] += WeightSums.of(values)
    return {name: each.share(kept) for name, each in sums.items()}


def _refuse_uncovered(sums: WeightSums, name: str, settings: EstimateSettings) -> None:
    if not sums.total > 0:
        raise AframeError(
            f"no draw is like the sources of population {name}",
            found=f"all {sums.draws} weights are zero",
            wanted_by=f"mass_combos, with draws from {settings.source_prior}",
            fix="leave this pair out, or draw the testing waveforms from a prior that has it",
        )


def curve(
    source: Source,
    weights: Draws,
    found: Found,
    sums: WeightSums,
    counts: Int[np.ndarray, " threshold"],
    outermost: Bool[np.ndarray, " draw"],
) -> Curve:
    """Estimate the volume of one population at each threshold.

    Args:
        source: What the injections were drawn from.
        weights: Weights of the injected draws for this population.
        found: At which thresholds each is found.
        sums: Sums over all draws, the injected ones included.
        counts: Background events at least as loud as each threshold.
        outermost: Whether each injected draw has one of the outermost redshifts.

    Returns:
        ``sv`` and ``err`` (Gpc^3), which is made of ``err_injections`` and ``err_threshold``;
        ``distance`` and ``distance_err`` (Mpc), the share of the volume in the outermost
        redshifts, and whether that makes it a ``lower_bound``.
    """
    share, error = found_fraction(weights, found, sums)
    volume, of_injections = source.volume * share, source.volume * error
    of_threshold = threshold_error(volume, counts)
    spread = np.hypot(of_injections, of_threshold)
    radius, radius_error = distance(volume, spread)
    share_outermost, lower_bound = outermost_share(weights, found, outermost)
    return {
        "sv": volume,
        "err": spread,
        "err_injections": of_injections,
        "err_threshold": of_threshold,
        "distance": radius,
        "distance_err": radius_error,
        "outermost": share_outermost,
        "lower_bound": lower_bound,
    }


def _notes(sums: WeightSums, fars: Thresholds, curve: Curve) -> dict[str, Any]:
    mean, spread = sums.coverage
    effective = effective_samples(curve["sv"], curve["err_injections"])
    bounds = curve["lower_bound"]
    return {
        "draws": sums.draws,
        "mean_weight": mean,
        "mean_weight_error": spread,
        "effective_draws": sums.total**2 / sums.squares,
        "effective_found_at_lowest_far": float(effective[0]),
        "effective_found_at_highest_far": float(effective[-1]),
        "outermost_share_at_lowest_far": float(curve["outermost"][0]),
        "outermost_share_at_highest_far": float(curve["outermost"][-1]),
        "lower_bound_from_far": float(fars[bounds.argmax()]) if bounds.any() else None,
    }


def _warn(
    name: str, notes: dict[str, Any], outermost: tuple[float, float], *, legacy: bool
) -> None:
    """Say where a population is sampled too thinly or cut off, or not by the prior named."""
    found = notes["effective_found_at_lowest_far"]
    if found < ENOUGH_SAMPLES:
        log.warning(
            "%s: only %.1f effective injections found at the lowest false alarm rate (%d wanted): "
            "its volume and the error of it are rough",
            name,
            found,
            ENOUGH_SAMPLES,
        )
    if notes["lower_bound_from_far"] is not None:
        log.warning(
            "%s: the search still finds sources at redshifts %.3g to %.3g, where the prior ends: "
            "the volume is a lower bound at false alarm rates from %.3g/yr on (%.1f %% of it "
            "lie there at the lowest rate, %.1f %% at the highest)",
            name,
            *outermost,
            notes["lower_bound_from_far"],
            100 * notes["outermost_share_at_lowest_far"],
            100 * notes["outermost_share_at_highest_far"],
        )
    share, errors = COVERAGE_TOLERANCE
    off = abs(notes["mean_weight"] - 1)
    if not legacy and off > share + errors * notes["mean_weight_error"]:
        log.warning(
            "%s: the mean weight of all draws is %.3f +- %.3f instead of 1: the prior cannot draw "
            "all of this population, or the injections are not from it",
            name,
            notes["mean_weight"],
            notes["mean_weight_error"],
        )


def write_volumes(
    path: Path,
    thresholds: Thresholds,
    fars: Thresholds,
    curves: dict[str, Curve],
    attributes: dict[str, Any],
) -> None:
    """Write ``sensitive_volume.h5``, whole or not at all.

    Args:
        path: The file.
        thresholds: Detection statistic of each point, loudest first.
        fars: False alarm rate of each point (1/yr).
        curves: What :func:`curve` gives, of each population.
        attributes: Settings to keep with the numbers.
    """
    with writing(path) as file:
        file.attrs.update(attributes)
        file["thresholds"], file["fars"] = thresholds, fars
        for name, columns in curves.items():
            group = file.create_group(name)
            for column, values in columns.items():
                group[column] = values
