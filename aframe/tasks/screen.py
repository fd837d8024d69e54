"""What a user sees of a run: how it ended, luigi's warnings, errors without traceback or usage."""

from __future__ import annotations

import argparse
import difflib
import functools
import importlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import law
import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.task_register import Register

from aframe import site
from aframe.errors import USER_ERROR, AframeError
from aframe.failures import StepFailedError, read_failure, told
from aframe.parameters import BASE_SECTION

#: Where the steps that this process is to run leave the records of their failures.
_watched: set[Path] = set()
_BEGAN = time.time()


def prepare_screen() -> None:
    """Have luigi's messages pass :class:`OnScreen`; mistyped commands and Ctrl-C end shortly."""
    logging.getLogger("luigi-interface").addFilter(OnScreen())
    sys.excepthook = _last_words
    CmdlineParser._build_parser = staticmethod(  # noqa: SLF001
        functools.partial(_explained_parser, CmdlineParser._build_parser)  # noqa: SLF001
    )
    # The package law.cli names a function as it names this module.
    importlib.import_module("law.cli.run").abort = _refuse_task  # type: ignore[attr-defined]


def watch(failures: Iterable[Path]) -> None:
    """Tell at the end of the run of the failures whose records lie at these paths."""
    _watched.update(failures)


class OnScreen(logging.Filter):
    """What luigi says: its warnings, errors the user can mend without traceback, and the end.

    With ``[luigi_core] log_level = DEBUG`` it says all.
    """

    shown: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show *record*; an error that the user can mend becomes its message."""
        if record.exc_info and isinstance(record.exc_info[1], BrokenPipeError):
            # Who read what was printed, such as head, has seen enough.
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
            return False
        message = self._told(record)
        if message is None:
            return self._is_shown(record)
        # luigi logs an error once where it occurs and once where it ends the run.
        first, self.shown = message != self.shown, message
        record.msg, record.args, record.exc_info = message, None, None
        record.levelno, record.levelname = logging.ERROR, "ERROR"
        return first

    def _is_shown(self, record: logging.LogRecord) -> bool:
        """Whether to show what is no error of ours; of luigi's summary one line is left."""
        if logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return True
        summary = str(record.msg)
        if "Luigi Execution Summary" not in summary:
            return record.levelno >= logging.WARNING
        record.msg, record.args = _ending(summary), None
        if ":)" not in summary:
            record.levelno, record.levelname = logging.ERROR, "ERROR"
        return bool(record.msg)

    def _told(self, record: logging.LogRecord) -> str | None:
        error = record.exc_info[1] if record.exc_info else None
        # luigi wraps what a parameter's parser raises.
        while error is not None and not isinstance(error, AframeError):
            error = error.__cause__
        if isinstance(error, StepFailedError):
            # The other steps go on, so that the particulars would be lost on the way.
            return f"{error.problem}; the end of the run tells more"
        if error is not None:
            return str(error)
        # What goes wrong in planning, luigi has in text.
        _, found, text = record.getMessage().rpartition(f"{AframeError.__module__}.AframeError: ")
        return text.rstrip() if found else None


def _ending(summary: str) -> str:
    """How a run ended, in one line; nothing of one that an error just above ended at once."""
    if ":)" in summary:
        return "complete" if " ran successfully" in summary else "complete: nothing was to be done"
    failed = re.search(r"^\* \d+ failed:\n((?:    - .*\n)+)", summary, re.MULTILINE)
    if failed is None:
        return ""
    names = set(re.findall(r"- \d+ (\w+)", failed[1]))
    # Those of a run before this one are none of its own; a file system rounds its times.
    records = [each for each in map(read_failure, sorted(_watched)) if each]
    mine = [each for each in records if each.step in names and each.when >= _BEGAN - 1]
    others = ", ".join(sorted(names - {each.step for each in mine}))
    return "\n".join(
        [
            *([told(mine)] if mine else []),
            *([f"failed: {others}; its error is above and in its log"] if others else []),
            "the same command goes on from there",
        ]
    )


def _last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted; the same command resumes\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _explained_parser(
    build: Any, root_task: str | None = None, *, help_all: bool = False
) -> argparse.ArgumentParser:
    """Give luigi's parser, which then tells a mistake without its hundreds of lines of usage."""
    names = tuple(Register.task_names())
    if root_task and root_task not in names:
        _refuse_task(f"{root_task} is no task by itself")
    return _parser(build, root_task, names, help_all=help_all)


@functools.lru_cache(maxsize=4)
def _parser(
    build: Any,
    root_task: str | None,
    names: tuple[str, ...],  # noqa: ARG001 (those of all tasks: there may be more later)
    *,
    help_all: bool,
) -> argparse.ArgumentParser:
    """Build it: luigi wants the same one several times in a run."""
    parser = build(root_task=root_task, help_all=help_all)
    parser.error = functools.partial(_refuse_options, parser)
    for action in parser._actions:  # noqa: SLF001
        if "--workers" in action.option_strings:
            action.type = _workers
    if root_task:
        _shorten_help(parser, root_task, all_tasks=help_all)
    return parser


def _workers(text: str) -> str:
    """How many steps may run at once, as typed: luigi would fall silent at less than one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return text


def _shorten_help(parser: argparse.ArgumentParser, root_task: str, *, all_tasks: bool) -> None:
    """Describe each option of *root_task* once and first, and those of others for a pipeline."""
    parser.usage = " ".join(["law", *sys.argv[1:3], "[options]"])
    task = Register.get_task_cls(root_task)
    own = {name for name, _ in task.get_params()} - {name for name, _ in law.Task.get_params()}
    parser._optionals._group_actions.sort(key=lambda action: action.dest not in own)  # noqa: SLF001
    step = bool(getattr(task, "publishes", None))
    if step and not all_tasks:
        parser.epilog = (
            "Steps that this one rests on have options too, such as --FetchTrain-start: "
            "--help-all shows them."
        )
    others = [f"--{name}-" for name in Register.task_names() if name != root_task]
    for action in parser._actions:  # noqa: SLF001
        twice = any(each.startswith(f"--{root_task}-") for each in action.option_strings)
        of_another = any(each.startswith(tuple(others)) for each in action.option_strings)
        if twice or (of_another and step and not all_tasks):
            action.help = argparse.SUPPRESS


def _refuse_options(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001
    unknown = [word for word in re.findall(r"--[\w-]+", message) if word not in known]
    fix = "add --help to see all"
    if message.endswith(": expected one argument") and "argument --print-" in message:
        fix = f"give how deep to look, such as --print-status 9; {fix}"
    shared = [key for key in map(_key, unknown) if _is_shared(key)]
    if shared:
        of_site = " (or choose a --site)" if set(shared) <= set(site.KEYS) else ""
        place = f"[luigi_{BASE_SECTION}] of the .cfg{of_site}"
        fix, unknown = f"set {' and '.join(shared)} in {place}; {fix}", []
    _refuse("the command line cannot be used", message, fix, unknown, known)


def _key(option: str) -> str:
    """The parameter that *option* would be of, were it one of the task that runs."""
    return option.removeprefix("--").replace("-", "_")


def _is_shared(key: str) -> bool:
    """Whether *key* is said in ``[luigi_base]``, or would be."""
    said = luigi.configuration.get_config().has_option(BASE_SECTION, key)
    return said or key in site.KEYS


def _refuse_task(message: str, **_style: Any) -> NoReturn:
    """Stand for law's ``abort``, where it finds no task of the name that was typed."""
    named = "".join(sys.argv[2:3])
    module = named.rpartition(".")[0]
    there = sys.modules.get(module)
    known = [f"{module}.{name}" for name in Register.task_names() if hasattr(there, name)]
    fix = f"known are: {', '.join(known)}" if known else "name a task as aframe.TrainLocal"
    # Infer is nearer to SandboxInfer than to Tune, whatever their lengths.
    ends = [each for each in known if each.endswith(named.rpartition(".")[2])]
    _refuse("there is no such task", message, fix, [named], ends or known)


def _refuse(
    problem: str, found: str, fix: str, unknown: Iterable[str], known: Iterable[str]
) -> NoReturn:
    near = [match for word in unknown for match in difflib.get_close_matches(word, known, n=1)]
    hint = f"did you mean {near[0]}? " if near else ""
    # law names itself "…/law run".
    program = Path(sys.argv[0].removesuffix(" run")).name
    command = " ".join([program, *(each for each in sys.argv[1:3] if not each.startswith("-"))])
    error = AframeError(problem, found=found, wanted_by=command, fix=f"{hint}{fix}")
    sys.stderr.write(f"ERROR: {error}\n")
    sys.exit(USER_ERROR)
