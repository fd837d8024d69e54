"""`aframe status`: the view of a run at work."""

import json
import os
import platform
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

from aframe.commands import status
from aframe.tasks.outlook import Progress

LONGEST = 120


def _write(run, path, content):
    file = run.directory / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _at_work(run, folder, verb, **said):
    now = time.time()
    told = {"state": "running", "unit": "files", "done": 10, "total": 40, "started": now - 100}
    told |= {"updated": now, "host": platform.node(), "pid": os.getpid()}
    _write(run, f"{folder}/logs/{verb}.status.json", {**told, **said})


def test_a_step_at_work(empty):
    """Its share, its rate, what is left, and its jobs on a pool."""
    _at_work(empty, "data/train", "query")
    jobs = {"idle": 3, "running": 2, "held": 0, "done": 1, "failed": 0}
    _write(empty, "data/train/logs/query.jobs.json", {"jobs": jobs})
    code, out, _ = empty.aframe("status", "--once")
    (line,) = [line for line in out.splitlines() if line.startswith("running Query:data/train")]

    assert code == 0
    assert "█████░░░░░░░░░░░░░░░ 10 of 40 files, 6/min, 5 min left" in line
    assert line.endswith("jobs: 3 idle, 2 running, 1 done")
    assert "1 running 3 runs 11 waits\n" in out


def test_failures_are_told_by_their_causes(empty):
    """Once for those that are alike, below the steps."""
    for folder in ("data/train", "data/test"):
        failure = {"step": "Query", "problem": "no route", "command": "c", "ended": "e", "log": "l"}
        _write(empty, f"{folder}/logs/query.failure.json", failure)
    _, out, _ = empty.aframe("status", "--once")

    assert out.count("failed, see below") == 2
    assert out.count("\nfailed: Query (2 times)\n  cause      no route\n") == 1


def test_all_is_done(finished):
    """Every step in one word."""
    _, out, _ = finished.aframe("status")

    assert "\n15 done\n" in out
    assert out.count("\ndone    ") == 15


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress("running", alive=True, started=time.time() - 30 * 86400), "for 30 d"),
        (
            Progress(
                "running", alive=True, unit="files", done=0, total=4, started=0.0, updated=1.0
            ),
            "░░░░░░░░░░░░░░░░░░░░ 0 of 4 files, 0/min",
        ),
        (
            Progress(
                "running", alive=True, unit="files", done=4, total=4, started=0.0, updated=2.0
            ),
            "████████████████████ 4 of 4 files, 2/s, 0 s left",
        ),
    ],
)
def test_pace(progress, text):
    """Of a step without branches, one that has done none, and one at its end."""
    assert status._pace(progress) == text


def test_jobs_that_cannot_be_read(empty):
    """They are not shown."""
    _at_work(empty, "data/train", "query")
    _write(empty, "data/train/logs/query.jobs.json", {"jobs": 7})

    assert "jobs:" not in empty.aframe("status", "--once")[1]


def test_what_does_not_fit_the_screen_is_left_out():
    """First what is done, then the end; a line that would wrap is cut, colors and all."""
    lines = [*("head", "done    A", "runs    B"), *(f"waits   {n}" for n in range(9))]

    assert status._fitted(lines, 20) == lines
    assert status._fitted(lines, 11) == [line for line in lines if line != "done    A"]
    assert status._fitted(lines, 4) == ["head", "runs    B", "waits   0", "…"]
    assert status._cut("abcdef", 3) == "abc"
    assert status._cut("\033[31mabcdef", 3) == "\033[31mabc\033[0m"


def test_on_a_terminal_it_refreshes_in_place(finished):
    """In another screen, which it leaves when all is done or Ctrl-C is pressed."""
    (finished.directory / "results/report.html").unlink()
    main, other = pty.openpty()
    command = [sys.executable, "-c", "import sys; from aframe.commands import main; main()"]
    with subprocess.Popen(
        [*command, "status", "--directory", str(finished.directory)], stdout=other, stderr=other
    ) as process:
        os.close(other)
        seen = b""
        end = time.monotonic() + LONGEST
        while seen.count(b"\033[H") < 2 and time.monotonic() < end:
            seen += os.read(main, 4096)
        process.send_signal(signal.SIGINT)
        # To the end of what it said: then the terminal is closed.
        while True:
            try:
                seen += os.read(main, 4096)
            except OSError:
                break
    text = seen.decode()

    assert process.wait() == 0
    assert text.startswith("\033[?1049h\033[H")
    assert re.search(r"\033\[33mruns\033\[0m +SandboxReport", text)
    # What was seen last is left where the command was typed.
    assert "SandboxReport" in text.partition("\033[?1049l")[2]
