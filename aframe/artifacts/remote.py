"""Files on S3: listed, fetched and sent whole; and where this machine keeps what it fetched.

boto3 is loaded by the first use of an address.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import random
import time
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts.store import ATTEMPTS, CONFLICT, MISSING, client, code_of, explained
from aframe.errors import AframeError

_SCHEME = "s3:"
_AT_ONCE = 1000  # names that one request may remove
_PART = 1 << 23  # files from this size on (bytes) travel in parts of it
_LONGEST_WAIT = 20.0  # between attempts at one file (s)


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


def size(path: Path) -> int | None:
    """Size of a file in bytes, or ``None`` where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None


class Remote:
    """A directory on S3; its files are named relative to it, ``""`` is the object itself.

    Args:
        address: ``s3://bucket/key``.
        looking: Whether it is only to look, and soon to give up where nobody answers.

    Raises:
        AframeError: If there is no bucket in the address, or boto3 is not installed; by every
            method if the store refuses.
    """

    def __init__(self, address: str, *, looking: bool = False) -> None:
        self.address = address
        self.bucket, _, self.prefix = address.removeprefix(f"{_SCHEME}//").partition("/")
        if not self.bucket:
            raise AframeError(
                "an address has no bucket",
                found=address,
                wanted_by="the address of a directory on S3",
                fix="write it as s3://BUCKET/PATH",
            )
        self._client: Any = client(address, looking=looking)

    def _key(self, name: str) -> str:
        return posixpath.join(self.prefix, name) if name else self.prefix

    def entries(self) -> dict[str, Entry]:
        """List the files, a request a thousand; empty where there is nothing."""
        found = dict(self._listed())
        return found if found or not self.prefix else self.itself()

    def top(self) -> dict[str, Entry]:
        """List the files directly in the directory; none of its folders is looked into."""
        return dict(self._listed(Delimiter="/"))

    def _listed(self, **how: Any) -> Iterator[tuple[str, Entry]]:
        start = f"{self.prefix}/" if self.prefix else ""
        with explained(self.address):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start, **how
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    if not each["Key"].endswith("/"):  # what some tools leave for a folder
                        yield each["Key"].removeprefix(start), Entry(each["Size"], each["ETag"])

    def itself(self) -> dict[str, Entry]:
        """Give the object that the address itself is, by the name ``""``, if it is one."""
        with explained(self.address):
            head = self._or_none(self._client.head_object, Key=self.prefix)
        return {"": Entry(head["ContentLength"], head["ETag"])} if head else {}

    def exists(self) -> bool:
        """Whether there is an object or a directory, in two requests at most."""
        if self.prefix and self.itself():
            return True
        start = f"{self.prefix}/" if self.prefix else ""
        with explained(self.address):
            page = self._client.list_objects_v2(Bucket=self.bucket, Prefix=start, MaxKeys=1)
        return bool(page.get("Contents"))

    def _or_none(self, request: Any, **what: Any) -> Any:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            return request(Bucket=self.bucket, **what)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise

    def download(self, name: str, path: Path, entry: Entry | None = None) -> None:
        """Fetch the file *name* to *path*, whole or not at all.

        Args:
            name: The file.
            path: Where to.
            entry: What it is to be, if that is known.

        Raises:
            AframeError: If it is something else by now.
        """
        draft = path.with_name(f".{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with explained(self.address):
            if entry is not None and entry.size < _PART:
                draft.write_bytes(self._whole(name, IfMatch=entry.tag)[1])
            else:
                self._in_parts(name, draft)
        if entry is not None and size(draft) != entry.size:
            raise AframeError(
                "a file on S3 changed while it was read",
                found=f"{name} has {size(draft)} bytes, and had {entry.size}",
                wanted_by=self.address,
                fix="let whoever writes there end, then run the same command again",
            )
        draft.replace(path)

    def _in_parts(self, name: str, path: Path) -> None:
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

        # What is cut is fetched again, part by part; each is held against its checksum.
        how = TransferConfig(_PART, multipart_chunksize=_PART, num_download_attempts=ATTEMPTS)
        self._client.download_file(self.bucket, self._key(name), str(path), Config=how)

    def _whole(self, name: str, **condition: str) -> tuple[dict[str, Any], bytes]:
        """Give a small object's answer and content, asked for again where it is cut short."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError  # noqa: PLC0415

        for attempt in range(ATTEMPTS):
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(name), **condition)
            try:
                return answer, answer["Body"].read()
            except (HTTPClientError, IncompleteReadError):
                if attempt == ATTEMPTS - 1:
                    raise
                wait = min(2.0**attempt, _LONGEST_WAIT) * random.random()  # noqa: S311 - no secret
                time.sleep(wait)
        raise AssertionError  # the last attempt returns or raises

    def read(self, name: str) -> bytes:
        """Read the small file *name*."""
        with explained(self.address):
            return self._whole(name)[1]

    def look(self, name: str) -> Sight | None:
        """Read the small file *name* with its tag and age; ``None`` where there is none."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with explained(self.address):
            try:
                answer, content = self._whole(name)
            except ClientError as error:
                if code_of(error) in MISSING:
                    return None
                raise
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            age = (now - answer["LastModified"]).total_seconds()
            return Sight(content, answer["ETag"], age)

    def swap(self, name: str, content: bytes, tag: str | None) -> str | None:
        """Write the small file *name* if it still has *tag*, or with ``None`` if there is none.

        Returns:
            Its new tag, or ``None`` where another was faster.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415

        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        with explained(self.address):
            try:
                answer = self._client.put_object(
                    Bucket=self.bucket, Key=self._key(name), Body=content, **condition
                )
            except ClientError as error:
                if code_of(error) not in CONFLICT:
                    raise
            else:
                return str(answer["ETag"])
        # An attempt whose answer was lost may have written it.
        there = self.look(name)
        return there.tag if there and there.content == content else None

    def upload(self, path: Path, name: str) -> str:
        """Send the file at *path*; others see all of it or the one before.

        Returns:
            Its tag there.
        """
        # An open file stays what it is when another takes its name meanwhile.
        with explained(self.address), path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < _PART:
                return str(self._put(name, file.read())["ETag"])
            from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

            how = TransferConfig(_PART, multipart_chunksize=_PART)
            self._client.upload_fileobj(file, self.bucket, self._key(name), Config=how)
            head = self._client.head_object(Bucket=self.bucket, Key=self._key(name))
            return str(head["ETag"])

    def _put(self, name: str, content: bytes) -> Any:
        return self._client.put_object(Bucket=self.bucket, Key=self._key(name), Body=content)

    def abandon(self, names: Iterable[str]) -> None:
        """Drop the parts of *names* that killed uploads left; the store would keep and bill them.

        Only who holds the claim on the output may do so. A store that cannot list them keeps them.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415

        keys = {self._key(name) for name in names}
        with explained(self.address), contextlib.suppress(ClientError):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self.bucket, Prefix=f"{self.prefix}/" if self.prefix else ""
            )
            left = [each for page in pages for each in page.get("Uploads", ())]
            for each in left:
                if each["Key"] in keys:
                    self._client.abort_multipart_upload(
                        Bucket=self.bucket, Key=each["Key"], UploadId=each["UploadId"]
                    )

    def remove(self, names: Iterable[str]) -> None:
        """Remove files.

        Raises:
            AframeError: If the store keeps one; it names the first and why.
        """
        keys = [{"Key": self._key(name)} for name in names]
        for first in range(0, len(keys), _AT_ONCE):
            with explained(self.address):
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
