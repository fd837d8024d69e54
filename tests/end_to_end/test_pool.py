"""The whole search as jobs of a real HTCondor pool, and in real images, where there are any."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import condor_pool
import container_images
import pytest
from end_to_end.test_sandbox import records, results

#: One process runs these: they share one search, and the images.
pytestmark = pytest.mark.xdist_group("end_to_end")

#: Tasks that run in the image of their stage; the others run in the environment at hand.
IN_IMAGES = {
    "data": (
        *("Query", "FetchTest", "FetchZeroLag"),
        *("TrainingWaveforms", "ValidationWaveforms"),
    ),
    "sv": ("SandboxSV", "SandboxPAstro"),
}
VERBS = ("estimate", "p_astro")
#: Tasks whose jobs run on a machine that sees nothing of the run, the training on its GPU:
#: branches and whole verbs of each kind; the others share the disk.
APART = ("FetchTrain", "TestingWaveforms", "Train", "SandboxInfer", "SandboxReport")
ISLAND = "island"


def _written(sections: dict[str, dict[str, str]]) -> str:
    """The sections of a `.cfg`."""
    lines = [
        line
        for section, keys in sections.items()
        for line in (f"[{section}]", *(f"{key} = {value}" for key, value in keys.items()), "")
    ]
    return "\n".join(lines)


@pytest.fixture
def elsewhere(finished, tmp_path):
    """The finished search in a new directory, in which nothing has run."""
    return finished.elsewhere(tmp_path / "run")


def _ask(run, asked: dict[str, dict[str, str]]) -> None:
    """Add keys to sections of the `.cfg`."""
    configuration = run.directory / "sandbox.cfg"
    text = configuration.read_text()
    for section, keys in asked.items():
        head, added = f"[{section}]\n", _written({section: keys})
        text = text.replace(head, added) if head in text else f"{text}\n{added}"
    configuration.write_text(text)


def _jobs(finished) -> dict[str, str]:
    """What has all steps be jobs."""
    return {
        "workflow": "htcondor",
        "job_length": "120",
        "request_memory": "2GB",
        "request_disk": "1GB",
        # A training's sums depend on the number of its threads.
        "request_cpus": str(
            records(finished.directory)["training/fit.record.json"].notes["threads"]
        ),
    }


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """File of the words of each `apptainer`, here and in jobs."""
    path, real = tmp_path / "calls", shutil.which("apptainer")
    path.touch(mode=0o666)
    (tmp_path / "bin").mkdir()
    spy = tmp_path / "bin" / "apptainer"
    spy.write_text(f'#!/bin/sh\necho "$@" >>{path}\nexec {real} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", str(spy.parent), prepend=os.pathsep)
    return path


def test_every_step_elsewhere_gives_the_same_files(
    elsewhere, finished, calls, request, tmp_path_factory
):
    """On a pool, with and without a shared disk, and in images: what is made here, to the bit."""
    run, pool, images = elsewhere, condor_pool.answers(), container_images.missing() is None
    if not (pool or images):
        pytest.skip(f"no HTCondor pool answers condor_q, and {container_images.missing()}")
    if images:
        folder = request.getfixturevalue("images")
        for stage, tasks in IN_IMAGES.items():
            _ask(run, {f"luigi_{task}": {"image": f"{folder}/{stage}.sif"} for task in tasks})
    began = int(time.time())

    with contextlib.ExitStack() as until_done:
        if pool:
            _ask(run, _of_the_pool(finished))
            folder = tmp_path_factory.getbasetemp().parent
            until_done.enter_context(condor_pool.machine(ISLAND, folder))
            _refuse_doubts(run)
        status, said = run.run()

        assert status == 0, said
        assert "WARNING" not in said
        expected = _refuse_others(run, finished)
        if pool:
            _refuse_undone(run)
            _refuse_strayed(began)
        if images:
            for program in ("aframe-data branches", *(f"aframe-sv {verb}" for verb in VERBS)):
                assert _ran(program, calls), f"{program} did not run in its image"
            _run_code_at_hand(run, expected, calls)


def _of_the_pool(finished) -> dict[str, dict[str, str]]:
    """What has all steps be jobs, some of them where nothing is shared."""
    apart = {
        "shared_disk": "False",
        "accounting_group": ISLAND,
        "requirements": f'TARGET.AframeTest == "{ISLAND}"',
    }
    asked = {f"luigi_{task}": {**apart} for task in APART}
    asked["luigi_Train"]["request_gpus"] = "1"
    return {"luigi_base": _jobs(finished), **asked}


def _refuse_doubts(run) -> None:
    """Have `doctor` find nothing wrong with the pool."""
    doctor = [Path(sys.executable).with_name("aframe"), "doctor"]
    found = subprocess.run(doctor, cwd=run.directory, capture_output=True, text=True, check=False)
    assert "ok       HTCondor pool: its scheduler answers" in found.stdout
    failed = re.findall(r"^failed .*", found.stdout, re.MULTILINE)
    # On a busy machine answers may be late.
    assert [line for line in failed if "no answer within" not in line] == []


def _refuse_strayed(began: int) -> None:
    """Have those jobs, and no others, have run apart, and the training have had its GPU."""
    charged = f'AcctGroup == "{ISLAND}" && QDate >= {began}'
    words = ["condor_history", "-constraint", charged, "-af", "JobBatchName", "RequestGpus"]

    def told():
        lines = subprocess.check_output([*words, "LastRemoteHost"], text=True).splitlines()
        return {tuple(line.split()) for line in lines}

    # A job that was just let go of may not be there yet.
    condor_pool.until(lambda: {job[0] for job in told()} >= {*APART}, f"{APART} in the history")
    expected = {(task, "1" if task == "Train" else "undefined") for task in APART}
    assert {job[:2] for job in told()} == expected
    assert all(host.endswith(f"@{ISLAND}") for _, _, host in told())


def _refuse_others(run, finished):
    """Have no result be another than those of this machine; gives these."""
    made, expected = results(run.directory), results(finished.directory)
    # It names where its inputs lie.
    assert made.pop("training/config.yaml") != expected.pop("training/config.yaml")
    assert made == expected
    assert (run.directory / "results" / "report.html").exists()
    assert {path: record.settings for path, record in records(run.directory).items()} == {
        path: record.settings for path, record in records(finished.directory).items()
    }
    return expected


def _refuse_undone(run) -> None:
    """Have jobs have done every step."""
    told = list(run.directory.rglob("*.jobs.json"))
    assert len(told) == len(records(run.directory)) - _without_branches(run.directory)
    assert all(json.loads(path.read_text())["jobs"]["done"] for path in told)


def _ran(program, calls) -> list[str]:
    """The words of each `apptainer` that ran *program*."""
    return [words for words in calls.read_text().splitlines() if f" {program} " in words]


def _run_code_at_hand(run, expected, calls) -> None:
    """With `--dev` the pipeline makes a step that is lost again, by the checkout's code."""
    calls.write_text("")
    plots = run.directory / "results" / "plots"
    for name in ("p_astro.hdf5", "p_astro.record.json"):
        (plots / name).unlink()

    status, said = run.run("--dev")

    assert status == 0, said
    made = results(run.directory)
    assert made["results/plots/p_astro.hdf5"] == expected["results/plots/p_astro.hdf5"]
    ran = _ran("aframe-sv p_astro", calls)
    assert ran
    assert all(":/opt/aframe " in words for words in ran)


def _without_branches(directory) -> int:
    """Number of steps that had nothing to deal: the segments of simulated strain."""
    queries = [path for path in records(directory) if path.endswith("query.record.json")]
    return sum(not (directory / path).parent.joinpath("logs/query.jobs.json").exists()
               for path in queries)  # fmt: skip
