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


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Have a command of HTCondor say something and end with a status."""

    def make(name, said, status=0):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        (tmp_path / "said").write_text(said)
        stream = ">&2" if status else ""
        path.write_text(f"#!/bin/sh\ncat {tmp_path}/said {stream}\nexit {status}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(path.parent), prepend=":")
        return Commands()

    return make


UNCOMMITTED = "ERROR: Failed to commit job submission into the queue.\n"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (f"{UNCOMMITTED}ERROR: Invalid or undefined accounting_group: 'a.b'", AframeError),
        (f"{UNCOMMITTED}ERROR: Number of submitted jobs would exceed MAX_JOBS", AframeError),
        ("ERROR: on Line 3 of submit file: no such attribute", AframeError),
        (f"Submitting job(s)..\n{UNCOMMITTED}", SchedulerUnreachableError),
        (f"{UNCOMMITTED}ERROR: Failed to connect to queue manager", SchedulerUnreachableError),
        ("ERROR: Can't find address of local schedd", SchedulerUnreachableError),
    ],
)
def test_a_refusal_is_told_from_a_scheduler_that_is_gone(command, tmp_path, said, kind):
    """It would be refused again; who does not answer may do so later."""
    with pytest.raises(kind) as error:
        command("condor_submit", said, 1).submit(tmp_path / "jobs.sub")

    assert said.split()[-1] in str(error.value)


def test_what_else_is_said_beside_the_cluster(command, tmp_path):
    """A warning of the pool's is no answer."""
    queue = command("condor_submit", "WARNING: 2 nodes will be down\n17.0 - 17.3\n")

    assert queue.submit(tmp_path / "jobs.sub") == 17


def test_an_answer_that_cannot_be_read_is_none(command, tmp_path):
    """What was asked for may be there: the next look tells."""
    with pytest.raises(SchedulerUnreachableError, match="told of no jobs: fine"):
        command("condor_submit", "fine").submit(tmp_path / "jobs.sub")
    with pytest.raises(SchedulerUnreachableError, match="an answer is cut or no JSON"):
        command("condor_q", '[{"ClusterId": 1').query("true")
    with pytest.raises(SchedulerUnreachableError, match="an answer is cut or no JSON"):
        command("condor_history", "<html>").history("true", 1)
