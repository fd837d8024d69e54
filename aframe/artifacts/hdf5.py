"""HDF5 files that appear whole and are refused where they are not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aframe.errors import AframeError

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


@contextlib.contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """Open a new HDF5 file that becomes *path* when the block ends well, or never."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.draft")
    try:
        with h5py.File(draft, "w") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            yield file
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def attributes(node: h5py.HLObject) -> dict[str, Any]:
    """All attributes of *node* as plain Python numbers, texts and lists."""
    return {name: _plain(value) for name, value in node.attrs.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value
