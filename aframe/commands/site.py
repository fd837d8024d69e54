"""`aframe site`: where and how the steps of a run would be at work, and what would be submitted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import Any

from aframe import images, site
from aframe.artifacts.remote import place
from aframe.commands.history import spelled_time
from aframe.commands.run_directory import RunDirectory
from aframe.commands.steps import named
from aframe.tasks.outlook import Outlook, outlooks


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Print all sites, or what the chosen one makes of each step, or what a step would submit."""
    with run_directory.task_to_run(options) as task:
        if asked.what == "list":
            print("\n".join(_listed()))
        elif asked.task:
            for each in named(asked.task, outlooks(task)):
                print("\n".join(_submitted(each)))
        else:
            print("\n".join(_table(run_directory, outlooks(task))))
    return 0


def _listed() -> Iterator[str]:
    chosen = site.chosen()
    for name, keys in site.sites().items():
        yield f"{name}{'  (chosen)' if name == chosen else ''}"
        for key, text in keys.items():
            yield f"  {key} = {text}"


def _table(run_directory: RunDirectory, found: Sequence[Outlook]) -> Iterator[str]:
    yield f"site {site.chosen() or '(none chosen; --site NAME, see aframe site list)'}"
    for name, variable in sorted(run_directory.variables.items()):
        if name.startswith("AFRAME_"):
            yield f"  {name:<22} {variable}"
    yield ""
    width = max(len(each.name) for each in found)
    for each in found:
        yield f"{each.name:<{width}}  {'; '.join(_summary(each.step))}"
    yield ""
    yield "aframe site show TASK prints what that step would start or submit"


def _summary(step: Any) -> Iterator[str]:
    if step.on_pool:
        from aframe.sites.requests import spelled  # noqa: PLC0415 (only where there is a pool)

        request, terms = step.request(), step.terms()
        disk = "shared disk" if terms.shared_disk else "files are transferred"
        yield f"htcondor, {disk}"
        gpus = f", {request.gpus} GPU" if request.gpus else ""
        cores = f"{request.cpus} core{'s' * (request.cpus > 1)}"
        yield f"{cores}{gpus}, {spelled(request.memory)} memory, {spelled(request.disk)} disk a job"
        yield f"jobs of {spelled_time(terms.job_length)}"
        group = terms.accounting_group
        yield f"charged to {group}" if group else "no accounting_group, which some pools want"
    else:
        yield f"local, {step.stage_resources()['workers']} processes"
        if step.gpus:
            yield f"GPU {step.gpus}"
    yield f"image {step.where.image}" if step.where.image else "no image"


def _submitted(each: Outlook) -> Iterator[str]:
    step = each.step
    yield f"# {each.name}: {'; '.join(_summary(step))}"
    yield f"# output {place(step.directory)}"
    if not step.on_pool:
        return
    from aframe.sites.pieces import Piece  # noqa: PLC0415 (only where there is a pool)
    from aframe.sites.submission import description  # noqa: PLC0415

    work = step.pool_step()
    given = work.terms.forwarded(images.with_files(os.environ))
    for pattern in work.terms.forward:
        names = sorted(name for name in given if fnmatch(name, pattern))
        yield f"# forwarded: {pattern} ({', '.join(names) or 'none is set'})"
    rows = "0-9" if work.branched else ""
    yield "# one line a job after queue; these ten rows stand for those that there will be" * bool(
        rows
    )
    yield description(work.batch(0, "0" * 8), work.terms, [Piece(0, rows, work.request)]).rstrip()
