"""Injections: which belong to a slide, and the signal they make in its strain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int

from aframe.artifacts.ledger import read_ledger, read_metadata
from aframe.errors import AframeError


@dataclass(frozen=True)
class Injections:
    """Where and when the signals of a ledger are injected.

    Args:
        path: The ledger.
        time: GPS time of each coalescence in the unshifted frame (s).
        shift: Time by which each detector is shifted (s), shape ``(injection, ifo)``.
        duration: Length of a waveform (s).
        right_pad: Time from coalescence to the waveform's end (s).
    """

    path: Path
    time: Float64[np.ndarray, " injection"]
    shift: Float64[np.ndarray, "injection ifo"]
    duration: float
    right_pad: float


def read_injections(path: Path, ifos: Sequence[str], sample_rate: float) -> Injections:
    """Read times and shifts; the waveforms stay on disk.

    Raises:
        AframeError: If they were made for other detectors or another sample rate.
    """
    metadata = read_metadata(path)
    found = {name: metadata[name] for name in ("ifos", "sample_rate")}
    if found != {"ifos": list(ifos), "sample_rate": sample_rate}:
        raise AframeError(
            "the injections do not fit the search",
            found=f"{path}: {found['ifos']} at {found['sample_rate']} Hz",
            wanted_by=f"a search of {list(ifos)} at {sample_rate:g} Hz",
            fix="run `aframe-data testing_waveforms` with these detectors and this sample rate",
        )
    ledger = read_ledger(path, parameters=("injection_time", "shift"), waveforms=())
    time, shift = (ledger.parameters[name].astype(float) for name in ("injection_time", "shift"))
    return Injections(path, time, shift, metadata["duration"], metadata["right_pad"])


def signal(
    injections: Injections,
    rows: Int[np.ndarray, " injection"],
    ifo: str,
    *,
    start: float,
    shift: float,
    size: int,
    sample_rate: float,
    begin: int = 0,
) -> Float32[np.ndarray, " time"]:
    """Sum the waveforms of *rows* as one detector of a slide sees them.

    Only those that reach into the stretch asked for are read.

    Args:
        injections: All injections.
        rows: Those to add.
        ifo: The detector.
        start: GPS time of the segment's first sample (s).
        shift: Time by which this detector is shifted in the slide (s).
        size: Samples of the stretch.
        sample_rate: Samples a second (Hz).
        begin: Which sample of the segment is the first of the stretch.
    """
    field = ifo.lower()
    before = round((injections.duration - injections.right_pad) * sample_rate)
    coalescence = np.floor((injections.time[rows] - start) * sample_rate).astype(int)
    begins = coalescence - before + round(shift * sample_rate) - begin
    total = np.zeros(size, np.float32)
    inside = (begins < size) & (begins + round(injections.duration * sample_rate) > 0)
    if not inside.any():
        return total
    waveforms = read_ledger(
        injections.path, parameters=(), waveforms=(field,), rows=rows[inside]
    ).waveforms[field]
    for place, waveform in zip(begins[inside], waveforms, strict=True):
        first, last = np.clip([place, place + len(waveform)], 0, size)
        total[first:last] += waveform[first - place : last - place]
    return total
