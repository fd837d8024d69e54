"""`aframe report`: the page of a finished run made anew, or several runs on one page."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aframe.artifacts.inventory import exists, read_record, records_below
from aframe.artifacts.record import Record, record_path, write_text
from aframe.artifacts.remote import Remote, address, cache_directory, copy_of, here, place
from aframe.cli import Parser
from aframe.errors import USER_ERROR, AframeError
from aframe.stages import Stage

PAGE, COMPARISON, LIST = "report.html", "comparison.html", "runs.json"
_SEARCH = "aframe-infer infer"
_TRAININGS = ("aframe-train fit", "aframe-train tune")
#: What the page shows: the file, and the commands that make it, of which the first that ran counts.
_MADE = {
    "background": ("background.hdf5", ("aframe-sv veto", _SEARCH)),
    "foreground": ("foreground.hdf5", ("aframe-sv veto", _SEARCH)),
    "zero_lag": ("0lag.hdf5", ("aframe-sv veto", _SEARCH)),
    "candidates": ("candidates.hdf5", ("aframe-sv veto", _SEARCH)),
    "examples": ("examples.hdf5", (_SEARCH,)),
    "sensitive_volume": ("sensitive_volume.h5", ("aframe-sv estimate",)),
    "p_astro": ("p_astro.hdf5", ("aframe-sv p_astro",)),
    "metrics": ("metrics.csv", _TRAININGS),
    "preprocessing": ("preprocessing.json", _TRAININGS),
    "tune": ("trials.json", _TRAININGS),
}
#: What it shows that those commands read: its name there.
_READ = {
    "injections": ("injections", (_SEARCH,)),
    "test_background": ("background", (_SEARCH,)),
    "zero_lag_background": ("zero_lag_background", (_SEARCH,)),
    "rejected_parameters": ("rejected_parameters", ("aframe-sv estimate",)),
    "train_background": ("background", _TRAININGS),
}


@dataclass(frozen=True)
class Run:
    """A finished search.

    Args:
        directory: Where it lies, on this machine or on S3.
        records: Records of its steps by their paths.
    """

    directory: Path
    records: dict[Path, Record]

    @classmethod
    def read(cls, directory: Path) -> Run:
        """Read the records below *directory*, drafts left out.

        Raises:
            AframeError: If there is not one search among them.
        """
        directory = _whole(directory)
        records = {directory / name: record for name, record in records_below(directory).items()}
        searches = [path for path, record in records.items() if record.command == _SEARCH]
        if len(searches) != 1:
            raise AframeError(
                "the directory holds not one finished search",
                found=f"{len(searches)} infer.record.json below {place(directory)}"
                f"{'' if searches or exists(directory) else ', which does not exist'}",
                wanted_by="aframe report",
                fix="name a directory that run.sh was run in, once it has ended",
            )
        return cls(directory, records)

    def _step(self, commands: Sequence[str]) -> tuple[Path, Record] | None:
        steps = ((path, record) for command in commands for path, record in self.records.items()
                 if record.command == command)  # fmt: skip
        return next(steps, None)

    @property
    def results(self) -> Path:
        """Where the page is: beside the events."""
        page = self._step(("aframe-sv report", _SEARCH))
        return page[0].parent if page else self.directory

    @property
    def title(self) -> str | None:
        """Headline of the page that was there."""
        page = self._step(("aframe-sv report",))
        return page[1].settings.get("title") if page else None

    @property
    def inputs(self) -> dict[str, str | None]:
        """What the page shows; what was not made, or is not there any more, is ``None``."""
        made = {name: self._made(*each) for name, each in _MADE.items()}
        read = {name: self._read(*each) for name, each in _READ.items()}
        return {name: place(path) if path else None for name, path in (made | read).items()}

    def _made(self, file: str, commands: Sequence[str]) -> Path | None:
        step = self._step(commands)
        path = step[0].parent / file if step and file in step[1].outputs else None
        return path if path is not None and exists(path) else None

    def _read(self, name: str, commands: Sequence[str]) -> Path | None:
        """Where an input of a step lies: beside it as it did, though the run was moved."""
        step = self._step(commands)
        read = step[1].places.get(name) if step else None
        if step is None or read is None:
            return None
        path, output = Path(read), step[1].places.get("output", "")
        moved = Path(os.path.normpath(step[0].parent / os.path.relpath(read, output)))
        return next((each for each in (moved, path) if exists(each)), None)

    @property
    def digests(self) -> dict[str, str]:
        """Digests of what its steps made, which tell whether a comparison is of these files."""
        return {
            place(path.parent / name): digest
            for path, record in self.records.items()
            for name, digest in record.outputs.items()
            if not name.endswith(".html")
        }

    @property
    def steps(self) -> list[str]:
        """Records of the steps that the page lists, and of those beside what it shows."""
        beside = (
            record
            for path in self.inputs.values()
            if path and not address(path)
            for record in Path(path).parent.glob("*.record.json")
        )
        pages = ("aframe-sv report", "aframe-sv compare")
        mine = (path for path, record in self.records.items() if record.command not in pages)
        others = (path for path in beside if not path.is_relative_to(self.directory))
        return sorted({place(path) for path in (*mine, *others)})


def main(argv: Sequence[str] | None = None) -> int:
    """Run `aframe`; returns its exit status."""
    parser = Parser(prog="aframe", description="Look at finished runs.")
    kinds = parser.add_subparsers(dest="kind", metavar="COMMAND", required=True)
    report = kinds.add_parser("report", help="make the page of a run anew, or compare runs")
    report.add_argument(
        "directories", nargs="+", type=Path, metavar="DIR", help="run directory; of several, one "
        "page compares them"
    )  # fmt: skip
    report.add_argument("--title", help="headline; default: that of the page that was there")
    report.add_argument(
        "--output", type=Path, help="folder of the page; default: beside the events, and of a "
        "comparison the present folder"
    )  # fmt: skip
    report.add_argument("--image", type=Path, help="Apptainer image of the stage sv")
    asked = parser.parse_args(argv)
    try:
        page = _report([Run.read(each) for each in asked.directories], asked)
    except AframeError as error:
        print(f"aframe: error: {error}", file=sys.stderr)  # noqa: T201
        return USER_ERROR
    print(f"wrote {page}")  # noqa: T201
    return 0


def _report(runs: Sequence[Run], asked: Any) -> str:
    """Write the page of one run, or of several."""
    stage = Stage("sv", asked.image and asked.image.expanduser().resolve())
    if len(runs) > 1:
        return _comparison(runs, asked, stage)
    (run,) = runs
    output = _whole(asked.output or run.results)
    title = asked.title or (run.title if asked.output is None else None)
    settings = {
        "inputs": run.inputs,
        "output": place(output),
        "resources": {"records": run.steps},
        **({"title": title} if title else {}),
    }
    return _made_anew(stage, "report", settings, output / PAGE)


def _comparison(runs: Sequence[Run], asked: Any, stage: Stage) -> str:
    """Write the page of several runs."""
    output = _whole(asked.output or Path())
    here(output).mkdir(parents=True, exist_ok=True)
    listed = [
        {"name": name, "inputs": run.inputs, "records": run.steps, "digests": run.digests}
        for name, run in zip(_names(runs), runs, strict=True)
    ]
    write_text(here(output) / LIST, json.dumps(listed, indent=2) + "\n")
    settings = {
        "inputs": {"runs": str(here(output) / LIST)},
        "output": place(output),
        **({"title": asked.title} if asked.title else {}),
    }
    seen = [path for run in runs for path in run.inputs.values() if path]
    return _made_anew(stage, "compare", settings, output / COMPARISON, seen)


def _names(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, with as much of the path as tells them apart."""
    paths = [run.directory for run in runs]
    if len(set(paths)) < len(paths):
        raise AframeError(
            "a run is named twice",
            found=", ".join(map(str, paths)),
            wanted_by="aframe report",
            fix="name each run once",
        )
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = [str(Path(*path.parts[-depth:])) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _made_anew(
    stage: Stage, verb: str, settings: dict[str, Any], page: Path, seen: Sequence[str] = ()
) -> str:
    """Run a verb that writes *page*, though the one that is there is current.

    Raises:
        AframeError: If the stage refuses; the page that was there is then there again.
    """
    paths = [path for path in (*settings["inputs"].values(), *seen, place(page)) if path]
    folders = {here(page).parent, *(copy_of(path).parent for path in paths)}
    elsewhere = {cache_directory()} if any(map(address, paths)) else set()
    with tempfile.TemporaryDirectory(prefix="aframe-report-") as scratch:
        file = Path(scratch) / f"{verb}.json"
        file.write_text(json.dumps(settings, indent=2))
        seen_by_it = {folder for folder in folders | elsewhere if folder.is_dir()}
        command = stage.command(verb, file, sorted({*seen_by_it, Path(scratch)}))
        with _taken_away(page, verb), stage.surroundings() as surroundings:
            status = subprocess.run([*command, "--remake"], **surroundings, check=False).returncode
    if status:
        raise AframeError(
            "the page was not made",
            found=f"aframe-sv {verb} ended with status {status}; its own words stand above",
            wanted_by="aframe report",
            fix="mend what it names, then run the same command",
        )
    return place(page)


@contextlib.contextmanager
def _taken_away(page: Path, verb: str) -> Iterator[None]:
    """Have no *page* of ours meanwhile, so that it is made; put it back if none was."""
    mine, before = here(page), here(page).with_name(f".{page.name}.before")
    at = address(page.parent)
    remote = Remote(at) if at else None
    if read_record(record_path(page.parent, verb)) is not None and exists(page):
        if remote is not None:
            remote.download(page.name, before)
            mine.unlink(missing_ok=True)
            remote.remove([page.name])
        else:
            mine.replace(before)
    try:
        yield
    finally:
        if before.exists() and remote is not None and remote.look(page.name) is None:
            remote.upload(before, page.name)
        elif before.exists() and remote is None and not mine.exists():
            before.replace(mine)
        before.unlink(missing_ok=True)


def _whole(path: Path) -> Path:
    """Give *path* as it is known everywhere on this machine, or the address that it is."""
    return Path(place(path)) if address(path) else path.expanduser().resolve()
