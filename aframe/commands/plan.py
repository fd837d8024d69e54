"""`aframe plan`: what a run would do, why, and about what it would cost."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aframe.artifacts.remote import place
from aframe.commands.history import Estimate, estimate, neighbors, pasts, spelled_size, spelled_time
from aframe.commands.run_directory import RunDirectory
from aframe.commands.status import jobs
from aframe.commands.words import colored
from aframe.errors import USER_ERROR, AframeError
from aframe.tasks.outlook import (
    DONE,
    RUNNING,
    RUNS,
    STATES,
    STOPS,
    WAITS,
    Outlook,
    outlooks,
    reasons_text,
)

_COUNTED = {
    DONE: "done",
    RUNNING: "running",
    RUNS: "to run",
    WAITS: "waiting for those",
    STOPS: "stopping the run",
}


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Print the plan; status 2 where a step would be refused."""
    for path in asked.past:
        _refuse_missing(path)
    with run_directory.task_to_run(options) as task:
        found = outlooks(task)
        known = pasts([*neighbors(run_directory.path), *asked.past])
        costs = {each.name: estimate(each.step, known) for each in found if each.state != DONE}
    if asked.json:
        print(json.dumps(_as_json(task, found, costs), indent=2))
    else:
        print("\n".join(_page(task, run_directory.path, found, costs)))
    return USER_ERROR if any(each.state == STOPS for each in found) else 0


def _refuse_missing(past: Path) -> None:
    if not past.is_dir():
        raise AframeError(
            "there is no such run directory to estimate from",
            found=str(past),
            wanted_by="aframe plan --past",
            fix="correct the path; run directories beside this one are known without it",
        )


def _as_json(
    task: Any, found: Sequence[Outlook], costs: dict[str, Estimate | None]
) -> dict[str, Any]:
    counts = Counter(each.state for each in found)
    return {
        "task": task.task_family,
        "counts": {state: counts[state] for state in STATES},
        "steps": [
            {
                "name": each.name,
                "command": f"aframe-{each.step.stage} {each.step.verb}",
                "directory": place(each.step.directory),
                "state": each.state,
                "reasons": list(each.reasons),
                "fix": each.fix,
                "rests_on": list(each.rests_on),
                "done": each.progress.done if each.progress else None,
                "total": each.progress.total if each.progress else None,
                "estimate": _cost(costs.get(each.name)),
            }
            for each in found
        ],
    }


def _cost(cost: Estimate | None) -> dict[str, Any] | None:
    return {**vars(cost), "of": str(cost.of)} if cost else None


def _page(
    task: Any, path: Path, found: Sequence[Outlook], costs: dict[str, Estimate | None]
) -> Iterator[str]:
    counts = Counter(each.state for each in found)
    yield f"{task.task_family} in {path}"
    yield f"{len(found)} steps: " + ", ".join(
        f"{counts[s]} {_COUNTED[s]}" for s in STATES if counts[s]
    )
    yield ""
    yield from _tree(found, costs)
    yield ""
    yield from _sum(costs)
    stopping: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
    for each in found:
        if each.state == STOPS:
            stopping[each.reasons[0], each.fix].append(each.name)
    for (reason, fix), names in stopping.items():
        yield f"{', '.join(names)} {'stop' if names[1:] else 'stops'} the run: {reason}"
        yield f"  fix        {fix}"


def _tree(found: Sequence[Outlook], costs: dict[str, Estimate | None]) -> Iterator[str]:
    """The last step first; what each rests on below it, where it is not shown already."""
    by_name = {each.name: each for each in found}
    shown: set[str] = set()

    def branch(name: str, depth: int) -> Iterator[str]:
        each = by_name[name]
        indent = "  " * depth
        if name in shown:
            return
        shown.add(name)
        word = f"{colored(each.state)}{' ' * (8 - len(each.state))}"
        reasons = [*each.reasons, *filter(None, [jobs(each) if each.state == RUNNING else ""])]
        yield f"{word}{indent}{name}{reasons_text(reasons)}{_costs(costs.get(name))}"
        for below in each.rests_on:
            yield from branch(below, depth + 1)

    resting = {name for each in found for name in each.rests_on}
    for each in reversed(found):
        if each.name not in resting:
            yield from branch(each.name, 0)


def _costs(cost: Estimate | None) -> str:
    if cost is None:
        return ""
    gpu = f", {spelled_time(cost.gpu)} of a GPU" if cost.gpu else ""
    return f"  (about {spelled_time(cost.wall)}{gpu}, {spelled_size(cost.written)})"


def _sum(costs: dict[str, Estimate | None]) -> Iterator[str]:
    known = [cost for cost in costs.values() if cost]
    unknown = [name for name, cost in costs.items() if cost is None]
    if known:
        wall, gpu = sum(cost.wall for cost in known), sum(cost.gpu for cost in known)
        size = spelled_size(sum(cost.written for cost in known))
        yield (
            f"to run: about {spelled_time(wall)} one after another, {gpu / 3600:.2g} GPU-hours, "
            f"{size} to write; from {_sources(known)}"
        )
    if unknown:
        yield f"no past run tells of: {', '.join(unknown)}"
    if not costs:
        yield "nothing is to be done"


def _sources(known: Sequence[Estimate]) -> str:
    count = len({cost.of for cost in known})
    scaled = sum(cost.scale != 1 for cost in known)
    more = f", {scaled} scaled to what is to be done" if scaled else ""
    return f"{count} record{'s' * (count > 1)} of past runs{more}"
