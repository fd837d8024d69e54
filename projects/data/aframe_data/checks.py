"""Refusals that the settings of several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from aframe.errors import AframeError
from aframe.program import Resources


def refuse_not_positive(settings: Any, *names: str, zero: bool = False) -> None:
    """Refuse numbers that are not above zero, or not at least *zero* if that is allowed.

    Raises:
        AframeError: If one is not; it names the first.
    """
    for name in names:
        value = getattr(settings, name)
        # Not a number is neither.
        if not (value > 0 or (zero and value == 0)) or value == float("inf"):
            raise AframeError(
                f"{name} cannot be used",
                found=f"{name} {value}",
                wanted_by=f"the setting `{name}`",
                fix=f"give a finite number {'not below' if zero else 'above'} zero",
            )


def refuse_band(settings: Any, *names: str) -> None:
    """Refuse edges of a frequency band that *settings.sample_rate* cannot hold.

    Raises:
        AframeError: If an edge is not between zero and Nyquist, or the edges in *names*
            are not in ascending order.
    """
    nyquist = settings.sample_rate / 2
    given = {name: getattr(settings, name) for name in names}
    edges = {name: value for name, value in given.items() if value is not None}
    for name, value in edges.items():
        if not 0 < value < nyquist:
            raise AframeError(
                f"{name} is not between zero and the Nyquist frequency",
                found=f"{name} {value:g} Hz with sample_rate {settings.sample_rate:g} Hz",
                wanted_by=f"the setting `{name}`",
                fix=f"choose a {name} below {nyquist:g} Hz, or a higher sample_rate",
            )
    values = list(edges.values())
    if any(low >= high for low, high in pairwise(values)):
        raise AframeError(
            "the band is empty",
            found=", ".join(f"{name} {value:g} Hz" for name, value in edges.items()),
            wanted_by=f"the settings {' and '.join(names)}",
            fix="choose them in ascending order",
        )


def refuse_wrong_workers(resources: Resources) -> None:
    """Refuse a number of processes below one.

    Raises:
        AframeError: If so.
    """
    if resources.workers < 1:
        raise AframeError(
            "no process is left to work",
            found=f"workers {resources.workers}",
            wanted_by="the setting `resources.workers`",
            fix="give at least 1",
        )


def refuse_fraction(settings: Any, name: str) -> None:
    """Refuse a number that is not whole.

    Raises:
        AframeError: If so.
    """
    value = getattr(settings, name)
    if not float(value).is_integer():
        raise AframeError(
            f"{name} is not a whole number",
            found=f"{name} {value}",
            wanted_by=f"the setting `{name}`",
            fix="give a whole number",
        )


def refuse_unnamed(ifos: Sequence[str]) -> None:
    """Refuse detectors that are none, or one that is named twice.

    Raises:
        AframeError: If so.
    """
    if not ifos or len(set(ifos)) < len(ifos):
        raise AframeError(
            "the detectors cannot be used",
            found=str(list(ifos)),
            wanted_by="the setting `ifos`",
            fix="name at least one, each once, such as H1, L1",
        )
