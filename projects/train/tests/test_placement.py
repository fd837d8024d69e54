"""Where in a kernel the coalescence may lie."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aframe.errors import AframeError
from aframe_train.placement import Placement, cut


def test_pads_are_kept():
    """Positions run from the left pad to the right pad, both ends included."""
    placement = Placement.of(1.5, 0.25, 0.05, 1000.0)
    drawn = placement.draw((20_000,), torch.Generator().manual_seed(0))

    assert (placement.size, placement.first, placement.last) == (1500, 250, 1450)
    assert (drawn.min(), drawn.max()) == (250, 1450)


def test_views_go_from_the_last_place_to_the_first():
    """The views of a validation signal are evenly spread."""
    assert Placement(100, 10, 90).views(5) == [90, 70, 50, 30, 10]


@given(
    size=st.integers(2, 50),
    samples=st.integers(1, 60),
    data=st.data(),
)
def test_padding_makes_room_for_every_kernel(size, samples, data):
    """With the padding, a kernel lies within the waveform wherever the coalescence is put."""
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size))
    coalescence = data.draw(st.integers(0, samples))
    left, right = Placement(size, first, last).padding(samples, coalescence)

    for position in (first, last):
        start = left + coalescence - position
        assert start >= 0
        assert start + size <= left + samples + right


def test_cut_takes_each_row_from_its_own_start():
    """Compared with slices, one by one."""
    series = torch.arange(2 * 3 * 10.0).reshape(2, 3, 10)
    start = torch.tensor([[0, 1, 2], [6, 5, 0]])

    found = cut(series, start, 4)

    for row in range(2):
        for ifo in range(3):
            begin = int(start[row, ifo])
            assert torch.equal(found[row, ifo], series[row, ifo, begin : begin + 4])


@pytest.mark.parametrize("pads", [(-0.1, 0.1), (0.1, -0.1), (0.8, 0.8)])
def test_refuses_pads_without_room(pads):
    """Negative pads, and pads longer than the kernel."""
    with pytest.raises(AframeError, match="coalescence has no place in the kernel"):
        Placement.of(1.5, *pads, 256.0)
