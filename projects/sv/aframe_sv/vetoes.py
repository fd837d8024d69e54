"""Vetoes: times in which a detector is not to be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from aframe.artifacts.segments import Segment, coalesce, read_segments
from aframe.errors import AframeError

#: Time by which a gate spoils the strain beyond its taper (s), as the older tool has it.
GATE_MARGIN = 0.375
_GATE_COLUMNS = 3
#: Half-width that no gate has (s): there the second column is a GPS time.
_WIDEST = 1e6
Edges = Float[np.ndarray, " edge"]
Times = Float[np.ndarray, " event"]


@dataclass(frozen=True)
class Vetoes:
    """Times to leave out, for each detector.

    Args:
        edges: Start and stop of each stretch in turn (GPS s), in order and apart, for each
            detector in channel order.
    """

    edges: tuple[Edges, ...]

    @classmethod
    def of(cls, segments: Mapping[str, Sequence[Segment]], ifos: Sequence[str]) -> Vetoes:
        """Join the *segments* of each of *ifos*; a detector that is not named has none."""
        joined = (coalesce(segments.get(ifo, ())) for ifo in ifos)
        return cls(tuple(np.array(each, float).ravel() for each in joined))

    def __or__(self, other: Vetoes) -> Vetoes:
        """Times that either leaves out."""
        pairs = (
            [Segment(*pair) for edges in both for pair in edges.reshape(-1, 2).tolist()]
            for both in zip(self.edges, other.edges, strict=True)
        )
        return Vetoes(tuple(np.array(coalesce(each), float).ravel() for each in pairs))

    def hold(
        self, times: Times, shift: Float[np.ndarray, "event ifo"]
    ) -> Bool[np.ndarray, " event"]:
        """Tell which events lie in a veto of any detector.

        Args:
            times: GPS time of each event on the unshifted axis (s).
            shift: Time by which each detector was shifted (s): the event's strain in
                detector k is of ``time + shift[k]``.

        Example:
            >>> vetoes = Vetoes((np.array([10.0, 20.0]), np.array([])))
            >>> vetoes.hold(np.array([9.0, 9.0, 20.0]), np.array([[0, 0], [1.0, 0], [0, 0]]))
            array([False,  True, False])
        """
        inside = [
            np.searchsorted(edges, times + moved, side="right") % 2 == 1
            for edges, moved in zip(self.edges, np.asarray(shift).T, strict=True)
        ]
        return np.any(inside, axis=0)

    def time(self, searched: Sequence[Segment], shift: Sequence[float]) -> float:
        """Time of one slide that lies in a veto of any detector (s).

        Args:
            searched: What is searched, on the unshifted axis; no two overlap.
            shift: Time by which each detector is shifted (s).

        Example:
            >>> vetoes = Vetoes((np.array([10.0, 20.0]), np.array([16.0, 31.0])))
            >>> vetoes.time([Segment(0, 25)], [0.0, 1.0])
            15.0
        """
        moved = [edges - by for edges, by in zip(self.edges, shift, strict=True)]
        times = np.concatenate([np.zeros(1), *moved])
        # One more detector is vetoed from a start on, one fewer from a stop on.
        steps = np.concatenate([np.zeros(1), *(np.resize([1, -1], len(each)) for each in moved)])
        order = np.argsort(times, kind="stable")
        times, vetoed = times[order], np.cumsum(steps[order]) > 0
        before = np.concatenate([[0.0], np.cumsum(np.diff(times) * vetoed[:-1])])
        starts, stops = np.array(searched, float).reshape(-1, 2).T
        return float(np.sum(np.interp(stops, times, before) - np.interp(starts, times, before)))


def read_vetoes(directory: Path, ifos: Sequence[str]) -> Vetoes:
    """Read the lists of a directory: files ``<IFO>-<anything>.txt``.

    A list has a stretch of time a line: ``start stop`` or segwizard's ``index start stop
    duration``; or a gate, ``center half-width taper``, which counts from ``half-width +
    taper + 0.375`` s before its center to as much after it.

    Raises:
        AframeError: If there is no list, one belongs to none of *ifos*, or cannot be read.
    """
    files = sorted(Path(directory).glob("*.txt"))
    segments: dict[str, list[Segment]] = {}
    for file in files:
        ifo = file.name.split("-")[0]
        if ifo not in ifos:
            raise _unreadable(f"{file}, of detector {ifo}", f"the detectors {list(ifos)}")
        segments.setdefault(ifo, []).extend(_read_list(file))
    if not files:
        raise _unreadable(f"no file *.txt in {directory}", "vetoes")
    return Vetoes.of(segments, ifos)


def _read_list(path: Path) -> list[Segment]:
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    first = next((words for words in lines if words), [])
    return _read_gates(path) if len(first) == _GATE_COLUMNS else read_segments(path)


def _read_gates(path: Path) -> list[Segment]:
    try:
        gates = np.loadtxt(path, ndmin=2, usecols=(0, 1, 2))
    except ValueError as error:
        raise _unreadable(f"{path}: {error}", "gates: center, half-width, taper (s)") from error
    center, half, taper = gates.T
    if not (np.isfinite(gates).all() and (gates[:, 1:] >= 0).all() and (half < _WIDEST).all()):
        raise _unreadable(
            f"{path}: a line of three numbers that are no gate",
            f"gates: center, half-width below {_WIDEST:g} s, taper (s)",
        )
    reach = half + taper + GATE_MARGIN
    return [Segment(*pair) for pair in np.stack([center - reach, center + reach], 1).tolist()]


def _unreadable(found: str, wanted: str) -> AframeError:
    return AframeError(
        "vetoes cannot be read",
        found=found,
        wanted_by=wanted,
        fix="give a directory of lists <IFO>-<anything>.txt: `start stop` a line, or "
        "`center half-width taper` of a gate",
    )
