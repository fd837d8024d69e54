"""Steps on a real HTCondor pool: done there, tried again by cause, found again after a kill.

Needs HTCondor's commands on PATH and a pool that answers.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import condor_pool
import pytest
from condor_pool import LONGEST, apart, as_user, configured, daemon, until

HERE = Path(__file__).parent
STAGE, SUBMIT = HERE / "pool_stage.py", HERE / "submit.py"

pytestmark = [
    pytest.mark.skipif(not condor_pool.answers(), reason="no HTCondor pool answers condor_q"),
    # One process runs these and the search on the pool, in whose images one of them is done: a
    # scheduler is stopped, and machines come and go.
    pytest.mark.xdist_group("end_to_end"),
]


@dataclass
class Step:
    """A step of the stand-in stage, its directory and what it is told."""

    directory: Path
    told: dict
    environment: dict

    @contextlib.contextmanager
    def start(self, **more):
        """Begin it, its screen in a file; it does not outlive a test that fails."""
        told = json.dumps({**self.told, **more})
        with (self.directory / "screen").open("a") as screen:
            process = subprocess.Popen(
                as_user(sys.executable, SUBMIT, told),
                env=self.environment,
                stdout=screen,
                stderr=screen,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, **more):
        """Run it to its end; gives the exit status."""
        with self.start(**more) as process:
            return process.wait(LONGEST)

    @property
    def screen(self):
        """What it said so far."""
        return (self.directory / "screen").read_text()

    def until_said(self, text):
        """Wait until it has said *text*."""
        until(lambda: text in self.screen, f"{text!r} in {self.screen}")

    @property
    def output(self):
        """Where its results appear."""
        return self.directory / "output"

    @property
    def sums(self):
        """What it made."""
        return [int((self.output / "sums" / f"{n}.txt").read_text()) for n in range(4)]

    @property
    def attempts(self):
        """What happened to its jobs: cause and what was done."""
        told = json.loads((self.output / "logs" / "make.jobs.json").read_text())
        return [(each["cause"], each["answer"]) for each in told["attempts"]]

    @property
    def failure(self):
        """The record of its failure."""
        return json.loads((self.output / "logs" / "make.failure.json").read_text())

    def jobs(self, state="true"):
        """Its jobs in the queue, as numbers."""
        words = ["condor_q", "-constraint", f'JobBatchName == "{self.told["label"]}" && {state}']
        done = subprocess.run(
            [*words, "-af", "ClusterId", "ProcId"], capture_output=True, text=True, check=True
        )
        return [".".join(line.split()) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def commands():
    """A folder with the stand-in as `aframe-data`."""
    with apart("commands") as folder:
        yield _stand_in(folder)


def _stand_in(folder):
    program = folder / "aframe-data"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {STAGE} "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture
def step(tmp_path, commands):
    """A step of four branches, in a directory that any user may enter."""
    numbers = tmp_path / "numbers"
    numbers.mkdir()
    for n in range(4):
        (numbers / f"{n}.txt").write_text(str(n + 1))
    label = f"test-{uuid.uuid4().hex[:8]}"
    told = {
        "label": label,
        "numbers": str(numbers),
        "output": str(tmp_path / "output"),
        "folder": str(tmp_path / "condor"),
        "deeds": ["write"] * 4,
    }
    own = {n: v for n, v in os.environ.items() if not n.startswith(("AFRAME_", "LAW_"))}
    path = os.pathsep.join([str(commands), own["PATH"]])
    yield Step(tmp_path, told, {**own, "PATH": path, "PYTHONPATH": str(HERE.parents[1])})
    subprocess.run(
        ["condor_rm", "-constraint", f'JobBatchName == "{label}"'],
        capture_output=True,
        check=False,
    )


@pytest.fixture
def machine(request, tmp_path_factory):
    """A machine of the pool that has a fault, by its name."""
    with condor_pool.machine(request.param, tmp_path_factory.getbasetemp().parent) as name:
        yield name


#: Doubled, and the first of them added.
SUMS = [6, 10, 14, 18]


@pytest.mark.parametrize("queue", ["bindings", "commands"])
def test_branches_are_done_on_the_pool(step, queue):
    """Two sets of branches, in two jobs each, leave what one machine would, and their accounts."""
    assert step.run(queue=queue) == 0, step.screen
    assert step.sums == SUMS
    record = json.loads((step.output / "make.record.json").read_text())
    assert record["usage"]["branches"] == 8
    assert step.screen.count("4 numbers in 2 jobs on the pool") == 1
    assert not (step.directory / "condor").exists()
    logs = [path.read_text() for path in (step.output / "logs" / "make").glob("*.log")]
    assert any("numbers of this job" in log for log in logs)
    told = json.loads((step.output / "logs" / "make.jobs.json").read_text())["logs"]
    assert {"make/0-0-1.log": "0-1", "make/0-1-1.log": "2-3"}.items() <= told.items()
    assert sorted(told) == sorted(f"make/{path.name}" for path in step.output.glob("logs/make/*"))


@pytest.mark.parametrize("machine", ["island"], indirect=True)
@pytest.mark.parametrize("verb", ["make", "whole"])
def test_nothing_needs_to_be_shared(step, machine, verb):
    """On a machine with an empty home that sees nothing of the run, files come and go with jobs."""
    terms = {"shared_disk": False, "requirements": f'TARGET.AframeTest == "{machine}"'}

    assert step.run(label=machine, terms=terms, verb=verb) == 0, step.screen
    if verb == "make":
        assert step.sums == SUMS
    else:
        assert (step.output / "sum.txt").read_text() == "10"
        record = json.loads((step.output / "whole.record.json").read_text())
        assert record["places"]["numbers"] == step.told["numbers"]
        assert record["places"]["output"] == str(step.output)


#: Few short waveforms.
WAVEFORMS = {
    "num_signals": 16,
    "prior": "log_uniform_bbh",
    "waveform_approximant": "IMRPhenomD",
    "sample_rate": 256,
    "waveform_duration": 2,
    "right_pad": 0.5,
    "minimum_frequency": 20,
    "reference_frequency": 50,
}


@pytest.mark.parametrize("machine", ["island"], indirect=True)
def test_an_image_goes_with_the_job(step, machine, images):
    """There it is all that is there of the stage; what comes back is as if made here."""
    asked = {"verb": "training_waveforms", "settings": WAVEFORMS, "label": machine}
    there = {"shared_disk": False, "requirements": f'TARGET.AframeTest == "{machine}"'}
    request = {"memory": 1500, "disk": 2000}
    image = str(images / "data.sif")

    assert step.run(**asked, terms=there, request=request, image=image) == 0, step.screen

    (made,) = step.output.glob("*.hdf5")
    here = step.directory / "here"
    settings = step.directory / "here.json"
    settings.write_text(json.dumps({**WAVEFORMS, "output": str(here)}))
    program = Path(sys.executable).with_name("aframe-data")
    subprocess.run([program, "training_waveforms", "--config", settings], check=True)
    assert made.read_bytes() == (here / made.name).read_bytes()


@pytest.mark.parametrize("queue", ["bindings", "commands"])
def test_what_htcondor_refuses_is_told(step, queue):
    """In its words, with what to correct; nothing is lost by another try."""
    assert step.run(queue=queue, terms={"requirements": "((TARGET.Cpus)"}) == 1
    assert "ERROR: HTCondor refuses the jobs" in step.screen
    assert "Parse error in expression" in step.screen
    assert "Traceback" not in step.screen


@pytest.mark.parametrize("queue", ["bindings", "commands"])
def test_a_pool_without_tokens_is_told(step, queue):
    """It would refuse again: nothing is waited for."""
    assert step.run(queue=queue, terms={"use_oauth_services": ["scitokens"]}) == 1
    assert "ERROR: jobs cannot get their tokens" in step.screen
    assert "locate(credd) failed" in step.screen
    assert "does not answer" not in step.screen
    assert not list((step.directory / "condor").glob("secrets.*"))


#: A pool of its own, whose jobs get tokens.
POOL = """
include : {pool}
LOCAL_DIR = {folder}
PROCD_ADDRESS = {folder}/procd
SHARED_PORT_PORT = {port}
COLLECTOR_HOST = 127.0.0.1:{port}
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD CREDD
CREDD_ARGS = -f
SEC_CREDENTIAL_DIRECTORY_OAUTH = {folder}/tokens
TRUST_CREDENTIAL_DIRECTORY = True
SEC_CREDENTIAL_STORER = {folder}/storer
"""
#: What whoever submits calls, as sites do that keep tokens in a vault; and what a monitor of tokens
#: does on the machine of the scheduler: makes of what is stored what jobs use, and says so.
STORER = """#!/bin/sh
echo "to log in, visit a page"
printf a-token >{folder}/token
exec {sbin}/condor_store_cred add-oauth -s "$1" -i {folder}/token
"""
MONITOR = """
echo $$ >pid
trap : HUP
while sleep 0.2; do
  for token in */*.top; do
    [ ! -e "$token" ] || { cp "$token" new && mv new "${token%.top}.use"; }
  done
  touch CREDMON_COMPLETE
done
"""


@pytest.fixture
def pool_with_tokens(step):
    """Have the step submit to a pool whose jobs get tokens."""
    places = {name: configured(name) for name in ("BIN", "SBIN")}
    with apart("pool") as folder, contextlib.ExitStack() as started:
        for name in ("log", "spool", "execute", "lock", "run", "tokens"):
            (folder / name).mkdir()
        (folder / "tokens").chmod(0o2770)
        pool = os.environ.get("CONDOR_CONFIG", "/etc/condor/condor_config")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (folder / "config").write_text(POOL.format(pool=pool, folder=folder, port=port))
        (folder / "storer").write_text(STORER.format(folder=folder, sbin=places["SBIN"]))
        (folder / "storer").chmod(0o755)
        # Not those that are set up for the other pool.
        step.environment["PATH"] = os.pathsep.join([*places.values(), step.environment["PATH"]])
        step.environment["CONDOR_CONFIG"] = str(folder / "config")
        for words, where in (
            ([f"{places['SBIN']}/condor_master", "-f"], folder),
            (["sh", "-c", MONITOR], folder / "tokens"),
        ):
            screen = started.enter_context((folder / "screen").open("a"))
            process = subprocess.Popen(
                as_user(*words), env=step.environment, cwd=where, stdout=screen, stderr=screen
            )
            started.callback(process.wait, LONGEST)
            started.callback(process.terminate)
        words = as_user(f"{places['BIN']}/condor_status", "-any", "-af", "MyType")

        def there():
            asked = subprocess.run(
                words, env=step.environment, capture_output=True, text=True, check=False
            )
            return {"CredD", "Machine", "Scheduler"} <= {*asked.stdout.split()}

        until(there, "the daemons of a pool")
        yield


@pytest.mark.usefixtures("pool_with_tokens")
@pytest.mark.parametrize("queue", ["bindings", "commands"])
def test_jobs_get_tokens_of_their_own(step, queue):
    """As the pool stores them; what asks to log in is seen; an image is told where they are."""
    assert step.run(
        queue=queue, terms={"use_oauth_services": ["scitokens"]}, deeds=["show:a-token"] * 4
    ) == 0, step.screen  # fmt: skip
    assert step.sums == SUMS
    assert "to log in, visit a page" in step.screen
    assert not step.attempts


@pytest.mark.parametrize(
    ("deed", "problem", "cause"),
    [("refuse", "the number is odd (1)", "user"), ("crash", "ValueError: a bug", "bug")],
)
def test_an_error_of_python_stops_at_once(step, deed, problem, cause):
    """It is told with its log and the command that repeats it; the other jobs are removed."""
    status = step.run(deeds=[deed, "wait:300", "wait:300", "wait:300"], terms={"job_length": 60})

    assert status == 1
    assert f"failed: {problem}" in step.screen
    failure = step.failure
    assert failure["branch"] == "rows 0"
    assert failure["cause"] == cause
    assert failure["host"]
    assert problem.split(" (")[0] in Path(failure["log"]).read_text()
    assert failure["command"].endswith("--rows 0")
    words = shlex.split(failure["command"])
    done = subprocess.run(words, env=step.environment, capture_output=True, check=False)
    assert done.returncode == (2 if cause == "user" else 1)
    until(lambda: not step.jobs("JobStatus < 3"), "its jobs removed")


@pytest.mark.parametrize("machine", ["strict"], indirect=True)
def test_memory_and_disk_grow_as_needed(step, machine):
    """What a job did not have, the next in its place asks for more of; up to a cap."""
    terms = {"requirements": f'TARGET.AframeTest == "{machine}"', "job_length": 60}
    request = {"memory": 700, "disk": 30, "max_memory": 1400, "max_disk": 100}

    assert step.run(
        label=machine,
        terms=terms,
        request=request,
        deeds=["hog:800", "fill:40", "write", "write"],
    ) == 0, step.screen  # fmt: skip
    assert step.sums == SUMS
    assert sorted(step.attempts) == [
        ("disk", "asking for 60 MB in place of 30 MB"),
        ("memory", "asking for 1.37 GB in place of 700 MB"),
    ]


def test_a_full_disk_of_the_run_is_waited_for(step):
    """More disk for the job would not help it."""
    mark = step.directory / "mark"
    deeds = [f"overflow:{mark}", "write", "write", "write"]
    with step.start(deeds=deeds, terms={"job_length": 60}) as process:
        step.until_said("trying again, 1 of 6, in 2 s")
        mark.touch()
        assert process.wait(LONGEST) == 0, step.screen

    assert step.sums == SUMS
    assert {cause for cause, _ in step.attempts} == {"storage"}


@pytest.mark.parametrize("machine", ["watchful"], indirect=True)
def test_a_pool_that_holds_what_uses_too_much_memory(step, machine):
    """The hold is answered like any other want of memory, at once."""
    terms = {"requirements": f'TARGET.AframeTest == "{machine}"', "job_length": 60}
    request = {"memory": 300, "disk": 30, "max_memory": 1400}

    assert step.run(
        label=machine, terms=terms, request=request, deeds=["keep:500", "write", "write", "write"]
    ) == 0, step.screen  # fmt: skip
    assert step.sums == SUMS
    ((cause, told),) = step.attempts
    assert cause == "memory"
    assert re.fullmatch(r"asking for (\d{3} MB|1\.\d+ GB) in place of 300 MB", told)


@pytest.mark.parametrize("machine", ["gpus"], indirect=True)
@pytest.mark.parametrize("verb", ["make", "whole"])
def test_jobs_use_the_gpu_that_they_are_granted(step, machine, verb):
    """One each, by the name that HTCondor gives it; a search is told to use it."""
    terms = {"requirements": f'TARGET.AframeTest == "{machine}"', "job_length": 60}
    request = {"memory": 300, "disk": 30, "gpus": 1}
    deeds = ["granted:CUDA_VISIBLE_DEVICES", "granted:APPTAINERENV_CUDA_VISIBLE_DEVICES"] * 2

    assert step.run(
        label=machine, verb=verb, terms=terms, request=request, deeds=deeds
    ) == 0, step.screen  # fmt: skip
    record = json.loads((step.output / f"{verb}.record.json").read_text())
    assert record["notes"]["device"] == {"make": "cuda", "whole": "auto"}[verb]


@pytest.mark.parametrize("queue", ["Bindings", "Commands"])
def test_the_machines_of_a_pool_are_known(queue):
    """By the names that jobs avoid."""
    code = (
        f"from aframe.sites.machines import names; from aframe.sites.queue import {queue} as q\n"
        "print(*sorted(names(q(), '')))"
    )
    told = subprocess.check_output(as_user(sys.executable, "-c", code), text=True)
    there = subprocess.check_output(["condor_status", "-af", "Machine"], text=True)
    assert told.split() == sorted({*there.split()})


@pytest.mark.parametrize("machine", ["nopython"], indirect=True)
def test_a_machine_without_python_is_left_alone(step, machine):
    """Its jobs go to another, and those that still wait are kept from it."""
    # What is kept from it has to find another, also where it has not run there.
    fits = f'TARGET.AframeTest =?= "{machine}" || MY.AframeAvoid =!= "-"'

    assert step.run(label=machine, terms={"requirements": fits, "job_length": 60}) == 0, step.screen
    assert step.sums == SUMS
    assert ("node", f"trying again, 1 of 5, not on {machine}") in step.attempts
    assert {cause for cause, _ in step.attempts} == {"node"}


def test_what_happens_to_jobs_is_answered_by_cause(step):
    """A killed starter, condor_rm, condor_hold and an expired token: each is done all the same."""
    mark = step.directory / "mark"
    deeds = [f"until:{mark}"] * 3 + [f"expire:{mark}"]
    with step.start(deeds=deeds, terms={"job_length": 60}) as process:
        until(lambda: step.jobs("JobStatus == 2 && AframePiece < 3"), "a job running")
        killed = step.jobs("JobStatus == 2 && AframePiece < 3")[0]
        removed, held = sorted({*step.jobs("AframePiece < 3")} - {killed})
        _kill_starter(killed)
        subprocess.run(["condor_rm", removed], check=True)
        subprocess.run(["condor_hold", held], check=True)
        for told in ("evicted", "removed", "waits for condor_release", "held", "credential"):
            step.until_said(told)
        mark.touch()
        assert process.wait(LONGEST) == 0, step.screen
    assert step.sums == SUMS
    answers = dict(step.attempts)
    assert set(answers) == {"evicted", "removed", "held", "credential"}
    assert answers["removed"] == "trying again, 1 of 3"
    assert answers["credential"].endswith(" s")


def _kill_starter(job):
    """Kill what starts a job on its machine, with what it started."""
    execute = Path(configured("EXECUTE"))
    ids = dict(zip(("ClusterId", "ProcId"), job.split("."), strict=True))
    wanted = {f"{name} = {number}" for name, number in ids.items()}

    def starter():
        """Its process, which writes down a while after it began what it starts."""
        for ad in execute.glob("dir_*/.job.ad"):
            # Others end meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if wanted <= {*ad.read_text().splitlines()}:
                    return int(ad.parent.name.removeprefix("dir_"))
        return None

    os.kill(until(starter, f"the starter of {job}"), signal.SIGKILL)


def test_a_scheduler_that_is_down_is_waited_for(step):
    """Its silence is told once, and the jobs that went on meanwhile are taken."""
    mark = step.directory / "mark"
    with step.start(deeds=[f"until:{mark}"] * 4) as process:
        until(lambda: step.jobs("JobStatus == 2"), "a job running")
        subprocess.run(as_user(daemon("condor_off"), "-schedd", "-fast"), check=True)
        try:
            step.until_said("HTCondor does not answer")
            mark.touch()
        finally:
            subprocess.run(as_user(daemon("condor_on"), "-schedd"), check=True)
        assert process.wait(LONGEST) == 0, step.screen
    assert step.sums == SUMS
    assert step.screen.count("HTCondor does not answer") == 1


@pytest.mark.parametrize("noted", [True, False], ids=["noted", "not yet noted"])
def test_a_killed_submitter_finds_its_jobs(step, noted):
    """Killed with -9 after submission, noted or not yet, it submits none twice."""
    mark = step.directory / "mark"
    deeds = [f"until:{mark}"] * 4
    with step.start(deeds=deeds) as process:
        step.until_said("jobs in cluster")
        before = step.jobs()
        process.kill()
    state = step.directory / "condor" / "state.json"
    if not noted:
        state.write_text(state.read_text().replace('"submitted": true', '"submitted": false'))

    with step.start(deeds=deeds) as process:
        step.until_said("looking for the jobs of an earlier run")
        step.until_said(f"of {len(before)} jobs")
        assert step.jobs() == before
        mark.touch()
        assert process.wait(LONGEST) == 0, step.screen
    assert step.sums == SUMS
    # One cluster for each of the two sets.
    assert step.screen.count("jobs in cluster") == 2


@pytest.mark.parametrize(("by", "tidied"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_an_interruption_says_how_to_remove_its_jobs(step, by, tidied):
    """They go on; with other settings, or without what tells of them, the next run removes them."""
    with step.start(deeds=["wait:300"] * 4) as process:
        step.until_said("jobs in cluster")
        before = step.jobs()
        os.killpg(process.pid, by)
        assert process.wait(LONGEST) == 130
    assert "its jobs go on in the pool" in step.screen
    assert step.jobs() == before
    listed = step.screen.split("to remove them: ")[1].splitlines()[0]
    words = ["condor_q", *shlex.split(listed)[1:], "-af", "ClusterId"]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert len(found.stdout.split()) == len(before)

    if tidied:
        # HTCondor may write into it at the same time.
        shutil.rmtree(step.directory / "condor", ignore_errors=True)
    assert step.run(deeds=["write"] * 4) == 0, step.screen
    assert step.sums == SUMS
    assert not set(before) & set(step.jobs("JobStatus < 3"))
