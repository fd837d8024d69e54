"""What a run left behind."""

import numpy as np
import pytest

from aframe.artifacts.events import Events
from aframe.artifacts.record import Record, write_record
from aframe.errors import AframeError
from aframe_sv.evidence import DEFAULT_DT, Evidence, Inputs, Recovered, is_simulated, utc


def test_a_whole_run_is_read(evidence):
    """Every kind of file is found, and read once."""
    found = evidence()

    assert found.background is found.background
    assert found.background.Tb == 21_700.0
    assert found.zero_lag.detection_statistic.tolist() == pytest.approx([-1.2, 11.8])
    assert found.ifos == ("H1", "L1")
    assert list(found.volumes.curves) == ["35-35", "20-20"], "in the order asked for"
    assert found.recovered.dt == found.volumes.attributes["dt"] == 1.0
    assert found.preprocessing.highpass == 32.0
    assert found.background_is_simulated is True
    assert found.zero_lag_is_simulated is False


def test_nothing_is_missed_where_nothing_was_given():
    """No input, no record: nothing known, nothing refused."""
    nothing = Evidence(Inputs())

    assert nothing.background is nothing.zero_lag is nothing.recovered is None
    assert nothing.volumes is nothing.preprocessing is None
    assert nothing.ifos == ()
    assert nothing.background_is_simulated is nothing.zero_lag_is_simulated is None


def test_detectors_come_from_records_where_no_model_says(evidence):
    """A search without its training still names its detectors."""
    assert evidence(preprocessing=None).ifos == ("H1", "L1")


def test_zero_lag_without_strain_of_its_own_is_of_the_slides(evidence):
    """The unshifted testing strain is what was searched then."""
    assert evidence(zero_lag_background=None).zero_lag_is_simulated is True


def test_the_recovery_window_is_that_of_the_volume(evidence):
    """Without a volume it is the default of `estimate`."""
    assert evidence(sensitive_volume=None).recovered.dt == DEFAULT_DT


def test_an_event_beyond_the_window_is_no_recovery():
    """Its statistic counts as minus infinity."""
    columns = {
        "detection_time": np.array([10.0, 12.5]),
        "injection_time": np.array([10.2, 10.0]),
        "detection_statistic": np.array([5.0, 9.0], np.float32),
    }

    recovered = Recovered(columns, dt=1.0)

    assert recovered.offset == pytest.approx([-0.2, 2.5])
    assert recovered.statistic.tolist() == [5.0, -np.inf]


@pytest.mark.parametrize(
    ("settings", "simulated"),
    [({"source": {"kind": "simulated"}}, True), ({"source": {"kind": "files"}}, False), ({}, None)],
)
def test_strain_is_what_its_record_says(tmp_path, settings, simulated):
    """Simulated, from files, or unknown."""
    record = Record("aframe-data fetch", settings, {}, {}, {})
    write_record(tmp_path / "fetch.record.json", record)

    assert is_simulated(tmp_path / "background") is simulated
    assert is_simulated(tmp_path / "elsewhere" / "background") is None


def test_events_of_zero_lag_are_sorted(tmp_path):
    """The loudest comes last, in whatever order they were written."""
    path = tmp_path / "0lag.hdf5"
    Events(np.array([3.0, 1.0]), np.array([1.0, 2.0]), np.zeros((2, 2)), 10.0).write(path)

    assert Evidence(Inputs(zero_lag=path)).zero_lag.detection_statistic.tolist() == [1.0, 3.0]


def test_a_background_without_time_is_none(tmp_path):
    """No rate follows from it."""
    path = tmp_path / "background.hdf5"
    Events(np.array([3.0]), np.array([1.0]), np.zeros((1, 2)), 0.0).write(path)

    assert Evidence(Inputs(background=path)).background is None


def test_a_file_that_is_no_volume_is_refused(inputs):
    """A ledger in its place is named."""
    with pytest.raises(AframeError, match="a sensitive volume cannot be read"):
        _ = Evidence(Inputs(sensitive_volume=inputs.background)).volumes


@pytest.mark.parametrize(
    ("gps", "text"),
    [
        (1126259462.4, "2015-09-14 09:50:45.40"),
        (0.0, "1980-01-06 00:00:00.00"),
        (4e9, "2106-10-08 07:06:22.00"),
    ],
)
def test_gps_times_are_said_in_utc(gps, text):
    """Leap seconds count, and years far ahead are no obstacle."""
    assert utc(gps) == text
