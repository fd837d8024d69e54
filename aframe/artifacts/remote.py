"""Files on S3: listed, fetched once into a cache that a machine's processes share, sent whole.

boto3 is loaded by the first use of an address. Where the store is and who asks, it reads by
itself from the environment and ``~/.aws`` (``AWS_ENDPOINT_URL``, ``AWS_PROFILE`` …): no key
passes through here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import posixpath
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts.record import write_text
from aframe.errors import AframeError

log = logging.getLogger(__name__)

_SCHEME = "s3:"
_SIDE_BY_SIDE = 8
_ATTEMPTS = 8
_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10, 60
_AT_ONCE = 1000  # names that one request may remove
_MISSING = {"404", "NoSuchKey", "NotFound"}
_CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict", *_MISSING}


class Entry(NamedTuple):
    """An object: its size in bytes, and a tag that changes with its content."""

    size: int
    tag: str


class Sight(NamedTuple):
    """A small object as it is now: its content, tag, and seconds since it was written."""

    content: bytes
    tag: str
    age: float


def address(path: str | Path) -> str | None:
    """Give the address that *path* is, or ``None`` for a path of this machine.

    Example:
        >>> address(Path("s3://bucket/run"))  # of whose slashes pathlib leaves one
        's3://bucket/run'
        >>> address("data/train")
    """
    text = str(path)
    if not text.startswith(f"{_SCHEME}/"):
        return None
    return f"{_SCHEME}//{text.removeprefix(_SCHEME).strip('/')}"


def place(path: str | Path) -> str:
    """Write *path*, whichever way it is given: the address, or the absolute path."""
    return address(path) or str(Path(path).absolute())


def cache_directory() -> Path:
    """Where this machine keeps what it fetched: ``AFRAME_CACHE_DIR``, or in the user's cache."""
    named = os.environ.get("AFRAME_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named or f"{home}/aframe").expanduser().absolute()


def here(path: str | Path) -> Path:
    """Give the place on this machine where an output of *path* is made before it is sent."""
    at = address(path)
    return Path(path) if at is None else cache_directory() / at.removeprefix(f"{_SCHEME}//")


def copy_of(path: str | Path) -> Path:
    """Give the place on this machine of what lies at *path*, whether it was fetched or not.

    Each address has a folder of its own, in which lies nothing else: neither what a step of
    this machine made for the same address, nor a record fetched at another time.
    """
    at = address(path)
    if at is None:
        return Path(path)
    folder = hashlib.sha256(at.encode()).hexdigest()[:16]
    # No bucket's name begins with a dot.
    return cache_directory() / ".inputs" / folder / Path(at).name


def cached(path: str | Path) -> Path:
    """Give a file or directory of this machine with what lies at *path* now.

    Raises:
        AframeError: If nothing lies at the address, or its store refuses.
    """
    at = address(path)
    return Path(path) if at is None else fetch(at, copy_of(at))


def fetch(at: str, mine: Path) -> Path:
    """Bring *mine* to what lies at an address now.

    Only what is new there is fetched, by one process while the others wait.

    Args:
        at: The address.
        mine: File or directory of this machine.

    Returns:
        *mine*.

    Raises:
        AframeError: If nothing lies at the address, or its store refuses.
    """
    with locked(mine.with_name(f".{mine.name}.lock")):
        remote = Remote(at)
        there = remote.entries()
        if not there:
            raise AframeError(
                "an input is missing",
                found=f"nothing at {at}",
                wanted_by="the inputs",
                fix="correct the address, or copy the data there",
            )
        known = mine.with_name(f".{mine.name}.entries.json")
        _fetch(remote, mine, there, _read_entries(known))
        write_text(known, json.dumps(there))
    return mine


def _read_entries(path: Path) -> dict[str, Entry]:
    try:
        return {name: Entry(*entry) for name, entry in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}


def _fetch(remote: Remote, mine: Path, there: dict[str, Entry], known: dict[str, Entry]) -> None:
    """Bring the files below *mine* to those that are *there*."""
    for name in known.keys() - there.keys():
        (mine / name).unlink(missing_ok=True)
    new = [
        name for name, entry in there.items()
        if known.get(name) != entry or size(mine / name) != entry.size
    ]  # fmt: skip
    if new:
        total = sum(there[name].size for name in new)
        log.info("fetching %d files (%.3g GB) from %s", len(new), total / 1e9, remote.address)
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for _ in pool.map(lambda name: remote.download(name, mine / name), new):
            pass


def size(path: Path) -> int | None:
    """Size of a file in bytes, or ``None`` where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at *path* against the other processes of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Remote:
    """A directory on S3; its files are named relative to it, ``""`` is the object itself.

    Args:
        address: ``s3://bucket/key``.

    Raises:
        AframeError: If boto3 is not installed; by every method if the store refuses.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.bucket, _, self.prefix = address.removeprefix(f"{_SCHEME}//").partition("/")
        try:
            import boto3  # noqa: PLC0415 (a fifth of a second, and an extra)
            from botocore.config import Config  # noqa: PLC0415
        except ImportError as error:
            raise AframeError(
                "boto3 is not installed",
                found="no package boto3",
                wanted_by=address,
                fix="pip install 'aframe[s3]'",
            ) from error
        logging.getLogger("botocore").setLevel(logging.WARNING)
        settings = Config(
            connect_timeout=_SECONDS_TO_CONNECT,
            read_timeout=_SECONDS_TO_ANSWER,
            # Waits longer from one attempt to the next, by a random part.
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        )
        with self._explained():
            self._client: Any = boto3.client("s3", config=settings)

    def _key(self, name: str) -> str:
        return posixpath.join(self.prefix, name) if name else self.prefix

    def entries(self) -> dict[str, Entry]:
        """List the files, a request a thousand; empty where there is nothing."""
        start = f"{self.prefix}/" if self.prefix else ""
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start
            )
            found = {
                each["Key"].removeprefix(start): Entry(each["Size"], each["ETag"])
                for page in pages
                for each in page.get("Contents", ())
                if not each["Key"].endswith("/")  # what some tools leave for a folder
            }
        if not found and self.prefix:
            return self._itself()
        return found

    def _itself(self) -> dict[str, Entry]:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with self._explained():
            try:
                head = self._client.head_object(Bucket=self.bucket, Key=self.prefix)
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return {}
                raise
        return {"": Entry(head["ContentLength"], head["ETag"])}

    def download(self, name: str, path: Path) -> None:
        """Fetch the file *name* to *path*, whole or not at all."""
        draft = path.with_name(f".{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained(), draft.open("wb") as file:
            self._client.download_fileobj(self.bucket, self._key(name), file)
        draft.replace(path)

    def read(self, name: str) -> bytes:
        """Read the small file *name*."""
        with self._explained():
            return self._client.get_object(Bucket=self.bucket, Key=self._key(name))["Body"].read()

    def look(self, name: str) -> Sight | None:
        """Read the small file *name* with its tag and age; ``None`` where there is none."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with self._explained():
            try:
                answer = self._client.get_object(Bucket=self.bucket, Key=self._key(name))
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return None
                raise
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            age = (now - answer["LastModified"]).total_seconds()
            return Sight(answer["Body"].read(), answer["ETag"], age)

    def swap(self, name: str, content: bytes, tag: str | None) -> str | None:
        """Write the small file *name* if it still has *tag*, or with ``None`` if there is none.

        Returns:
            Its new tag, or ``None`` where another was faster.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415

        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with self._explained():
            try:
                answer = self._client.put_object(
                    Bucket=self.bucket, Key=self._key(name), Body=content, **condition
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _CONFLICT:
                    raise
            else:
                return str(answer["ETag"])
        # An attempt whose answer was lost may have written it.
        there = self.look(name)
        return there.tag if there and there.content == content else None

    def upload(self, path: Path, name: str) -> None:
        """Send the file at *path*; others see all of it or the one before."""
        # An open file stays what it is when another takes its name meanwhile.
        with self._explained(), path.open("rb") as file:
            self._client.upload_fileobj(file, self.bucket, self._key(name))

    def remove(self, names: Iterable[str]) -> None:
        """Remove files.

        Raises:
            AframeError: If the store keeps one; it names the first and why.
        """
        keys = [{"Key": self._key(name)} for name in names]
        for first in range(0, len(keys), _AT_ONCE):
            with self._explained():
                answer = self._client.delete_objects(
                    Bucket=self.bucket,
                    Delete={"Objects": keys[first : first + _AT_ONCE], "Quiet": True},
                )
            # Of each file by itself it says so under the status of success.
            if kept := answer.get("Errors"):
                raise AframeError(
                    "files on S3 cannot be removed",
                    found=f"{len(kept)} are kept, the first {kept[0]['Key']}: {kept[0]['Code']}",
                    wanted_by=self.address,
                    fix="let these credentials remove objects there, or choose another output",
                )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the store or boto3 refuses into an error that names the cure."""
        from boto3.exceptions import Boto3Error  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise AframeError(
                "a directory on S3 cannot be used",
                found=" ".join(str(error).split()),
                wanted_by=self.address,
                fix="check the address, AWS_ENDPOINT_URL, and the credentials (~/.aws/credentials, "
                "AWS_PROFILE); where the store is only busy, run the same command again",
            ) from error
