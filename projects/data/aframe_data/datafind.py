"""Frames that a GWDataFind server knows, through its client."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

import gwdatafind
from gwdatafind.utils import file_segment

from aframe.artifacts.segments import Segment, coalesce, intersect
from aframe.errors import AframeError
from aframe_data.downloads import RemoteFile
from aframe_data.servers import ask
from aframe_data.sources import Datafind

#: Variables that the client takes its server from.
_VARIABLES = ("GWDATAFIND_SERVER", "LIGO_DATAFIND_SERVER")


def server(source: Datafind) -> str:
    """Address to ask.

    Raises:
        AframeError: If none is named.
    """
    named = source.datafind_server or next(filter(None, map(os.environ.get, _VARIABLES)), None)
    if not named:
        raise AframeError(
            "no server is named that knows where frames are",
            found="neither datafind_server in the source nor GWDATAFIND_SERVER",
            wanted_by="the setting `source`",
            fix='name it, as in "datafind_server": "datafind.igwn.org"',
        )
    return named.rstrip("/")


def available(source: Datafind, ifo: str, span: Segment) -> list[Segment]:
    """Ask when there are frames of a detector within *span* (GPS s).

    Raises:
        AframeError: If the server does not tell.
    """
    host, kind = server(source), source.frametypes[ifo]
    start, stop = math.floor(span.start), math.ceil(span.stop)
    found = ask(
        lambda: gwdatafind.find_times(ifo[0], kind, start, stop, host=host),
        wanted_by=f"frames {kind} of {ifo}",
    )
    return coalesce([Segment(float(one[0]), float(one[1])) for one in found])


def find_files(source: Datafind, ifo: str, segments: Sequence[Segment]) -> list[RemoteFile]:
    """Find the frames that hold *segments* of a detector, as far as there are any.

    A server may know several copies of a frame file; the first counts.

    Args:
        source: Which server, frame types and kind of address.
        ifo: Detector.
        segments: Sorted (GPS s).

    Raises:
        AframeError: If the server does not answer.
    """
    host, kind = server(source), source.frametypes[ifo]
    first, last = math.floor(segments[0].start), math.ceil(segments[-1].stop)
    urls = ask(
        lambda: gwdatafind.find_urls(
            ifo[0], kind, first, last, urltype=source.urltype, on_gaps="ignore", host=host
        ),
        wanted_by=f"frames {kind} of {ifo}",
    )
    files = [RemoteFile(url, ifo, Segment(*map(float, file_segment(url))), True) for url in urls]
    wanted = [file for file in files if intersect([file.segment], segments)]
    return list({file.name: file for file in reversed(wanted)}.values())[::-1]


def local_path(file: RemoteFile) -> Path | None:
    """Path of a frame file that this machine should see; none for one to download."""
    parts = urlparse(file.url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
