"""Chunks come in the order of the batches, read once each and ahead of need."""

import threading
import weakref
from concurrent.futures import Executor, Future

from aframe_train import chunks as module
from aframe_train.chunks import Chunks


def test_all_that_fits_is_read_once():
    """Without a number of steps there is one chunk."""
    loads = []
    chunks = Chunks(lambda index: loads.append(index) or "all", None)

    assert [chunks.at(step) for step in (0, 7, 1000)] == ["all"] * 3
    assert loads == [0]


def test_each_chunk_serves_its_batches():
    """A batch's chunk depends on its number alone, also after a jump."""
    chunks = Chunks(lambda index: 10 * index, 3)

    assert [chunks.at(step) for step in range(7)] == [0, 0, 0, 10, 10, 10, 20]
    assert Chunks(lambda index: 10 * index, 3).at(5) == 10


def test_the_next_chunk_is_read_meanwhile():
    """Reading of the next begins before it is asked for, and happens once."""
    read = threading.Event()
    loads = []

    def load(index):
        loads.append(index)
        if index == 1:
            read.set()
        return index

    chunks = Chunks(load, 2)
    chunks.at(0)

    assert read.wait(300)
    assert chunks.at(2) == 1
    assert loads.count(1) == 1


def test_no_more_than_two_are_held(monkeypatch):
    """When another is read, be it at once, the one before the present one has gone."""
    alive = weakref.WeakSet()
    others = []

    class Chunk:
        """Something that a set can hold weakly."""

    class AtOnce(Executor):
        """A thread that is faster than whoever asks it."""

        def submit(self, function, index):
            future = Future()
            future.set_result(function(index))
            return future

    def load(_):
        others.append(len(alive))
        chunk = Chunk()
        alive.add(chunk)
        return chunk

    monkeypatch.setattr(module, "ThreadPoolExecutor", lambda _: AtOnce())
    chunks = Chunks(load, 1)
    for step in range(5):
        chunks.at(step)

    assert others == [0, 1, 1, 1, 1, 1]
