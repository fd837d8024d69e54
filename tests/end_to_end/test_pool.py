"""The whole search as jobs of a real HTCondor pool, and in real images, where there are any."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import condor_pool
import container_images
import pytest
from end_to_end.test_sandbox import records, results

#: One process runs these: they share one search, and the images.
pytestmark = pytest.mark.xdist_group("end_to_end")

#: Tasks of each stage that has an image; the others run in the environment at hand.
IN_IMAGES = {
    "data": (
        *("Query", "FetchTrain", "FetchTest", "FetchZeroLag"),
        *("TrainingWaveforms", "ValidationWaveforms", "TestingWaveforms"),
    ),
    "sv": ("SandboxSV", "SandboxPAstro", "SandboxReport"),
}
VERBS = ("estimate", "p_astro", "report")


def _written(sections: dict[str, dict[str, str]]) -> str:
    """The sections of a `.cfg`."""
    lines = [
        line
        for section, keys in sections.items()
        for line in (f"[{section}]", *(f"{key} = {value}" for key, value in keys.items()), "")
    ]
    return "\n".join(lines)


@pytest.fixture
def elsewhere(finished, tmp_path, request):
    """The finished search in a new directory, on the pool and in images as far as there are any."""
    pool, images = condor_pool.answers(), container_images.missing() is None
    if not (pool or images):
        pytest.skip(f"no HTCondor pool answers condor_q, and {container_images.missing()}")
    old, run = finished.directory, replace(finished, directory=tmp_path / "run")
    run.directory.mkdir()
    for name in ("sandbox.cfg", "train.yaml", "run.sh"):
        text = (old / name).read_text()
        (run.directory / name).write_text(text.replace(str(old), str(run.directory)))
    asked = {"luigi_base": {}}
    if pool:
        asked["luigi_base"] = {
            "workflow": "htcondor",
            "job_length": "120",
            "request_memory": "2GB",
            "request_disk": "1GB",
            # A training's sums depend on the number of its threads.
            "request_cpus": str(records(old)["training/fit.record.json"].notes["threads"]),
        }
    if images:
        folder = request.getfixturevalue("images")
        for stage, tasks in IN_IMAGES.items():
            asked |= {f"luigi_{task}": {"image": f"{folder}/{stage}.sif"} for task in tasks}
    configuration = run.directory / "sandbox.cfg"
    text = configuration.read_text()
    for section, keys in asked.items():
        head, added = f"[{section}]\n", _written({section: keys})
        text = text.replace(head, added) if head in text else f"{text}\n{added}"
    configuration.write_text(text)
    return run, pool, images


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


def test_every_step_elsewhere_gives_the_same_files(elsewhere, finished, calls):
    """From strain to report no file differs from those that this machine made without images."""
    run, pool, images = elsewhere
    old = finished.directory
    if pool:
        doctor = [Path(sys.executable).with_name("aframe"), "doctor"]
        found = subprocess.run(
            doctor, cwd=run.directory, capture_output=True, text=True, check=True
        )
        assert "ok       HTCondor pool: its scheduler answers" in found.stdout

    status, said = run.run()

    assert status == 0, said
    assert "WARNING" not in said
    made, expected = results(run.directory), results(old)
    # It names where its inputs lie.
    assert made.pop("training/config.yaml") != expected.pop("training/config.yaml")
    assert made == expected
    assert (run.directory / "results" / "report.html").exists()
    assert {path: record.settings for path, record in records(run.directory).items()} == {
        path: record.settings for path, record in records(old).items()
    }
    if images:
        for program in ("aframe-data branches", *(f"aframe-sv {verb}" for verb in VERBS)):
            assert _ran(program, calls), f"{program} did not run in its image"
        _run_code_at_hand(run, expected, calls)
    if pool:
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
