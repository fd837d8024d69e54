"""Signals that validation injects."""

from __future__ import annotations

import numpy as np
import pytest

from aframe.artifacts.ledger import read_ledger
from aframe.artifacts.strain import list_strain
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_data import injections
from aframe_data.injections import network_psds
from aframe_data.projection import EPOCH
from aframe_data.validation import ValidationInputs, ValidationSettings, validation_waveforms


def made(directory, background, **changes):
    """Run the verb; its file."""
    draft = Draft(directory)
    draft.path.mkdir(exist_ok=True)
    plain = {
        "num_signals": 20,
        "ifos": ("H1", "L1"),
        "prior": "log_uniform_bbh",
        "waveform_approximant": "IMRPhenomD",
        "waveform_duration": 4.0,
        "right_pad": 1.0,
        "sample_rate": 1024.0,
        "snr_threshold": 6.0,
    }
    inputs = ValidationInputs(background)
    settings = ValidationSettings(inputs=inputs, output=directory, **{**plain, **changes})
    validation_waveforms(settings, draft)
    assert draft.notes["draws"] >= settings.num_signals
    return directory / "val_waveforms.hdf5"


def test_takes_strain_files_in_turn(tmp_path, background, monkeypatch):
    """Each branch's SNRs are against the PSD of its own file."""
    monkeypatch.setattr(injections, "BRANCH", 10)

    found = read_ledger(made(tmp_path / "draft", background))

    assert len(found) == 20
    assert (found.parameters["snr"] >= 6).all()
    assert (found.parameters["injection_time"] == EPOCH).all()
    frequencies = np.fft.rfftfreq(4096, 1 / 1024)
    band = (frequencies >= 32) & (frequencies < 512)
    for file, rows in zip(
        list_strain(background, ("L1",)), (slice(10), slice(10, 20)), strict=True
    ):
        spectra = np.fft.rfft(found.waveforms["l1"][rows].astype(float))[:, band] / 1024
        power = abs(spectra) ** 2 / network_psds(file, ("L1",), 4.0)[0, band]
        np.testing.assert_allclose(
            found.parameters["ifo_snrs"][rows, 1], np.sqrt(power.sum(axis=1)), rtol=1e-3
        )


def test_does_not_depend_on_workers(tmp_path, background, monkeypatch):
    """Byte for byte."""
    monkeypatch.setattr(injections, "BRANCH", 10)
    files = [
        made(tmp_path / str(workers), background, resources=Resources(workers=workers))
        for workers in (1, 2)
    ]

    assert files[0].read_bytes() == files[1].read_bytes()


def test_refuses_strain_of_another_rate(tmp_path, background):
    """Before any work."""
    with pytest.raises(AframeError, match="strain and waveforms differ in sample rate"):
        made(tmp_path / "draft", background, sample_rate=2048.0)
