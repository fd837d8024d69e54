"""Frame files, through gwpy."""

from __future__ import annotations

import lalframe
import numpy as np
import pytest
from gwpy.io.gwf.lalframe import create_frame, write_frames
from gwpy.timeseries import TimeSeries, TimeSeriesDict

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data import frames


@pytest.fixture
def frame(tmp_path):
    """A frame of H1 and an auxiliary channel, 8 s at 512 Hz."""
    strain = np.arange(8 * 512, dtype=float)
    names = ("H1:TEST-STRAIN", "H1:TEST-AUX")
    series = {
        name: TimeSeries(strain, t0=1_000_000_000, sample_rate=512, name=name, channel=name)
        for name in names
    }
    path = tmp_path / "H-H1_TEST-1000000000-8.gwf"
    TimeSeriesDict(series).write(path, format="gwf")
    return path


def test_reads_headers_and_samples(frame):
    """Channels, span, rate, and any part of the strain."""
    name = "H1:TEST-STRAIN"

    assert sorted(frames.channels(frame)) == ["H1:TEST-AUX", name]
    assert frames.span(frame) == [Segment(1e9, 1e9 + 8)]
    assert frames.sample_rate(frame, name) == 512
    found = frames.read(frame, name, Segment(1e9 + 2, 1e9 + 5), sample_rate=512)
    np.testing.assert_array_equal(found, np.arange(1024, 2560))


@pytest.fixture
def several(tmp_path):
    """A file of three frames of 4 s with a gap, of which the last lacks one of two channels."""
    path = tmp_path / "H-H1_TEST-1000000000-16.gwf"
    written = []
    for start, names in ((0, "AB"), (4, "AB"), (12, "A")):
        one = create_frame(1_000_000_000 + start, 4, ifos=["H1"])
        for name in names:
            series = TimeSeries(
                np.full(4 * 64, float(start)), t0=1e9 + start, sample_rate=64, name=f"H1:{name}"
            )
            lalframe.FrameAddREAL8TimeSeriesProcData(one, series.to_lal())
        written.append(one)
    write_frames(str(path), written)
    return path


def test_spans_come_from_the_table_of_contents(several, monkeypatch):
    """No channel is read for them."""
    monkeypatch.setattr("lalframe.FrameUFrChanRead", None)

    assert frames.span(several) == [Segment(1e9, 1e9 + 8), Segment(1e9 + 12, 1e9 + 16)]


def test_refuses_frames_that_are_not_alike(several, frame):
    """One without the channel, and one of another rate than was seen first."""
    whole, last = Segment(1e9 + 3, 1e9 + 5), Segment(1e9 + 12, 1e9 + 16)

    assert set(frames.read(several, "H1:B", whole, sample_rate=64)) == {0, 4}
    assert set(frames.read(several, "H1:A", last, sample_rate=64)) == {12}
    with pytest.raises(AframeError, match=r"not like the others[\s\S]*no H1:B from 1000000012"):
        frames.read(several, "H1:B", last, sample_rate=64)
    with pytest.raises(AframeError, match=r"H1:A at 64 Hz, elsewhere at 128 Hz"):
        frames.read(several, "H1:A", whole, sample_rate=128)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_knows_a_file_that_is_cut_short(frame, kept):
    """LALFrame itself would crash on one."""
    assert frames.is_whole(frame)
    content = frame.read_bytes()
    frame.write_bytes(content[: int(kept * len(content))])

    assert not frames.is_whole(frame)
