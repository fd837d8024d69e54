"""A run directory: its `.cfg`, what its `run.sh` exports, and the task that it runs."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from aframe.cfg import refuse_broken
from aframe.errors import AframeError

SCRIPT = "run.sh"
CONFIGURATION = "LAW_CONFIG_FILE"
_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.DOTALL)
_WITH_DEFAULT = re.compile(r"\$\{(?P<name>[A-Za-z_]\w*):-(?P<default>[^{}]*)\}")


@dataclass(frozen=True)
class RunDirectory:
    """What a `run.sh` would start law with.

    Args:
        path: The directory.
        variables: What it sets in the environment.
        task: The task, with its module: ``aframe.pipelines.sandbox.Sandbox``.
        options: Options of law that stand in it.
    """

    path: Path
    variables: Mapping[str, str]
    task: str
    options: Sequence[str]

    @classmethod
    def find(cls, directory: Path | None, task: str | None = None) -> RunDirectory:
        """Find the run directory that is, or holds, *directory*.

        Args:
            directory: ``None`` for the present one. Where that is in none, the environment's
                ``LAW_CONFIG_FILE`` and variables count, as for `law run`.
            task: The task to look at where there is no `run.sh`.

        Raises:
            AframeError: If there is none, or what is there was moved or cannot be read.
        """
        start = (directory or Path()).expanduser().resolve()
        for folder in (start, *start.parents):
            if (folder / SCRIPT).is_file() and "law run" in (folder / SCRIPT).read_text():
                return _read(folder)
        if directory is None and os.environ.get(CONFIGURATION):
            configuration = Path(os.environ[CONFIGURATION]).expanduser()
            return cls(configuration.resolve().parent, {}, task or _SANDBOX, ())
        raise AframeError(
            "there is no run directory",
            found=f"no {SCRIPT} in {start} nor above it"
            if start.exists()
            else f"{start} does not exist",
            wanted_by="--directory" if directory else "the present folder",
            fix="go to a run directory, name it with --directory, or make one with aframe-init",
        )

    def enter(self) -> None:
        """Let this process be as `run.sh` makes law's; law reads its file while it is imported.

        Raises:
            AframeError: If law could not use the file.
        """
        os.environ.update(self.variables)
        refuse_broken(os.environ.get(CONFIGURATION, ""))

    @contextlib.contextmanager
    def task_to_run(self, options: Sequence[str] = ()) -> Iterator[Any]:
        """Build the task as `run.sh` with *options* would, within the `with` statement.

        Raises:
            AframeError: If the configuration or an option is refused.
        """
        parsing = importlib.import_module("luigi.cmdline_parser")
        module, _, family = self.task.rpartition(".")
        importlib.import_module(module)
        # Tasks that were built for another command line know what that one asked for.
        importlib.import_module("luigi.task_register").Register.clear_instance_cache()
        words = [family, *self.options, *options]
        try:
            with parsing.CmdlineParser.global_instance(words) as parser:
                yield parser.get_task_obj()
        except ValueError as error:
            # luigi wraps what a parameter's parser raises.
            cause = error.__cause__
            if isinstance(cause, AframeError):
                raise cause from error
            raise


_SANDBOX = "aframe.pipelines.sandbox.Sandbox"


def _read(folder: Path) -> RunDirectory:
    script = folder / SCRIPT
    variables: dict[str, str] = {}
    for line in script.read_text().replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            # A quote that goes on in the next line is in none of what aframe-init wrote.
            continue
        _refuse_moved(words, folder)
        assigned = _assignments(words[1:] if words[:1] == ["export"] else words, variables)
        if words[:1] == ["export"]:
            variables |= assigned
            continue
        command = words[len(assigned) :]
        command = command[1:] if command[:1] == ["exec"] else command
        if command[:2] == ["law", "run"]:
            task, *options = [word for word in command[2:] if word != "$@"]
            expanded = [_expand(word, variables) for word in options]
            return RunDirectory(folder, {**variables, **assigned}, task, expanded)
    raise AframeError(
        "a run directory's script starts no task",
        found=f"no line of {script} that begins with law run",
        wanted_by="aframe",
        fix='let its last line be: LAW_CONFIG_FILE=… law run MODULE.TASK [options] "$@"',
    )


def _assignments(words: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The assignments that *words* begin with."""
    found: dict[str, str] = {}
    for word in words:
        match = _ASSIGNMENT.fullmatch(word)
        if match is None:
            break
        found[match["name"]] = _expand(match["value"], {**variables, **found})
    return found


def _expand(text: str, variables: Mapping[str, str]) -> str:
    """Expand a home folder, ``$NAME``, ``${NAME}`` and ``${NAME:-default}``."""
    known = {**os.environ, **variables}
    text = _WITH_DEFAULT.sub(lambda found: known.get(found["name"]) or found["default"], text)
    return os.path.expanduser(Template(text).safe_substitute(known))  # noqa: PTH111


def _refuse_moved(words: Sequence[str], folder: Path) -> None:
    """Refuse a directory that is not where its `run.sh` looks for itself."""
    if words[:1] != ["if"] or "!=" not in words:
        return
    made_for = words[words.index("!=") + 1].rstrip(";")
    if made_for.startswith("/") and Path(made_for) != folder:
        raise AframeError(
            "the run directory was moved or copied",
            found=str(folder),
            wanted_by=f"the paths in its files, which were made for {made_for}",
            fix=f"move it back, or in it: sed -i 's|{made_for}|{folder}|g' {SCRIPT} *.cfg",
        )
