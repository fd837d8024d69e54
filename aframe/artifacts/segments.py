"""Segments of GPS time, and how many time slides they allow.

Standard library only. Slide arithmetic is done in whole microseconds, which a double still
tells apart at GPS times, so that a count never depends on how a sum was rounded.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from aframe.artifacts.record import write_text
from aframe.errors import AframeError

#: Time in which light crosses the Earth (s): detectors less apart than this in a slide may
#: still see one signal as one.
EARTH_CROSSING = 0.0426
#: Seconds that GPS time is ahead of UTC, and since when; no leap second came after the last.
_AHEAD = ((datetime(2017, 1, 1, tzinfo=UTC), 18), (datetime(2015, 7, 1, tzinfo=UTC), 17))
_HEADER = "# seg\tstart\tstop\tduration"


class Segment(NamedTuple):
    """A stretch of time from *start* to *stop* (GPS s), *stop* not included."""

    start: float
    stop: float

    @property
    def duration(self) -> float:
        """Length (s)."""
        return self.stop - self.start


def read_segments(path: Path) -> list[Segment]:
    """Read segwizard text: ``index start stop duration``, or ``start stop``, a line.

    Raises:
        AframeError: If the file is missing or a line is not a segment.
    """
    try:
        lines = Path(path).read_text().splitlines()
        content = [line.split("#")[0].split() for line in lines]
        return [_parsed(words) for words in content if words]
    except (OSError, ValueError) as error:
        raise AframeError(
            "a segment file cannot be read",
            found=f"{path}: {error}",
            wanted_by="the reader of segwizard text (index, start, stop, duration)",
            fix="run `aframe-data query` again, or correct the line",
        ) from error


def _parsed(words: Sequence[str]) -> Segment:
    if len(words) not in (2, 4):
        raise ValueError(f"{len(words)} columns in the line {' '.join(words)!r}")
    start, stop = (float(word) for word in (words[1:3] if len(words) == 4 else words))  # noqa: PLR2004
    if not -math.inf < start < stop < math.inf:
        raise ValueError(f"a segment from {start} to {stop}")
    return Segment(start, stop)


def write_segments(path: Path, segments: Iterable[Segment]) -> None:
    """Write segwizard text, whole or not at all."""
    lines = [
        f"{index}\t{gps(start)}\t{gps(stop)}\t{gps(stop - start)}"
        for index, (start, stop) in enumerate(segments)
    ]
    write_text(Path(path), "\n".join([_HEADER, *lines]) + "\n")


def gps(seconds: float) -> str:
    """Write a time without a needless fraction.

    Example:
        >>> gps(1126259446.0), gps(1126259446.5)
        ('1126259446', '1126259446.5')
    """
    return str(int(seconds)) if float(seconds).is_integer() else repr(float(seconds))


def event_time(event: str) -> float:
    """GPS time (s) of an event that is given by it, or by the name it has in a catalogue.

    A name such as ``GW190521_030229`` is the UTC time cut to whole seconds, so half of one is
    added.

    Raises:
        AframeError: If it is neither; ``GW190521`` names a day.

    Example:
        >>> event_time("GW150914_095045"), event_time("1187008882.4")
        (1126259462.5, 1187008882.4)
    """
    named = re.fullmatch(r"GW(\d{6}_\d{6})", event.strip())
    try:
        time = _named_time(named[1]) if named else float(event)
    except ValueError:
        time = math.nan
    if not 0 < time < math.inf:
        raise AframeError(
            "an event cannot be placed in time",
            found=repr(event),
            wanted_by="known_events",
            fix="give its GPS time (s), or a name with its UTC time such as GW190521_030229",
        )
    return time


def _named_time(digits: str) -> float:
    utc = datetime.strptime(digits, "%y%m%d_%H%M%S").replace(tzinfo=UTC)
    ahead = next((seconds for since, seconds in _AHEAD if utc >= since), math.nan)
    return (utc - datetime(1980, 1, 6, tzinfo=UTC)).total_seconds() + ahead + 0.5


def coalesce(segments: Iterable[Segment]) -> list[Segment]:
    """Sort *segments* and join those that touch or overlap; empty ones fall away."""
    joined: list[Segment] = []
    for start, stop in sorted(segments):
        if joined and start <= joined[-1].stop:
            joined[-1] = Segment(joined[-1].start, max(stop, joined[-1].stop))
        elif stop > start:
            joined.append(Segment(start, stop))
    return joined


def intersect(first: Iterable[Segment], second: Iterable[Segment]) -> list[Segment]:
    """Time that lies in both."""
    one, other = coalesce(first), coalesce(second)
    common: list[Segment] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, stop = max(one[i].start, other[j].start), min(one[i].stop, other[j].stop)
        if start < stop:
            common.append(Segment(start, stop))
        if one[i].stop < other[j].stop:
            i += 1
        else:
            j += 1
    return common


def subtract(first: Iterable[Segment], second: Iterable[Segment]) -> list[Segment]:
    """Time that lies in *first* and not in *second*."""
    holes = coalesce(second)
    edges = [-float("inf"), *(edge for hole in holes for edge in hole), float("inf")]
    return intersect(first, map(Segment, edges[::2], edges[1::2]))


def longer_than(segments: Iterable[Segment], min_duration: float) -> list[Segment]:
    """Segments of at least *min_duration* (s)."""
    return [segment for segment in segments if segment.duration >= min_duration]


def are_apart(shifts: Sequence[float]) -> bool:
    """Whether no two detectors of a slide can see a signal together.

    Args:
        shifts: Shift of each detector (s).

    Example:
        >>> are_apart([0, 1]), are_apart([0, 0]), are_apart([0, 0, 1])
        (True, False, False)
    """
    return len(shifts) > 1 and all(b - a > EARTH_CROSSING for a, b in pairwise(sorted(shifts)))


def is_analyzable(segment: Segment, shifts: Sequence[float], *, psd_length: float) -> bool:
    """Whether a slide of *segment* leaves time after its PSD.

    Args:
        segment: Time that all detectors have.
        shifts: Shift of each detector (s), not negative.
        psd_length: Data before the first output that give its PSD (s).
    """
    return _microseconds(segment.duration - psd_length) > _microseconds(max(shifts))


def slides_for_livetime(
    segments: Sequence[Segment], shifts: Sequence[float], *, psd_length: float, livetime: float
) -> int:
    """Count the slides that give *livetime*.

    Slide *k* = 1, 2, … shifts detector *d* by ``k * shifts[d]`` and leaves of each
    segment what lies after its PSD and before the end of the most shifted detector.

    Args:
        segments: Segments to slide.
        shifts: Shift of each detector in the first slide (s).
        psd_length: Data before the first output that give its PSD (s).
        livetime: Time to reach (s).

    Returns:
        The smallest number of slides, 1 to n, whose time adds up to *livetime*.

    Raises:
        AframeError: If a slide would pair detectors as they were, a length is none, or no
            number of slides is enough.
    """
    if livetime <= 0:
        return 0
    _refuse_no_lengths(psd_length=psd_length, livetime=livetime, segments=_longest(segments))
    step = _slide_step(shifts)
    lengths = [_microseconds(segment.duration - psd_length) for segment in segments]

    def total(slides: int) -> int:
        used = [(length, min(slides, (length - 1) // step)) for length in lengths if length > step]
        return sum(n * length - step * n * (n + 1) // 2 for length, n in used)

    most = max([0, *((length - 1) // step for length in lengths)])
    if total(most) < _microseconds(livetime):
        raise AframeError(
            "the segments are too short for the livetime asked for",
            found=f"{total(most) / 1e6:.0f} s in all {most} slides of {len(segments)} segments",
            wanted_by=f"a livetime of {livetime:g} s with shifts {list(shifts)}",
            fix="ask for less livetime (Tb), use smaller shifts, or add strain",
        )
    return bisect_left(range(most + 1), _microseconds(livetime), key=total)


def slides_for_injections(
    segments: Sequence[Segment],
    shifts: Sequence[float],
    *,
    spacing: float,
    duration: float,
    buffer: float,
    num_signals: int,
    psd_length: float,
) -> int:
    """Count the slides that hold *num_signals* injections at the times of :func:`slots`.

    Args:
        segments: Segments to slide.
        shifts: Shift of each detector in the first slide (s).
        spacing: Time between the end of a waveform and the start of the next (s).
        duration: Length of a waveform (s).
        buffer: Time kept free at either end of a slide (s).
        num_signals: Number of injections to place.
        psd_length: Data before the first output that give its PSD (s).

    Returns:
        The smallest number of slides, 1 to n, that have so many slots.

    Raises:
        AframeError: If a slide would pair detectors as they were, a length is none, the slots
            have no length, or no number of slides is enough.
    """
    lengths = {"spacing": spacing, "duration": duration, "buffer": buffer}
    _refuse_no_lengths(psd_length=psd_length, segments=_longest(segments), **lengths)
    _slide_step(shifts)
    layout = {
        "spacing": spacing, "duration": duration, "buffer": buffer, "psd_length": psd_length
    }  # fmt: skip
    found = slides = 0
    while found < num_signals:
        shifted = [(slides + 1) * shift for shift in shifts]
        more = sum(_slot_count(segment, shifted, **layout)[0] for segment in segments)
        if not more:
            raise AframeError(
                "the segments are too short for the injections asked for",
                found=f"{found} slots in all {slides} slides of {len(segments)} segments",
                wanted_by=f"{num_signals} signals with shifts {list(shifts)} and {layout}",
                fix="ask for fewer signals, a smaller spacing or buffer, or add strain",
            )
        found, slides = found + more, slides + 1
    return slides


def slots(
    segment: Segment,
    shifts: Sequence[float],
    *,
    spacing: float,
    duration: float,
    buffer: float,
    psd_length: float,
) -> list[float]:
    """Times at which one slide of *segment* takes an injection, before any jitter.

    The first lies ``psd_length + buffer + duration / 2`` after the start, the others
    ``spacing + duration`` apart, all of them before ``buffer + duration / 2`` and the
    largest shift from the end.

    Args:
        segment: Time that all detectors have.
        shifts: Shift of each detector (s), already times the slide's number.
        spacing: Time between the end of a waveform and the start of the next (s).
        duration: Length of a waveform (s).
        buffer: Time kept free at either end (s).
        psd_length: Data before the first output that give its PSD (s).

    Returns:
        GPS times (s) in the unshifted frame.

    Raises:
        AframeError: If the slots have no length.
    """
    count, first, step = _slot_count(
        segment, shifts, spacing=spacing, duration=duration, buffer=buffer, psd_length=psd_length
    )
    return [segment.start + (first + index * step) / 1e6 for index in range(count)]


def _slot_count(
    segment: Segment,
    shifts: Sequence[float],
    *,
    spacing: float,
    duration: float,
    buffer: float,
    psd_length: float,
) -> tuple[int, int, int]:
    """Count the slots; the first's offset from the segment's start; the step (us)."""
    step = _microseconds(spacing + duration)
    if step <= 0:
        raise AframeError(
            "injections would lie on one another",
            found=f"spacing {spacing:g} s and duration {duration:g} s",
            wanted_by="the times of the injections",
            fix="give a spacing and waveform duration whose sum is above zero",
        )
    first = _microseconds(psd_length + buffer + duration / 2)
    end = _microseconds(segment.duration - max(shifts) - buffer - duration / 2)
    return max(0, -((first - end) // step)), first, step


def refuse_standing(shifts: Sequence[float]) -> None:
    """Refuse shifts whose multiples would pair two detectors as they were.

    A signal that both saw would then count as background.

    Raises:
        AframeError: If so, or if a shift is negative or no number.
    """
    if not all(shift >= 0 and math.isfinite(shift) for shift in shifts) or not are_apart(shifts):
        raise AframeError(
            "the shifts make no time slides",
            found=f"shifts {list(shifts)}",
            wanted_by="the number of time slides",
            fix="give one shift a detector, none negative and each two more than "
            f"{EARTH_CROSSING:g} s apart, such as 0, 1 or 0, 1, 2",
        )


def _slide_step(shifts: Sequence[float]) -> int:
    """Time that each further slide loses (us)."""
    refuse_standing(shifts)
    return _microseconds(max(shifts))


def _longest(segments: Sequence[Segment]) -> float:
    """Longest duration (s), not negative; not a number where one of them is none."""
    durations = [segment.duration for segment in segments]
    return math.nan if any(map(math.isnan, durations)) else max([0.0, *durations])


def _refuse_no_lengths(**lengths: float) -> None:
    wrong = {name: value for name, value in lengths.items() if not 0 <= value < math.inf}
    if wrong:
        raise AframeError(
            "a length of the slides is none",
            found=", ".join(f"{name} {value:g} s" for name, value in wrong.items()),
            wanted_by="the number of time slides",
            fix="give lengths that are finite and not negative",
        )


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
