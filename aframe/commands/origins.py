"""Where the value of a parameter comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from luigi.cmdline_parser import CmdlineParser

from aframe import site
from aframe.cfg import Place, values_of
from aframe.commands.run_directory import CONFIGURATION
from aframe.parameters import BASE_SECTION
from aframe.tasks.outlook import Outlook


def origin(each: Outlook, setting: str, found: Sequence[Outlook]) -> str:
    """Say where the value of a setting comes from.

    Args:
        each: The step.
        setting: A name in its settings; of ``source.kind`` the first part is its parameter.
        found: All steps, of which those that require this one may hand the value on.
    """
    name, step = setting.partition(".")[0], each.step
    parameter = dict(step.get_params()).get(name)
    if parameter is None:
        return f"the task {step.task_family}"
    family, value = step.task_family, getattr(step, name)
    if parameter.task_value(family, name) != value:
        givers = [other for other in found if each.name in other.rests_on
                  and getattr(other.step, name, None) == value]  # fmt: skip
        if givers:
            return origin(givers[0], name, found)
    of_site = site.value(family, name)
    return (
        _on_command_line(family, name)
        or _in_file(family, name)
        or (of_site[1] if of_site else None)
        or _in_file(BASE_SECTION, name)
        or f"the default of {family}"
    )


def _on_command_line(family: str, name: str) -> str | None:
    parser = CmdlineParser.get_instance()
    if parser is None:
        return None
    known = vars(parser.known_args)
    option = name.replace("_", "-")
    if known.get(f"{family}_{name}") is not None:
        return f"--{family}-{option} on the command line"
    # A pipeline's own option reaches the steps that it is handed on to.
    if known.get(name) not in (None, False):
        return f"--{option} on the command line"
    return None


def _in_file(section: str, name: str) -> str | None:
    path = os.environ.get(CONFIGURATION)
    values = values_of(Path(path)) if path else {}
    value = values.get(Place(f"luigi_{section}", name))
    if value is None:
        return None
    reference = f" ({value.text})" if value.text.startswith("&::") else ""
    return f"[luigi_{section}] of {value.file}{reference}"
