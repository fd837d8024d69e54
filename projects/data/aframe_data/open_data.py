"""Strain files of GWOSC, through its client."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from gwosc import datasets, locate
from gwosc.api import v2
from gwosc.utils import url_segment

from aframe.artifacts.segments import Segment, coalesce, gps, intersect, subtract
from aframe.errors import AframeError
from aframe_data import flags
from aframe_data.downloads import RemoteFile
from aframe_data.servers import ask
from aframe_data.sources import Gwosc

log = logging.getLogger(__name__)

#: The longest file of an event (s); the client looks so far behind a span itself, not before it.
_LONGEST = 4096


def dataset_span(source: Gwosc) -> Segment:
    """The time that the source's dataset, a run or an event, covers (GPS s).

    Raises:
        AframeError: If GWOSC knows no such dataset, or has no files of that event alone.
    """
    name, host = str(source.dataset), flags.gwosc_server(source)
    wanted_by = f"the dataset {name}"
    if name in ask(lambda: _runs(host), wanted_by=wanted_by):
        run = ask(lambda: v2.fetch_run(name, host=host), wanted_by=wanted_by)
        return Segment(float(run["gps_start"]), float(run["gps_end"]))
    files = ask(lambda: [*v2.fetch_event_strain_data(name, host=host)], wanted_by=wanted_by)
    if not files:
        event = ask(lambda: v2.fetch_event_version(name, host=host), wanted_by=wanted_by)
        raise AframeError(
            "an event has no files of its own",
            found=f"none of {event['name']}, as of all events since GWTC-4.0",
            wanted_by=wanted_by,
            fix=f"name its run, {event['run']}, or none, and give start and stop about "
            f"{gps(event['gps'])}",
        )
    return Segment(
        float(min(file["gps_start"] for file in files)),
        float(max(file["gps_start"] + file["duration"] for file in files)),
    )


def available(source: Gwosc, ifo: str, span: Segment) -> list[Segment]:
    """Ask when there is strain of a detector within *span* (GPS s).

    It is where the flag DATA is active, and a file of the source's sample rate is there.

    Raises:
        AframeError: If the server does not tell.
    """
    active = flags.active(f"{ifo}_{flags.DATA}", span, source)
    files = find_files(source, ifo, active) if active else []
    lacking = subtract(active, [file.segment for file in files])
    if lacking:
        seconds = sum(one.duration for one in lacking)
        log.info("no files of %s at %d Hz for %d s of data", ifo, source.sample_rate, seconds)
    return subtract(active, lacking)


def find_files(source: Gwosc, ifo: str, segments: Sequence[Segment]) -> list[RemoteFile]:
    """Find the files that hold *segments* of a detector, as far as there are any.

    The files of runs come first: those of an event may be of another calibration, and
    a search wants one.

    Args:
        source: Which server, sample rate and dataset.
        ifo: Detector.
        segments: Sorted (GPS s).

    Raises:
        AframeError: If the server does not answer, or knows no such dataset.
    """
    wanted_by = f"strain of {ifo} at {source.sample_rate} Hz"
    span = (int(segments[0].start), int(segments[-1].stop))

    def of_runs() -> list[str]:
        host = flags.gwosc_server(source)
        names = datasets.find_datasets(detector=ifo, type="run", segment=span, host=host)
        chosen = [name for name in names if source.dataset in {None, name}]
        return [url for name in chosen for url in _run_urls(source, ifo, name, span)]

    files = _needed(_files(ask(of_runs, wanted_by=wanted_by), ifo), segments)
    for segment in subtract(segments, [file.segment for file in files]):

        def of_events(segment: Segment = segment) -> list[str]:
            return _event_urls(source, ifo, segment)

        found = _files(ask(of_events, wanted_by=wanted_by), ifo)
        files += _needed(_shortest_first(found, segment), [segment])
    return files


def _runs(host: str) -> list[str]:
    return datasets.find_datasets(type="run", host=host)


def _run_urls(source: Gwosc, ifo: str, run: str, span: tuple[int, int]) -> list[str]:
    return locate.get_run_urls(
        run, ifo, *span, sample_rate=source.sample_rate, host=flags.gwosc_server(source)
    )


def _event_urls(source: Gwosc, ifo: str, segment: Segment) -> list[str]:
    host, span = flags.gwosc_server(source), (int(segment.start), int(segment.stop))
    names = [source.dataset] if source.dataset else []
    if not names:
        near = (span[0] - _LONGEST, span[1])
        names = datasets.find_datasets(detector=ifo, type="event", segment=near, host=host)
    elif source.dataset in _runs(host):
        return []
    return [
        url
        for name in names
        for url in locate.get_event_urls(
            name,
            detector=ifo,
            start=span[0],
            end=span[1],
            sample_rate=source.sample_rate,
            host=host,
        )
    ]


def _files(urls: Iterable[str], ifo: str) -> list[RemoteFile]:
    return [RemoteFile(url, ifo, Segment(*map(float, url_segment(url)))) for url in urls]


def _shortest_first(files: Iterable[RemoteFile], segment: Segment) -> list[RemoteFile]:
    """Order files so that the shortest that holds all of *segment* comes first."""
    return sorted(
        files,
        key=lambda file: (bool(subtract([segment], [file.segment])), file.segment.duration),
    )


def _needed(files: Iterable[RemoteFile], segments: Sequence[Segment]) -> list[RemoteFile]:
    """Leave out the files that give no part of *segments* which those before them do not."""
    left, needed = coalesce(segments), []
    for file in files:
        if intersect(left, [file.segment]):
            needed.append(file)
            left = subtract(left, [file.segment])
    return needed
