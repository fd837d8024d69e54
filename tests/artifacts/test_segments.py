"""Segments against an independent library; slides against counting by hand."""

from fractions import Fraction

import igwn_segments
import numpy as np
import pytest
from astropy.time import Time
from gwpy.segments import SegmentList
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aframe.artifacts.segments import (
    Segment,
    are_apart,
    coalesce,
    event_time,
    gps,
    intersect,
    is_analyzable,
    longer_than,
    read_segments,
    slides_for_injections,
    slides_for_livetime,
    slots,
    subtract,
    write_segments,
)
from aframe.errors import AframeError

GPS = 1_126_259_446
TIMES = st.integers(0, 60)
SEGMENTS = st.lists(
    st.builds(lambda a, d: Segment(a, a + d), TIMES, st.integers(1, 20)), max_size=6
)
#: Lengths with a fraction that float sums must not spoil.
LENGTHS = st.lists(st.integers(1, 400).map(lambda tenths: tenths / 10), min_size=1, max_size=4)
LAYOUT = {"spacing": 2.5, "duration": 3, "buffer": 1, "psd_length": 4}


def _independent(segments):
    return igwn_segments.segmentlist(igwn_segments.segment(*each) for each in segments).coalesce()


def _one_after_another(lengths):
    return [Segment(GPS + 1000 * i, GPS + 1000 * i + length) for i, length in enumerate(lengths)]


@given(SEGMENTS, SEGMENTS)
def test_sets_of_time_agree_with_igwn_segments(first, second):
    """Union, intersection and difference are those of the field's own library."""
    one, other = _independent(first), _independent(second)

    assert coalesce(first) == [tuple(each) for each in one]
    assert intersect(first, second) == [tuple(each) for each in one & other]
    assert subtract(first, second) == [tuple(each) for each in one - other]


@given(SEGMENTS, st.floats(0, 20))
def test_no_short_segment_stays(segments, shortest):
    """A segment of exactly the wanted length is long enough."""
    kept = longer_than(segments, shortest)

    assert kept == [each for each in segments if each.stop - each.start >= shortest]


def test_an_empty_segment_falls_away():
    """A segment without length is no time."""
    assert coalesce([Segment(3, 3), Segment(1, 2)]) == [Segment(1, 2)]


@given(st.lists(st.tuples(st.integers(0, 2**31), st.integers(1, 2**20)), max_size=5))
def test_reading_gives_what_was_written(tmp_path_factory, bounds):
    """Times with fractions survive the text."""
    path = tmp_path_factory.mktemp("segments") / "segments.txt"
    segments = [Segment(start / 4, start / 4 + length / 8) for start, length in bounds]

    write_segments(path, segments)

    assert read_segments(path) == segments


def test_gwpy_reads_what_we_write_and_we_read_what_gwpy_writes(tmp_path):
    """The text is segwizard's."""
    segments = [Segment(GPS, GPS + 32), Segment(GPS + 100, GPS + 200)]
    write_segments(tmp_path / "ours.txt", segments)
    theirs = SegmentList.read(tmp_path / "ours.txt", format="segwizard")
    theirs.write(tmp_path / "theirs.txt", format="segwizard")

    assert [tuple(map(float, each)) for each in theirs] == segments
    assert read_segments(tmp_path / "theirs.txt") == segments


def test_reads_two_columns(tmp_path):
    """A plain list of starts and stops is understood, comments and blank lines left out."""
    (tmp_path / "plain.txt").write_text("# by hand\n\n10 20 # good\n30.5 40\n")

    assert read_segments(tmp_path / "plain.txt") == [Segment(10, 20), Segment(30.5, 40)]


def test_the_lines_are_those_older_readers_split_at_tabs(tmp_path):
    """One header line, then index, start, stop, duration."""
    write_segments(tmp_path / "segments.txt", [Segment(GPS, GPS + 32)])

    header, line = (tmp_path / "segments.txt").read_text().splitlines()
    assert header.startswith("#")
    assert line.split("\t") == ["0", str(GPS), str(GPS + 32), "32"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("0\t10\t20\t10\nonly three words", "3 columns in the line 'only three words'"),
        ("0\tten\t20\t10", "could not convert string to float: 'ten'"),
        ("0\t20\t10\t-10", r"a segment from 20.0 to 10.0"),
        ("10 inf", r"a segment from 10.0 to inf"),
        ("nan 10", r"a segment from nan to 10.0"),
    ],
    ids=["missing", "columns", "words", "backwards", "endless", "nan"],
)
def test_refuses_text(tmp_path, text, message):
    """What is not segwizard is refused with the line that is not."""
    if text is not None:
        (tmp_path / "segments.txt").write_text(text)

    with pytest.raises(AframeError, match="a segment file cannot be read") as caught:
        read_segments(tmp_path / "segments.txt")

    assert message in caught.value.found


@pytest.mark.parametrize(("duration", "wanted"), [(69, False), (69.1, True), (10, False)])
def test_analyzable_is_what_leaves_time(duration, wanted):
    """Time must be left after the PSD and the largest shift, not merely none be missing."""
    segment = Segment(GPS, GPS + duration)

    assert is_analyzable(segment, [0, 5], psd_length=64) is wanted


def _livetime_by_hand(segments, shift, psd_length, slides):
    return sum(
        max(
            Fraction(0),
            Fraction(str(round(each.duration, 6))) - psd_length - k * Fraction(str(shift)),
        )
        for k in range(1, slides + 1)
        for each in segments
    )


@example(lengths=[5.6], shift=0.5, psd_length=0, share=1.0)
@given(LENGTHS, st.sampled_from([0.5, 1, 2.2]), st.integers(0, 3), st.floats(0.1, 1.2))
def test_slides_for_livetime_is_the_smallest_number(lengths, shift, psd_length, share):
    """One slide less is not enough, and where none is enough it says how much there is."""
    segments = _one_after_another(lengths)
    most = _livetime_by_hand(segments, shift, psd_length, slides=100)
    livetime = round(float(most) * share, 3)
    exact = Fraction(str(livetime))

    def ask():
        return slides_for_livetime(segments, [0, shift], psd_length=psd_length, livetime=livetime)

    if exact > most:
        with pytest.raises(AframeError, match="too short for the livetime"):
            ask()
        return
    found = ask()
    assert _livetime_by_hand(segments, shift, psd_length, found) >= exact
    assert found == 0 or _livetime_by_hand(segments, shift, psd_length, found - 1) < exact


def test_no_livetime_needs_no_slide():
    """Nothing asked for is nothing done, even without segments."""
    assert slides_for_livetime([], [0, 1], psd_length=64, livetime=0) == 0


def test_a_year_of_slides_is_counted_at_once():
    """Ten thousand segments and shifts of a twentieth of a second are no loop over slides."""
    segments = _one_after_another([900.0] * 10_000)

    found = slides_for_livetime(segments, [0, 0.05], psd_length=64, livetime=3.15e10)

    # sum over k of 836 - k/20, times 10 000 segments
    assert 10_000 * (836 * found - found * (found + 1) / 40) >= 3.15e10
    assert 10_000 * (836 * (found - 1) - found * (found - 1) / 40) < 3.15e10


def _slots_by_hand(segment, shift):
    times, time = [], segment.start + LAYOUT["psd_length"] + LAYOUT["buffer"] + 1.5
    end = segment.start + segment.duration - shift - LAYOUT["buffer"] - 1.5
    while time < end - 1e-7:
        times.append(time)
        time += LAYOUT["spacing"] + LAYOUT["duration"]
    return times


@given(LENGTHS, st.sampled_from([0, 0.5, 1, 2.2]))
def test_slots_lie_inside_the_slide(lengths, shift):
    """The slots are those of a plain loop, and each waveform ends before the data do."""
    for segment in _one_after_another(lengths):
        found = slots(segment, [0, shift], **LAYOUT)

        assert found == pytest.approx(_slots_by_hand(segment, shift), abs=1e-6)
        assert all(segment.start + 5 <= time - 1.5 + 1e-6 for time in found)
        assert all(time + shift + 1.5 < segment.stop - 1 + 1e-6 for time in found)


@given(LENGTHS, st.sampled_from([0.5, 1, 2.2]), st.integers(0, 60))
def test_slides_for_injections_is_the_smallest_number(lengths, shift, num_signals):
    """Counting the slots slide by slide gives the same number, or that there are too few."""
    segments = _one_after_another(lengths)
    per_slide = [sum(len(_slots_by_hand(s, k * shift)) for s in segments) for k in range(1, 100)]
    wanted = next((n for n in range(100) if sum(per_slide[:n]) >= num_signals), None)

    def ask():
        return slides_for_injections(segments, [0, shift], num_signals=num_signals, **LAYOUT)

    if wanted is None:
        with pytest.raises(AframeError, match=rf"{sum(per_slide)} slots in all"):
            ask()
    else:
        assert ask() == wanted


@pytest.mark.parametrize(
    "shifts",
    [[0, 0], [1, 1], [0], [], [-1, 0], [0, 0.04], [0, 0, 1], [0, 2, 2], [0, np.nan], [0, np.inf]],
)
def test_refuses_shifts_that_make_no_slides(shifts):
    """Nor may two of three detectors stay together: what both see would be background."""
    segments = [Segment(GPS, GPS + 1000)]

    with pytest.raises(AframeError, match="the shifts make no time slides"):
        slides_for_livetime(segments, shifts, psd_length=64, livetime=10)
    with pytest.raises(AframeError, match="the shifts make no time slides"):
        slides_for_injections(segments, shifts, num_signals=3, **LAYOUT)


@pytest.mark.parametrize("length", [-1.0, np.nan, np.inf])
def test_refuses_lengths_that_are_none(length):
    """Neither is a PSD made of the time before a segment, nor is there an endless livetime."""
    segments = [Segment(GPS, GPS + 1000)]

    with pytest.raises(AframeError, match="a length of the slides is none") as caught:
        slides_for_livetime(segments, [0, 1], psd_length=length, livetime=10)
    assert caught.value.found == f"psd_length {length:g} s"
    with pytest.raises(AframeError, match="a length of the slides is none"):
        slides_for_injections(segments, [0, 1], num_signals=3, **{**LAYOUT, "buffer": length})


@pytest.mark.parametrize(("start", "stop"), [(GPS, np.inf), (np.nan, GPS), (-np.inf, GPS)])
def test_refuses_segments_that_never_end(start, stop):
    """No number of slides comes of them."""
    segments = [Segment(GPS, GPS + 1000), Segment(start, stop)]

    with pytest.raises(AframeError, match="a length of the slides is none"):
        slides_for_livetime(segments, [0, 1], psd_length=64, livetime=10)
    with pytest.raises(AframeError, match="a length of the slides is none"):
        slides_for_injections(segments, [0, 1], num_signals=3, **LAYOUT)


#: What a hand may write: whole and half seconds, nothing, less than nothing, no number at all.
NUMBERS = st.one_of(
    st.integers(-4, 40).map(lambda halves: halves / 2),
    st.sampled_from([0.0, 1e-9, 0.1, 1 / 3, 1e5, 1e15, np.nan, np.inf, -np.inf]),
)


@settings(max_examples=200, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 400).map(lambda tenths: tenths / 10), max_size=4),
    shifts=st.lists(NUMBERS, max_size=3),
    psd_length=NUMBERS,
    livetime=NUMBERS,
    num_signals=st.integers(-1, 60),
    spacing=NUMBERS,
    duration=NUMBERS,
    buffer=NUMBERS,
)
def test_any_input_ends_in_a_count_or_an_error(
    lengths, shifts, psd_length, livetime, num_signals, spacing, duration, buffer
):
    """Neither runs on for ever, nor gives anything but a whole number or an `AframeError`."""
    segments = _one_after_another(lengths)
    layout = {"spacing": spacing, "duration": duration, "buffer": buffer, "psd_length": psd_length}

    for count, reached in (
        (
            lambda: slides_for_livetime(segments, shifts, psd_length=psd_length, livetime=livetime),
            lambda slides: _livetime_by_hand(segments, max(shifts), psd_length, slides) >= livetime,
        ),
        (
            lambda: slides_for_injections(segments, shifts, num_signals=num_signals, **layout),
            lambda slides: (
                sum(
                    len(slots(each, [k * shift for shift in shifts], **layout))
                    for each in segments
                    for k in range(1, slides + 1)
                )
                >= num_signals
            ),
        ),
    ):
        try:
            slides = count()
        except AframeError:
            continue
        assert type(slides) is int
        assert slides == 0 or (are_apart(shifts) and reached(slides))


def test_refuses_slots_without_length():
    """Injections on one another would be counted without end."""
    layout = {**LAYOUT, "spacing": -3.0}

    with pytest.raises(AframeError, match="injections would lie on one another"):
        slots(Segment(GPS, GPS + 100), [0, 1], **layout)


@pytest.mark.parametrize(
    "name", ["GW150914_095045", "GW161231_235959", "GW170817_124104", "GW190521_030229"]
)
def test_the_time_in_the_name_of_an_event_is_utc(name):
    """As astropy reads it, up to the half second that stands for what the name cuts off."""
    utc = f"20{name[2:4]}-{name[4:6]}-{name[6:8]}T{name[9:11]}:{name[11:13]}:{name[13:]}"

    assert event_time(name) == pytest.approx(Time(utc, scale="utc").gps + 0.5, abs=1e-6)


def test_no_leap_second_is_missing():
    """Today's GPS time is what the last entry of the table makes of it."""
    today = Time.now()

    assert event_time(today.strftime("GW%y%m%d_%H%M%S")) == pytest.approx(today.gps, abs=0.51)


@pytest.mark.parametrize(
    "event", ["GW190521", "GW190521_250000", "GW100916_063000", "S190521g", "nan", "-3", "", "inf"]
)
def test_refuses_an_event_without_a_time(event):
    """The name of a day, an hour or a year that no event has, or no time at all."""
    with pytest.raises(AframeError, match="an event cannot be placed in time") as caught:
        event_time(event)

    assert caught.value.found == repr(event)


@pytest.mark.parametrize(("seconds", "text"), [(32.0, "32"), (GPS + 0.25, f"{GPS}.25"), (3, "3")])
def test_gps_text(seconds, text):
    """Whole seconds carry no point."""
    assert gps(seconds) == text
