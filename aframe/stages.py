"""The seam: one stage's command with one settings file, in an image or not."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aframe.artifacts.record import write_text
from aframe.artifacts.remote import address, cache_directory, here
from aframe.errors import AframeError
from aframe.failures import (
    KEPT,
    StepFailedError,
    failure_of,
    failure_path,
    how_it_ended,
    indented,
)

#: Where the checkout lies in an image; ``--dev`` binds the one at hand over it.
CODE_IN_IMAGE = "/opt/aframe"


class Step(NamedTuple):
    """What a stage is to do: who asks, the verb, and the whole settings file."""

    label: str
    verb: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage's program and the surroundings it runs in.

    Args:
        name: The stage, such as ``data``.
        image: Its Apptainer image, or ``None`` to run in the environment at hand.
        gpus: Indices of the GPUs it may use, comma-separated; blank leaves the environment's.
        dev: Whether to bind the checkout at hand over the image's code.
        scratch: Folder for its temporary files, made when needed; ``None`` leaves the system's.
    """

    name: str
    image: Path | None = None
    gpus: str = ""
    dev: bool = False
    scratch: Path | None = None

    @property
    def program(self) -> str:
        """Name of the stage's command."""
        return f"aframe-{self.name}"

    def refuse_missing(self) -> None:
        """Refuse to plan what this machine cannot run, maybe hours before its turn comes.

        Raises:
            AframeError: If the image, Apptainer, the stage's command or, with *dev*, the
                checkout is missing.
        """
        if self.image is None:
            self._installed()
            return
        self._refuse_missing_image(self.image)
        if self.dev:
            _checkout()

    def command(self, verb: str, settings_file: Path, folders: Sequence[Path]) -> list[str]:
        """The words to run; what the log shows can be pasted into a shell.

        Args:
            verb: What the stage is to do.
            settings_file: What it is told.
            folders: Folders that it must see, in an image or not.

        Raises:
            AframeError: If the image, Apptainer, the stage's command or, with *dev*, the
                checkout is missing.
        """
        return self._command([verb, "--config", str(settings_file)], folders)

    def _command(self, words: list[str], folders: Sequence[Path]) -> list[str]:
        if self.image is None:
            return [self._installed(), *words]
        self.refuse_missing()
        options = ["--nv"] if self._visible_gpus else []
        binds = [str(folder) for folder in folders]
        if self.dev:
            binds.append(f"{_checkout()}:{CODE_IN_IMAGE}")
        options += [word for bind in binds for word in ("--bind", bind)]
        return ["apptainer", "run", *options, str(self.image), self.program, *words]

    @property
    def _visible_gpus(self) -> str:
        return self.gpus or os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def _installed(self) -> str:
        beside = Path(sys.executable).parent
        found = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}{os.pathsep}{beside}")
        if found is None:
            raise AframeError(
                f"the command of stage {self.name!r} is not installed",
                found=f"no {self.program} on PATH nor beside {sys.executable}",
                wanted_by=f"stage {self.name!r} without an image",
                fix=f"pip install . ./projects/{self.name}, or give --image or --container-root",
            )
        return found

    def _refuse_missing_image(self, image: Path) -> None:
        if not image.exists():
            build = ["apptainer", "build", str(image), f"projects/{self.name}/apptainer.def"]
            raise AframeError(
                f"no container image for stage {self.name!r}",
                found=f"{image} does not exist",
                wanted_by="--image, --container-root or AFRAME_CONTAINER_ROOT",
                fix=f"in the root of the checkout: {shlex.join(build)}",
            )
        if shutil.which("apptainer") is None:
            raise AframeError(
                "Apptainer is not installed",
                found="no apptainer on PATH",
                wanted_by=f"the image {image}",
                fix="install Apptainer, or run without --image and --container-root",
            )

    def environment(self) -> dict[str, str]:
        """The environment of the command: its GPUs, its scratch, the ``AFRAME_*`` variables."""
        mine = dict(os.environ)
        if self.scratch is not None:
            mine["TMPDIR"] = str(self.scratch)
        if self._visible_gpus:
            mine["CUDA_VISIBLE_DEVICES"] = self._visible_gpus
        if self.image is not None:
            forwarded = [name for name in mine if name.startswith("AFRAME_")]
            for name in [*forwarded, "CUDA_VISIBLE_DEVICES", "TMPDIR"]:
                if name in mine:
                    mine[f"APPTAINERENV_{name}"] = mine[name]
        return mine

    def refuse_wrong(self, steps: Sequence[Step]) -> None:
        """Have the stage look through *steps* and refuse what it knows to be wrong; run none.

        Raises:
            AframeError: If it refuses one, or cannot look.
        """
        folders = {folder for step in steps for folder in _folders(step.settings)}
        command = self._command(["check"], [*sorted(folders), *self._make_scratch()])
        done = subprocess.run(
            command,
            env=self.environment(),
            input=json.dumps([(step.verb, step.settings) for step in steps]),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == 0:
            return
        try:
            told = json.loads(done.stdout.splitlines()[-1])
            label = steps[told.pop("step")].label
        except (IndexError, ValueError) as error:
            raise AframeError(
                f"stage {self.name!r} cannot look through its steps",
                found=f"{how_it_ended(done.returncode)}; its last lines:"
                f"{indented(done.stderr.splitlines())}",
                wanted_by=shlex.join(command),
                fix="mend what they say; the command should come with this version of aframe",
            ) from error
        raise AframeError(**{**told, "wanted_by": f"{told['wanted_by']}, for {label}"})

    def run(self, verb: str, settings: Mapping[str, Any], *, label: str, remake: bool) -> None:
        """Run *verb* with *settings*, its output on the screen and in ``logs/<verb>.log``.

        Args:
            verb: What the stage is to do.
            settings: The whole settings file.
            label: Name that each line on the screen begins with.
            remake: Whether to replace an output that was made with other settings.

        Raises:
            AframeError: If the scratch folder cannot be made, or if the command fails;
                ``logs/<verb>.failure.json`` has the particulars.
        """
        logs = here(settings["output"]) / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        settings_file = logs / f"{verb}.settings.json"
        write_text(settings_file, json.dumps(settings, indent=2) + "\n")
        scratch = self._make_scratch()
        command = self.command(verb, settings_file, [*_folders(settings), *scratch])
        if remake:
            command.append("--remake")
        sys.stderr.write(f"{label} | {shlex.join(command)}\n")
        began = time.monotonic()
        code, last = self._stream(command, logs / f"{verb}.log", label)
        if code != 0:
            words, log = shlex.join(command), logs / f"{verb}.log"
            failure = failure_of(label, code, last, command=words, log=log)
            failure.write(failure_path(here(settings["output"]), verb))
            raise StepFailedError(failure)
        sys.stderr.write(f"{label} | done in {time.monotonic() - began:.1f} s\n")
        (logs / f"{verb}.failure.json").unlink(missing_ok=True)

    def _make_scratch(self) -> list[Path]:
        if self.scratch is None:
            return []
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AframeError(
                "the folder for temporary files cannot be made",
                found=str(error),
                wanted_by=f"AFRAME_TMPDIR for stage {self.name!r}",
                fix="name a folder that can be written, or unset AFRAME_TMPDIR",
            ) from error
        return [self.scratch]

    def _stream(self, command: list[str], log: Path, label: str) -> tuple[int, list[str]]:
        last: deque[str] = deque(maxlen=KEPT)
        with (
            log.open("w") as file,
            subprocess.Popen(
                command,
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            file.write(f"$ {shlex.join(command)}\n")
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                last.append(line.rstrip())
                sys.stderr.write(f"{label} | {line}")
        return process.returncode, list(last)


def _folders(settings: Mapping[str, Any]) -> list[Path]:
    """Folders of this machine that an image must see: of the output, each input, their records."""
    source = settings.get("source") or {}
    files = [
        *(settings.get("inputs") or {}).values(),
        *settings.get("resources", {}).get("records", ()),
        *(
            settings.get("resources", {}).get(name)
            for name in ("storage_dir", "temp_dir", "server")
        ),
        *source.get("psds", {}).values(),
        *(_without_pattern(path) for path in source.get("paths", ())),
    ]
    absolute = [Path(file) for file in files if file and Path(file).is_absolute()]
    # What is not here, such as the image's own configuration, the image has itself.
    folders = {here(settings["output"]), *(path.parent for path in absolute)}
    if any(address(file) for file in (*files, settings["output"]) if file):
        folders.add(cache_directory())
    return sorted(folder for folder in folders if folder.is_dir())


def _without_pattern(path: str) -> Path:
    """The part of *path* before its first wildcard, and one name after it."""
    parts = Path(path).parts
    fixed = list(itertools.takewhile(lambda part: not set(part) & set("*?["), parts))
    return Path(*fixed, *parts[len(fixed) : len(fixed) + 1])


def _checkout() -> Path:
    """The checkout that this runs from.

    Raises:
        AframeError: If it is an installation without the projects.
    """
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / "projects").is_dir():
        raise AframeError(
            "there is no checkout to bind over the image's code",
            found=f"{checkout} has no projects",
            wanted_by="--dev",
            fix="pip install -e . in a checkout, or leave out --dev",
        )
    return checkout
