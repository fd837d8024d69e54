"""The command `aframe`: look at runs before, while and after they are at work."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aframe import report
from aframe.cli import Parser
from aframe.commands.run_directory import RunDirectory
from aframe.errors import USER_ERROR, AframeError, explained_os_errors

#: Exit status of what Ctrl-C ended.
INTERRUPTED = 130


class Command(NamedTuple):
    """One word of `aframe`.

    Args:
        summary: What it is for.
        arguments: What it takes besides ``--directory`` and law's options.
    """

    summary: str
    arguments: Mapping[str, Mapping[str, Any]] = {}


_TASK = {"metavar": "TASK", "help": "step, as aframe plan names it"}
#: Each has a module of its name here, which is imported when it is asked for: law takes half a
#: second, and reads its configuration then.
COMMANDS = {
    "plan": Command(
        "what a run would do, why, and about what it would cost",
        {
            "--json": {"action": "store_true", "help": "print it for programs"},
            "--past": {
                "nargs": "+",
                "type": Path,
                "default": [],
                "metavar": "DIR",
                "help": "further run directories to estimate from; those beside this are known",
            },
        },
    ),
    "explain": Command("what differs from what made the output of a step", {"task": _TASK}),
    "accept": Command(
        "keep the outputs of steps though their settings or inputs have changed",
        {
            "tasks": {**_TASK, "nargs": "+"},
            "--because": {"metavar": "TEXT", "help": "why, to be kept in the record"},
        },
    ),
    "logs": Command(
        "the log of a step, or of one of its branches, of its last failure first",
        {
            "task": {**_TASK, "help": "step, as aframe plan names it; or a branch of it, TASK[12]"},
            "--lines": {
                "type": int,
                "default": 0,
                "metavar": "N",
                "help": "only the last N lines",
            },
            "--follow": {"action": "store_true", "help": "print what is added while it is at work"},
        },
    ),
    "status": Command(
        "a view of the run at work, until it is done or Ctrl-C is pressed",
        {"--once": {"action": "store_true", "help": "as it is now, and end"}},
    ),
    "doctor": Command(
        "what a run needs of this machine: images, credentials, room, pool, settings that agree",
        {"--json": {"action": "store_true", "help": "print it for programs"}},
    ),
    "site": Command(
        "where and how the steps would be at work, and what would be submitted",
        {
            "what": {
                "choices": ["show", "list"],
                "metavar": "show|list",
                "help": "what the chosen site does, or all",
            },
            "task": {**_TASK, "nargs": "?", "help": "step whose submission is shown"},
        },
    ),
    "graph": Command(
        "the steps and what each would do, as an SVG picture",
        {"--output": {"type": Path, "metavar": "FILE", "help": "default: standard output"}},
    ),
}
_OPTIONS = (
    "Other options go to law as they would to run.sh, such as --SandboxInfer-Tb 1000 or "
    "--on-change remake."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `aframe`; returns its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with explained_os_errors(" ".join(["aframe", *words])):
            return _run(words)
    except AframeError as error:
        print(f"aframe: error: {error}", file=sys.stderr)
        if isinstance(error.__cause__, OSError):
            # What could not be written is not tried again at the end.
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Who read it, such as head, has seen enough.
        sys.stderr.close()
        return 0


def _run(words: Sequence[str]) -> int:
    if words[:1] == ["report"]:
        return report.main(words)
    asked, options = _parser().parse_known_args(words)
    run_directory = RunDirectory.find(asked.directory)
    run_directory.enter()
    module = importlib.import_module(f"aframe.commands.{asked.kind}")
    status = int(module.run(run_directory, asked, options))
    # While what it could not write can still be told.
    sys.stdout.flush()
    return status


def _parser() -> Parser:
    parser = Parser(prog="aframe", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        one = kinds.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            epilog=_OPTIONS,
            allow_abbrev=False,
        )
        for flag, how in command.arguments.items():
            one.add_argument(flag, **how)
        one.add_argument(
            "--directory",
            type=Path,
            metavar="DIR",
            help="run directory; default: the present folder, or the one that holds it",
        )
    kinds.add_parser("report", help="make the page of a finished run anew, or compare runs")
    return parser
