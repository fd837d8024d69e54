"""Sites: where a run is at work, and what it wants there besides its physics.

``--site NAME``, or ``site`` in ``[luigi_base]``, chooses the section ``[site_NAME]`` of the
``.cfg``, or of those that are shipped. It is asked for a parameter after the command line and the
task's own section, and before ``[luigi_base]`` and the default.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.task_register import Register

from aframe.cfg import values_of
from aframe.checkout import STAGES
from aframe.errors import AframeError, did_you_mean

PREFIX = "site_"
SHIPPED = Path(__file__).parent / "pipelines" / "configs" / "sites.cfg"
#: What a site may say: how and where steps run, never what they do; the first ones of all alike.
OF_ALL_STEPS = ("container_root", "gpus", "processes")
KEYS = (
    *OF_ALL_STEPS,
    *("workflow", "shared_disk", "job_length"),
    *("request_memory", "max_memory", "request_disk", "max_disk", "request_cpus", "request_gpus"),
    *("accounting_group", "accounting_group_user", "requirements", "use_oauth_services"),
    *("forward", "server", "server_timeout"),
)


def sites() -> dict[str, dict[str, str]]:
    """What each site says, by its name.

    Raises:
        AframeError: If one says what is none of :data:`KEYS`.
    """
    named = os.environ.get("LAW_CONFIG_FILE", "")
    path = Path(os.path.expandvars(named)).expanduser() if named else None
    changed = path.stat().st_mtime_ns if path and path.is_file() else 0
    return {name: dict(keys) for name, keys in _sites(str(path or ""), changed).items()}


@functools.lru_cache(maxsize=8)
def _sites(path: str, changed: int) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for file in (SHIPPED, *([Path(path)] if changed else [])):
        for place, value in values_of(file).items():
            if place.section.startswith(PREFIX):
                _refuse_unknown(place.key, place.section, value.file)
                keys = found.setdefault(place.section.removeprefix(PREFIX), {})
                keys[place.key] = value.text
    return found


def _refuse_unknown(key: str, section: str, file: Path) -> None:
    stage, dot, name = key.rpartition(".")
    if name in KEYS and (not dot or (stage in STAGES and name not in OF_ALL_STEPS)):
        return
    raise AframeError(
        "a site says what is none of its business",
        found=f"{key} in [{section}]",
        wanted_by=str(file),
        fix=f"{did_you_mean(name, KEYS)}a site may say {', '.join(KEYS)}; but for the first "
        f"{len(OF_ALL_STEPS)}, after a stage ({', '.join(STAGES)}) and a dot where it counts for "
        "that alone; all else belongs to [luigi_base] or a task's section",
    )


def chosen() -> str | None:
    """Name of the site that was chosen on the command line or in ``[luigi_base]``."""
    parser = CmdlineParser.get_instance()
    if parser is not None and getattr(parser.known_args, "site", None):
        return str(parser.known_args.site)
    name = luigi.configuration.get_config().get("base", "site", "")
    return str(name) or None


def profile(name: str) -> Mapping[str, str]:
    """What the site *name* says.

    Raises:
        AframeError: If there is no such site.
    """
    known = sites()
    if name not in known:
        raise AframeError(
            "there is no such site",
            found=name,
            wanted_by="--site, or site in [luigi_base]",
            fix=f"{did_you_mean(name, known)}sites are: {', '.join(known)}; a section "
            f"[{PREFIX}{name}] of the .cfg would make it one",
        )
    return known[name]


def value(task: str, key: str) -> tuple[str, str] | None:
    """What the site that was chosen says of a parameter of *task*, and where.

    Returns:
        The text, and the key and section that it stands in; ``None`` where it says nothing.
    """
    if key not in KEYS:
        return None
    name = chosen()
    if name is None:
        return None
    said = profile(name)
    for each in (f"{_stage(task)}.{key}", key):
        if each in said:
            return said[each], f"{each} in [{PREFIX}{name}]"
    return None


def _stage(task: str) -> str | None:
    """The stage of a task; a pipeline has none."""
    try:
        return getattr(Register.get_task_cls(task), "stage", None)
    except luigi.task_register.TaskClassNotFoundException:
        return None
