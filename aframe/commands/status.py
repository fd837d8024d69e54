"""`aframe status`: a view of a run at work, from what its steps write down."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aframe.artifacts.remote import here
from aframe.commands.history import spelled_time
from aframe.commands.run_directory import RunDirectory
from aframe.commands.words import colored
from aframe.failures import told
from aframe.tasks.outlook import (
    DONE,
    RUNNING,
    STATES,
    STOPS,
    Outlook,
    Progress,
    outlooks,
    reasons_text,
)

_BETWEEN_LOOKS = 2.0
_BAR = 20
# Terminals: another screen and back, its beginning, what is left of a line and of the screen.
_OTHER_SCREEN, _BACK, _HOME, _REST, _BELOW = (
    "\033[?1049h",
    "\033[?1049l",
    "\033[H",
    "\033[K",
    "\033[J",
)


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Show the steps once, or on a terminal until all are done or Ctrl-C is pressed."""
    with run_directory.task_to_run(options) as task:
        if asked.once or not sys.stdout.isatty():
            print("\n".join(_view(run_directory.path, outlooks(task))))
            return 0
        _watch(run_directory.path, task)
    return 0


def _watch(path: Path, task: Any) -> None:
    lines: list[str] = []
    sys.stdout.write(_OTHER_SCREEN)
    try:
        while True:
            found = outlooks(task)
            lines = list(_view(path, found))
            size = shutil.get_terminal_size()
            shown = [_cut(line, size.columns) for line in _fitted(lines, size.lines - 1)]
            sys.stdout.write(_HOME + "".join(f"{line}{_REST}\n" for line in shown) + _BELOW)
            sys.stdout.flush()
            if all(each.state == DONE for each in found):
                return
            time.sleep(_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        return
    finally:
        # What was seen last stays where the command was typed.
        sys.stdout.write(_BACK + "\n".join(lines) + "\n")


def _fitted(lines: Sequence[str], height: int) -> Sequence[str]:
    """Leave out of *lines* what is done, and then their end, until they fit."""
    if len(lines) > height:
        lines = [line for line in lines if not line.startswith(colored(DONE))]
    return lines if len(lines) <= height else [*lines[: height - 1], "…"]


def _cut(line: str, width: int) -> str:
    """Cut a line that would wrap; colors take no room."""
    seen, cut, escape = 0, [], False
    for letter in line:
        escape = escape or letter == "\033"
        if not escape:
            seen += 1
            if seen > width:
                break
        elif letter == "m":
            escape = False
        cut.append(letter)
    return "".join(cut) + ("\033[0m" if "\033" in line else "")


def _view(path: Path, found: Sequence[Outlook]) -> Iterator[str]:
    counts = Counter(each.state for each in found)
    yield f"{path}   {time.strftime('%H:%M:%S')}"
    yield " ".join(colored(s, f"{counts[s]} {s}") for s in STATES if counts[s])
    yield ""
    width = max(len(each.name) for each in found)
    for each in found:
        word = f"{colored(each.state)}{' ' * (8 - len(each.state))}"
        yield f"{word}{each.name:<{width}}  {_detail(each)}".rstrip()
    failures = [each.failure for each in found if each.failure and each.state != RUNNING]
    if failures:
        yield ""
        yield from told(failures).splitlines()


def _detail(each: Outlook) -> str:
    if each.state == DONE:
        return ""
    if each.state != RUNNING:
        failed = each.failure is not None and each.state != STOPS
        return "failed, see below" if failed else reasons_text(each.reasons).removeprefix(": ")
    said = [_pace(each.progress), jobs(each)] if each.progress else []
    return "  ".join(filter(None, said))


def _pace(progress: Progress) -> str:
    """How many branches are done, how fast, and for how long it will go on."""
    ran = max(time.time() - progress.started, 1e-9)
    if not progress.total or progress.done is None:
        return f"for {spelled_time(ran)}"
    filled = round(_BAR * progress.done / progress.total)
    bar = "█" * filled + "░" * (_BAR - filled)
    rate = progress.done / max(progress.updated - progress.started, 1e-9)
    left = f", {spelled_time((progress.total - progress.done) / rate)} left" if rate else ""
    return f"{bar} {progress.share}, {_rate(rate)}{left}"


def _rate(rate: float) -> str:
    """Write branches a second as people read it."""
    return f"{rate:.3g}/s" if rate >= 1 else f"{rate * 60:.3g}/min"


def jobs(each: Outlook) -> str:
    """How many jobs of a step are in which state on a pool; blank where it runs on none."""
    path = here(each.step.directory) / "logs" / f"{each.step.verb}.jobs.json"
    try:
        counted = json.loads(path.read_text())["jobs"]
        return "jobs: " + ", ".join(f"{count} {name}" for name, count in counted.items() if count)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
