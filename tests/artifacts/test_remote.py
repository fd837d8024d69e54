"""Files on S3, from a server on this machine that answers as S3 does."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from aframe.artifacts import remote as module
from aframe.artifacts import store
from aframe.artifacts.cache import cached
from aframe.artifacts.remote import Remote, address, cache_directory, here
from aframe.errors import AframeError


@pytest.fixture
def data(bucket, tmp_path):
    """A directory of three files in the bucket."""
    home = tmp_path / "original"
    (home / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "deep/c.txt"):
        (home / name).write_text(name)
    bucket.put(home, "my/data")
    return f"{bucket.address}/my/data"


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize("given", ["s3://b/k", "s3://b/k/", "s3:/b/k", Path("s3://b/k")])
def test_an_address_survives_pathlib(given):
    """Whatever made of the slashes, it is the same place."""
    assert address(given) == "s3://b/k"


@pytest.mark.parametrize("given", ["/data", "data", "s3", Path("/s3:/x"), ""])
def test_a_path_is_no_address(given):
    assert address(given) is None


def test_the_cache_is_where_the_variable_says(monkeypatch, tmp_path):
    """And otherwise where users' caches are."""
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path))
    assert here("s3://b/k/x.txt") == tmp_path / "b/k/x.txt"
    assert here("data/x.txt") == Path("data/x.txt")
    monkeypatch.delenv("AFRAME_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_directory() == Path("/caches/aframe")


def test_a_directory_is_fetched_once(data, caplog):
    """All its files with their content; the second time nothing is fetched."""
    with caplog.at_level(logging.INFO):
        found = cached(data)
        assert cached(Path(data)) == found

    assert contents(found) == {name: name for name in ("a.txt", "b.txt", "deep/c.txt")}
    assert caplog.text.count("fetching") == 1


def test_a_file_is_fetched(data):
    """An address may be that of one object."""
    assert cached(f"{data}/b.txt").read_text() == "b.txt"


def test_only_what_changed_is_fetched_again(data, bucket, caplog):
    """New content comes, what was removed goes, also a file that was cut short here."""
    found = cached(data)
    bucket.client.put_object(Bucket=bucket.name, Key="my/data/a.txt", Body=b"A.txt")
    bucket.client.delete_object(Bucket=bucket.name, Key="my/data/b.txt")
    (found / "deep/c.txt").write_text("dee")
    with caplog.at_level(logging.INFO):
        cached(data)

    assert contents(found) == {"a.txt": "A.txt", "deep/c.txt": "deep/c.txt"}
    assert "fetching 2 files" in caplog.text


def test_processes_share_one_fetch(data):
    """Of several that want it at once one fetches, and the others find it."""
    program = (
        "import logging, sys; logging.basicConfig(level=logging.INFO);"
        "from aframe.artifacts.cache import cached;"
        "print(sorted(each.name for each in cached(sys.argv[1]).glob('*.txt')))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, data],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    said = [process.communicate() for process in processes]

    assert {out for out, _ in said} == {"['a.txt', 'b.txt']\n"}
    assert sum(err.count("fetching 3 files") for _, err in said) == 1


def test_long_listings_have_pages(bucket, monkeypatch):
    """More files than an answer holds are all found, and all removed."""
    remote = Remote(f"{bucket.address}/many")
    for number in range(5):
        bucket.client.put_object(Bucket=bucket.name, Key=f"many/{number}", Body=b"x")
    bucket.client.put_object(Bucket=bucket.name, Key="many-others", Body=b"y")
    pages = remote._client.get_paginator("list_objects_v2")
    paginate = pages.paginate
    monkeypatch.setattr(
        pages, "paginate", lambda **o: paginate(**o, PaginationConfig={"PageSize": 2})
    )
    monkeypatch.setattr(remote._client, "get_paginator", lambda _: pages)
    monkeypatch.setattr(module, "_AT_ONCE", 2)

    assert sorted(remote.entries()) == list("01234")
    remote.remove(remote.entries())
    assert bucket.names() == ["many-others"]


def test_says_what_the_store_keeps(bucket, monkeypatch):
    """It answers a removal with success, and lists what it did not remove."""
    remote = Remote(bucket.address)
    answer = {"Errors": [{"Key": "x", "Code": "AccessDenied", "Message": "no"}]}
    monkeypatch.setattr(remote._client, "delete_objects", lambda **_: answer)

    with pytest.raises(AframeError, match="files on S3 cannot be removed") as error:
        remote.remove(["x"])
    assert error.value.found == "1 are kept, the first x: AccessDenied"


def test_a_whole_bucket_is_a_directory(data, bucket):
    """Its address has no key; of what is not there it says so."""
    assert data.startswith(bucket.address)
    assert Remote(bucket.address).exists()
    assert not Remote(f"{bucket.address}/none").exists()


def test_an_upload_sends_the_file_that_was_there(bucket, tmp_path):
    """A file that takes its name meanwhile is not mixed in."""
    path = tmp_path / "x"
    path.write_bytes(b"old")
    remote = Remote(bucket.address)
    send = remote._client.upload_fileobj

    def replaced(file, *where):
        (tmp_path / "y").write_bytes(b"new!")
        (tmp_path / "y").replace(path)
        send(file, *where)

    remote._client.upload_fileobj = replaced
    remote.upload(path, "deep/x")

    assert bucket.get("deep/x") == b"old"
    assert remote.read("deep/x") == b"old"


def test_refuses_an_address_with_nothing(bucket):
    """It names the address."""
    with pytest.raises(AframeError, match="an input is missing") as error:
        cached(f"{bucket.address}/nothing")

    assert error.value.found == f"nothing at {bucket.address}/nothing"


def test_says_what_the_store_refuses(bucket):
    """A bucket that is not there, with the address and no traceback."""
    with pytest.raises(AframeError, match="there is no such bucket") as error:
        cached("s3://no-such-bucket/data")

    assert "NoSuchBucket" in error.value.found
    assert error.value.wanted_by.startswith("s3://no-such-bucket/data at http://127.0.0.1:")
    assert error.value.fix.endswith("make it: aws s3 mb s3://no-such-bucket")


def test_says_that_nobody_answers(bucket, monkeypatch):
    """No server at the endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(store, "ATTEMPTS", 1)

    with pytest.raises(AframeError, match="the store cannot be reached") as error:
        cached(f"{bucket.address}/data")

    assert "127.0.0.1:9" in error.value.found
    assert "AWS_ENDPOINT_URL" in error.value.fix


def test_without_credentials_it_says_where_they_belong(data, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(AframeError, match="there are no credentials for S3") as error:
        cached(data)

    assert "credentials" in error.value.found
    assert "~/.aws/credentials" in error.value.fix


def test_says_what_to_install(monkeypatch):
    """boto3 is an extra."""
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(AframeError, match="boto3 is not installed") as error:
        Remote("s3://b/k")

    assert error.value.fix == "pip install 'aframe[s3]'"
