"""Random streams are pure functions of seed, purpose and index."""

import torch

from aframe_train.streams import DeviceStream, host_stream

CPU = torch.device("cpu")


def draw(seed, purpose, index):
    return torch.rand(4, generator=DeviceStream(seed, purpose, CPU).at(index)).tolist()


def test_an_index_has_its_numbers_whatever_was_drawn_before():
    """A stream read out of order gives each index the same numbers."""
    stream = DeviceStream(3, "batch", CPU)
    forward = [torch.rand(4, generator=stream.at(index)).tolist() for index in (0, 1, 2)]
    backward = [torch.rand(4, generator=stream.at(index)).tolist() for index in (2, 1, 0)]

    assert forward == backward[::-1]


def test_seed_purpose_and_index_each_change_the_numbers():
    """Streams that differ in anything share nothing."""
    streams = [("a", 1, 0), ("a", 1, 1), ("a", 2, 0), ("b", 1, 0)]
    drawn = {tuple(draw(seed, purpose, index)) for purpose, seed, index in streams}

    assert len(drawn) == 4


def test_the_host_draws_by_the_same_rule():
    """Host streams repeat for the same key and differ for another."""
    first, again, other = (host_stream(1, "x", index).random(3).tolist() for index in (5, 5, 6))

    assert first == again
    assert first != other
