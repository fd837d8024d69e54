"""Polarizations of compact binaries from LALSimulation, conditioned in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lal
import lalsimulation
import numpy as np
from jaxtyping import Complex64, Float, Float32
from scipy.fft import irfft

from aframe.errors import AframeError, did_you_mean
from aframe.priors import TIDES, luminosity_distance

Parameters = Mapping[str, Float[np.ndarray, " signal"]]
Polarizations = Float32[np.ndarray, "signal polarization time"]

#: Waveforms start no higher than this over the total mass (Hz Msun), so that the heaviest
#: ones have a few cycles; the value is that of the older tool.
FREQUENCY_LIMIT = 1899.0
#: As much longer than asked, in share and in cycles of the lowest frequency, does
#: LALSimulation begin a waveform to turn it on gently (LALSimInspiral.c).
_EXTRA_TIME, _EXTRA_CYCLES = 0.1, 3.0
#: Cycles of the lowest frequency over which a waveform that is longer than its window starts.
_CUT_CYCLES = 2.0
#: Time before coalescence that is generated however little of it is kept (s).
_SHORTEST = 0.25
#: Signals whose spectra are held at a time; few, so that they stay in the processor's cache,
#: and as many of long ones as have so many samples together.
_BATCH, _BATCH_SAMPLES = 16, 2**19


@dataclass(frozen=True)
class Window:
    """How waveforms are sampled, and where in them coalescence is.

    Args:
        sample_rate: Samples a second (Hz).
        duration: Length (s).
        right_pad: Time from coalescence to the end (s).
        minimum_frequency: Frequency from which on the waveform is whole (Hz).
        reference_frequency: Frequency at which spins are given (Hz).
    """

    sample_rate: float
    duration: float
    right_pad: float
    minimum_frequency: float
    reference_frequency: float

    @property
    def size(self) -> int:
        """Samples of a waveform."""
        return round(self.duration * self.sample_rate)

    @property
    def coalescence(self) -> int:
        """Index of the sample at coalescence."""
        # Cut, not rounded, as the older tool does; but 7.9 s at 10 Hz are 79 samples.
        return int(round((self.duration - self.right_pad) * self.sample_rate, 6))


@dataclass(frozen=True)
class Approximant:
    """A waveform model of LALSimulation.

    Args:
        name: Its name there, such as ``IMRPhenomD``.
        number: Its number there.
        in_frequency: Whether it is generated in the frequency domain.
        precesses: Whether its spins may point anywhere.
    """

    name: str
    number: int
    in_frequency: bool
    precesses: bool


def load_approximant(name: str) -> Approximant:
    """Find the waveform model called *name*.

    Raises:
        AframeError: If LALSimulation has no such model.
    """
    in_frequency, in_time = _domains(name)
    if not (in_frequency or in_time):
        models = [other for other in dir(lalsimulation) if any(_domains(other))]
        raise AframeError(
            "there is no such waveform approximant",
            found=name,
            wanted_by="the setting `waveform_approximant`",
            fix=did_you_mean(name, models)
            + "give the name of a model of LALSimulation, such as IMRPhenomD or IMRPhenomXPHM",
        )
    number = getattr(lalsimulation, name)
    support = lalsimulation.SimInspiralGetSpinSupportFromApproximant(number)
    aligned = (lalsimulation.SIM_INSPIRAL_SPINLESS, lalsimulation.SIM_INSPIRAL_ALIGNEDSPIN)
    return Approximant(name, number, in_frequency, support not in aligned)


def _domains(name: str) -> tuple[bool, bool]:
    """Whether LALSimulation has a model called *name* in the frequency and in the time domain."""
    number = getattr(lalsimulation, name, -1)
    if not isinstance(number, int) or not 0 <= number < lalsimulation.NumApproximants:
        return False, False
    return (
        bool(lalsimulation.SimInspiralImplementedFDApproximants(number)),
        bool(lalsimulation.SimInspiralImplementedTDApproximants(number)),
    )


def refuse_tilted_spins(approximant: Approximant, parameters: Parameters, prior: str) -> None:
    """Refuse to give precessing binaries to a model of aligned spins.

    Raises:
        AframeError: If a spin is tilted and *approximant* cannot have it.
    """
    tilted = _tilted(parameters)
    if tilted.any() and not approximant.precesses:
        raise AframeError(
            "the waveform approximant has no precession, the prior has",
            found=f"{approximant.name}, with tilted spins in {tilted.mean():.0%} of the draws",
            wanted_by=f"the prior {prior}",
            fix="choose a precessing approximant such as IMRPhenomPv2, or the prior "
            "log_uniform_bbh, whose spins are aligned",
        )


def refuse_misfit_tides(
    approximant: Approximant, parameters: Parameters, window: Window, prior: str
) -> None:
    """Refuse a model of tides without tidal deformabilities, and these without such a model.

    LALSimulation has no list of the models that have tides. So those of that name must
    be given some, and any other is asked for a waveform with them and without.

    Raises:
        AframeError: If the ledger would not say what is in its waveforms.
    """
    named = any(part in approximant.name for part in ("Tidal", "NSBH"))
    drawn = all(name in parameters for name in TIDES)
    if named and not drawn:
        raise AframeError(
            "the waveform approximant has tides, the prior has no tidal deformabilities",
            found=approximant.name,
            wanted_by=f"the prior {prior}",
            fix="choose a prior with lambda_1 and lambda_2 such as tidal_bns, or an approximant "
            "without tides such as IMRPhenomPv2",
        )
    if drawn and not named and not _feels_tides(approximant, parameters, window):
        raise AframeError(
            "the waveform approximant has no tides, the prior has tidal deformabilities",
            found=approximant.name,
            wanted_by=f"the prior {prior}",
            fix="choose an approximant with tides such as IMRPhenomPv2_NRTidalv2, or a prior "
            "without them such as end_o3_ratesandpops_bns",
        )


def _feels_tides(approximant: Approximant, parameters: Parameters, window: Window) -> bool:
    most = int(np.argmax(parameters[TIDES[0]]))
    one = {name: values[most : most + 1] for name, values in parameters.items()}
    rigid = {name: values for name, values in one.items() if name not in TIDES}
    without = polarizations(rigid, approximant, window)
    try:
        return not np.array_equal(polarizations(one, approximant, window), without)
    except AframeError:  # Most models of LALSimulation refuse what others overlook.
        return False


def _tilted(parameters: Parameters) -> np.ndarray:
    return np.any(
        [
            (parameters[f"a_{body}"] > 0) & ~np.isin(parameters[f"tilt_{body}"], (0.0, np.pi))
            for body in (1, 2)
        ],
        axis=0,
    )


@dataclass(frozen=True)
class _Signal:
    """What LALSimulation needs for one binary, and how much time it takes.

    ``start`` is the frequency at which the waveform begins to be turned on, ``whole``
    that from which on it is (Hz); ``before`` and ``after`` bound its length on either
    side of coalescence (s); ``tides`` are the deformabilities, if any.
    """

    binary: tuple[float, ...]
    tides: tuple[float, ...]
    reference: float
    start: float
    whole: float
    before: float
    after: float


def polarizations(
    parameters: Parameters,
    approximant: Approximant,
    window: Window,
    out: Polarizations | None = None,
) -> Polarizations:
    """Generate plus and cross polarizations.

    Coalescence is the sample of index ``window.coalescence``. The waveform is whole from
    the minimum frequency on (or from 1899 Msun / total mass, if that is lower) and is
    turned on smoothly below; one longer than the window is cut on its left, with a
    taper of two cycles.

    Args:
        parameters: Those of :data:`aframe.priors.PARAMETERS`, masses in the detector frame,
            and of :data:`aframe.priors.TIDES`, if there are.
        approximant: Waveform model.
        window: Sampling.
        out: Zeros to fill, if they are not to be made.

    Returns:
        Strain, shape ``(signal, 2, time)``.
    """
    signals = [_prepared(one, approximant, window) for one in _rows(parameters)]
    strain = np.zeros((len(signals), 2, window.size), np.float32) if out is None else out
    make = _from_spectra if approximant.in_frequency else _from_series
    make(strain, signals, approximant, window)
    cut = [index for index, signal in enumerate(signals) if signal.before > _left(window)]
    for index in cut:
        _taper(strain[index], round(_CUT_CYCLES / signals[index].whole * window.sample_rate))
    return strain


def _left(window: Window) -> float:
    return window.coalescence / window.sample_rate


def _rows(parameters: Parameters) -> Iterator[dict[str, float]]:
    columns = {name: np.asarray(values, float).tolist() for name, values in parameters.items()}
    columns["distance"] = luminosity_distance(parameters["redshift"]).tolist()
    columns["tilted"] = _tilted(parameters).tolist()
    names = list(columns)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(names, values, strict=True))


def _prepared(one: Mapping[str, Any], approximant: Approximant, window: Window) -> _Signal:
    limit = FREQUENCY_LIMIT / (one["mass_1"] + one["mass_2"])
    lowest, reference = window.minimum_frequency, window.reference_frequency
    if lowest > limit:
        lowest = reference = limit
    mass_1, mass_2 = one["mass_1"] * lal.MSUN_SI, one["mass_2"] * lal.MSUN_SI
    inclination, *spins = _spins(one, mass_1, mass_2, reference)
    aligned = spins[2], spins[5]
    whole = lowest
    if approximant.in_frequency:
        # What would lie left of the window need not be made, down to the modes that turn
        # half as fast as the leading one. Models in the time domain must pass through the
        # reference frequency, though.
        reach = max(_left(window), _SHORTEST)
        reached = lalsimulation.SimInspiralChirpStartFrequencyBound(reach, mass_1, mass_2)
        whole = max(lowest, reached / 2)
    chirp = lalsimulation.SimInspiralChirpTimeBound(whole, mass_1, mass_2, *aligned)
    start = lalsimulation.SimInspiralChirpStartFrequencyBound(
        (1 + _EXTRA_TIME) * chirp + _EXTRA_CYCLES / whole, mass_1, mass_2
    )
    spin = lalsimulation.SimInspiralFinalBlackHoleSpinBound(*aligned)
    after = lalsimulation.SimInspiralMergeTimeBound(mass_1, mass_2)
    after += lalsimulation.SimInspiralRingdownTimeBound(mass_1 + mass_2, spin)
    after += _EXTRA_CYCLES / whole
    before = lalsimulation.SimInspiralChirpTimeBound(start, mass_1, mass_2, *aligned) + after
    distance = one["distance"] * 1e6 * lal.PC_SI
    binary = (mass_1, mass_2, *spins, distance, inclination, one["phase"], 0.0, 0.0, 0.0)
    tides = tuple(one[name] for name in TIDES if name in one)
    return _Signal(binary, tides, reference, start, whole, before, after)


def _spins(one: Mapping[str, Any], mass_1: float, mass_2: float, reference: float) -> Any:
    """Inclination, and the spins' components in the frame of the orbital angular momentum."""
    inclination, *spins = lalsimulation.SimInspiralTransformPrecessingNewInitialConditions(
        one["theta_jn"], one["phi_jl"], one["tilt_1"], one["tilt_2"], one["phi_12"],
        one["a_1"], one["a_2"], mass_1, mass_2, reference, one["phase"],
    )  # fmt: skip
    if not one["tilted"]:
        # The transformation leaves 1e-17 across the orbit, which aligned models refuse.
        spins = [0.0, 0.0, spins[2], 0.0, 0.0, spins[5]]
    return inclination, *spins


def _from_spectra(
    strain: Polarizations, signals: list[_Signal], approximant: Approximant, window: Window
) -> None:
    """Fill *strain* by a model in the frequency domain."""
    sizes = np.array([_transform_size(signal, window) for signal in signals])
    for size in map(int, np.unique(sizes)):
        (members,) = np.nonzero(sizes == size)
        many = max(1, min(_BATCH, _BATCH_SAMPLES // size))
        for batch in np.split(members, range(many, len(members), many)):
            some = [signals[index] for index in batch]
            step = window.sample_rate / size
            spectra = _spectra(some, approximant, window, size)
            circle = irfft(spectra, size, axis=-1, norm="forward", overwrite_x=True)
            for index, signal, rows in zip(batch, some, circle, strict=True):
                # Coalescence is at sample 0 of a circle; cut it open before the waveform's
                # beginning and lay it where it belongs.
                middle = window.coalescence
                before = math.ceil(signal.before * window.sample_rate)
                right = min(window.size - middle, size - before)
                left = min(middle, size - right)
                there = strain[index]
                np.multiply(rows[:, size - left :], step, out=there[:, middle - left : middle])
                np.multiply(rows[:, :right], step, out=there[:, middle : middle + right])


def _transform_size(signal: _Signal, window: Window) -> int:
    """Samples of a circle on which the signal does not reach its own beginning."""
    needed = (signal.before + signal.after) * window.sample_rate
    # Eighths of a power of two waste little and are quick to transform.
    eighth = 2 ** max(1, math.floor(math.log2(needed)) - 3)
    return eighth * math.ceil(needed / eighth)


def _spectra(
    signals: list[_Signal], approximant: Approximant, window: Window, size: int
) -> Complex64[np.ndarray, "signal polarization frequency"]:
    """Spectra; the transform back leaves the frequency step to be multiplied."""
    step = window.sample_rate / size
    # Single precision, as in the file: its relative error of 1e-7 is far below any model's.
    spectra = np.empty((len(signals), 2, size // 2 + 1), np.complex64)
    for signal, rows in zip(signals, spectra, strict=True):
        shape = step, signal.start, window.sample_rate / 2
        both = _generated(lalsimulation.SimInspiralChooseFDWaveform, signal, approximant, shape)
        first, last = (math.ceil(edge / step) for edge in (signal.start, signal.whole))
        turn_on = _turn_on(np.arange(first, last) * step, signal)
        for row, series in zip(rows, both, strict=True):
            values = series.data.data[: len(row)]
            row[:first] = 0
            row[first : len(values)] = values[first:]
            row[len(values) :] = 0
            row[first:last] *= turn_on
    return spectra


def _generated(
    make: Callable[..., Any], signal: _Signal, approximant: Approximant, shape: tuple[float, ...]
) -> Any:
    """Let LALSimulation make a plus and a cross polarization."""
    options = _options(*signal.tides) if signal.tides else None
    try:
        return make(*signal.binary, *shape, signal.reference, options, approximant.number)
    except RuntimeError as error:
        mass_1, mass_2 = (mass / lal.MSUN_SI for mass in signal.binary[:2])
        spins = ", ".join(f"{component:.3g}" for component in signal.binary[2:8])
        raise AframeError(
            "LALSimulation cannot make a waveform",
            found=f"{error} for {mass_1:.1f} and {mass_2:.1f} Msun, spins {spins}",
            wanted_by=f"the approximant {approximant.name}",
            fix="choose an approximant that is made for all of the prior, or a narrower prior",
        ) from error


def _options(lambda_1: float, lambda_2: float) -> Any:
    options = lal.CreateDict()
    lalsimulation.SimInspiralWaveformParamsInsertTidalLambda1(options, lambda_1)
    lalsimulation.SimInspiralWaveformParamsInsertTidalLambda2(options, lambda_2)
    return options


def _turn_on(
    frequencies: Float[np.ndarray, " frequency"], signal: _Signal
) -> Float32[np.ndarray, " frequency"]:
    """Raised cosine, as LALSimulation's, that lets the waveform begin without a bang."""
    share = (frequencies - signal.start) / (signal.whole - signal.start)
    return (0.5 - 0.5 * np.cos(np.pi * share)).astype(np.float32)


def _from_series(
    strain: Polarizations, signals: list[_Signal], approximant: Approximant, window: Window
) -> None:
    """Fill *strain* by a model in the time domain, conditioned by LALSimulation."""
    for signal, rows in zip(signals, strain, strict=True):
        shape = 1 / window.sample_rate, signal.whole
        both = _generated(lalsimulation.SimInspiralTD, signal, approximant, shape)
        for row, series in zip(rows, both, strict=True):
            offset = window.coalescence + round(float(series.epoch) * window.sample_rate)
            values = series.data.data[max(0, -offset) : max(0, window.size - offset)]
            begin = max(0, offset)
            row[begin : begin + len(values)] = values


def _taper(strain: Float32[np.ndarray, "polarization time"], size: int) -> None:
    strain[:, :size] *= (1 - np.cos(np.pi * np.arange(size) / size)) / 2
