"""Injections in the report."""

import numpy as np
import pytest

from aframe.artifacts.ledger import read_ledger, write_ledger
from aframe_sv.sections.injections import examples, section, whiten


def test_whole_run_shows_examples_and_all_snrs(evidence):
    """Three signals and a histogram; how many were drawn, injected and rejected."""
    got = section(evidence())

    assert len(got.pictures) == 4
    assert "whitened, as the network sees it" in got.pictures[0].caption
    assert "masses are those seen at the detector, (1 + z) times" in got.pictures[0].caption
    assert "Of 6,000 sources drawn" in got.paragraphs[0]
    assert ("Waveform", "IMRPhenomD") in got.facts
    assert ("Population", "log_uniform_bbh") in got.facts


def test_without_strain_signals_are_as_they_arrive(evidence):
    """There is no noise to whiten with."""
    got = section(evidence(test_background=None))

    assert "as it reaches the detectors" in got.pictures[0].caption


def test_missing_files_leave_a_sentence(evidence, inputs, tmp_path):
    """No injections, an empty file, no rejected draws."""
    assert section(evidence(injections=None)).paragraphs == ["This run has no injections."]
    write_ledger(tmp_path / "waveforms.hdf5", read_ledger(inputs.injections)[:0])
    empty = section(evidence(injections=tmp_path / "waveforms.hdf5"))
    assert empty.paragraphs == ["The file of injections is empty."]
    kept = section(evidence(rejected_parameters=None))
    assert "was not kept" in kept.paragraphs[0]


def test_examples_are_a_faint_a_middling_and_a_loud_one(inputs):
    """Chosen by rank of the SNR, whatever the seed."""
    snr = read_ledger(inputs.injections, parameters=("snr",), waveforms=()).parameters["snr"]

    chosen = [float(each.parameters["snr"][0]) for each in examples(inputs.injections, snr)]

    shares = [np.mean(snr < value) for value in chosen]
    assert shares == pytest.approx([0.1, 0.5, 0.95], abs=0.01)
    assert [each.waveforms["h1"].shape[0] for each in examples(inputs.injections, snr)] == [1, 1, 1]


def test_a_single_injection_is_one_example(inputs, tmp_path):
    """It is faint, middling and loud at once."""
    path = tmp_path / "waveforms.hdf5"
    write_ledger(path, read_ledger(inputs.injections)[:1])

    assert len(examples(path, np.array([8.0]))) == 1


def spectrum(level=3e-23):
    """An amplitude spectral density that falls and rises."""
    frequency = np.linspace(0, 512, 1025)
    return frequency, level * (1 + (40 / np.maximum(frequency, 5)) ** 2 + frequency / 300)


def test_whitened_signal_squares_to_its_snr():
    """The sum of squares is 4 int |h|^2 / S df, the squared optimal SNR."""
    rate, size = 1024.0, 4096
    frequency, density = spectrum()
    times = np.arange(size) / rate - 2
    signal = 1e-21 * np.exp(-((times / 0.05) ** 2)) * np.cos(2 * np.pi * 90 * times)

    whitened = whiten(signal, rate, (frequency, density), highpass=32.0)

    bins = np.fft.rfftfreq(size, 1 / rate)
    series = np.fft.rfft(signal) / rate
    kept = (bins >= 32) & (bins < rate / 2)
    power = np.interp(bins, frequency, density) ** 2
    snr_squared = 4 * np.sum(np.abs(series[kept]) ** 2 / power[kept]) * rate / size
    assert np.sum(whitened**2) == pytest.approx(snr_squared, rel=1e-9)


def test_noise_is_whitened_to_unit_variance():
    """Noise of the given density has a standard deviation of one."""
    rate, size = 1024.0, 2**17
    frequency, density = spectrum()
    bins = np.fft.rfftfreq(size, 1 / rate)
    white = np.random.default_rng(4).normal(size=size) * np.sqrt(rate / 2)
    colored = np.fft.irfft(np.fft.rfft(white) * np.interp(bins, frequency, density), size)

    assert whiten(colored, rate, (frequency, density)).std() == pytest.approx(1, abs=0.01)


def test_titles_say_whose_masses_they_give(evidence, monkeypatch):
    """Redshifted masses beside a redshift are easily taken for those of the source."""
    titles = []
    monkeypatch.setattr(
        "aframe_sv.sections.injections.picture", lambda ax, **_: titles.append(ax.get_title())
    )

    section(evidence())

    assert len(titles) == 4
    assert all("M☉ (detector frame), z = " in title for title in titles[:3])
