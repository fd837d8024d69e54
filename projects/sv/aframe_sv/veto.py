"""The verb `veto`: events, injections and livetime without the times that are vetoed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from aframe.artifacts.events import Events
from aframe.artifacts.hdf5 import reading, writing
from aframe.artifacts.ledger import read_ledger, read_metadata, write_ledger
from aframe.artifacts.segments import Segment
from aframe.artifacts.strain import list_strain
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_sv.vetoes import Vetoes, read_vetoes

log = logging.getLogger(__name__)

OUTPUTS = ("background.hdf5", "foreground.hdf5", "0lag.hdf5", "candidates.hdf5")
#: Most by which the time of a slide of a segment can differ from its seconds (s): a stride.
_STRIDE = 1.0
Shift = Float[np.ndarray, "event ifo"]


@dataclass(frozen=True)
class VetoInputs:
    """Events to veto, the strain they are of, and the vetoes.

    Args:
        vetoes: Directory of lists ``<IFO>-<anything>.txt``, of segments or of gates.
        background: Events of the time slides (``background.hdf5``).
        foreground: Recovered injections (``foreground.hdf5``).
        strain: Directory of the strain that was slid and injected into.
        zero_lag: Events of the unshifted strain (``0lag.hdf5``); null where there are none.
        candidates: Neighborhoods of these events (``candidates.hdf5``), or null.
        zero_lag_strain: Directory of the strain searched unshifted; null for *strain*.
    """

    vetoes: Path
    background: Path
    foreground: Path
    strain: Path
    zero_lag: Path | None = None
    candidates: Path | None = None
    zero_lag_strain: Path | None = None


@dataclass(frozen=True)
class VetoSettings:
    """Settings of ``aframe-sv veto``.

    Args:
        inputs: What to veto, and when.
        output: Directory where the events that are left appear.
        ifos: Detectors in channel order.
        psd_length: Time after the start of a segment from which it is searched (s).
        resources: How to use the machine.
    """

    inputs: VetoInputs
    output: Path
    ifos: list[str]
    psd_length: float
    resources: Resources = field(default_factory=Resources)


def veto(settings: VetoSettings, draft: Draft) -> None:
    """Leave out events, injections and livetime in which a detector is vetoed."""
    vetoes, inputs = read_vetoes(settings.inputs.vetoes, settings.ifos), settings.inputs
    strain = _segments(inputs.strain, settings)
    events = Events.read(inputs.background)
    share = vetoed_share(
        vetoes, strain, events.shift, events.Tb, settings.psd_length, _left_out(settings)
    )
    kept = keep(inputs.background, vetoes, share, draft.path / OUTPUTS[0])
    draft.notes["background"] = _notes(events, kept)
    draft.notes["foreground"] = _veto_injections(settings, vetoes, strain, draft.path / OUTPUTS[1])
    if inputs.zero_lag is not None:
        unshifted = _segments(inputs.zero_lag_strain or inputs.strain, settings)
        draft.notes["zero_lag"] = _veto_zero_lag(settings, vetoes, unshifted, draft.path)
    for name, notes in draft.notes.items():
        log.info("%s: %s", name, ", ".join(f"{key} {value:,.7g}" for key, value in notes.items()))


def _left_out(settings: VetoSettings) -> Vetoes:
    """Times around known events that the background does not hold, for each detector alike."""
    times = read_metadata(settings.inputs.background).get("left_out_times")
    gone = [Segment(*map(float, pair)) for pair in ([] if times is None else times)]
    return Vetoes.of(dict.fromkeys(settings.ifos, gone), settings.ifos)


def _segments(directory: Path, settings: VetoSettings) -> list[Segment]:
    return [file.segment for file in list_strain(directory, settings.ifos)]


def vetoed_share(
    vetoes: Vetoes,
    segments: Sequence[Segment],
    shift: Shift,
    Tb: float,  # noqa: N803
    psd_length: float,
    left_out: Vetoes | None = None,
) -> float:
    """Share of the time searched that lies in a veto.

    A slide of a segment is searched from *psd_length* after its start until its end less the
    largest shift. The slides are those of the events: each has one in every stretch.

    Args:
        vetoes: Times to leave out.
        segments: Strain that was searched.
        shift: Shifts of the events (s).
        Tb: Time searched, as their file says (s).
        psd_length: Time after the start of a segment from which it is searched (s).
        left_out: Times that were not searched; none by default.

    Raises:
        AframeError: If all is vetoed, or more time was searched than there is strain.
    """
    slides = np.unique(np.asarray(shift, float), axis=0)
    total = vetoed = 0.0
    stretches = 0
    for slide in slides.tolist():
        ends = ((start + psd_length, stop - max(slide)) for start, stop in segments)
        searched = [Segment(start, stop) for start, stop in ends if stop > start]
        stretches += len(searched)
        gone = left_out.time(searched, slide) if left_out else 0.0
        total += sum(segment.duration for segment in searched) - gone
        vetoed += (vetoes | left_out if left_out else vetoes).time(searched, slide) - gone
    if total + _STRIDE * stretches < Tb:
        raise AframeError(
            "the strain is not what was searched",
            found=f"{total:.0f} s in {len(slides)} slides of {len(segments)} segments",
            wanted_by=f"{Tb:.0f} s searched, as the file of events says (Tb)",
            fix="give the strain and the psd_length of this search",
        )
    if len(slides) and not vetoed < total:
        raise AframeError(
            "the vetoes leave nothing of the search",
            found=f"{vetoed:.0f} of {total:.0f} s vetoed",
            wanted_by="the events that are left",
            fix="give vetoes that leave some time, of these detectors and this run",
        )
    return vetoed / total if total else 0.0


def keep(path: Path, vetoes: Vetoes, share: float, out: Path) -> Events:
    """Write the events of *path* without those in a veto and the vetoed *share* of their time.

    All else that the file says of itself and of each event stays.
    """
    ledger = read_ledger(path, waveforms=())
    left = ledger[~vetoes.hold(ledger.parameters["detection_time"], ledger.parameters["shift"])]
    left.metadata["Tb"] = ledger.metadata["Tb"] * (1 - share)
    write_ledger(out, left)
    return Events.read(out)


def _notes(before: Events, after: Events) -> dict[str, float]:
    return {
        "events": len(before),
        "events_left": len(after),
        "Tb": before.Tb,
        "Tb_left": after.Tb,
    }


def _veto_injections(
    settings: VetoSettings, vetoes: Vetoes, strain: Sequence[Segment], path: Path
) -> dict[str, float]:
    """Leave out injections that lie in a veto; one whose event alone does is missed."""
    ledger = read_ledger(settings.inputs.foreground, waveforms=())
    columns, metadata = ledger.parameters, ledger.metadata
    out = vetoes.hold(columns["injection_time"], columns["shift"])
    lost = vetoes.hold(columns["detection_time"], columns["shift"])
    statistic = columns["detection_statistic"]
    columns["detection_statistic"] = np.where(lost, -np.inf, statistic).astype(statistic.dtype)
    length = float(metadata.get("Tb") or 0.0)
    share = vetoed_share(vetoes, strain, columns["shift"], length, settings.psd_length)
    metadata["Tb"] = length * (1 - share)
    # Draws that were too faint have no time of their own: the estimate takes their share.
    metadata["vetoed_injections"] = int(out.sum())
    left = ledger[~out]
    write_ledger(path, left)
    return {"injections": len(out), "injections_left": len(left)}


def _veto_zero_lag(
    settings: VetoSettings, vetoes: Vetoes, strain: Sequence[Segment], folder: Path
) -> dict[str, float]:
    path, candidates = settings.inputs.zero_lag, settings.inputs.candidates
    assert path is not None  # noqa: S101 (for the type checker; the caller looked)
    events, still = Events.read(path), np.zeros((1, len(settings.ifos)))
    share = vetoed_share(vetoes, strain, still, events.Tb, settings.psd_length)
    kept = keep(path, vetoes, share, folder / OUTPUTS[2])
    if candidates is not None:
        _copy_candidates(candidates, folder / OUTPUTS[3], _kept_at(vetoes, still))
    return _notes(events, kept)


def _kept_at(vetoes: Vetoes, still: Shift) -> Callable[[float], bool]:
    return lambda time: not vetoes.hold(np.array([time]), still)[0]


def _copy_candidates(path: Path, out: Path, kept: Callable[[float], bool]) -> None:
    """Copy the groups of candidates whose time is *kept*, numbered anew."""
    with reading(path, "a file of candidates") as file, writing(out) as copy:
        groups: list[Any] = [file[str(rank)] for rank in range(len(file))]
        left = [group for group in groups if kept(float(group.attrs["detection_time"]))]
        for rank, group in enumerate(left):
            file.copy(group, copy, name=str(rank))
