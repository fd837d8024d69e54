"""What a ``.cfg`` may say: defaults of luigi's own, and no key that nobody reads."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import law
import luigi
from luigi.cmdline_parser import CmdlineParser

from aframe import site
from aframe.cfg import refuse_broken
from aframe.errors import AframeError, did_you_mean
from aframe.parameters import BASE_SECTION

_PREFIX = "luigi_"
#: What a run on one machine wants of luigi, unless the user's configuration says otherwise.
_DEFAULTS = {
    ("core", "local_scheduler"): "true",
    # luigi would let only one run directory on a machine be at work; a step has its own lock.
    ("core", "no_lock"): "true",
    ("core", "log_level"): "INFO",
    # Exit statuses: 2 for what the user can mend before anything ran, 1 for a failed step.
    ("retcode", "unhandled_exception"): "2",
    ("retcode", "scheduling_error"): "2",
    ("retcode", "task_failed"): "1",
    ("retcode", "missing_data"): "1",
    ("retcode", "already_running"): "1",
    ("retcode", "not_run"): "1",
    # A failed step is not tried again in the same run: its error would only be repeated.
    ("scheduler", "retry_count"): "1",
}
#: What ``[wandb]`` may say.
_WANDB = {"name", "group", "tags", "project", "entity"}


def set_defaults() -> None:
    """Give luigi the settings of :data:`_DEFAULTS` where nobody set them."""
    # What luigi warns of here, we refuse.
    warnings.simplefilter("ignore", luigi.task.UnconsumedParameterWarning)
    parser = luigi.configuration.get_config()
    for (section, option), value in _DEFAULTS.items():
        if not parser.has_option(section, option):
            parser.set(section, option, value)


def refuse_broken_file() -> None:
    """Refuse a ``LAW_CONFIG_FILE`` that law overlooks: one that is missing or inherits from none.

    Raises:
        AframeError: It names the file.
    """
    named = os.environ.get("LAW_CONFIG_FILE")
    if named:
        refuse_broken(named)


def refuse_unknown_keys(task: type[luigi.Task]) -> None:
    """Refuse a key in the section of *task* that is none of its parameters.

    Raises:
        AframeError: It names the key, the file and the nearest parameter.
    """
    _refuse_unknown(f"{_PREFIX}{task.get_task_family()}", _parameters(task), "parameter")


def refuse_unknown_sections(tasks: Iterable[type[luigi.Task]]) -> None:
    """Refuse sections of tasks that do not exist, shared values that nobody reads, wrong sites.

    Args:
        tasks: The tasks of the pipeline.

    Raises:
        AframeError: It names the section or key, the file and the nearest right name.
    """
    tasks = list(tasks)
    site.sites()
    _refuse_sections(tasks)
    shared = set().union(*(_parameters(task) for task in tasks))
    _refuse_unknown(f"{_PREFIX}{BASE_SECTION}", shared | _referenced(), "shared parameter")


def _refuse_sections(tasks: Iterable[type[luigi.Task]]) -> None:
    readable = {*luigi.task_register.Register.task_names(), BASE_SECTION}
    ours = {f"[{_PREFIX}{name}]" for name in (BASE_SECTION, *(t.get_task_family() for t in tasks))}
    for section in _config().sections():
        if section not in law.config.Config._default_config and _is_meant(section, ours):  # noqa: SLF001
            raise _unknown("section", f"[{section}]", ours)
        if section.startswith(_PREFIX) and section.removeprefix(_PREFIX) not in readable:
            raise _unknown("section", f"[{section}]", ours)


def refuse_misspelt_sections() -> None:
    """Refuse a section that is almost named as one of a task.

    Raises:
        AframeError: It names the section, the file and the nearest right name.
    """
    register = luigi.task_register.Register
    tasks = []
    for name in register.task_names():
        # Of luigi's own some are named alike.
        with contextlib.suppress(luigi.task_register.TaskClassException):
            tasks.append(register.get_task_cls(name))
    _refuse_sections(task for task in tasks if task.__module__.startswith("aframe."))


def refuse_unread_run() -> None:
    """Refuse to plan from defaults in the directory of a run, whose own settings nobody read.

    Raises:
        AframeError: It names the script that has them read.
    """
    script = Path.cwd() / "run.sh"
    if "LAW_CONFIG_FILE" in os.environ or not script.is_file():
        return
    (configuration,) = re.findall(r"LAW_CONFIG_FILE=(\S+)", script.read_text())[-1:] or [None]
    if configuration:
        raise AframeError(
            "the settings of the run that is here would not be read",
            found=f"LAW_CONFIG_FILE is not set, though {script} sets it",
            wanted_by="law run in the directory of a run",
            fix=f"bash run.sh takes the same options; or export LAW_CONFIG_FILE={configuration}",
        )


def refuse_overlooked(task: luigi.Task, handed_on: Iterable[str]) -> None:
    """Refuse what is said to *task* alone of a parameter that is one truth for all steps.

    What requires the step hands its own value on, so that this one would be overlooked.

    Args:
        task: A step of a pipeline.
        handed_on: Names of those parameters.

    Raises:
        AframeError: It names the parameter, both values, and where it belongs.
    """
    family = task.get_task_family()
    for name, parameter in task.get_params():
        if name not in handed_on:
            continue
        used = getattr(task, name)
        for said in (_on_command_line(parameter, family, name), _in_section(family, name)):
            if said is not None and parameter.normalize(parameter.parse(said)) != used:
                raise AframeError(
                    "a setting of all steps is given to one alone, and would be overlooked",
                    found=f"{name} = {said} for {family}, {parameter.serialize(used)} for those "
                    "that require it",
                    wanted_by=f"--{family}-{name.replace('_', '-')} or [luigi_{family}] of the "
                    ".cfg",
                    fix=f"give {name} in [{_PREFIX}{BASE_SECTION}]",
                )


def _on_command_line(parameter: luigi.Parameter, family: str, name: str) -> str | None:
    parser = CmdlineParser.get_instance()
    known = vars(parser.known_args) if parser else {}
    said = known.get(parameter._parser_global_dest(name, family))  # noqa: SLF001
    return None if said is None else str(said)


def _in_section(family: str, name: str) -> str | None:
    parser = luigi.configuration.get_config()
    return str(parser.get(family, name)) if parser.has_option(family, name) else None


def wandb_settings() -> dict[str, str | list[str]]:
    """Read what ``[wandb]`` says of runs at Weights & Biases; a key for it has no place there.

    Raises:
        AframeError: If a name is unknown.
    """
    _refuse_unknown("wandb", _WANDB, "parameter")
    names = _config().options("wandb") if _config().has_section("wandb") else ()
    said = {name: str(_config().get_expanded("wandb", name)).strip() for name in names}
    tags = [tag.strip() for tag in said.pop("tags", "").split(",") if tag.strip()]
    return {name: text for name, text in said.items() if text} | ({"tags": tags} if tags else {})


def _is_meant(section: str, ours: set[str]) -> bool:
    """Whether *section*, which nobody reads, is one of *ours* without or with another prefix."""
    if section.startswith(_PREFIX):
        return False
    bare = re.sub(r"^luigi\W*", "", section.lower())
    known = {name[1:-1].removeprefix(_PREFIX).lower() for name in ours}
    return bool(difflib.get_close_matches(bare, known, n=1, cutoff=0.8))


def _parameters(task: type[luigi.Task]) -> set[str]:
    """Names of the parameters of *task*, but for those by which law prints and removes."""
    return {name for name, _ in task.get_params()} - {name for name, _ in law.Task.get_params()}


def _config() -> law.config.Config:
    return law.config.Config.instance()


def _refuse_unknown(section: str, known: set[str], kind: str) -> None:
    if _config().has_section(section):
        for key in _config().options(section):
            if key not in known:
                raise _unknown(kind, f"{key} in [{section}]", known)


def _referenced() -> set[str]:
    """Keys of ``[luigi_base]`` that another key refers to by ``&::luigi_base::key``."""
    # law resolves the references when it hands sections to luigi: read the files as written.
    written = law.config.Config(
        _config().config_file or "",
        skip_defaults=True,
        skip_fallbacks=True,
        skip_env_sync=True,
        skip_luigi_sync=True,
    )
    values = [
        written.get(section, option, raw=True)
        for section in written.sections()
        for option in written.options(section)
    ]
    mark = f"&::{_PREFIX}{BASE_SECTION}::"
    return {value.removeprefix(mark) for value in values if value and value.startswith(mark)}


def _unknown(kind: str, found: str, known: set[str]) -> AframeError:
    name = found.split(" in ", maxsplit=1)[0]
    return AframeError(
        f"the configuration holds an unknown {kind}",
        found=found,
        wanted_by=str(_config().config_file),
        fix=f"{did_you_mean(name, known)}known are: {', '.join(sorted(known))}",
    )
