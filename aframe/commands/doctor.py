"""`aframe doctor`: what a run needs of this machine, looked at before it is needed."""

from __future__ import annotations

import json
import os
import queue
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aframe import images
from aframe.artifacts.remote import address, cache_directory, place
from aframe.artifacts.segments import slides_for_injections, slides_for_livetime
from aframe.commands import credentials, stores
from aframe.commands.history import estimate, neighbors, pasts, spelled_size, spelled_time
from aframe.commands.run_directory import RunDirectory
from aframe.errors import AframeError
from aframe.tasks.foresight import refuse_missing_inputs, refuse_wrong
from aframe.tasks.outlook import DONE, STOPS, Outlook, outlooks, reasons_text

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "-"
_COLORS = {OK: 32, WARNING: 33, FAILED: 31, SKIPPED: 90}
_SOON = 6 * 3600.0
_LITTLE = 10e9
#: What does not answer in this time is told as out of reach (s).
_PATIENCE = 8.0
_MACHINES = "machines of the pool"
#: Stages that are slow without a GPU.
_ON_GPUS = ("train", "infer")
#: Values of WANDB_MODE with which its client asks for no key; "dryrun" is its older word.
_WITHOUT_KEY = ("offline", "disabled", "dryrun")


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is."""

    about: str
    state: str
    found: str
    fix: str | None = None


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Print the findings; status 1 if anything a run needs is not as it must be."""
    findings = list(_findings(run_directory, options))
    if asked.json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        print("\n".join(line for each in findings for line in _lines(each)))
    return int(any(each.state == FAILED for each in findings))


def _lines(each: Finding) -> Iterator[str]:
    word = each.state
    if os.environ.get("NO_COLOR") is None and os.isatty(1):
        word = f"\033[{_COLORS[each.state]}m{each.state}\033[0m"
    yield f"{word}{' ' * (8 - len(each.state))} {each.about}: {each.found}"
    if each.fix and each.state in (FAILED, WARNING):
        yield f"{' ' * 9}fix: {each.fix}"


def _findings(run_directory: RunDirectory, options: Sequence[str]) -> Iterator[Finding]:
    steps: Sequence[Outlook] = ()
    try:
        with run_directory.task_to_run(options) as task:
            steps = outlooks(task)
            yield _settings(task, steps)
            yield from _of_steps(run_directory, steps)
    except AframeError as error:
        # Nyquist, PSD length, livetime and injections that fit are refused when steps are built.
        found = f"{error.problem}: {error.found}, wanted by {error.wanted_by}"
        yield Finding("settings", FAILED, found, error.fix)
    yield _gpu(steps)


def _settings(task: Any, steps: Sequence[Outlook]) -> Finding:
    """Whether a run would refuse steps, as `aframe plan` tells of each."""
    stopping = [each for each in steps if each.state == STOPS]
    if not stopping:
        return Finding("settings", OK, f"{len(steps)} steps of {task.task_family} agree")
    first, *others = stopping
    more = (
        f" and {len(others)} more of {len(steps)} steps (aframe plan) stop" if others else " stops"
    )
    found = f"{first.name}{more} the run{reasons_text(first.reasons)}"
    return Finding("settings", FAILED, found, first.fix)


def _of_steps(run_directory: RunDirectory, steps: Sequence[Outlook]) -> Iterator[Finding]:
    asked = list(_stores(steps))
    yield from asked
    yield from _physics(steps)
    programs = list(_programs(steps))
    yield from programs
    if all(each.state != FAILED for each in programs):
        yield _looked_through(steps)
    yield _inputs(steps)
    yield from _directories(run_directory, steps)
    answered = bool(asked) and all(each.state != FAILED for each in asked)
    yield from _credentials(steps, answered=answered)
    yield from _pool(steps)
    yield from _server(steps)


def _tried(about: str, found: str, try_it: Callable[[], object]) -> Finding:
    """Look whether *try_it* refuses."""
    try:
        try_it()
    except AframeError as error:
        return Finding(about, FAILED, f"{error.problem}: {error.found}", error.fix)
    return Finding(about, OK, found)


def _stores(steps: Sequence[Outlook]) -> Iterator[Finding]:
    """Whether each store on S3 answers, and lets these credentials read and write; one line each.

    What is the same of several directories in a bucket stands in one.
    """
    named = stores.named(steps)
    if not named:
        return
    with ThreadPoolExecutor(len(named)) as pool:
        findings = list(pool.map(lambda at: _store(at, named[at]), named))
    alike: dict[tuple[str, Finding], list[str]] = {}
    for at, finding in zip(named, findings, strict=True):
        bucket = at.removeprefix("s3://").partition("/")[0]
        alike.setdefault((bucket, replace(finding, about="")), []).append(at)
    for (_, finding), places in alike.items():
        yield replace(finding, about=f"store {', '.join(sorted(places))}")


def _store(at: str, written: bool) -> Finding:  # noqa: FBT001
    can = "be read and written" if written else "be read; nothing is to be written"
    about = f"store {at}"

    def ask() -> Finding | None:
        if stores.ask(at, written=written):
            return None
        found = f"it can {can}, but writes on no condition: it cannot keep two runs apart"
        fix = "let no two machines at a time be at work on this run, or choose another store"
        return Finding(about, WARNING, found, fix)

    fix = "correct AWS_ENDPOINT_URL, or wait for the store or the network to come back"
    return _in_time(about, f"it answers, and can {can}", ask, fix)


def _physics(steps: Sequence[Outlook]) -> Iterator[Finding]:
    """Livetime and injections against the segments that were found, where they were."""
    by_verb = {each.step.verb: each.step for each in steps}
    search, injections = by_verb.get("infer"), by_verb.get("testing_waveforms")
    if search is None or injections is None:
        return
    path = injections.inputs()["segments"]
    try:
        segments = stores.segments_at(path)
    except AframeError as error:
        # Of a store that refuses, its own line tells more.
        found = f"{error.problem}: {place(path)}"
        yield Finding("livetime", SKIPPED if address(path) else FAILED, found, error.fix)
        return
    if segments is None:
        yield Finding("livetime", SKIPPED, "the testing strain's segments are not known yet")
        return

    def injected() -> None:
        names = ("spacing", "buffer", "num_signals", "psd_length")
        given = {name: getattr(injections, name) for name in names}
        length = injections.waveform_duration
        slides_for_injections(segments, injections.shifts, duration=length, **given)

    def searched() -> None:
        slides_for_livetime(
            segments, search.shifts, psd_length=search.psd_length, livetime=search.Tb
        )

    yield _tried("livetime", f"{spelled_time(search.Tb)} of background fit", searched)
    yield _tried("injections", f"{injections.num_signals} fit into the strain", injected)


def _programs(steps: Sequence[Outlook]) -> Iterator[Finding]:
    """The image or the command of each stage."""
    seen = {(each.step.stage, each.step.where.image): each.step.where for each in steps}
    for (stage, image), where in seen.items():
        there = f"{image} is there" if image else f"aframe-{stage} is installed"
        about = f"stage {stage}"
        finding = _tried(about, there, where.refuse_missing)
        other = images.outdated(stage, image) if image and finding.state == OK else None
        build = images.how_to_build(stage, image) if image and other else None
        away = _on_machines_of_a_pool(stage, steps)
        if other:
            yield Finding(about, WARNING, other, build)
        elif away and image is None and finding.state == OK:
            said = f"{there} here, and must be on PATH on the pool's machines, for {away}"
            yield Finding(about, WARNING, said, "give --image or --container-root")
        else:
            yield finding


def _on_machines_of_a_pool(stage: str, steps: Sequence[Outlook]) -> str:
    """Steps of *stage* whose jobs get no image, and see none of this machine's files."""
    todo = [each for each in steps if each.step.stage == stage and each.state != DONE]
    away = [each for each in todo if each.step.on_pool and not each.step.shared_disk]
    return ", ".join(each.name for each in away if each.step.where.image is None)


def _looked_through(steps: Sequence[Outlook]) -> Finding:
    """What the stages themselves know to be wrong: priors, approximants, files of strain, keys."""
    todo = [each.step for each in steps if each.state != DONE]
    found = f"the stages refuse none of {len(todo)}"
    return _tried("steps", found, lambda: refuse_wrong(todo, remember=False))


def _inputs(steps: Sequence[Outlook]) -> Finding:
    todo = [each.step for each in steps if each.state != DONE]
    return _tried("inputs", "what no step makes is there", lambda: refuse_missing_inputs(todo))


def _directories(run_directory: RunDirectory, steps: Sequence[Outlook]) -> Iterator[Finding]:
    """Whether what is to be made can be written, and has room.

    What goes to S3 is made in the cache of this machine, to which what comes from there is fetched.
    """
    known = pasts(neighbors(run_directory.path))
    cache = cache_directory() if stores.named(steps) else None
    needed: dict[tuple[Path, bool], float] = {}
    for each in steps:
        cost = estimate(each.step, known) if each.state != DONE else None
        there = address(each.step.settings_file()["output"]) is not None
        key = (_existing(cache if there and cache else each.step.directory), there)
        needed[key] = needed.get(key, 0.0) + (cost.written if cost else 0.0)
    used = [each.step.paths.tmp for each in steps]
    used += [each.step.paths.condor for each in steps if each.step.on_pool and each.state != DONE]
    for folder in filter(None, used):
        needed.setdefault((_existing(folder), False), 0.0)
    if cache:
        needed.setdefault((_existing(cache), True), 0.0)
    for (folder, is_cache), size in needed.items():
        beside = [other for other in needed if other != (folder, is_cache)
                  and _disk(other[0]) == _disk(folder)]  # fmt: skip
        finding = _directory(folder, size, sum(needed[other] for other in beside))
        yield _of_cache(finding, folder) if is_cache else finding


def _of_cache(finding: Finding, folder: Path) -> Finding:
    """Tell of the cache where it is, or is to be, and how another place is named."""
    where = cache_directory()
    below = "" if where == folder else f" in {folder}"
    named = "" if os.environ.get("AFRAME_CACHE_DIR") else "; AFRAME_CACHE_DIR is not set"
    fix = "let run.sh export AFRAME_CACHE_DIR=DIR with a directory that can be written and has room"
    return replace(finding, about=f"cache of S3 {where}", found=f"{finding.found}{below}{named}",
                   fix=fix)  # fmt: skip


def _disk(folder: Path) -> int:
    return folder.stat().st_dev


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _directory(folder: Path, size: float, beside: float = 0.0) -> Finding:
    """Whether there is room for *size*, and for what other directories get on the same disk."""
    about = f"directory {folder}"
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        found = "it cannot be written" if folder.is_dir() else "a file is in its place"
        return Finding(about, FAILED, found, "correct its permissions, or choose another directory")
    free = shutil.disk_usage(folder).free
    # Where no past run tells of a step, nothing is known of what it writes.
    needed = f", about {spelled_size(size)} are to be written" if size else ""
    needed += f" and {spelled_size(beside)} elsewhere on this disk" if size and beside else ""
    found = f"{spelled_size(free)} are free{needed}"
    fix = "free some space, or choose another directory"
    short = size and free < size + beside
    state = FAILED if short else WARNING if free < _LITTLE else OK
    return Finding(about, state, found, fix)


def _credentials(steps: Sequence[Outlook], *, answered: bool) -> Iterator[Finding]:
    """Each with its remaining life; it fails where something that is to run needs it.

    Args:
        steps: The steps.
        answered: Whether all stores on S3 took what boto3 found, which looks in more places.
    """
    wanted, brought = _wanted(steps), _brought(steps)
    for each in credentials.all_of():
        needed = wanted.get(each.name)
        suffix = f", wanted by {needed}" if needed else ""
        suffix += brought.get(each.name, "")
        if each.place is None and each.name == "S3 key" and answered:
            yield Finding(each.name, OK, f"the store takes what boto3 finds{suffix}")
        elif each.place is None:
            state = FAILED if needed else SKIPPED
            yield Finding(each.name, state, f"none{suffix or ', and none is needed'}", each.renew)
        elif each.fault is not None or (each.left is not None and each.left <= 0):
            found = each.fault or f"it ended {spelled_time(-(each.left or 0.0))} ago"
            state = FAILED if needed else WARNING
            yield Finding(each.name, state, f"{each.place}: {found}{suffix}", each.renew)
        else:
            left = "" if each.left is None else f", for {spelled_time(each.left)}"
            state = WARNING if each.left is not None and each.left < _SOON and needed else OK
            yield Finding(each.name, state, f"{each.place}{left}{suffix}", each.renew)


def _wanted(steps: Sequence[Outlook]) -> dict[str, str]:
    """Who needs which credential, among what is to run."""
    found: dict[str, str] = {}
    for each in steps:
        told = each.step.settings_file()
        paths = [told["output"], *filter(None, told.get("inputs", {}).values())]
        if any(map(address, paths)):
            found["S3 key"] = each.name
        if each.state == DONE:
            continue
        kind = (told.get("source") or {}).get("kind")
        if kind == "datafind" and not _services(each):
            found["bearer token"] = each.name
        if kind == "nds2":
            found["X.509 proxy"] = each.name
        if told["resources"].get("use_wandb") and os.environ.get("WANDB_MODE") not in _WITHOUT_KEY:
            found["W&B key"] = each.name
    return found


def _brought(steps: Sequence[Outlook]) -> dict[str, str]:
    """Which credentials HTCondor brings to jobs: `condor_submit` asks for them where they lack."""
    services = {name for each in steps if each.state != DONE for name in _services(each)}
    if not services:
        return {}
    said = f"use_oauth_services = {', '.join(sorted(services))}"
    return {"bearer token": f"; jobs get their own by HTCondor ({said})"}


def _services(each: Outlook) -> Sequence[str]:
    """Whose tokens the jobs of a step get."""
    return each.step.use_oauth_services if each.step.on_pool else ()


def _pool(steps: Sequence[Outlook]) -> Iterator[Finding]:
    if not any(each.step.on_pool for each in steps):
        yield Finding("HTCondor pool", SKIPPED, "no step runs on one")
        return
    # Only where a pool is asked for.
    from aframe.sites.queue import SchedulerUnreachableError, open_queue  # noqa: PLC0415

    fix = "condor_status -schedd tells more; a run waits for it, and its jobs go on"

    def ask() -> None:
        try:
            open_queue().query('AframeRun == "none"')
        except SchedulerUnreachableError as error:
            raise AframeError(
                "its scheduler does not answer", found=str(error), wanted_by="a step", fix=fix
            ) from error

    answer = _in_time("HTCondor pool", "its scheduler answers", ask, fix)
    yield answer
    if answer.state == OK:
        yield _in_time(_MACHINES, "", lambda: _machines(steps), "condor_status tells more")
        if asked := _requirements(steps):
            said = "machines meet them now"
            met = _in_time("requirements", said, lambda: _unmet(asked), "condor_status tells more")
            # What is not known is no fault.
            yield replace(met, state=WARNING) if met.state == FAILED else met


def _machines(steps: Sequence[Outlook]) -> Finding:
    """Whether each request that is still to be made fits on a machine that is there now."""
    # Only where a pool is asked for.
    from aframe.sites import machines  # noqa: PLC0415

    offers = machines.offers(_PATIENCE)
    if not offers:
        found = "condor_status is not here to tell" if offers is None else "none is there now"
        return Finding(_MACHINES, SKIPPED if offers is None else WARNING, found,
                       "ask the pool's administrator; jobs wait for one")  # fmt: skip
    asked = {
        each.name: machines.asked(each.step.request())
        for each in steps if each.step.on_pool and each.state != DONE
    }  # fmt: skip
    most = f"at most {machines.most(offers)}"
    large = [name for name, wanted in asked.items() if not any(o.holds(wanted) for o in offers)]
    if not large:
        return Finding(_MACHINES, OK, most)
    found = f"{most}; none has what a job of {', '.join(large)} asks for: {asked[large[0]]}"
    fix = "ask for less (request_memory, request_disk, request_cpus, request_gpus in the .cfg)"
    return Finding(_MACHINES, FAILED, found, f"{fix}, unless larger machines are to come")


def _requirements(steps: Sequence[Outlook]) -> dict[str, str]:
    """What each step that is to run on a pool requires of machines."""
    asked = {
        each.name: each.step.terms().requirements
        for each in steps if each.step.on_pool and each.state != DONE
    }  # fmt: skip
    return {name: one for name, one in asked.items() if one}


def _unmet(asked: Mapping[str, str]) -> Finding | None:
    """Which requirements no machine meets now; those of a busy one count by what is free."""
    from aframe.sites import machines  # noqa: PLC0415

    unmet = {one for one in {*asked.values()} if machines.fitting(one, _PATIENCE) == 0}
    names = [name for name, one in asked.items() if one in unmet]
    if not names:
        return None
    found = f"no machine meets now, or is free for, those of {', '.join(names)}"
    fix = "correct requirements in the .cfg, unless such machines are busy or to come"
    return Finding("requirements", WARNING, f"{found}: {'; '.join(sorted(unmet))}", fix)


def _in_time(about: str, found: str, ask: Callable[[], object], fix: str) -> Finding:
    """Try *ask*, which may give a finding of its own, and give up soon."""
    ended: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def tell() -> None:
        try:
            told = ask()
        except AframeError as error:
            said = f"{error.problem}: {error.found}"
            ended.put(Finding(about, FAILED, said, error.fix))
        except Exception as error:  # noqa: BLE001 - whatever the pool's library says is a finding
            ended.put(Finding(about, FAILED, f"{type(error).__name__}: {error}", fix))
        else:
            ended.put(told if isinstance(told, Finding) else Finding(about, OK, found))

    # A pool of threads would have the end of this program wait for what does not answer.
    threading.Thread(target=tell, daemon=True).start()
    try:
        return ended.get(timeout=_PATIENCE)
    except queue.Empty:
        return Finding(about, FAILED, f"no answer within {_PATIENCE:g} s", fix)


def _gpu(steps: Sequence[Outlook] = ()) -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return _no_gpu([each for each in steps if each.state != DONE])
    try:
        done = subprocess.run(
            [program, "--list-gpus"], capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return Finding("GPU", FAILED, f"nvidia-smi did not answer within {_PATIENCE:g} s",
                       "restart the driver")  # fmt: skip
    names = [line.partition(": ")[2].partition(" (")[0] for line in done.stdout.splitlines()]
    if done.returncode or not names:
        said = (done.stderr or done.stdout).strip().splitlines()
        return Finding("GPU", FAILED, said[-1] if said else "none", "see nvidia-smi")
    return Finding("GPU", OK, ", ".join(names))


def _no_gpu(todo: Sequence[Outlook]) -> Finding:
    """What becomes of what is to run: jobs may ask a pool for GPUs."""
    fix = "on a machine with a GPU, install NVIDIA's driver; jobs get one by request_gpus"
    asking = [each.name for each in todo if each.step.on_pool and each.step.request_gpus]
    if not asking:
        return Finding("GPU", WARNING, "none is seen: training and search run on the CPU", fix)
    own = f"jobs of {', '.join(asking)} ask for their own"
    slow = [each.name for each in todo if each.step.stage in _ON_GPUS and each.name not in asking]
    if not slow:
        return Finding("GPU", SKIPPED, f"none is seen here; {own}")
    return Finding("GPU", WARNING, f"none is seen, for {', '.join(slow)}; {own}", fix)


def _server(steps: Sequence[Outlook]) -> Iterator[Finding]:
    """The Triton server, where the search asks one that runs."""
    for each in steps:
        server = getattr(each.step, "server", "")
        host, colon, port = str(server).rpartition(":")
        if colon and port.isdigit():
            yield _answering(server, host, int(port))


def _answering(server: str, host: str, port: int) -> Finding:
    try:
        socket.create_connection((host, port), timeout=_PATIENCE / 2).close()
    except OSError as error:
        fix = "start it, correct --SandboxInfer-server, or leave that out"
        return Finding("Triton server", FAILED, f"{server}: {error}", fix)
    return Finding("Triton server", OK, f"{server} answers")
