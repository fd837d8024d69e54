"""The branches of a verb: done here by a pool of processes, or dealt to machines elsewhere.

Dealt, they are laid down in a table, and the verb ends with the status :data:`DEALT`. Whoever
dealt has the rows of the table done with ``aframe-<stage> branches``, on any machine, and runs
the verb again, which goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import logging
import os
import pickle
import platform
import re
import shutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts.record import write_text
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.processes import Failed, in_processes
from aframe.usage import Meter, Usage

log = logging.getLogger(__name__)

#: Exit status of a verb that laid its branches down for others to do.
DEALT = 75
#: The word that does rows of a table; no stage has a verb of this name.
BRANCHES = "branches"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_STORAGE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.ENETUNREACH}

Rows = Sequence[tuple[Any, ...]]
#: Files and folders that one branch reads or writes.
Paths = Callable[..., Sequence[Path]]


class Dealt(Exception):  # noqa: N818 - no error: the verb goes on once its branches are done
    """The branches were laid down for others to do.

    Args:
        table: Their table.
    """

    def __init__(self, table: Path) -> None:
        super().__init__(str(table))
        self.table = table


def nothing(*_branch: Any) -> Sequence[Path]:
    """No path, whatever the branch."""
    return ()


def run_branches(
    function: Callable[..., None],
    branches: Rows,
    *,
    draft: Draft,
    workers: int,
    unit: str,
    reads: Paths = nothing,
    writes: Paths = nothing,
) -> None:
    """Call ``function(*branch)`` for every branch, in a pool of processes or elsewhere.

    A branch's result is a file that it writes by rename; give only the branches whose
    file is not there yet. The first failure stops the rest and is raised here.

    Args:
        function: A module's function, since it travels to other processes by name.
        branches: Arguments of each call.
        draft: Told of the progress; where it has a deal, the branches are laid down there.
        workers: Number of processes; 1, or a single branch, stays in this one.
        unit: What a branch is, in the plural, for the progress.
        reads: Gives the files and folders that a branch reads, from its arguments.
        writes: Gives the files that a branch makes, likewise; where the output is on S3, they are
            kept there, so that another machine goes on from them.

    Raises:
        AframeError: If a worker was killed, mostly for want of memory.
        Dealt: If the branches were laid down for others to do.
    """
    if not branches:
        return
    if draft.deal is not None:
        table = BranchTable(function, branches, unit, reads, writes, draft.deal.roots)
        raise Dealt(table.write(draft.deal.directory))
    total = len(branches)
    if draft.status is not None:
        draft.status.tell("running", unit=unit, done=0, total=total)
    try:
        done = _done(function, dict(enumerate(branches)), workers, unit, draft.run)
        for count, usage in enumerate(done, 1):
            draft.accounting.add([usage])
            draft.add(writes(*branches[usage.row]))
            draft.progress(count, total, unit)
    except Failed as failed:
        if draft.status is not None:
            draft.status.tell("failed", branch=f"{unit} {failed.row}")
        raise failed.error from failed.error.__cause__


def _done(
    function: Callable[..., None],
    branches: Mapping[int, tuple[Any, ...]],
    workers: int,
    unit: str,
    run: str,
) -> Iterator[Usage]:
    """Do the branches and give what each used, as they end."""
    calls = {row: (function, branch, unit, row, run) for row, branch in branches.items()}
    for _, usage in in_processes(_measured, calls, workers, unit):
        yield usage


def _measured(
    function: Callable[..., None], branch: tuple[Any, ...], unit: str, row: int, run: str
) -> Usage:
    meter = Meter()
    function(*branch)
    return meter.read(unit, row, run)


class _Place(NamedTuple):
    """A path below a root, which may lie elsewhere on another machine."""

    root: str
    below: str


def _place(path: Path, roots: Mapping[str, Path]) -> _Place | None:
    """Where *path* lies below the innermost of *roots*, if below any."""
    path = path.absolute()
    inside = [name for name, root in roots.items() if path.is_relative_to(root)]
    if not inside:
        return None
    root = max(inside, key=lambda name: len(roots[name].parts))
    return _Place(root, path.relative_to(roots[root]).as_posix())


class _Pickler(pickle.Pickler):
    """Keeps paths relative to their roots."""

    def __init__(self, file: io.BufferedIOBase, roots: Mapping[str, Path]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._roots = roots

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        place = _place(obj, self._roots) if isinstance(obj, Path) else None
        return None if place is None else tuple(place)  # type: ignore[return-value]


class _Unpickler(pickle.Unpickler):
    """Finds paths below their roots on this machine."""

    def __init__(self, file: io.BufferedReader, roots: Mapping[str, Path]) -> None:
        super().__init__(file)
        self._roots = roots

    def persistent_load(self, pid: Any) -> Path:
        root, below = pid
        return self._roots[root] / below


class BranchTable(NamedTuple):
    """Branches to do, with what each reads and writes.

    Args:
        function: What does one.
        branches: Arguments of each call.
        unit: What a branch is, in the plural.
        reads: Gives the files and folders that a branch reads.
        writes: Gives the files that a branch makes.
        roots: Folders and files by name, below which paths mean the same wherever they lie.
    """

    function: Callable[..., None]
    branches: Rows
    unit: str
    reads: Paths
    writes: Paths
    roots: Mapping[str, Path]

    def write(self, directory: Path) -> Path:
        """Write ``<n>.table`` and, last, what it holds to ``<n>.json``; give the first's path.

        What a branch reads that is below no root becomes a root of its own.
        """
        directory.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(path.stem) for path in directory.glob("*.json")), default=-1)
        table, draft = directory / f"{number}.table", directory / f".{number}.draft"
        reads = [list(self.reads(*branch)) for branch in self.branches]
        writes = [list(self.writes(*branch)) for branch in self.branches]
        roots = {name: path.absolute() for name, path in self.roots.items()}
        for path in dict.fromkeys(path for some in [*reads, *writes] for path in some):
            if _place(path, roots) is None:
                roots[f"other.{len(roots)}"] = path.absolute()
        with draft.open("wb") as file:
            pickle.dump({name: str(path) for name, path in roots.items()}, file)
            known = self.function, self.branches, self.unit, writes
            _Pickler(file, roots).dump(known)
        draft.replace(table)
        told = {
            "unit": self.unit,
            "count": len(self.branches),
            "table": table.name,
            "roots": {name: str(path) for name, path in roots.items()},
            "reads": [[_place(path, roots) for path in some] for some in reads],
            "writes": [[_place(path, roots) for path in some] for some in writes],
        }
        write_text(table.with_suffix(".json"), json.dumps(told))
        return table


class _Dealt(NamedTuple):
    function: Callable[..., None]
    branches: Rows
    unit: str
    writes: Sequence[Sequence[Path]]


def _read_table(path: Path, elsewhere: Mapping[str, Path]) -> _Dealt:
    """Read a table of ours, some of whose roots lie *elsewhere* on this machine.

    Raises:
        AframeError: If it is none, or has no such root.
    """
    try:
        with path.open("rb") as file:
            roots = {name: Path(root) for name, root in pickle.load(file).items()}  # noqa: S301 - ours
            _refuse_unknown_roots(elsewhere, roots, path)
            return _Dealt(*_Unpickler(file, roots | dict(elsewhere)).load())
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError, ImportError) as error:
        raise AframeError(
            "a table of branches cannot be read",
            found=f"{path}: {error}",
            wanted_by="--table",
            fix="give a table that the same version of this stage laid down",
        ) from error


def _refuse_unknown_roots(
    given: Mapping[str, Path], roots: Mapping[str, Path], table: Path
) -> None:
    unknown = sorted({*given} - {*roots})
    if unknown:
        raise AframeError(
            "a table of branches has no such root",
            found=", ".join(unknown),
            wanted_by="--root",
            fix=f"{table} has {', '.join(sorted(roots))}",
        )


def rows_named(text: str, count: int) -> list[int]:
    """Read which rows of *count* are meant.

    Raises:
        AframeError: If there are no such rows.

    Example:
        >>> rows_named("0-2,5", 8)
        [0, 1, 2, 5]
    """
    try:
        spans = [list(map(int, part.split("-"))) for part in text.split(",")]
        rows = [row for span in spans for row in range(span[0], span[-1] + 1)]
    except ValueError:
        rows = []
    if not rows or min(rows) < 0 or max(rows) >= count:
        raise AframeError(
            "there are no such rows in the table",
            found=text,
            wanted_by="--rows",
            fix=f"give rows of 0 to {count - 1}, such as 0-{count - 1} or 0,2",
        )
    return rows


def main(stage: str, words: Sequence[str]) -> int:
    """Do rows of a table, ``aframe-<stage> branches``; returns the exit status.

    Raises:
        AframeError: What a branch raises that the user can mend, or if the table or its rows
            cannot be used.
    """
    arguments = _parser(stage).parse_args(words)
    started = time.time()
    done: list[Usage] = []
    # What an interruption leaves.
    report: dict[str, Any] = {"status": "failed", "error": None, "cause": "unknown"}
    try:
        _do(arguments, done)
        report |= {"status": "done", "cause": None}
    except Exception as error:
        folders = [root for _, root in arguments.root] or _folders(arguments.table)
        report = {"status": "failed", "error": _told(error), "cause": cause_of(error, folders)}
        raise
    finally:
        # On a full disk the log tells what a report cannot.
        with contextlib.suppress(*([OSError] if report["error"] else [])):
            _write_report(arguments.report, report, started, done)
    return 0


def _folders(table: Path) -> list[Path]:
    """Where the roots of *table* lie, as far as it can be read."""
    try:
        return list(map(Path, json.loads(table.with_suffix(".json").read_text())["roots"].values()))
    except (OSError, ValueError, KeyError):
        return []


def _write_report(
    path: Path | None, report: Mapping[str, Any], started: float, done: Sequence[Usage]
) -> None:
    if path is None:
        return
    more = {"rows_done": len(done), "host": platform.node(), "started": started}
    rows = [asdict(each) for each in done]
    whole = {**report, **more, "finished": time.time(), "accounting": rows}
    write_text(path, json.dumps(whole) + "\n")


def _parser(stage: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"aframe-{stage} {BRANCHES}", description="Do rows of a table that a verb laid down."
    )
    parser.add_argument("--table", type=Path, required=True, help="the table")
    parser.add_argument("--rows", required=True, help="which, such as 0-39 or 0,2,5-7")
    parser.add_argument("--workers", type=int, default=1, help="number of processes; default: 1")
    parser.add_argument(
        "--root",
        action="append",
        default=[],
        type=_root,
        metavar="NAME=PATH",
        help="where a root of the table lies on this machine",
    )
    parser.add_argument("--report", type=Path, help="file that tells how it ended, in JSON")
    return parser


def _root(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, Path(path).absolute()


def _do(arguments: argparse.Namespace, done: list[Usage]) -> None:
    """Do the rows that are not done, and note in *done* what each used."""
    table = _read_table(arguments.table, dict(arguments.root))
    todo = {
        row: table.branches[row]
        for row in rows_named(arguments.rows, len(table.branches))
        if not table.writes[row] or not all(path.exists() for path in table.writes[row])
    }
    for row in todo:
        for path in table.writes[row]:
            path.parent.mkdir(parents=True, exist_ok=True)
    run = f"{platform.node()}-{os.getpid()}-{time.time_ns()}"
    try:
        for usage in _done(table.function, todo, arguments.workers, table.unit, run):
            done.append(usage)
            log.info("%d of %d %s of this job", len(done), len(todo), table.unit)
    except Failed as failed:
        log.error("%s: row %d failed", table.unit, failed.row)  # noqa: TRY400 - raised below
        raise failed.error from failed.error.__cause__


def _told(error: Exception) -> dict[str, str]:
    if isinstance(error, AframeError):
        return dict(vars(error))
    lines = "".join(traceback.format_exception(error))
    return {"type": type(error).__name__, "message": str(error), "traceback": lines}


def _is_here(error: OSError, elsewhere: Sequence[Path]) -> bool:
    """Whether the disk that *error* says is full is this job's own, and not one of *elsewhere*."""
    # h5py has the name in its words alone, and what writes to an open file tells none.
    named = re.search(r"filename = '([^']+)'", str(error))
    name = error.filename or (named and named[1])
    if isinstance(name, (str, bytes, os.PathLike)):
        path = Path(os.fsdecode(name)).resolve()
        return not any(path.is_relative_to(folder) for folder in elsewhere)
    if error.errno == errno.EDQUOT:
        return not elsewhere
    mine = [Path.cwd(), Path(os.environ.get("TMPDIR") or ".")]
    mine_free, free = (
        [shutil.disk_usage(folder).free for folder in folders if folder.is_dir()]
        for folders in (mine, elsewhere)
    )
    return not free or min(mine_free) < min(free)


def cause_of(error: BaseException, folders: Iterable[Path] = ()) -> str:
    """Class what went wrong: ``user``, ``memory``, ``disk``, ``storage`` or ``unknown``.

    What the user must mend will fail again; the others may be met by more room, or by waiting. A
    full disk is one of ``storage`` where it is that of the run, which more room for a job does
    not help.

    Args:
        error: What was raised.
        folders: Where the run's files are; of those in the working directory, in which a job
            begins, the room is the job's own.
    """
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or each.__context__
    if any(isinstance(each, (MemoryError, BrokenProcessPool)) for each in chain):
        return "memory"
    system = [each for each in chain if isinstance(each, OSError)]
    full = [each for each in system if each.errno in _FULL]
    if full:
        places = [folder.resolve() for folder in folders]
        elsewhere = [place for place in places if not place.is_relative_to(Path.cwd().resolve())]
        return "disk" if all(_is_here(each, elsewhere) for each in full) else "storage"
    if any(each.errno in _STORAGE for each in system):
        return "storage"
    return "user" if isinstance(error, AframeError) else "unknown"
