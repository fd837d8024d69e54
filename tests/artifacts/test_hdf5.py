"""HDF5 files appear whole, or a reader says what is wrong with them."""

import errno
import resource
import signal

import h5py
import numpy as np
import pytest

from aframe.artifacts.hdf5 import SCHEMA_VERSION, attributes, reading, writing
from aframe.errors import AframeError


@pytest.fixture
def small_files():
    """Let no file of this process grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_file_appears_when_the_block_ends(tmp_path):
    """Until then there is only a hidden draft, and afterwards only the file."""
    path = tmp_path / "new.hdf5"

    with writing(path) as file:
        file["x"] = np.arange(3)
        assert not path.exists()

    assert [entry.name for entry in tmp_path.iterdir()] == ["new.hdf5"]
    with reading(path, "a test") as file:
        assert file.attrs["schema_version"] == SCHEMA_VERSION
        assert file["x"][:].tolist() == [0, 1, 2]


def test_a_failure_leaves_the_old_file(tmp_path):
    """What was there stays, and the draft is gone."""
    path = tmp_path / "kept.hdf5"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError), writing(path):
        _ = 1 / 0

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.hdf5"]


def test_the_same_content_gives_the_same_bytes(tmp_path):
    """No time of writing is kept in a file."""
    for name in ("a", "b"):
        with writing(tmp_path / name) as file:
            file["group/x"] = np.arange(10.0)
            file.attrs["ifos"] = ["H1", "L1"]

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def _one_write(file):
    file["x"] = np.zeros(1_000_000)


def _many_chunks(file):
    # HDF5 writes these when it frees the dataset, where it can raise nothing.
    file.create_dataset("x", (2**24,), "f8", chunks=(2**10,))[: 2**20] = 1.0


def _at_close(file):
    file["x"] = np.zeros(10)


def _many_attributes(file):
    for index in range(1000):
        file.create_group(str(index)).attrs["text"] = "x" * 1000


@pytest.mark.parametrize("write", [_one_write, _many_chunks, _at_close, _many_attributes])
def test_a_full_disk_is_told_by_its_number(tmp_path, write):
    """HDF5's pages of text, or its silence, become the plain error of the system."""
    (tmp_path / ".full.hdf5.draft").symlink_to("/dev/full")

    with (
        pytest.raises(OSError, match=r"No space left on device.*full\.hdf5") as caught,
        writing(tmp_path / "full.hdf5") as file,
    ):
        write(file)

    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("write", [_one_write, _many_chunks, _many_attributes])
def test_a_disk_that_fills_up_leaves_hdf5_usable(tmp_path, write):
    """A write refused half way is told too, and the next file is whole."""
    with (
        pytest.raises(OSError, match="File too large") as caught,
        writing(tmp_path / "large.hdf5") as file,
    ):
        write(file)

    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []
    with writing(tmp_path / "small.hdf5") as file:
        file["x"] = np.arange(3)
    with reading(tmp_path / "small.hdf5", "a test") as file:
        assert file["x"][:].tolist() == [0, 1, 2]


def _truncated(path):
    with writing(path) as file:
        file["x"] = np.zeros(10_000)
    path.write_bytes(path.read_bytes()[:-1000])


def _newer(path):
    with h5py.File(path, "w") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION + 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_truncated, "truncated file"),
        (lambda path: path.write_text("not HDF5"), "file signature not found"),
        (lambda path: path.touch(), "file signature not found"),
        (_newer, "schema version 2"),
    ],
    ids=["truncated", "foreign", "empty", "newer"],
)
def test_refuses(tmp_path, make, message):
    """The file and its fault are named."""
    path = tmp_path / "bad.hdf5"
    make(path)

    with (
        pytest.raises(AframeError, match=r"a test cannot be read") as caught,
        reading(path, "a test"),
    ):
        pass

    assert str(path) in caught.value.found
    assert message in caught.value.found


def test_refuses_what_is_not_there(tmp_path):
    """There is nothing to remove, as of a file that is broken."""
    with (
        pytest.raises(AframeError, match="a test is missing") as caught,
        reading(tmp_path / "none.hdf5", "a test"),
    ):
        pass

    assert caught.value.found == f"{tmp_path / 'none.hdf5'} does not exist"
    assert "remove" not in caught.value.fix


def test_a_dataset_that_is_not_there_is_told_as_a_fault_of_the_file(tmp_path):
    """The reader need not ask for each dataset whether it is there."""
    with writing(tmp_path / "x.hdf5"):
        pass

    with (
        pytest.raises(AframeError, match=r"object 'y' doesn't exist"),
        reading(tmp_path / "x.hdf5", "a test") as file,
    ):
        file["y"][:]


def test_attributes_are_plain(tmp_path):
    """Numbers, texts and lists come back as Python's own."""
    given = {"n": 3, "rate": 2048.0, "ifos": ["H1", "L1"], "shifts": [0.0, 1.0], "flag": True}
    with writing(tmp_path / "x.hdf5") as file:
        file.attrs.update(given)
        file.attrs["old"] = np.bytes_("bytes")

    with reading(tmp_path / "x.hdf5", "a test") as file:
        found = attributes(file)

    assert found == {"schema_version": SCHEMA_VERSION, **given, "old": "bytes"}
    assert {type(value) for value in found.values()} == {int, float, list, bool, str}
