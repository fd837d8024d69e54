"""Who is writing an output on S3: an object beside its draft, which its writer renews.

It is written on the condition that it is still what was read, so that of two that want it at
once one gets it. Its age is told by the store's clock alone.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
from datetime import UTC, datetime

from aframe.artifacts.remote import Remote
from aframe.errors import AframeError

log = logging.getLogger(__name__)

SECONDS_BETWEEN_SIGNS = 30.0
#: Of whom there was no sign for so long, that one is taken for dead.
SECONDS_TO_STALE = 300.0


class Claim:
    """The right to write an output, from :meth:`hold` to :meth:`release`.

    Args:
        remote: Where the output lies.
        name: Name of the object there.
    """

    def __init__(self, remote: Remote, name: str) -> None:
        self.remote = remote
        self.name = name
        self._tag: str | None = None
        self._lost = False
        self._over = threading.Event()
        self._renewing = threading.Lock()
        self._thread = threading.Thread(target=self._keep_alive, daemon=True)

    def refuse_held(self) -> str | None:
        """Refuse an output that another run is writing.

        Returns:
            Tag of a claim whose holder is dead, or ``None`` where there is no claim.

        Raises:
            AframeError: It names the holder, and when there was a last sign of it.
        """
        there = self.remote.look(self.name)
        if there is None:
            return None
        holder = json.loads(there.content)
        if there.age < SECONDS_TO_STALE and not _is_dead(holder):
            raise AframeError(
                "another run is writing this output",
                found=f"process {holder['pid']} on {holder['host']}, last seen "
                f"{there.age:.0f} s ago ({holder['seen']})",
                wanted_by=self.remote.address,
                fix="let it end, or choose another output; if it was killed, the same command "
                f"goes on from what it left {SECONDS_TO_STALE / 60:.0f} minutes after that",
            )
        return there.tag

    def hold(self) -> None:
        """Take the claim, or make sure that it is still held.

        Raises:
            AframeError: If another run holds it.
        """
        if self._tag is not None:
            self._renew()
            self.refuse_lost()
            return
        while self._tag is None:  # whoever was faster is refused the next time
            self._tag = self.remote.swap(self.name, _sign(), self.refuse_held())
        self._thread.start()

    def refuse_lost(self) -> None:
        """Refuse to go on where another run took the claim over.

        Raises:
            AframeError: If it did.
        """
        if self._lost:
            raise AframeError(
                "another run has taken over this output",
                found=f"no sign of this one for {SECONDS_TO_STALE:.0f} s reached the store",
                wanted_by=self.remote.address,
                fix="let the other one end; the same command then finds what it made",
            )

    def release(self) -> None:
        """Give the claim back, if it is held."""
        if self._tag is None:
            return
        self._over.set()
        self._thread.join()
        if not self._lost:
            try:
                self.remote.remove([self.name])
            except AframeError as error:
                log.warning("a claim stays at %s: %s", self.remote.address, error.found)
        self._tag = None

    def _keep_alive(self) -> None:
        while not self._lost and not self._over.wait(SECONDS_BETWEEN_SIGNS):
            try:
                self._renew()
            except AframeError as error:
                log.warning("no sign reached %s: %s", self.remote.address, error.found)

    def _renew(self) -> None:
        with self._renewing:
            tag = self.remote.swap(self.name, _sign(), self._tag)
            self._lost = tag is None
            self._tag = tag or self._tag


def _sign() -> bytes:
    # The time makes each sign another content, and so another tag.
    seen = datetime.now(UTC).isoformat(sep=" ")
    return json.dumps({"host": platform.node(), "pid": os.getpid(), "seen": seen}).encode()


def _is_dead(holder: dict[str, str]) -> bool:
    """Whether the process is known to have ended; a container's has often the same number."""
    pid = int(holder["pid"])
    if holder["host"] != platform.node():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another user's
        return False
    return pid == os.getpid()
