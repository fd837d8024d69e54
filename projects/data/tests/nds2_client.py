"""A client of NDS2 with what gwpy calls of the real one, which is not on PyPI.

It serves channels that a test gives it, and makes trouble when told to.
"""

# ruff: noqa: D102 - the methods are the real client's

from __future__ import annotations

import importlib.machinery
from types import ModuleType, SimpleNamespace

#: Length of the buffers that a server sends (s).
LENGTH = 10


class Client(ModuleType):
    """The module `nds2`.

    Args:
        channels: Samples of each channel, by its name.
        start: Time of the first (GPS s).
        sample_rate: Samples a second (Hz).
    """

    def __init__(self, channels, *, start, sample_rate):
        super().__init__("nds2")
        self.__spec__ = importlib.machinery.ModuleSpec("nds2", None)
        self.channels, self.start, self.sample_rate = channels, start, sample_rate
        self.stop = start + len(next(iter(channels.values()))) // sample_rate
        self.channel = SimpleNamespace
        #: Addresses that were connected to, and what the next connections fail of.
        self.connected, self.troubles = [], []

    def connection(self, *address):
        self.connected.append(address)
        if self.troubles:
            raise RuntimeError(self.troubles.pop(0))
        return Connection(self)

    def described(self, name):
        return SimpleNamespace(
            name=name,
            sample_rate=float(self.sample_rate),
            signal_units="",
            channel_type=2,
            data_type=8,
            channel_type_to_string=lambda _number: "raw",
        )


class Connection:
    """A connection to a server."""

    def __init__(self, client):
        self.client = client

    def get_protocol(self):
        return 2

    def get_host(self):
        return "nds.example"

    def current_epoch(self):
        return SimpleNamespace(gps_start=0, gps_stop=2_000_000_000)

    def set_epoch(self, *_):
        """Times to look at; this client always looks at all."""

    def close(self):
        """Nothing is open."""

    def find_channels(self, name, *_):
        return [self.client.described(name)] if name in self.client.channels else []

    def get_availability(self, names):
        span = SimpleNamespace(gps_start=self.client.start, gps_stop=self.client.stop)
        return [SimpleNamespace(data=[span]) for _ in names]

    def iterate(self, start, stop, names):
        for begin in range(start, min(stop, self.client.stop), LENGTH):
            end = min(begin + LENGTH, stop, self.client.stop)
            yield [self._buffer(name.split(",")[0], begin, end) for name in names]

    def _buffer(self, name, begin, end):
        first, last = (
            (time - self.client.start) * self.client.sample_rate for time in (begin, end)
        )
        return SimpleNamespace(
            name=name,
            channel=self.client.described(name),
            data=self.client.channels[name][first:last],
            length=last - first,
            gps_seconds=begin,
            gps_nanoseconds=0,
            signal_slope=1.0,
            signal_offset=0.0,
        )
