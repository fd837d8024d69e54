"""Injections, spaced over every slide of the testing strain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from aframe.artifacts.ledger import read_ledger
from aframe.artifacts.segments import Segment, write_segments
from aframe.artifacts.strain import list_strain
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_data import injections, testing
from aframe_data.injections import network_psds

START = 1_240_000_000.0
PLAIN = {
    "num_signals": 20,
    "ifos": ("H1", "L1"),
    "prior": "log_uniform_bbh",
    "waveform_approximant": "IMRPhenomD",
    "waveform_duration": 4.0,
    "right_pad": 1.0,
    "sample_rate": 1024.0,
    "snr_threshold": 6.0,
    "spacing": 16.0,
    "buffer": 6.0,
    "psd_length": 8.0,
    "shifts": (0.0, 1.0),
}
SETTINGS = testing.TestingSettings(
    inputs=testing.TestingInputs(Path("unused"), Path("unused")), output=Path("unused"), **PLAIN
)


def made(directory, background, segments=None, **changes):
    """Run the verb; the directory of its files."""
    draft = Draft(directory)
    draft.path.mkdir(exist_ok=True)
    path = directory.with_suffix(".txt")
    files = list_strain(background, ("H1", "L1"))
    write_segments(path, [file.segment for file in files] if segments is None else segments)
    inputs = testing.TestingInputs(path, background)
    testing.testing_waveforms(replace(SETTINGS, inputs=inputs, output=directory, **changes), draft)
    return directory


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory, background):
    """Injections into both strain files."""
    directory = made(tmp_path_factory.mktemp("testing") / "draft", background, num_signals=40)
    return [
        read_ledger(directory / name) for name in ("waveforms.hdf5", "rejected-parameters.hdf5")
    ]


def test_fills_all_slots_and_keeps_the_rejected(ledgers):
    """As many as asked; both files count all draws."""
    accepted, rejected = ledgers

    assert len(accepted) == 40
    assert (accepted.parameters["snr"] >= 6).all()
    assert (rejected.parameters["snr"] < 6).all()
    draws = len(accepted) + len(rejected)
    assert accepted.metadata["num_injections"] == rejected.metadata["num_injections"] == draws
    assert accepted.metadata["ifos"] == ["H1", "L1"]
    assert accepted.waveforms["h1"].shape == (40, 4096)


def test_each_injection_has_the_psd_of_its_own_strain(ledgers, background):
    """The second file's L1 is twice as loud."""
    accepted, _ = ledgers
    times = accepted.parameters["injection_time"]
    frequencies = np.fft.rfftfreq(4096, 1 / 1024)
    band = (frequencies >= 32) & (frequencies < 512)

    for file in list_strain(background, ("H1", "L1")):
        mine = (times >= file.segment.start) & (times < file.segment.stop)
        assert mine.any()
        psds = network_psds(file, ("H1", "L1"), 4.0)
        for column, ifo in enumerate(("h1", "l1")):
            spectra = np.fft.rfft(accepted.waveforms[ifo][mine].astype(float))[:, band] / 1024
            power = (abs(spectra) ** 2 / psds[column, band]).sum(axis=1)
            wanted = accepted.parameters["ifo_snrs"][mine, column]
            np.testing.assert_allclose(np.sqrt(power), wanted, rtol=1e-3)


@given(
    lengths=st.lists(st.integers(60, 400), min_size=1, max_size=4),
    spacing=st.floats(0, 20),
    buffer=st.floats(0, 10),
    psd_length=st.floats(0, 20),
    step=st.floats(0.5, 5),
    share=st.floats(0.05, 1),
)
@settings(max_examples=60)
def test_slots_keep_their_distances(lengths, spacing, buffer, psd_length, step, share):
    """In each slide of each segment: apart, after the PSD, off the edges; slides in order."""
    starts = np.cumsum([START, *(length + 50 for length in lengths[:-1])])
    segments = [Segment(a, a + b) for a, b in zip(starts.tolist(), lengths, strict=True)]
    shifts = (step, 0.0)
    room = sum(length / (spacing + 4) for length in lengths)
    count = max(1, int(share * room * 2))
    asked = replace(
        SETTINGS, num_signals=count, spacing=spacing, buffer=buffer, jitter=0.0,
        psd_length=psd_length, shifts=shifts,
    )  # fmt: skip

    try:
        times, moved, owners = testing.injection_slots(asked, segments)
    except AframeError:
        # Whether there is room is known by counting; see test_too_little_strain.
        reject()

    assert len(times) == count
    slides = moved[:, 0] / step
    assert (moved[:, 1] == 0).all()
    np.testing.assert_allclose(slides, np.round(slides))
    assert (np.diff(np.round(slides)) >= 0).all()
    assert set(np.round(slides)) == set(range(1, round(slides.max()) + 1))
    for owner, segment in enumerate(segments):
        mine = owners == owner
        half = asked.waveform_duration / 2
        assert (times[mine] - half >= segment.start + psd_length + buffer - 1e-6).all()
        assert (times[mine] + half + moved[mine, 0] <= segment.stop - buffer + 1e-6).all()
        for slide in set(np.round(slides[mine])):
            apart = np.diff(np.sort(times[mine & (np.round(slides) == slide)]))
            assert (apart >= asked.spacing + asked.waveform_duration - 1e-6).all()


def test_jitter_is_even_and_bounded(tmp_path, background):
    """Times lie within the jitter of their slots, each with its own."""
    directory = made(tmp_path / "draft", background, jitter=2.0, snr_threshold=0.0)
    segments = [file.segment for file in list_strain(background, ("H1",))]
    slots, shifts, owners = testing.injection_slots(SETTINGS, segments)

    found = read_ledger(directory / "waveforms.hdf5", waveforms=())

    order = np.argsort(owners, kind="stable")
    moved = found.parameters["injection_time"] - slots[order]
    assert (found.parameters["shift"] == shifts[order]).all()
    assert abs(moved).max() <= 2
    assert len(set(moved.round(6))) == 20
    assert abs(moved).max() > 1
    assert moved.min() < 0 < moved.max()


def test_without_a_threshold_nothing_is_rejected(tmp_path, background):
    """Then the file of the rejected is empty, and yet whole."""
    directory = made(tmp_path / "draft", background, snr_threshold=0.0)

    rejected = read_ledger(directory / "rejected-parameters.hdf5")

    assert len(rejected) == 0
    assert rejected.parameters["ifo_snrs"].shape == (0, 2)
    assert rejected.metadata["num_injections"] == 20


@pytest.mark.parametrize("workers", [1, 2])
def test_does_not_depend_on_workers_or_kills(tmp_path, background, monkeypatch, workers):
    """Byte for byte; a second run of a draft makes only the branches that are missing."""
    monkeypatch.setattr(injections, "BRANCH", 8)
    names = ("waveforms.hdf5", "rejected-parameters.hdf5")
    resources = Resources(workers=workers)
    first = made(tmp_path / "first", background)
    second = made(tmp_path / "second", background, resources=resources)
    wanted = [(first / name).read_bytes() for name in names]
    assert [(second / name).read_bytes() for name in names] == wanted

    # Killed after the first of a branch's two files.
    (second / ".work" / "branch-1.hdf5").unlink()
    made(tmp_path / "second", background)

    assert [(second / name).read_bytes() for name in names] == wanted


class TestRefusals:
    """All of them before any work."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"spacing": -1.0}, "spacing cannot be used"),
            ({"buffer": -1.0}, "buffer cannot be used"),
            ({"psd_length": -8.0}, "psd_length cannot be used"),
            ({"shifts": (0.0, 1.0, 2.0)}, "shifts and detectors differ in number"),
            ({"jitter": 9.0}, "jittered injections could overlap"),
        ],
    )
    def test_settings(self, changes, message):
        """When they are made."""
        with pytest.raises(AframeError, match=message):
            replace(SETTINGS, **changes)

    def test_too_little_strain(self, tmp_path, background):
        """The message says how many slots there are."""
        with pytest.raises(
            AframeError, match=r"too short[\s\S]*\d+ slots in all[\s\S]*9999 signals"
        ):
            made(tmp_path / "draft", background, num_signals=9999)

    def test_strain_that_is_not_there(self, tmp_path, background):
        """Segments without their files."""
        segments = [Segment(START, START + 300), Segment(START + 400, START + 600)]

        with pytest.raises(AframeError, match="no file covers 1240000200 to 1240000300 and 1 more"):
            made(tmp_path / "draft", background, segments)
