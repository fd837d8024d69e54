"""Times in which a detector is not to be trusted."""

import numpy as np
import pytest

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_sv.vetoes import Vetoes, read_vetoes

IFOS = ("H1", "L1")


def random_segments(rng, count, length):
    """Stretches that may overlap, on tenths of a second."""
    starts = rng.integers(0, 10_000, count)
    return [
        Segment(a / 10, (a + n) / 10)
        for a, n in zip(starts, rng.integers(1, length, count), strict=True)
    ]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.0, 7.0), (3.0, 40.0)])
def test_vetoed_time_is_that_of_a_count_of_all_tenths_of_a_second(shift):
    """Livetime closes to the tenth against looking at each, overlaps and edges included."""
    rng = np.random.default_rng(5)
    lists = {ifo: random_segments(rng, 30, 200) for ifo in IFOS}
    searched = [Segment(20, 400), Segment(500.5, 911)]
    ticks = np.arange(0, 12_000) / 10 + 0.05

    def within(segments, times):
        return np.any([(times > start) & (times < stop) for start, stop in segments], axis=0)

    looked = [within(lists[ifo], ticks + by) for ifo, by in zip(IFOS, shift, strict=True)]
    counted = np.sum(within(searched, ticks) & np.any(looked, axis=0)) / 10

    vetoes = Vetoes.of(lists, IFOS)
    assert vetoes.time(searched, shift) == pytest.approx(counted)
    held = vetoes.hold(ticks, np.tile(shift, (len(ticks), 1)))
    assert np.array_equal(held, np.any(looked, axis=0))


def test_a_detector_without_a_list_has_no_veto():
    """Only the detector named is vetoed, where its own strain is."""
    vetoes = Vetoes.of({"L1": [Segment(10, 20)]}, IFOS)
    shift = np.array([[0.0, 0.0], [0.0, 5.0], [5.0, 0.0]])

    assert vetoes.hold(np.full(3, 8.0), shift).tolist() == [False, True, False]


def test_lists_of_segments_and_gates_are_read(tmp_path):
    """Two or four columns are segments, three are gates with their margin; comments count not."""
    (tmp_path / "H1-cat2.txt").write_text("# start stop\n100 110\n\n105 120 # again\n")
    (tmp_path / "H1-more.txt").write_text("0\t300\t310\t10\n")
    (tmp_path / "L1-gates.txt").write_text("# center half taper\n500.0 0.5 0.25\n")
    vetoes = read_vetoes(tmp_path, IFOS)

    assert vetoes.edges[0].tolist() == [100, 120, 300, 310]
    assert vetoes.edges[1].tolist() == pytest.approx([498.875, 501.125])


def test_a_list_may_be_empty(tmp_path):
    """A detector had nothing to veto in this time."""
    (tmp_path / "H1-cat1.txt").write_text("# nothing\n")

    assert [edges.tolist() for edges in read_vetoes(tmp_path, IFOS).edges] == [[], []]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("notes.md", "", "no file"),
        ("V1-cat1.txt", "1 2\n", "of detector V1"),
        ("gates.txt", "1 2 3\n", "of detector gates.txt"),
        ("H1-gates.txt", "1 2 3\n1 2\n", "H1-gates.txt: "),
        ("H1-cat1.txt", "1126259446 1126259478 32\n", "three numbers that are no gate"),
        ("H1-gates.txt", "500 -1 0.5\n", "three numbers that are no gate"),
        ("H1-gates.txt", "nan 1 0.5\n", "three numbers that are no gate"),
    ],
)
def test_what_is_no_list_is_refused(tmp_path, name, content, found):
    """A list that is overlooked would leave bad data in."""
    (tmp_path / name).write_text(content)

    with pytest.raises(AframeError, match="vetoes cannot be read") as caught:
        read_vetoes(tmp_path, IFOS)
    assert found in caught.value.found
