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

#: How long the output of a process that has ended may be open and silent (s).
_LINGERS = 30.0
_BETWEEN_LOOKS = 1.0


def lines_of(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Give what a process says on its standard output, line by line, until it has ended.

    What it started may outlive it and hold its output open: that is not waited for.

    Args:
        process: The process, whose output is a pipe of bytes.
    """
    if process.stdout is None:
        return
    decoder = codecs.getincrementaldecoder(locale.getencoding())("replace")
    newlines = io.IncrementalNewlineDecoder(decoder, translate=True)
    rest, ended, whole = "", math.inf, False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not whole and time.monotonic() - ended < _LINGERS:
            if selector.select(_BETWEEN_LOOKS):
                some = os.read(process.stdout.fileno(), 65536)
                whole = not some
                *lines, rest = (rest + newlines.decode(some, final=whole)).split("\n")
                yield from (f"{line}\n" for line in lines)
            elif process.poll() is not None:
                ended = min(ended, time.monotonic())
    if rest:
        yield rest
