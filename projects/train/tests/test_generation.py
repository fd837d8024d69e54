"""Waveforms made during the training, held against LALSimulation's own conditioned ones."""

from __future__ import annotations

import math

import lal
import lalsimulation
import numpy as np
import pytest
import torch
from ml4gw.waveforms import IMRPhenomD
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from aframe.errors import AframeError
from aframe.priors import PARAMETERS, load_prior, luminosity_distance, sample
from aframe_train import generation
from aframe_train.batches import Mixture
from aframe_train.data import AframeData
from aframe_train.generation import MODELS, Generation, Layout, Waveforms, generated, prepare
from aframe_train.snr import SnrPowerLaw
from aframe_train.trainer import train
from aframe_train.validation import ValidationAmounts

CPU = torch.device("cpu")
RATE = 2048
LAYOUT = Layout(RATE, 16 * RATE, 14 * RATE, 20.0, 20.0)
#: mass_1, mass_2 at the detector; a_1, a_2, tilt_1, tilt_2.
ALIGNED = [
    (36.0, 36.0, 0.0, 0.0, 0.0, 0.0),
    (40.0, 29.0, 0.6, 0.8, 0.0, np.pi),
    (11.0, 9.0, 0.9, 0.3, 0.0, 0.0),
    (60.0, 7.0, 0.5, 0.0, np.pi, 0.0),
    (90.0, 70.0, 0.8, 0.7, 0.0, 0.0),
    (250.0, 120.0, 0.2, 0.9, np.pi, 0.0),
]
TILTED = [
    (40.0, 29.0, 0.6, 0.8, 1.2, 0.4),
    (30.0, 10.0, 0.95, 0.5, 1.6, 2.5),
    (120.0, 70.0, 0.8, 0.7, 2.0, 0.9),
    (14.0, 13.9, 0.3, 0.2, 0.3, 2.9),
]
STARS = [(1.4, 1.3, 0.0, 0.0, 0.0, 0.0), (2.1, 1.2, 0.05, 0.02, 0.0, np.pi)]


def parameters(binaries):
    """Columns of parameters of some binaries."""
    columns = np.array(binaries, float).T
    found = dict(zip(("mass_1", "mass_2", "a_1", "a_2", "tilt_1", "tilt_2"), columns, strict=True))
    rest = {"phi_12": 0.7, "phi_jl": 1.9, "theta_jn": 0.9, "phase": 2.1, "distance": 900.0}
    return {**found, **{name: np.full(len(binaries), value) for name, value in rest.items()}}


def made(model, binaries, layout=LAYOUT):
    """Polarizations, ``(2, binary, time)``."""
    with torch.no_grad():
        found = Waveforms(MODELS[model], layout)(
            prepare(parameters(binaries), layout, MODELS[model]).to(CPU)
        )
    assert found.dtype == torch.float32
    return found.double().numpy()


def conditioned(binary, model, layout, seconds):
    """LALSimulation's conditioned waveform with coalescence at the layout's place."""
    one = {name: float(values[0]) for name, values in parameters([binary]).items()}
    f_min = min(20.0, 1899 / sum(binary[:2]))
    masses = [one[name] * lal.MSUN_SI for name in ("mass_1", "mass_2")]
    inclination, *spins = lalsimulation.SimInspiralTransformPrecessingNewInitialConditions(
        *(one[name] for name in ("theta_jn", "phi_jl", "tilt_1", "tilt_2", "phi_12", "a_1", "a_2")),
        *(*masses, f_min, one["phase"]),
    )
    if binary[4] in (0, np.pi) and binary[5] in (0, np.pi):
        # The transformation leaves 1e-17 across the orbit, which aligned models refuse.
        spins = [0, 0, spins[2], 0, 0, spins[5]]
    both = lalsimulation.SimInspiralFD(
        *(*masses, *spins, one["distance"] * 1e6 * lal.PC_SI, inclination, one["phase"], 0, 0, 0),
        *(1 / seconds, f_min, layout.sample_rate / 2, f_min, None),
        getattr(lalsimulation, model),
    )
    size, begin = seconds * layout.sample_rate, layout.coalescence
    series = [np.fft.irfft(h.data.data, size) * layout.sample_rate for h in both]
    # Coalescence at sample 0 of a circle.
    series = [np.roll(one, round(float(both[0].epoch) * layout.sample_rate)) for one in series]
    return np.stack([np.roll(one, begin)[: layout.samples] for one in series])


def whitened(strain, low):
    """Spectrum over aLIGO's design curve, from *low* (Hz) on."""
    frequencies = np.fft.rfftfreq(strain.shape[-1], 1 / RATE)
    curve = [lalsimulation.SimNoisePSDaLIGOZeroDetHighPower(max(f, 10.0)) for f in frequencies]
    return np.where(frequencies >= low, np.fft.rfft(strain) / np.sqrt(curve), 0)


def overlap(found, wanted, low):
    """Normalized product, complex, of two whitened spectra, and the ratio of their norms."""
    one, other = whitened(found, low), whitened(wanted, low)
    norms = np.linalg.norm(one, axis=-1), np.linalg.norm(other, axis=-1)
    return np.einsum("pf,pf->p", one.conj(), other) / norms[0] / norms[1], norms[0] / norms[1]


@pytest.mark.parametrize(("model", "binaries"), [("IMRPhenomD", ALIGNED), ("IMRPhenomPv2", TILTED)])
def test_is_the_waveform_of_lalsimulation(model, binaries):
    """In phase, time and amplitude: coalescence is at the very sample, no fit moves it."""
    found = made(model, binaries)

    for index, binary in enumerate(binaries):
        product, ratio = overlap(
            found[:, index],
            conditioned(binary, model, LAYOUT, 64),
            max(20, min(20, 1899 / sum(binary[:2]))),
        )
        assert (1 - product.real).max() < 1e-3, binary
        np.testing.assert_allclose(ratio, 1, rtol=2e-3)


def test_precessing_model_of_aligned_spins_is_lalsimulations_up_to_a_phase():
    """Where nothing precesses, the direction from which ml4gw counts the phase is another.

    Phases are drawn evenly, so that the population is the same.
    """
    found = made("IMRPhenomPv2", ALIGNED)

    for index, binary in enumerate(ALIGNED):
        product, _ = overlap(found[:, index], conditioned(binary, "IMRPhenomPv2", LAYOUT, 64), 20.0)
        assert (1 - abs(product)).max() < 1e-3, binary


def test_neutron_stars_are_those_of_lalsimulation():
    """TaylorF2 from 20 Hz to the innermost stable orbit, minutes long."""
    layout = Layout(RATE, 200 * RATE, 198 * RATE, 20.0, 20.0)

    found = made("TaylorF2", STARS, layout)

    for index, binary in enumerate(STARS):
        wanted = conditioned(binary, "TaylorF2", layout, 256)
        product, ratio = overlap(found[:, index], wanted, 20.0)
        assert (1 - product.real).max() < 1e-3, binary
        np.testing.assert_allclose(ratio, 1, rtol=2e-3)


def test_a_signal_longer_than_its_window_is_only_cut():
    """It starts with a taper and then is what a longer window shows; its past is not wrapped."""
    short = Layout(RATE, 4 * RATE, 3 * RATE, 20.0, 20.0)
    long = Layout(RATE, 64 * RATE, 63 * RATE, 20.0, 20.0)
    binary = [(4.0, 3.0, 0.3, 0.1, 0.0, 0.0)]

    found, longer = (made("IMRPhenomD", binary, layout)[:, 0] for layout in (short, long))

    wanted = longer[:, -short.samples :]
    taper, scale = round(0.15 * RATE), abs(wanted).max()
    assert abs(found - wanted)[:, taper:].max() < 3e-3 * scale
    assert (found[:, 0] == 0).all()
    assert abs(found[:, taper : 2 * taper]).max() > 0.05 * scale


def test_every_draw_has_a_waveform():
    """Also of nearly equal masses seen face on, where single precision is at its end."""
    layout = Layout(256.0, 512, 384, 20.0, 20.0)
    drawn = sample(*load_prior("end_o3_ratesandpops"), 400, np.random.default_rng(0))
    drawn = {**drawn, "distance": luminosity_distance(drawn["redshift"])}
    drawn["mass_2"][:100] = drawn["mass_1"][:100] * (1 - 1e-5 * np.arange(100))
    drawn["theta_jn"][50:150] = 1e-5 * np.arange(100)
    for body in "12":
        drawn[f"a_{body}"][100:120] = 0
        drawn[f"tilt_{body}"][80:130] = 0

    for model in ("IMRPhenomD", "IMRPhenomPv2"):
        with torch.no_grad():
            found = Waveforms(MODELS[model], layout)(prepare(drawn, layout, MODELS[model]).to(CPU))
        assert torch.isfinite(found).all()
        assert (found.abs().amax((0, 2)) > 1e-26).all()


@pytest.mark.parametrize("name", MODELS)
def test_never_waits_for_the_device(name):
    """On tensors without values, of a GPU that need not be there, any look at one raises."""
    layout = Layout(256.0, 512, 384, 20.0, 20.0)
    binaries = prepare(parameters(ALIGNED), layout, MODELS[name])

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        columns = {key: torch.empty(6, device="cuda") for key in binaries.columns}
        there = generation.Binaries(columns, binaries.size, binaries.first, binaries.ramp)
        found = Waveforms(MODELS[name], layout).to("cuda")(there)

        assert found.shape == (2, 6, 512)
        assert found.device.type == "cuda"
        with pytest.raises(DataDependentOutputException):
            found.max().item()


def test_ringdowns_are_those_of_ml4gw():
    """Of its table, without its check."""
    spins = torch.linspace(-0.99, 0.99, 1001)
    mine, theirs = MODELS["IMRPhenomD"].make(), IMRPhenomD()

    for one, other in zip(
        mine._linear_interp_finspin(spins), theirs._linear_interp_finspin(spins), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.fixture
def ledger(tmp_path, small):
    """Write validation waveforms that say how they were made."""

    def write(**changes):
        h1, l1 = 3 * small.chirps(2, 12)
        known = {
            "prior": "log_uniform_bbh",
            "waveform_approximant": "IMRPhenomD",
            "minimum_frequency": 20.0,
            "reference_frequency": 20.0,
        }
        path = tmp_path / "generated" / "val_waveforms.hdf5"
        return small.write_waveforms(path, {"h1": h1, "l1": l1}, **{**known, **changes})

    (tmp_path / "generated").mkdir()
    return write


def source(path, settings=None, **changes):
    """Waveforms of the small search."""
    defaults = {"samples": 512, "coalescence": 384, "most": 5, "seed": 1, "device": CPU}
    return generated(settings or Generation(), path, **{**defaults, **changes})


def test_each_batch_has_binaries_of_its_own(ledger, monkeypatch):
    """A pure function of seed and batch, in whatever order, and no binary comes twice."""
    monkeypatch.setattr(generation, "DRAWS", 20)
    path = ledger()
    one, other = source(path), source(path)
    with torch.no_grad():
        first = [1e23 * one.draw(5, index, None) for index in range(8)]
        again = [1e23 * other.draw(5 - index % 2, index, None) for index in (7, 2, 0)]
        stranger = 1e23 * source(path, seed=2).draw(5, 0, None)

    for index, found in zip((7, 2, 0), again, strict=True):
        torch.testing.assert_close(found, first[index][:, : found.shape[1]])
    together = torch.cat(first, 1)[0]
    assert together.shape == (40, 512)
    assert (torch.corrcoef(together) - torch.eye(40)).max() < 0.9999
    assert not torch.allclose(stranger, first[0])


def test_binaries_are_those_of_the_prior(ledger, small):
    """The masses of the batches follow the population that the ledger names, or the settings."""
    path = ledger(prior="end_o3_ratesandpops", waveform_approximant="IMRPhenomPv2")

    def masses(settings):
        columns = source(path, settings).binaries.at(0).columns
        ratio, chirp = columns["mass_ratio"], columns["chirp_mass"]
        return (chirp * (1 + ratio) ** 0.2 / ratio**0.6).numpy()

    for settings, name in (
        (Generation(), "end_o3_ratesandpops"),
        (Generation("IMRPhenomD", "log_uniform_bbh"), "log_uniform_bbh"),
    ):
        wanted = sample(*load_prior(name), 16384, np.random.default_rng(5))["mass_1"]
        found = masses(settings)
        for share in (0.25, 0.5, 0.75):
            # The scatter of a quantile of so many is a percent.
            assert np.quantile(found, share) == pytest.approx(np.quantile(wanted, share), rel=0.06)


def test_a_training_is_told_to_by_its_configuration(config, data_dir, ledger, tmp_path, small):
    """No ledger of training waveforms is opened, and batches have signals as ever."""
    setting = "    generation: {approximant: IMRPhenomPv2}\n"
    config.write_text(
        config.read_text().replace("    psd_length: 4\n", f"    psd_length: 4\n{setting}")
    )
    words = [
        *("--config", str(config), "--data.ifos=[H1,L1]", "--data.data_dir", str(data_dir)),
        f"--data.validation_waveforms={ledger()}",
        "--data.training_waveforms=/nowhere/training_waveforms.hdf5",
        "--data.generation.prior=log_uniform_bbh",
        *("--trainer.max_epochs=1", f"--trainer.logger.save_dir={tmp_path / 'run'}"),
        *(
            f"--data.{name}={'null' if value is None else value}"
            for name, value in small.PREPROCESSING.items()
        ),
    ]

    cli = train(words)

    assert cli.trainer.global_step == 7
    assert cli.datamodule.generation == Generation("IMRPhenomPv2", "log_uniform_bbh")
    kernels, labels = cli.datamodule.training_batches(3)
    assert kernels.shape == (16, 2, 256)
    assert 6 <= labels.sum() <= 7


def test_signals_of_a_batch_have_the_ratio_asked_for(data_dir, ledger, small):
    """As those of a ledger: with and without signals, batches differ by them."""

    def batch(probability):
        data = AframeData(
            ifos=["H1", "L1"],
            mixture=Mixture(32, probability),
            batches_per_epoch=4,
            snr=SnrPowerLaw(minimum=8.0, maximum=8.001),
            validation=ValidationAmounts(60.0, 40.0, 0.5, 3),
            data_dir=str(data_dir),
            validation_waveforms=str(path),
            generation=Generation(),
            psd_length=4.0,
            left_pad=0.7,
            **small.PREPROCESSING,
        )
        data.setup("fit")
        return data.training_batches(5)

    path = ledger()
    (quiet, _), (loud, labels) = batch(0.0), batch(0.5)
    power = (loud - quiet).square().sum((1, 2))

    assert torch.equal((power > 0).float()[:, None], labels)
    # Of light binaries a part of the signal lies before the kernel.
    assert math.sqrt(power.max()) == pytest.approx(8, rel=0.02)
    assert power[power > 0].min() > 16


@pytest.mark.parametrize(
    ("metadata", "settings", "message"),
    [
        ({"prior": None}, Generation(), r"has no prior[\s\S]*generation.prior"),
        ({"minimum_frequency": None}, Generation("IMRPhenomD"), "has no minimum_frequency"),
        (
            {"waveform_approximant": "IMRPhenomXPHM"},
            Generation(),
            r"cannot generate waveforms of this model[\s\S]*IMRPhenomXPHM[\s\S]*IMRPhenomPv2",
        ),
        (
            {},
            Generation(prior="end_o3_ratesandpops"),
            "the waveform model has no precession, the prior has",
        ),
        (
            {"waveform_approximant": "IMRPhenomPv2"},
            Generation(prior="tidal_bns"),
            "the waveform model has no tides, the prior has",
        ),
    ],
)
def test_refuses_what_it_cannot_make(ledger, metadata, settings, message):
    """Before any batch."""
    with pytest.raises(AframeError, match=message):
        source(ledger(**metadata), settings)


def test_the_models_need_no_more_than_the_ledger_has():
    """What :func:`prepare` reads is among a ledger's parameters, but for the distance."""
    assert set(parameters(STARS)) - {"distance"} <= set(PARAMETERS)
