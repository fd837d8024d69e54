"""Inference: the exported network searches time slides, injections and zero lag."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aframe.errors import AframeError
from aframe.program import Draft, run_branches
from aframe_infer import results
from aframe_infer.injections import read_injections
from aframe_infer.kernels import paths, write_blocks
from aframe_infer.planning import plan
from aframe_infer.repository import read_repository, refuse_other
from aframe_infer.settings import COMMAND, InferSettings
from aframe_infer.slides import Branch, Search, analyze


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
    device = _device(settings.resources.device)
    branches, zero_lag = plan(settings, repository.stream, injections)
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
    # Injections may lie at zero lag too, in a branch that does for both.
    named = {branch.name: branch for branch in [*zero_lag, *branches]}
    todo = [
        (search, branch, injections, draft.work)
        for name, branch in sorted(named.items())
        if not (draft.work / name).exists()
    ]
    run_branches(analyze, todo, draft=draft, workers=workers, unit="slides of segments")
    results.write(search, branches, zero_lag, injections, draft)


def _device(name: str) -> str:
    """Resolve the device's name.

    Raises:
        AframeError: If there is no such device here.
    """
    gpu = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda") or (name == "cuda" and not gpu):
        raise AframeError(
            "there is no such device",
            found=f"resources.device {name}, and {'a' if gpu else 'no'} GPU",
            wanted_by=COMMAND,
            fix="choose auto, cpu, or, where there is a GPU, cuda",
        )
    return ("cuda" if gpu else "cpu") if name == "auto" else name


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
