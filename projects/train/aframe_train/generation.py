"""Waveforms that a training makes itself, batch by batch, where the network is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from ml4gw.constants import MSUN, MTSUN_SI
from ml4gw.waveforms import IMRPhenomD, IMRPhenomPv2, TaylorF2
from ml4gw.waveforms.cbc import utils as bounds
from ml4gw.waveforms.conversion import bilby_spins_to_lalsim
from torch import Tensor

from aframe.artifacts.ledger import read_metadata
from aframe.errors import AframeError, did_you_mean
from aframe_train.chunks import Chunks
from aframe_train.streams import host_stream

#: Binaries to draw at a time, ahead of their use.
DRAWS = 2**14
#: The conditioning of the ledger's waveforms: turned on below their lowest frequency as
#: LALSimulation does, heavy binaries from 1899 Msun / mass (Hz) on, long ones cut on the left.
_EXTRA_TIME, _EXTRA_CYCLES, _CUT_CYCLES = 0.1, 3.0, 2.0
_FREQUENCY_LIMIT = 1899.0
_SHORTEST = 0.25
#: In single precision the models yield NaN where masses are as good as equal, and where a
#: binary is seen along its axis (rad): so near, another ratio or angle makes no difference.
_LARGEST_RATIO, _LEAST_ANGLE = 0.997, 2e-3
#: Draws that show whether a prior and a model go together.
_TRIAL = 256
_SPINS = ("s1x", "s1y", "s1z", "s2x", "s2y", "s2z")

Columns = Mapping[str, Float[np.ndarray, " signal"]]


class _NoWait:
    """A model of ml4gw without the check of its final spins, which waits for the device."""

    qnmdata_a: Tensor
    qnmdata_fring: Tensor
    qnmdata_fdamp: Tensor

    def _linear_interp_finspin(self, spin: Tensor) -> tuple[Tensor, Tensor]:
        """Frequency and damping of the ringdown, on straight lines between tabulated spins."""
        table = self.qnmdata_a
        right = torch.bucketize(spin, table).clamp(1, len(table) - 1)
        share = (spin - table[right - 1]) / (table[right] - table[right - 1])
        ring, damp = (
            torch.lerp(values[right - 1], values[right], share)
            for values in (self.qnmdata_fring, self.qnmdata_fdamp)
        )
        return ring, damp


class _PhenomD(_NoWait, IMRPhenomD):
    pass


class _PhenomPv2(_NoWait, IMRPhenomPv2):
    pass


@dataclass(frozen=True)
class Model:
    """A waveform model of ml4gw.

    Args:
        make: Its class.
        precesses: Whether its spins may point anywhere.
        ends: Whether it ends at the frequency of the innermost stable orbit.
    """

    make: type[torch.nn.Module]
    precesses: bool = False
    ends: bool = False


MODELS = {
    "IMRPhenomD": Model(_PhenomD),
    "IMRPhenomPv2": Model(_PhenomPv2, precesses=True),
    "TaylorF2": Model(TaylorF2, ends=True),
}


@dataclass(frozen=True)
class Generation:
    """Waveforms made during the training; how else is as the validation's waveforms say.

    Args:
        approximant: Model of ml4gw: IMRPhenomD, IMRPhenomPv2 or TaylorF2; that of the
            validation's waveforms if ``None``.
        prior: Population: its name in ``aframe.priors``, or a dotted path to a factory;
            that of the validation's waveforms if ``None``.
    """

    approximant: str | None = None
    prior: str | None = None


@dataclass(frozen=True)
class Layout:
    """How waveforms are sampled.

    Args:
        sample_rate: Samples a second (Hz).
        samples: Length of a waveform.
        coalescence: Index of the sample at coalescence.
        minimum_frequency: Frequency from which on the waveform is whole (Hz).
        reference_frequency: Frequency at which spins are given (Hz).
    """

    sample_rate: float
    samples: int
    coalescence: int
    minimum_frequency: float
    reference_frequency: float


@dataclass(frozen=True)
class Binaries:
    """Binaries as a model takes them, and how to condition them.

    All that decides on a shape is known here, on the host.

    Args:
        columns: Parameters of the model by its names for them, and of the conditioning.
        size: Length of the circle on which no signal meets itself (samples).
        first: Index of the lowest frequency that any of them has.
        ramp: Longest taper of a signal that is cut (samples).
    """

    columns: Mapping[str, Float[Tensor, " signal"]]
    size: int
    first: int
    ramp: int

    def rows(self, rows: slice) -> Binaries:
        """Take some."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Binaries(columns, self.size, self.first, self.ramp)

    def to(self, device: torch.device) -> Binaries:
        """Bring them to a device, in single precision."""
        columns = {name: values.float().to(device) for name, values in self.columns.items()}
        return Binaries(columns, self.size, self.first, self.ramp)


def prepare(parameters: Columns, layout: Layout, model: Model) -> Binaries:
    """Turn sources into what a model takes, and find where their waveforms begin and end.

    Args:
        parameters: Those of :data:`aframe.priors.PARAMETERS`, masses in the detector frame,
            and ``distance`` (Mpc).
        layout: Sampling.
        model: Which model they are for.
    """
    one = {name: torch.from_numpy(np.asarray(each, float)) for name, each in parameters.items()}
    limit = _FREQUENCY_LIMIT / (one["mass_1"] + one["mass_2"])
    heavy = limit < layout.minimum_frequency
    lowest, reference = (
        torch.where(heavy, limit, torch.full_like(limit, frequency))
        for frequency in (layout.minimum_frequency, layout.reference_frequency)
    )
    inclination, *spins = _spins(one, reference)
    ratio = (one["mass_2"] / one["mass_1"]).clamp_max(_LARGEST_RATIO)
    product, total = one["mass_1"] * one["mass_2"], one["mass_1"] + one["mass_2"]
    shape = _bounds(one, lowest, spins[2], spins[5], layout)
    last = 1 / (6**1.5 * math.pi * total * MTSUN_SI)
    columns = {
        **dict(zip(_SPINS, spins, strict=True)),
        "chi1": spins[2],
        "chi2": spins[5],
        "chirp_mass": product**0.6 / total**0.2,
        "mass_ratio": ratio,
        "distance": one["distance"],
        "phic": one["phase"],
        "inclination": inclination,
        "reference": reference,
        "last": last if model.ends else torch.full_like(limit, math.inf),
        **{name: shape[name] for name in ("start", "whole", "ramp")},
    }
    right = layout.samples / layout.sample_rate - _left(layout)
    needed = float(shape["before"].max()) + max(float(shape["after"].max()), right)
    size = _circle(max(needed * layout.sample_rate, layout.samples))
    first = max(1, math.floor(float(shape["start"].min()) * size / layout.sample_rate))
    return Binaries(columns, size, first, math.ceil(float(shape["ramp"].max())))


def _left(layout: Layout) -> float:
    return layout.coalescence / layout.sample_rate


def _spins(one: Mapping[str, Tensor], reference: Tensor) -> tuple[Tensor, ...]:
    """Inclination, and the spins' components in the frame of the orbital angular momentum."""
    angle = one["theta_jn"].clamp(_LEAST_ANGLE, math.pi - _LEAST_ANGLE)
    angles = (one[name] for name in ("phi_jl", "tilt_1", "tilt_2", "phi_12", "a_1", "a_2"))
    # The transformation takes one frequency; only its product with the mass matters.
    masses = [one[name] * reference for name in ("mass_1", "mass_2")]
    turned = bilby_spins_to_lalsim(angle, *angles, *masses, 1.0, one["phase"])
    along, across = (
        [one[f"a_{body}"] * turn(one[f"tilt_{body}"]) for body in (1, 2)]
        for turn in (torch.cos, torch.sin)
    )
    none, upward = torch.zeros_like(angle), _angular_momentum(masses, along) > 0
    aligned = (torch.where(upward, angle, math.pi - angle), none, none, along[0], none, none)
    # Spins along the orbit's leave 1e-17 across it, or a cosine above one and so NaN.
    keep = torch.stack(across).abs().amax(0).gt(1e-12) & torch.stack(turned).isfinite().all(0)
    both = zip(turned, (*aligned, along[1]), strict=True)
    return tuple(torch.where(keep, *each) for each in both)


def _angular_momentum(masses: list[Tensor], spins: list[Tensor]) -> Tensor:
    """Of orbit and aligned spins, whose sum the inclination is counted from.

    Masses are times the reference frequency (Msun Hz); so is the result's root.
    """
    total = masses[0] + masses[1]
    ratio, speed = masses[0] * masses[1] / total**2, (math.pi * MTSUN_SI * total) ** (1 / 3)
    orbit = total**2 * ratio / speed * (1 + speed**2 * (1.5 + ratio / 6))
    return orbit + masses[0] ** 2 * spins[0] + masses[1] ** 2 * spins[1]


def _bounds(
    one: Mapping[str, Tensor], lowest: Tensor, spin_1: Tensor, spin_2: Tensor, layout: Layout
) -> dict[str, Tensor]:
    """Where waveforms begin, are whole and end, by LALSimulation's bounds.

    Returns:
        ``start``, ``whole`` (Hz), ``before`` and ``after`` coalescence (s), and ``ramp``, the
        taper of those that reach beyond the window (samples).
    """
    masses = one["mass_1"] * MSUN, one["mass_2"] * MSUN
    reach = torch.full_like(lowest, max(_left(layout), _SHORTEST))
    # The leading mode alone is modeled: what lies left of the window need not be made.
    whole = torch.maximum(lowest, bounds.chirp_start_frequency_bound(reach, *masses))
    chirp = bounds.chirp_time_bound(whole, *masses, spin_1, spin_2)
    extra = _EXTRA_CYCLES / whole
    start = bounds.chirp_start_frequency_bound((1 + _EXTRA_TIME) * chirp + extra, *masses)
    spin = bounds.final_black_hole_spin_bound(spin_1, spin_2)
    after = bounds.merge_time_bound(*masses) + extra
    after = after + bounds.ringdown_time_bound(masses[0] + masses[1], spin)
    before = bounds.chirp_time_bound(start, *masses, spin_1, spin_2) + after
    ramp = torch.where(before > _left(layout), _CUT_CYCLES / whole * layout.sample_rate, 0)
    return {"start": start, "whole": whole, "before": before, "after": after, "ramp": ramp}


def _circle(needed: float) -> int:
    """Samples of a circle: eighths of a power of two waste little and are quick to transform."""
    eighth = 2 ** max(1, math.floor(math.log2(needed)) - 3)
    return eighth * math.ceil(needed / eighth)


class Waveforms(torch.nn.Module):
    """Make polarizations as the ledger has them: a pure function of the binaries.

    Args:
        model: Waveform model.
        layout: Sampling.
    """

    def __init__(self, model: Model, layout: Layout) -> None:
        super().__init__()
        self.layout, self.precesses = layout, model.precesses
        self.model = model.make()

    def forward(self, binaries: Binaries) -> Float[Tensor, "2 signal time"]:
        """Make plus and cross of each, with coalescence at the layout's sample."""
        middle, size = self.layout.coalescence, binaries.size
        circle = torch.fft.irfft(self._spectra(binaries), size, norm="forward")
        # Coalescence is at sample 0 of a circle, which is open before the waveform's beginning.
        right = self.layout.samples - middle
        window = torch.cat([circle[..., size - middle :], circle[..., :right]], -1)
        ramp = torch.arange(min(binaries.ramp, self.layout.samples), device=window.device)
        share = ramp / binaries.columns["ramp"][:, None].clamp_min(1e-3)
        window[..., : len(ramp)] *= _raised_cosine(share)
        return window

    def _spectra(self, binaries: Binaries) -> Tensor:
        """Spectra times the frequency step, from frequency zero on."""
        columns, step = binaries.columns, self.layout.sample_rate / binaries.size
        reference, start, whole, last = (
            columns[name][:, None] for name in ("reference", "start", "whole", "last")
        )
        index = torch.arange(binaries.first, binaries.size // 2 + 1, device=start.device)
        frequencies = index * step
        at = reference[:, 0] if self.precesses else reference
        cross, plus = self.model(frequencies, **columns, f_ref=at)
        envelope = _raised_cosine((frequencies - start) / (whole - start))
        spectra = torch.stack([plus, cross]) * (envelope * (frequencies < last) * step)
        return torch.nn.functional.pad(spectra, (binaries.first, 0))


def _raised_cosine(share: Tensor) -> Tensor:
    return (1 - torch.cos(math.pi * share.clamp(0, 1))) / 2


class Generated(torch.nn.Module):
    """Waveforms of new binaries for every batch.

    Args:
        waveforms: Maker of polarizations.
        binaries: Chunks of binaries, each for some batches.
        most: Binaries of a chunk that belong to a batch.
        steps: Batches that a chunk serves.
    """

    def __init__(
        self, waveforms: Waveforms, binaries: Chunks[Binaries], most: int, steps: int
    ) -> None:
        super().__init__()
        self.waveforms, self.binaries = waveforms, binaries
        self.most, self.steps = most, steps

    def draw(
        self,
        number: int,
        index: int,
        generator: torch.Generator,  # noqa: ARG002 - the batch decides on all that is random
    ) -> Float[Tensor, "2 signal time"]:
        """Make the *number* signals of the batch *index*, at most those that belong to it."""
        begin = index % self.steps * self.most
        rows: Binaries = self.binaries.at(index).rows(slice(begin, begin + number))
        made: Tensor = self.waveforms(rows)
        return made


def generated(
    settings: Generation,
    ledger: Path,
    *,
    samples: int,
    coalescence: int,
    most: int,
    seed: int,
    device: torch.device,
) -> Generated:
    """Make the source of a training's waveforms.

    Args:
        settings: What is asked for.
        ledger: Validation waveforms, whose metadata say the rest.
        samples: Length of a waveform.
        coalescence: Index of the sample at coalescence.
        most: Most signals in a batch.
        seed: Seed of all random streams.
        device: Where waveforms are made.

    Raises:
        AframeError: If the model is not among :data:`MODELS`, or the prior does not fit it.
    """
    # bilby takes seconds to load: only where it is needed.
    from aframe.priors import (  # noqa: PLC0415
        load_prior,
        luminosity_distance,
        redshift_range,
        sample,
    )

    known = _known(settings, ledger)
    model, population = _model(known["waveform_approximant"]), load_prior(known["prior"])
    layout = Layout(
        known["sample_rate"],
        samples,
        coalescence,
        known["minimum_frequency"],
        known["reference_frequency"],
    )
    trial = sample(*population, _TRIAL, host_stream(seed, "trial of the prior"))
    _refuse_misfit(trial, model, **known)
    redshifts = np.linspace(*redshift_range(population[0]), 4096)
    distances = luminosity_distance(redshifts)
    steps = max(1, DRAWS // most)

    def load(index: int) -> Binaries:
        drawn = sample(*population, steps * most, host_stream(seed, "training binaries", index))
        distance = np.interp(drawn["redshift"], redshifts, distances)
        return prepare({**drawn, "distance": distance}, layout, model).to(device)

    return Generated(Waveforms(model, layout), Chunks(load, steps), most, steps)


def _known(settings: Generation, ledger: Path) -> dict[str, Any]:
    """What the settings say, and else the ledger."""
    metadata = read_metadata(ledger)
    asked = {"waveform_approximant": settings.approximant, "prior": settings.prior}
    names = ("sample_rate", "minimum_frequency", "reference_frequency", *asked)
    known = {name: asked.get(name) or metadata[name] for name in names}
    missing = [name for name, value in known.items() if value is None]
    if missing:
        raise AframeError(
            "it is not said which waveforms to generate",
            found=f"{ledger} has no {', '.join(missing)}",
            wanted_by="`generation` of the training data",
            fix="make the validation waveforms again, or name "
            + ", ".join(f"generation.{each.name}" for each in fields(Generation)),
        )
    return known


def _model(name: str) -> Model:
    if name not in MODELS:
        raise AframeError(
            "a training cannot generate waveforms of this model",
            found=name,
            wanted_by="`generation` of the training data",
            fix=f"{did_you_mean(name, MODELS)}set generation.approximant to one of "
            f"{', '.join(MODELS)}, or leave generation out: then those of the ledger are read",
        )
    return MODELS[name]


def _refuse_misfit(
    drawn: Columns, model: Model, *, prior: str, waveform_approximant: str, **_others: Any
) -> None:
    """Refuse precession or tides that the model would leave out."""
    tilted = any(
        ((drawn[f"a_{body}"] > 0) & ~np.isin(drawn[f"tilt_{body}"], (0.0, np.pi))).any()
        for body in (1, 2)
    )
    left_out = ["precession"] * (tilted and not model.precesses) + ["tides"] * ("lambda_1" in drawn)
    if left_out:
        raise AframeError(
            f"the waveform model has no {' and no '.join(left_out)}, the prior has",
            found=f"{waveform_approximant} for the prior {prior}",
            wanted_by="`generation` of the training data",
            fix="choose another generation.approximant or generation.prior, or leave generation "
            "out: then the waveforms of the ledger are read",
        )
