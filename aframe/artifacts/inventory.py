"""What lies in directories, on this machine or on S3, by names, sizes and records alone.

Of a directory on S3 one listing and its records are read, and no data; what is asked of it soon
after is answered from these.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts import record as of_machine
from aframe.artifacts.record import RECORD, Record, digest_in, parse_record
from aframe.artifacts.remote import Entry, Remote, address
from aframe.artifacts.store import NoAnswerError

#: For how long what was seen of a store is believed (s).
SECONDS_TO_TRUST = 120.0
_SIDE_BY_SIDE = 8


class _Seen(NamedTuple):
    """An answer of a store, or that there was none.

    Args:
        since: When it was asked (s).
        answer: What it said.
        error: That it did not.
    """

    since: float
    answer: Any = None
    error: NoAnswerError | None = None


class Inventory:
    """What lies at addresses, as it was when it was first asked for.

    Args:
        looking: Whether it is to plan, and soon to give up where nobody answers.
    """

    def __init__(self, *, looking: bool = False) -> None:
        self.looking = looking
        self._seen: dict[tuple[str, str], _Seen] = {}

    def _ask(self, kind: str, at: str, ask: Callable[[Remote], Any]) -> Any:
        """Ask a store once; a store that did not answer is not asked for another directory."""
        bucket = at.removeprefix("s3://").partition("/")[0]
        for key in ((kind, at), ("no answer", bucket)):
            if self._is_seen(*key):
                seen = self._seen[key]
                if seen.error is not None:
                    raise seen.error
                return seen.answer
        try:
            answer = ask(Remote(at, looking=self.looking))
        except NoAnswerError as error:
            if self.looking:
                self._seen["no answer", bucket] = _Seen(time.monotonic(), error=error)
            raise
        self._seen[kind, at] = _Seen(time.monotonic(), answer)
        return answer

    def _is_seen(self, kind: str, at: str) -> bool:
        seen = self._seen.get((kind, at))
        return seen is not None and time.monotonic() - seen.since < SECONDS_TO_TRUST

    def _held(self, at: str) -> dict[str, Entry] | None:
        """Files below an address, if one listing has shown them."""
        parts = at.split("/")
        for depth in range(len(parts), 2, -1):
            home = "/".join(parts[:depth])
            if self._is_seen("list", home):
                below = self._seen["list", home].answer
                start = "/".join([*parts[depth:], ""])
                if start == "":
                    return below
                return {n.removeprefix(start): e for n, e in below.items() if n.startswith(start)}
        return None

    def files(self, at: str) -> dict[str, Entry]:
        """List the files below an address; the object itself is ``""``."""
        held = self._held(at)
        return self._ask("list", at, Remote.entries) if held is None else held

    def _top(self, at: str) -> dict[str, Entry]:
        held = self._held(at)
        return self._ask("top", at, Remote.top) if held is None else held

    def records(self, at: str, names: Iterable[str]) -> dict[str, Record]:
        """Read the records *names* of the directory at an address."""

        def read(name: str) -> Record:
            whole = f"{at}/{name}"
            return self._ask("record", whole, lambda each: parse_record(each.read(""), whole))

        listed = sorted(names)
        new = [name for name in listed if not self._is_seen("record", f"{at}/{name}")]
        if len(new) > 1:
            with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
                list(pool.map(read, new))
        return {name: read(name) for name in listed}

    def listed(self, at: str) -> tuple[Record, str] | None:
        """Give the record beside *at* that lists it, and its name there."""
        directory, _, name = at.rpartition("/")
        if directory in ("s3:/", ""):
            return None
        beside = [each for each in self._top(directory) if _is_record(each) and "/" not in each]
        for record in self.records(directory, beside).values():
            if record.lists(name):
                return record, name
        return None

    def digest(self, at: str) -> str | None:
        """Digest of an input, from the record beside it; ``None`` where none lists it as it is."""
        found = self.listed(at)
        if found is None:
            return None
        record, name = found
        if name in record.outputs:
            beside = self._top(at.rpartition("/")[0])
            sizes = {"": beside[name].size} if name in beside else {}
        else:
            sizes = {
                each: entry.size
                for each, entry in self.files(at).items()
                if not _is_record(each) and not _is_scratch(each)
            }
        return digest_in(record, name, sizes)

    def exists(self, at: str) -> bool:
        """Whether there is an object or a directory."""
        directory, _, name = at.rpartition("/")
        held = self._held(directory)
        if held is not None:
            return any(each == name or each.startswith(f"{name}/") for each in held)
        return bool(self._ask("exists", at, Remote.exists))


def _is_record(name: str) -> bool:
    return name.endswith(RECORD) and not _is_scratch(name)


def _is_scratch(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


_current: dict[int, Inventory] = {}


def _inventory() -> Inventory:
    """What this process has seen: a fork may have been made long after its parent looked."""
    if os.getpid() not in _current:
        forget()
    return _current[os.getpid()]


def forget() -> None:
    """Believe nothing that was seen, since something was made or removed."""
    of_machine.look_again()
    _current.clear()
    _current[os.getpid()] = Inventory(looking=True)


def read_record(path: str | Path) -> Record | None:
    """Read the record at *path*, here or on S3, or ``None`` where there is none.

    Raises:
        AframeError: If it is no record of this schema, or its store refuses.
    """
    at = address(path)
    if at is None:
        return of_machine.read_record(Path(path))
    directory, _, name = at.rpartition("/")
    inventory = _inventory()
    return inventory.records(directory, {name} & inventory.files(directory).keys()).get(name)


def is_whole(record: Record, output: str | Path) -> bool:
    """Whether every file of *record* lies below *output*, here or on S3, with its size."""
    at = address(output)
    if at is None:
        return of_machine.is_whole(record, Path(output))
    there = _inventory().files(at)
    return all(name in there and there[name].size == n for name, n in record.sizes.items())


def exists(path: str | Path) -> bool:
    """Whether there is a file or directory at *path*, here or on S3."""
    at = address(path)
    return Path(path).exists() if at is None else _inventory().exists(at)


def recorded_digest(path: str | Path) -> str | None:
    """Digest of what lies at an address, from the record beside it; ``None`` where none tells."""
    at = address(path)
    return None if at is None else _inventory().digest(at)


def records_below(directory: str | Path) -> dict[str, Record]:
    """Read the records below *directory*, here or on S3, by their paths in it; drafts left out.

    Raises:
        AframeError: If one is no record of this schema, or the store refuses.
    """
    at = address(directory)
    if at is not None:
        inventory = _inventory()
        return inventory.records(at, filter(_is_record, inventory.files(at)))
    home = Path(directory)
    names = (path.relative_to(home).as_posix() for path in sorted(home.rglob(f"*{RECORD}")))
    found = {name: of_machine.read_record(home / name) for name in filter(_is_record, names)}
    return {name: record for name, record in found.items() if record is not None}
