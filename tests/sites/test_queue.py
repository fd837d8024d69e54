"""By which way HTCondor is asked on this machine."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import condor_pool
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
    monkeypatch.setattr(queue, "_PATIENCE", 60.0)
    with pytest.raises(SchedulerUnreachableError, match="false failed"):
        queue._run("false")
    with pytest.raises(AframeError, match="HTCondor is not installed"):
        queue._run("condor_that_there_is_not")


@pytest.fixture
def jobs(tmp_path):
    """A description of jobs."""
    path = tmp_path / "jobs.sub"
    path.write_text("executable = job.sh\n")
    return path


@pytest.fixture
def jobs_with_tokens(jobs):
    """A description of jobs that are to get tokens."""
    jobs.write_text("use_oauth_services = scitokens\n")
    return jobs


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


def test_words_in_an_encoding_of_their_own_are_read(command, tmp_path):
    """Such as why somebody holds a job; by the bindings too, attribute by attribute."""
    commands = command("condor_q", "")
    (tmp_path / "said").write_bytes(b'[{"HoldReason": "f\xfcr Wartung", "JobStatus": 5}]')

    class Ad(dict):
        def get(self, name, default=None):
            value = super().get(name, default)
            return value.decode() if isinstance(value, bytes) else value

    read = {"HoldReason": "f\ufffdr Wartung", "JobStatus": 5}
    assert commands.query("true") == [read]
    assert queue._plain(Ad(HoldReason=b"f\xfcr Wartung", JobStatus=5)) == read


@pytest.mark.parametrize("said", ['{"error": "x"}', '["x"]', "[{", "7"])
def test_what_is_no_list_of_jobs_is_no_answer(command, said):
    """It is asked again later."""
    with pytest.raises(SchedulerUnreachableError, match="an answer is"):
        command("condor_q", said).query("true")


def test_a_submission_ends_with_its_run(jobs, tmp_path):
    """Else its jobs come when the next run has found none, and are done twice."""
    mark = tmp_path / "pid"
    (tmp_path / "condor_submit").write_text(f"#!/bin/sh\necho $$ >{mark}\nexec sleep 600\n")
    (tmp_path / "condor_submit").chmod(0o755)
    code = "import sys; from pathlib import Path; from aframe.sites.queue import Commands\n"
    code += "Commands().submit(Path(sys.argv[1]))"
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    words = [sys.executable, "-c", code, str(jobs)]
    with subprocess.Popen(words, env={**os.environ, "PATH": path}) as process:
        end = time.monotonic() + 300
        while not (mark.exists() and mark.read_text().strip()):
            assert time.monotonic() < end
            time.sleep(0.01)
        process.kill()
    submitting = Path("/proc", mark.read_text().strip(), "stat")

    def runs():
        try:
            return submitting.read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    end = time.monotonic() + 300
    while runs():
        assert time.monotonic() < end
        time.sleep(0.01)


UNCOMMITTED = "ERROR: Failed to commit job submission into the queue.\n"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (f"{UNCOMMITTED}ERROR: Invalid or undefined accounting_group: 'a.b'", AframeError),
        (f"{UNCOMMITTED}ERROR: Number of submitted jobs would exceed MAX_JOBS", AframeError),
        ("ERROR: on Line 3 of submit file: no such attribute", AframeError),
        (f"Submitting job(s)..\n{UNCOMMITTED}", SchedulerUnreachableError),
        ("condor_submit did not end in 120 s", SchedulerUnreachableError),
        (f"{UNCOMMITTED}ERROR: Failed to connect to queue manager", SchedulerUnreachableError),
        ("ERROR: Can't find address of local schedd", SchedulerUnreachableError),
        (
            "Failed to process job credential requests (1): 'CRED: locate(credd) failed!",
            AframeError,
        ),
        ("OAuth error: no client secret for scitokens; BAILING OUT.", AframeError),
    ],
)
@pytest.mark.parametrize("asking", ["", "use_oauth_services = scitokens\n"])
def test_a_refusal_is_told_from_a_scheduler_that_is_gone(command, jobs, said, kind, asking):
    """It would be refused again; who does not answer may do so later."""
    jobs.write_text(asking)
    with pytest.raises(kind) as error:
        command("condor_submit", said, 1).submit(jobs)

    assert said.split()[-1] in str(error.value)


def test_what_asks_to_log_in_is_seen(command, jobs_with_tokens, capsys):
    """As it comes; not the number of the cluster, which is told otherwise."""
    queue = command("condor_submit", "Complete the authentication at:\n  a page\n17.0 - 17.3\n")

    assert queue.submit(jobs_with_tokens) == 17
    assert capsys.readouterr().err == "Complete the authentication at:\n  a page\n"


@pytest.fixture
def login(command, tmp_path):
    """Have `condor_submit` do what a shell is told."""
    commands = command("condor_submit", "")

    def make(script):
        (tmp_path / "bin" / "condor_submit").write_text(f"#!/bin/sh\n{script}\n")
        return commands

    return make


@pytest.fixture
def mark(monkeypatch, tmp_path):
    """A file; patience ends once it is there."""
    path = tmp_path / "mark"

    class Timer(threading.Thread):
        def __init__(self, _seconds, end):
            super().__init__(daemon=True)
            self._end = end

        def run(self):
            while not path.exists():
                time.sleep(0.01)
            self._end()

        def cancel(self):
            """It is too late for that."""

    monkeypatch.setattr(queue.threading, "Timer", Timer)
    return path


def test_a_login_that_nobody_makes(login, jobs_with_tokens, mark):
    """It is waited for a while, with what it started, and what it said is told."""
    # The sleep holds the output open.
    with pytest.raises(AframeError, match=r"jobs cannot get their tokens") as error:
        login(f"echo a page; touch {mark}\nsleep 600").submit(jobs_with_tokens)

    assert error.value.found == "condor_submit did not end in 600 s; it said: a page"
    with pytest.raises(SchedulerUnreachableError, match="condor_submit did not end in 600 s"):
        login("sleep 600").submit(jobs_with_tokens)


def test_a_submission_with_tokens_that_fails(login, jobs_with_tokens, monkeypatch, tmp_path):
    """Without a word, or since there is no such command."""
    commands = login("kill -9 $$")
    with pytest.raises(SchedulerUnreachableError, match="condor_submit failed"):
        commands.submit(jobs_with_tokens)
    (tmp_path / "bin" / "condor_submit").unlink()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(AframeError, match="HTCondor is not installed"):
        commands.submit(jobs_with_tokens)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_login_that_is_interrupted_ends(login, jobs_with_tokens, monkeypatch, tmp_path):
    """With all that it started."""
    pids = tmp_path / "pids"

    class Screen:
        def write(self, _):
            raise KeyboardInterrupt

    monkeypatch.setattr(queue.sys, "stderr", Screen())
    with pytest.raises(KeyboardInterrupt):
        login(f"sleep 600 & echo $! >{pids}\necho a page\nwait").submit(jobs_with_tokens)

    # The kernel takes a moment.
    condor_pool.until(lambda: not _lives(int(pids.read_text())), "the end of what it started")


def test_an_address_is_no_cluster(login, jobs_with_tokens, capsys):
    """It is seen, and what follows is the number."""
    commands = login("echo 127.0.0.1 asks who you are; printf '\\377\\n'; echo 17.0")

    assert commands.submit(jobs_with_tokens) == 17
    assert capsys.readouterr().err.startswith("127.0.0.1 asks who you are\n")


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (None, None),
        ("https://a.org", "whoever submits has to visit https://a.org first"),
        (RuntimeError("Can't find address of credd"), "Can't find address of credd"),
    ],
)
def test_bindings_alone_get_tokens(jobs_with_tokens, monkeypatch, page, found):
    """Where there is no command; that there are none, or who has to log in first, is told."""

    class Description:
        def __init__(self, text):
            assert text == jobs_with_tokens.read_text()
            self.issued = False

        def issue_credentials(self):
            self.issued = True
            if isinstance(page, Exception):
                raise page
            return page

    class Result:
        def cluster(self):
            return 17

    class Schedd:
        def submit(self, description):
            assert description.issued
            return Result()

    module = types.SimpleNamespace(
        Submit=Description, Schedd=Schedd, HTCondorException=RuntimeError
    )
    monkeypatch.setitem(sys.modules, "htcondor2", module)
    monkeypatch.setattr(queue.shutil, "which", lambda _: None)

    if page is None:
        assert Bindings().submit(jobs_with_tokens) == 17
        return
    with pytest.raises(AframeError, match="jobs cannot get their tokens") as error:
        Bindings().submit(jobs_with_tokens)
    assert error.value.found == found


def test_what_else_is_said_beside_the_cluster(command, jobs):
    """A warning of the pool's is no answer."""
    queue = command("condor_submit", "WARNING: 2 nodes will be down\n17.0 - 17.3\n")

    assert queue.submit(jobs) == 17


def test_an_answer_that_cannot_be_read_is_none(command, jobs):
    """What was asked for may be there: the next look tells."""
    with pytest.raises(SchedulerUnreachableError, match="told of no jobs: fine"):
        command("condor_submit", "fine").submit(jobs)
    with pytest.raises(SchedulerUnreachableError, match="an answer is cut or no JSON"):
        command("condor_q", '[{"ClusterId": 1').query("true")
    with pytest.raises(SchedulerUnreachableError, match="an answer is cut or no JSON"):
        command("condor_history", "<html>").history("true", 1)
