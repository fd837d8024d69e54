"""A light stand-in for `aframe-data` whose branches do what happens to jobs on a pool."""

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from aframe.branches import run_branches
from aframe.errors import AframeError
from aframe.program import Draft, Resources, Verb, main


@dataclass(frozen=True)
class Inputs:
    """What it reads.

    Args:
        numbers: Folder with a file for each branch.
    """

    numbers: Path


@dataclass(frozen=True)
class Settings:
    """What it is told.

    Args:
        inputs: What it reads.
        output: Where to.
        deeds: What each branch does before it writes its file.
        resources: How.
    """

    inputs: Inputs
    output: Path
    deeds: tuple[str, ...]
    resources: Resources = field(default_factory=Resources)


def branch(deed: str, source: Path, before: Path | None, path: Path) -> None:
    """Do the deed, then write the doubled number by rename."""
    word, _, argument = deed.partition(":")
    DEEDS[word](argument)
    more = int(before.read_text()) if before else 0
    draft = path.with_suffix(".draft")
    draft.write_text(str(2 * int(source.read_text()) + more))
    draft.replace(path)


def wait(seconds: str) -> None:
    """Take a while."""
    time.sleep(float(seconds))


def until(mark: str) -> None:
    """Take until somebody leaves a mark."""
    while not Path(mark).exists():
        time.sleep(0.1)


def refuse(_: str) -> None:
    """Fail as a mistake of the user's does."""
    raise AframeError("the number is odd", found="1", wanted_by="branch", fix="give an even one")


def crash(_: str) -> None:
    """Fail as a mistake of ours does."""
    raise ValueError("a bug")


def hog(size: str) -> None:
    """Use so many MiB of memory."""
    bytearray(int(size) << 20)


def keep(size: str) -> None:
    """Hold so many MiB of memory for as long as it takes to be seen."""
    held = bytearray(int(size) << 20)
    for page in range(0, len(held), 4096):
        held[page] = 1
    time.sleep(25)


def fill(size: str) -> None:
    """Use so many MiB of the disk that the job was given."""
    path = Path(os.environ["TMPDIR"], "full")
    with path.open("wb") as file:
        for _ in range(int(size)):
            file.write(bytes(1 << 20))
    path.unlink()


def overflow(mark: str) -> None:
    """Find the disk of the results full, until somebody has made room."""
    if not Path(mark).exists():
        Path("/dev/full").write_text("x")


def expire(mark: str) -> None:
    """Find a token expired, until somebody has renewed it."""
    if not Path(mark).exists():
        raise AframeError(
            "the server refuses", found="token has expired", wanted_by="branch", fix="htgettoken"
        )


def granted(name: str) -> None:
    """Use the GPU that was granted, as its sole name in the variable *name*."""
    _refuse_other("GPU", os.environ.get(name, "none"), "GPU-one", "GPU-two")


def show(token: str) -> None:
    """Show the token that a job gets of its own."""
    path = Path(os.environ.get("_CONDOR_CREDS", "nowhere"), "scitokens.use")
    inside = os.environ.get("APPTAINERENV__CONDOR_CREDS")
    _refuse_other("token", path.read_text() if path.exists() else "none", token)
    _refuse_other("place of it in an image", str(inside), str(path.parent))


def _refuse_other(what: str, found: str, *right: str) -> None:
    if found not in right:
        raise AframeError(
            f"there is another {what}", found=found, wanted_by="branch", fix=" or ".join(right)
        )


DEEDS = {
    "write": lambda _: None,
    "wait": wait,
    "until": until,
    "refuse": refuse,
    "crash": crash,
    "hog": hog,
    "keep": keep,
    "fill": fill,
    "overflow": overflow,
    "granted": granted,
    "show": show,
    "expire": expire,
}


def make(settings: Settings, draft: Draft) -> None:
    """Double the numbers, then add the first of them to each, and write `sums.txt`."""
    draft.notes["device"] = settings.resources.device
    sources = [settings.inputs.numbers / f"{n}.txt" for n in range(len(settings.deeds))]
    doubled = [draft.work / f"doubled-{path.name}" for path in sources]
    _deal(settings, draft, sources, None, doubled, settings.deeds)
    summed = [draft.path / "sums" / path.name for path in sources]
    _deal(settings, draft, doubled, doubled[0], summed, ["write"] * len(sources))


def _deal(settings, draft, sources, before, paths, deeds):
    todo = [
        (deed, source, before, path)
        for deed, source, path in zip(deeds, sources, paths, strict=True)
        if not path.exists()
    ]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
    run_branches(
        branch,
        todo,
        draft=draft,
        workers=settings.resources.workers,
        unit="numbers",
        reads=reads,
        writes=writes,
    )


def reads(_deed: str, source: Path, before: Path | None, _path: Path) -> list[Path]:
    """What a branch reads."""
    return [source, *([before] if before else [])]


def writes(_deed: str, _source: Path, _before: Path | None, path: Path) -> list[Path]:
    """What a branch writes."""
    return [path]


def whole(settings: Settings, draft: Draft) -> None:
    """Add the numbers up, all in one."""
    draft.notes["device"] = settings.resources.device
    for deed in settings.deeds:
        word, _, argument = deed.partition(":")
        DEEDS[word](argument)
    numbers = [int(path.read_text()) for path in settings.inputs.numbers.glob("*.txt")]
    (draft.path / "sum.txt").write_text(str(sum(numbers)))


if __name__ == "__main__":
    verbs = [Verb("make", Settings, make, ("sums",)), Verb("whole", Settings, whole, ("sum.txt",))]
    sys.exit(main("data", verbs))
