"""The files of a search: events, recovered injections, candidates, scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from aframe.artifacts.events import Events, write_sorted
from aframe.artifacts.hdf5 import reading, writing
from aframe.artifacts.ledger import read_ledger, write_ledger
from aframe.artifacts.segments import Segment, coalesce, event_time, gps, intersect
from aframe.draft import Draft
from aframe_infer.examples import NUM_EXAMPLES, choose
from aframe_infer.injections import Injections
from aframe_infer.outputs import (
    BACKGROUND,
    CANDIDATES,
    EXAMPLES,
    FOREGROUND,
    TIMESERIES,
    ZERO_LAG,
)
from aframe_infer.planning import in_background, left_out_times
from aframe_infer.settings import InferSettings
from aframe_infer.slides import Branch, Search, outputs
from aframe_infer.timing import Calibration, Event, Found, View, Viewer, calibrate

#: Zero-lag events that are looked at closely, the loudest.
NUM_CANDIDATES = 10
_KIND = "the result of a branch"
#: What examples say of their injections.
_SAID = ("snr", "mass_1", "mass_2", "redshift")


def write(
    settings: InferSettings,
    search: Search,
    branches: Sequence[Branch],
    zero_lag: Sequence[Branch],
    injections: Injections,
    draft: Draft,
) -> None:
    """Gather the branches' results and write the files of the search.

    Args:
        settings: What was asked for.
        search: What every branch shares.
        branches: Slides of the background's segments.
        zero_lag: Unshifted segments; none if zero lag is not searched.
        injections: All injections.
        draft: Where the branches' results lie and the files go.
    """
    viewer = Viewer(search, injections)
    injected = [branch for branch in branches if len(branch.rows)]
    found = _found(injected, draft.work, "foreground")
    recovered = found[np.argsort(found.row, kind="stable")]
    snr = read_ledger(injections.path, parameters=("snr",), waveforms=()).parameters["snr"]
    calibration = calibrate(viewer, recovered, injections.time, snr)
    draft.notes["calibration"] = asdict(calibration)
    livetime = sum(_livetime(search, branch) for branch in injected)
    _write_foreground(recovered, injections, livetime, calibration, draft.path / FOREGROUND)
    _write_background(settings, search, in_background(branches), calibration, draft)
    noise = _loudest(in_background(branches), draft.work)
    _write_examples(viewer, recovered, noise, calibration, draft)
    if zero_lag:
        _write_zero_lag(viewer, zero_lag, calibration, draft)
    if search.keep_scores:
        _write_timeseries([*branches, *zero_lag], draft.work, draft.path / TIMESERIES)


def _columns(branch: Branch, work: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    with reading(work / branch.name, _KIND) as file:
        return file[name]["detection_statistic"][:], file[name]["detection_time"][:]


def _livetime(search: Search, branch: Branch) -> float:
    """Time that a branch searches (s)."""
    searched = outputs(search.stream, branch.file.duration, branch.shifts)
    return len(searched) / search.stream.inference_sampling_rate


def _found(branches: Sequence[Branch], work: Path, name: str) -> Found:
    """Events of the branches, with the row of the injection that each recovers."""
    columns = [_columns(branch, work, name) for branch in branches]
    sizes = [len(times) for _, times in columns]
    none = np.empty(0)
    rows = [branch.rows for branch in branches] if name == "foreground" else []
    return Found(
        branches,
        np.repeat(np.arange(len(branches)), sizes),
        np.concatenate([none, *(times for _, times in columns)]),
        np.concatenate([none, *(statistics for statistics, _ in columns)]),
        np.concatenate([none, *rows]).astype(int) if rows else np.full(sum(sizes), -1),
    )


def _loudest(branches: Sequence[Branch], work: Path) -> Found:
    """The loudest events of the time slides, loudest first; no more than those are in memory."""
    loudest = Found(branches, *(np.empty(0, kind) for kind in (int, float, float, int)))
    for number, branch in enumerate(branches):
        statistics, times = _columns(branch, work, "background")
        kept = np.argsort(-statistics, kind="stable")[:NUM_EXAMPLES]
        own = np.full(len(kept), number), times[kept], statistics[kept], np.full(len(kept), -1)
        both = (loudest.owner, loudest.raw_time, loudest.statistic, loudest.row)
        joined = Found(branches, *(np.concatenate(pair) for pair in zip(both, own, strict=True)))
        loudest = joined[np.argsort(-joined.statistic, kind="stable")[:NUM_EXAMPLES]]
    return loudest


def _write_background(
    settings: InferSettings,
    search: Search,
    branches: Sequence[Branch],
    calibration: Calibration,
    draft: Draft,
) -> None:
    """Write the events of the time slides, loudest last, and what was left out of them."""
    offset, rate = calibration.grid_offset, search.stream.inference_sampling_rate

    def events() -> Iterator[Events]:
        for branch in branches:
            statistics, times = _columns(branch, draft.work, "background")
            livetime = _livetime(search, branch) - len(branch.left_out) / rate
            shifts = np.tile(branch.shifts, (len(times), 1))
            yield Events(statistics, times + offset, shifts, livetime, offset)

    convention = {
        "known_events_are": settings.known_events_are if settings.known_events else "kept",
        "known_events": _within(settings, branches),
        "known_events_half_width": settings.known_events_half_width,
        "left_out": sum(len(branch.left_out) for branch in branches) / rate,
    }
    when = {"left_out_times": left_out_times(settings, search.stream, calibration.grid_offset)}
    count, livetime = write_sorted(
        draft.path / BACKGROUND,
        events(),
        scratch=draft.work / "sorting",
        metadata=convention | when,
    )
    slides = len({branch.shifts for branch in branches})
    draft.notes["background"] = {"events": count, "Tb": livetime, "slides": slides, **convention}


def _within(settings: InferSettings, branches: Sequence[Branch]) -> list[str]:
    """Name the known events that the strain of the background holds."""
    strain = coalesce(branch.file.segment for branch in branches)
    half = settings.known_events_half_width
    times = ((name, event_time(name)) for name in settings.known_events)
    return [name for name, at in times if intersect(strain, [Segment(at - half, at + half)])]


def _write_foreground(
    recovered: Found,
    injections: Injections,
    livetime: float,
    calibration: Calibration,
    path: Path,
) -> None:
    """Write each injection's parameters with the event nearest to it."""
    ledger = read_ledger(injections.path, waveforms=())
    ledger.parameters |= {
        "detection_statistic": recovered.statistic,
        "detection_time": recovered.raw_time + calibration.grid_offset,
    }
    ledger.metadata |= {"Tb": livetime, "time_offset": calibration.grid_offset}
    write_ledger(path, ledger)


def _write_zero_lag(
    viewer: Viewer, branches: Sequence[Branch], calibration: Calibration, draft: Draft
) -> None:
    """Write the events of unshifted strain, and what is seen around the loudest."""
    found = _found(branches, draft.work, "background")
    found = found[np.argsort(found.statistic, kind="stable")]
    raw, offsets = found.raw_time.copy(), np.full(len(found), calibration.grid_offset)
    loudest = list(found[np.arange(len(found))[: -NUM_CANDIDATES - 1 : -1]])
    views = [viewer(event) for event in loudest]
    for place, view in enumerate(views, 1):
        raw[-place], offsets[-place] = view.time, calibration.fine_offset
    times, livetime = raw + offsets, sum(_livetime(viewer.search, branch) for branch in branches)
    Events(
        found.statistic,
        times,
        np.zeros((len(found), len(branches[0].shifts))),
        livetime,
        calibration.grid_offset,
    ).write(draft.path / ZERO_LAG, time_offset=offsets)
    with writing(draft.path / CANDIDATES) as file:
        for place, (event, view) in enumerate(zip(loudest, views, strict=True)):
            group = file.create_group(str(place))
            _write_candidate(group, event, times[-1 - place], view, calibration)
    draft.notes["zero_lag"] = {"events": len(found), "Tb": livetime}


def _write_examples(
    viewer: Viewer, recovered: Found, noise: Found, calibration: Calibration, draft: Draft
) -> None:
    """Write what is seen around some injections, and around the loudest background events."""
    threshold = float(np.float32(noise.statistic[0])) if len(noise) else -np.inf
    injections, offset = viewer.injections, calibration.grid_offset
    parameters = read_ledger(injections.path, waveforms=()).parameters
    events = dict(zip(recovered.row, recovered.raw_time + offset, strict=True))
    chosen = choose(recovered, injections.time, parameters["snr"], threshold, offset)
    with writing(draft.path / EXAMPLES) as file:
        file.attrs["threshold"] = threshold
        for place, (event, found) in enumerate(chosen):
            group = file.create_group(str(place))
            _write_candidate(group, event, events[event.row], viewer(event), calibration)
            group.attrs["injection_time"] = injections.time[event.row]
            group.attrs["row"], group.attrs["found"] = event.row, found
            said = {name: parameters[name][event.row] for name in _SAID if name in parameters}
            group.attrs.update(said)
        for place, event in enumerate(noise, len(chosen)):
            group = file.create_group(str(place))
            _write_candidate(group, event, event.raw_time + offset, viewer(event), calibration)
            group.attrs["shift"] = event.branch.shifts


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
