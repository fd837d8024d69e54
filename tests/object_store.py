"""A store that answers as S3 does, on this machine."""

import threading
import urllib.request
from pathlib import Path

import boto3
import pytest
from faulty_store import FaultyStore
from moto.server import ThreadedMotoServer

from aframe.artifacts.claim import Claim


class Bucket:
    """A bucket of the store on this machine.

    Args:
        address: ``s3://`` and its name.
        client: boto3's client.
    """

    def __init__(self, address, client):
        self.address = address
        self.client = client
        self.name = address.removeprefix("s3://")

    def put(self, path: Path, key: str):
        """Copy a file or directory there."""
        files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
        for file in files:
            below = "/".join([key, *file.relative_to(path).parts])
            self.client.put_object(Bucket=self.name, Key=below, Body=file.read_bytes())

    def get(self, key: str) -> bytes:
        """Content of an object."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def names(self, prefix: str = ""):
        """Names of the objects."""
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [each["Key"] for each in found.get("Contents", ())]


@pytest.fixture(scope="session")
def _store():
    """A server that answers as S3 does."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(_store, tmp_path, monkeypatch):
    """An empty bucket, on a machine with an empty cache; also for commands started from here."""
    environment = {
        "AWS_ENDPOINT_URL": _store,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "no secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AFRAME_CACHE_DIR": str(tmp_path / "cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    made = Bucket(f"s3://b{abs(hash(str(tmp_path))):x}", client)
    client.create_bucket(Bucket=made.name)
    yield made
    # Of a run that was killed in this process, the claim would go on to be renewed.
    for thread in threading.enumerate():
        owner = getattr(getattr(thread, "_target", None), "__self__", None)
        if isinstance(owner, Claim):
            owner._over.set()


@pytest.fixture
def faulty(bucket, _store, monkeypatch):
    """The same store, by way of one that has faults; *bucket* itself has none."""
    proxy = FaultyStore(_store)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    yield proxy
    proxy.stop()


@pytest.fixture
def keys_count(bucket, _store):
    """The store looks at keys, from now on: those of *bucket* are none that it knows."""

    def count_down(number):
        kind = {"Content-Type": "application/octet-stream"}
        where = f"{_store}/moto-api/reset-auth"
        request = urllib.request.Request(where, number.encode(), kind)  # noqa: S310
        urllib.request.urlopen(request).read()  # noqa: S310

    count_down("0")
    yield
    count_down("inf")
