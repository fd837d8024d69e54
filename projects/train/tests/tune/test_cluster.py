"""What a search gets of the machine, and where Ray writes."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from aframe.errors import AframeError
from aframe_train.tune import cluster as module
from aframe_train.tune.cluster import Room, cluster, divide, short_directory
from aframe_train.tune.settings import TuneResources

SHORT = Path("/tmp")  # noqa: S108 (what is short is asked about)


@pytest.mark.parametrize(
    ("asked", "machines", "room"),
    [
        # The published guide's: each trial has a GPU and six cores, not all GPUs of the machine.
        ({"num_workers": 4, "cpus_per_gpu": 6}, [(32, 4)], Room(6, 1, 4)),
        ({"num_workers": 2, "cpus_per_gpu": 6}, [(32, 4)], Room(6, 1, 2)),
        ({"cpus_per_gpu": 6}, [(32, 8)], Room(6, 1, 5)),
        ({"gpus_per_worker": 2, "cpus_per_gpu": 3}, [(32, 5)], Room(6, 2, 2)),
        ({"cpus_per_gpu": 2}, [(8, 1), (8, 3), (4, 0)], Room(2, 1, 4)),
        ({}, [(2, 0)], Room(1, 0, 2)),
        ({"cpus_per_gpu": 2}, [(8, 0)], Room(2, 0, 4)),
        ({"device": "cpu"}, [(8, 4)], Room(1, 0, 8)),
        ({"gpus_per_worker": 0, "num_workers": 1}, [(8, 4)], Room(1, 0, 1)),
    ],
)
def test_each_trial_gets_what_is_asked_for(asked, machines, room):
    """And as many run side by side as are asked for, or as there is room for."""
    assert divide(TuneResources(**asked), machines) == room


@pytest.mark.parametrize(
    ("asked", "machines", "wanted"),
    [
        ({"num_workers": 3}, [(2, 0)], "3 trials side by side, each with 1 cores and 0 GPUs"),
        ({"cpus_per_gpu": 4}, [(2, 8)], "1 trials side by side, each with 4 cores and 1 GPUs"),
        ({"gpus_per_worker": 2}, [(8, 1), (8, 1)], "each with 2 cores and 2 GPUs"),
        ({"device": "cuda"}, [(8, 0)], "each with 1 cores and 1 GPUs"),
    ],
)
def test_no_room_is_an_error(asked, machines, wanted):
    """Rather than a search that waits for ever, or takes more than it was given."""
    with pytest.raises(AframeError, match="there is no room for the trials") as error:
        divide(TuneResources(**asked), machines)

    assert wanted in error.value.wanted_by


def test_rays_sockets_fit_wherever_its_directory_is(tmp_path):
    """Through a short link; private, and gone at the end."""
    parent = tmp_path / ("deep" * 20)
    with short_directory(parent) as directory:
        name = directory / "session_2015-09-14_09-50-45_391000_4194304" / "sockets"
        name.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as plasma:
            plasma.bind(str(name / "plasma_store"))
        (private,) = parent.iterdir()
        assert directory.samefile(private / "r")
        assert private.stat().st_mode & 0o077 == 0

    assert list(parent.iterdir()) == []
    assert not directory.parent.exists()


def test_a_short_directory_needs_no_link():
    """In the system's place for temporary files, unless told otherwise."""
    with short_directory(SHORT) as directory:
        assert directory.is_dir()
        assert not directory.is_symlink()
        assert directory.parents[1] == SHORT
        assert directory.parent.stat().st_mode & 0o077 == 0

    assert not directory.parent.exists()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "cluster"])
def test_an_endpoint_where_nobody_answers_is_refused(endpoint):
    """The message names the address, and how to start what is missing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = endpoint.format(port=free.getsockname()[1])

        with (
            pytest.raises(AframeError, match="no Ray cluster answers") as error,
            cluster(TuneResources(endpoint=address), 1),
        ):
            pass

    assert error.value.wanted_by == f"endpoint {address}"


@pytest.fixture
def starts(monkeypatch):
    """How Ray's starts end, one after another; gives those that are left."""
    ends = []

    def init(**_):
        end = ends.pop(0)
        if end is not None:
            raise end

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    return ends


LATE = Exception("The current node timed out during startup.")


def start():
    with cluster(TuneResources(device="cpu", num_workers=1), 1) as room:
        return room.cpus, room.gpus, room.trials


def test_a_late_start_leaves_no_process(starts, monkeypatch, tmp_path):
    """The parts of a cluster that did not start in time do not run on beside the next one."""
    left = []

    def late(_temp_dir, **_):
        if left:
            return
        words = [
            sys.executable,
            "-c",
            "import time; time.sleep(600)",
            f"--log_dir={_temp_dir}/logs",
        ]
        left.append(subprocess.Popen(words))
        raise LATE

    monkeypatch.setattr("ray.init", late)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    start()

    assert not psutil.pid_exists(left[0].pid)
    assert other.poll() is None
    other.kill()


def test_a_late_start_is_tried_again(starts):
    """A busy machine is no reason to give up."""
    starts += [LATE, LATE, None]

    assert start() == (1, 0, 1)
    assert starts == []


def test_ray_that_does_not_start_is_an_error(starts):
    """After some attempts, with what Ray said."""
    starts += [LATE] * 10

    with pytest.raises(AframeError, match="Ray does not start") as error:
        start()

    assert error.value.found == str(LATE)


def test_another_fault_of_ray_is_not_hidden(starts):
    """It is raised as it is, at once."""
    starts += [ValueError("no such option"), None]

    with pytest.raises(ValueError, match="no such option"):
        start()

    assert starts == [None]


def test_what_a_killed_search_left_is_removed(tmp_path):
    """But not what another one still uses, nor what is somebody else's."""
    left, other = tmp_path / "aframe-ray-left", tmp_path / "ray-of-somebody"
    for each in (left, other):
        (each / "r").mkdir(parents=True)
        (each / ".lock").touch()

    with short_directory(tmp_path) as one, short_directory(tmp_path) as two:
        assert not left.exists()
        assert other.exists()
        assert one.exists()
        assert two.exists()


def test_a_directory_that_another_search_took_for_left_is_made_anew(tmp_path, monkeypatch):
    """It was removed after it was made and before it was locked."""
    real, begun = module.fcntl, []

    def flock(lock, how):
        if not begun:
            begun.append(Path(lock.name).parent)
            shutil.rmtree(begun[0])
        real.flock(lock, how)

    told = {"flock": flock, "LOCK_EX": real.LOCK_EX, "LOCK_NB": real.LOCK_NB}
    monkeypatch.setattr(module, "fcntl", SimpleNamespace(**told))

    with short_directory(tmp_path) as one, short_directory(tmp_path) as two:
        assert begun[0] not in (one.parent, two.parent)
        assert one.exists()
        assert two.exists()
