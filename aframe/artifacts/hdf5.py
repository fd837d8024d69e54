"""HDF5 files that appear whole and are refused where they are not."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from aframe.errors import AframeError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

SCHEMA_VERSION = 1


@contextlib.contextmanager
def reading(path: Path, kind: str) -> Iterator[h5py.File]:
    """Open the HDF5 file *path*; a fault met while it is open is told as that of a *kind*.

    Args:
        path: The file.
        kind: What the file should be, such as ``"a strain file"``.

    Raises:
        AframeError: If the file is missing, truncated, foreign or of a newer schema.
    """
    if not Path(path).exists():
        raise AframeError(
            f"{kind} is missing",
            found=f"{path} does not exist",
            wanted_by=f"the reader of {kind}",
            fix="run the step that makes it, or give the right path",
        )
    try:
        with h5py.File(path, "r") as file:
            version = int(file.attrs.get("schema_version", SCHEMA_VERSION))
            if version > SCHEMA_VERSION:
                raise ValueError(f"schema version {version}")
            yield file
    except (OSError, KeyError, ValueError) as error:
        raise AframeError(
            f"{kind} cannot be read",
            found=f"{path}: {_said(error)}",
            wanted_by=f"the reader of {kind}, schema version {SCHEMA_VERSION} or none",
            fix="remove the file and run the step that makes it, or give the right path",
        ) from error


def _said(error: BaseException) -> str:
    # str(KeyError) is the repr of its message.
    return str(error.args[0]) if isinstance(error, KeyError) else str(error)


class _Draft(io.FileIO):
    """A new file that remembers a failed write, and hides it from HDF5.

    HDF5 loses a failure that it meets while it frees a dataset, so that a spoiled file
    would seem whole, and may crash later in the same process.
    """

    failure: OSError | None = None

    def write(self, data: Buffer) -> int:
        """Write all of *data*, or remember why not."""
        left = memoryview(data).cast("B")
        size = left.nbytes
        try:
            while left.nbytes:
                left = left[super().write(left) :]
        except OSError as error:
            self.failure = self.failure or error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the length, or remember why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return self.tell() if size is None else size


@contextlib.contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """Open a new HDF5 file that becomes *path* when the block ends well, or never.

    Raises:
        OSError: If the disk is full or refuses the file, at the end of the block.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.draft")
    try:
        with _Draft(draft, "w+") as raw, _failing_as(raw), h5py.File(raw, "w") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            yield file
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _failing_as(draft: _Draft) -> Iterator[None]:
    """End with the failure of *draft*, if it had one, whatever HDF5 made of it."""
    try:
        yield
    finally:
        if draft.failure is not None:
            raise OSError(draft.failure.errno, draft.failure.strerror, draft.name)


def attributes(node: h5py.HLObject) -> dict[str, Any]:
    """All attributes of *node* as plain Python numbers, texts and lists."""
    return {name: _plain(value) for name, value in node.attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value
