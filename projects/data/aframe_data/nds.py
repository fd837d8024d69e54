"""Channels that an NDS2 server gives, through gwpy; needs the client `nds2`."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import requests
from jaxtyping import Float

from aframe.artifacts.segments import Segment, coalesce, gps
from aframe.errors import AframeError
from aframe_data.servers import ask
from aframe_data.sources import Nds2

Answer = TypeVar("Answer")


def refuse_missing_client() -> None:
    """Refuse to go on without the client.

    Raises:
        AframeError: If Python does not find it.
    """
    if importlib.util.find_spec("nds2") is None:
        raise AframeError(
            "the client of NDS2 is not installed",
            found="no module nds2",
            wanted_by='a source of kind "nds2"',
            fix="conda install -c conda-forge python-nds2-client (PyPI has none), in the "
            'environment of aframe-data; or take frames: a source of kind "datafind"',
        )


@dataclass(frozen=True)
class Channel:
    """One detector's channel on a server.

    Args:
        name: Name of the channel.
        host: Server.
        port: Its port; none for the usual one.
        sample_rate: Samples a second (Hz).
    """

    name: str
    host: str
    port: int | None
    sample_rate: float

    def read(self, segment: Segment) -> Float[np.ndarray, " time"]:
        """Read the samples of *segment*, of whole seconds (GPS s).

        Raises:
            AframeError: If the server does not give them all, or not finite.
        """
        strain = np.asarray(_fetch(self.name, segment, self.host, self.port).value, float)
        if (
            strain.size != round(segment.duration * self.sample_rate)
            or not np.isfinite(strain).all()
        ):
            raise AframeError(
                "strain is missing",
                found=f"{np.isfinite(strain).sum()} good samples of {self.name}"
                f" from {gps(segment.start)} to {gps(segment.stop)} at {self.sample_rate:g} Hz",
                wanted_by="the segments to fetch",
                fix="give the source flags that leave such times out, and find the segments again",
            )
        return strain


def channel(source: Nds2, ifo: str, segment: Segment) -> Channel:
    """Look up the channel of a detector, its rate from the first second of *segment* (GPS s).

    Raises:
        AframeError: If the server does not know the channel, or has no data of it then.
    """
    name, (host, port) = source.channels[ifo], _address(source)
    first = _fetch(name, Segment(segment.start, segment.start + 1), host, port)
    return Channel(name, host, port, float(first.sample_rate.value))


def available(source: Nds2, ifo: str, span: Segment) -> list[Segment]:
    """Ask when a server has the channel of a detector within *span* (GPS s).

    Raises:
        AframeError: If the server does not tell.
    """
    from gwpy.io.nds2 import get_availability  # noqa: PLC0415 - gwpy takes a second to import

    name, (host, port) = source.channels[ifo], _address(source)
    start, stop = math.floor(span.start), math.ceil(span.stop)
    found = _ask(lambda: get_availability([name], start, stop, host=host, port=port), name)
    return coalesce([Segment(float(one[0]), float(one[1])) for one in found[name]])


def _address(source: Nds2) -> tuple[str, int | None]:
    host, _, port = source.nds2_server.partition(":")
    if port and not port.isdecimal():
        raise AframeError(
            "the address of an NDS2 server cannot be used",
            found=source.nds2_server,
            wanted_by="the setting `source`",
            fix="give its name and port, such as nds.ligo.caltech.edu:31200",
        )
    return host, int(port) if port else None


def _fetch(name: str, segment: Segment, host: str, port: int | None) -> Any:
    from gwpy.timeseries import TimeSeries  # noqa: PLC0415 - gwpy takes a second to import

    start, stop = int(segment.start), int(segment.stop)
    return _ask(lambda: TimeSeries.fetch(name, start, stop, host=host, port=port), name)


def _ask(question: Callable[[], Answer], name: str) -> Answer:
    """Ask a server; its client says all that goes wrong by the same type of error."""
    refuse_missing_client()

    def told() -> Answer:
        try:
            return question()
        except (RuntimeError, ExceptionGroup) as error:
            # gwpy groups the errors of all the places where it looked.
            errors = getattr(error, "exceptions", [error])
            if not all(isinstance(one, RuntimeError | ValueError | OSError) for one in errors):
                raise
            found = "; ".join(map(str, errors))
            if "SASL" in found or "kerberos" in found.lower():
                raise AframeError(
                    "an NDS2 server wants credentials",
                    found=found,
                    wanted_by=f"the channel {name}",
                    fix="kinit USER@LIGO.ORG, then run the command again",
                ) from error
            if "connect" in found.lower():
                raise requests.ConnectionError(found) from error
            raise ValueError(found) from error

    return ask(told, wanted_by=f"the channel {name}")
