"""Ledgers of waveforms, read whole or in runs."""

import h5py
import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_train import waveforms
from aframe_train.waveforms import POLARIZATIONS, WaveformFile


def refuse_rows(table):
    """Give what was read, which is to be nothing."""
    assert table.size == 0
    return table


def test_header_is_known_before_a_row_is_read(data_dir, small, monkeypatch):
    """Number, length and place of the coalescence; not one sample is."""
    read = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *asked: refuse_rows(read(*asked)))

    file = WaveformFile.open(data_dir / "training_waveforms.hdf5", POLARIZATIONS, small.RATE)

    assert (file.length, file.samples, file.coalescence) == (40, 512, 384)


def test_channels_come_in_the_order_asked_for(data_dir, small):
    """The order is that of the fields, not of the alphabet."""
    file = WaveformFile.open(data_dir / "training_waveforms.hdf5", ("plus", "cross"), small.RATE)

    np.testing.assert_array_equal(file.read(slice(3, 7)), small.chirps(1, 40)[:, 3:7])


def test_a_chunk_is_runs_from_random_places(data_dir, small, monkeypatch):
    """Runs of neighbors, the same for an index, other ones for the next."""
    monkeypatch.setattr(waveforms, "RUN", 4)
    file = WaveformFile.open(data_dir / "training_waveforms.hdf5", POLARIZATIONS, small.RATE)
    first, again, other = (file.chunk(10, 1, index) for index in (0, 0, 1))

    assert first.shape == (2, 8, 512)
    assert (first == again).all()
    assert (first != other).any()
    everything = file.read(slice(None))
    for run in (first[:, :4], first[:, 4:]):
        row = int((everything[0] == run[0, 0]).all(-1).nonzero())
        np.testing.assert_array_equal(run, everything[:, row : row + 4])


def test_a_chunk_that_holds_all_is_all(data_dir, small):
    """No row is doubled or lost where all fit."""
    file = WaveformFile.open(data_dir / "training_waveforms.hdf5", POLARIZATIONS, small.RATE)

    np.testing.assert_array_equal(file.chunk(40, 1, 5), file.read(slice(None)))


@pytest.mark.parametrize(
    ("metadata", "found"),
    [({"sample_rate": 512.0}, "sample_rate 512"), ({"right_pad": None}, "right_pad None")],
)
def test_refuses_waveforms_of_another_kind(tmp_path, small, metadata, found):
    """Another sample rate than the strain's, or a coalescence nobody knows."""
    plus, cross = small.chirps(0, 2)
    path = small.write_waveforms(tmp_path / "w.hdf5", {"plus": plus, "cross": cross}, **metadata)

    with pytest.raises(AframeError, match="waveforms do not fit the strain") as error:
        WaveformFile.open(path, POLARIZATIONS, small.RATE)

    assert found in error.value.found


def test_refuses_an_empty_ledger(tmp_path, small):
    """No waveforms is not a smaller training."""
    plus, cross = small.chirps(0, 0)
    path = small.write_waveforms(tmp_path / "w.hdf5", {"plus": plus, "cross": cross})

    with pytest.raises(AframeError, match="there are no waveforms"):
        WaveformFile.open(path, POLARIZATIONS, small.RATE)
