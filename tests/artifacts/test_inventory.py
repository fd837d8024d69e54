"""What is seen of directories on S3: little is asked of the store, and asked again when it must."""

import os

import pytest

from aframe.artifacts import inventory
from aframe.artifacts.inventory import Inventory, exists, is_whole, read_record, recorded_digest
from aframe.artifacts.record import Record, input_digest, output_digests, record_path, write_record
from aframe.artifacts.remote import Remote
from aframe.errors import AframeError


@pytest.fixture(autouse=True)
def _nothing_seen():
    inventory.forget()


@pytest.fixture
def made(tmp_path):
    """An output of a folder and a file, with scratch beside them, on this machine's disk."""
    folder = tmp_path / "run" / "data"
    (folder / "background").mkdir(parents=True)
    for n in range(5):
        (folder / "background" / f"{n}.hdf5").write_text(f"strain {n}")
    (folder / "segments.txt").write_text("segments")
    digests, sizes = output_digests(folder)
    write_record(record_path(folder, "fetch"), Record("aframe-data fetch", {}, {}, digests, sizes))
    (folder / ".draft-fetch").mkdir()
    (folder / ".draft-fetch" / "half.record.json").write_text("no record")
    return folder


@pytest.fixture
def there(made, bucket):
    """The same on S3."""
    bucket.put(made, "run/data")
    return f"{bucket.address}/run/data"


def test_it_tells_the_same_as_a_disk(made, there, bucket, tmp_path):
    """Records, wholeness, existence and digests, in the same words."""
    bucket.put(tmp_path / "run", "run")
    for below in ("", "background", "segments.txt", "nothing", "background/0.hdf5"):
        assert exists(f"{there}/{below}") == exists(made / below), below
    record = read_record(f"{there}/fetch.record.json")
    assert record == read_record(made / "fetch.record.json")
    assert read_record(f"{there}/query.record.json") is None
    assert is_whole(record, there)
    for below in ("background", "segments.txt"):
        assert recorded_digest(f"{there}/{below}") == input_digest(made / below)
    found = inventory.records_below(tmp_path / "run")
    assert inventory.records_below(there.removesuffix("/data")) == found
    assert list(found) == ["data/fetch.record.json"]


@pytest.mark.parametrize("change", ["cut short", "removed", "one more"])
def test_a_changed_directory_is_seen(there, bucket, change):
    """Once it is looked at again; a new file makes another input, though the output is whole."""
    record = read_record(f"{there}/fetch.record.json")
    assert is_whole(record, there)
    name = "run/data/background/" + ("new.hdf5" if change == "one more" else "3.hdf5")
    if change == "removed":
        bucket.client.delete_object(Bucket=bucket.name, Key=name)
    else:
        bucket.client.put_object(Bucket=bucket.name, Key=name, Body=b"half")
    assert is_whole(record, there)  # as it was seen

    inventory.forget()

    assert is_whole(record, there) == (change == "one more")
    assert recorded_digest(f"{there}/background") is None


def test_what_was_seen_is_not_believed_for_long(there, bucket, monkeypatch):
    """A process that goes on for days looks again."""
    assert exists(f"{there}/segments.txt")
    bucket.client.delete_object(Bucket=bucket.name, Key="run/data/segments.txt")
    read_record(f"{there}/fetch.record.json")

    monkeypatch.setattr(inventory, "SECONDS_TO_TRUST", 0.0)

    assert not exists(f"{there}/segments.txt")


def test_a_fork_looks_for_itself(there, bucket):
    """What a task's process sees is what is there when it begins."""
    assert not exists(f"{there}/new.txt")
    bucket.client.put_object(Bucket=bucket.name, Key="run/data/new.txt", Body=b"new")
    child = os.fork()
    if child == 0:
        os._exit(0 if exists(f"{there}/new.txt") else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_directory_is_listed_once(there, faulty):
    """And each record read once, whatever is asked of them and of folders in them."""
    for _ in range(3):
        record = read_record(f"{there}/fetch.record.json")
        assert is_whole(record, there)
        assert recorded_digest(f"{there}/background")
        assert exists(f"{there}/segments.txt")
        assert read_record(f"{there}/background/none.record.json") is None

    assert (faulty.asked("GET", "list-type"), faulty.asked("GET", "fetch.record.json")) == (1, 1)
    assert sum(faulty.requests.values()) == 2


def test_a_listing_has_a_request_a_page(bucket, faulty):
    """In proportion to thousands of files."""
    for n in range(1001):
        bucket.client.put_object(Bucket=bucket.name, Key=f"many/{n:04d}", Body=b"")

    assert len(Inventory().files(f"{bucket.address}/many")) == 1001
    assert sum(faulty.requests.values()) == 2


def test_what_lies_beside_an_input_of_ones_own_is_not_listed(bucket, faulty, tmp_path):
    """Neighbors are looked at by name, folders among them not at all."""
    for n in range(5):
        bucket.client.put_object(Bucket=bucket.name, Key=f"deep/archive/{n}", Body=b"")
    (tmp_path / "table.csv").write_text("ifo,event_time")
    bucket.put(tmp_path / "table.csv", "deep/table.csv")

    assert recorded_digest(f"{bucket.address}/deep/table.csv") is None
    assert exists(f"{bucket.address}/deep/table.csv")
    assert not exists(f"{bucket.address}/deep/table")
    assert not faulty.asked("GET", "deep%2Farchive")
    assert [path for method, path in faulty.requests if "delimiter" in path]


def test_who_does_not_answer_is_not_asked_for_the_next(bucket, faulty, monkeypatch):
    """Nobody is there: two attempts in all, whatever is asked."""
    faulty.add("cut upload", times=99)  # hangs up
    for below in ("data", "training", "results"):
        with pytest.raises(AframeError, match="the store cannot be reached"):
            read_record(f"{bucket.address}/{below}/fit.record.json")

    assert sum(faulty.requests.values()) == 2


def test_who_is_busy_is_asked_again(there, faulty):
    """As often as by a stage."""
    faulty.add("busy", times=3)

    assert read_record(f"{there}/fetch.record.json") is not None


def test_no_record_is_refused(there, bucket):
    """It names the address."""
    bucket.client.put_object(Bucket=bucket.name, Key="run/data/fetch.record.json", Body=b"{}")

    with pytest.raises(AframeError, match="a record cannot be read") as error:
        read_record(f"{there}/fetch.record.json")
    assert error.value.found.startswith(f"{there}/fetch.record.json")


def test_a_remote_looks_at_its_top_alone(there):
    """Folders are left out."""
    assert set(Remote(there).top()) == {"segments.txt", "fetch.record.json"}
