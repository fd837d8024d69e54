"""What a source of strain must name, refused alike by planning and by the data stage.

Standard library only. A source is the JSON of a ``.cfg`` or settings file; the data stage's
dataclasses (``aframe_data.sources``) say what each key means.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aframe.errors import AframeError, did_you_mean

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
#: Keys that hold a list of texts, a text by detector, and a number; the others hold a text.
_LISTS, _TABLES, _NUMBERS = ("flags", "paths"), ("psds", "channels", "frametypes"), ("sample_rate",)
#: What a kind must name for each detector: the key, and what it holds.
_BY_DETECTOR = {
    "simulated": ("psds", "noise curve"),
    "datafind": ("frametypes", "frame type"),
    "nds2": ("channels", "channel"),
}
#: Rates of GWOSC's files (Hz).
GWOSC_RATES = (4096, 16384)
#: How frames may be had: from a disk that this machine sees, or by download.
URLTYPES = ("file", "https", "http")
_DETECTOR = re.compile(r"([A-Z]\d)[:_].")
_ADDRESS = re.compile(r"\w+://")


def refuse_shape(source: Any, *, wanted_by: str) -> None:
    """Refuse what is no source: no known kind, a key that it does not take, or another type.

    Args:
        source: What was given for one, read from JSON.
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If so.
    """
    if not isinstance(source, Mapping) or source.get("kind") not in KEYS:
        kind = source.get("kind") if isinstance(source, Mapping) else ""
        raise AframeError(
            "a source of strain has no kind that is known",
            found=_json(source),
            wanted_by=wanted_by,
            fix=f"{did_you_mean(str(kind), KEYS)}give it whole, as JSON such as "
            f'{{"kind": "gwosc"}}; the kinds are {", ".join(KEYS)}',
        )
    kind = source["kind"]
    for key, value in source.items():
        if key != "kind" and key not in KEYS[kind]:
            raise AframeError(
                f"a source of kind {kind} does not take {key}",
                found=_json({key: value})[1:-1],
                wanted_by=wanted_by,
                fix=f"{did_you_mean(key, KEYS[kind])}it takes {', '.join(KEYS[kind])}",
            )
        _refuse_type(key, value, wanted_by)


def _refuse_type(key: str, value: Any, wanted_by: str) -> None:
    """Refuse a value that is none of what its key holds."""
    if key in _LISTS:
        fits = isinstance(value, Sequence) and not isinstance(value, str) and _are_texts(value)
        holds, fix = "a list of texts", _json([value] if isinstance(value, str) else ["…"])
    elif key in _TABLES:
        fits = isinstance(value, Mapping) and _are_texts(value.values())
        holds, fix = "a text for each detector", '{"H1": "…"}'
    elif key in _NUMBERS:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        holds, fix = "a number", str(GWOSC_RATES[0])
    elif key == "urltype":
        fits, holds, fix = value in URLTYPES, f"one of {', '.join(URLTYPES)}", _json(URLTYPES[0])
    else:
        fits, holds, fix = value is None or isinstance(value, str), "a text", '"…"'
    if not fits:
        raise AframeError(
            f"a source's {key} must be {holds}",
            found=f'"{key}": {_json(value)}',
            wanted_by=wanted_by,
            fix=f'write "{key}": {fix}',
        )


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


def _json(value: Any) -> str:
    """Write a value of JSON, luigi's frozen ones too; anything else as it prints."""
    try:
        return json.dumps(value, ensure_ascii=False, default=dict)
    except (TypeError, ValueError):
        return str(value)


def refuse_source(source: Mapping[str, Any], ifos: Sequence[str], *, wanted_by: str) -> None:
    """Refuse a source that leaves out a detector, or names what cannot be.

    Args:
        source: Its kind, one of :data:`KEYS`, and what that kind takes.
        ifos: Detectors that are wanted of it.
        wanted_by: Who asks, for the message.

    Raises:
        AframeError: If so, or if it is no source.
    """
    refuse_shape(source, wanted_by=wanted_by)
    kind, problem, found, fix = source["kind"], "", "", ""
    remote = [path for path in source.get("paths") or () if _ADDRESS.match(path)]
    if kind in _BY_DETECTOR:
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
    elif remote:
        problem, found = "the files of a source lie on another machine", remote[0]
        fix = "copy them here, as with `aws s3 sync`, and name the folder"
    elif kind == "gwosc" and source.get("sample_rate", GWOSC_RATES[0]) not in GWOSC_RATES:
        problem, found = "GWOSC has no such files", f"sample_rate {source['sample_rate']} Hz"
        fix = f"give the source one of {', '.join(map(str, GWOSC_RATES))}"
    if problem:
        raise AframeError(problem, found=found, wanted_by=wanted_by, fix=fix)
    _refuse_flags(source.get("flags") or (), ifos, wanted_by)


def _refuse_flags(flags: Sequence[str], ifos: Sequence[str], wanted_by: str) -> None:
    """Refuse flags of other detectors, and a detector that none of the flags speaks of."""
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
