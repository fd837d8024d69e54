"""Refusals that the settings of several verbs share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aframe import checks
from aframe.errors import AframeError
from aframe.program import Resources

#: The prefix of a detector.
_DETECTOR = re.compile(r"[A-Z]\d")


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
    edges = {name: getattr(settings, name) for name in names}
    wanted_by = f"the setting{'s' * (len(names) > 1)} {' and '.join(f'`{name}`' for name in names)}"
    checks.refuse_band(settings.sample_rate, **edges, wanted_by=wanted_by)


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
    """Refuse detectors that are none, one that is named twice, or by no letter and digit.

    Raises:
        AframeError: If so.
    """
    if not ifos or len(set(ifos)) < len(ifos) or not all(map(_DETECTOR.fullmatch, ifos)):
        raise AframeError(
            "the detectors cannot be used",
            found=str(list(ifos)),
            wanted_by="the setting `ifos`",
            fix="name at least one, each once, such as H1, L1",
        )
