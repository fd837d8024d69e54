"""The seam: one stage's command with one settings file, in an image or not."""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aframe import images
from aframe.artifacts.record import write_text
from aframe.artifacts.remote import Remote, address, cache_directory, here
from aframe.checkout import CODE_IN_IMAGE, checkout, commit
from aframe.errors import AframeError
from aframe.failures import (
    KEPT,
    StepFailedError,
    failure_of,
    failure_path,
    how_it_ended,
    indented,
)
from aframe.images import bind
from aframe.streams import lines_of

#: Images whose age was told in this process: a step is planned several times.
_told: set[Path] = set()
#: Where sites keep frames, which nothing names before GWDataFind is asked.
_FRAMES = ("/archive", "/ceph", "/cvmfs", "/gpfs", "/hadoop", "/hdfs")


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

        An image of other code than is at hand is no error, but said.

        Raises:
            AframeError: If the image, Apptainer, the stage's command or, with *dev*, the
                checkout is missing.
        """
        if self.image is None:
            self._installed()
            return
        self._refuse_missing_image(self.image)
        if self.dev:
            checkout("--dev")
        else:
            _tell_outdated(self.name, self.image)

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
        return self.words([verb, "--config", str(settings_file)], folders)

    def words(self, words: Sequence[str], folders: Sequence[Path]) -> list[str]:
        """The words that run the stage's command with *words*, which sees *folders*.

        Raises:
            AframeError: If the image, Apptainer, the stage's command or, with *dev*, the
                checkout is missing.
        """
        if self.image is None:
            return [self._installed(), *words]
        self.refuse_missing()
        seen = {*folders, *filter(None, [self._temporary])}
        return images.words(
            [self.program, *words],
            self.image,
            home=self._home,
            directory=_working_directory(seen),
            binds=[*map(bind, _outermost(seen)), *images.named_by(self._private), *self._code],
            environment=self._shown(cache_directory() in seen),
            gpus=bool(self._visible_gpus),
        )

    @property
    def _code(self) -> list[str]:
        return [bind(checkout("--dev"), CODE_IN_IMAGE)] if self.dev else []

    @property
    def _home(self) -> Path:
        """Home in the image, where libraries put caches: nothing of the user's own is in it."""
        return (self.scratch or cache_directory()) / "home"

    @property
    def _temporary(self) -> Path | None:
        named = os.environ.get("TMPDIR")
        return self.scratch or (Path(named) if named else None)

    @property
    def _visible_gpus(self) -> str:
        return self.gpus or os.environ.get("CUDA_VISIBLE_DEVICES", "")

    def _shown(self, cache: bool) -> dict[str, str]:  # noqa: FBT001 (of this module alone)
        """Variables of the stage that are no secret."""
        mine = {
            "CUDA_VISIBLE_DEVICES": self._visible_gpus,
            "TMPDIR": str(self._temporary or ""),
            "AFRAME_CACHE_DIR": str(cache_directory()) if cache else "",
            "AFRAME_COMMIT": commit() if self.dev else "",
        }
        return images.shown(os.environ) | {name: value for name, value in mine.items() if value}

    @property
    def _private(self) -> dict[str, str]:
        """Variables with credentials, or that tell where they are; W&B is the training's alone."""
        found = images.private(os.environ)
        others = ("WANDB_", "NETRC") if self.name != "train" else ()
        return {name: value for name, value in found.items() if not name.startswith(others)}

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
            raise AframeError(
                f"no container image for stage {self.name!r}",
                found=f"{image} does not exist",
                wanted_by="--image, --container-root or AFRAME_CONTAINER_ROOT",
                fix=images.how_to_build(self.name, image),
            )
        if shutil.which("apptainer") is None:
            raise AframeError(
                "Apptainer is not installed",
                found="no apptainer on PATH",
                wanted_by=f"the image {image}",
                fix="install Apptainer, or run without --image and --container-root",
            )
        if (why := images.refusal(image)) is not None:
            raise AframeError(
                f"the container image for stage {self.name!r} cannot be opened",
                found=f"{image}: {why}",
                wanted_by="--image, --container-root or AFRAME_CONTAINER_ROOT",
                fix=self._built_anew(image),
            )

    def _built_anew(self, image: Path) -> str:
        how = images.how_to_build(self.name, image)
        forced = f"{how} --force" if how.startswith("build-containers") else how
        return f"if the image is cut or broken: {forced}"

    @contextlib.contextmanager
    def surroundings(self) -> Iterator[dict[str, Any]]:
        """Make what the command runs in; gives what :mod:`subprocess` takes: environment, files.

        Raises:
            AframeError: If the folder for temporary files, or the home of an image, cannot be made.
        """
        mine = dict(os.environ)
        self._make(self.scratch, *([self._home] if self.image else []))
        if self.image is None:
            if self.scratch is not None:
                mine["TMPDIR"] = str(self.scratch)
            if self._visible_gpus:
                mine["CUDA_VISIBLE_DEVICES"] = self._visible_gpus
            yield {"env": mine}
            return
        with images.environment_file(self._private) as file:
            if file is None:
                yield {"env": mine}
            else:
                # Not an option, so that the command, which is shown, can be pasted into a shell.
                mine["APPTAINER_ENV_FILE"] = f"/proc/self/fd/{file}"
                yield {"env": mine, "pass_fds": (file,)}

    def refuse_wrong(self, steps: Sequence[Step]) -> None:
        """Have the stage look through *steps* and refuse what it knows to be wrong; run none.

        Raises:
            AframeError: If it refuses one, or cannot look.
        """
        folders = {folder for step in steps for folder in folders_of(step.settings)}
        command = self.words(["check"], sorted(folders))
        with self.surroundings() as surroundings:
            done = subprocess.run(
                command,
                **surroundings,
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
            cut = self.image and images.refused(done.returncode, done.stderr)
            raise AframeError(
                f"stage {self.name!r} cannot look through its steps",
                found=f"{how_it_ended(done.returncode)}; its last lines:"
                f"{indented(done.stderr.splitlines())}",
                wanted_by=shlex.join(command),
                fix=self._built_anew(self.image)
                if self.image and cut
                else "mend what they say; the command should come with this version of aframe",
            ) from error
        raise AframeError(**{**told, "wanted_by": f"{told['wanted_by']}, for {label}"})

    def run(
        self,
        verb: str,
        settings: Mapping[str, Any],
        *,
        label: str,
        remake: bool,
        accepted: Sequence[int] = (0,),
    ) -> int:
        """Run *verb* with *settings*, its output on the screen and in ``logs/<verb>.log``.

        Args:
            verb: What the stage is to do.
            settings: The whole settings file.
            label: Name that each line on the screen begins with.
            remake: Whether to replace an output that was made with other settings.
            accepted: Exit statuses that are no failure.

        Returns:
            The exit status.

        Raises:
            AframeError: If the scratch folder cannot be made, or if the command fails;
                ``logs/<verb>.failure.json`` has the particulars.
        """
        logs = here(settings["output"]) / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        settings_file = logs / f"{verb}.settings.json"
        write_text(settings_file, json.dumps(settings, indent=2) + "\n")
        command = self.command(verb, settings_file, folders_of(settings))
        if remake:
            command.append("--remake")
        sys.stderr.write(f"{label} | {shlex.join(command)}\n")
        started, began = time.time(), time.monotonic()
        code, last = self._stream(command, logs / f"{verb}.log", label)
        _send_log(settings["output"], verb)
        if code not in accepted:
            words, log = shlex.join(command), logs / f"{verb}.log"
            branch = _failed_branch(logs / f"{verb}.status.json", started)
            failure = failure_of(label, code, last, command=words, log=log, branch=branch)
            failure.write(failure_path(here(settings["output"]), verb))
            raise StepFailedError(failure)
        if code == 0:
            sys.stderr.write(f"{label} | done in {time.monotonic() - began:.1f} s\n")
        (logs / f"{verb}.failure.json").unlink(missing_ok=True)
        return code

    def _make(self, *folders: Path | None) -> None:
        try:
            for folder in filter(None, folders):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AframeError(
                "the folder for temporary files cannot be made",
                found=str(error),
                wanted_by=f"AFRAME_TMPDIR for stage {self.name!r}"
                if self.scratch
                else f"the home of stage {self.name!r} in its image",
                fix="name a folder that can be written, or unset AFRAME_TMPDIR"
                if self.scratch
                else "name one that can be written with AFRAME_TMPDIR",
            ) from error

    def _stream(self, command: list[str], log: Path, label: str) -> tuple[int, list[str]]:
        last: deque[str] = deque(maxlen=KEPT)
        with (
            log.open("w") as file,
            self.surroundings() as surroundings,
            subprocess.Popen(
                command,
                **surroundings,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            file.write(f"$ {shlex.join(command)}\n")
            for line in lines_of(process):
                file.write(line)
                file.flush()
                last.append(line.rstrip())
                sys.stderr.write(f"{label} | {line}")
        return process.returncode, list(last)


def _send_log(output: str, verb: str) -> None:
    """Keep a step's log beside its output on S3, for other machines; no step fails for that."""
    at = address(output)
    if at is None:
        return
    name = f"logs/{verb}.log"
    try:
        Remote(at, looking=True).upload(here(output) / name, name)
    except AframeError as error:
        kept = here(output) / name
        sys.stderr.write(f"the log could not be sent to {at} ({error.problem}): it is {kept}\n")


def _failed_branch(status: Path, since: float) -> str | None:
    """The branch that a status names, which a run that began *since* left as its end."""
    try:
        said = json.loads(status.read_text())
        branch = said["branch"] if said["state"] == "failed" and said["started"] >= since else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if branch is None else str(branch)


def folders_of(settings: Mapping[str, Any]) -> list[Path]:
    """Folders of this machine that an image must see: of the output, each input, their records."""
    source = settings.get("source") or {}
    files = [
        *(settings.get("inputs") or {}).values(),
        *settings.get("resources", {}).get("records", ()),
        *(
            settings.get("resources", {}).get(name)
            for name in ("storage_dir", "temp_dir", "server", "deal")
        ),
        *source.get("psds", {}).values(),
        *(_without_pattern(path) for path in source.get("paths", ())),
    ]
    paths = {Path(file) for file in files if file and not address(file)}
    absolute = [path.absolute() for path in paths if path.is_absolute() or _exists(path)]
    # What is not here, such as the image's own configuration, the image has itself.
    folders = {here(settings["output"]).absolute(), *(path.parent for path in absolute)}
    if any(address(file) for file in (*files, settings["output"]) if file):
        folders.add(cache_directory())
    if source.get("kind") == "datafind" and source.get("urltype", "file") == "file":
        folders.update(map(Path, _FRAMES))
    return sorted(folder for folder in folders if folder.is_dir())


def _without_pattern(path: str) -> Path:
    """The part of *path* before its first wildcard, and one name after it."""
    return Path(*Path(path).parts[: len(before_pattern(path).parts) + 1])


def before_pattern(path: str) -> Path:
    """The folders of *path* before its first wildcard.

    Example:
        >>> str(before_pattern("/data/O3/*/H-*.gwf"))
        '/data/O3'
    """
    return Path(*itertools.takewhile(lambda part: not set(part) & set("*?["), Path(path).parts))


def _exists(relative: Path) -> bool:
    """Whether a relative path, which may end in a pattern, is one: it may be a name."""
    return bool(glob.glob(str(relative)))  # noqa: PTH207 (that of a path refuses ".")


def _working_directory(folders: Collection[Path]) -> Path | None:
    """The present folder, where the image sees some of it: relative paths start there."""
    present = Path.cwd()
    return present if any(folder.is_relative_to(present) for folder in folders) else None


def _outermost(folders: Collection[Path]) -> list[Path]:
    """Those of *folders* that lie in no other."""
    return sorted(each for each in folders if not any(up in folders for up in each.parents))


def _tell_outdated(stage: str, image: Path) -> None:
    """Warn, once in a process, of an image of other code than is at hand."""
    if image not in _told:
        _told.add(image)
        if difference := images.outdated(stage, image):
            sys.stderr.write(
                f"WARNING: {difference}; `{images.how_to_build(stage, image)}` builds it anew, "
                "--dev runs the code at hand in it\n"
            )
