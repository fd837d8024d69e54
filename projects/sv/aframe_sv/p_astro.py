"""The verb `p_astro`: the probability that a zero-lag event is a signal, and of which class."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.artifacts.hdf5 import writing
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.priors import load_prior
from aframe.program import Resources
from aframe_sv.densities import (
    FEWEST,
    Model,
    Values,
    background,
    common_grid,
    foreground,
    suffice,
    tail_excess,
)
from aframe_sv.draws import Injections, Sources, read_injections, read_rejected, refuse_strangers
from aframe_sv.far import poisson_interval
from aframe_sv.reliability import Reliability, Scored, reliability
from aframe_sv.volumes import Source

log = logging.getLogger(__name__)

OUTPUT = "p_astro.hdf5"
CLASSES = ("BBH", "NSBH", "BNS")
#: Middles (geometric) of the ranges that the catalog gives.
RATES = {"BBH": 28.0, "NSBH": 33.0, "BNS": 130.0}
RATES_SOURCE = (
    "R. Abbott et al., Phys. Rev. X 13, 011048 (2023): 17.9 to 44 BBH (at redshift 0.2), "
    "7.8 to 140 NSBH, 10 to 1700 BNS per Gpc³ and year"
)
#: Columns of the events' false alarm rates.
_RATES = ("false_alarm_rate", "false_alarm_rate_low", "false_alarm_rate_high")
#: Halves of the events, of which one is scored by a model of the other.
_FOLDS = 2
#: Deviations of a bin (standard deviations) that a true model rarely has.
_TWO_SIGMA = 2.0


@dataclass(frozen=True)
class PAstroInputs:
    """Files that the probabilities are made from.

    Args:
        background: Events of the time slides (``background.hdf5``).
        foreground: Recovered injections (``foreground.hdf5``).
        rejected_parameters: Draws that were too faint to inject (``rejected-parameters.hdf5``).
        zero_lag: Events whose probability is asked for (``0lag.hdf5``).
    """

    background: Path
    foreground: Path
    rejected_parameters: Path
    zero_lag: Path


@dataclass(frozen=True)
class PAstroSettings:
    """Settings of ``aframe-sv p_astro``.

    Args:
        inputs: What to read.
        output: Directory in which ``p_astro.hdf5`` appears.
        ifos: Detectors of the search.
        source_prior: Prior that the testing waveforms were drawn from: the population of each
            class is its part of it, uniform in comoving volume and source-frame time.
        dt: Largest difference between an injection's and its event's time (s).
        legacy_redshift: Take the prior's redshifts for those of the population, as aframe did
            up to 2025.
        rates: Mergers per Gpc^3 and year of each class: BBH, NSBH, BNS.
        rates_source: Where the rates are from, told with the result.
        heaviest_neutron_star: Source-frame mass from which a body is a black hole (Msun).
        resources: How to use the machine.

    Raises:
        AframeError: If a value cannot be meant.
    """

    inputs: PAstroInputs
    output: Path
    ifos: list[str]
    source_prior: str
    dt: float = 1.0
    legacy_redshift: bool = False
    rates: dict[str, float] = field(default_factory=lambda: dict(RATES))
    rates_source: str = RATES_SOURCE
    heaviest_neutron_star: float = 3.0
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        if not self.dt > 0:
            raise _unmeant("dt", self.dt, "give a number above zero")
        if not self.rates or set(self.rates) - set(CLASSES):
            raise _unmeant("rates", self.rates, f"give rates of {', '.join(CLASSES)}")
        if not all(0 < rate < np.inf for rate in self.rates.values()):
            raise _unmeant("rates", self.rates, "give rates above zero, in 1/(Gpc^3 yr)")


def _unmeant(name: str, found: Any, fix: str) -> AframeError:
    return AframeError(
        f"{name} cannot be used", found=f"{found}", wanted_by="aframe-sv p_astro", fix=fix
    )


def refuse_unknown_prior(settings: PAstroSettings) -> None:
    """Refuse a prior that there is not.

    Raises:
        AframeError: If so.
    """
    load_prior(settings.source_prior)


@dataclass(frozen=True)
class Signals:
    """Injections that were found, as signals of an astrophysical population.

    Args:
        statistic: Detection statistic of each.
        rates: How many such signals each stands for, by class (1/yr): zero for other classes.
    """

    statistic: Values
    rates: dict[str, Values]

    def part(self, rows: Shaped[np.ndarray, " row"], share: float) -> Signals:
        """Take *rows*, to stand for all: those are *share* of the signals."""
        return Signals(
            self.statistic[rows], {name: each[rows] / share for name, each in self.rates.items()}
        )


def p_astro(settings: PAstroSettings, draft: Draft) -> None:
    """Tell how probable it is that each zero-lag event is a signal, and of which class."""
    refuse_strangers(settings.inputs, settings.ifos, settings.source_prior)
    noise, zero_lag = (
        Events.read(path) for path in (settings.inputs.background, settings.inputs.zero_lag)
    )
    signals, zero_lag = read_signals(settings), zero_lag.sorted()
    if few := too_few(signals, noise):
        log.warning("there is no probability for any event: %s", few)
        write(draft.path / OUTPUT, settings, None, reliability([]), noise, zero_lag)
        return
    held_out = reliability(score_held_out(signals, noise))
    write(draft.path / OUTPUT, settings, model(signals, noise), held_out, noise, zero_lag)
    excess = tail_excess(noise)
    draft.notes.update(notes(signals, held_out), tail_excess=excess and excess._asdict())
    _warn(draft.notes)


def too_few(signals: Signals, noise: Events) -> str:
    """Say which events are too few to be modeled, also by halves; blank where none are."""
    kinds = {"injections found": signals.statistic, "background events": noise.detection_statistic}
    few = [
        f"{len(values)} {name}"
        for name, values in kinds.items()
        if not suffice(values, _FOLDS * FEWEST)
    ]
    return f"{' and '.join(few)}, where {_FOLDS * FEWEST} are needed" if few else ""


def read_signals(settings: PAstroSettings) -> Signals:
    """Weigh the injections that were found as sources of each class.

    Raises:
        AframeError: If the prior draws no source of any class that has a rate.
    """
    prior, detector_frame = load_prior(settings.source_prior)
    source = Source(prior, detector_frame=detector_frame, legacy_redshift=settings.legacy_redshift)
    injections = read_injections(settings.inputs.foreground, settings.dt)
    totals = _totals(settings, source, injections)
    found = np.isfinite(injections.statistic)
    statistic = injections.statistic[found]
    rates = {
        name: source.volume * settings.rates[name] * weights[found] / totals[name]
        for name, weights in class_weights(settings, source, injections.draws).items()
        if totals[name] > 0
    }
    if not rates:
        raise AframeError(
            "the injections are of no class that has a rate",
            found=f"{len(injections.statistic)} injections from {settings.source_prior}",
            wanted_by=f"rates of {', '.join(settings.rates)}",
            fix="give the rate of the class that this prior draws",
        )
    return Signals(statistic, rates)


def _totals(settings: PAstroSettings, source: Source, injections: Injections) -> dict[str, float]:
    """Sum of the weights of all draws of each class, found or not."""
    injected = class_weights(settings, source, injections.draws)
    totals = {name: float(weights.sum()) for name, weights in injected.items()}
    for draws in read_rejected(settings.inputs.rejected_parameters):
        for name, weights in class_weights(settings, source, draws).items():
            totals[name] += injections.kept * float(weights.sum())
    return totals


def class_weights(settings: PAstroSettings, source: Source, draws: Sources) -> dict[str, Values]:
    """Weigh *draws* as sources of each class that has a rate; zero where it is of another."""
    stars = (draws.mass_1 < settings.heaviest_neutron_star).astype(int)
    stars += draws.mass_2 < settings.heaviest_neutron_star
    weights = source.redshift_weights(draws.redshift)
    return {
        name: np.where(stars == count, weights, 0.0)
        for count, name in enumerate(CLASSES)
        if name in settings.rates
    }


def model(signals: Signals, noise: Events) -> Model:
    """Model the rate densities of signals and noise.

    Raises:
        AframeError: If there are too few events.
    """
    grid = common_grid(noise.detection_statistic, signals.statistic)
    classes = {
        name: foreground(signals.statistic, rates, float(rates.sum()), grid)
        for name, rates in signals.rates.items()
    }
    return Model(classes, background(noise, grid))


def score_held_out(signals: Signals, noise: Events) -> list[Scored]:
    """Score each half of the events by a model of the other half.

    The halves are drawn at random, from a fixed seed: neighbors in time or loudness go to
    either.
    """
    rng = np.random.default_rng(0)
    halves = [rng.permutation(count) % _FOLDS for count in (len(signals.statistic), len(noise))]
    scored = []
    for fold in range(_FOLDS):
        mine, theirs = (
            (signals.part(half, half.mean()), _half(noise, other))
            for half, other in (
                (halves[0] != fold, halves[1] != fold),
                (halves[0] == fold, halves[1] == fold),
            )
        )
        scored.append(_score(model(*mine), *theirs))
    return scored


def _half(noise: Events, rows: Shaped[np.ndarray, " event"]) -> Events:
    """Take *rows* of the noise, and as large a share of its time."""
    return replace(
        noise,
        detection_statistic=noise.detection_statistic[rows],
        detection_time=noise.detection_time[rows],
        shift=noise.shift[rows],
        Tb=noise.Tb * rows.mean(),
    )


def _score(fitted: Model, signals: Signals, noise: Events) -> Scored:
    statistic = np.concatenate([signals.statistic, noise.detection_statistic])
    rates = np.sum(list(signals.rates.values()), axis=0)
    per_event = np.full(len(noise), JULIAN_YEAR / noise.Tb)
    signal = np.arange(len(statistic)) < len(rates)
    weights = np.concatenate([rates, per_event])
    there = weights > 0
    odds = fitted.log_odds.log(statistic)
    return Scored(odds[there], weights[there], signal[there])


def notes(signals: Signals, held_out: Reliability) -> dict[str, Any]:
    """What the record keeps of the model."""
    off = np.abs(held_out.deviations) > _TWO_SIGMA
    return {
        "found_a_year": {name: float(rates.sum()) for name, rates in signals.rates.items()},
        "injections_found": len(signals.statistic),
        "reliability_bins": len(off),
        "bins_off_by_two_sigma": int(off.sum()),
        "largest_probability_tested": float(max(held_out.promised, default=0.0)),
    }


def _warn(told: dict[str, Any]) -> None:
    # A true model has one bin in twenty beyond two standard deviations.
    bins, off = told["reliability_bins"], told["bins_off_by_two_sigma"]
    if off > max(2, 0.2 * bins):
        log.warning(
            "the probabilities do not hold on held-out events: %d of %d bins are off by more than "
            "two standard deviations",
            off,
            bins,
        )
    if excess := told["tail_excess"]:
        log.warning(
            "the background has a tail that the model lacks, as of glitches: %(events)d events at "
            "%(statistic).3g and above, where it promises %(promised).2g; probabilities of events "
            "as loud are too high",
            excess,
        )


def rates_of(noise: Events, zero_lag: Events) -> tuple[Values, Values, Values]:
    """False alarm rate of each event (1/yr), and what its count in the background bounds it by.

    The bounds are those of one standard deviation; no count leaves zero for the lower one.
    """
    counts = noise.counts_above(zero_lag.detection_statistic)
    low, high = poisson_interval(counts)
    year = JULIAN_YEAR / noise.Tb
    return noise.false_alarm_rate(zero_lag.detection_statistic), low * year, high * year


def write(
    path: Path,
    settings: PAstroSettings,
    found: Model | None,
    held_out: Reliability,
    noise: Events,
    zero_lag: Events,
) -> None:
    """Write ``p_astro.hdf5``, whole or not at all, the loudest event first.

    Without a model no event has a probability: it is not a number.
    """
    order = slice(None, None, -1)
    statistic = zero_lag.detection_statistic[order].astype(float)
    with writing(path) as file:
        file.attrs.update(
            rates=json.dumps(settings.rates),
            rates_source=settings.rates_source,
            source_prior=settings.source_prior,
            heaviest_neutron_star=settings.heaviest_neutron_star,
            legacy_redshift=settings.legacy_redshift,
            Tb=noise.Tb,
        )
        events = file.create_group("events")
        events["detection_time"] = zero_lag.detection_time[order]
        events["detection_statistic"] = statistic
        for name, rates in zip(_RATES, rates_of(noise, zero_lag), strict=True):
            events[name] = rates[order]
        # No background is as loud: the noise there is the tail's, continued.
        events["extrapolated"] = noise.counts_above(zero_lag.detection_statistic[order]) == 0
        probabilities = found.probabilities(statistic) if found else {}
        unknown = np.full(len(statistic), np.nan)
        events["p_astro"] = found.p_astro(statistic) if found else unknown
        for name, values in probabilities.items():
            events[f"p_{name}"] = values
        table = file.create_group("model")
        if found:
            table["statistic"] = found.noise.grid
            for name, density in {"noise": found.noise, **found.classes}.items():
                table[name] = density(density.grid)
        for name, values in asdict(held_out).items():
            file[f"reliability/{name}"] = values
