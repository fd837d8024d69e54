"""Ledgers: tables of waveforms, injections and events in HDF5."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Shaped

from aframe.artifacts.hdf5 import attributes, reading, writing
from aframe.errors import AframeError

_KIND = "a ledger"
#: Fields in which float32, good to 64 s at a GPS time, would lose the event.
GPS_TIMES = ("injection_time", "detection_time")
#: Metadata that read as ``None`` where a file does not have them.
METADATA = (
    "sample_rate",
    "duration",
    "right_pad",
    "num_injections",
    "ifos",
    "prior",
    "waveform_approximant",
    "minimum_frequency",
    "reference_frequency",
)
_GROUPS = ("parameters", "waveforms")
_BLOCK_BYTES = 2**25

Table = Shaped[np.ndarray, "row ..."]
Rows = slice | np.ndarray


@dataclass
class Ledger:
    """Rows of parameters and waveforms, and what holds for all of them.

    Args:
        parameters: Arrays by field; the first dimension counts the rows.
        waveforms: Arrays of strain by field, shape ``(row, time)``.
        metadata: Numbers, texts, lists of these, or ``None``, by field.

    Raises:
        AframeError: If two fields differ in their number of rows.
    """

    parameters: dict[str, Table] = field(default_factory=dict)
    waveforms: dict[str, Table] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {
            name: len(table) for name, table in {**self.parameters, **self.waveforms}.items()
        }
        if len(set(lengths.values())) > 1:
            raise _unequal("in memory", lengths)

    def __len__(self) -> int:
        return next(
            (len(table) for table in [*self.parameters.values(), *self.waveforms.values()]), 0
        )

    def __getitem__(self, rows: Rows) -> Ledger:
        """Take *rows*: a slice, a mask, or indices; the metadata stay."""
        return Ledger(
            {name: table[rows] for name, table in self.parameters.items()},
            {name: table[rows] for name, table in self.waveforms.items()},
            dict(self.metadata),
        )


def _unequal(where: str, lengths: Mapping[str, int]) -> AframeError:
    return AframeError(
        "the fields of a ledger differ in length",
        found=f"{where}: " + ", ".join(f"{name} {length}" for name, length in lengths.items()),
        wanted_by="one row an event or waveform",
        fix="run the step that makes it again",
    )


def read_metadata(path: Path) -> dict[str, Any]:
    """Read what holds for all rows, and their number as ``length``; no row is read.

    Raises:
        AframeError: If the file is no ledger.
    """
    with reading(path, _KIND) as file:
        return {**_metadata(file), "length": _length(file, path)}


def _metadata(file: h5py.File) -> dict[str, Any]:
    found = attributes(file)
    found.pop("schema_version", None)
    found.pop("length", None)
    return {**dict.fromkeys(METADATA), **found}


def _length(file: h5py.File, path: Path) -> int:
    """Number of rows, which all fields and the attribute ``length`` must share."""
    tables = {name: len(table) for group in _GROUPS for name, table in _tables(file, group).items()}
    lengths = {"length": int(file.attrs["length"]), **tables}
    if len(set(lengths.values())) > 1:
        raise _unequal(str(path), lengths)
    return lengths["length"]


def _tables(file: h5py.File, group: str) -> dict[str, h5py.Dataset]:
    return dict(file[group].items()) if group in file else {}


def read_ledger(
    path: Path,
    *,
    parameters: Sequence[str] | None = None,
    waveforms: Sequence[str] | None = None,
    rows: Rows | None = None,
) -> Ledger:
    """Read a ledger, or some of its fields and rows without loading the rest.

    Args:
        path: The file.
        parameters: Fields to read; ``None`` for all, ``()`` for none.
        waveforms: Fields to read; ``None`` for all, ``()`` for none.
        rows: Slice, mask or indices; ``None`` for all.

    Raises:
        AframeError: If the file is no ledger or lacks a field.
    """
    with reading(path, _KIND) as file:
        _length(file, path)
        tables = [
            {name: _rows(file[group][name], rows) for name in _chosen(file, group, asked)}
            for group, asked in zip(_GROUPS, (parameters, waveforms), strict=True)
        ]
        return Ledger(tables[0], tables[1], _metadata(file))


def _chosen(file: h5py.File, group: str, asked: Sequence[str] | None) -> Sequence[str]:
    found = _tables(file, group)
    missing = [name for name in asked or () if name not in found]
    if missing:
        raise KeyError(f"no {', '.join(missing)} among its {group} ({', '.join(found) or 'none'})")
    return list(found) if asked is None else asked


def _rows(dataset: h5py.Dataset, rows: Rows | None) -> Table:
    if rows is None or isinstance(rows, slice):
        return dataset[slice(None) if rows is None else rows]
    indices = np.arange(len(dataset))[rows]
    order = np.argsort(indices, kind="stable")
    table = np.empty((len(indices), *dataset.shape[1:]), dataset.dtype)
    # One read for each run of neighbors: h5py's own selection by list is far slower.
    for run in np.split(order, np.flatnonzero(np.diff(indices[order]) != 1) + 1):
        if run.size:
            table[run] = dataset[indices[run[0]] : indices[run[-1]] + 1]
    return table


def write_ledger(path: Path, ledger: Ledger) -> None:
    """Write a ledger, floats as float32 but for GPS times, whole or not at all."""
    with writing(path) as file:
        _write_metadata(file, ledger.metadata, len(ledger))
        for group in _GROUPS:
            for name, table in getattr(ledger, group).items():
                _dataset(file, f"{group}/{name}", np.asarray(table), len(table))[...] = table


@contextlib.contextmanager
def filling(
    path: Path, metadata: Mapping[str, Any], like: Mapping[str, Table], length: int
) -> Iterator[dict[str, h5py.Dataset]]:
    """Open a new ledger of *length* rows to fill piece by piece; it appears whole or not at all.

    Args:
        path: The file.
        metadata: What holds for all rows.
        like: Arrays by parameter, whose rows have the type and shape of those to come.
        length: Number of rows.
    """
    with writing(path) as file:
        _write_metadata(file, metadata, length)
        yield {
            name: _dataset(file, f"parameters/{name}", table, length)
            for name, table in like.items()
        }


def _write_metadata(file: h5py.File, metadata: Mapping[str, Any], length: int) -> None:
    file.attrs["length"] = length
    file.attrs.update({name: value for name, value in metadata.items() if value is not None})
    for group in _GROUPS:
        file.create_group(group)


def _dataset(file: h5py.File, name: str, like: Table | h5py.Dataset, length: int) -> h5py.Dataset:
    """Make a dataset for *length* rows like those of *like*."""
    exact = name.rpartition("/")[2] in GPS_TIMES
    kind = np.dtype(np.float64 if exact else np.float32) if like.dtype.kind == "f" else like.dtype
    return file.create_dataset(name, shape=(length, *like.shape[1:]), dtype=kind)


def merge_ledgers(
    paths: Sequence[Path], out: Path, *, summed: Sequence[str] = ("num_injections", "Tb")
) -> None:
    """Join ledgers in the order of *paths*, a block of rows at a time.

    Args:
        paths: Ledgers with the same fields and metadata.
        out: File to write, whole or not at all.
        summed: Metadata to add up; all others must agree.

    Raises:
        AframeError: If there is none, or fields or metadata differ.
    """
    paths = [Path(path) for path in paths]
    if not paths:
        raise AframeError(
            "there is nothing to merge",
            found="no ledgers",
            wanted_by=str(out),
            fix="run the step that makes them",
        )
    heads = [_head(path) for path in paths]
    for path, head in zip(paths[1:], heads[1:], strict=True):
        _refuse_different(paths[0], heads[0], path, head, summed)
    metadata, fields = heads[0]
    for name in summed:
        if metadata.get(name) is not None:
            metadata[name] = sum(head[0][name] for head in heads)
    lengths = [head[0].pop("length") for head in heads]
    with writing(Path(out)) as file:
        _write_metadata(file, metadata, sum(lengths))
        for path, begin in zip(paths, accumulate(lengths, initial=0), strict=False):
            for name, rows, table in _blocks(path, list(fields)):
                if name not in file:
                    _dataset(file, name, table, sum(lengths))
                file[name][begin + rows.start : begin + rows.stop] = table


def _head(path: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Read metadata, and the shape of a row of each field."""
    with reading(path, _KIND) as file:
        metadata = {**_metadata(file), "length": _length(file, path)}
        fields = {
            f"{group}/{name}": table.shape[1:]
            for group in _GROUPS
            for name, table in _tables(file, group).items()
        }
    return metadata, fields


def _refuse_different(
    first: Path,
    wanted: tuple[dict[str, Any], dict[str, tuple[int, ...]]],
    path: Path,
    found: tuple[dict[str, Any], dict[str, tuple[int, ...]]],
    summed: Sequence[str],
) -> None:
    """Refuse to join two ledgers whose fields, row shapes or metadata differ."""

    def agreed(head: tuple[dict[str, Any], Any]) -> dict[str, Any]:
        # What is summed need only be there in both or in neither.
        metadata = {name: value for name, value in head[0].items() if name != "length"}
        return {name: v is not None if name in summed else v for name, v in metadata.items()}

    ours, theirs = ({**agreed(head), **head[1]} for head in (wanted, found))
    wrong = [
        f"{name} {theirs.get(name)} (against {ours.get(name)})"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    if wrong:
        raise AframeError(
            "ledgers that differ cannot be merged",
            found=f"{path}: {'; '.join(wrong)}",
            wanted_by=f"agreement with {first}",
            fix="make all parts with the same settings",
        )


def _blocks(path: Path, fields: Sequence[str]) -> Iterator[tuple[str, slice, Table]]:
    """Read a ledger piece by piece; one empty piece for a field without rows."""
    with reading(path, _KIND) as file:
        for name in fields:
            dataset = file[name]
            row = max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])))
            step = max(1, _BLOCK_BYTES // row)
            for start in range(0, max(1, len(dataset)), step):
                rows = slice(start, min(start + step, len(dataset)))
                yield name, rows, dataset[rows]
