"""What lies around an event or an injection."""

import h5py
import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_sv.neighborhood import Series, read_candidates


def test_candidates_keep_their_times(inputs):
    """Strain begins where its group says, scores where they themselves say."""
    first, second = read_candidates(inputs.candidates, 3)

    assert first.statistic > second.statistic
    assert first.whitened.times(first.time)[0] == pytest.approx(-2.0)
    assert first.scores.times(first.time)[[0, 1]] == pytest.approx([-10.0, -9.75])
    assert len(read_candidates(inputs.candidates, 1)) == 1


def test_a_file_that_holds_no_candidates_is_refused(inputs):
    """Other HDF5 in their place is named."""
    with pytest.raises(AframeError, match="a file of candidates cannot be read"):
        read_candidates(inputs.foreground, 3)


def test_times_count_from_the_first_value():
    """Equal steps from the start."""
    series = Series(np.zeros((2, 3)), gps_start=10.0, sample_rate=4.0)

    assert series.times(10.5).tolist() == [-0.5, -0.25, 0.0]


def test_an_injection_counts_from_its_merger(inputs, tmp_path):
    """Its event has a time of its own, after it or before."""
    path = tmp_path / "examples.hdf5"
    path.write_bytes(inputs.candidates.read_bytes())
    with h5py.File(path, "r+") as file:
        event = file["0"].attrs["detection_time"]
        file["0"].attrs["injection_time"] = event - 0.25
    first, second = read_candidates(path, 2)

    assert first.injected
    assert first.time == event - 0.25
    assert first.offset == pytest.approx(0.25)
    assert (second.injected, second.offset) == (False, 0.0)
