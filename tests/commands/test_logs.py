"""`aframe logs`: which log is shown, and what is added to it."""

import json
import os
import platform
import subprocess
import threading
import time

import pytest

from aframe.commands import logs
from aframe.tasks.outlook import outlooks
from aframe.usage import Table, Usage


def _log(run, path, text):
    file = run.directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def _failure(run, path, log, when=1.0):
    content = {"step": "X", "problem": "p", "command": "c", "ended": "e", "log": str(log)}
    _log(run, path, json.dumps({**content, "when": when}))


def _had(run, count):
    """Have the status of a step tell that it had *count* branches."""
    told = {"state": "failed", "unit": "files", "done": 0, "total": count}
    told |= {"started": 0.0, "updated": 0.0}
    _log(run, "data/test/logs/fetch.status.json", json.dumps(told))


def test_the_log_of_a_step(empty):
    """All of it, or its last lines; its path is on the other stream."""
    path = _log(empty, "training/logs/fit.log", "one\ntwo\nthree\n")

    assert empty.aframe("logs", "Train") == (0, "one\ntwo\nthree\n", f"{path}\n")
    assert empty.aframe("logs", "Train", "--lines", "2")[1] == "two\nthree\n"


def test_the_log_of_the_last_failure(empty):
    """Of a job, where that failed; of several steps of one name, the one that failed last."""
    whole = _log(empty, "data/test/logs/query.log", "whole\n")
    job = _log(empty, "data/test/logs/query/0-1-2.log", "of the job\n")
    _failure(empty, "data/test/logs/query.failure.json", job, when=2.0)
    other = _log(empty, "data/train/logs/query.log", "other\n")
    _failure(empty, "data/train/logs/query.failure.json", other, when=1.0)

    assert empty.aframe("logs", "Query")[1] == "of the job\n"
    job.unlink()
    assert empty.aframe("logs", "Query")[2] == f"{whole}\n"


def test_the_log_of_a_branch(empty):
    """The last attempt that a pool made at it; of a step on this machine, that of the step."""
    first = _log(empty, "data/test/logs/fetch/0-0-0.log", "first\n")
    second = _log(empty, "data/test/logs/fetch/0-0-1.log", "second\n")
    _log(empty, "data/test/logs/fetch.log", "whole\n")
    attempts = [
        {"rows": "0-39,44", "log": str(first)},
        {"rows": "0-39,44", "log": str(second)},
        {"rows": "40-43", "log": str(first)},
    ]
    _log(empty, "data/test/logs/fetch.jobs.json", json.dumps({"attempts": attempts}))
    _had(empty, 100)

    for branch, said in ((12, "second\n"), (44, "second\n"), (40, "first\n"), (99, "whole\n")):
        assert empty.aframe("logs", f"FetchTest[{branch}]")[1] == said


def _begun(run, path, started, **more):
    """Have the status of a step tell that it was begun on this machine at *started*."""
    told = {"state": "done", "started": started, "updated": started, **more}
    _log(run, path, json.dumps(told))


def test_the_log_of_a_step_that_is_one_job(empty):
    """That of its newest attempt, done or at work, told of or not; also where it was published."""
    first = _log(empty, "training/logs/fit/0-0-1.log", "first\n")
    os.utime(first, (1.0, 1.0))
    last = _log(empty, "training/logs/fit/0-0-2.log", "last\n")

    shown = (0, "last\n", f"{last} (set 0, job 0, attempt 2)\n")
    assert empty.aframe("logs", "Train") == shown
    now = time.time()
    _log(empty, "training/logs/fit.jobs.json", json.dumps({"attempts": []}))
    _log(empty, "training/logs/fit.log", "publishing\n")
    _begun(empty, "training/logs/fit.status.json", now)
    assert empty.aframe("logs", "Train") == shown
    status, out, err = empty.aframe("logs", "Train[0]")
    assert (status, out) == (2, "")
    assert "there is no such branch" in err


def test_a_step_whose_one_job_waits(empty):
    """It is not told to be run."""
    _log(empty, "training/logs/fit.jobs.json", json.dumps({"logs": {"fit/0-0-1.log": ""}}))

    status, _, err = empty.aframe("logs", "Train")
    assert status == 2
    assert "training/logs/fit/0-0-1.log\n" in err
    assert "  fix        wait until the job is at work" in err


def test_a_step_that_was_one_job_and_is_done_here_since(empty):
    """What this machine did is the last that is known."""
    _log(empty, "training/logs/fit/0-0-1.log", "of the job\n")
    _log(empty, "training/logs/fit.jobs.json", json.dumps({"attempts": []}))
    _log(empty, "training/logs/fit.log", "here\n")
    _begun(empty, "training/logs/fit.status.json", time.time() + 600.0)

    assert empty.aframe("logs", "Train")[1] == "here\n"


def test_a_job_that_failed_and_is_tried_again(empty):
    """The new attempt is shown as soon as it is at work."""
    first = _log(empty, "training/logs/fit/0-0-1.log", "first\n")
    os.utime(first, (1.0, 1.0))
    _failure(empty, "training/logs/fit.failure.json", first, when=2.0)

    assert empty.aframe("logs", "Train")[1] == "first\n"
    _log(empty, "training/logs/fit/0-0-2.log", "second\n")
    assert empty.aframe("logs", "Train")[1] == "second\n"


#: Two sets: of the second a job failed, and its rows went to two.
JOBS = {
    "fetch/0-0-1.log": "0-1",
    "fetch/0-1-1.log": "2",
    "fetch/1-0-1.log": "0-1",
    "fetch/1-0-2.log": "0",
    "fetch/1-1-1.log": "1",
}


def _jobs(run, logs):
    for name, rows in logs.items():
        _log(run, f"data/test/logs/{name}", f"{name} {rows}\n")
    _log(run, "data/test/logs/fetch.jobs.json", json.dumps({"attempts": [], "logs": logs}))
    return _log(run, "data/test/logs/fetch.log", "whole\n")


def test_the_log_of_a_branch_of_any_job(empty):
    """The newest attempt of the last set with such a row, or of the set that is named."""
    whole = _jobs(empty, JOBS)
    folder = empty.directory / "data/test/logs/fetch"

    assert empty.aframe("logs", "FetchTest[0]") == (
        0,
        "fetch/1-0-2.log 0\n",
        f"{folder}/1-0-2.log (set 1, job 0, attempt 2, rows 0; of other sets: FetchTest[0:0])\n",
    )
    assert empty.aframe("logs", "FetchTest[1]")[1] == "fetch/1-1-1.log 1\n"
    assert empty.aframe("logs", "FetchTest[2]")[2] == (
        f"{folder}/0-1-1.log (set 0, job 1, attempt 1, rows 2)\n"
    )
    assert empty.aframe("logs", "FetchTest[0:1]")[2] == (
        f"{folder}/0-0-1.log (set 0, job 0, attempt 1, rows 0-1)\n"
    )
    assert empty.aframe("logs", "FetchTest")[2] == f"{whole}; those of its jobs: {folder}\n"


def test_a_branch_that_no_job_had(empty):
    """What each set had is named; whole or by the set that was asked for."""
    _jobs(empty, JOBS)

    status, out, err = empty.aframe("logs", "FetchTest[1:2]")
    assert (status, out) == (2, "")
    assert "FetchTest[1:2], though its last run had 3 branches in set 0, 2 branches in" in err
    assert "though its last run had 3 branches\n" in empty.aframe("logs", "FetchTest[3]")[2]
    (empty.directory / "data/test/logs/fetch.jobs.json").unlink()
    assert "nothing tells of its sets" in empty.aframe("logs", "FetchTest[1:2]")[2]


def test_a_branch_whose_job_has_no_log_yet(empty):
    """It is not taken for a step that never ran, nor for the row of another set."""
    _jobs(empty, JOBS)
    folder = empty.directory / "data/test/logs/fetch"
    (folder / "1-1-1.log").unlink()
    (folder / "1-0-1.log").unlink()

    status, _, err = empty.aframe("logs", "FetchTest[1]")
    assert status == 2
    assert f"  found      no {folder}/1-1-1.log\n" in err
    assert "  fix        wait until the job is at work" in err


def test_branches_that_were_done_here_since(empty):
    """They are in the log of the step."""
    _jobs(empty, JOBS)
    _begun(empty, "data/test/logs/fetch.status.json", time.time() + 600.0, total=2, unit="files")

    assert empty.aframe("logs", "FetchTest[1]")[1] == "whole\n"


def test_the_accounts_of_branches_tell_how_many_there_were(empty):
    """Where an older version left nothing else."""
    _log(empty, "data/test/logs/fetch.log", "whole\n")
    table = Table(empty.directory / "data/test/logs/fetch.branches.csv")
    table.add([Usage("files", row, "host", "run", 0.0) for row in range(3)])

    assert empty.aframe("logs", "FetchTest[2]")[1] == "whole\n"
    assert "its last run had 3 files" in empty.aframe("logs", "FetchTest[3]")[2]


def test_logs_of_a_run_directory_that_was_moved(empty):
    """Those beside the record of the jobs or of the failure are shown, whatever path is there."""
    there = "/where/it/was/data/test/logs/fetch/0-0-1.log"
    path = _log(empty, "data/test/logs/fetch/0-0-1.log", "of the job\n")
    attempts = [{"rows": "0-3", "attempt": 1, "log": there}]
    _log(empty, "data/test/logs/fetch.jobs.json", json.dumps({"attempts": attempts}))
    shown = (0, "of the job\n", f"{path} (set 0, job 0, attempt 1, rows 0-3)\n")

    assert empty.aframe("logs", "FetchTest[2]") == shown
    _failure(empty, "data/test/logs/fetch.failure.json", there)
    assert empty.aframe("logs", "FetchTest") == shown


def test_a_branch_that_is_none(empty):
    """It is named with the number of those that there are; nothing is printed."""
    path = _log(empty, "data/test/logs/fetch.log", "whole\n")
    status, out, err = empty.aframe("logs", "FetchTest[0]")
    assert (status, out) == (2, "")
    assert "  found      FetchTest[0], though nothing tells of its branches\n" in err
    assert "  fix        aframe logs FetchTest shows the log of the whole step\n" in err

    _had(empty, 40)
    assert empty.aframe("logs", "FetchTest[39]")[:2] == (0, "whole\n")
    status, out, err = empty.aframe("logs", "FetchTest[99999]")
    assert (status, out) == (2, "")
    assert "error: there is no such branch\n" in err
    assert "  found      FetchTest[99999], though its last run had 40 files\n" in err
    assert "  fix        give one of 0 to 39; aframe logs FetchTest shows" in err

    path.unlink()
    assert "there is no log yet" in empty.aframe("logs", "FetchTest[99999]")[2]


def test_a_branch_that_was_laid_down_for_a_pool(empty):
    """The last table tells how many there are."""
    from aframe.pipelines.sandbox import Sandbox  # noqa: PLC0415 (as the configuration is now)

    (step,) = [each.step for each in outlooks(Sandbox()) if each.name == "FetchTest"]
    for number, count in ((2, 7), (10, 40)):
        text = json.dumps({"count": count, "unit": "files"})
        _log(empty, step.condor_folder / f"tables/{number}.json", text)
    _log(empty, "data/test/logs/fetch.log", "whole\n")

    assert empty.aframe("logs", "FetchTest[39]")[:2] == (0, "whole\n")
    assert "its last run had 40 files" in empty.aframe("logs", "FetchTest[40]")[2]


def test_no_log_yet(empty):
    """The error says what to do first."""
    status, _, err = empty.aframe("logs", "Train")

    assert status == 2
    assert "there is no log yet" in err
    assert f"no {empty.directory}/training/logs/fit.log" in err


def test_a_step_named_otherwise(empty):
    """The form is shown."""
    status, _, err = empty.aframe("logs", "Train[x]")

    assert status == 2
    assert "a step is named otherwise" in err
    assert "FetchTrain[12]" in err


@pytest.mark.parametrize("text", ["{", '{"attempts": 7}', '{"logs": 7}', "[]", "{}"])
def test_jobs_that_cannot_be_read(empty, text):
    """They tell of no attempt."""
    path = _log(empty, "data/test/logs/fetch.log", "whole\n")
    _log(empty, "data/test/logs/fetch.jobs.json", text)
    _had(empty, 2)

    assert empty.aframe("logs", "FetchTest[1]")[2] == f"{path}\n"


def test_a_log_is_followed_until_its_step_ends(empty, monkeypatch):
    """What is added meanwhile is shown, and the command ends with the step."""
    monkeypatch.setattr(logs, "_BETWEEN_LOOKS", 0.01)
    path = _log(empty, "training/logs/fit.log", "one\n")
    process = subprocess.Popen(["sleep", "600"])
    told = {"state": "running", "started": 0.0, "updated": time.time(), "host": platform.node()}
    _log(empty, "training/logs/fit.status.json", json.dumps({**told, "pid": process.pid}))

    def work():
        with path.open("a") as file:
            file.write("two\n")
        told["pid"] = os.getpid()
        _log(empty, "training/logs/fit.status.json", json.dumps({**told, "state": "done"}))
        process.kill()
        process.wait()

    timer = threading.Timer(0.5, work)
    timer.start()
    status, out, _ = empty.aframe("logs", "Train", "--follow")
    timer.join()

    assert (status, out) == (0, "one\ntwo\n")
