"""The code at hand: its checkout, and what of it the image of a stage is built from.

Standard library only: an image's build runs it (``python -m aframe.checkout STAGE``) to label
the image, and planning compares that label with the checkout at hand.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from aframe.errors import AframeError

#: Where the checkout lies in an image; ``--dev`` binds the one at hand over it.
CODE_IN_IMAGE = "/opt/aframe"
STAGES = ("data", "train", "export", "infer", "sv")
#: Labels of an image; the first three are those of https://specs.opencontainers.org/image-spec/annotations/
VERSION, COMMIT = "org.opencontainers.image.version", "org.opencontainers.image.revision"
BASE = "org.opencontainers.image.base.name"
DIGEST = "aframe.digest"
#: Copied with the rest, but no stage imports it: a change there makes no image old.
_NOT_OF_A_STAGE = (
    *(f"aframe/{name}/*" for name in ("tasks", "commands", "sites")),
    *("aframe/pipelines/*.py", "aframe/pipelines/*.cfg"),
    *(
        f"aframe/{name}.py"
        for name in (
            *("cfg", "cli", "containers", "failures", "images", "parameters", "paths"),
            *("report", "site", "stages", "targets"),
        )
    ),
    *("*.md", "LICENSE"),
)


def checkout(wanted_by: str) -> Path:
    """Give the checkout that this runs from.

    Args:
        wanted_by: Who asks.

    Raises:
        AframeError: If it is an installation without the projects.
    """
    root = _root()
    if not (root / "projects").is_dir():
        raise AframeError(
            "there is no checkout",
            found=f"{root} has no projects",
            wanted_by=wanted_by,
            fix="pip install -e . in a checkout, and run it from there",
        )
    return root


def code_digest(stage: str, root: Path | None = None) -> str | None:
    """Digest of all that the image of *stage* is built from and its programs read.

    Args:
        stage: The stage, such as ``data``.
        root: A checkout, or :data:`CODE_IN_IMAGE` in an image; ``None`` is the one at hand.

    Returns:
        SHA-256 in hexadecimal, or ``None`` where there is no such checkout.
    """
    root = root or _root()
    definition = root / "projects" / stage / "apptainer.def"
    if not definition.is_file():
        return None
    digest = hashlib.sha256()
    for name, path in sorted(_files(root, definition)):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def commit() -> str:
    """Commit of the code this runs from, ``+changes`` if edited; empty where nothing tells it."""
    root = _root()
    git = shutil.which("git")
    if git is not None and (root / ".git").exists():
        head = _ask(git, root, "rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _ask(git, root, "status", "-s", "-uno") else "")
    built = root / "commit"
    if (root / ".git").exists() or not built.is_file():
        return os.environ.get("AFRAME_COMMIT", "")
    return built.read_text().strip()


def _ask(git: str, root: Path, *words: str) -> str:
    done = subprocess.run(
        [git, "-C", str(root), *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _root() -> Path:
    return Path(__file__).resolve().parents[1]


def _files(root: Path, definition: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of each file below *root* that *definition* copies and a stage reads."""
    copied = re.findall(rf"^ +\S+ {CODE_IN_IMAGE}/(\S+)$", definition.read_text(), re.MULTILINE)
    for name in copied:
        top = root / name
        for path in top.rglob("*") if top.is_dir() else [top]:
            below = path.relative_to(root)
            hidden = any(part.startswith((".", "__pycache__")) for part in below.parts)
            passed_over = any(fnmatch(str(below), pattern) for pattern in _NOT_OF_A_STAGE)
            if path.is_file() and not hidden and not passed_over:
                yield str(below), path


def _labels(stage: str) -> Iterator[str]:
    project = tomllib.loads((_root() / "pyproject.toml").read_text())["project"]
    yield f"{VERSION} {project['version']}"
    if revision := commit():
        yield f"{COMMIT} {revision}"
    yield f"aframe.stage {stage}"
    yield f"{DIGEST} {code_digest(stage)}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in _labels(sys.argv[1]))
