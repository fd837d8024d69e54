"""The one error a user can mend, how its message is laid out, and what becomes one."""

from __future__ import annotations

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator

#: Exit status of a command that ends with such an error.
USER_ERROR = 2
_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file is larger than this disk or process may have",
}
_PATH = {errno.EACCES, errno.EROFS, errno.EPERM, errno.EEXIST, errno.ENOTDIR}


class AframeError(Exception):
    """Something the user can mend: shown without a traceback, exit status :data:`USER_ERROR`.

    Args:
        problem: What is wrong, in one line.
        found: The value that was found.
        wanted_by: Where it came from: the command, file or parameter that asked.
        fix: What would be right.

    Example:
        >>> print(AframeError("no strain", found="none", wanted_by="fetch", fix="add files"))
        no strain
          found      none
          wanted by  fetch
          fix        add files
    """

    def __init__(self, problem: str, *, found: str, wanted_by: str, fix: str) -> None:
        super().__init__(problem, found, wanted_by, fix)
        self.problem = problem
        self.found = found
        self.wanted_by = wanted_by
        self.fix = fix

    def __str__(self) -> str:
        rows = (("found", self.found), ("wanted by", self.wanted_by), ("fix", self.fix))
        return "\n".join([self.problem, *(f"  {name:<10} {text}" for name, text in rows)])

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost when a pool's worker hands the error back.
        return (_rebuild, (self.problem, self.found, self.wanted_by, self.fix))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Begin a fix with the name in *known* that is nearest to *name*, if one is near.

    Example:
        >>> did_you_mean("highpas", ["highpass", "lowpass"])
        'did you mean highpass? '
        >>> did_you_mean("seed", ["highpass", "lowpass"])
        ''
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


@contextlib.contextmanager
def explained_os_errors(command: str) -> Iterator[None]:
    """Turn what a disk or a permission refuses into an error that names the cure.

    Args:
        command: Who asks, for the message.

    Raises:
        AframeError: If a disk is full or a path cannot be used; other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DISK:
            problem, fix = (
                _DISK[error.errno],
                "free some space, then run the same command: it resumes",
            )
        elif error.errno in _PATH:
            problem, fix = "a file cannot be written or read", "correct its permissions or path"
        else:
            raise
        raise AframeError(problem, found=str(error), wanted_by=command, fix=fix) from error


def _rebuild(problem: str, found: str, wanted_by: str, fix: str) -> AframeError:
    return AframeError(problem, found=found, wanted_by=wanted_by, fix=fix)
