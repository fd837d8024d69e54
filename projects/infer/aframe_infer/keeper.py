"""Runs a server, and leaves nothing of it behind when it or its client ends, however they do.

A program of its own, of the standard library alone: it holds the server's process group, and
its standard input is a pipe from the client, which closes when the client is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where the backend's regions lie)


def clear(prefix: str) -> None:
    """Remove the regions of shared memory whose names begin with *prefix*."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def keep(prefix: str, command: list[str]) -> int:
    """Run *command* until it or the client ends; returns its exit status."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    threading.Thread(target=_end_with_client, args=(prefix,), daemon=True).start()
    code = server.wait()
    clear(prefix)
    if code < 0:
        # To be told by the signal that ended the server.
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _end_with_client(prefix: str) -> None:
    sys.stdin.read()
    clear(prefix)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.argv[2:]))
