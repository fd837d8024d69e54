"""Data that may be too large to hold: one chunk after another, read ahead."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Chunks(Generic[T]):
    """Give the chunk that belongs to a batch, and read the next one meanwhile.

    Args:
        load: Makes the chunk of an index; a pure function, called in another thread.
        steps: Batches that a chunk serves; ``None`` if one chunk is all there is.
    """

    def __init__(self, load: Callable[[int], T], steps: int | None) -> None:
        self._load, self._steps = load, steps
        self._pool = ThreadPoolExecutor(1)
        self._futures: dict[int, Future[T]] = {}

    def at(self, step: int) -> T:
        """Return the chunk for the batch *step*; wait if it is still being read."""
        index = 0 if self._steps is None else step // self._steps
        wanted = {index} if self._steps is None else {index, index + 1}
        # The one before goes before another comes: no more than two are held.
        self._futures = {each: self._futures[each] for each in wanted & self._futures.keys()}
        for each in sorted(wanted - self._futures.keys()):
            self._futures[each] = self._pool.submit(self._load, each)
        return self._futures[index].result()
