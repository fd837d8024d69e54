"""Inputs of this machine's steps that lie on S3: fetched once, whole, as their records say."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

from aframe.artifacts.inventory import Inventory
from aframe.artifacts.record import file_digest, write_text
from aframe.artifacts.remote import Entry, Remote, address, copy_of, here, size
from aframe.errors import AframeError

log = logging.getLogger(__name__)

_SIDE_BY_SIDE = 8


class Journal:
    """Which files are known to be what lies on S3: a line each, so that a kill loses none.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Entry]:
        """Files by name, as they lay on S3; empty where there is no journal."""
        try:
            lines = self.path.read_text().splitlines()
        except FileNotFoundError:
            return {}
        found: dict[str, Entry] = {}
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # a line that a kill cut short
                name, *entry = json.loads(line)
                found[name] = Entry(*entry)
        return found

    def write(self, entries: Mapping[str, Entry]) -> None:
        """Begin anew with *entries*."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, "".join(map(_line, entries, entries.values())))

    @contextlib.contextmanager
    def open(self) -> Iterator[TextIO]:
        """Open the journal for :meth:`note`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", buffering=1) as file:
            yield file

    @staticmethod
    def note(file: TextIO, name: str, entry: Entry) -> None:
        """Add a line."""
        file.write(_line(name, entry))


def _line(name: str, entry: Entry) -> str:
    return json.dumps([name, *entry]) + "\n"


def cached(path: str | Path) -> Path:
    """Give a file or directory of this machine with what lies at *path* now.

    Raises:
        AframeError: If nothing lies at the address, or its store refuses.
    """
    at = address(path)
    return Path(path) if at is None else fetch(at, copy_of(at))


def fetch(at: str, mine: Path) -> Path:
    """Bring *mine* to what lies at an address now.

    Only what is new there is fetched, by one process while the others wait. What a step of this
    machine sent there is linked, not fetched. What a record beside it lists is held against that.

    Args:
        at: The address.
        mine: File or directory of this machine.

    Returns:
        *mine*.

    Raises:
        AframeError: If nothing lies at the address, its store refuses, or a file is not what its
            record says.
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
        journal = Journal(mine.with_name(f".{mine.name}.entries.jsonl"))
        known = journal.read()
        for name in known.keys() - there.keys():
            (mine / name).unlink(missing_ok=True)
        kept = {
            name: entry for name, entry in there.items()
            if known.get(name) == entry and size(mine / name) == entry.size
        }  # fmt: skip
        journal.write(kept)
        new = {name: entry for name, entry in there.items() if name not in kept}
        if new:
            _fetch(remote, mine, new, journal)
    return mine


def _fetch(remote: Remote, mine: Path, new: Mapping[str, Entry], journal: Journal) -> None:
    """Bring *new* files to *mine*, and note each."""
    sent = _sent(remote.address)
    made = {name for name, entry in new.items() if sent.get(name) == entry}
    linked = {name for name in made if _link(here(remote.address) / name, mine / name, new[name])}
    rest = {name: entry for name, entry in new.items() if name not in linked}
    digests = _recorded(remote.address) if rest else {}
    if rest:
        total = sum(entry.size for entry in rest.values())
        log.info("fetching %d files (%.3g GB) from %s", len(rest), total / 1e9, remote.address)

    def bring(name: str) -> str:
        remote.download(name, mine / name, rest[name])
        _refuse_other(remote, name, mine / name, digests)
        return name

    with journal.open() as noted, ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for name in linked:
            Journal.note(noted, name, new[name])
        for name in pool.map(bring, rest):
            Journal.note(noted, name, rest[name])


def _recorded(at: str) -> dict[str, str]:
    """Digest of each file at an address, by the record beside it; empty where none lists it."""
    found = Inventory().listed(at)
    if found is None:
        return {}
    record, below = found
    return {
        name.removeprefix(below).removeprefix("/"): digest
        for name, digest in record.outputs.items()
        if name == below or name.startswith(f"{below}/")
    }


def _refuse_other(remote: Remote, name: str, path: Path, digests: Mapping[str, str]) -> None:
    if name in digests and file_digest(path) != digests[name]:
        found = file_digest(path)
        path.unlink()
        raise AframeError(
            "a file on S3 is not what its record says",
            found=f"{name or remote.address}: {found[:8]} in place of {digests[name][:8]}",
            wanted_by=f"the record beside {remote.address}",
            fix="if its step is at work, let that end; else remove the record there, so that the "
            "step makes the file anew",
        )


def journal_of_sent(output: Path, verb: str) -> Journal:
    """Tell what this machine sent of the output of *verb* that it made in *output*."""
    return Journal(output / f".{verb}.sent.jsonl")


def _sent(at: str) -> dict[str, Entry]:
    """What a step of this machine sent of what lies at an address, as it lay there then."""
    mine = here(at)
    found: dict[str, Entry] = {}
    for journal in sorted(mine.parent.glob(".*.sent.jsonl")):
        until = journal.stat().st_mtime_ns
        for name, entry in Journal(journal).read().items():
            if name == mine.name or name.startswith(f"{mine.name}/"):
                # What was made here since then was not sent yet.
                with contextlib.suppress(OSError):
                    if (mine.parent / name).stat().st_mtime_ns <= until:
                        found[name[len(mine.name) + 1 :]] = entry
    return found


def _link(made: Path, path: Path, entry: Entry) -> bool:
    """Give a file that was made here a second name; whether that was possible."""
    if made == path or size(made) != entry.size:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    try:
        os.link(made, draft)
    except OSError:
        return False
    draft.replace(path)
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at *path* against the other processes of this machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
