"""The output directory of a verb where it lies on S3: fetched, kept and published there.

A verb works in a directory of this machine. What its draft needs to go on elsewhere is
sent as it comes, so that the same command resumes on an empty machine; what it publishes is
sent at the end, the record last, as on a disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from aframe.artifacts.cache import Journal, journal_of_sent
from aframe.artifacts.claim import Claim
from aframe.artifacts.record import Record, draft_path, is_whole, read_record, record_path
from aframe.artifacts.remote import Entry, Remote, address, here
from aframe.errors import AframeError

log = logging.getLogger(__name__)

_SIDE_BY_SIDE = 8


class Mirror:
    """What a verb keeps at its output's address; nothing where that is a directory at hand.

    Args:
        output: Directory or address of the output.
        verb: The verb.
        stamp: Name of the file of a draft that tells whose it is.
    """

    def __init__(self, output: str | Path, verb: str, stamp: str) -> None:
        at = address(output)
        self.remote = Remote(at) if at else None
        self.directory = here(output)
        self.record = record_path(self.directory, verb)
        self.draft = f"{draft_path(self.directory, verb).name}/"
        self.stamp = self.draft + stamp
        self.claim = Claim(self.remote, f"{self.draft}.claim.json") if self.remote else None
        self.sent = journal_of_sent(self.directory, verb)
        self._there: dict[str, Entry] = {}
        self._sender = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None
        self._owed: dict[str, Path] = {}
        self._added: deque[Path] = deque()
        self._settled = False

    def pull(self, publishes: Iterable[str]) -> None:
        """Fetch the record of what was published, if that is newer, and a draft left elsewhere.

        Args:
            publishes: Names that the verb publishes.

        Raises:
            AframeError: If they are there without a record, or another run is writing there.
        """
        if self.remote is None or self.claim is None:
            return
        there = self._there = self.remote.entries()
        if there.pop(self.claim.name, None):
            self.claim.refuse_held()
        if self.record.name in there:
            self._pull_record(self.remote)
        if self.stamp in there:
            self._pull_draft(self.remote, [name for name in there if name.startswith(self.draft)])
        elif not self.record.exists():
            self._refuse_foreign({name.partition("/")[0] for name in there} & {*publishes})

    def is_whole(self, record: Record) -> bool:
        """Whether every file of *record* is at the output, or here to be sent, with its size."""
        return is_whole(record, self.directory) or _are_there(record, self._there)

    def _refuse_foreign(self, names: Collection[str]) -> None:
        if names:
            raise AframeError(
                "a file without a record is in the way",
                found=", ".join(sorted(names)),
                wanted_by=f"the output {self.remote and self.remote.address}",
                fix="move it away, or choose another output",
            )

    def _pull_record(self, remote: Remote) -> None:
        fetched = self.record.with_name(f".{self.record.name}.fetched")
        remote.download(self.record.name, fetched, self._there[self.record.name])
        theirs, mine = read_record(fetched), read_record(self.record)
        if (
            theirs is not None
            and theirs != mine
            and (mine is None or theirs.finished >= mine.finished)
        ):
            # What lies here by these names is not known to be what that record lists.
            for name in {*(mine.sizes if mine else ()), *theirs.sizes}:
                (self.directory / name).unlink(missing_ok=True)
            self.sent.write({})
            fetched.replace(self.record)
        fetched.unlink(missing_ok=True)

    def _pull_draft(self, remote: Remote, names: list[str]) -> None:
        log.info("going on from what a run left at %s/%s", remote.address, self.draft)
        # The stamp comes last: without it a draft that is only half fetched is emptied.
        (self.directory / self.stamp).unlink(missing_ok=True)
        for name in sorted(names, key=lambda name: name == self.stamp):
            remote.download(name, self.directory / name)

    def begin(self) -> None:
        """Claim the address for the draft at hand; another's that lies there goes.

        Raises:
            AframeError: If another run is writing there.
        """
        if self.remote is None or self.claim is None:
            return
        self.claim.hold()
        there = self._drafts(self.remote)
        stamp = self.directory / self.stamp
        if self.stamp not in there or self.remote.read(self.stamp) != stamp.read_bytes():
            self.remote.remove(there)
            self.remote.upload(stamp, self.stamp)

    def _drafts(self, remote: Remote) -> list[str]:
        claim = self.claim and self.claim.name
        return [name for name in remote.entries() if name.startswith(self.draft) and name != claim]

    def keep(self, path: Path, *, wait: bool) -> None:
        """Send a file of the draft, from which another machine may go on.

        Args:
            path: The file.
            wait: Whether to wait until it is there. Otherwise it is sent beside the work,
                and not at all while the one before is still on its way: the next one will be.
        """
        if self.remote is None or (not wait and self._last is not None and not self._last.done()):
            return
        self._refuse_failed()
        name = path.relative_to(self.directory).as_posix()
        # The file may be replaced before its turn comes, and its copy while that is sent.
        copy = path.with_name(f".{path.name}.sent")
        shutil.copyfile(path, path.with_name(f".{path.name}.copy"))
        path.with_name(f".{path.name}.copy").replace(copy)
        if wait:
            self._owed[name] = copy
        self._last = self._sender.submit(self._send, self.remote, {} if wait else {name: copy})
        if wait:
            self._refuse_failed()

    def add(self, path: Path) -> None:
        """Send a file of the draft beside the work, after those that were added before it.

        A store that is in trouble gets it with the next.

        Args:
            path: The file, which must stay as it is until :meth:`settle`.

        Raises:
            AframeError: If another run has taken over.
        """
        if self.remote is None:
            return
        self._added.append(path)
        if self._last is None or self._last.done():
            self._refuse_failed()
        # Always: what is at work may have found nothing more to send just before.
        self._last = self._sender.submit(self._send_added, self.remote)

    def _send_added(self, remote: Remote) -> None:
        try:
            while self._added and not self._settled:
                path = self._added[0]
                remote.upload(path, path.relative_to(self.directory).as_posix())
                self._added.popleft()
        except AframeError as error:
            log.warning("a file was not sent to %s: %s", remote.address, error.found)

    def settle(self) -> None:
        """Send no more of the draft, once what is on its way is there.

        Raises:
            AframeError: If another run has taken over.
        """
        self._settled = True
        self._refuse_failed()

    def _refuse_failed(self) -> None:
        """Raise what ended the last sending, if it was not the store, which may recover.

        Raises:
            AframeError: If another run has taken over.
        """
        if self.claim is not None:
            self.claim.refuse_lost()
        if self._last is not None:
            self._last.result()

    def _send(self, remote: Remote, files: Mapping[str, Path]) -> None:
        """Send *files*, after those that were to be there before them."""
        try:
            for name, path in list(self._owed.items()):
                remote.upload(path, name)
                del self._owed[name]
            for name, path in files.items():
                remote.upload(path, name)
        except AframeError as error:
            log.warning("a checkpoint was not sent to %s: %s", remote.address, error.found)

    def push(self) -> None:
        """Publish what was published here, unless it is there, and remove the draft.

        Raises:
            AframeError: If the store refuses, or another run is writing there.
        """
        if self.remote is None or self.claim is None:
            return
        self._refuse_failed()
        there = self.remote.entries()
        record = read_record(self.record)
        mine = self.record.read_bytes() if record else b""
        old = self.remote.read(self.record.name) if self.record.name in there else b""
        if record and (old != mine or not _are_there(record, there)):
            self.claim.hold()
            replaced = {*json.loads(old)["outputs"]} - {*record.outputs} if old else set()
            self.remote.remove([self.record.name, *replaced] if old else [])
            self._publish(self.remote, record, there)
        if drafts := self._drafts(self.remote):
            self.claim.hold()
            self.remote.remove(drafts)
        self.close()

    def _publish(self, remote: Remote, record: Record, there: Mapping[str, Entry]) -> None:
        """Send the files that are not *there* yet, look whether they are, and then the record."""
        whose = {"": Entry(0, hashlib.sha256(self.record.read_bytes()).hexdigest())}
        sent = self.sent.read()
        # What a run that was killed had sent is not sent again.
        done = {name: sent[name] for name in record.outputs if sent.get(name) == there.get(name, 0)}
        if sent.get("") != whose[""]:
            done = {}
        self.sent.write({**whose, **done})
        remote.abandon(record.outputs)
        new = [name for name in record.outputs if name not in done]
        log.info("sending %d files to %s", len(new), remote.address)
        with self.sent.open() as noted, ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            tags = pool.map(lambda name: self._put(remote, name), new)
            for name, tag in zip(new, tags, strict=True):
                done[name] = Entry(record.sizes[name], tag)
                Journal.note(noted, name, done[name])
        arrived = remote.entries()
        self._refuse_changed(remote, [name for name in done if arrived.get(name) != done[name]])
        remote.upload(self.record, self.record.name)

    def _put(self, remote: Remote, name: str) -> str:
        if self.claim is not None:
            self.claim.refuse_lost()
        return remote.upload(self.directory / name, name)

    def _refuse_changed(self, remote: Remote, names: Collection[str]) -> None:
        if names:
            raise AframeError(
                "files on S3 are not what was sent there",
                found=f"{len(names)} of them, the first {min(names)}",
                wanted_by=remote.address,
                fix="let nobody else write there, then run the same command: it sends them again",
            )

    def close(self) -> None:
        """Leave the address to others, once what is on its way is there."""
        self._settled = True
        if self._last is not None:
            wait([self._last])
        if self.claim is not None:
            self.claim.release()


def _are_there(record: Record, there: Mapping[str, Entry]) -> bool:
    return all(name in there and there[name].size == n for name, n in record.sizes.items())
