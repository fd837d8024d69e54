"""A real server is found, started and ended; what cannot be served is refused first."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_infer import keeper
from aframe_infer import server as module
from aframe_infer.cli import VERBS
from aframe_infer.client import is_ready
from aframe_infer.server import Program, Server, check, find, is_address, refuse_unserved, running
from aframe_infer.settings import InferResources

#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 600


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("triton.site.edu:8001", True),
        ("127.0.0.1:1", True),
        ("[::1]:8001", True),
        ("local", False),
        ("/opt/x:1/y", False),
        ("host", False),
    ],
)
def test_an_address_is_told_from_a_path(text, expected):
    """By its port."""
    assert is_address(text) is expected


def test_a_running_server_is_left_alone(tmp_path):
    """It is neither looked for nor started nor ended."""
    with running("host:8001", tmp_path, tmp_path / "log") as (address, server):
        assert (address, server) == ("host:8001", None)


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The folder beside this program's environment, with no server on PATH."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def _program(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("server", ["local", "/nowhere/server"])
def test_refuses_a_server_that_is_not_there(beside, server):
    """And says how to make one."""
    with pytest.raises(AframeError, match=r"no Triton server(.|\n)*`make server`"):
        find(server, beside, beside)


def test_a_local_server_may_be_on_path(beside):
    """Where there is no environment of its own."""
    there = _program(beside / "bin" / "tritonserver")

    assert find("local", beside, beside) == Program((str(there),))
    assert find(str(there), beside, beside) == Program((str(there),))


def test_the_environment_beside_comes_first(beside, server_environment):
    """That which `make server` makes."""
    _program(beside / "bin" / "tritonserver")
    (beside / ".venv-server").symlink_to(server_environment)

    found = find("local", beside, beside / "scratch")

    assert found.python_alone
    assert {path.name for path in (found.backends / "python").iterdir()} == {
        "libtriton_python.so",
        "triton_python_backend_stub",
        "triton_python_backend_utils.py",
    }
    assert all(path.exists() for path in (found.backends / "python").iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [("#!/bin/false\n", "does not run"), (f'#!/bin/sh\nexec {sys.executable} "$@"\n', "stub")],
)
def test_refuses_an_environment_without_a_server(tmp_path, text, message):
    """Or one whose Python is gone."""
    _program(tmp_path / "bin" / "python", text)

    with pytest.raises(AframeError, match=rf"no server for its Python\n +found .*{message}"):
        find(str(tmp_path), tmp_path, tmp_path)


def test_an_image_sees_the_models(beside):
    """Apptainer binds their folder."""
    image = _program(beside / "triton.sif")
    with pytest.raises(AframeError, match="Apptainer is not installed"):
        find(str(image), beside / "model_repo", beside)

    apptainer = str(_program(beside / "bin" / "apptainer"))

    found = find(str(image), beside / "model_repo", beside)
    options = ("--writable-tmpfs", "--bind", str(beside / "model_repo"))
    wanted = (apptainer, "exec", *options, str(image), "tritonserver")
    assert found == Program(wanted)
    _program(beside / "bin" / "nvidia-smi")
    assert "--nv" in find(str(image), beside / "model_repo", beside).words


def test_refuses_models_without_a_backend(served_repository, tmp_path):
    """The wheel's server runs Python alone; any other is asked when it loads."""
    shutil.copytree(served_repository, tmp_path / "repo")
    alone = Program(("tritonserver",), python_alone=True)
    refuse_unserved(alone, tmp_path / "repo")
    config = tmp_path / "repo" / "aframe" / "config.pbtxt"
    text = config.read_text().replace('backend: "python"', 'platform: "pytorch_libtorch"')
    config.write_text(text)

    refuse_unserved(Program(("tritonserver",)), tmp_path / "repo")
    with pytest.raises(AframeError, match=r"aframe wants pytorch_libtorch(.|\n)*platform PYTHON"):
        refuse_unserved(alone, tmp_path / "repo")


@pytest.mark.parametrize("server", [None, "host:8001"])
def test_nothing_is_looked_for_that_is_not_started(changed, tmp_path, server):
    """This process needs none, and who gives an address has one."""
    missing = {"model_repository": tmp_path / "missing"}

    check(changed(inputs=missing, resources=InferResources(server=server)))


def test_a_missing_server_is_known_before_any_work(changed, served_repository, tmp_path):
    """Also when a run is planned, before the models are there."""
    resources = InferResources(server=str(tmp_path / "none"))
    settings = changed(resources=resources)
    verb = VERBS[0]

    for look in (verb.check, lambda each: verb.run(each, Draft(tmp_path / "draft"))):
        with pytest.raises(AframeError, match="there is no Triton server"):
            look(settings)

    assert not (tmp_path / "draft").exists()


def test_models_of_another_backend_are_known_before_any_work(
    changed, server_environment, served_repository, tmp_path
):
    """Where the models are there; of those to come nothing is known."""
    resources = InferResources(server=str(server_environment))
    shutil.copytree(served_repository, tmp_path / "repo")
    config = tmp_path / "repo" / "preprocessor" / "config.pbtxt"
    config.write_text('platform: "pytorch_libtorch"')

    check(changed(resources=resources, inputs={"model_repository": tmp_path / "later"}))
    with pytest.raises(AframeError, match="preprocessor wants pytorch_libtorch"):
        check(changed(resources=resources, inputs={"model_repository": tmp_path / "repo"}))


def test_refuses_models_that_do_not_load(program, served_repository, tmp_path, group_of):
    """With what the server says of them; nothing of it is left."""
    shutil.copytree(served_repository, tmp_path / "repo")
    (tmp_path / "repo/aframe/1/model.onnx").write_bytes(b"half")
    server = Server(program, tmp_path / "repo", tmp_path / "log")

    with pytest.raises(AframeError, match=r"server has died(.|\n)*exit status 1(.|\n)*last lines"):
        server.__enter__()

    assert "INVALID_PROTOBUF" in (tmp_path / "log").read_text()
    assert _left(group_of, server._process.pid) == {}


@pytest.mark.parametrize(
    ("limit", "words"),
    [("START_SECONDS", "loading"), ("FAILED_SECONDS", "failed to load 'aframe' version 1")],
)
def test_refuses_a_server_that_takes_too_long(limit, words, tmp_path, monkeypatch, group_of):
    """Or that says that a model does not load, and neither gets ready nor ends; it is ended."""
    monkeypatch.setattr(module, limit, 0.0)
    slow = _program(tmp_path / "slow", f'#!/bin/sh\necho "{words}"; sleep 3600\n')
    server = Server(Program((str(slow),)), tmp_path, tmp_path / "log")

    with pytest.raises(AframeError, match=r"does not get ready\n +found +after \d+ s"):
        server.__enter__()

    assert _left(group_of, server._process.pid) == {}


def test_a_server_of_a_suspended_search_comes_back_with_it(tmp_path, monkeypatch):
    """Its keeper, to which nothing was said, has ended it: that is no death."""
    monkeypatch.setattr(module, "is_ready", lambda _: True)
    monkeypatch.setattr(module, "_say", lambda _: None)
    monkeypatch.setattr(Server, "_is_idle", lambda _: False)

    sleep = Program(("sh", "-c", "sleep 60"))
    with Server(sleep, tmp_path, tmp_path / "log", idle_seconds=0.2) as server:
        first = server._process
        assert first.wait(LONGEST) == keeper.IDLE
        end = time.monotonic() + LONGEST
        while server._process is first:
            assert time.monotonic() < end, "it did not come back"
            # Nobody listens yet, or no longer, or it ends while this waits in its line.
            with contextlib.suppress(ConnectionError):
                host, port = server.address.split(":")
                socket.create_connection((host, int(port))).close()

        assert server.deaths == 0


def test_nothing_is_left_of_a_server_that_ended(program, served_repository, tmp_path, group_of):
    """Not the processes of its models either."""
    with Server(program, served_repository, tmp_path / "log") as server:
        # The server, its keeper, and one process for each of three models.
        assert len(group_of.members(server._process.pid)) >= 5
        regions = f"{server._regions}*"
        assert list(keeper.SHARED_MEMORY.glob(regions))

    assert list(keeper.SHARED_MEMORY.glob(regions)) == []
    assert _left(group_of, server._process.pid) == {}


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_dies_with_its_client(
    by, server_environment, served_repository, tmp_path, group_of
):
    """However the client ends."""
    code = (
        "import os, sys; from pathlib import Path; from aframe_infer.server import running\n"
        "with running(*sys.argv[1:2], *map(Path, sys.argv[2:4])) as (address, server):\n"
        "    print(address, server._process.pid, server._regions, flush=True)\n"
        "    os.kill(os.getpid(), int(sys.argv.pop()))\n"
    )
    words = [str(server_environment), str(served_repository), str(tmp_path / "log"), str(int(by))]

    done = subprocess.run(
        [sys.executable, "-c", code, *words], check=False, capture_output=True, text=True
    )

    address, process, regions = done.stdout.split()
    assert done.returncode == -by
    assert _left(group_of, int(process)) == {}
    assert not is_ready(address)
    assert list(keeper.SHARED_MEMORY.glob(f"{regions}*")) == []


def _left(group_of, group):
    """Processes of a group that have not ended some seconds later, and its shared memory."""
    deadline = time.monotonic() + 10
    while (found := group_of.members(group)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
