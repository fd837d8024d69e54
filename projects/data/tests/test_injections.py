"""Drawing until all slots have a signal above threshold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from aframe.artifacts.ledger import read_ledger
from aframe.artifacts.strain import list_strain
from aframe.errors import AframeError
from aframe.priors import PARAMETERS, TIDES
from aframe.program import Resources
from aframe_data import injections
from aframe_data.injections import (
    InjectionSettings,
    WaveformSettings,
    branch_path,
    branch_sizes,
    fill,
    merge_branches,
    network_psds,
    refuse_misfits,
    refuse_unfit_strain,
    write_branch,
)
from aframe_data.projection import EPOCH
from aframe_data.streams import stream
from aframe_data.waveforms import load_approximant, polarizations

SETTINGS = InjectionSettings(
    output=Path("unused"),
    num_signals=1,
    ifos=("L1", "H1"),
    prior="log_uniform_bbh",
    waveform_approximant="IMRPhenomD",
    waveform_duration=4.0,
    right_pad=1.0,
    sample_rate=1024.0,
    snr_threshold=8.0,
)


@pytest.fixture(scope="module")
def psds(background):
    """PSDs of the first strain file, in the order of the settings' detectors."""
    return network_psds(list_strain(background, SETTINGS.ifos)[0], SETTINGS.ifos, 4.0)


@pytest.fixture(scope="module")
def filled(psds):
    """A branch of 150 slots spread over a day."""
    times = 1.24e9 + np.linspace(0, 86400, 150)
    accepted, rejected = fill(SETTINGS, psds, times, stream(0, "test"))
    return times, accepted, rejected


def test_accepts_above_and_rejects_below_the_threshold(filled):
    """All slots are filled; every draw is in one of the two tables."""
    times, accepted, rejected = filled

    assert len(accepted) == len(times)
    assert (accepted.parameters["snr"] >= 8).all()
    assert (rejected.parameters["snr"] < 8).all()
    draws = len(accepted) + len(rejected)
    assert accepted.metadata["num_injections"] == rejected.metadata["num_injections"] == draws
    assert set(accepted.parameters) == {*PARAMETERS, "snr", "ifo_snrs"} == set(rejected.parameters)
    assert not rejected.waveforms


def test_waveforms_and_snrs_are_those_of_the_parameters(filled, psds):
    """Written out: signal by signal, antenna pattern and delay, Fourier sum."""
    import lal  # noqa: PLC0415 - the reference

    times, accepted, _ = filled
    approximant = load_approximant("IMRPhenomD")
    frequencies = np.fft.rfftfreq(4096, 1 / 1024)
    band = (frequencies >= 32) & (frequencies < 512)
    for row in (0, 70, 149):
        one = {name: values[row : row + 1] for name, values in accepted.parameters.items()}
        waves = polarizations(
            {name: one[name] for name in PARAMETERS}, approximant, SETTINGS.window
        )
        place = [float(one[name][0]) for name in ("ra", "dec", "psi")]
        gps = lal.LIGOTimeGPS(times[row])
        for column, ifo in enumerate(SETTINGS.ifos):
            detector = lal.cached_detector_by_prefix[ifo]
            pattern = lal.ComputeDetAMResponse(
                detector.response, *place, lal.GreenwichMeanSiderealTime(gps)
            )
            delay = lal.TimeDelayFromEarthCenter(detector.location, *place[:2], gps)
            spectrum = np.fft.rfft(np.array(pattern) @ waves[0].astype(float))
            spectrum *= np.exp(-2j * np.pi * frequencies * delay)
            wanted = np.fft.irfft(spectrum)
            found = accepted.waveforms[ifo.lower()][row]
            assert abs(found - wanted).max() < 1e-5 * abs(wanted).max()
            power = abs(spectrum[band] / 1024) ** 2 / psds[column, band]
            assert one["ifo_snrs"][0, column] == pytest.approx(np.sqrt(power.sum()), rel=1e-4)
        assert one["snr"][0] == pytest.approx(np.linalg.norm(one["ifo_snrs"][0]))


def test_neutron_stars_keep_their_tides(psds):
    """A ledger has the deformabilities of its signals, and of those too faint."""
    settings = replace(
        SETTINGS, prior="tidal_bns", waveform_approximant="IMRPhenomPv2_NRTidalv2", snr_threshold=4
    )

    accepted, rejected = fill(settings, psds, np.full(3, EPOCH), stream(0, "test"))

    both = accepted, rejected
    assert all({*PARAMETERS, *TIDES} <= set(table.parameters) for table in both)
    assert all((table.parameters["lambda_1"] > 0).all() for table in both)


def test_accepted_and_rejected_together_follow_the_prior(filled):
    """Selection only sorts draws in two."""
    _, accepted, rejected = filled
    both = {
        name: np.concatenate([table.parameters[name] for table in (accepted, rejected)])
        for name in ("ra", "dec", "theta_jn", "a_1")
    }

    assert kstest(both["ra"] / (2 * np.pi), "uniform").pvalue > 1e-3
    assert kstest((np.sin(both["dec"]) + 1) / 2, "uniform").pvalue > 1e-3
    assert kstest((np.cos(both["theta_jn"]) + 1) / 2, "uniform").pvalue > 1e-3
    assert kstest(both["a_1"] / 0.9, "uniform").pvalue > 1e-3


def test_selection_prefers_what_is_near_and_face_on(filled):
    """Accepted signals are nearer than rejected ones."""
    _, accepted, rejected = filled

    near, far = (np.median(table.parameters["redshift"]) for table in (accepted, rejected))
    assert near < 0.8 * far


def test_the_batch_size_of_the_loop_fills_all_slots(psds, monkeypatch):
    """However few are drawn at a time."""
    monkeypatch.setattr(injections, "BATCH", 3)

    accepted, rejected = fill(SETTINGS, psds, np.full(10, EPOCH), stream(1, "test"))

    assert len(accepted) == 10
    assert (accepted.parameters["snr"] >= 8).all()
    assert accepted.metadata["num_injections"] == 10 + len(rejected)


def test_gives_up_when_next_to_nothing_is_loud_enough(psds, monkeypatch):
    """And says how much was."""
    monkeypatch.setattr(injections, "_PATIENCE", 200)

    with pytest.raises(AframeError, match=r"0 of 2\d\d draws at or above SNR 1e\+06"):
        fill(replace(SETTINGS, snr_threshold=1e6), psds, np.full(10, EPOCH), stream(1, "test"))


def test_a_branch_is_written_whole_and_the_same_each_time(tmp_path, background):
    """Two files, the same bytes whoever writes them."""
    file = list_strain(background, SETTINGS.ifos)[1]
    slots = {"injection_time": np.full(5, EPOCH), "shift": np.tile([0.0, 1.0], (5, 1))}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_branch(SETTINGS, file, slots, "test", 7, tmp_path / name)

    found = read_ledger(branch_path(tmp_path / "one", 7))

    assert found.parameters["shift"].tolist() == [[0.0, 1.0]] * 5
    assert list(found.waveforms) == ["h1", "l1"]
    assert found.metadata["ifos"] == ["L1", "H1"]
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_branches_are_joined_in_order(tmp_path, background):
    """Of their numbers, not of their names."""
    file = list_strain(background, SETTINGS.ifos)[0]
    times = []
    for number in range(2):
        times.append(np.full(2, EPOCH + number))
        write_branch(SETTINGS, file, {"injection_time": times[-1]}, "test", number, tmp_path)

    merge_branches(tmp_path, 2, tmp_path / "all.hdf5")

    found = read_ledger(tmp_path / "all.hdf5")
    assert found.parameters["injection_time"].tolist() == np.concatenate(times).tolist()
    parts = [read_ledger(branch_path(tmp_path, number)) for number in range(2)]
    assert found.metadata["num_injections"] == sum(p.metadata["num_injections"] for p in parts)


@given(st.integers(1, 10_000))
def test_branches_hold_all_signals(total):
    """Full ones, and a last one with the rest."""
    sizes = branch_sizes(total, 512)

    assert sum(sizes) == total
    assert all(size == 512 for size in sizes[:-1])
    assert 0 < sizes[-1] <= 512


@pytest.mark.parametrize(
    ("rate", "duration", "branch", "batch"),
    [(2048, 8, 512, 128), (4096, 8, 512, 64), (2048, 90, 91, 11), (16384, 4096, 1, 1)],
)
def test_branches_of_long_signals_are_small(rate, duration, branch, batch):
    """So that a worker's memory has a bound whatever the length, and one signal always fits."""
    window = injections.Window(rate, duration, 1.0, 20.0, 20.0)

    assert injections.branch_size(window) == branch
    assert injections.batch_size(window) == batch


def test_the_band_of_the_snr():
    """From highpass, or the minimum frequency, to below lowpass, or Nyquist."""
    frequencies = np.fft.rfftfreq(4096, 1 / 1024)

    assert frequencies[SETTINGS.band].tolist()[:: len(frequencies)] == [32.0]
    assert frequencies[SETTINGS.band][-1] == 511.75
    wide = replace(SETTINGS, highpass=None, lowpass=100.0)
    assert (frequencies[wide.band][0], frequencies[wide.band][-1]) == (20.0, 99.75)


class TestRefusals:
    """What cannot be meant is refused when the settings are made."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_signals": 0}, "num_signals cannot be used"),
            ({"waveform_duration": -8.0}, "waveform_duration cannot be used"),
            ({"right_pad": 4.0}, "the coalescence lies outside the waveform"),
            ({"right_pad": -1.0}, "right_pad cannot be used"),
            ({"waveform_duration": 4.0001}, "no whole number of samples"),
            ({"minimum_frequency": 512.0}, "minimum_frequency is not between zero and"),
            ({"reference_frequency": 0.0}, "reference_frequency cannot be used"),
            ({"seed": -1}, "seed cannot be used"),
            ({"highpass": 600.0}, "highpass is not between zero and the Nyquist frequency"),
            ({"lowpass": 20.0}, "the band is empty"),
            ({"snr_threshold": -4.0}, "snr_threshold cannot be used"),
            ({"ifos": ()}, "the detectors cannot be used"),
            ({"ifos": ("H1", "X9")}, "a detector's place is not known"),
            ({"resources": Resources(workers=0)}, "no process is left to work"),
        ],
    )
    def test_settings(self, changes, message):
        """The message names the setting."""
        with pytest.raises(AframeError, match=message):
            replace(SETTINGS, **changes)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"waveform_approximant": "Nope"}, "there is no such waveform approximant"),
            ({"prior": "nope"}, "there is no such prior"),
            ({"prior": "end_o3_ratesandpops"}, "the waveform approximant has no precession"),
            ({"prior": "ringdown_prior"}, "a prior leaves out parameters of a source"),
            (
                {"prior": "tidal_bns", "waveform_approximant": "IMRPhenomPv2"},
                "the waveform approximant has no tides",
            ),
        ],
    )
    def test_misfits(self, changes, message):
        """Before any waveform."""
        refuse_misfits(SETTINGS)
        with pytest.raises(AframeError, match=message):
            refuse_misfits(replace(SETTINGS, **changes))

    def test_unfit_strain(self, background):
        """Of another rate, or too short for a PSD."""
        files = list_strain(background, SETTINGS.ifos)
        refuse_unfit_strain(SETTINGS, files)

        with pytest.raises(AframeError, match=r"differ in sample rate[\s\S]*at 1024 Hz[\s\S]*2048"):
            refuse_unfit_strain(replace(SETTINGS, sample_rate=2048.0), files)
        with pytest.raises(AframeError, match=r"too short for a PSD[\s\S]*160 s[\s\S]*of 161 s"):
            refuse_unfit_strain(replace(SETTINGS, waveform_duration=161.0), files)


def test_defaults_are_those_of_the_full_search():
    """As in the older tool's base configuration."""
    found = WaveformSettings(output=Path("unused"), num_signals=1)

    assert found.window == injections.Window(2048.0, 8.0, 2.0, 20.0, 50.0)
    assert found.prior == "end_o3_ratesandpops"
