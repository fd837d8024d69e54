"""What a task asks of a pool."""

import configparser
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import law
import pytest

from aframe.errors import AframeError
from aframe.sites.requests import Request, Terms
from aframe.tasks import FetchTrain, Infer, TrainLocal, pool
from aframe.tasks.pool import PoolParameters


def test_requests_and_terms_come_from_the_configuration(shared):
    """Said once in `[luigi_base]`, they are every step's."""
    shared |= {
        "workflow": "htcondor",
        "request_memory": "6GB",
        "max_memory": "24GB",
        "request_disk": "1GB",
        "request_cpus": "2",
        "accounting_group": "ligo.dev.o4.cbc.allsky.aframe",
        "requirements": 'HasSingularity && TARGET.Arch == "X86_64"',
        "use_oauth_services": "scitokens",
        "job_length": "1800",
        "shared_disk": "False",
        "forward": "AWS_*",
    }

    task = FetchTrain()

    assert task.on_pool
    assert task.request() == Request(
        memory=6144, disk=1024, cpus=2, gpus=0, max_memory=24576, max_disk=262144
    )
    assert task.terms() == Terms(
        shared_disk=False,
        accounting_group="ligo.dev.o4.cbc.allsky.aframe",
        requirements='HasSingularity && TARGET.Arch == "X86_64"',
        use_oauth_services=("scitokens",),
        forward=("AWS_*",),
        job_length=1800.0,
    )
    assert task.settings_file()["resources"]["workers"] == 2


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("request_gpus", "-1", "a whole number, not negative"),
        ("request_cpus", "0", "a whole number above zero"),
        ("processes", "-1", "a whole number, not negative"),
        ("gpus", "a", "numbers of GPUs such as 0,1"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(shared, key, value, right):
    """Where it is read, before anything is submitted."""
    shared[key] = value
    with pytest.raises(ValueError, match="default value") as caught:
        FetchTrain()
    # luigi wraps what a parameter's parser raises.
    error = caught.value.__cause__

    assert isinstance(error, AframeError)
    assert error.found == f"{key} = {value!r}"
    assert error.fix.startswith(f"give {right}")


@pytest.mark.parametrize(
    ("asked", "problem", "found"),
    [
        ({"request_memory": "4"}, "runs in so little memory", "request_memory = 4 MB"),
        ({"requirements": "Memory >"}, "are no ClassAd expression", "Memory >"),
    ],
)
def test_jobs_that_no_pool_could_do_are_refused(shared, monkeypatch, asked, problem, found):
    """Before any step runs, where they would be submitted; otherwise they do not matter."""
    monkeypatch.setattr(pool.queue, "refuse_missing", lambda: None)
    shared |= asked
    FetchTrain(workflow="local").refuse_impossible_jobs()

    with pytest.raises(AframeError, match=problem) as error:
        FetchTrain(workflow="htcondor").refuse_impossible_jobs()

    assert error.value.found == found


def test_requirements_are_not_read_without_the_bindings(monkeypatch):
    """HTCondor reads them when they are submitted."""
    with pytest.raises(AframeError, match="no ClassAd expression"):
        pool.queue.refuse_unreadable("Memory >")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "classad2" else find(name)
    )

    assert pool.queue.refuse_unreadable("Memory >") is None


def test_the_accounting_of_the_guide_is_the_default(shared, monkeypatch):
    """The variables that IGWN's users set."""
    monkeypatch.setenv("LIGO_GROUP", "ligo.group")
    monkeypatch.setenv("LIGO_USERNAME", "ada.lovelace")

    assert FetchTrain().terms().accounting_group == "ligo.group"
    assert FetchTrain().terms().accounting_group_user == "ada.lovelace"
    assert FetchTrain(accounting_group="other").terms().accounting_group == "other"


def test_only_named_variables_are_forwarded():
    """By pattern."""
    environment = {"AWS_ACCESS_KEY_ID": "a", "WANDB_API_KEY": "b", "HOME": "/root"}

    assert Terms(forward=("AWS_*", "HOME")).forwarded(environment) == {
        "AWS_ACCESS_KEY_ID": "a",
        "HOME": "/root",
    }


@pytest.mark.parametrize(
    ("task", "gpus", "branched"),
    [(FetchTrain, 0, True), (Infer, 0, True), (Infer, 1, True), (TrainLocal, 1, False)],
)
def test_branches_are_jobs_of_their_own(shared, task, gpus, branched):
    """But a training is one."""
    step = task(request_gpus=gpus, workflow="htcondor").pool_step()

    assert step.branched is branched
    assert step.request.gpus == gpus


def test_outputs_of_one_verb_have_folders_apart(shared, tmp_path):
    """In the folder that the run has for what jobs are given."""
    train, other = FetchTrain(), FetchTrain(workflow="htcondor")

    assert train.condor_folder == other.condor_folder
    assert train.condor_folder.parent == tmp_path / "condor"
    assert train.condor_folder.name.startswith("FetchTrain-")
    assert train.condor_folder != train.requires().condor_folder


GUIDE = (Path(__file__).parents[2] / "docs" / "htcondor.md").read_text()


def test_the_guide_names_every_parameter_with_its_default():
    """In its table, as they are read."""
    rows = re.findall(r"^\| (`.*?) \| .*? \| (.*?) \|$", GUIDE, re.MULTILINE)
    named = {key for keys, _ in rows for key in re.findall(r"`(\w+)`", keys)}
    declared = {name for name, _ in PoolParameters.get_params()} - {
        name for name, _ in law.Task.get_params()
    }

    assert named == declared
    plain = FetchTrain()
    assert (plain.request(), plain.workflow) == (Request(), "local")
    assert (plain.shared_disk, plain.job_length) == (True, 3600.0)


def test_the_example_of_the_guide_is_understood(empty):
    """Each key in its section."""
    example = configparser.ConfigParser(interpolation=None)
    example.read_string(re.search(r"```ini\n(.*?)```", GUIDE, re.DOTALL)[1])
    for section in example.sections():
        for key, value in example[section].items():
            empty.set(section, key, value)

    done = empty.law("--print-status", "0")

    assert done.returncode == 0, done.stderr
    assert set(example.sections()) == {"luigi_base", "luigi_Train", "luigi_SandboxSV"}


@pytest.mark.skipif(
    Path("/etc/condor/condor_config").exists(), reason="this machine is set up for HTCondor"
)
def test_a_machine_without_htcondor_is_told_at_planning(empty, tmp_path):
    """Before anything runs, in a sentence, with status 2."""
    empty.set("luigi_base", "workflow", "htcondor")
    environment = {
        name: value
        for name, value in empty.environment().items()
        if name != "CONDOR_CONFIG" and not name.startswith("_CONDOR")
    }
    folders = environment["PATH"].split(os.pathsep)
    path = [each for each in folders if not Path(each, "condor_submit").exists()]

    done = subprocess.run(
        ["law", "run", "aframe.pipelines.sandbox.Sandbox"],
        env={**environment, "PATH": os.pathsep.join(path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "HTCondor is not installed" in done.stderr
    assert "choose workflow = local" in done.stderr
    assert empty.calls() == []
