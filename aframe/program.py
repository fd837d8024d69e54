"""What the commands of all stages share: settings in, draft folder, record, publication.

A stage lists its verbs; :func:`main` makes a command of them that reads one settings
file, refuses what it does not know, runs the verb in a draft folder that survives a
kill, and publishes the files whole, with the record of what made them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import json
import logging
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonargparse

from aframe.artifacts.cache import cached
from aframe.artifacts.mirror import Mirror
from aframe.artifacts.record import (
    PREPARED,
    RESERVED,
    STAMP,
    Record,
    canonical,
    differences,
    draft_path,
    input_digest,
    named_inputs,
    output_digests,
    read_record,
    record_path,
    settings_digest,
    write_record,
    write_text,
)
from aframe.artifacts.remote import address, place
from aframe.branches import BRANCHES, DEALT, Dealt
from aframe.branches import main as do_branches
from aframe.checkout import commit
from aframe.draft import Deal, Draft, Status
from aframe.errors import USER_ERROR, AframeError, did_you_mean, explained_os_errors
from aframe.usage import WAITED, Meter, total

log = logging.getLogger(__name__)

#: The word that looks through steps before any of them runs; no stage has a verb of this name.
CHECK = "check"
# How the parser tells of a list that has no brackets, and of a name that it does not know.
_BARE_LIST = re.compile(r"Expected a <class '(?:tuple|list)'>\. Got value: (\w[\w, ]*)")
_UNKNOWN = re.compile(
    r"(?:arguments: --|Option '|Subcommand '\w+' does not accept option '|choice: ')([\w.]+)"
)
# In a draft: the record that its own replaces.
_REPLACED = ".replaced.record.json"


@dataclass(frozen=True)
class Resources:
    """How a verb may use the machine; never changes its result.

    Args:
        workers: Number of processes.
        device: Where tensors live: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.
        deal: Folder in which branches are laid down for other machines instead of being done;
            null does them here.
    """

    workers: int = 1
    device: str = "auto"
    deal: Path | None = None


@dataclass(frozen=True)
class Verb:
    """One thing a stage can do.

    Args:
        name: The word on the command line.
        settings: Dataclass of the settings, with the fields ``output`` and, where it
            has any, ``inputs`` (a dataclass of paths) and ``resources``.
        run: What does it; gets the settings and the draft.
        publishes: Names of the files and folders it makes in the output directory.
        check: Refuses settings that *run* would refuse later, while the inputs are not there yet.
    """

    name: str
    settings: type
    run: Callable[[Any, Draft], None]
    publishes: tuple[str, ...]
    check: Callable[[Any], None] | None = None

    @property
    def summary(self) -> str:
        """First line of what the function says of itself."""
        return (self.run.__doc__ or "").strip().split("\n")[0]


def main(stage: str, verbs: Sequence[Verb], argv: Sequence[str] | None = None) -> int:
    """Run the command ``aframe-<stage>``; returns its exit status.

    ``aframe-<stage> branches`` does branches that a verb laid down (:mod:`aframe.branches`).
    ``aframe-<stage> check`` reads steps from its standard input, a JSON list of verbs each with
    its settings, runs none of them, and refuses what is already known to be wrong.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s aframe-{stage}: %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    try:
        with explained_os_errors(f"aframe-{stage}"):
            if words == [CHECK]:
                return _check(stage, verbs, json.load(sys.stdin))
            if words[:1] == [BRANCHES]:
                return do_branches(stage, words[1:])
            verb, settings, remake = _parse(stage, verbs, words)
            run_verb(stage, verb, settings, remake=remake)
    except AframeError as error:
        print(f"aframe-{stage}: error: {error}", file=sys.stderr)
        return USER_ERROR
    except Dealt as dealt:
        print(f"aframe-{stage}: the branches in {dealt.table} are to be done", file=sys.stderr)
        return DEALT
    except KeyboardInterrupt:
        print(f"aframe-{stage}: interrupted; the same command resumes", file=sys.stderr)
        return 130
    return 0


def _check(stage: str, verbs: Sequence[Verb], steps: Sequence[tuple[str, Any]]) -> int:
    """Refuse the first of *steps* that is known to be wrong, to the caller's program."""
    for number, (name, asked) in enumerate(steps):
        try:
            verb, settings, _ = _parse(stage, verbs, [name, "--config", json.dumps(asked)])
            if verb.check is not None:
                verb.check(settings)
        except AframeError as error:
            told = {"step": number, **vars(error)}
            print(json.dumps(told))
            return USER_ERROR
    return 0


def _parse(stage: str, verbs: Sequence[Verb], words: Sequence[str]) -> tuple[Verb, Any, bool]:
    parser = jsonargparse.ArgumentParser(
        prog=f"aframe-{stage}", exit_on_error=False, version=importlib.metadata.version("aframe")
    )
    subcommands = parser.add_subcommands(dest="verb")
    known = {verb.name for verb in verbs}
    for verb in verbs:
        one = jsonargparse.ArgumentParser(exit_on_error=False, description=verb.run.__doc__)
        one.add_argument("--config", action="config", help="settings file (JSON or YAML)")
        one.add_argument(
            "--remake", action="store_true", help="replace an output made with other settings"
        )
        one.add_class_arguments(verb.settings)
        subcommands.add_subcommand(verb.name, one, help=verb.summary)
        if verb.name in words[:1]:
            known = set(one.get_defaults().keys(branches=True))
    try:
        parsed = parser.parse_args(words)
        chosen = next(verb for verb in verbs if verb.name == parsed.verb)
        namespace = parser.instantiate(parsed)[chosen.name].as_dict()
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        if (own := _cause(error)) is not None:
            raise own from error
        raise AframeError(
            "the settings cannot be used",
            found=re.sub(r"\s*\n\s*", " ", str(error)),
            wanted_by=" ".join([f"aframe-{stage}", *(w for w in words if not w.startswith("{"))]),
            fix=hint(str(error), known)
            + f"{' '.join([f'aframe-{stage}', *words[:1]])} --help describes each setting",
        ) from error
    names = {each.name for each in dataclasses.fields(chosen.settings)}
    settings = chosen.settings(**{key: namespace[key] for key in names})
    return chosen, settings, namespace["remake"]


def _cause(error: BaseException | None) -> AframeError | None:
    """An error of ours that the parser wrapped in its own."""
    while error is not None and not isinstance(error, AframeError):
        error = error.__cause__
    return error


def hint(said: str, known: Iterable[str]) -> str:
    """Begin the fix of what the parser *said*.

    A list without its brackets is told with them, and a name that there is not with the nearest
    in *known*.

    Example:
        >>> hint("unrecognized arguments: --highpas 20", ["highpass", "lowpass"])
        'did you mean highpass? '
    """
    bare = _BARE_LIST.search(said)
    if bare:
        return f'write "[{bare[1].replace(" ", "")}]"; '
    unknown = _UNKNOWN.findall(said)
    return did_you_mean(unknown[-1], known) if unknown else ""


def run_verb(stage: str, verb: Verb, settings: Any, *, remake: bool = False) -> None:
    """Run *verb* unless its output is current, and publish what it made.

    Raises:
        AframeError: If the output was made with other settings and *remake* is false, or if a
            file without a record is in the way.
    """
    command = f"aframe-{stage} {verb.name}"
    places = {name: place(path) for name, path in _input_paths(settings).items()}
    settings = _with_inputs_at_hand(settings)
    mirror = Mirror(settings.output, verb.name, STAMP)
    output = mirror.directory
    plain = {k: v for k, v in dataclasses.asdict(settings).items() if k not in RESERVED}
    inputs = _input_digests(settings)
    output.mkdir(parents=True, exist_ok=True)
    path, target = draft_path(output, verb.name), record_path(output, verb.name)
    with _locked(path.with_name(f"{path.name}.lock")), contextlib.closing(mirror):
        mirror.pull(verb.publishes)
        if (path / PREPARED).exists():
            log.info("publishing what a killed run had finished")
            _publish(path, target)
        if _is_current(command, verb, mirror, (plain, inputs), remake=remake):
            log.info("%s is current: nothing to do", target)
        else:
            _open_draft(path, settings_digest(plain, inputs))
            mirror.begin()
            started, meter = _now(), Meter(children=True)
            draft = _draft(path, mirror, command, settings)
            with _told(draft):
                try:
                    verb.run(settings, draft)
                except SystemExit as ended:
                    # Lightning answers a SIGTERM so, with the status of success.
                    raise KeyboardInterrupt from ended
                except AframeError:
                    _remove_empty(path)
                    raise
            mirror.settle()
            digests, sizes = output_digests(path)
            # What a verb makes beyond the names it is known to make must not replace a file either.
            made = {Path(name).parts[0] for name in digests}
            _refuse_foreign(output, sorted(made - _entries(read_record(target))), command)
            record = Record(
                command=command,
                settings=canonical(plain),
                inputs=inputs,
                outputs=digests,
                sizes=sizes,
                versions=versions(stage),
                git=commit(),
                host=platform.node(),
                started=started,
                finished=_now(),
                notes=canonical(draft.notes),
                places={**places, "output": place(settings.output)},
                usage=_usage(meter, draft, settings),
            )
            write_record(path / PREPARED, record)
            _keep_accounting(draft, output / "logs" / f"{verb.name}.branches.csv")
            _publish(path, target)
        mirror.push()
        _remove(path)


def _draft(path: Path, mirror: Mirror, command: str, settings: Any) -> Draft:
    output = path.parent
    verb = command.partition(" ")[2]
    resources = getattr(settings, "resources", None)
    laid = resources and resources.deal
    roots = {f"inputs.{name}": place for name, place in _input_paths(settings).items()}
    return Draft(
        path,
        mirror=mirror,
        deal=Deal(laid, {"output": output, **roots}) if laid else None,
        status=Status(output / "logs" / f"{verb}.status.json", command),
        run=f"{platform.node()}-{os.getpid()}-{time.time_ns()}",
    )


@contextlib.contextmanager
def _told(draft: Draft) -> Iterator[None]:
    """Have the status tell how the work within ends."""
    status = draft.status
    if status is None:
        yield
        return
    status.tell("running")
    try:
        yield
    except Dealt:
        status.tell("dealt")
        raise
    except KeyboardInterrupt:
        status.tell("interrupted")
        raise
    except BaseException:
        status.tell("failed")
        raise
    status.tell("done")


def _usage(meter: Meter, draft: Draft, settings: Any) -> dict[str, float]:
    resources = getattr(settings, "resources", None)
    waited = max(0.0, float(os.environ.get(WAITED) or 0.0))
    main_process = dataclasses.replace(meter.read("steps", 0, draft.run), queue=waited)
    return total(main_process, draft.accounting.rows(), resources.workers if resources else 1)


def _keep_accounting(draft: Draft, kept: Path) -> None:
    """Leave what each branch used beside the log, where there are both."""
    table = draft.accounting.path
    if table.exists() and kept.parent.is_dir():
        table.replace(kept)


def _with_inputs_at_hand(settings: Any) -> Any:
    """Give *settings* whose inputs are on this machine: those on S3 come from the cache."""
    paths = _input_paths(settings)
    fetched = {name: cached(path) for name, path in paths.items() if address(path)}
    if not fetched:
        return settings
    return dataclasses.replace(settings, inputs=dataclasses.replace(settings.inputs, **fetched))


def _input_paths(settings: Any) -> dict[str, Path]:
    inputs = getattr(settings, "inputs", None)
    fields = dataclasses.fields(inputs) if inputs is not None else ()
    paths = {each.name: getattr(inputs, each.name) for each in fields}
    return {name: Path(path) for name, path in paths.items() if path is not None}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _input_digests(settings: Any) -> dict[str, str]:
    found = {name: input_digest(path) for name, path in _input_paths(settings).items()}
    return found | named_inputs(dataclasses.asdict(settings))


def _is_current(
    command: str,
    verb: Verb,
    mirror: Mirror,
    asked: tuple[dict[str, Any], dict[str, str]],
    *,
    remake: bool,
) -> bool:
    """Whether the output needs no work; refuses to touch what it must not."""
    output = mirror.directory
    record = read_record(record_path(output, verb.name))
    if record is None:
        _refuse_foreign(output, verb.publishes, command)
        return False
    changed = differences(record, *asked)
    if changed and not remake:
        raise AframeError(
            "the output was made with other settings",
            found="; ".join(changed),
            wanted_by=f"{command} in {output}",
            fix="restore the settings, choose another output, or add --remake to replace it",
        )
    return not changed and mirror.is_whole(record)


def _refuse_foreign(output: Path, names: Sequence[str], command: str) -> None:
    for name in names:
        if (output / name).exists():
            raise AframeError(
                "a file without a record is in the way",
                found=f"{output / name}",
                wanted_by=command,
                fix="move it away, or choose another output directory",
            )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock at *path*, after any other run that holds it has ended.

    A run whose parent was killed goes on by itself; the next one waits and finds its output.
    """
    with contextlib.ExitStack() as held:
        while True:
            lock = held.enter_context(path.open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another run is at work here (%s is locked): waiting for it", path)
                fcntl.flock(lock, fcntl.LOCK_EX)
            # Who held the lock took the file away at the end: what was waited for is no lock now.
            if _is_at(path, lock.fileno()):
                break
        held.callback(path.unlink, missing_ok=True)
        yield


def _is_at(path: Path, opened: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False


def _open_draft(path: Path, digest: str) -> None:
    """Make the draft of this digest, or keep it if it is there; empty it if it was another's."""
    path.mkdir(parents=True, exist_ok=True)
    stamp = path / STAMP
    if not stamp.exists() or stamp.read_text() != digest:
        # Without its stamp, a draft that is only half emptied is emptied by the next run.
        _remove(stamp)
        for entry in path.iterdir():
            _remove(entry)
        write_text(stamp, digest)


def _publish(draft: Path, target: Path) -> None:
    """Rename the draft's files into place beside the record *target*, which comes last.

    A kill at any point leaves either no record, and a draft whose own record tells
    the next run to go on here, or everything in place.
    """
    replaced = draft / _REPLACED
    if target.exists():
        target.rename(replaced)
    old, new = read_record(replaced), read_record(draft / PREPARED)
    waiting = {entry.name for entry in draft.iterdir()}
    for name in _entries(old) - _entries(new):
        _remove(target.parent / name)
    for name in sorted(_entries(new) & waiting):
        _remove(target.parent / name)
        (draft / name).rename(target.parent / name)
    (draft / STAMP).unlink(missing_ok=True)
    (draft / PREPARED).rename(target)


def _entries(record: Record | None) -> set[str]:
    """Names in the output directory of what *record* lists."""
    return {Path(name).parts[0] for name in record.outputs} if record else set()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_empty(draft: Path) -> None:
    """Remove a draft in which a verb that refused its settings or inputs left nothing."""
    files = [path for path in draft.rglob("*") if not path.is_dir()]
    if files == [draft / STAMP]:
        _remove(draft)


def versions(stage: str) -> dict[str, str]:
    """Versions of Python, aframe and all that these and the stage ask for, as installed."""
    found = {"python": platform.python_version(), "aframe": importlib.metadata.version("aframe")}
    for package in (f"aframe-{stage}", "aframe"):
        for requirement in importlib.metadata.requires(package) or []:
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
    return found
