"""When a data quality flag is active, asked of GWOSC or of the segment database."""

from __future__ import annotations

import math
import re

import gwosc.api
from gwpy.segments import DataQualityFlag

from aframe.artifacts.segments import Segment, coalesce
from aframe_data.servers import ask
from aframe_data.sources import Flagged

#: The flag of GWOSC that says that there is strain.
DATA = "DATA"
#: A flag of one detector: the segment database's with a colon, GWOSC's with an underscore.
_OWN = re.compile(r"(?P<ifo>[A-Z]\d)(?P<mark>[:_])")


def flags_of(flags: tuple[str, ...], ifo: str) -> list[str]:
    """Select the flags of a detector, GWOSC's spelled with the detector.

    Example:
        >>> flags_of(("CBC_CAT2", "H1:DMT-ANALYSIS_READY:1", "L1_DATA"), "H1")
        ['H1_CBC_CAT2', 'H1:DMT-ANALYSIS_READY:1']
    """
    named = [flag if _OWN.match(flag) else f"{ifo}_{flag}" for flag in flags]
    return [flag for flag in named if flag.startswith(ifo)]


def gwosc_server(source: Flagged) -> str:
    """Address of the open data."""
    return (source.gwosc_server or gwosc.api.DEFAULT_URL).rstrip("/")


def active(flag: str, span: Segment, source: Flagged) -> list[Segment]:
    """Ask when a flag is active.

    Args:
        flag: With its detector, ``H1_DATA`` (GWOSC) or ``H1:NAME:VERSION`` (segment database).
        span: The time asked about, finite (GPS s).
        source: Which servers to ask.

    Raises:
        AframeError: If the server does not tell.
    """
    start, stop = math.floor(span.start), math.ceil(span.stop)
    if ":" in flag:
        fetch, host = DataQualityFlag.query_dqsegdb, source.segment_server
    else:
        fetch, host = DataQualityFlag.fetch_open_data, gwosc_server(source)
    found = ask(lambda: fetch(flag, start, stop, host=host), wanted_by=f"the flag {flag}")
    return coalesce([Segment(float(one[0]), float(one[1])) for one in found.active])
