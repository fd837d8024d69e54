"""A Triton Inference Server: found, started, watched, started anew, ended."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from aframe.errors import AframeError
from aframe_infer import keeper
from aframe_infer.client import inferences, is_ready
from aframe_infer.settings import COMMAND, InferSettings

log = logging.getLogger(__name__)

LOCAL = "local"
#: Folder of the server's environment, beside that of this program.
ENVIRONMENT = ".venv-server"
#: How long a server may take to load its models (s); TensorRT and large networks are slow.
START_SECONDS = 600.0
#: How often a server that died is started anew.
RESTARTS = 3
#: How long a server may be asked nothing, or its search be suspended, before it is ended (s); it
#: comes back when it is asked again.
IDLE_SECONDS = 600.0
#: How long a server may take to end before it is killed (s). It ends at once, but for
#: sequences that are open after an error.
STOP_SECONDS = 5
#: How long a server that could not load a model may take to end by itself (s): one in an image
#: may wait for the processes of its models, which never came up.
FAILED_SECONDS = 20.0
_FAILED = "failed to load"
_POLL_SECONDS = 0.2
#: How long its watch may take to notice that it died (s).
_NOTICE_SECONDS = 3.0
#: How often a server is asked, in so much time, what it did.
_LOOKS = 20
_LAST_LINES = 6
#: What an environment's Python is asked: its packages, its library, its version.
_QUESTION = (
    "import json, sys, sysconfig as s; print(json.dumps([s.get_path('purelib'), "
    "s.get_config_var('LIBDIR'), '{}.{}'.format(*sys.version_info)]))"
)


def is_address(server: str) -> bool:
    """Whether *server* is the ``host:port`` of one that runs already."""
    return re.fullmatch(r"[\w.-]+:\d+|\[[\da-fA-F:]+\]:\d+", server) is not None


@dataclass(frozen=True)
class Program:
    """How a server is started.

    Args:
        words: The command, without its options.
        environment: Variables beyond those of this process.
        backends: Folder of its backends; ``None`` leaves the server's own.
        python_alone: Whether it has no backend but Python's.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    backends: Path | None = None
    python_alone: bool = False


def find(server: str, repository: Path, scratch: Path) -> Program:
    """Find the server's program.

    Args:
        server: ``local`` for the environment that ``make server`` makes or a ``tritonserver``
            on PATH; or the path of such an environment, of a program, or of an image.
        repository: Folder of the models, which an image must see.
        scratch: Folder for its backends.

    Raises:
        AframeError: If it is not there.
    """
    if server == LOCAL:
        beside = Path(sys.prefix).parent / ENVIRONMENT
        on_path = shutil.which("tritonserver")
        if not (beside / "bin" / "python").exists() and on_path:
            return Program((on_path,))
        place = beside
    else:
        place = Path(server).expanduser()
    if (place / "bin" / "python").exists():
        return _in_environment(place, scratch)
    if place.is_file() and place.suffix == ".sif":
        return _in_image(place, repository)
    if place.is_file() and os.access(place, os.X_OK):
        return Program((str(place),))
    raise AframeError(
        "there is no Triton server",
        found=f"neither an environment, nor an image (.sif), nor a program at {place}",
        wanted_by=f"resources.server {server} of {COMMAND}",
        fix=f"`make server` in the checkout makes {ENVIRONMENT}; or give the path of an image, or "
        "the host:port of a server that runs; without `server` the network runs in the process",
    )


def _in_environment(place: Path, scratch: Path) -> Program:
    """The server of the wheel nvidia-pytriton, which has the Python backend alone."""
    asked = [str(place / "bin" / "python"), "-c", _QUESTION]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    packages, library, version = json.loads(done.stdout) if not done.returncode else ("", "", "")
    home = Path(packages, "pytriton", "tritonserver")
    stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not packages or not stub.exists():
        raise AframeError(
            "the server's environment has no server for its Python",
            found=f"{stub} does not exist" if packages else f"{asked[0]} does not run",
            wanted_by=f"resources.server of {COMMAND}",
            fix="make the environment anew: `make server`",
        )
    backend = scratch / "backends" / "python"
    backend.mkdir(parents=True, exist_ok=True)
    files = filter(Path.is_file, (home / "backends" / "python").iterdir())
    for file in (*files, stub):
        (backend / file.name).unlink(missing_ok=True)
        (backend / file.name).symlink_to(file)
    libraries = (str(Path(packages, "nvidia_pytriton.libs")), library)
    environment = {
        "LD_LIBRARY_PATH": _before("LD_LIBRARY_PATH", *libraries),
        # The backend's Python takes its packages from the first python3 on PATH.
        "PATH": _before("PATH", str(place / "bin")),
        "VIRTUAL_ENV": str(place),
    }
    words = (str(home / "bin" / "tritonserver"),)
    return Program(words, environment, backend.parent, python_alone=True)


def _before(name: str, *values: str) -> str:
    return os.pathsep.join([*values, *filter(None, [os.environ.get(name)])])


def _in_image(image: Path, repository: Path) -> Program:
    apptainer = shutil.which("apptainer")
    if apptainer is None:
        raise AframeError(
            "Apptainer is not installed",
            found="no apptainer on PATH",
            wanted_by=f"resources.server {image}",
            fix="install Apptainer, or give an environment (`make server`) or a host:port",
        )
    gpu = ["--nv"] if shutil.which("nvidia-smi") else []
    folder = str(repository.absolute())
    # The Python backend gives its stub permissions anew, which fails in an image that is read only.
    options = ("--writable-tmpfs", *gpu, "--bind", folder)
    return Program((apptainer, "exec", *options, str(image), "tritonserver"))


def refuse_unserved(program: Program, repository: Path) -> None:
    """Refuse models that the program has no backend for.

    Raises:
        AframeError: If a model wants another backend than Python's and there is no other.
    """
    configs = {path.parent.name: path.read_text() for path in repository.glob("*/config.pbtxt")}
    others = [
        f"{name} wants {wanted[1]}"
        for name, text in sorted(configs.items())
        if (wanted := re.search(r'^(?:platform|backend): "(.*)"', text, re.MULTILINE))
        and wanted[1] not in ("python", "ensemble")
    ]
    if program.python_alone and others:
        raise AframeError(
            "the server has no backend for these models",
            found=f"{repository}: {', '.join(others)}",
            wanted_by=f"the server of nvidia-pytriton ({program.words[0]})",
            fix="export with platform PYTHON, or give the image or address of a whole Triton",
        )


def check(settings: InferSettings) -> None:
    """Refuse a server that is to be started and is not there, or cannot run the models.

    Of a model repository that is still to be exported nothing is known.

    Raises:
        AframeError: If so.
    """
    server, repository = settings.resources.server, settings.inputs.model_repository
    if server is not None and not is_address(server):
        with tempfile.TemporaryDirectory() as scratch:
            refuse_unserved(find(server, repository, Path(scratch)), repository)


class Server:
    """A server that runs as long as the ``with`` statement.

    It is started anew at the same address when it dies, :data:`RESTARTS` times, and it dies
    with this process, however that ends. Asked nothing for a while it is ended, and started anew
    by the next client.

    Args:
        program: How it is started.
        repository: Folder of the models.
        log: File of what it says.
        idle_seconds: How long it may be asked nothing (s).
    """

    def __init__(
        self, program: Program, repository: Path, log: Path, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self.program = program
        self.repository = repository
        self.log = log
        self.idle_seconds = idle_seconds
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:{1}".format(*free.getsockname())
        self.deaths = 0
        self._regions = f"aframe-{uuid.uuid4().hex}-"
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch = threading.Thread(target=self._keep_alive, daemon=True)

    def __enter__(self) -> Self:
        """Start it, and wait until it has loaded the models.

        Raises:
            AframeError: If it dies, says that a model does not load, or is not ready in
                :data:`START_SECONDS`.
        """
        self.log.unlink(missing_ok=True)
        try:
            self._process = self._start()
            self._wait_until_ready()
            self._watch.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it and all its processes."""
        self._stop()

    @property
    def has_died(self) -> bool:
        """Whether it is dead and not started anew."""
        return self.deaths > RESTARTS

    def has_just_died(self) -> bool:
        """Whether it is dead and not started anew; a client may have seen it die before this."""
        if not is_ready(self.address):
            self._watch.join(_NOTICE_SECONDS)
        return self.has_died

    def death(self) -> AframeError:
        """Make the error of a server that has died, with the last it said."""
        code = self._process.poll() if self._process else None
        return AframeError(
            "the Triton server has died",
            found=f"{_ended(code)}, {self.deaths} times in this run; its last lines:{self._tail()}",
            wanted_by=f"{' '.join(self.program.words)}, log {self.log}",
            fix="mend what they say (often: a model that does not load, or no memory), then run "
            "the same command: it resumes",
        )

    def _command(self) -> list[str]:
        host, port = self.address.split(":")
        options = {
            "model-repository": self.repository.absolute(),
            "grpc-address": host,
            "grpc-port": port,
            "allow-http": "false",
            "allow-metrics": "false",
            "exit-timeout-secs": 1,
            "backend-config": f"python,shm-region-prefix-name={self._regions}",
        }
        if self.program.backends:
            options["backend-directory"] = self.program.backends.absolute()
        told = (f"--{name}={value}" for name, value in options.items())
        keep = [sys.executable, "-I", keeper.__file__, self._regions, str(self.idle_seconds)]
        return [*keep, *self.program.words, *told]

    def _start(self) -> subprocess.Popen[bytes]:
        self._looked = self._worked = time.monotonic()
        self._answered: int | None = None
        with self.log.open("ab") as said:
            return subprocess.Popen(
                self._command(),
                # TF32 has ten bits, too few for the scores to be those of the process.
                env={**os.environ, "NVIDIA_TF32_OVERRIDE": "0", **self.program.environment},
                # Closed when this process ends, however it does.
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C reaches this process alone, which then ends all of it.
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        begun, failed = time.monotonic(), math.inf
        while not is_ready(self.address):
            if self._process is None or self._process.poll() is not None:
                self.deaths = 1
                raise self.death()
            now = time.monotonic()
            if _FAILED in self._said():
                failed = min(failed, now)
            if now > min(begun + START_SECONDS, failed + FAILED_SECONDS):
                raise AframeError(
                    "the Triton server does not get ready",
                    found=f"after {now - begun:.0f} s; its last lines:{self._tail()}",
                    wanted_by=f"{' '.join(self.program.words)}, log {self.log}",
                    fix="mend what they say, or serve a smaller network",
                )
            time.sleep(_POLL_SECONDS)
        log.info("a Triton server at %s serves %s", self.address, self.repository)

    def _keep_alive(self) -> None:
        """Tell its keeper that this process lives; end it when idle, start it anew when wanted."""
        while not self._stopping.wait(_POLL_SECONDS):
            process = self._process
            if process is None:
                return
            if process.poll() is None and not self._is_idle():
                _say(process)
                continue
            idle = process.returncode in (None, keeper.IDLE)
            self._end(process)
            if not (self._asked() if idle else self._may_restart(process)):
                return
            self._process = self._start()

    def _is_idle(self) -> bool:
        now = time.monotonic()
        if now - self._looked > self.idle_seconds / _LOOKS:
            self._looked, before = now, self._answered
            self._answered = inferences(self.address)
            if self._answered != before:
                self._worked = now
        return now - self._worked > self.idle_seconds

    def _may_restart(self, process: subprocess.Popen[bytes]) -> bool:
        self.deaths += 1
        log.warning("the Triton server died (%s)", _ended(process.returncode))
        if not self.has_died:
            log.warning("starting it anew, %d of %d times", self.deaths, RESTARTS)
        return not self.has_died

    def _asked(self) -> bool:
        """Wait at an idle server's address until it is wanted; false if the run ends before."""
        log.info("the Triton server was idle for %g s and has ended", self.idle_seconds)
        host, port = self.address.split(":")
        told = False
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                with socket.create_server((host, int(port))) as place:
                    place.settimeout(_POLL_SECONDS)
                    while not self._stopping.is_set():
                        with contextlib.suppress(TimeoutError):
                            place.accept()[0].close()
                            return True
            except OSError as error:
                # Another program may have it for a moment.
                if not told:
                    log.warning("the address %s is not to be had: %s", self.address, error)
                told = True
        return False

    def _stop(self) -> None:
        self._stopping.set()
        if self._watch.is_alive():
            self._watch.join()
        if self._process is not None:
            self._end(self._process)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End a server and what is left of it: its group holds the processes of its models too."""
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            process.terminate()
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()
        keeper.clear(self._regions)

    def _said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _tail(self) -> str:
        # Tables of what is loaded say nothing of a death.
        lines = self._said().splitlines()
        told = [line for line in lines if line.strip() and line[0] not in "+|"]
        return "".join(f"\n             {line}" for line in told[-_LAST_LINES:])


def _say(process: subprocess.Popen[bytes]) -> None:
    """Tell a server's keeper that its client lives."""
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):
            os.write(process.stdin.fileno(), b".")


def _ended(code: int | None) -> str:
    if code is None:
        return "it runs no more"
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


@contextlib.contextmanager
def running(server: str, repository: Path, log: Path) -> Iterator[tuple[str, Server | None]]:
    """Give the address of a server, started for as long as it is wanted unless it runs already.

    Args:
        server: Where it is, see :func:`find`, or its ``host:port``.
        repository: Folder of the models.
        log: File of what it says.

    Raises:
        AframeError: If it cannot be found or started, or has died in the end.
    """
    if is_address(server):
        yield server, None
        return
    scratch = log.parent / "server"
    scratch.mkdir(exist_ok=True)
    program = find(server, repository, scratch)
    refuse_unserved(program, repository)
    with Server(program, repository, log) as started:
        try:
            yield started.address, started
        except AframeError as error:
            if started.has_just_died():
                raise started.death() from error
            raise
