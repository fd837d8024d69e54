"""The files of a search: events, recovered injections, candidates, scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from aframe.artifacts.events import Events
from aframe.artifacts.hdf5 import reading, writing
from aframe.artifacts.ledger import read_ledger, write_ledger
from aframe.artifacts.segments import gps
from aframe.program import Draft
from aframe_infer.injections import Injections
from aframe_infer.slides import Branch, Search
from aframe_infer.timing import Calibration, Event, View, Viewer, calibrate

BACKGROUND, FOREGROUND, ZERO_LAG = "background.hdf5", "foreground.hdf5", "0lag.hdf5"
CANDIDATES, TIMESERIES = "candidates.hdf5", "timeseries.hdf5"
#: Zero-lag events that are looked at closely, the loudest.
NUM_CANDIDATES = 10
_KIND = "the result of a branch"


def write(
    search: Search,
    branches: Sequence[Branch],
    zero_lag: Sequence[Branch],
    injections: Injections,
    draft: Draft,
) -> None:
    """Gather the branches' results and write the files of the search.

    Args:
        search: What every branch shares.
        branches: Slides of the background's segments.
        zero_lag: Unshifted segments; none if zero lag is not searched.
        injections: All injections.
        draft: Where the branches' results lie and the files go.
    """
    viewer = Viewer(search, injections)
    injected = [branch for branch in branches if len(branch.rows)]
    recovered = sorted(_listed(injected, draft.work, "foreground"), key=lambda event: event.row)
    calibration = calibrate(viewer, recovered, injections.time)
    draft.notes["calibration"] = asdict(calibration)
    livetime = _livetime(injected, draft.work)
    _write_foreground(recovered, injections, livetime, calibration, draft.path / FOREGROUND)
    slid = [branch for branch in branches if len(set(branch.shifts)) > 1]
    background = _background(slid, draft.work, calibration.grid_offset)
    background.write(draft.path / BACKGROUND)
    draft.notes["background"] = {"events": len(background), "Tb": background.Tb}
    if zero_lag:
        _write_zero_lag(viewer, zero_lag, calibration, draft)
    if search.keep_scores:
        _write_timeseries([*branches, *zero_lag], draft.work, draft.path / TIMESERIES)


def _columns(branch: Branch, work: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    with reading(work / branch.name, _KIND) as file:
        return file[name]["detection_statistic"][:], file[name]["detection_time"][:]


def _livetime(branches: Iterable[Branch], work: Path) -> float:
    total = 0.0
    for branch in branches:
        with reading(work / branch.name, _KIND) as file:
            total += float(file.attrs["Tb"])
    return total


def _listed(branches: Iterable[Branch], work: Path, name: str) -> list[Event]:
    """Events one by one, with the row of the injection that each recovers."""
    found = []
    for branch in branches:
        statistics, times = _columns(branch, work, name)
        rows = branch.rows.tolist() if name == "foreground" else [-1] * len(times)
        found += [
            Event(branch, float(time), float(statistic), row)
            for time, statistic, row in zip(times, statistics, rows, strict=True)
        ]
    return found


def _background(branches: Sequence[Branch], work: Path, offset: float) -> Events:
    """Events of the time slides, loudest last."""
    columns = [_columns(branch, work, "background") for branch in branches]
    shifts = [
        np.tile(branch.shifts, (len(times), 1))
        for branch, (_, times) in zip(branches, columns, strict=True)
    ]
    return Events(
        np.concatenate([statistics for statistics, _ in columns]),
        np.concatenate([times for _, times in columns]) + offset,
        np.concatenate(shifts),
        _livetime(branches, work),
        offset,
    ).sorted()


def _write_foreground(
    recovered: Sequence[Event],
    injections: Injections,
    livetime: float,
    calibration: Calibration,
    path: Path,
) -> None:
    """Write each injection's parameters with the event nearest to it."""
    ledger = read_ledger(injections.path, waveforms=())
    times = np.array([event.raw_time for event in recovered])
    ledger.parameters |= {
        "detection_statistic": np.array([event.statistic for event in recovered]),
        "detection_time": times + calibration.grid_offset,
    }
    ledger.metadata |= {"Tb": livetime, "time_offset": calibration.grid_offset}
    write_ledger(path, ledger)


def _write_zero_lag(
    viewer: Viewer, branches: Sequence[Branch], calibration: Calibration, draft: Draft
) -> None:
    """Write the events of unshifted strain, and what is seen around the loudest."""
    found = sorted(_listed(branches, draft.work, "background"), key=lambda event: event.statistic)
    raw = np.array([event.raw_time for event in found])
    offsets = np.full(len(found), calibration.grid_offset)
    views = [viewer(event) for event in found[: -NUM_CANDIDATES - 1 : -1]]
    for place, view in enumerate(views, 1):
        raw[-place], offsets[-place] = view.time, calibration.fine_offset
    times = raw + offsets
    Events(
        np.array([event.statistic for event in found]),
        times,
        np.array([event.branch.shifts for event in found]),
        _livetime(branches, draft.work),
        calibration.grid_offset,
    ).write(draft.path / ZERO_LAG, time_offset=offsets)
    with writing(draft.path / CANDIDATES) as file:
        for place, view in enumerate(views):
            group = file.create_group(str(place))
            event, time = found[-1 - place], times[-1 - place]
            _write_candidate(group, event, time, view, calibration)
    draft.notes["zero_lag"] = {"events": len(found), "Tb": _livetime(branches, draft.work)}


def _write_candidate(
    group: h5py.Group, event: Event, time: float, view: View, calibration: Calibration
) -> None:
    # As in the file of events, so that one finds the other.
    statistic = np.float32(event.statistic)
    group.attrs["detection_time"], group.attrs["detection_statistic"] = time, statistic
    group.attrs["gps_start"] = view.whitened_start
    group["whitened"] = view.whitened
    group["whitened"].attrs["sample_rate"] = view.sample_rate
    # The average is dated so that it peaks at the event; a score by its kernel's end.
    starts = {"scores": view.start, "integrated": view.integrated_start + calibration.fine_offset}
    for name, start in starts.items():
        group[name] = getattr(view, name).astype(np.float32)
        group[name].attrs["gps_start"], group[name].attrs["sample_rate"] = start, view.rate


def _write_timeseries(branches: Sequence[Branch], work: Path, path: Path) -> None:
    """Write all scores, and an index of their start, shifts and place in the file."""
    index = []
    # Injections at zero lag lie in the slide that is searched without them too.
    named = {branch.name: branch for branch in branches}
    with writing(path) as file:
        for branch in named.values():
            shifts = "_".join(gps(shift) for shift in branch.shifts)
            name = f"/timeseries/{gps(branch.file.start)}_{shifts}"
            if branch.folder != branches[0].folder:
                name += f"_{branch.folder}"
            with reading(work / branch.name, _KIND) as found:
                for kind in found:
                    file[f"{name}/{kind}"] = found[kind]["scores"][:]
            index.append((branch.file.start, branch.shifts, name))
        whole = all(float(shift).is_integer() for _, shifts, _ in index for shift in shifts)
        kind = np.dtype(
            [
                ("t0", "f8"),
                ("shifts", "i4" if whole else "f8", len(branches[0].shifts)),
                ("path", h5py.string_dtype()),
            ]
        )
        file["index"] = np.array(index, dtype=kind)
