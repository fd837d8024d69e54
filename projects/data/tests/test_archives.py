"""Files on servers, here while they are needed."""

from __future__ import annotations

import numpy as np
import pytest
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from loopback import OpenData, frame_finder

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.archives import find_archive
from aframe_data.sources import Datafind, Gwosc

G, RATE = 1_126_259_446, 256
KIND = "H1_TEST"


@pytest.fixture
def open_data(enter, no_waiting, write_gwosc):
    """H1 in two files that touch."""
    files = [
        write_gwosc(
            np.full(4 * RATE, float(number)), rate=RATE, start=G + 4 * number, tag="LOSC_4_V1"
        )
        for number in (0, 1)
    ]
    data = OpenData(runs={"O1": (G, G + 8)}, files={"O1": files})
    return enter(data.server())


def test_has_the_files_that_are_needed_and_drops_the_others(tmp_path, open_data):
    """Each once, and no more than what is wanted holds."""
    source = Gwosc("gwosc", gwosc_server=open_data.url)
    archive = find_archive(source, "H1", [Segment(G, G + 8)], tmp_path / "new")
    second = Segment(G + 5, G + 7)

    (recording,) = archive.recordings(second)
    assert set(recording.read(second)) == {1}
    assert len(archive.recordings(Segment(G + 1, G + 7))) == 2
    assert open_data.times("files/") == 2
    archive.drop([second])
    assert [path.name for path in (tmp_path / "new").iterdir()] == [recording.path.name]
    archive.drop([])
    assert list((tmp_path / "new").iterdir()) == []


def test_a_download_of_another_detector(tmp_path, open_data, write_gwosc):
    """Is refused, and not kept: what the server has the next time may be right."""
    source = Gwosc("gwosc", gwosc_server=open_data.url)
    archive = find_archive(source, "H1", [Segment(G, G + 8)], tmp_path / "new")
    other = write_gwosc(np.ones(4 * RATE), ifo="L1", rate=RATE, start=G)
    other.rename(tmp_path / archive.files[0].name)

    with pytest.raises(AframeError, match="a download holds no strain of the detector") as caught:
        archive.recordings(Segment(G, G + 8))

    assert caught.value.found == f"{archive.files[0].name} without H1; removed again"
    assert [path.name for path in (tmp_path / "new").iterdir()] == [archive.files[1].name]


@pytest.mark.usefixtures("no_waiting")
def test_downloaded_frames_without_the_channel(tmp_path, enter, frame):
    """The source names another."""
    server = enter(frame_finder({KIND: [frame]}, scheme="http"))
    channels = {"H1": "H1:C_STRAIN"}
    source = Datafind("datafind", {"H1": KIND}, channels, server.url, urltype="http")
    archive = find_archive(source, "H1", [Segment(G, G + 4)], tmp_path / "new")

    with pytest.raises(AframeError, match="a download holds no strain of the detector") as caught:
        archive.recordings(Segment(G, G + 4))

    assert "without H1:C_STRAIN" in caught.value.found


@pytest.fixture
def frame(tmp_path):
    """A frame of H1 with two channels."""
    path = tmp_path / f"H-{KIND}-{G}-4.gwf"
    samples = {"H1:A_STRAIN": np.zeros(4 * RATE), "H1:B_STRAIN": np.arange(4.0 * RATE)}
    series = {
        name: TimeSeries(strain, t0=G, sample_rate=RATE, name=name)
        for name, strain in samples.items()
    }
    TimeSeriesDict(series).write(path, format="gwf")
    return path


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_frames_here_and_elsewhere(tmp_path, enter, no_waiting, frame, scheme):
    """Read where they lie, or downloaded; from the channel that is named."""
    server = enter(frame_finder({KIND: [frame]}, scheme=scheme))
    channels = {"H1": "H1:B_STRAIN"}
    source = Datafind("datafind", {"H1": KIND}, channels, server.url, scheme)
    found = find_archive(source, "H1", [Segment(G, G + 4)], tmp_path / "new")

    (recording,) = found if scheme == "file" else found.recordings(Segment(G, G + 4))

    assert recording.name == "H1:B_STRAIN"
    assert (recording.read(Segment(G + 1, G + 2)) == np.arange(RATE, 2 * RATE)).all()
    assert (tmp_path / "new").exists() == (scheme == "http")


def test_frames_that_are_not_to_be_seen(tmp_path, enter, no_waiting, frame):
    """The server says a path that this machine has not."""
    server = enter(frame_finder({KIND: [frame]}))
    frame.unlink()
    source = Datafind("datafind", {"H1": KIND}, datafind_server=server.url)

    with pytest.raises(AframeError, match=r"not to be seen[\s\S]*urltype"):
        find_archive(source, "H1", [Segment(G, G + 4)], tmp_path)
