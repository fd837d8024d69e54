"""Frame files, through gwpy."""

from __future__ import annotations

import numpy as np
import pytest
from gwpy.timeseries import TimeSeries, TimeSeriesDict

from aframe.artifacts.segments import Segment
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
    assert frames.span(frame, name) == [Segment(1e9, 1e9 + 8)]
    assert frames.sample_rate(frame, name) == 512
    found = frames.read(frame, name, Segment(1e9 + 2, 1e9 + 5))
    np.testing.assert_array_equal(found, np.arange(1024, 2560))


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_knows_a_file_that_is_cut_short(frame, kept):
    """LALFrame itself would crash on one."""
    assert frames.is_whole(frame)
    content = frame.read_bytes()
    frame.write_bytes(content[: int(kept * len(content))])

    assert not frames.is_whole(frame)
