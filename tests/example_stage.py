"""A stage of one verb, to be run as a command by the tests of `aframe.program`."""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from aframe.branches import run_branches
from aframe.draft import Draft
from aframe.program import Resources, Verb, main


@dataclass(frozen=True)
class Settings:
    """What the example is told.

    Args:
        output: Where to.
        count: Number of branches.
        seconds: How long a branch takes.
        resources: How.
    """

    output: Path
    count: int = 4
    seconds: float = 0.0
    resources: Resources = field(default_factory=Resources)


def branch(path: Path, text: str, seconds: float) -> None:
    """Write one branch by rename, and leave a mark each time that it is begun."""
    with path.with_suffix(".begun").open("a") as marks:
        marks.write(f"{os.getpid()}\n")
    time.sleep(seconds)
    path.with_suffix(".draft").write_text(text)
    path.with_suffix(".draft").replace(path)


def make(settings: Settings, draft: Draft) -> None:
    """Write `numbers.txt` and a folder from branches."""
    paths = [draft.work / f"branch-{index}.txt" for index in range(settings.count)]
    todo = [(path, path.stem, settings.seconds) for path in paths if not path.exists()]
    run_branches(branch, todo, draft=draft, workers=settings.resources.workers, unit="branches")
    (draft.path / "folder").mkdir(exist_ok=True)
    for path in paths:
        (draft.path / "folder" / path.name).write_text(path.read_text())
    (draft.path / "numbers.txt").write_text("\n".join(path.read_text() for path in paths))
    draft.notes["branches"] = settings.count


if __name__ == "__main__":
    sys.exit(main("data", [Verb("make", Settings, make, ("numbers.txt", "folder"))]))
