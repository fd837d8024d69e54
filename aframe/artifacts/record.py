"""The record beside each output: what made it, from what, and when.

Standard library only, so that building a task can read records on any machine.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aframe.errors import AframeError

SCHEMA_VERSION = 1
#: Keys of a settings file that say where and how, never what.
RESERVED = ("inputs", "output", "resources")
#: Files from this size on (bytes) are told apart by size and time of change.
_LARGE = 1 << 26
#: How names of strain files end.
_STRAIN = {".gwf", ".hdf5", ".hdf", ".h5"}


@dataclass(frozen=True)
class Record:
    """What made a set of output files.

    Args:
        command: The stage and verb, such as ``aframe-data fetch``.
        settings: Every setting that matters to the result.
        inputs: Digest of each input by its name.
        outputs: Digest of each published file by its path below the output directory.
        sizes: Size in bytes of each published file, to see at once that it is still whole.
        versions: Versions of Python, aframe and the stage's dependencies.
        git: Commit of the checkout, with ``+changes`` where it was edited; empty outside one.
        host: Name of the machine.
        started: UTC time at which the run began, ISO 8601.
        finished: UTC time at which the files were published, ISO 8601.
        notes: What the verb itself found worth keeping (parity, counts, livetime …).
        places: Path or address of each input by its name, which tells apart what is not at hand,
            and path of the ``output``, with which inputs may have been moved.
        usage: What the step used: ``wall``, ``cpu``, ``gpu`` and ``queue`` (s), ``peak_memory``,
            ``bytes_read`` and ``bytes_written`` (bytes), ``branches`` and ``workers``.
    """

    command: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]
    sizes: dict[str, int]
    versions: dict[str, str] = field(default_factory=dict)
    git: str = ""
    host: str = ""
    started: str = ""
    finished: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @property
    def digest(self) -> str:
        """Digest of the settings and inputs that matter."""
        return settings_digest(self.settings, self.inputs)

    @property
    def seed(self) -> int | None:
        """The seed of the run, where it had one."""
        return self.settings.get("seed")


def record_path(output: Path, verb: str) -> Path:
    """Path of the record that *verb* keeps in the directory *output*."""
    return Path(output) / f"{verb}.record.json"


def write_record(path: Path, record: Record) -> None:
    """Write *record* to *path*, whole or not at all."""
    write_text(path, record_text(record))


def record_text(record: Record) -> str:
    """Content of a record's file."""
    return json.dumps({**asdict(record), "digest": record.digest}, indent=2) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write *text* to *path*, whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


def read_record(path: Path) -> Record | None:
    """Read the record at *path*, or ``None`` where there is none.

    Raises:
        AframeError: If the file is not a record of this schema.
    """
    try:
        return parse_record(Path(path).read_bytes(), path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def parse_record(text: str | bytes, path: Path | str) -> Record:
    """Read a record from its *text*.

    Args:
        text: Content of the file.
        path: Path or address of the file, for the error.

    Raises:
        AframeError: If it is not a record of this schema.
    """
    try:
        content = json.loads(text)
        version = content.pop("schema_version")
        content.pop("digest")
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}")
        return Record(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AframeError(
            "a record cannot be read",
            found=f"{path}: {error}",
            wanted_by=f"schema version {SCHEMA_VERSION} of the record",
            fix="move the output it belongs to aside and run its step again",
        ) from error


def canonical(value: Any) -> Any:
    """Bring *value* to plain JSON: tuples to lists, paths to text, whole floats stay floats."""
    return json.loads(json.dumps(value, default=str, sort_keys=True))


def settings_digest(settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """Digest of what decides a result: its settings and the digests of its inputs."""
    text = _equalized({"settings": canonical(settings), "inputs": dict(inputs)})
    return hashlib.sha256(text.encode()).hexdigest()


def _equalized(value: Any) -> str:
    """Give the same text to values that mean the same."""
    return json.dumps(_normal(value), sort_keys=True)


def _normal(value: Any) -> Any:
    # A `.cfg` may say 2 or 2.0; a setting that is newer than a record is None in effect.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items() if item is not None}
    return value


def differences(
    record: Record, settings: Mapping[str, Any], inputs: Mapping[str, str]
) -> list[str]:
    """Say which settings and inputs differ from those in *record*.

    Returns:
        One line a difference, ``name: old -> new``; empty where the output is current.
    """
    lines = [
        f"{name}: {_shown(old)} -> {_shown(new)}"
        for name, old, new in _changes(record.settings, canonical(settings))
    ]
    lines += [
        f"input {name}: its content changed ({str(old)[:8]} -> {str(new)[:8]})"
        for name, old, new in _changes(record.inputs, dict(inputs))
    ]
    return lines


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from ((f"{name}.{key}", a, b) for key, a, b in _changes(before, after))
        elif _equalized(before) != _equalized(after):
            yield name, before, after


def _shown(value: Any) -> str:
    return json.dumps(value)


def is_whole(record: Record, output: Path) -> bool:
    """Whether every file of *record* lies below *output* with its size."""
    # Of 100 000 files, a path object each would be most of the time.
    return all(_size(os.path.join(output, name)) == size for name, size in record.sizes.items())  # noqa: PTH118


def _size(path: Path | str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return None


def input_digest(path: Path) -> str:
    """Digest of an input file or directory.

    Files that a record beside them names have their digest read from it; other
    files are hashed once and remembered for the life of the process.

    Raises:
        AframeError: If there is nothing at *path*.
    """
    path = Path(path)
    known = _recorded(path)
    if known is not None:
        return known
    if path.is_dir():
        return _combined({str(name.relative_to(path)): file_digest(name) for name in _files(path)})
    if not path.is_file():
        raise AframeError(
            "an input is missing",
            found=f"{path} does not exist",
            wanted_by="the `inputs` of the settings file",
            fix="run the step that makes it, or correct the path",
        )
    return file_digest(path)


def _recorded(path: Path) -> str | None:
    """Digest of *path* from a record one or two folders up that lists it with its size."""
    for root in list(path.absolute().parents)[:3]:
        for candidate in sorted(root.glob("*.record.json")):
            record = read_record(candidate)
            if record is None:
                continue
            below = path.absolute().relative_to(root).as_posix()
            if any(name == below or name.startswith(f"{below}/") for name in record.outputs):
                there = [path] if path.is_file() else _files(path)
                sizes = {
                    each.absolute().relative_to(root).as_posix(): _size(each) for each in there
                }
                if (digest := digest_in(record, below, sizes)) is not None:
                    return digest
    return None


def digest_in(record: Record, below: str, sizes: Mapping[str, int | None]) -> str | None:
    """Digest of a file or folder that *record* lists, if it is as it was then.

    Args:
        record: What made it.
        below: Its path below the output directory.
        sizes: Size of each file that is there now, at or below *below* (bytes).

    Returns:
        ``None`` if files are missing, have another size, or are new.
    """
    mine = {
        name: digest
        for name, digest in record.outputs.items()
        if name == below or name.startswith(f"{below}/")
    }
    if not mine or dict(sizes) != {name: record.sizes[name] for name in mine}:
        return None
    if below in mine:
        return mine[below]
    return _combined({name[len(below) + 1 :]: digest for name, digest in mine.items()})


def _combined(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(sorted(digests.items()))).encode()).hexdigest()


def _files(directory: Path) -> list[Path]:
    """Files below *directory*, but for scratch, and records, whose times are not content."""
    return sorted(
        path
        for path in Path(directory).rglob("[!.]*")
        if path.is_file()
        and not path.name.endswith(".record.json")
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    status = path.stat()
    return _file_digest(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _file_digest(path: str, _size: int, _mtime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named_inputs(settings: Mapping[str, Any]) -> dict[str, str]:
    """Digests of what settings name that is no path of their ``inputs``.

    Args:
        settings: Their ``source`` may name files, their ``prior`` or ``source_prior`` a factory.
    """
    prior = settings.get("prior") or settings.get("source_prior")
    return source_input(settings.get("source")) | prior_input(prior)


def prior_input(name: str | None) -> dict[str, str]:
    """Digest of the module that a population of the user's own is made by, as the input ``prior``.

    Only the module's own file counts, not what it imports. Empty for a population of
    aframe's, and where the module cannot be found: the stage refuses that one.

    Args:
        name: Dotted path of a factory.
    """
    module = (name or "").rpartition(".")[0]
    if module in ("", "aframe.priors"):
        return {}
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return {}
    path = Path(found.origin or "") if found else Path()
    return {"prior": file_digest(path)} if path.is_file() else {}


def source_input(source: Mapping[str, Any] | None) -> dict[str, str]:
    """Digest of the files that a source of strain names, as the input ``source``.

    Empty where there is no source, or none that names files. A file of 64 MiB or more
    counts by size and time of change: an archive is not read to plan a run.

    Args:
        source: Its ``paths`` may be patterns; its ``psds`` may be files or names.
    """
    source = source or {}
    named = {path for pattern in source.get("paths") or () for path in strain_files(pattern)}
    curves = [Path(curve).expanduser() for curve in (source.get("psds") or {}).values()]
    files = [path for path in (*named, *curves) if path.is_file()]
    digests = {str(path): _light_digest(path) for path in files}
    return {"source": _combined(digests)} if digests else {}


def strain_files(pattern: str) -> list[Path]:
    """Files that a source names by *pattern*, sorted: what it matches, and the strain in folders.

    Args:
        pattern: Of shells, with ``**`` for any number of folders; a folder stands for the files
            below it whose names end as those of HDF5 or frames do.
    """
    matched = map(Path, glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207
    found = {one for path in matched for one in (_strain_below(path) if path.is_dir() else [path])}
    return sorted(found)


def _strain_below(folder: Path) -> list[Path]:
    files = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return [one for one in files if one.suffix in _STRAIN and not one.name.startswith(".")]


def _light_digest(path: Path) -> str:
    status = path.stat()
    return (
        file_digest(path) if status.st_size < _LARGE else f"{status.st_size} {status.st_mtime_ns}"
    )


def output_digests(directory: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Digest and size of every published file below *directory*, scratch left out."""
    files = {
        str(path.relative_to(directory)): path
        for entry in sorted(Path(directory).iterdir())
        if not entry.name.startswith(".")
        for path in ([entry] if entry.is_file() else _files(entry))
    }
    digests = {name: file_digest(path) for name, path in files.items()}
    return digests, {name: path.stat().st_size for name, path in files.items()}
