"""`build-containers`: make the images that are missing, or of other code than is at hand."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TextIO

from aframe.checkout import BASE, STAGES, checkout
from aframe.cli import Parser
from aframe.errors import USER_ERROR, AframeError
from aframe.failures import indented
from aframe.images import labels, outdated

_FAILED, _INTERRUPTED = 1, 130
_SECONDS_BETWEEN_LOOKS = 0.2
#: What in a log tells the cause, and what mends it; the first that fits.
_CAUSES = (
    (
        r"No space left on device|[Qq]uota exceeded",
        (
            "free space where APPTAINER_TMPDIR points (unpacked, an image takes 12 GB) and in "
            "the folder of images, or name others"
        ),
    ),
    (
        r"toomanyrequests|(?i:too many requests)|rate limit",
        "the registry limits its visitors: wait an hour, or start from an image at hand (--base)",
    ),
    (
        (
            r"no such host|dial tcp|i/o timeout|[Tt]emporary failure in name|[Cc]onnection refused|"
            r"error sending request|Network is unreachable|Failed to establish a new connection"
        ),
        (
            "build where the registry of the base image and the package index can be reached, or "
            "start from an image at hand (--base)"
        ),
    ),
    (
        r"manifest unknown|unauthorized|authentication required|denied: requested access",
        "correct the name of the base image (--base), or log in with `apptainer registry login`",
    ),
    (
        r"user namespace|newuidmap|fakeroot|setgroups|[Oo]peration not permitted",
        (
            "building without root needs user namespaces: ask your administrator for them, "
            "or build on another machine and copy the image"
        ),
    ),
    (
        r"No solution found|unsatisfiable|ResolutionImpossible",
        "constraints.txt and the projects ask for different versions: `make constraints`",
    ),
    (
        r"While performing test|Running testscript",
        "the packages are there, but the stage does not start: mend what the last lines say",
    ),
)


@dataclass(frozen=True)
class Build:
    """What to build, and how.

    Args:
        root: Folder of the images.
        projects: Folder of the stages in the checkout.
        base: Image to start from; ``None`` is that of the definition file.
        bootstrap: Where *base* is, as ``Bootstrap`` says in a definition file.
        force: Whether to build what is current, too.
    """

    root: Path
    projects: Path
    base: str | None = None
    bootstrap: str | None = None
    force: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)

    def reason(self, stage: str) -> str | None:
        """Why the image of *stage* is to be built; ``None`` if it is current."""
        image = self.root / f"{stage}.sif"
        if not image.exists():
            return "there is no image yet"
        if self.force:
            return "--force"
        has = labels(image).get(BASE)
        if self.base is not None and has != self.base:
            return f"its base is {has}"
        return outdated(stage, image)

    def command(self, image: Path) -> list[str]:
        """The words that build *image*, in the folder of its stage."""
        given = {"bootstrap": self.bootstrap, "base": self.base}
        arguments = [f"{name}={value}" for name, value in given.items() if value]
        options = [word for each in arguments for word in ("--build-arg", each)]
        return ["apptainer", "build", "--force", *options, str(image), "apptainer.def"]

    def make(self, stage: str) -> None:
        """Build the image of *stage* if it is not current; it appears whole.

        Raises:
            AframeError: If the build fails.
            KeyboardInterrupt: If :meth:`stop` was called.
        """
        with self._alone(stage) as lock:
            reason = self.reason(stage)
            if reason is None:
                _say(stage, f"{self.root / f'{stage}.sif'} is current")
                return
            draft = self.root / f".{stage}.sif.part"
            log = self.root / "logs" / f"{stage}.log"
            log.parent.mkdir(exist_ok=True)
            _say(stage, f"{reason}; building, which {log} shows")
            began = time.monotonic()
            try:
                self._run(stage, draft, log, lock)
                draft.replace(self.root / f"{stage}.sif")
            finally:
                draft.unlink(missing_ok=True)
            size = (self.root / f"{stage}.sif").stat().st_size / 1e6
            _say(stage, f"built in {time.monotonic() - began:.0f} s, {size:.0f} MB")

    def stop(self) -> None:
        """End the builds at work."""
        self._stop.set()

    @contextlib.contextmanager
    def _alone(self, stage: str) -> Iterator[TextIO]:
        """Hold the lock of *stage*; the build inherits it, and may outlive a killed parent."""
        with (self.root / f".{stage}.lock").open("w") as lock:
            waiting = False
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not waiting:
                        _say(stage, "waiting for another build of it")
                    waiting = True
                if self._stop.wait(_SECONDS_BETWEEN_LOOKS):
                    raise KeyboardInterrupt
            yield lock

    def _run(self, stage: str, draft: Path, log: Path, lock: TextIO) -> None:
        command = self.command(draft)
        with _temporary(stage, self.root) as folder, log.open("w") as output:
            output.write(f"$ cd {self.projects / stage} && {shlex.join(command)}\n")
            output.flush()
            process = subprocess.Popen(
                command,
                cwd=self.projects / stage,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock.fileno(),),
                start_new_session=True,
            )
            while process.poll() is None:
                if self._stop.wait(_SECONDS_BETWEEN_LOOKS):
                    os.killpg(process.pid, signal.SIGTERM)
                    process.wait()
                    raise KeyboardInterrupt
        if process.returncode:
            raise _failure(stage, self.root, log)


@contextlib.contextmanager
def _temporary(stage: str, root: Path) -> Iterator[Path]:
    """Folder for the unpacked image, always the same: gigabytes that a killed build leaves."""
    mark = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    above = os.environ.get("APPTAINER_TMPDIR") or tempfile.gettempdir()
    folder = Path(above, f"build-containers-{os.getuid()}-{stage}-{mark}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(temporary: Path) -> dict[str, str]:
    """The environment at hand, without what would bind folders of this machine into the build."""
    ours = {
        name: value
        for name, value in os.environ.items()
        if not re.fullmatch("(?:APPTAINER|SINGULARITY)_(?:BIND|BINDPATH|MOUNT|ENV_FILE)", name)
    }
    return {**ours, "APPTAINER_TMPDIR": str(temporary)}


def _failure(stage: str, root: Path, log: Path) -> AframeError:
    lines = log.read_text(errors="replace").splitlines()
    text = "\n".join(lines[1:])
    mend = next((fix for pattern, fix in _CAUSES if re.search(pattern, text)), "mend what they say")
    again = shlex.join(["build-containers", stage, "--root", str(root)])
    return AframeError(
        f"the image of stage {stage!r} was not built",
        found=f"the last lines of {log}:{indented(lines[1:])}",
        wanted_by=lines[0].removeprefix("$ "),
        fix=f"{mend}; then {again}",
    )


def _say(stage: str, words: str) -> None:
    sys.stdout.write(f"{stage}: {words}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run `build-containers`; returns its exit status."""
    asked = _parser().parse_args(argv)
    try:
        build = _asked_for(asked)
    except AframeError as error:
        sys.stderr.write(f"build-containers: error: {error}\n")
        return USER_ERROR
    before = signal.signal(signal.SIGTERM, _interrupt)
    stages = list(dict.fromkeys(asked.stages)) or list(STAGES)
    workers = asked.max_workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(min(workers, len(stages))) as pool:
        builds = {stage: pool.submit(build.make, stage) for stage in stages}
        try:
            return _ended(builds)
        except KeyboardInterrupt:
            build.stop()
            pool.shutdown(cancel_futures=True)
            sys.stderr.write("build-containers: interrupted; the same command goes on\n")
            return _INTERRUPTED
        finally:
            signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _ended(builds: dict[str, Future[None]]) -> int:
    """Wait for all, and tell what failed; the exit status."""
    errors: list[AframeError] = []
    for build in builds.values():
        try:
            build.result()
        except AframeError as error:
            errors.append(error)
    for failure in errors:
        sys.stderr.write(f"build-containers: error: {failure}\n")
    return _FAILED if errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="build-containers", description=__doc__)
    parser.add_argument(
        "stages",
        nargs="*",
        metavar="STAGE",
        type=_stage,
        help=f"stages whose images to build, of {', '.join(STAGES)}; default: all",
    )
    parser.add_argument(
        "--root", "--container-root", type=Path, metavar="DIR",
        help="folder of the images; default: $AFRAME_CONTAINER_ROOT",
    )  # fmt: skip
    parser.add_argument(
        "--base", help="image to start from, with Python 3.11 or newer and pip: the path of one, "
        "or its name in a registry; default: that of the definition files, python:3.11-slim"
    )  # fmt: skip
    parser.add_argument(
        "--bootstrap", help="where the base is, such as docker, oras or localimage; default: "
        "localimage for a path, else docker"
    )  # fmt: skip
    parser.add_argument(
        "--max-workers", type=_count, default=0, help="builds side by side; default: one a core"
    )
    parser.add_argument("--force", action="store_true", help="build what is current, too")
    return parser


def _stage(name: str) -> str:
    if name not in STAGES:
        known = ", ".join(map(repr, STAGES))
        raise argparse.ArgumentTypeError(f"invalid choice: {name!r} (choose from {known})")
    return name


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of builds")
    return int(text)


def _asked_for(asked: argparse.Namespace) -> Build:
    """Settle what the command line leaves open.

    Raises:
        AframeError: If no folder is named or it cannot be made, the base is missing, or there is
            no Apptainer or checkout to build with.
    """
    named = asked.root or os.environ.get("AFRAME_CONTAINER_ROOT")
    if not named:
        raise AframeError(
            "it is not known where the images go",
            found="neither --root nor AFRAME_CONTAINER_ROOT",
            wanted_by="build-containers",
            fix="build-containers --root DIR, or export AFRAME_CONTAINER_ROOT=DIR, which tasks "
            "then use too",
        )
    if shutil.which("apptainer") is None:
        raise AframeError(
            "Apptainer is not installed",
            found="no apptainer on PATH",
            wanted_by="build-containers",
            fix="install Apptainer, or build on another machine and copy the images",
        )
    projects = checkout("build-containers") / "projects"
    base, bootstrap = _base(asked.base, asked.bootstrap)
    return Build(_made(Path(named)), projects, base, bootstrap, asked.force)


def _made(root: Path) -> Path:
    root = root.expanduser().absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / ".data.lock").open("w").close()
    except OSError as error:
        raise AframeError(
            "the folder of images cannot be written",
            found=str(error),
            wanted_by=f"build-containers --root {root}",
            fix="name another, or correct its permissions",
        ) from error
    return root


def _base(base: str | None, bootstrap: str | None) -> tuple[str | None, str | None]:
    """Name of the base, and where it is."""
    if base is None:
        return None, bootstrap
    scheme, slashes, name = base.partition("://")
    if slashes:
        return name, bootstrap or scheme
    path = Path(base).expanduser().absolute()
    if path.exists():
        return str(path), bootstrap or "localimage"
    if bootstrap == "localimage" or path.suffix == ".sif":
        raise AframeError(
            "the base image is missing",
            found=f"{path} does not exist",
            wanted_by=f"build-containers --base {base}",
            fix="correct the path, or leave --base out to start from the official Python image",
        )
    return base, bootstrap or "docker"


if __name__ == "__main__":
    sys.exit(main())
