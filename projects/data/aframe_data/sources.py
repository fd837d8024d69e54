"""Where strain comes from: open data, frames, NDS2, local files, or a simulation."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar, get_args

from jsonargparse.typing import register_type

from aframe import sources

_SETTING = "the setting `source`"


@dataclass(frozen=True)
class Simulated:
    """Stationary Gaussian noise.

    Args:
        kind: ``simulated``.
        psds: The noise curve of each detector: a design curve of LALSimulation by name, or
            a file of frequency (Hz) and amplitude spectral density (1/sqrt(Hz)).
    """

    kind: Literal["simulated"]
    psds: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Flagged:
    """What all real strain has: flags that say when it counts.

    Args:
        flags: Data quality flags, all of which must be active. ``NAME`` is GWOSC's, of each
            detector, such as CBC_CAT2 or NO_CBC_HW_INJ; ``IFO:NAME:VERSION`` is the segment
            database's, such as H1:DMT-ANALYSIS_READY:1.
        gwosc_server: Address of the open data, if not GWOSC_SERVER_URL or https://gwosc.org.
        segment_server: Address of the segment database, if not DEFAULT_SEGMENT_SERVER or
            https://segments.igwn.org.
    """

    flags: tuple[str, ...] = ()
    gwosc_server: str | None = None
    segment_server: str | None = None


@dataclass(frozen=True)
class Files(Flagged):
    """Files on this machine: GWOSC's HDF5, frames, or strain files as `fetch` writes them.

    Args:
        kind: ``files``.
        paths: Patterns such as ``/data/*.gwf``; all files they match together.
        channels: Channel to read of each detector in frames that hold several.
    """

    kind: Literal["files"]
    paths: tuple[str, ...] = ()
    channels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Gwosc(Flagged):
    """Open data of the Gravitational Wave Open Science Center, where its flag DATA is active.

    Args:
        kind: ``gwosc``.
        sample_rate: Samples a second of the files to take (Hz): 4096 or 16384.
        dataset: A run (O3a) or event (GW150914) to take it from, which also gives the span
            where none is asked for; by default whatever has the time, runs before events.
    """

    kind: Literal["gwosc"]
    sample_rate: int = sources.DEFAULTS["sample_rate"]
    dataset: str | None = None


@dataclass(frozen=True)
class Datafind(Flagged):
    """Frames that a GWDataFind server knows.

    Args:
        kind: ``datafind``.
        frametypes: Frame type of each detector, such as H1_HOFT_C00.
        channels: Channel to read of each detector, if its frames hold several.
        datafind_server: Address of the server, if not GWDATAFIND_SERVER.
        urltype: ``file`` for frames that this machine sees, ``https`` to download them.
    """

    kind: Literal["datafind"]
    frametypes: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)
    datafind_server: str | None = None
    urltype: Literal["file", "https", "http"] = sources.DEFAULTS["urltype"]


@dataclass(frozen=True)
class Nds2(Flagged):
    """Channels that an NDS2 server gives; needs its client, which conda has.

    Args:
        kind: ``nds2``.
        channels: Channel of each detector, such as H1:GDS-CALIB_STRAIN.
        nds2_server: Name of the server, with ``:port`` if it is not the usual one.
    """

    kind: Literal["nds2"]
    channels: dict[str, str] = field(default_factory=dict)
    nds2_server: str = sources.DEFAULTS["nds2_server"]


Source = Simulated | Files | Gwosc | Datafind | Nds2
Kind = TypeVar("Kind", Simulated, Files, Gwosc, Datafind, Nds2)


def read_source(kind: type[Kind], content: Any) -> Kind:
    """Make a source from JSON.

    Args:
        kind: Its class.
        content: Text of JSON, what was read from it, or the source.

    Raises:
        AframeError: If it is a source of no kind.
        ValueError: If it is one of another kind.
    """
    if isinstance(content, kind):
        return content
    if isinstance(content, str):
        with contextlib.suppress(ValueError):
            content = json.loads(content)
    sources.refuse_shape(content, wanted_by=_SETTING)
    if content["kind"] != kind.__name__.lower():
        raise ValueError(f"a source of kind {content['kind']}")
    # Of lists, which JSON has, to tuples, which a record tells apart from no other sequence.
    plain: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in content.items()
    }
    return kind(**plain)


# The parser's own words for what fits none of several classes fill a screen.
for _kind in get_args(Source):
    register_type(
        _kind, asdict, functools.partial(read_source, _kind), type_check=lambda v, t: type(v) is t
    )


def refuse_unfit(source: Source, ifos: Sequence[str]) -> None:
    """Refuse a source that leaves out a detector, or is of files that cannot be.

    Raises:
        AframeError: If so.
    """
    sources.refuse_source(asdict(source), ifos, wanted_by=_SETTING)


def refuse_low_rate(source: Source, sample_rate: float) -> None:
    """Refuse open data that are sampled lower than asked.

    Raises:
        AframeError: If so.
    """
    sources.refuse_rate(asdict(source), sample_rate, wanted_by="the setting `sample_rate`")


def refuse_missing_span(source: Source, start: float | None, stop: float | None) -> None:
    """Refuse to ask for all times of a source that has no end.

    Raises:
        AframeError: If so.
    """
    sources.refuse_span(asdict(source), start, stop, wanted_by=_SETTING)
