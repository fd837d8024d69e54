"""`aframe explain`: what differs from what made an output, and where it comes from."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from typing import Any

from aframe.artifacts.record import Record
from aframe.artifacts.remote import place
from aframe.checkout import commit
from aframe.commands.origins import origin
from aframe.commands.run_directory import RunDirectory
from aframe.commands.steps import named
from aframe.commands.words import colored
from aframe.tasks.outlook import DONE, RUNNING, RUNS, STOPS, WAITS, Outlook, changes, outlooks

_WORDS = {
    DONE: "is current: a run would leave it alone",
    RUNNING: "is running",
    RUNS: "would run",
    WAITS: "would wait for what it rests on, and then run unless that comes out as it was",
    STOPS: "would stop the run",
}


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Print the explanation of each step that is asked for."""
    with run_directory.task_to_run(options) as task:
        found = outlooks(task)
        pages = ["\n".join(_page(each, found)) for each in named(asked.task, found)]
    print("\n\n".join(pages))
    return 0


def _page(each: Outlook, found: Sequence[Outlook]) -> Iterator[str]:
    yield f"{each.name} {colored(each.state, _WORDS[each.state])}"
    for reason in each.reasons:
        yield f"  why        {reason}"
    if each.fix:
        yield f"  fix        {each.fix}"
    yield f"  output     {place(each.step.directory)}"
    if each.record is None:
        yield "  record     none: there is nothing to compare with"
        return
    yield f"  record     {place(each.step.record)}, of {each.record.finished or 'an unknown time'}"
    yield from _differing(each, each.record, found)
    yield from _accepted(each.record)


def _differing(each: Outlook, record: Record, found: Sequence[Outlook]) -> Iterator[str]:
    step = each.step
    changed = changes(step, record)
    for line in changed:
        name = line.partition(":")[0]
        where = _made_by(step, name) if name.startswith("input ") else origin(each, name, found)
        yield f"  differs    {line}"
        yield f"             from {where}"
    others = list(_code(step, record))
    for line in others:
        yield f"  differs    {line}"
    if others:
        yield "             what an output was made by is told, and is no reason to make it anew"
    if not changed and not others:
        yield "  differs    nothing: settings, inputs, versions and code are those that made it"


def _made_by(step: Any, name: str) -> str:
    path = step.inputs().get(name.removeprefix("input "))
    return place(path) if path else f"what the settings of {step.task_family} name"


def _code(step: Any, record: Record) -> Iterator[str]:
    """Versions and state of the code, where the step runs in this environment."""
    if step.where.image is not None:
        yield f"versions may: they are those in {step.where.image}"
        return
    for name, version in record.versions.items():
        now = _version(name)
        if now != version:
            yield f"version of {name}: {version} -> {now or 'not installed'}"
    now = commit()
    if now != record.git:
        yield f"code: {record.git or 'no checkout'} -> {now or 'no checkout'}"


def _version(name: str) -> str | None:
    if name == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _accepted(record: Record) -> Iterator[str]:
    for note in record.notes.get("accepted", ()):
        yield f"  accepted   {note['when']} by {note['who']}: {'; '.join(note['changes'])}"
        if note.get("because"):
            yield f"             because {note['because']}"
