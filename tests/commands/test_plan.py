"""`aframe plan`: state and reason of each step, and what it would cost."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aframe.artifacts.record import read_record
from aframe.commands.history import estimate, pasts

ALL = ("done", "running", "runs", "waits", "stops")


def _status(run, folder, verb, **said):
    """Write the file in which a step says how far it is."""
    logs = run.directory / folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    now = time.time()
    told = {"state": "running", "unit": "files", "done": 12, "total": 40, "started": now - 60}
    told |= {"updated": now, "host": platform.node(), "pid": os.getpid(), "step": "x", **said}
    (logs / f"{verb}.status.json").write_text(json.dumps(told))


def _dead():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_nothing_has_run(empty):
    """Every step is absent; those that rest on none would run, the others wait."""
    status, out, _ = empty.aframe("plan")
    steps = empty.plan()

    assert status == 0
    assert "15 steps: 4 to run, 11 waiting for those\n" in out
    assert steps["Query:data/train"]["reasons"] == ["absent"]
    assert steps["ExportLocal"]["reasons"] == ["absent", "rests on Train, which is to run first"]
    assert not (empty.directory / "data").exists()


def test_all_has_run(finished):
    """Each step is done, and nothing is to be done."""
    before = {path: path.stat().st_mtime_ns for path in finished.directory.rglob("*")}
    status, out, _ = finished.aframe("plan")

    assert (status, "nothing is to be done" in out) == (0, True)
    assert {step["state"] for step in finished.plan().values()} == {"done"}
    # Looking writes nothing.
    assert {path: path.stat().st_mtime_ns for path in finished.directory.rglob("*")} == before


def test_the_tree_shows_each_step_once_below_what_needs_it(empty):
    """The last step is at the left, what it rests on further to the right."""
    _, out, _ = empty.aframe("plan")
    lines = {line[8:].split(":")[0].strip(): line for line in out.splitlines() if line[8:].strip()}
    depth = {name: len(line[8:]) - len(line[8:].lstrip()) for name, line in lines.items()}

    assert out.count(" FetchTest: absent") == 1
    assert depth["SandboxReport"] < depth["SandboxSV"] < depth["SandboxInfer"] < depth["Train"]


def test_other_settings_stop_the_run(finished):
    """With the old and the new value, how to go on, and status 2."""
    status, out, _ = finished.aframe("plan", "--SandboxInfer-Tb", "1000")
    steps = finished.plan("--SandboxInfer-Tb", "1000")

    assert status == 2
    assert steps["SandboxInfer"]["state"] == "stops"
    assert steps["SandboxInfer"]["reasons"] == [
        "made with other settings: Tb: 23400.0 -> 1000.0"
    ]  # fmt: skip
    assert steps["SandboxSV"]["state"] == "waits"
    assert steps["SandboxSV"]["reasons"] == ["rests on SandboxInfer, which stops"]
    assert "SandboxInfer stops the run: made with other settings" in out
    assert "--on-change remake" in out


def test_what_stops_several_steps_is_said_once(empty):
    """With their names and the one fix, as where a stage has no image."""
    status, out, _ = empty.aframe("plan", "--container-root", "/nowhere")

    assert status == 2
    assert "\nTrain stops the run: no container image for stage 'train'" in out
    assert "\nSandboxSV, SandboxPAstro, SandboxReport stop the run: no container image" in out
    assert out.count("  fix        build-containers ") == 5


def test_other_settings_are_remade_where_that_is_asked_for(finished):
    """The same difference, which is then a reason to run."""
    steps = finished.plan("--SandboxInfer-Tb", "1000", "--on-change", "remake")

    assert (steps["SandboxInfer"]["state"], steps["SandboxInfer"]["fix"]) == ("runs", None)
    assert steps["SandboxInfer"]["reasons"] == ["made with other settings: Tb: 23400.0 -> 1000.0"]
    assert steps["SandboxReport"]["state"] == "waits"


def test_an_input_that_changed_is_named(finished):
    """By its name and the beginning of its digests."""
    with (finished.directory / "train.yaml").open("a") as file:
        file.write("# edited\n")
    (reason,) = finished.plan()["Train"]["reasons"]

    assert reason.startswith("made from other inputs: input train_config: its content changed (")


def test_what_is_lost_or_cut_short_is_named(finished):
    """One file of a step, though the others are there."""
    (finished.directory / "results/foreground.hdf5").write_text("x")
    steps = finished.plan()

    assert steps["SandboxInfer"]["reasons"] == ["lost: foreground.hdf5"]
    assert steps["SandboxInfer"]["state"] == "runs"
    assert steps["Train"]["state"] == "done"


def test_an_output_that_was_made_without_a_file(finished):
    """A step that would make more than it did, as an earlier version or other options had it."""
    finished.set("luigi_SandboxInfer", "zero_lag", "False")
    path = finished.directory / "results/infer.record.json"
    content = json.loads(path.read_text())
    for part in ("outputs", "sizes"):
        content[part] = {k: v for k, v in content[part].items() if k != "0lag.hdf5"}
    content["settings"]["zero_lag"] = True
    path.write_text(json.dumps(content))
    finished.set("luigi_SandboxInfer", "zero_lag", "True")

    assert finished.plan()["SandboxInfer"]["reasons"] == ["made without 0lag.hdf5"]


def test_a_step_that_was_killed_half_way(empty):
    """How many of its branches are done; what was begun with other settings begins anew."""
    empty.make("Query:data/train")
    _status(empty, "data/train", "fetch", pid=_dead())
    (empty.directory / "data/train/.draft-fetch").mkdir()
    first = empty.plan()["FetchTrain"]
    settings = empty.directory / "data/train/logs/fetch.settings.json"
    settings.write_text(json.dumps({"max_duration": 7}))
    (empty.directory / "training/.draft-fit").mkdir(parents=True)

    assert (first["state"], first["done"], first["total"]) == ("runs", 12, 40)
    assert first["reasons"] == ["ended half-way: 12 of 40 files are done", "absent"]
    anew = "what is done of it was begun with other settings, and begins anew"
    assert empty.plan()["FetchTrain"]["reasons"] == [anew, "absent"]
    assert empty.plan()["Train"]["reasons"][0] == "ended half-way"


def test_a_step_that_failed_last_time(empty):
    """Its cause comes first."""
    logs = empty.directory / "data/train/logs"
    logs.mkdir(parents=True)
    (logs / "query.failure.json").write_text(
        json.dumps(
            {
                "step": "Query",
                "problem": "no route to host",
                "command": "c",
                "ended": "e",
                "log": "l",
            }
        )
    )
    reasons = empty.plan()["Query:data/train"]["reasons"]

    assert reasons == ["failed last time: no route to host", "absent"]


@pytest.mark.parametrize(
    ("said", "alive"),
    [
        ({}, True),
        ({"pid": 1}, True),
        ({"updated": 0.0}, False),  # another process has that number by now
        ({"host": "elsewhere", "pid": 1}, True),
        ({"host": "elsewhere", "updated": 0.0}, False),
        ({"state": "failed"}, False),
        ({"state": "dealt", "pid": 0}, True),
    ],
)
def test_a_step_at_work_is_running(empty, said, alive):
    """While its process lives here, or spoke elsewhere not long ago."""
    _status(empty, "data/train", "query", **said)
    step = empty.plan()["Query:data/train"]

    assert step["state"] == ("running" if alive else "runs")
    assert not alive or step["reasons"] == ["12 of 40 files"]
    waits = "which is running" if alive else "which is to run first"
    assert empty.plan()["FetchTrain"]["reasons"][-1] == f"rests on Query:data/train, {waits}"


def test_a_step_on_a_pool_is_running(empty):
    """As long as its jobs are looked at, however long ago its branches were dealt."""
    _status(empty, "data/train", "query", state="dealt", updated=0.0)
    assert empty.plan()["Query:data/train"]["state"] == "runs"
    told = {"jobs": {"idle": 1, "running": 0}}
    (empty.directory / "data/train/logs/query.jobs.json").write_text(json.dumps(told))

    assert empty.plan()["Query:data/train"]["state"] == "running"
    (line,) = re.findall(r"^running +Query:data/train.*", empty.aframe("plan")[1], re.MULTILINE)
    assert line.endswith("jobs: 1 idle")


@pytest.mark.parametrize("before", [None, "failed"])
def test_a_step_whose_one_job_waits_is_running(empty, before):
    """It says nothing before it is at work, and whoever watches it does; until that fails."""
    if before:
        _status(empty, "data/train", "query", state=before, updated=0.0)
    logs = empty.directory / "data/train/logs"
    logs.mkdir(parents=True, exist_ok=True)
    left = {"idle": 1, "running": 0, "held": 0, "done": 0}
    for jobs, state in (({**left, "idle": 0, "done": 1}, "runs"), (left, "running")):
        told = {"jobs": jobs, "began": time.time() - 60}
        (logs / "query.jobs.json").write_text(json.dumps(told))
        assert empty.plan()["Query:data/train"]["state"] == state

    (logs / "query.failure.json").write_text("{}")
    assert empty.plan()["Query:data/train"]["state"] == "runs"


def test_jobs_of_other_settings_are_no_work_of_this_step(empty):
    """A run would remove them, and what they did."""
    _status(empty, "data/train", "query", state="dealt")
    logs = empty.directory / "data/train/logs"
    (logs / "query.settings.json").write_text(json.dumps({"min_duration": 1.0}))
    (logs.parent / ".draft-query").mkdir()
    step = empty.plan()["Query:data/train"]

    assert step["state"] == "runs"
    anew = "what is done of it was begun with other settings, and begins anew"
    assert step["reasons"] == [f"{anew}: a run removes its jobs", "absent"]


def test_a_status_that_was_cut_short_tells_nothing(empty):
    """No error either."""
    _status(empty, "data/train", "query")
    (empty.directory / "data/train/logs/query.status.json").write_text("{")

    assert empty.plan()["Query:data/train"]["state"] == "runs"


def test_a_file_without_a_record_stops_the_run(empty):
    """Somebody's own file is named."""
    mine = empty.directory / "data/train/segments.txt"
    mine.parent.mkdir(parents=True)
    mine.touch()
    step = empty.plan()["Query:data/train"]

    assert step["state"] == "stops"
    assert step["reasons"] == [f"a file without a record is in the way: {mine}"]


def test_a_missing_input_stops_the_run(empty):
    """Of a file that no step makes."""
    (empty.directory / "train.yaml").unlink()
    steps = empty.plan()

    assert steps["Train"]["state"] == "stops"
    assert steps["Train"]["reasons"] == [
        f"an input is missing: {empty.directory}/train.yaml does not exist"
    ]  # fmt: skip
    assert steps["SandboxInfer"]["state"] == "waits"


def test_a_missing_image_stops_what_needs_it(finished, tmp_path):
    """A run that is complete needs none; what is to run says what to build."""
    assert finished.aframe("plan", "--container-root", str(tmp_path))[0] == 0
    (finished.directory / "results/report.html").unlink()
    step = finished.plan("--container-root", str(tmp_path))["SandboxReport"]

    assert step["state"] == "stops"
    assert step["reasons"][0].startswith("no container image for stage 'sv'")
    assert step["fix"]


def test_a_pool_without_its_commands_stops_what_runs_there(empty, monkeypatch):
    """Whatever is done, since nothing could be submitted."""
    empty.set("luigi_Train", "workflow", "htcondor")
    monkeypatch.setattr("aframe.sites.queue._bindings_serve", lambda: False)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    steps = empty.plan()

    assert steps["Train"]["state"] == "stops"
    assert "HTCondor" in steps["Train"]["reasons"][0]
    assert steps["Train"]["fix"]
    assert steps["Query:data/train"]["state"] == "runs"


def test_a_past_that_is_not_there_is_refused(empty):
    """It would only be left out of the estimates."""
    status, _, err = empty.aframe("plan", "--past", str(empty.directory.parent / "lasst-year"))

    assert status == 2
    assert "there is no such run directory to estimate from" in err
    assert "lasst-year" in err


def test_a_record_that_cannot_be_read_stops_its_step(finished):
    """The others are shown nevertheless."""
    (finished.directory / "training/fit.record.json").write_text("{")
    steps = finished.plan()

    assert steps["Train"]["state"] == "stops"
    assert steps["Train"]["reasons"][0].startswith("a record cannot be read: ")
    assert steps["FetchTest"]["state"] == "done"


def _past(run, path, **changes):
    """Change what a record says of a past run."""
    content = json.loads((run.directory / path).read_text())
    for name, value in changes.items():
        content[name] = value if not isinstance(value, dict) else {**content[name], **value}
    (run.directory / path).write_text(json.dumps(content))


def test_costs_are_scaled_to_what_is_to_be_done(finished):
    """A tenth of the livetime takes a tenth of the time, with the size it had."""
    _past(finished, "results/infer.record.json", usage={"wall": 3600.0, "gpu": 1800.0})
    step = finished.plan("--SandboxInfer-Tb", "2340", "--on-change", "remake")["SandboxInfer"]
    sizes = read_record(finished.directory / "results/infer.record.json").sizes

    assert step["estimate"]["scale"] == pytest.approx(0.1)
    assert step["estimate"]["wall"] == pytest.approx(360.0)
    assert step["estimate"]["gpu"] == pytest.approx(180.0)
    assert step["estimate"]["written"] == pytest.approx(sum(sizes.values()) * 0.1)


def test_costs_come_from_runs_beside_this_one(finished, stubs):
    """A new directory beside a finished run knows what its steps cost; steps without are named."""
    for path in finished.directory.rglob("*.record.json"):
        content = json.loads(path.read_text())
        # As from before records knew of usage.
        del content["usage"]
        content["started"], content["finished"] = (f"2026-01-01T00:{m}:00+00:00" for m in (10, 20))
        path.write_text(json.dumps(content))
    (finished.directory / "results/report.record.json").unlink()
    known = finished.directory.rename(finished.directory.with_name("other"))
    assert (known / "run.sh").exists()
    finished.directory.mkdir()
    for name in ("run.sh", "sandbox.cfg", "train.yaml"):
        (finished.directory / name).write_bytes((known / name).read_bytes())
    _, out, _ = finished.aframe("plan")

    assert re.search(r"to run: about 2\.\d+ h one after another, 0 GPU-hours, ", out)
    assert "no past run tells of: SandboxReport\n" in out


def test_strain_and_epochs_tell_of_scale_too(finished):
    """Twice the strain takes twice the time; half the epochs half."""
    _past(finished, "data/train/query.record.json", settings={"start": 0.0, "stop": 2200.0})
    (finished.directory / "training/config.yaml").write_text("trainer:\n  max_epochs: 20\n")
    (finished.directory / "train.yaml").write_text("trainer:\n  max_epochs: 10\n")
    known = pasts([finished.directory])
    from aframe.pipelines.sandbox import Sandbox  # noqa: PLC0415 (as the configuration is now)
    from aframe.tasks.outlook import outlooks  # noqa: PLC0415

    steps = {each.name: each.step for each in outlooks(Sandbox())}
    assert estimate(steps["FetchTrain"], known).scale == pytest.approx(2.0)
    assert estimate(steps["Train"], known).scale == pytest.approx(0.5)


def test_a_damaged_record_elsewhere_is_no_matter(tmp_path):
    """What cannot be read tells nothing of costs."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "x.record.json").write_text("{")

    assert pasts([tmp_path / "x"]) == []
