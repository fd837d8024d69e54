"""What a process says, as long as it runs."""

from __future__ import annotations

import codecs
import io
import locale
import math
import os
import selectors
import subprocess
import time
from collections.abc import Iterator

#: How long what a process has left behind may hold its output open (s).
_LINGERS = 30.0
_BETWEEN_LOOKS = 1.0


def lines_of(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Give what a process says on its standard output, line by line, until it has ended.

    What it started may outlive it and hold its output open: that is read for half a minute more.

    Args:
        process: The process, whose output is a pipe of bytes.
    """
    if process.stdout is None:
        return
    decoder = codecs.getincrementaldecoder(locale.getpreferredencoding(False))("replace")
    newlines = io.IncrementalNewlineDecoder(decoder, translate=True)
    rest, ended, whole = "", math.inf, False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not whole:
            now = time.monotonic()
            if process.poll() is not None:
                ended = min(ended, now)
            late = now - ended >= _LINGERS
            # Once more in any case: whoever takes the lines may have been slow.
            if selector.select(0 if late else _BETWEEN_LOOKS):
                some = os.read(process.stdout.fileno(), 65536)
                whole = not some
                *lines, rest = (rest + newlines.decode(some, final=whole)).split("\n")
                yield from (f"{line}\n" for line in lines)
            if late:
                break
    if rest:
        yield rest
