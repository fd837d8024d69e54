"""Polarizations, held against LALSimulation's own conditioned waveforms."""

from __future__ import annotations

import lal
import lalsimulation
import numpy as np
import pytest

from aframe import priors
from aframe.errors import AframeError
from aframe_data import waveforms
from aframe_data.waveforms import (
    Window,
    load_approximant,
    polarizations,
    refuse_misfit_tides,
    refuse_tilted_spins,
)

RATE = 2048
WINDOW = Window(RATE, 16.0, 2.0, 20.0, 20.0)

#: mass_1, mass_2 at the detector; a_1, a_2, tilt_1, tilt_2.
ALIGNED = {
    "equal": (36.0, 36.0, 0.0, 0.0, 0.0, 0.0),
    "spinning": (40.0, 29.0, 0.6, 0.8, 0.0, np.pi),
    "light": (11.0, 9.0, 0.9, 0.3, 0.0, 0.0),
    "unequal": (60.0, 7.0, 0.5, 0.0, np.pi, 0.0),
    "heavy": (90.0, 70.0, 0.8, 0.7, 0.0, 0.0),
    "heaviest": (250.0, 120.0, 0.2, 0.9, np.pi, 0.0),
}
TILTED = {
    "precessing": (40.0, 29.0, 0.6, 0.8, 1.2, 0.4),
    "strongly": (30.0, 10.0, 0.95, 0.5, 1.6, 2.5),
    "heavy and precessing": (120.0, 70.0, 0.8, 0.7, 2.0, 0.9),
}
MODELS = [
    ("IMRPhenomD", ALIGNED),
    ("IMRPhenomXAS", ALIGNED),
    ("IMRPhenomPv2", {**ALIGNED, **TILTED}),
    ("IMRPhenomXPHM", {**ALIGNED, **TILTED}),
    ("IMRPhenomTPHM", TILTED),
    ("SEOBNRv4_opt", {"heavy": ALIGNED["heavy"]}),
]
#: Neutron stars: as above, then their tidal deformabilities.
STARS = {
    "light stars": (1.4, 1.3, 0.02, 0.03, 0.0, 0.0, 400.0, 700.0),
    "heavy stars": (2.4, 1.9, 0.3, 0.0, np.pi, 0.0, 5.0, 5000.0),
}
TIDAL = [
    ("IMRPhenomD_NRTidalv2", STARS),
    ("IMRPhenomPv2_NRTidalv2", {**STARS, "tilted": (1.6, 1.2, 0.4, 0.3, 1.0, 2.0, 300.0, 900.0)}),
    ("IMRPhenomPv2", {"light stars": STARS["light stars"][:6]}),
]
CASES = [
    pytest.param(model, binary, id=f"{model}, {name}")
    for model, binaries in MODELS
    for name, binary in binaries.items()
]


def parameters(*binaries, **others):
    """Columns of parameters of some binaries."""
    columns = np.array(binaries, float).T
    names = ("mass_1", "mass_2", "a_1", "a_2", "tilt_1", "tilt_2", *priors.TIDES)
    found = {name: column.copy() for name, column in zip(names, columns, strict=False)}
    rest = {
        "phi_12": 0.7, "phi_jl": 1.9, "ra": 0.0, "dec": 0.0, "redshift": 0.2, "psi": 0.0,
        "theta_jn": 0.9, "phase": 2.1, **others,
    }  # fmt: skip
    return {**found, **{name: np.full(len(binaries), value) for name, value in rest.items()}}


def options(binary):
    """LALSimulation's dictionary of tides, by the lambdas of each body."""
    if len(binary) == 6:
        return None
    found = lal.CreateDict()
    for body, value in enumerate(binary[6:], 1):
        name = f"SimInspiralWaveformParamsInsertTidalLambda{body}"
        getattr(lalsimulation, name)(found, value)
    return found


def conditioned(binary, approximant, window, f_min, seconds=64):
    """LALSimulation's conditioned waveform with coalescence at the window's place."""
    columns = {name: float(values[0]) for name, values in parameters(binary).items()}
    masses = [columns[name] * lal.MSUN_SI for name in ("mass_1", "mass_2")]
    inclination, *spins = lalsimulation.SimInspiralTransformPrecessingNewInitialConditions(
        *(columns[name] for name in ("theta_jn", "phi_jl", "tilt_1", "tilt_2", "phi_12")),
        *(columns[name] for name in ("a_1", "a_2")),
        *masses, min(window.reference_frequency, f_min), columns["phase"],
    )  # fmt: skip
    if binary[4] in (0, np.pi) and binary[5] in (0, np.pi):
        # The transformation leaves 1e-17 across the orbit, which aligned models refuse and
        # precessing ones take for a direction.
        spins = [0, 0, spins[2], 0, 0, spins[5]]
    distance = priors.luminosity_distance(np.array(columns["redshift"])) * 1e6 * lal.PC_SI
    reference = min(window.reference_frequency, f_min)
    everything = (*masses, *spins, float(distance), inclination, columns["phase"], 0, 0, 0)
    if approximant.in_frequency:
        both = lalsimulation.SimInspiralFD(
            *(*everything, 1 / seconds, f_min, window.sample_rate / 2, reference),
            options(binary),
            approximant.number,
        )
        size = round(seconds * window.sample_rate)
        series = [np.fft.irfft(h.data.data, size) * window.sample_rate for h in both]
        offset = round(float(both[0].epoch) * window.sample_rate)
        series = [np.roll(one, offset)[:size] for one in series]
        return np.stack([np.roll(one, window.coalescence)[: window.size] for one in series])
    both = lalsimulation.SimInspiralTD(
        *everything, 1 / window.sample_rate, f_min, reference, None, approximant.number
    )
    first = window.coalescence + round(float(both[0].epoch) * window.sample_rate)
    found = np.zeros((2, window.size))
    for row, series in zip(found, both, strict=True):
        values = series.data.data[max(0, -first) : window.size - first]
        row[max(0, first) : max(0, first) + len(values)] = values
    return found


def whitened(strain, curve, low):
    """Spectrum over the design curve, from *low* (Hz) on."""
    frequencies = np.fft.rfftfreq(strain.shape[-1], 1 / RATE)
    return np.where(frequencies >= low, np.fft.rfft(strain) / curve(np.maximum(frequencies, 10)), 0)


def mismatch(one, other):
    """One less the cosine between two whitened spectra."""
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return 1 - np.einsum("pf,pf->p", one.conj(), other).real / norms


@pytest.mark.parametrize(("model", "binary"), CASES)
def test_is_the_waveform_of_lalsimulation(model, binary, curve):
    """In phase, time and amplitude, as its own conditioned waveform, whitened."""
    approximant = load_approximant(model)
    f_min = min(20.0, 1899 / sum(binary[:2]))

    found = polarizations(parameters(binary), approximant, WINDOW)[0].astype(float)
    wanted = conditioned(binary, approximant, WINDOW, f_min)

    one, other = (whitened(strain, curve, max(20, f_min)) for strain in (found, wanted))
    assert mismatch(one, other).max() < 1e-3
    np.testing.assert_allclose(
        np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1), rtol=2e-3
    )


@pytest.mark.parametrize(
    ("model", "binary"),
    [
        pytest.param(model, binary, id=f"{model}, {name}")
        for model, binaries in TIDAL
        for name, binary in binaries.items()
    ],
)
def test_neutron_stars_are_those_of_lalsimulation(model, binary, curve):
    """Minutes from 20 Hz on, tides and all."""
    approximant, window = load_approximant(model), Window(RATE, 256.0, 2.0, 20.0, 20.0)

    found = polarizations(parameters(binary), approximant, window)[0].astype(float)
    wanted = conditioned(binary, approximant, window, 20.0, 256)

    one, other = (whitened(strain, curve, 20) for strain in (found, wanted))
    assert mismatch(one, other).max() < 1e-3
    np.testing.assert_allclose(
        np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1), rtol=2e-3
    )
    loudest = np.hypot(*found).argmax()
    assert abs(loudest - window.coalescence) < 0.02 * RATE


@pytest.mark.parametrize("model", ["IMRPhenomD", "IMRPhenomPv2"])
def test_is_that_of_lalsimulation_in_the_time_domain(model, curve):
    """Where LAL conditions in time: IMRPhenomD up to a shift, as LAL puts its peak at zero."""
    approximant, binary = load_approximant(model), ALIGNED["spinning"]
    found = polarizations(parameters(binary), approximant, WINDOW)[0].astype(float)
    in_time = waveforms.Approximant(model, approximant.number, False, approximant.precesses)

    wanted = conditioned(binary, in_time, WINDOW, 20.0)

    one, other = (whitened(strain, curve, 20) for strain in (found, wanted))
    frequencies = np.fft.rfftfreq(WINDOW.size, 1 / RATE)
    shifts = np.arange(-50, 51) / RATE if model == "IMRPhenomD" else [0.0]
    best = [
        mismatch(one * np.exp(-2j * np.pi * frequencies * shift), other).max() for shift in shifts
    ]
    assert min(best) < 1e-3


def test_coalescence_may_be_next_to_the_left_edge():
    """Though next to nothing of the signal is left."""
    window = Window(RATE, 4.0, 3.99, 20.0, 20.0)

    found = polarizations(parameters(ALIGNED["equal"]), load_approximant("IMRPhenomD"), window)

    assert 0 < abs(found[:, :, :200]).max() < 1e-20
    assert abs(found[:, :, RATE:]).max() < 1e-2 * abs(found).max()


@pytest.mark.parametrize("model", ["IMRPhenomD", "IMRPhenomXPHM", "IMRPhenomTPHM"])
@pytest.mark.parametrize(("duration", "right_pad"), [(8.0, 2.0), (4.0, 0.5), (2.5, 1.2)])
def test_coalescence_is_where_it_belongs(model, duration, right_pad):
    """The loudest sample lies ``right_pad`` before the end; what comes long before is quiet."""
    window = Window(1024, duration, right_pad, 20.0, 20.0)
    binary = (36.0, 30.0, 0.0, 0.0, 0.0, 0.0)

    found = polarizations(parameters(binary), load_approximant(model), window)[0]

    loudest = np.hypot(*found).argmax()
    assert window.coalescence == int((duration - right_pad) * 1024)
    assert abs(loudest - window.coalescence) < 0.02 * 1024
    ringdown = window.coalescence + round(0.1 * 1024)
    assert abs(found[:, ringdown:]).max() < 1e-2 * abs(found).max()


@pytest.mark.parametrize(
    ("model", "tolerance"),
    # IMRPhenomXPHM interpolates its phase between frequencies that depend on the step.
    [("IMRPhenomD", 1e-3), ("IMRPhenomXPHM", 1e-2), ("IMRPhenomTPHM", 1e-3)],
)
def test_a_signal_longer_than_its_window_is_only_cut(model, tolerance):
    """It starts with a taper and then is what a longer window shows; its past is not wrapped.

    This one would begin half a minute before the window.
    """
    binary, short = (4.0, 3.0, 0.3, 0.1, 0.0, 0.0), Window(RATE, 4.0, 1.0, 20.0, 20.0)
    approximant = load_approximant(model)

    found = polarizations(parameters(binary), approximant, short)[0]
    longer = polarizations(parameters(binary), approximant, Window(RATE, 64.0, 1.0, 20.0, 20.0))[0]

    wanted = longer[:, -short.size :]
    taper = round(0.15 * RATE)
    scale = abs(wanted).max()
    assert abs(found - wanted)[:, taper:].max() < tolerance * scale
    assert (found[:, 0] == 0).all()
    assert abs(found[:, -RATE // 2 :]).max() < tolerance * scale
    assert abs(found[:, taper : 2 * taper]).max() > 0.05 * scale


def test_neutron_stars_in_the_window_of_the_search_are_only_cut():
    """45 s of two minutes are kept: no part of the past is wrapped, none is missing."""
    approximant = load_approximant("IMRPhenomD_NRTidalv2")
    stars, short = parameters(STARS["light stars"]), Window(RATE, 90.0, 45.0, 20.0, 20.0)

    found = polarizations(stars, approximant, short)[0]
    longer = polarizations(stars, approximant, Window(RATE, 256.0, 45.0, 20.0, 20.0))[0]

    wanted = longer[:, -short.size :]
    taper, scale = round(0.1 * RATE), abs(wanted).max()
    assert abs(found - wanted)[:, taper:].max() < 1e-3 * scale
    assert (found[:, 0] == 0).all()
    assert abs(found[:, taper : 2 * taper]).max() > 1e-2 * scale
    assert abs(found[:, short.coalescence + RATE :]).max() < 1e-3 * scale


def test_masses_at_the_detector_are_redshifted_ones():
    """At redshift 1 a signal is that of half its masses, twice as slow and twice as strong.

    The strain of a binary at a distance goes as its mass, and its times go as its mass.
    """
    approximant, fast = load_approximant("IMRPhenomPv2"), Window(4096, 4.0, 1.0, 40.0, 100.0)
    slow = Window(2048, 8.0, 2.0, 20.0, 50.0)
    at_source, seen = (18.0, 14.0, 0.4, 0.7, 1.2, 0.4), (36.0, 28.0, 0.4, 0.7, 1.2, 0.4)

    source = polarizations(parameters(at_source, redshift=1.0), approximant, fast)
    detector = polarizations(parameters(seen, redshift=1.0), approximant, slow)

    assert abs(detector - 2 * source).max() < 1e-4 * abs(detector).max()


def test_heavy_binaries_start_lower(curve):
    """Those of more than 95 Msun from 1899 Msun / mass, so that some cycles are there."""
    window = Window(RATE, 8.0, 2.0, 20.0, 20.0)
    heavy = parameters((200.0, 180.0, 0.0, 0.0, 0.0, 0.0))

    found = polarizations(heavy, load_approximant("IMRPhenomD"), window)[0, 0]

    power = abs(np.fft.rfft(found)) ** 2
    frequencies = np.fft.rfftfreq(found.size, 1 / RATE)
    limit = 1899 / 380
    assert power[frequencies < 0.6 * limit].max() < 1e-3 * power.max()
    assert power[(frequencies > limit) & (frequencies < 1.3 * limit)].min() > 0.3 * power.max()


def test_a_batch_is_its_signals():
    """Whatever is generated beside it, and however many at a time."""
    prior, frame = priors.load_prior("log_uniform_bbh")
    drawn = priors.sample(prior, frame, 40, np.random.default_rng(2))
    approximant, window = load_approximant("IMRPhenomD"), Window(1024, 8.0, 2.0, 20.0, 50.0)

    together = polarizations(drawn, approximant, window)

    for index in range(0, 40, 7):
        alone = polarizations(
            {name: values[index : index + 1] for name, values in drawn.items()}, approximant, window
        )[0]
        # A transform of several at once rounds otherwise.
        assert abs(together[index] - alone).max() < 1e-6 * abs(alone).max()
        assert together.dtype == np.float32


def test_amplitude_goes_as_the_inverse_distance():
    """Redshift enters by the luminosity distance only, as masses are those at the detector."""
    approximant = load_approximant("IMRPhenomD")
    near, far = (
        polarizations(parameters(ALIGNED["equal"], redshift=z), approximant, WINDOW)
        for z in (0.1, 0.3)
    )

    ratio = np.divide(*priors.luminosity_distance(np.array([0.1, 0.3])))
    np.testing.assert_allclose(far, near * np.float32(ratio), atol=1e-5 * abs(near).max())


def test_coalescence_is_not_shifted_by_rounding():
    """7.9 s at 10 Hz are 79 samples, though 8 - 0.1 in binary is less; else it is cut."""
    assert Window(10.0, 8.0, 0.1, 1.0, 1.0).coalescence == 79
    assert Window(10.0, 8.0, 0.15, 1.0, 1.0).coalescence == 78


class TestApproximants:
    """Which models there are, and which spins they take."""

    @pytest.mark.parametrize(
        ("name", "in_frequency", "precesses"),
        [
            ("IMRPhenomD", True, False),
            ("IMRPhenomXPHM", True, True),
            ("SEOBNRv4P", False, True),
            ("SEOBNRv4_opt", False, False),
        ],
    )
    def test_knows_models(self, name, in_frequency, precesses):
        """By LALSimulation's own tables."""
        found = load_approximant(name)

        assert (found.in_frequency, found.precesses) == (in_frequency, precesses)

    def test_tells_the_nearest_model(self):
        """Of those that LALSimulation can make."""
        with pytest.raises(AframeError, match=r"did you mean IMRPhenomD\?"):
            load_approximant("IMRPhenomDD")

    @pytest.mark.parametrize("name", ["Nope", "MSUN_SI", "SimInspiralTD", "NumApproximants"])
    def test_refuses_unknown_models(self, name):
        """Also other things of that name."""
        with pytest.raises(AframeError, match="there is no such waveform approximant"):
            load_approximant(name)

    def test_refuses_tilted_spins_of_aligned_models(self):
        """Known before any waveform; aligned and anti-aligned spins pass."""
        aligned = load_approximant("IMRPhenomD")
        refuse_tilted_spins(aligned, parameters(*ALIGNED.values()), "some")
        refuse_tilted_spins(load_approximant("IMRPhenomPv2"), parameters(*TILTED.values()), "some")

        with pytest.raises(AframeError, match=r"in 50% of the draws[\s\S]*the prior some"):
            refuse_tilted_spins(aligned, parameters(ALIGNED["equal"], TILTED["precessing"]), "some")


class TestTides:
    """Which models feel tides, and which populations have them."""

    DEFORMED = parameters(STARS["light stars"])
    RIGID = parameters(STARS["light stars"][:6])
    WINDOW = Window(1024, 4.0, 1.0, 30.0, 30.0)

    @pytest.mark.parametrize("name", ["IMRPhenomD_NRTidalv2", "IMRPhenomXAS_NRTidalv3", "TaylorF2"])
    def test_models_with_tides_take_them(self, name):
        """Also those whose name does not say so; these do without, as for black holes."""
        approximant = load_approximant(name)
        refuse_misfit_tides(approximant, self.DEFORMED, self.WINDOW, "some")

        if "Tidal" not in name:
            refuse_misfit_tides(approximant, self.RIGID, self.WINDOW, "some")

    @pytest.mark.parametrize("name", ["IMRPhenomD", "IMRPhenomXPHM"])
    def test_refuses_tides_that_would_not_be_in_the_waveform(self, name):
        """The ledger would have them, the strain not."""
        with pytest.raises(AframeError, match=r"approximant has no tides[\s\S]*the prior some"):
            refuse_misfit_tides(load_approximant(name), self.DEFORMED, self.WINDOW, "some")

    def test_refuses_a_model_of_tides_for_a_prior_without(self):
        """LALSimulation would take the deformabilities for zero."""
        with pytest.raises(AframeError, match=r"has no tidal deformabilities[\s\S]*tidal_bns"):
            refuse_misfit_tides(
                load_approximant("IMRPhenomPv2_NRTidalv2"), self.RIGID, self.WINDOW, "some"
            )


@pytest.mark.parametrize(
    ("model", "binary"),
    [("IMRPhenomXAS", (4400.0, 2.0)), ("SEOBNRv4_opt", (150.0, 1.1))],
)
def test_says_which_binary_a_model_cannot_make(model, binary):
    """Not LALSimulation's number of the error alone."""
    broken = parameters((*binary, 0.3, 0.0, 0.0, 0.0))
    message = rf"for {binary[0]} and {binary[1]} Msun, spins 0, 0, 0.3[\s\S]*approximant {model}"

    with pytest.raises(AframeError, match=message):
        polarizations(broken, load_approximant(model), WINDOW)
