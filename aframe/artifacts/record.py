"""The record beside each output: what made it, from what, and when.

Standard library only, so that building a task can read records on any machine.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from aframe.errors import AframeError

SCHEMA_VERSION = 1
#: How names of records end.
RECORD = ".record.json"
#: In a draft: whose it is; and, once the verb has ended, its record, until all is in its place.
STAMP, PREPARED = ".digest", ".record.json"
#: Keys of a settings file that say where and how, never what.
RESERVED = ("inputs", "output", "resources")
#: Files from this size on (bytes) are told apart by size and time of change.
_LARGE = 1 << 26
#: How names of strain files end.
_STRAIN = {".gwf", ".hdf5", ".hdf", ".h5"}
#: A file that changed so lately (s) may change once more without its times showing it.
_SETTLED = 3.0
#: What :func:`one_look` has seen, by the question and the path.
_seen: ContextVar[dict[tuple[str, str], Any] | None] = ContextVar("_seen", default=None)


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

    def lists(self, below: str) -> bool:
        """Whether the file or folder *below* the output directory is, or holds, an output."""
        return below in self.outputs or below in self._folders

    def sizes_below(self, below: str) -> dict[str, int]:
        """Size of each output below a folder, by its path in it; of a file as ``""``."""
        if below not in self._sizes:
            self._sizes[below] = _part(self.sizes, below)
        return self._sizes[below]

    def digest_below(self, below: str) -> str:
        """Digest of an output, or of a folder that holds some."""
        if below in self.outputs:
            return self.outputs[below]
        if below not in self._digests:
            self._digests[below] = _combined(_part(self.outputs, below))
        return self._digests[below]

    @functools.cached_property
    def _folders(self) -> set[str]:
        found: set[str] = set()
        for folder in {name.rpartition("/")[0] for name in self.outputs}:
            parts = folder.split("/")
            found |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
        return found - {""}

    @functools.cached_property
    def _sizes(self) -> dict[str, dict[str, int]]:
        return {}

    @functools.cached_property
    def _digests(self) -> dict[str, str]:
        return {}

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
    return Path(output) / f"{verb}{RECORD}"


def draft_path(output: Path, verb: str) -> Path:
    """Directory below *output* in which *verb* writes until it publishes."""
    return Path(output) / f".draft-{verb}"


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


@contextlib.contextmanager
def one_look() -> Iterator[None]:
    """Look at each input and each folder of outputs once while it lasts.

    What was seen of one holds until the end, so that a hundred thousand files that several steps
    read are counted once. For what looks on and makes nothing, such as a plan; it ends before
    anything is made or waited for. One inside another is part of that one.
    """
    if _seen.get() is not None:
        yield
        return
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def look_again() -> None:
    """Believe nothing that the present :func:`one_look` has seen: something was made or removed."""
    if (seen := _seen.get()) is not None:
        seen.clear()


def _once(question: str, path: Path, ask: Callable[[Path], Any]) -> Any:
    seen = _seen.get()
    if seen is None:
        return ask(path)
    key = (question, str(path.absolute()))
    if key not in seen:
        seen[key] = ask(path)
    return seen[key]


def read_record(path: Path) -> Record | None:
    """Read the record at *path*, or ``None`` where there is none.

    A file is parsed once as long as it stays as it is, so what is given must not be changed.

    Raises:
        AframeError: If the file is not a record of this schema, or cannot be read.
    """
    try:
        # Opened, so that a disk of several machines tells what is there now.
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
        if time.time() - max(status.st_mtime, status.st_ctime) < _SETTLED:
            return parse_record(Path(path).read_bytes(), path)
        state = (status.st_dev, status.st_ino, status.st_size)
        return _parsed(str(path), *state, status.st_mtime_ns, status.st_ctime_ns)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise AframeError(
            "a record cannot be read",
            found=f"{path}: {error.strerror or error}",
            wanted_by="whoever looks at the output it belongs to",
            fix="correct the permissions or the path, or try again if its disk is out of reach",
        ) from error


@functools.lru_cache(maxsize=64)
def _parsed(path: str, *_state: int) -> Record:
    # What is read may be newer than the state; it is then found under a state that never returns.
    return parse_record(Path(path).read_bytes(), path)


def parse_record(text: str | bytes, path: Path | str) -> Record:
    """Read a record from its *text*.

    Args:
        text: Content of the file.
        path: Path or address of the file, for the error.

    Raises:
        AframeError: If it is not a record of this schema.
    """
    try:
        return _as_record(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise AframeError(
            "a record cannot be read",
            found=f"{path}: {error}",
            wanted_by=f"schema version {SCHEMA_VERSION} of the record",
            fix="put the file back as it was written, or move it aside with the output it belongs "
            "to and run its step again",
        ) from error


def _as_record(content: Any) -> Record:
    """Hold what a file says against the fields of a record.

    Raises:
        ValueError: It names the field that is wrong and what it is.
    """
    if not isinstance(content, dict):
        raise ValueError(  # noqa: TRY004 (one kind of error for all that is wrong with it)
            f"it is {_kind(content)}, not an object with the fields of a record"
        )
    if "schema_version" not in content:
        raise ValueError("`schema_version` is missing")
    if content["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"it is of schema version {json.dumps(content['schema_version'])}")
    known = {each.name: each.type for each in fields(Record)}
    if missing := [name for name in _REQUIRED if name not in content]:
        raise ValueError(f"`{missing[0]}` is missing")
    told = {name: value for name, value in content.items() if name != "digest"}
    for name, value in told.items():
        if name not in known:
            raise ValueError(f"`{name}` is no field of a record")
        _refuse_other(name, value, str(known[name]))
    _refuse_unlike(told["outputs"], told["sizes"])
    return Record(**told)


_REQUIRED = ("command", "settings", "inputs", "outputs", "sizes", "digest")
#: What fields are, as the annotations of a record have them, and what their values are.
_SHAPES: dict[str, tuple[type, tuple[type, ...]]] = {
    "str": (str, ()),
    "int": (int, ()),
    "dict[str, Any]": (dict, ()),
    "dict[str, str]": (dict, (str,)),
    "dict[str, int]": (dict, (int,)),
    "dict[str, float]": (dict, (int, float)),
}
_KINDS = {
    dict: "an object", list: "a list", str: "text", int: "a whole number", float: "a number",
    bool: "true or false", type(None): "null",
}  # fmt: skip


def _kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    return json.dumps(value) if isinstance(value, bool) else _KINDS[type(value)]


def _refuse_other(name: str, value: Any, annotation: str) -> None:
    """Refuse a field that is not what its annotation says."""
    whole: Any
    whole, each = _SHAPES[annotation]
    if type(value) is not whole:
        raise ValueError(f"`{name}` is {_kind(value)}, not {_KINDS[whole]}")
    # Of 100 000 files the types are compared at once.
    if each and not set(map(type, value.values())) <= set(each):
        key = next(key for key, told in value.items() if type(told) not in each)
        raise ValueError(f"`{name}.{key}` is {_kind(value[key])}, not {_KINDS[each[-1]]}")
    if name in ("started", "finished") and value:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"`{name}` is {json.dumps(value)}, not a time") from None
    if name == "notes":
        _refuse_notes(value)


def _refuse_notes(notes: Mapping[str, Any]) -> None:
    """Refuse notes of what was accepted that `aframe accept` did not write."""
    accepted = notes.get("accepted", [])
    if not isinstance(accepted, list):
        raise ValueError(f"`notes.accepted` is {_kind(accepted)}, not {_KINDS[list]}")  # noqa: TRY004
    for each in accepted:
        if not isinstance(each, dict) or not {"when", "who", "changes"} <= each.keys():
            raise ValueError("`notes.accepted` holds what has no `when`, `who` and `changes`")


def _refuse_unlike(outputs: Mapping[str, str], sizes: Mapping[str, int]) -> None:
    """Refuse outputs without a size."""
    if alone := outputs.keys() - sizes.keys():
        raise ValueError(f"`sizes` lacks {min(alone)}, which `outputs` lists")


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
    found: dict[str, dict[str, int | None]] = {}
    for top in {name.partition("/")[0] for name in record.sizes if "/" in name}:
        found[top] = _sizes_at(Path(output) / top)
        if record.sizes_below(top).items() <= found[top].items():
            continue
        # What is no output by its name, or below a link, is not found among them.
        if not all(
            found[top].get(name) == size or _size(f"{output}/{top}/{name}") == size
            for name, size in record.sizes_below(top).items()
        ):
            return False
    return all(
        _size(f"{output}/{name}") == size for name, size in record.sizes.items() if "/" not in name
    )


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (of 100 000 files, a path each takes most time)
    except OSError:
        return None


def input_digest(path: Path) -> str:
    """Digest of an input file or directory.

    Files that a record beside them names have their digest read from it; other
    files are hashed once and remembered for the life of the process.

    Raises:
        AframeError: If there is nothing at *path*.
    """
    digest: str = _once("digest", Path(path), _input_digest)
    return digest


def _input_digest(path: Path) -> str:
    known = _recorded(path)
    if known is not None:
        return known
    if path.is_dir():
        return _combined({name: file_digest(path / name) for name in _files(path)})
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
    path = path.absolute()
    for root in list(path.parents)[:3]:
        below = path.relative_to(root).as_posix()
        for candidate in sorted(root.glob(f"*{RECORD}")):
            record = read_record(candidate)
            if record is None or not record.lists(below):
                continue
            if (digest := digest_in(record, below, _sizes_at(path))) is not None:
                return digest
    return None


def digest_in(record: Record, below: str, sizes: Mapping[str, int | None]) -> str | None:
    """Digest of a file or folder that *record* lists, if it is as it was then.

    Args:
        record: What made it.
        below: Its path below the output directory.
        sizes: Size (bytes) of each file that is there now, by its path in the folder; of a file
            itself as ``""``.

    Returns:
        ``None`` if files are missing, have another size, or are new.
    """
    if not record.lists(below) or sizes != record.sizes_below(below):
        return None
    return record.digest_below(below)


def _part(named: Mapping[str, Any], below: str) -> dict[str, Any]:
    """What lies below a folder, by its path in it; a file itself as ``""``."""
    if below in named:
        return {"": named[below]}
    start = f"{below}/"
    return {name[len(start) :]: told for name, told in named.items() if name.startswith(start)}


def _combined(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(sorted(digests.items()))).encode()).hexdigest()


def _files(directory: Path | str, below: str = "") -> Iterator[str]:
    """Names of files below *directory*; not of scratch, nor of records, which have times."""
    return (name for name, _ in _entries(directory, below))


def _entries(directory: Path | str, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    # Of 10 000 files, a path object each would be most of the time.
    with os.scandir(directory) as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path, f"{name}/")
            elif entry.is_file() and not name.endswith(RECORD):
                yield name, entry


def _sizes_at(path: Path) -> dict[str, int | None]:
    """Size (bytes) of each file below *path*, by its path in it; of a file itself as ``""``."""
    sizes: dict[str, int | None] = _once("sizes", path, _count_sizes)
    return sizes


def _count_sizes(path: Path) -> dict[str, int | None]:
    if path.is_file():
        return {"": _size(str(path))}
    try:
        return {name: _size_of(entry) for name, entry in _entries(path)}
    except OSError:
        return {}


def _size_of(entry: os.DirEntry[str]) -> int | None:
    try:
        return entry.stat().st_size
    except OSError:
        return None


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
    directory = Path(directory)
    names = {
        name
        for entry in directory.iterdir()
        if not entry.name.startswith(".")
        for name in (_files(entry, f"{entry.name}/") if entry.is_dir() else [entry.name])
    }
    files = {name: directory / name for name in sorted(names) if (directory / name).is_file()}
    digests = {name: file_digest(path) for name, path in files.items()}
    return digests, {name: path.stat().st_size for name, path in files.items()}
