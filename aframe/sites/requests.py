"""What a job asks of a pool, how far that may grow, and on what terms it runs there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch

_GB = 1024
#: What a job that had too little asks for, as a multiple of what it had, and of what it used.
_GROWTH, _MARGIN = 2.0, 1.5


def spelled(size: float) -> str:
    """Write a size in MiB as people read it.

    Example:
        >>> spelled(512), spelled(6554)
        ('512 MB', '6.4 GB')
    """
    return f"{size:.0f} MB" if size < _GB else f"{size / _GB:.3g} GB"


@dataclass(frozen=True)
class Request:
    """What a job asks for.

    Args:
        memory: Memory (MiB).
        disk: Room for its files (MiB).
        cpus: Cores.
        gpus: GPUs.
        max_memory: What *memory* may grow to (MiB).
        max_disk: What *disk* may grow to (MiB).
    """

    memory: int = 4096
    disk: int = 4096
    cpus: int = 1
    gpus: int = 0
    max_memory: int = 65536
    max_disk: int = 262144

    def grown(self, what: str, used: float = 0.0) -> Request | None:
        """The request with more ``memory`` or ``disk``; ``None`` where it may not grow.

        Args:
            what: Which of the two.
            used: What the job was seen to use (MiB).
        """
        had, most = getattr(self, what), getattr(self, f"max_{what}")
        if had >= most:
            return None
        wanted = round(max(_GROWTH * had, _MARGIN * used))
        return replace(self, **{what: min(wanted, most)})


@dataclass(frozen=True)
class Terms:
    """On what terms a step's jobs run.

    Args:
        shared_disk: Whether the machines of the pool see the run directory.
        accounting_group: Group that the time is charged to; blank for the pool's own.
        accounting_group_user: User that it is charged to, likewise.
        requirements: What a machine must offer, as a ClassAd expression.
        use_oauth_services: Names of the tokens that jobs get.
        forward: Patterns of variables of this environment that jobs get, with the files that they
            name, where only their owner reads them.
        job_length: How long a job should run (s).
    """

    shared_disk: bool = True
    accounting_group: str = ""
    accounting_group_user: str = ""
    requirements: str = ""
    use_oauth_services: tuple[str, ...] = ()
    forward: tuple[str, ...] = ()
    job_length: float = 3600.0

    def forwarded(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Those variables of *environment* that jobs get."""
        return {
            name: value
            for name, value in environment.items()
            if any(fnmatch(name, pattern) for pattern in self.forward)
        }
