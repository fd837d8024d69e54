"""When flags are active, asked of servers by the real clients."""

from __future__ import annotations

import pytest
from loopback import OpenData, segment_database

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data import servers
from aframe_data.flags import active, flags_of
from aframe_data.sources import Files

#: The end of O3a, and the begin of O3b, with a month between.
O3A_END, O3B_START = 1_253_977_218, 1_256_655_618


def source(**servers):
    """A source whose flags these servers know."""
    return Files("files", ("/data/*",), **servers)


def test_flags_of_a_detector():
    """Both spellings of both kinds; those of other detectors are not its."""
    flags = ("CBC_CAT2", "H1_NO_CBC_HW_INJ", "L1:DMT-ANALYSIS_READY:1", "H1:DMT-ANALYSIS_READY:2")

    assert flags_of(flags, "H1") == ["H1_CBC_CAT2", "H1_NO_CBC_HW_INJ", "H1:DMT-ANALYSIS_READY:2"]
    assert flags_of(flags, "L1") == ["L1_CBC_CAT2", "L1:DMT-ANALYSIS_READY:1"]
    assert flags_of(flags, "V1") == ["V1_CBC_CAT2"]


class TestGwosc:
    """Flags of open data."""

    SEGMENTS = ((O3A_END - 50, O3A_END - 10), (O3A_END - 10, O3A_END), (O3B_START, O3B_START + 9))

    @pytest.fixture
    def server(self, enter, no_waiting):
        """Three segments on both sides of a gap between runs, on two pages."""
        segments = {"H1_CBC_CAT2": list(self.SEGMENTS), "H1_DATA": []}
        return enter(OpenData(segments=segments).server())

    def test_joins_pages_runs_and_segments_that_touch(self, server):
        """In one answer, however the server cuts it."""
        span = Segment(O3A_END - 20.5, O3B_START + 5.5)

        found = active("H1_CBC_CAT2", span, source(gwosc_server=server.url + "/"))

        assert found == [Segment(O3A_END - 21, O3A_END), Segment(O3B_START, O3B_START + 6)]
        assert server.times("timelines") == 2

    def test_a_flag_that_is_never_active(self, server):
        """Is no error."""
        assert active("H1_DATA", Segment(0, 9), source(gwosc_server=server.url)) == []

    @pytest.mark.parametrize("trouble", [503, "dropped", "cut"])
    def test_a_trouble_that_passes(self, server, trouble):
        """Is not seen."""
        server.troubles = [("timelines", trouble)]

        assert active("H1_DATA", Segment(0, 9), source(gwosc_server=server.url)) == []

    def test_a_server_in_trouble_for_ever(self, server):
        """The client of GWOSC asks ten times at each attempt; the error says what came last."""
        server.troubles = [("timelines", 503)] * 99

        with pytest.raises(AframeError, match="a server does not answer as it should") as caught:
            active("H1_DATA", Segment(0, 9), source(gwosc_server=server.url))
        assert "503" in caught.value.found
        assert server.times("timelines") == 10 * servers.ATTEMPTS

    def test_a_flag_that_is_unknown(self, server):
        """The error names it, at once."""
        with pytest.raises(AframeError, match=r"404 [\s\S]*the flag H1_CBC_CAT9[\s\S]*flags"):
            active("H1_CBC_CAT9", Segment(0, 9), source(gwosc_server=server.url))
        assert server.times("timelines") == 1


class TestSegmentDatabase:
    """Flags of the collaboration."""

    FLAG = "H1:DMT-ANALYSIS_READY"

    @pytest.fixture
    def server(self, enter, no_waiting):
        """Two versions of a flag."""
        return enter(segment_database({self.FLAG: {1: [(10, 20), (20, 30)], 2: [(50, 60)]}}))

    @pytest.mark.parametrize(
        ("version", "found"),
        [(":1", [Segment(15, 30)]), (":2", [Segment(50, 55)]), ("", [Segment(15, 30), (50, 55)])],
    )
    def test_versions(self, server, version, found):
        """The one that is named, or all together."""
        asked = source(segment_server=server.url)

        assert active(self.FLAG + version, Segment(15, 55), asked) == found

    @pytest.mark.parametrize("status", [401, 403])
    def test_credentials_that_are_missing(self, server, status):
        """The error says how to get them."""
        server.troubles = [("dq", status)]

        with pytest.raises(AframeError, match=r"wants credentials[\s\S]*htgettoken"):
            active(self.FLAG + ":1", Segment(0, 9), source(segment_server=server.url))
        assert server.times("dq") == 1

    def test_a_trouble_that_passes(self, server):
        """Is not seen, though this client asks once only."""
        server.troubles = [("dq", 503), ("dq", "dropped")]

        found = active(self.FLAG + ":2", Segment(0, 99), source(segment_server=server.url))

        assert found == [Segment(50, 60)]
        assert server.times("dq") == 3

    def test_a_flag_that_is_unknown(self, server):
        """The error names it."""
        with pytest.raises(AframeError, match=r"404 [\s\S]*the flag H1:NOPE"):
            active("H1:NOPE", Segment(0, 9), source(segment_server=server.url))
