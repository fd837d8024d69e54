"""What a source of strain must name, refused alike by planning and by the data stage.

Standard library only. A source is the JSON of a ``.cfg`` or settings file; the data stage's
dataclasses (``aframe_data.sources``) say what each key means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aframe.errors import AframeError

_FLAGGED = ("flags", "gwosc_server", "segment_server")
#: The keys that each kind takes beside ``kind``.
KEYS = {
    "simulated": ("psds",),
    "files": ("paths", "channels", *_FLAGGED),
    "gwosc": ("sample_rate", "dataset", *_FLAGGED),
    "datafind": ("frametypes", "channels", "datafind_server", "urltype", *_FLAGGED),
    "nds2": ("channels", "nds2_server", *_FLAGGED),
}
#: What keys stand for where they are left out; the others then stand for nothing.
DEFAULTS: dict[str, Any] = {
    "sample_rate": 4096,
    "urltype": "file",
    "nds2_server": "nds.ligo.caltech.edu",
}
#: What a kind must name for each detector: the key, and what it holds.
_BY_DETECTOR = {
    "simulated": ("psds", "noise curve"),
    "datafind": ("frametypes", "frame type"),
    "nds2": ("channels", "channel"),
}
#: Rates of GWOSC's files (Hz).
GWOSC_RATES = (4096, 16384)
_DETECTOR = re.compile(r"([A-Z]\d)[:_].")


def refuse_source(source: Mapping[str, Any], ifos: Sequence[str], *, wanted_by: str) -> None:
    """Refuse a source that leaves out a detector, or names what cannot be.

    Args:
        source: Its kind, one of :data:`KEYS`, and what that kind takes.
        ifos: Detectors that are wanted of it.
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If so.
    """
    kind = source["kind"]
    unknown = [key for key in source if key not in ("kind", *KEYS[kind])]
    problem = found = fix = ""
    if unknown:
        problem = f"a source of kind {kind} does not take {', '.join(unknown)}"
        found, fix = f"a source with {', '.join(source)}", f"it takes {', '.join(KEYS[kind])}"
    elif kind in _BY_DETECTOR:
        key, what = _BY_DETECTOR[kind]
        named = source.get(key) or {}
        missing = [ifo for ifo in ifos if ifo not in named]
        if missing:
            problem = f"a detector has no {what}"
            found = f"a source with {key} of {', '.join(named) or 'none'}"
            fix = f"add to the source's {key}: {', '.join(missing)}"
    elif kind == "files" and not source.get("paths"):
        problem, found = "a source of files names none", "a source with no paths"
        fix = 'give it paths, such as ["/data/*.hdf5"]'
    elif kind == "gwosc" and source.get("sample_rate", GWOSC_RATES[0]) not in GWOSC_RATES:
        problem, found = "GWOSC has no such files", f"sample_rate {source['sample_rate']} Hz"
        fix = f"give the source one of {', '.join(map(str, GWOSC_RATES))}"
    if problem:
        raise AframeError(problem, found=found, wanted_by=wanted_by, fix=fix)
    _refuse_flags(source.get("flags") or (), ifos, wanted_by)


def _refuse_flags(flags: Sequence[str], ifos: Sequence[str], wanted_by: str) -> None:
    """Refuse flags of other detectors, and a detector that none of the flags speaks of."""
    if isinstance(flags, str):
        raise AframeError(
            "the flags of a source are a list",
            found=f'"flags": "{flags}"',
            wanted_by=wanted_by,
            fix=f'write "flags": ["{flags}"]',
        )
    owners = {flag: match[1] for flag in flags if (match := _DETECTOR.match(flag))}
    foreign = [flag for flag, ifo in owners.items() if ifo not in ifos]
    bare = len(owners) < len(set(flags))
    missing = [ifo for ifo in ifos if owners and not bare and ifo not in owners.values()]
    if foreign or missing:
        raise AframeError(
            "the flags do not fit the detectors",
            found=f"flags {', '.join(flags)} for {', '.join(ifos)}",
            wanted_by=wanted_by,
            fix=f"take out {', '.join(foreign)}"
            if foreign
            else f"add a flag of {', '.join(missing)}, or one of GWOSC's for all, such as CBC_CAT2",
        )


def refuse_rate(source: Mapping[str, Any], sample_rate: float, *, wanted_by: str) -> None:
    """Refuse open data that are sampled lower than asked; of other kinds only the files tell.

    Args:
        source: Its kind, one of :data:`KEYS`, and what that kind takes.
        sample_rate: Samples a second to have (Hz).
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If so.
    """
    has = source.get("sample_rate", GWOSC_RATES[0])
    if source["kind"] == "gwosc" and has < sample_rate:
        raise AframeError(
            "strain is sampled lower than asked",
            found=f"open data at {has:g} Hz, sample_rate {sample_rate:g} Hz",
            wanted_by=wanted_by,
            fix=f"choose a sample_rate of at most {has:g} Hz, or give the source "
            f'"sample_rate": {GWOSC_RATES[-1]}',
        )


def refuse_span(
    source: Mapping[str, Any], start: float | None, stop: float | None, *, wanted_by: str
) -> None:
    """Refuse a span that ends before it starts, and none where the source has no own.

    Files are taken whole, and so is a dataset of GWOSC.

    Args:
        source: Its kind, one of :data:`KEYS`, and what that kind takes.
        start: Begin of the span (GPS s).
        stop: End of the span (GPS s).
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If so.
    """
    flagged = bool(source.get("flags"))
    own = (source["kind"] == "files" and not flagged) or bool(source.get("dataset"))
    begin, end = (-math.inf if start is None else start), (math.inf if stop is None else stop)
    if not own and not (math.isfinite(begin) and math.isfinite(end)):
        kind = "flagged" if source["kind"] == "files" else source["kind"]
        raise AframeError(
            f"{kind} strain needs a span",
            found=f"start {_told(start)}, stop {_told(stop)}",
            wanted_by=wanted_by,
            fix="give start and stop (GPS s)",
        )
    if not begin < end:
        raise AframeError(
            "the span of strain is empty",
            found=f"start {_told(start)}, stop {_told(stop)}",
            wanted_by=wanted_by,
            fix="choose a start before the stop",
        )


def _told(seconds: float | None) -> str:
    # All digits of a GPS time, and none that it has not.
    return "none" if seconds is None else f"{seconds:.16g}"
