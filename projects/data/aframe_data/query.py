"""The verb `query`: when all detectors have data."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aframe.artifacts.segments import (
    Segment,
    coalesce,
    gps,
    intersect,
    longer_than,
    read_segments,
    write_segments,
)
from aframe.branches import run_branches
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_data import nds
from aframe_data.checks import refuse_not_positive, refuse_unnamed, refuse_wrong_workers
from aframe_data.recordings import Recording, find_recordings, good_segments
from aframe_data.sources import (
    Datafind,
    Files,
    Flagged,
    Gwosc,
    Nds2,
    Simulated,
    Source,
    refuse_missing_span,
    refuse_unfit,
)
from aframe_data.spectra import LOWEST, load_asd

OUTPUT = "segments.txt"
#: Strain that takes as long to look through as a process takes to start, which imports for
#: seconds (s).
_WORTH_A_PROCESS = 8 * 4096.0
Found = Mapping[str, Sequence[Segment]]


@dataclass(frozen=True, kw_only=True)
class QuerySettings:
    """Settings of ``aframe-data query``.

    Args:
        output: Directory in which ``segments.txt`` appears.
        ifos: Detectors that must have data at once.
        source: Where strain comes from: JSON with a kind, as ``projects/data/README.md`` shows.
        start: Begin of the time asked about (GPS s); only local files and a dataset of GWOSC
            have one of their own.
        stop: End of it (GPS s); likewise.
        min_duration: Shortest segment to keep (s).
        resources: How to use the machine.

    Raises:
        AframeError: If a value cannot be meant.
    """

    output: Path
    ifos: tuple[str, ...]
    source: Source
    start: float | None = None
    stop: float | None = None
    min_duration: float = 0.0
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        refuse_unnamed(self.ifos)
        refuse_not_positive(self, "min_duration", zero=True)
        refuse_wrong_workers(self.resources)
        refuse_unfit(self.source, self.ifos)
        refuse_missing_span(self.source, self.start, self.stop)
        if not self.span.start < self.span.stop:
            raise AframeError(
                "the span of strain is empty",
                found=f"start {self.start}, stop {self.stop}",
                wanted_by="the settings of the query",
                fix="choose a start before the stop",
            )

    @property
    def span(self) -> Segment:
        """The time asked about."""
        return Segment(
            -math.inf if self.start is None else self.start,
            math.inf if self.stop is None else self.stop,
        )


def query(settings: QuerySettings, draft: Draft) -> None:
    """Find the segments in which all detectors have data.

    Segments begin and end on whole seconds. Of local files, the seconds count in which all
    samples are finite and, where GWOSC's data quality mask is in the file, its DATA bit is
    set; of open data, those of the flag DATA; of frames and of NDS2, what the server has.
    All flags of the source must be active besides.
    """
    span = _span(settings)
    flagged = _flagged(settings, span)
    found = _available(settings, span, draft)
    for ifo, flags in flagged.items():
        found[ifo] = functools.reduce(intersect, flags, found[ifo])
    together = whole_seconds(functools.reduce(intersect, found.values()))
    segments = longer_than(together, settings.min_duration)
    if not segments:
        raise _nothing(settings, found, together)
    write_segments(draft.path / OUTPUT, segments)
    draft.notes["livetime"] = sum(segment.duration for segment in segments)
    draft.notes["livetime_by_ifo"] = {
        ifo: sum(segment.duration for segment in mine) for ifo, mine in found.items()
    }


def refuse_unfit_source(settings: QuerySettings) -> None:
    """Refuse what the headers of local files, and the names of curves, already tell.

    Raises:
        AframeError: If there is no such curve, a file is missing, cut short or foreign, no
            segment would be found even if all samples were good, or a server's client or name
            is missing.
    """
    source = settings.source
    refuse_out_of_reach(source)
    if isinstance(source, Simulated):
        _refuse_unknown_curves(source, settings.ifos)
    elif isinstance(source, Files):
        found: dict[str, list[Segment]] = {ifo: [] for ifo in settings.ifos}
        for one in _recordings(source, settings.ifos):
            found[one.ifo] += intersect([one.segment], [settings.span])
        found = {ifo: coalesce(mine) for ifo, mine in found.items()}
        together = whole_seconds(functools.reduce(intersect, found.values()))
        if not longer_than(together, settings.min_duration):
            raise _nothing(settings, found, together)


def refuse_out_of_reach(source: Source) -> None:
    """Refuse a server that this machine has no client of, or is not told the name of.

    Raises:
        AframeError: If so.
    """
    if isinstance(source, Nds2):
        nds.refuse_missing_client()
    elif isinstance(source, Datafind):
        from aframe_data import datafind  # noqa: PLC0415 - its client takes a second to import

        datafind.server(source)


def _refuse_unknown_curves(source: Simulated, ifos: Sequence[str]) -> None:
    for ifo in ifos:
        load_asd(source.psds[ifo], nyquist=2 * LOWEST, wanted_by=f"strain of {ifo}")


def whole_seconds(segments: Sequence[Segment]) -> list[Segment]:
    """Shrink segments to whole seconds; those without one fall away.

    Example:
        >>> whole_seconds([Segment(0.5, 3.0), Segment(7.2, 7.9)])
        [Segment(start=1.0, stop=3.0)]
    """
    edges = [(math.ceil(start), math.floor(stop)) for start, stop in segments]
    return [Segment(float(start), float(stop)) for start, stop in edges if start < stop]


def _span(settings: QuerySettings) -> Segment:
    """The time asked about, that of a dataset where no other is given."""
    if isinstance(settings.source, Gwosc) and settings.source.dataset:
        from aframe_data import open_data  # noqa: PLC0415 - gwpy takes a second to import

        whole = open_data.dataset_span(settings.source)
        for span in intersect([whole], [settings.span]):
            return span
        raise AframeError(
            "the dataset has nothing of the span",
            found=f"{settings.source.dataset} from {gps(whole.start)} to {gps(whole.stop)}",
            wanted_by=f"start {settings.start}, stop {settings.stop}",
            fix="leave out start and stop, or the dataset",
        )
    return settings.span


def _flagged(settings: QuerySettings, span: Segment) -> dict[str, list[list[Segment]]]:
    """When each flag of each detector is active."""
    source = settings.source
    if not isinstance(source, Flagged) or not source.flags:
        return {}
    from aframe_data import flags  # noqa: PLC0415 - gwpy takes a second to import

    return {
        ifo: [flags.active(flag, span, source) for flag in flags.flags_of(source.flags, ifo)]
        for ifo in settings.ifos
    }


def _available(settings: QuerySettings, span: Segment, draft: Draft) -> dict[str, list[Segment]]:
    """When there is strain of each detector."""
    source, ifos = settings.source, settings.ifos
    if isinstance(source, Simulated):
        # Now, not when the strain is wanted.
        _refuse_unknown_curves(source, ifos)
        return {ifo: [span] for ifo in ifos}
    if isinstance(source, Files):
        return _in_files(settings, source, draft)
    from aframe_data import datafind, open_data  # noqa: PLC0415 - as above

    if isinstance(source, Gwosc):
        found = {ifo: open_data.available(source, ifo, span) for ifo in ifos}
    elif isinstance(source, Datafind):
        found = {ifo: datafind.available(source, ifo, span) for ifo in ifos}
    else:
        found = {ifo: nds.available(source, ifo, span) for ifo in ifos}
    return {ifo: intersect(mine, [span]) for ifo, mine in found.items()}


def _recordings(source: Files, ifos: Sequence[str]) -> list[Recording]:
    """Find the files' strain, and refuse a detector of which they have none."""
    recordings = find_recordings(source, ifos)
    absent = [ifo for ifo in ifos if ifo not in {one.ifo for one in recordings}]
    if absent:
        raise AframeError(
            "there is no strain of a detector",
            found=f"no file holds {' or '.join(absent)}: files of {', '.join(source.paths)}",
            wanted_by="the setting `ifos`",
            fix=f"leave {' and '.join(absent)} out of ifos, or add files to the source",
        )
    return recordings


def _in_files(settings: QuerySettings, source: Files, draft: Draft) -> dict[str, list[Segment]]:
    recordings = _recordings(source, settings.ifos)
    inside = [one for one in recordings if intersect([one.segment], [settings.span])]
    paths = [draft.work / f"good-{number}.txt" for number in range(len(inside))]
    todo = [pair for pair in zip(inside, paths, strict=True) if not pair[1].exists()]
    strain = sum(one.segment.duration for one, _ in todo)
    workers = min(settings.resources.workers, math.ceil(strain / _WORTH_A_PROCESS))
    run_branches(
        write_good_segments,
        todo,
        draft=draft,
        workers=workers,
        unit="files",
        reads=lambda one, _path: [one.path],
        writes=lambda _one, path: [path],
    )
    found: dict[str, list[Segment]] = {ifo: [] for ifo in settings.ifos}
    for one, path in zip(inside, paths, strict=True):
        found[one.ifo] += read_segments(path)
    return {ifo: intersect(coalesce(mine), [settings.span]) for ifo, mine in found.items()}


def write_good_segments(recording: Recording, path: Path) -> None:
    """Write when one recording is good."""
    write_segments(path, good_segments(recording))


def _nothing(settings: QuerySettings, found: Found, together: Sequence[Segment]) -> AframeError:
    lines = [f"{ifo} {_told(segments)}" for ifo, segments in found.items()]
    return AframeError(
        "there is no time with data of all detectors",
        found="; ".join([*lines, f"together {_told(together)}"]),
        wanted_by=f"segments of at least {settings.min_duration:g} s"
        + (f" after {settings.start}" if settings.start is not None else "")
        + (f" before {settings.stop}" if settings.stop is not None else ""),
        fix="lower min_duration, widen start and stop, or add strain",
    )


def _told(segments: Sequence[Segment]) -> str:
    if not segments:
        return "nothing"
    total, longest = (f(segment.duration for segment in segments) for f in (sum, max))
    span = f"{gps(segments[0].start)} to {gps(segments[-1].stop)}"
    return f"{total:g} s in {len(segments)} segments (longest {longest:g} s, {span})"
