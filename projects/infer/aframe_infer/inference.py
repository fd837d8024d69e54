"""Inference: the exported network searches time slides, injections and zero lag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from aframe.artifacts.segments import slides_for_livetime
from aframe.artifacts.strain import StrainFile, list_strain
from aframe.errors import AframeError
from aframe.program import Draft, Resources, run_branches
from aframe.transforms.streaming import Stream
from aframe_infer import results
from aframe_infer.injections import Injections, read_injections
from aframe_infer.kernels import paths, write_blocks
from aframe_infer.repository import read_repository, refuse_other
from aframe_infer.slides import Branch, Search, analyze, outputs

COMMAND = "aframe-infer infer"


@dataclass(frozen=True)
class InferInputs:
    """What is searched, and with what.

    Args:
        model_repository: The folder ``model_repo`` that export wrote.
        background: Directory of the strain to slide and inject into.
        injections: Ledger of the injections (``waveforms.hdf5``).
        zero_lag_background: Directory of the strain to search unshifted; null for
            that of *background*.
    """

    model_repository: Path
    background: Path
    injections: Path
    zero_lag_background: Path | None = None


@dataclass(frozen=True)
class InferSettings:
    """Settings of ``aframe-infer infer``.

    Args:
        inputs: What is searched, and with what.
        output: Directory where the events appear.
        ifos: Detectors in channel order.
        sample_rate: Samples a second of strain (Hz).
        inference_sampling_rate: Kernels a second (Hz).
        batch_size: Kernels that share a PSD, as export was told.
        psd_length: Length of the data before a block that give its PSD (s).
        integration_window_length: Length of the average over scores (s).
        cluster_window_length: Time in which one event is kept (s).
        Tb: Background livetime to analyze (s).
        shifts: Shift of each detector in the first time slide (s).
        zero_lag: Whether to search unshifted strain too.
        model_version: Version of the exported network; -1 for the latest.
        return_timeseries: Whether to keep all scores in ``timeseries.hdf5``.
        resources: How to use the machine.
    """

    inputs: InferInputs
    output: Path
    ifos: tuple[str, ...]
    sample_rate: float
    Tb: float
    inference_sampling_rate: float = 4.0
    batch_size: int = 128
    psd_length: float = 64.0
    integration_window_length: float = 1.5
    cluster_window_length: float = 8.0
    shifts: tuple[float, ...] = (0.0, 1.0)
    zero_lag: bool = True
    model_version: int = -1
    return_timeseries: bool = False
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        rate = self.inference_sampling_rate
        if len(self.shifts) != len(self.ifos):
            raise _contradiction(
                f"{len(self.shifts)} shifts for {len(self.ifos)} detectors",
                "give one shift (s) for each detector",
            )
        moved = [shift * rate for shift in self.shifts]
        if any(shift < 0 or not float(shift).is_integer() for shift in moved):
            raise _contradiction(
                f"shifts {list(self.shifts)} s at {rate:g} kernels a second",
                "give shifts that are not negative and whole multiples of "
                f"1 / inference_sampling_rate ({1 / rate:g} s)",
            )
        if self.integration_window_length <= 0 or int(rate * self.cluster_window_length) < 2:  # noqa: PLR2004
            raise _contradiction(
                f"integration_window_length {self.integration_window_length:g} s, "
                f"cluster_window_length {self.cluster_window_length:g} s",
                "integrate over more than nothing and cluster over two outputs at least",
            )
        if self.Tb <= 0:
            raise _contradiction(f"Tb {self.Tb:g} s", "ask for some background livetime")


def _contradiction(found: str, fix: str) -> AframeError:
    return AframeError(
        "the settings of the search contradict themselves", found=found, wanted_by=COMMAND, fix=fix
    )


def infer(settings: InferSettings, draft: Draft) -> None:
    """Rank time slides, injections and zero lag.

    Raises:
        AframeError: If settings, strain, injections and network do not fit together, or
            there is too little strain for the livetime asked for.
    """
    # Sums differ by the number of threads, and several processes would compete for the cores.
    torch.set_num_threads(1)
    repository = read_repository(settings.inputs.model_repository, settings.model_version)
    names = ("ifos", "sample_rate", "inference_sampling_rate", "batch_size", "psd_length")
    refuse_other(repository, {name: getattr(settings, name) for name in names})
    injections = read_injections(settings.inputs.injections, settings.ifos, settings.sample_rate)
    branches, zero_lag = _plan(settings, repository.stream, injections)
    device = _device(settings.resources.device)
    search = Search(
        repository,
        settings.integration_window_length,
        settings.cluster_window_length,
        settings.return_timeseries,
        device,
    )
    # Processes would only compete for the one GPU.
    workers = settings.resources.workers if device == "cpu" else 1
    _whiten(search, [*branches, *zero_lag], draft, workers)
    todo = [
        (search, branch, injections, draft.work)
        for branch in [*branches, *zero_lag]
        if not (draft.work / branch.name).exists()
    ]
    run_branches(analyze, todo, draft=draft, workers=workers, unit="slides of segments")
    results.write(search, branches, zero_lag, injections, draft)


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _plan(
    settings: InferSettings, stream: Stream, injections: Injections
) -> tuple[list[Branch], list[Branch]]:
    """Lay out slides and zero lag, and refuse what cannot be analyzed."""
    background = _strain(settings.inputs.background, settings)
    slides = slides_for_livetime(
        [file.segment for file in background],
        settings.shifts,
        psd_length=settings.psd_length,
        livetime=settings.Tb,
    )
    planned = [
        Branch(file, shifts, _inside(file, rows, injections), "background")
        for shifts, rows in _slides(settings, slides, injections)
        for file in background
        if len(outputs(stream, file.duration, shifts))
    ]
    _refuse_stray(injections, sum(len(branch.rows) for branch in planned))
    return planned, _zero_lag(settings, stream, background)


def _slides(
    settings: InferSettings, count: int, injections: Injections
) -> Iterator[tuple[tuple[float, ...], np.ndarray]]:
    """Give the shifts (s) of each slide, asked for or injected into, and its injections' rows."""
    rate = settings.inference_sampling_rate
    asked = np.outer(np.arange(1, count + 1), settings.shifts)
    moved = np.concatenate([asked, injections.shift]) * rate
    # A ledger holds its shifts in single precision.
    strides = moved.round()
    if not np.allclose(moved, strides, rtol=0, atol=1e-3):
        raise _contradiction(
            f"shifts of injections that are no multiples of {1 / rate:g} s",
            "run `aframe-data testing_waveforms` with the shifts of this search",
        )
    slides, owners = np.unique(strides, axis=0, return_inverse=True)
    owners = owners.ravel()[len(asked) :]
    ends = np.bincount(owners, minlength=len(slides)).cumsum()
    rows = np.split(np.argsort(owners, kind="stable"), ends[:-1])
    for slide, mine in zip(slides / rate, rows, strict=True):
        yield tuple(slide.tolist()), mine


def _inside(file: StrainFile, rows: np.ndarray, injections: Injections) -> np.ndarray:
    time, (start, stop) = injections.time[rows], file.segment
    return rows[(time >= start) & (time < stop)]


def _zero_lag(
    settings: InferSettings, stream: Stream, background: Sequence[StrainFile]
) -> list[Branch]:
    if not settings.zero_lag:
        return []
    directory = settings.inputs.zero_lag_background
    files = _strain(directory, settings) if directory else background
    still = (0.0,) * len(settings.ifos)
    folder = "zero_lag" if directory else "background"
    none = np.empty(0, np.int64)
    planned = [
        Branch(file, still, none, folder)
        for file in files
        if len(outputs(stream, file.duration, still))
    ]
    if not planned:
        raise AframeError(
            "no strain is long enough to search at zero lag",
            found=f"segments of {', '.join(f'{file.duration:g} s' for file in files)}",
            wanted_by=f"psd_length {settings.psd_length:g} s",
            fix="give longer segments, a shorter psd_length, or zero_lag false",
        )
    return planned


def _strain(directory: Path, settings: InferSettings) -> list[StrainFile]:
    files = list_strain(directory, settings.ifos)
    if files[0].sample_rate != settings.sample_rate:
        raise AframeError(
            "the strain has another sample rate",
            found=f"{files[0].path} at {files[0].sample_rate:g} Hz",
            wanted_by=f"sample_rate {settings.sample_rate:g} Hz",
            fix="fetch the strain at this sample rate, or train with the strain's",
        )
    return files


def _refuse_stray(injections: Injections, placed: int) -> None:
    if placed != len(injections.time):
        raise AframeError(
            "injections lie outside the strain that is analyzed",
            found=f"{len(injections.time) - placed} of {len(injections.time)} in {injections.path}",
            wanted_by="one background segment around each injection, long enough for its slide",
            fix="run `aframe-data testing_waveforms` again with this background",
        )


def _whiten(search: Search, branches: Sequence[Branch], draft: Draft, workers: int) -> None:
    todo = {}
    for branch in branches:
        folder = draft.work / branch.folder
        folder.mkdir(exist_ok=True)
        for ifo in search.ifos:
            whitened, _ = paths(folder, branch.file, ifo)
            if not whitened.exists():
                device = torch.device(search.device)
                todo[whitened] = (search.repository, branch.file, ifo, folder, device)
    run_branches(
        write_blocks, list(todo.values()), draft=draft, workers=workers, unit="detectors whitened"
    )
