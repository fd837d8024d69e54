"""The verb `challenge`: sensitive distance in the mock data challenge MLGWSC-1."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from aframe.artifacts.hdf5 import writing
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_sv.mock_data import (
    EDGE,
    MONTH,
    Campaign,
    Draws,
    Values,
    loudest_claims,
    radius,
    read_campaign,
    read_searched,
    read_triggers,
    refuse_other_distances,
    thresholds_at,
    volumes,
)

log = logging.getLogger(__name__)

OUTPUT = "challenge.hdf5"
FORMS = ("official", "unbiased")
Rates = Float[np.ndarray, " rate"]
Counts = Int[np.ndarray, " rate"]


@dataclass(frozen=True)
class ChallengeInputs:
    """Files of one data set of the challenge.

    Args:
        foreground_events: What the search found in the foreground (``time``, ``stat``, ``var``).
        background_events: What it found in the background.
        injections: The injections (``tc``, ``distance``, ``mass1``, ``mass2``).
        foreground: The foreground's strain, whose segments tell which injections count and
            how long the search was; null for all injections and *duration*.
    """

    foreground_events: Path
    background_events: Path
    injections: Path
    foreground: Path | None = None


@dataclass(frozen=True)
class ChallengeSettings:
    """Settings of ``aframe-sv challenge``.

    Args:
        inputs: Files of one data set.
        output: Directory in which ``challenge.hdf5`` appears.
        false_alarms: False alarms a month (30 days) at which to give the distance.
        chirp_distances: Least and largest chirp distance of the injections (Mpc).
        duration: Length of the background (s); null for that of the foreground's strain, or a
            month where that is not given.
        edge: Time at either end of a segment of the foreground in which no injection counts (s),
            as in the challenge's own code.
        bootstraps: Number of resamplings of injections and background that give the errors.
        seed: Seed of the resamplings.
        resources: How to use the machine.

    Raises:
        AframeError: If a value cannot be meant.
    """

    inputs: ChallengeInputs
    output: Path
    false_alarms: list[float] = field(default_factory=lambda: [1.0, 10.0, 100.0, 1000.0])
    chirp_distances: tuple[float, float] = (130.0, 350.0)
    duration: float | None = None
    edge: float = EDGE
    bootstraps: int = 500
    seed: int = 0
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        low, high = self.chirp_distances
        if not 0 <= low < high:
            raise _unmeant("chirp_distances", self.chirp_distances, "give a range in Mpc")
        if not self.false_alarms or not all(0 < rate < np.inf for rate in self.false_alarms):
            raise _unmeant("false_alarms", self.false_alarms, "give rates above zero")
        if self.duration is not None and not 0 < self.duration < np.inf:
            raise _unmeant("duration", self.duration, "give a time above zero (s)")
        if not 0 <= self.edge < np.inf:
            raise _unmeant("edge", self.edge, "give a time that is not negative (s)")
        if self.bootstraps < 2:  # noqa: PLR2004
            raise _unmeant("bootstraps", self.bootstraps, "resample twice at least")


def _unmeant(name: str, found: Any, fix: str) -> AframeError:
    return AframeError(
        f"{name} cannot be used", found=f"{found}", wanted_by="aframe-sv challenge", fix=fix
    )


def challenge(settings: ChallengeSettings, draft: Draft) -> None:
    """Compute the sensitive distance of the challenge, officially and without its bias."""
    inputs = settings.inputs
    searched = read_searched(inputs.foreground) if inputs.foreground else None
    campaign = read_campaign(inputs.injections, searched, settings.edge)
    refuse_other_distances(campaign, settings.chirp_distances)
    loudest = loudest_claims(read_triggers(inputs.foreground_events), campaign)
    noise = np.sort(read_triggers(inputs.background_events).stat)[::-1]
    lengths = [segment.duration for segment in searched or ()]
    months = (settings.duration or sum(lengths) or MONTH) / MONTH
    rates = reached(settings.false_alarms, len(noise), months)
    counts = np.floor(rates * months * (1 + 1e-12)).astype(int)
    found = distances(settings, campaign, loudest, thresholds_at(noise, counts))
    errors = bootstrap(settings, campaign, loudest, noise, counts)
    curve = distances(settings, campaign, loudest, noise)
    write(draft.path / OUTPUT, settings, (rates, found, errors), (noise, curve), months)
    draft.notes.update(injections=len(campaign), claimed=int(np.isfinite(loudest).sum()))
    for rate, *values in zip(rates, *found, *errors, strict=True):
        told = "{0:.0f} +- {2:.0f} Mpc, without bias {1:.0f} +- {3:.0f} Mpc".format(*values)
        log.info("%g false alarms a month: %s", rate, told)


def reached(false_alarms: list[float], events: int, months: float) -> Rates:
    """Rates whose threshold lies within the background: one event in all at least.

    Raises:
        AframeError: If there is none.
    """
    asked = np.sort(np.asarray(false_alarms, float))
    # The threshold is an event itself, beyond those that exceed it.
    there = (asked * months * (1 + 1e-12) >= 1) & (asked * months < events)
    if not there.all():
        log.warning(
            "%s false alarms a month are left out: the background has %d events in %.3g months",
            ", ".join(f"{rate:g}" for rate in asked[~there]),
            events,
            months,
        )
    if not there.any():
        raise AframeError(
            "the background reaches none of the rates asked for",
            found=f"{events} events in {months:.3g} months",
            wanted_by=f"false_alarms {false_alarms} a month",
            fix="hand in quieter events of the background too, or ask for other rates",
        )
    return asked[there]


def distances(
    settings: ChallengeSettings,
    campaign: Campaign,
    loudest: Draws,
    thresholds: Rates,
    repeats: Int[np.ndarray, " injection"] | None = None,
) -> tuple[Rates, Rates]:
    """Official and unbiased distance (Mpc) at *thresholds*, loudest first."""
    found = volumes(campaign, loudest, thresholds, settings.chirp_distances, repeats)
    return radius(found[0]), radius(found[1])


def bootstrap(
    settings: ChallengeSettings, campaign: Campaign, loudest: Draws, noise: Values, counts: Counts
) -> tuple[Rates, Rates]:
    """Standard deviation of both distances (Mpc) when injections and background are resampled.

    Each event and injection counts a Poisson number of times, of mean one. The threshold of a
    single false alarm then moves between the loudest events.
    """
    rng = np.random.default_rng(settings.seed)
    # Beyond twice the counts, and some, no resampling reaches.
    tail = noise[: 2 * int(counts.max()) + 50]
    drawn = []
    for _ in range(settings.bootstraps):
        thresholds = thresholds_at(tail, counts, rng.poisson(1, len(tail)))
        repeats = rng.poisson(1, len(campaign))
        drawn.append(distances(settings, campaign, loudest, thresholds, repeats))
    official, unbiased = np.std(drawn, axis=0, ddof=1)
    return official, unbiased


def write(
    path: Path,
    settings: ChallengeSettings,
    at: tuple[Rates, tuple[Rates, Rates], tuple[Rates, Rates]],
    curve: tuple[Values, tuple[Values, Values]],
    months: float,
) -> None:
    """Write ``challenge.hdf5``, whole or not at all.

    Args:
        path: The file.
        settings: What was asked for.
        at: Rates asked for, distances and errors there.
        curve: Each background event as threshold, and the distances there.
        months: Length of the background (30 days).
    """
    with writing(path) as file:
        file.attrs.update(
            duration=months * MONTH,
            chirp_distances=settings.chirp_distances,
            edge=settings.edge,
            bootstraps=settings.bootstraps,
        )
        rates, found, errors = at
        file["at/false_alarms"] = rates
        for form, distance, error in zip(FORMS, found, errors, strict=True):
            file[f"at/{form}"], file[f"at/{form}_err"] = distance, error
        thresholds, along = curve
        file["curve/threshold"] = thresholds
        # Those strictly louder, as the challenge counts.
        louder = np.searchsorted(-thresholds, -thresholds, side="left")
        file["curve/false_alarms"] = louder / months
        for form, distance in zip(FORMS, along, strict=True):
            file[f"curve/{form}"] = distance
