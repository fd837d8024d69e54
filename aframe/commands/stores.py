"""The stores on S3 that a run names: whether they answer, and may be read and written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from aframe.artifacts.remote import Remote, address
from aframe.artifacts.segments import Segment, read_segments
from aframe.tasks.outlook import DONE, Outlook

#: The name, and the tag that no object has: no other writes it.
_PROBE, _NO_TAG = ".aframe-doctor", '"0"'


def named(steps: Sequence[Outlook]) -> dict[str, bool]:
    """Give the run's directories on S3, and what its inputs are there; whether each is written.

    Of what lies in one of the run's directories, that directory is meant, the outermost.
    """
    found: dict[str, bool] = {}
    for each in steps:
        homes = [home for home in map(address, vars(each.step.paths).values()) if home]
        for at, written in _used(each):
            inside = [home for home in homes if at == home or at.startswith(f"{home}/")]
            home = min(inside, key=len, default=at)
            found[home] = found.get(home, False) or written
    return found


def _used(each: Outlook) -> Iterator[tuple[str, bool]]:
    told = each.step.settings_file()
    for path, written in [
        (told["output"], each.state != DONE),
        *((path, False) for path in told.get("inputs", {}).values() if path),
    ]:
        at = address(path)
        if at is not None:
            yield at, written


def ask(at: str, *, written: bool) -> bool:
    """Ask the store for a name at *at* and, if that is to be written, for leave to write there.

    That is a write on the condition that the object is there with a tag that none has: a store
    says whether these credentials may write, and nothing is written.

    Returns:
        Whether it keeps to the condition; one that does not wrote the object, which was removed.

    Raises:
        AframeError: If it does not answer, or refuses.
    """
    remote = Remote(at, looking=True)
    remote.exists()
    if not written or remote.swap(_PROBE, b"", _NO_TAG) is None:
        return True
    remote.remove([_PROBE])
    return False


def segments_at(path: str | Path) -> list[Segment] | None:
    """Read a file of segments, here or on S3; ``None`` where there is none.

    Raises:
        AframeError: If it cannot be read, or its store refuses.
    """
    at = address(path)
    if at is None:
        return read_segments(Path(path)) if Path(path).is_file() else None
    home, _, name = at.rpartition("/")
    there = Remote(home, looking=True).look(name)
    if there is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        copy.write_bytes(there.content)
        return read_segments(copy)
