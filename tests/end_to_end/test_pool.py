"""The whole search as jobs of a real HTCondor pool, where one answers."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
from end_to_end.test_sandbox import records, results

#: One process runs these: they share one search.
pytestmark = pytest.mark.xdist_group("end_to_end")


def _answers() -> bool:
    if shutil.which("condor_q") is None:
        return False
    done = subprocess.run(["condor_q", "-totals"], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


@pytest.mark.skipif(not _answers(), reason="no HTCondor pool answers condor_q")
def test_every_step_on_a_pool_gives_the_same_files(finished, tmp_path):
    """From strain to report no file differs from those that this machine made."""
    old, run = finished.directory, replace(finished, directory=tmp_path / "run")
    run.directory.mkdir()
    for name in ("sandbox.cfg", "train.yaml", "run.sh"):
        text = (old / name).read_text()
        (run.directory / name).write_text(text.replace(str(old), str(run.directory)))
    # A training's sums depend on the number of its threads.
    asked = {
        "workflow": "htcondor",
        "job_length": "120",
        "request_memory": "2GB",
        "request_disk": "1GB",
        "request_cpus": str(records(old)["training/fit.record.json"].notes["threads"]),
    }
    configuration = run.directory / "sandbox.cfg"
    lines = "".join(f"{key} = {value}\n" for key, value in asked.items())
    configuration.write_text(
        configuration.read_text().replace("[luigi_base]\n", f"[luigi_base]\n{lines}", 1)
    )

    status, said = run.run()

    assert status == 0, said
    made, expected = results(run.directory), results(old)
    # It names where its inputs lie.
    assert made.pop("training/config.yaml") != expected.pop("training/config.yaml")
    assert made == expected
    assert {path: record.settings for path, record in records(run.directory).items()} == {
        path: record.settings for path, record in records(old).items()
    }
    told = list(run.directory.rglob("*.jobs.json"))
    assert len(told) == len(records(run.directory)) - _without_branches(run.directory)
    assert all(json.loads(path.read_text())["jobs"]["done"] for path in told)


def _without_branches(directory) -> int:
    """Number of steps that had nothing to deal: the segments of simulated strain."""
    queries = [path for path in records(directory) if path.endswith("query.record.json")]
    return sum(not (directory / path).parent.joinpath("logs/query.jobs.json").exists()
               for path in queries)  # fmt: skip
