"""How well events are timed."""

import pytest

from aframe.artifacts.record import Record, write_record
from aframe_sv.clock import Clock, read_clock
from aframe_sv.evidence import Inputs


@pytest.mark.parametrize(
    ("scatter", "words"), [(0.0275, "0.03"), (0.03, "0.03"), (0.0001, "0.01"), (0.211, "0.22")]
)
def test_errors_are_rounded_up(scatter, words):
    """Times are shown to 0.01 s: their error is never said to be less."""
    assert Clock(64, scatter, 0.25).plus_minus == f" ± {words}"


@pytest.mark.parametrize("name", ["zero_lag", "foreground"])
def test_the_record_beside_the_events_says_it(inputs, name):
    """Whichever events are shown."""
    found = read_clock(Inputs(**{name: getattr(inputs, name)}))

    assert found == Clock(injections=64, scatter=0.0275, stride=0.25)


@pytest.mark.parametrize("notes", [{}, {"calibration": {"injections": 0, "fine_scatter": 0.0}}])
def test_what_was_not_measured_is_not_said(tmp_path, notes):
    """No loud injection, an older record, no record, no events."""
    settings = {"inference_sampling_rate": 4.0}
    record = Record("aframe-infer infer", settings, {}, {}, {}, notes=notes)
    write_record(tmp_path / "infer.record.json", record)

    assert read_clock(Inputs(zero_lag=tmp_path / "0lag.hdf5")) is None
    assert read_clock(Inputs(zero_lag=tmp_path / "elsewhere" / "0lag.hdf5")) is None
    assert read_clock(Inputs()) is None
