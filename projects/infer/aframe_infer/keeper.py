"""Runs a server, and leaves nothing of it behind when it or its client ends, however they do.

A program of its own, of the standard library alone: it holds the server's process group, and
its standard input is a pipe from the client, which closes when the client is killed. Through it
the client says every moment that it lives; when it says nothing for long, as one that is
suspended, the server is ended too.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where the backend's regions lie)
#: Exit status of a keeper whose client stood still: sysexits' "try again later".
IDLE = 75
#: How long a server that is not wanted may take to end before it is killed (s).
STOP_SECONDS = 5


def clear(prefix: str) -> None:
    """Remove the regions of shared memory whose names begin with *prefix*."""
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def keep(prefix: str, idle: float, command: list[str]) -> int:
    """Run *command* until it or the client ends, or the client says nothing for *idle* seconds.

    Returns:
        Its exit status, or :data:`IDLE`.
    """
    server: subprocess.Popen[bytes] | None = None
    early = False

    def end(*_: object) -> None:
        nonlocal early
        if server is None:
            early = True
        else:
            server.terminate()

    # Before the server runs, so that no end is lost.
    signal.signal(signal.SIGTERM, end)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    if early:
        server.terminate()
    ended = threading.Event()
    words = prefix, idle, server, ended
    threading.Thread(target=_watch_client, args=words, daemon=True).start()
    code = server.wait()
    clear(prefix)
    if ended.is_set():
        return IDLE
    if code < 0:
        # To be told by the signal that ended the server.
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _watch_client(
    prefix: str, idle: float, server: subprocess.Popen[bytes], ended: threading.Event
) -> None:
    client = sys.stdin.fileno()
    while select.select([client], [], [], idle)[0]:
        if not os.read(client, 1024):
            clear(prefix)
            os.killpg(0, signal.SIGKILL)
    ended.set()
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
