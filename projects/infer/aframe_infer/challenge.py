"""The verb `challenge`: search a file of the mock data challenge MLGWSC-1."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float

from aframe.artifacts.events import Events
from aframe.artifacts.hdf5 import reading, writing
from aframe.artifacts.record import input_digest, read_record, record_path
from aframe.artifacts.segments import gps
from aframe.artifacts.strain import StrainFile, list_strain
from aframe.branches import run_branches
from aframe.checks import refuse_late_average, refuse_windows
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_infer.inference import choose_engine, device_named, whiten
from aframe_infer.injections import Injections
from aframe_infer.outputs import EVENTS
from aframe_infer.repository import read_repository
from aframe_infer.settings import CHALLENGE, ChallengeSettings
from aframe_infer.slides import (
    Branch,
    Search,
    analyze,
    outputs,
    slide_reads,
    slide_writes,
)

log = logging.getLogger(__name__)

_KIND = "a file of the challenge"
_NOTHING = Injections(Path(), np.empty(0), np.empty((0, 0)), 0.0, 0.0)


def challenge(settings: ChallengeSettings, draft: Draft) -> None:
    """Search the strain of a file of the mock data challenge, and write its event file.

    Raises:
        AframeError: If strain, network and calibration do not fit together.
    """
    torch.set_num_threads(1)
    repository = read_repository(settings.inputs.model_repository, settings.model_version)
    stream, ifos = repository.stream, repository.preprocessing.ifos
    lengths = {
        "inference_sampling_rate": stream.inference_sampling_rate,
        "integration_window_length": settings.integration_window_length,
    }
    refuse_windows(
        **lengths, cluster_window_length=settings.cluster_window_length, wanted_by=CHALLENGE
    )
    refuse_late_average(
        **lengths,
        kernel_length=stream.kernel_length,
        fduration=stream.fduration,
        psd_length=stream.psd_length,
        wanted_by=CHALLENGE,
    )
    _refuse_other_search(settings)
    device = device_named(settings.resources.device)
    search = Search(
        repository,
        settings.integration_window_length,
        settings.cluster_window_length,
        keep_scores=False,
        device=device,
    )
    offset = Events.read(settings.inputs.calibrated).time_offset
    files = view_strain(settings.inputs.strain, ifos, stream.sample_rate, draft.work / "strain")
    branches = segments_to_search(search, files)
    workers = settings.resources.workers if device == "cpu" else 1
    whiten(search, branches, draft, workers)
    search = replace(search, engine=choose_engine(search, branches, draft))
    todo = [
        (search, branch, _NOTHING, draft.work)
        for branch in branches
        if not (draft.work / branch.name).exists()
    ]
    run_branches(
        analyze,
        todo,
        draft=draft,
        workers=workers,
        unit="segments searched",
        reads=slide_reads,
        writes=slide_writes,
    )
    draft.notes["events"] = write_events(branches, offset, settings.var, draft)


def _refuse_other_search(settings: ChallengeSettings) -> None:
    """Refuse times that another search calibrated, where its record tells so."""
    inputs = settings.inputs
    record = read_record(record_path(inputs.calibrated.parent, "infer"))
    if record is None:
        return
    length = settings.integration_window_length
    wrong = []
    if record.settings["integration_window_length"] != length:
        wrong.append(
            f"integration_window_length {record.settings['integration_window_length']} s, "
            f"here {length} s"
        )
    if record.inputs["model_repository"] != input_digest(inputs.model_repository):
        wrong.append(f"another model repository than {inputs.model_repository}")
    if wrong:
        raise AframeError(
            "the times were calibrated by another search",
            found=f"{inputs.calibrated}: {', '.join(wrong)}",
            wanted_by=CHALLENGE,
            fix="run `aframe-infer infer` with this network and window, and give its "
            "background.hdf5",
        )


def segments_to_search(search: Search, files: Sequence[StrainFile]) -> list[Branch]:
    """Take the segments that are long enough, unshifted.

    Raises:
        AframeError: If there is none.
    """
    still, none = (0.0,) * len(search.ifos), np.empty(0, np.int64)
    long = [file for file in files if len(outputs(search.stream, file.duration, still))]
    if len(long) < len(files):
        log.warning("%d of %d segments are too short to search", len(files) - len(long), len(files))
    if not long:
        raise AframeError(
            "no segment is long enough to be searched",
            found=f"{len(files)} segments, the longest of "
            f"{max(file.duration for file in files):g} s",
            wanted_by=f"the psd_length of the exported network, {search.stream.psd_length:g} s",
            fix="export the network with a shorter psd_length",
        )
    return [Branch(file, still, none, "challenge") for file in long]


def view_strain(
    path: Path, ifos: Sequence[str], sample_rate: float, folder: Path
) -> list[StrainFile]:
    """Show each segment of a file of the challenge as a strain file, without copying it.

    Args:
        path: The file: ``<IFO>/<start>`` with the attributes ``start_time`` and ``delta_t`` (s).
        ifos: Detectors of the network.
        sample_rate: Samples a second that the network was trained with (Hz).
        folder: Where the strain files go; they refer to *path* for their samples.

    Raises:
        AframeError: If the file is none of the challenge, lacks a detector, has other segments
            in one than in another, or another sample rate.
    """
    folder.mkdir(exist_ok=True)
    with reading(path, _KIND) as file:
        missing = [ifo for ifo in ifos if ifo not in file]
        if missing:
            raise _unfit(f"no {', '.join(missing)} in {path}", f"a network of {', '.join(ifos)}")
        spans = [{_span(file[ifo][name]) for name in file[ifo]} for ifo in ifos]
        if any(each != spans[0] for each in spans):
            raise _unfit(
                f"segments of {ifos[0]} and of others differ in {path}", "one time for all"
            )
        for name, first in file[ifos[0]].items():
            start, size, step = _span(first)
            if round(1 / step, 6) != sample_rate:
                raise _unfit(f"{path} at {1 / step:g} Hz", f"a network of {sample_rate:g} Hz")
            _view(file, ifos, name, folder / _file_name(start, size * step))
    return list_strain(folder, ifos)


def _span(series: h5py.Dataset) -> tuple[float, int, float]:
    start = float(series.attrs.get("start_time", series.name.rpartition("/")[-1]))
    return start, len(series), float(series.attrs["delta_t"])


def _file_name(start: float, duration: float) -> str:
    whole, _, fraction = gps(start).partition(".")
    return f"challenge-{whole:>010}{fraction and '.' + fraction}-{gps(duration)}.hdf5"


def _view(file: h5py.File, ifos: Sequence[str], name: str, path: Path) -> None:
    if path.exists():
        return
    with writing(path) as view:
        for ifo in ifos:
            series = file[ifo][name]
            start, _, step = _span(series)
            layout = h5py.VirtualLayout(series.shape, series.dtype)
            layout[:] = h5py.VirtualSource(
                Path(file.filename).absolute(), series.name, series.shape
            )
            view.create_virtual_dataset(ifo, layout)
            view[ifo].attrs.update(x0=start, dx=step)


def _unfit(found: str, wanted: str) -> AframeError:
    return AframeError(
        "the strain of the challenge does not fit the network",
        found=found,
        wanted_by=wanted,
        fix="give a file of the challenge, or a network of its detectors and sample rate",
    )


def write_events(branches: Sequence[Branch], offset: float, var: float, draft: Draft) -> int:
    """Write the event file of the challenge, in time; give the number of events.

    Args:
        branches: Segments that were searched.
        offset: What is added to raw times (s).
        var: Largest distance in time at which an event claims a signal (s).
        draft: Where the branches' results lie and the file goes.
    """
    columns: list[tuple[Float[np.ndarray, " event"], Float[np.ndarray, " event"]]] = []
    for branch in branches:
        with reading(draft.work / branch.name, _KIND) as file:
            found = file["background"]
            columns.append((found["detection_time"][:] + offset, found["detection_statistic"][:]))
    time, stat = (np.concatenate(each) for each in zip(*columns, strict=True))
    order = np.argsort(time, kind="stable")
    with writing(draft.path / EVENTS) as file:
        file["time"], file["stat"] = time[order], stat[order]
        file["var"] = np.full(len(time), var)
    return len(time)
