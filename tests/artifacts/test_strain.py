"""Strain files: gwpy reads ours, we read gwpy's, and what is wrong is refused."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from hypothesis import given
from hypothesis import strategies as st

from aframe.artifacts.segments import Segment
from aframe.artifacts.strain import StrainFile, list_strain, read_strain, write_strain
from aframe.errors import AframeError

START = 1_126_259_446
RATE = 256.0


def _noise(seconds=8, seed=0, rate=RATE):
    return np.random.default_rng(seed).normal(0, 1e-21, (2, int(seconds * rate)))


@pytest.fixture
def written(tmp_path):
    """Write one file of H1 and L1."""
    return write_strain(tmp_path, _noise(), ifos=["H1", "L1"], start=START, sample_rate=RATE)


def test_reading_gives_what_was_written(tmp_path, written):
    """Samples are float32 of the same, since 1e-21 is far from its smallest number."""
    (file,) = list_strain(tmp_path, ["H1", "L1"])

    assert file == StrainFile(written, START, 8.0, RATE, ("H1", "L1"))
    assert file.segment == Segment(START, START + 8)
    assert read_strain(file, ["H1", "L1"]).dtype == np.float32
    np.testing.assert_allclose(read_strain(file, ["H1", "L1"]), _noise(), rtol=1e-7)


def test_rows_are_in_the_order_asked_for(tmp_path, written):
    """The network's channels are `ifos`, not the alphabet."""
    (file,) = list_strain(tmp_path, ["L1", "H1"])

    np.testing.assert_array_equal(
        read_strain(file, ["L1", "H1"]), read_strain(file, ["H1", "L1"])[::-1]
    )
    np.testing.assert_array_equal(read_strain(file, ["L1"])[0], _noise()[1].astype(np.float32))


@given(st.integers(0, 2000), st.integers(1, 48))
def test_any_piece_is_that_of_the_whole(tmp_path_factory, first, size):
    """A stretch by GPS time holds the samples of that time."""
    directory = tmp_path_factory.mktemp("strain")
    write_strain(directory, _noise(), ifos=["H1", "L1"], start=START + 0.5, sample_rate=RATE)
    (file,) = list_strain(directory, [])

    piece = read_strain(file, ["H1"], file.start + first / RATE, file.start + (first + size) / RATE)

    np.testing.assert_array_equal(piece, _noise()[:1, first : first + size].astype(np.float32))


def test_gwpy_reads_it(written):
    """Anybody's tools open the file, with times, unit and channel."""
    found = TimeSeriesDict.read(written, format="hdf5")

    assert list(found) == ["H1", "L1"]
    assert found["L1"].t0.value == START
    assert found["L1"].sample_rate.value == RATE
    assert str(found["L1"].unit) == "strain"
    np.testing.assert_array_equal(found["L1"].value, _noise()[1].astype(np.float32))


def test_reads_what_gwpy_wrote(tmp_path):
    """The older tool's float64 files, named by whole seconds, are read."""
    series = {
        ifo: TimeSeries(row, t0=START + 0.25, sample_rate=RATE, name=ifo)
        for ifo, row in zip(["H1", "L1"], _noise(), strict=True)
    }
    TimeSeriesDict(series).write(tmp_path / f"background-{START}-8.hdf5")

    (file,) = list_strain(tmp_path, ["H1", "L1"])

    assert file.start == START + 0.25
    np.testing.assert_allclose(read_strain(file, ["H1", "L1"]), _noise(), rtol=1e-7)


@pytest.mark.parametrize(
    ("start", "seconds", "name"),
    [
        (START, 8, f"background-{START}-8.hdf5"),
        (START + 0.5, 2.25, f"background-{START}.5-2.25.hdf5"),
        (968654552, 1, "background-0968654552-1.hdf5"),
    ],
)
def test_the_name_tells_start_and_duration(tmp_path, start, seconds, name):
    """Ten digits, as readers by pattern want them, and no point where there is no fraction."""
    path = write_strain(tmp_path, _noise(seconds), ifos=["H1", "L1"], start=start, sample_rate=RATE)

    assert path.name == name
    assert list_strain(tmp_path, ["H1"])[0].segment == (start, start + seconds)


def test_the_datasets_are_chunked_and_not_compressed(tmp_path, written):
    """A piece is read without the rest, and without work."""
    with h5py.File(written) as file:
        assert file.attrs["schema_version"] == 1
        assert file["H1"].chunks == (8 * RATE,)
        assert file["H1"].compression is None
        assert file["H1"].dtype == np.float32


def test_files_are_sorted_by_time_and_others_left_alone(tmp_path):
    """Hidden drafts and texts in the directory are none of the search's strain."""
    for start in (START + 100, START, START + 8):
        write_strain(tmp_path, _noise(), ifos=["H1", "L1"], start=start, sample_rate=RATE)
    (tmp_path / ".background-1-1.hdf5.draft").touch()
    (tmp_path / ".hidden.hdf5").touch()
    (tmp_path / "fetch.record.json").touch()

    assert [file.start for file in list_strain(tmp_path, ["H1"])] == [START, START + 8, START + 100]


def test_listing_reads_no_samples(tmp_path, monkeypatch, written):
    """Headers are enough to plan with."""
    monkeypatch.setattr(h5py.Dataset, "__getitem__", None)

    assert len(list_strain(tmp_path, ["H1", "L1"])) == 1


def _break(change):
    def broken(directory):
        (path,) = directory.glob("*.hdf5")
        with h5py.File(path, "a") as file:
            change(file)

    return broken


def _copy(name):
    def copied(directory):
        (path,) = directory.glob("*.hdf5")
        shutil.copy(path, directory / name)

    return copied


def _rename(name):
    def renamed(directory):
        (path,) = directory.glob("*.hdf5")
        path.rename(directory / name)

    return renamed


def _truncate(directory):
    (path,) = directory.glob("*.hdf5")
    path.write_bytes(path.read_bytes()[:3000])


def _another(rate, start, name="other"):
    def another(directory):
        strain = _noise(8, rate=rate)
        write_strain(
            directory, strain, ifos=["H1", "L1"], start=start, sample_rate=rate, prefix=name
        )

    return another


def _no_channel(file):
    del file["L1"]


def _empty(file):
    del file["L1"], file["H1"]
    file.create_group("strain")


def _text(file):
    del file["L1"]
    file["L1"] = "no numbers"


def _no_rate(file):
    del file["H1"].attrs["dx"]


def _bad_rate(file):
    file["H1"].attrs["dx"] = 0.0


def _late(file):
    file["L1"].attrs["x0"] += 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (shutil.rmtree, "there is no strain"),
        (lambda directory: [path.unlink() for path in directory.iterdir()], "there is no strain"),
        (_rename("noise.hdf5"), "a file is not named as strain is"),
        (_rename(f"background-{START + 2}-8.hdf5"), "contradicts its header"),
        (_rename(f"background-{START}-9.hdf5"), "contradicts its header"),
        (_rename(f"background-{START}.5-8.hdf5"), "contradicts its header"),
        (_truncate, "a strain file cannot be read"),
        (_break(_no_channel), r"lacks a detector\n.* holds H1"),
        (_break(_empty), r"lacks a detector\n.* holds none"),
        (_break(_text), "is no series of floats"),
        (_break(_no_rate), "a strain file cannot be read"),
        (_break(_bad_rate), r"/H1 has x0 .*, dx 0.0 and 2048 samples"),
        (_break(_late), "its detectors differ in"),
        (_another(512.0, START + 100), "strain files differ in sample rate"),
        (_another(RATE, START + 7), "strain files overlap"),
        (_copy(f"copy-{START}-8.hdf5"), "strain files overlap"),
    ],
)
def test_refuses_to_list(tmp_path, written, spoil, message):
    """Every fault of a directory is found before any work."""
    spoil(tmp_path)

    with pytest.raises(AframeError, match=message):
        list_strain(tmp_path, ["H1", "L1"])


@pytest.mark.parametrize(
    ("start", "stop"), [(START - 1, None), (None, START + 9), (START + 4, START + 4)]
)
def test_refuses_time_outside_the_file(tmp_path, written, start, stop):
    """No sample is made up."""
    (file,) = list_strain(tmp_path, ["H1"])

    with pytest.raises(AframeError, match="does not hold the time asked for"):
        read_strain(file, ["H1"], start, stop)


def test_refuses_a_detector_it_lacks(tmp_path, written):
    """A detector that the listing did not ask for is refused when it is read."""
    (file,) = list_strain(tmp_path, ["H1"])

    with pytest.raises(AframeError, match=r"a strain file cannot be read\n.*V1"):
        read_strain(file, ["H1", "V1"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_samples_that_are_not_finite(tmp_path, written, bad):
    """The first is named by its time; time before it can still be read."""
    with h5py.File(written, "a") as file:
        file["L1"][512:515] = bad
    (file,) = list_strain(tmp_path, ["H1", "L1"])

    with pytest.raises(AframeError, match=rf"3 of 2048 in L1, the first at {START + 2}\n"):
        read_strain(file, ["H1", "L1"])
    assert read_strain(file, ["H1", "L1"], stop=START + 2).shape == (2, 512)


def test_writes_nothing_that_is_not_finite(tmp_path):
    """Gaps are cut out where the strain is fetched, not carried on."""
    strain = _noise()
    strain[0, 5] = np.nan

    with pytest.raises(AframeError, match="samples that are not finite"):
        write_strain(tmp_path / "new", strain, ifos=["H1", "L1"], start=START, sample_rate=RATE)

    assert not (tmp_path / "new").exists()


def test_a_file_that_shrank_after_listing_is_refused(tmp_path, written):
    """Data that vanish between header and samples are an error of that file."""
    (file,) = list_strain(tmp_path, ["H1", "L1"])
    Path(written).write_bytes(written.read_bytes()[:-4096])

    with pytest.raises(AframeError, match="a strain file cannot be read"):
        read_strain(file, ["H1", "L1"])
