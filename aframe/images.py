"""An image of a stage: how its command is run there, what may enter, and what it was built from.

:func:`words` looks at nothing of this machine, so that whoever sends a job elsewhere can ask it
for that machine's command line.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from aframe.checkout import COMMIT, DIGEST, code_digest
from aframe.errors import AframeError

#: Variables that say how a stage runs; its command shows them.
_SHOWN = (
    *("AFRAME_CACHE_DIR", "CUDA_VISIBLE_DEVICES", "TMPDIR"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
)
#: Exit status of Apptainer where it cannot begin.
_REFUSED = 255
#: A look into an image that takes longer tells nothing (s).
_PATIENCE = 60.0
#: Patterns of variables that hold secrets, or say where those or the servers are.
_PRIVATE = (
    *("AWS_*", "WANDB_*", "BEARER_TOKEN", "BEARER_TOKEN_FILE", "SCITOKEN", "SCITOKEN_FILE"),
    *("X509_*", "KRB5*", "NETRC", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("GWDATAFIND_SERVER", "NDSSERVER", "DEFAULT_SEGMENT_SERVER", "LIGO_DATAFIND_SERVER"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)


def words(
    command: Sequence[str],
    image: str | Path,
    *,
    home: str | Path,
    directory: str | Path | None = None,
    binds: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    gpus: bool = False,
    environment_file: str | Path | None = None,
) -> list[str]:
    """The words that run *command* in *image*, on any machine where the paths given exist.

    Nothing of the machine enters but what is named here, ``/tmp`` and what its administrator binds
    into every container: no variable, no home, no working directory.

    Args:
        command: A program of the image with its words.
        image: Path of the image.
        home: Folder that is home there; it must be writable.
        directory: Working directory there, which must be bound or above what is; ``None``: *home*.
        binds: What it sees, each as :func:`bind` writes it.
        environment: Variables that the command shows; no secrets.
        gpus: Whether NVIDIA's driver is bound.
        environment_file: File of further variables, as :func:`file_of` writes it.

    Example:
        >>> " ".join(words(["aframe-data", "check"], "data.sif", home="/scratch", gpus=True))
        'apptainer run --cleanenv --no-eval --no-mount cwd --home /scratch --pwd /scratch --nv data.sif aframe-data check'
    """  # noqa: E501 (one line of output)
    options = ["--cleanenv", "--no-eval", "--no-mount", "cwd", "--home", bind(home)]
    options += ["--pwd", str(directory or home)]
    options += ["--nv"] if gpus else []
    options += ["--env-file", str(environment_file)] if environment_file else []
    for name, value in sorted((environment or {}).items()):
        options += ["--env", _quoted(f"{name}={value}")]
    for each in binds:
        options += ["--bind", each]
    return ["apptainer", "run", *options, str(image), *command]


def bind(source: str | Path, target: str | Path | None = None, *, read_only: bool = False) -> str:
    r"""Write a bind of *source*, by another name there if *target* is given.

    Example:
        >>> bind("/data/H1:raw"), bind("/home/ada/.aws", "/scratch/.aws", read_only=True)
        ('/data/H1\\:raw', '/home/ada/.aws:/scratch/.aws:ro')
    """
    parts = [str(source), *([str(target or source)] if target or read_only else [])]
    escaped = [part.replace(":", r"\:").replace(",", r"\,") for part in parts]
    return ":".join([*escaped, *(["ro"] if read_only else [])])


def _quoted(assignment: str) -> str:
    """One assignment for ``--env``, which takes what holds a second = for a row of CSV."""
    if assignment.count("=") == 1:
        return assignment
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow([assignment])
    return row.getvalue()


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of *environment* that say how a stage runs."""
    return {name: environment[name] for name in _SHOWN if name in environment}


def private(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of *environment* that hold secrets, or say where those or the servers are."""
    return {
        name: value
        for name, value in with_files(environment).items()
        if value and any(fnmatch(name, pattern) for pattern in _PRIVATE)
    }


def with_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Add to *environment* where libraries look for credentials by themselves: in a home."""
    runtime = Path(environment.get("XDG_RUNTIME_DIR") or "/nowhere")
    by_default = {
        "AWS_SHARED_CREDENTIALS_FILE": Path.home() / ".aws" / "credentials",
        "AWS_CONFIG_FILE": Path.home() / ".aws" / "config",
        "NETRC": Path.home() / ".netrc",
        "BEARER_TOKEN_FILE": runtime / f"bt_u{os.getuid()}",
    }
    if environment.get("BEARER_TOKEN"):
        del by_default["BEARER_TOKEN_FILE"]
    there = {name: str(path) for name, path in by_default.items() if path.is_file()}
    return there | {name: value for name, value in environment.items() if value}


def named_by(variables: Mapping[str, str]) -> list[str]:
    """Binds of the files and folders of this machine that *variables* name; files to read only."""
    paths = {Path(value.removeprefix("FILE:")) for value in variables.values()}
    absolute = sorted(path for path in paths if path.is_absolute() and path.exists())
    return [bind(path, read_only=path.is_file()) for path in absolute]


def file_of(variables: Mapping[str, str]) -> str:
    """Content of an environment file, which Apptainer reads as a shell does."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


@contextlib.contextmanager
def environment_file(variables: Mapping[str, str]) -> Iterator[int | None]:
    """Descriptor of an environment file of *variables*, ``None`` where there is none.

    It lies in memory, nameless, and ends with the processes that hold it: no other user
    can open it, and none is left behind, whatever is killed.
    """
    if not variables:
        yield None
        return
    file = os.memfd_create("environment")
    try:
        os.write(file, file_of(variables).encode())
        yield file
    finally:
        os.close(file)


def locate(stage: str, image: Path | None, root: Path | None) -> Path | None:
    """Path of the image of *stage*; ``None`` to run without.

    Args:
        stage: The stage.
        image: What ``--image`` says: absolute, or below *root*.
        root: What ``--container-root`` or ``AFRAME_CONTAINER_ROOT`` says.

    Raises:
        AframeError: If *image* is relative and there is no *root*.
    """
    if image is None:
        return root and root.absolute() / f"{stage}.sif"
    if root is None and not image.is_absolute():
        raise AframeError(
            "it is not known where the image lies",
            found=f"--image {image}, and no folder of images",
            wanted_by=f"the image of stage {stage!r}",
            fix=f"give an absolute path ({image.absolute()}?), or --container-root or "
            "AFRAME_CONTAINER_ROOT, which it is then relative to",
        )
    return root.absolute() / image if root else image


def how_to_build(stage: str, image: Path) -> str:
    """Give the command that makes *image* of *stage*."""
    if image.name == f"{stage}.sif":
        return shlex.join(["build-containers", stage, "--root", str(image.parent)])
    build = shlex.join(["apptainer", "build", "--force", str(image), "apptainer.def"])
    return f"cd projects/{stage} && {build}, in the checkout"


def labels(image: Path) -> dict[str, str]:
    """Labels of *image*; empty where it has none, or there is no Apptainer to read them."""
    return _inspected(image).labels


def refusal(image: Path) -> str | None:
    """Why Apptainer cannot open *image*; ``None`` where it can, or there is none of the two."""
    return _inspected(image).refusal


class _Inspected(NamedTuple):
    labels: dict[str, str]
    refusal: str | None = None


def _inspected(image: Path) -> _Inspected:
    try:
        status = image.stat()
    except OSError:
        return _Inspected({})
    return _inspect(str(image), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _inspect(image: str, _size: int, _mtime_ns: int) -> _Inspected:
    words = ["apptainer", "inspect", "--json", "--labels", image]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return _Inspected({})
    if done.returncode:
        return _Inspected({}, refused(done.returncode, done.stderr))
    try:
        return _Inspected(dict(json.loads(done.stdout)["data"]["attributes"]["labels"] or {}))
    except (ValueError, KeyError, TypeError):
        return _Inspected({})


def refused(code: int, said: str) -> str | None:
    r"""Why Apptainer could not begin, by how it ended and what it *said*; ``None`` if it could.

    Example:
        >>> refused(255, "INFO:    a detail\nFATAL:   could not open image x.sif\n")
        'could not open image x.sif'
    """
    found = re.search(r"^FATAL:\s+(.*)", said, re.MULTILINE)
    return found[1] if code == _REFUSED and found else None


def outdated(stage: str, image: Path) -> str | None:
    """Say how *image* differs from the code at hand.

    Returns:
        A sentence, or ``None`` where it is of this code, or there is no checkout to tell by.
    """
    wanted, has = code_digest(stage), labels(image)
    if wanted is None or has.get(DIGEST) == wanted:
        return None
    if DIGEST not in has:
        return f"the image {image} does not say which code it holds"
    made = f" (it is of commit {has[COMMIT]})" if COMMIT in has else ""
    return f"the image {image} was built from other code than is at hand{made}"
