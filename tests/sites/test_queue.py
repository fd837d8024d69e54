"""By which way HTCondor is asked on this machine."""

import importlib.util

import pytest

from aframe.errors import AframeError
from aframe.sites import queue
from aframe.sites.queue import Bindings, Commands, SchedulerUnreachableError


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make this a machine with or without bindings and commands, of root or another user."""

    def make(*, bindings, commands, user=1000):
        monkeypatch.setenv("CONDOR_CONFIG", str(tmp_path / "condor_config"))
        find = importlib.util.find_spec
        monkeypatch.setattr(
            queue.importlib.util,
            "find_spec",
            lambda name: bindings if name == "htcondor2" else find(name),
        )
        monkeypatch.setattr(queue.os, "geteuid", lambda: user)
        monkeypatch.setattr(
            queue.shutil, "which", lambda _: "/bin/condor_submit" if commands else None
        )

    return make


@pytest.mark.parametrize(
    ("bindings", "commands", "user", "kind"),
    [
        (True, True, 1000, Bindings),
        (True, False, 1000, Bindings),
        (True, True, 0, Commands),
        (False, True, 1000, Commands),
    ],
)
def test_bindings_come_first_but_for_root(machine, bindings, commands, user, kind):
    """HTCondor runs nothing that they submit for root."""
    machine(bindings=bindings, commands=commands, user=user)

    queue.refuse_missing()

    assert type(queue.open_queue()) is kind


@pytest.mark.parametrize(("bindings", "user"), [(False, 1000), (True, 0)])
def test_what_could_not_submit_is_refused_at_planning(machine, bindings, user):
    """Also where there are bindings that root cannot use."""
    machine(bindings=bindings, commands=False, user=user)

    for refuse in (queue.refuse_missing, queue.open_queue):
        with pytest.raises(AframeError, match="HTCondor is not installed"):
            refuse()


def test_a_command_that_hangs_or_says_nothing_is_no_answer(monkeypatch):
    """It is asked again later."""
    monkeypatch.setattr(queue, "_PATIENCE", 0.1)

    with pytest.raises(SchedulerUnreachableError, match=r"sleep did not end in 0\.1 s"):
        queue._run("sleep", "60")
    with pytest.raises(SchedulerUnreachableError, match="false failed"):
        queue._run("false")
    with pytest.raises(AframeError, match="HTCondor is not installed"):
        queue._run("condor_that_there_is_not")
