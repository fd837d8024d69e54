"""Polarizations for training."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from aframe.artifacts.ledger import read_ledger
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.priors import PARAMETERS, load_prior, sample
from aframe.program import Resources
from aframe_data import injections
from aframe_data.streams import stream
from aframe_data.training import TrainingSettings, training_waveforms
from aframe_data.waveforms import load_approximant, polarizations


def made(directory, **changes):
    """Run the verb; its file."""
    draft = Draft(directory)
    draft.path.mkdir(exist_ok=True)
    plain = {
        "num_signals": 20,
        "prior": "log_uniform_bbh",
        "waveform_approximant": "IMRPhenomD",
        "waveform_duration": 2.0,
        "right_pad": 0.5,
        "sample_rate": 512.0,
    }
    training_waveforms(TrainingSettings(output=directory, **{**plain, **changes}), draft)
    return directory / "training_waveforms.hdf5"


def test_writes_polarizations_of_its_parameters(tmp_path):
    """Each row is the waveform of its parameters; all metadata are there."""
    found = read_ledger(made(tmp_path / "draft"))

    assert set(found.parameters) == set(PARAMETERS)
    assert found.metadata == {
        "sample_rate": 512.0,
        "duration": 2.0,
        "right_pad": 0.5,
        "num_injections": 20,
        "ifos": None,
        "prior": "log_uniform_bbh",
        "waveform_approximant": "IMRPhenomD",
        "minimum_frequency": 20.0,
        "reference_frequency": 50.0,
    }
    drawn = sample(*load_prior("log_uniform_bbh"), 20, stream(0, "training waveforms", 0))
    window = TrainingSettings(output=tmp_path, num_signals=1, waveform_duration=2.0, right_pad=0.5,
                              sample_rate=512.0).window  # fmt: skip
    wanted = polarizations(drawn, load_approximant("IMRPhenomD"), window)
    assert (found.waveforms["plus"] == wanted[:, 0]).all()
    assert (found.waveforms["cross"] == wanted[:, 1]).all()
    np.testing.assert_allclose(found.parameters["mass_1"], drawn["mass_1"], rtol=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_does_not_depend_on_workers_or_kills(tmp_path, monkeypatch, workers):
    """Byte for byte; a second run of a draft makes only the branches that are missing."""
    monkeypatch.setattr(injections, "BRANCH", 8)
    first = made(tmp_path / "first").read_bytes()
    second = made(tmp_path / "second", resources=Resources(workers=workers))
    assert second.read_bytes() == first

    kept = tmp_path / "second" / ".work" / "branch-0.hdf5"
    before = kept.stat().st_mtime_ns
    (tmp_path / "second" / ".work" / "branch-1.hdf5").unlink()
    again = made(tmp_path / "second")

    assert again.read_bytes() == first
    assert kept.stat().st_mtime_ns == before


def test_memory_does_not_grow_with_the_number_of_signals(tmp_path, monkeypatch):
    """A branch is held at a time, and a block of what is joined; of all signals next to nothing."""
    monkeypatch.setattr(injections, "BRANCH", 4)

    def most(count):
        tracemalloc.start()
        path = made(tmp_path / str(count), num_signals=count, waveform_duration=8.0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, path.stat().st_size

    most(4)  # What is loaded once does not count.
    (few, small), (many, large) = most(8), most(80)

    assert many - few < 0.1 * (large - small)
    assert many < large / 2


def test_refuses_misfits(tmp_path):
    """Before any branch."""
    with pytest.raises(AframeError, match="there is no such prior"):
        made(tmp_path / "draft", prior="nope")
