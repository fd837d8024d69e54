"""Inference: the exported network searches time slides, injections and zero lag."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from aframe.artifacts.record import write_text
from aframe.branches import run_branches
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_infer import results, served
from aframe_infer.client import streams
from aframe_infer.engines import EACH, PLAIN, settle
from aframe_infer.injections import Injections, read_injections
from aframe_infer.kernels import block_reads, block_writes, paths, write_blocks
from aframe_infer.planning import plan
from aframe_infer.repository import read_repository, refuse_other
from aframe_infer.scores import BATCH
from aframe_infer.served import Link
from aframe_infer.server import check, is_address, running
from aframe_infer.settings import COMMAND, InferResources, InferSettings
from aframe_infer.slides import (
    Branch,
    Search,
    analyze,
    outputs,
    sample,
    slide_reads,
    slide_writes,
)
from aframe_infer.sweeps import load_sweep

#: What a branch is done with.
Work = tuple[Search, Branch, Injections, Path]


def infer(settings: InferSettings, draft: Draft) -> None:
    """Rank time slides, injections and zero lag.

    Raises:
        AframeError: If settings, strain, injections and network do not fit together, or
            there is too little strain for the livetime asked for.
    """
    # Sums differ by the number of threads, and several processes would compete for the cores.
    torch.set_num_threads(1)
    check(settings)
    repository = read_repository(settings.inputs.model_repository, settings.model_version)
    names = ("ifos", "sample_rate", "inference_sampling_rate", "batch_size", "psd_length")
    refuse_other(repository, {name: getattr(settings, name) for name in names})
    injections = read_injections(settings.inputs.injections, settings.ifos, settings.sample_rate)
    _refuse_unreachable(settings.resources)
    elsewhere = _is_elsewhere(settings.resources)
    device = "cuda" if elsewhere else device_named(settings.resources.device)
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
    whiten(search, [*branches, *zero_lag], draft, workers)
    # Injections may lie at zero lag too, in a branch that does for both.
    named = {branch.name: branch for branch in [*zero_lag, *branches]}
    if elsewhere:
        search = replace(search, engine=EACH)
        draft.notes["engine"] = {"name": EACH, "device": device}
    elif settings.resources.server is None:
        search = replace(search, engine=choose_engine(search, list(named.values()), draft))
    ordered = [(search, named[name], injections, draft.work) for name in sorted(named)]
    _analyze(settings, ordered, draft, workers)
    here = replace(search, device="cpu", engine=PLAIN) if elsewhere else search
    results.write(settings, here, branches, zero_lag, injections, draft)


def _is_elsewhere(resources: InferResources) -> bool:
    """Whether branches are dealt to machines with a GPU by one without."""
    dealt = resources.deal is not None and resources.device == "cuda"
    return dealt and not torch.cuda.is_available()


def _refuse_unreachable(resources: InferResources) -> None:
    """Refuse to deal branches that would ask a server of this machine's own."""
    if resources.deal is None or resources.server is None or is_address(resources.server):
        return
    raise AframeError(
        "jobs on other machines cannot ask a server that is started here",
        found=f"server {resources.server}",
        wanted_by=f"{COMMAND}, whose branches are dealt to other machines",
        fix="give the host:port of a server that they reach, or none, or run without a pool",
    )


def _analyze(settings: InferSettings, branches: Sequence[Work], draft: Draft, workers: int) -> None:
    """Search the branches that are not done, in this process or on a server."""
    todo = {
        number: each
        for number, each in enumerate(branches)
        if not (draft.work / each[1].name).exists()
    }
    run = partial(
        run_branches,
        draft=draft,
        unit="slides of segments",
        reads=slide_reads,
        writes=slide_writes,
    )
    server, timeout = settings.resources.server, settings.resources.server_timeout
    if server is None or not todo:
        run(analyze, list(todo.values()), workers=workers)
        return
    models, log = settings.inputs.model_repository, draft.work / "server.log"
    with running(server, models, log) as (address, _):
        link = Link(address, timeout, _run_name(draft))
        draft.notes["server"] = served.refuse_other_network(link, branches[0][0].repository)
        # More would wait for a place, and count as lost.
        workers = min(settings.resources.workers, streams(address))
        run(served.analyze, [(*each, link, n) for n, each in todo.items()], workers=workers)


def choose_engine(search: Search, branches: Sequence[Branch], draft: Draft) -> str:
    """Choose what runs the network, by kernels of one of the branches, unless it can be swept."""
    sweep = load_sweep(search.repository, torch.device(search.device))
    if sweep:
        draft.notes["engine"] = {"name": "sweep", "device": search.device, "step": sweep.step}
        return PLAIN
    searched = (outputs(search.stream, each.file.duration, each.shifts) for each in branches)
    count = BATCH[search.device]
    return settle(
        search.repository,
        search.device,
        lambda: sample(search, branches[0], draft.work, count),
        sum(map(len, searched)),
        draft,
    )


def _run_name(draft: Draft) -> str:
    """Name this run for the server; resumed, it has the same name and takes up its sequences."""
    path = draft.work / "run"
    if not path.exists():
        write_text(path, uuid.uuid4().hex)
    return path.read_text()


def device_named(name: str) -> str:
    """Give the device that a *name* stands for, ``cpu`` or ``cuda``.

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


def whiten(search: Search, branches: Sequence[Branch], draft: Draft, workers: int) -> None:
    """Whiten each detector of each segment of *branches* once, where that is not done."""
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
        write_blocks,
        list(todo.values()),
        draft=draft,
        workers=workers,
        unit="detectors whitened",
        reads=block_reads,
        writes=block_writes,
    )
