"""Branches of a verb: in processes here, or laid down in a table and done elsewhere."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from aframe import branches
from aframe.artifacts.segments import read_segments
from aframe.branches import DEALT, Dealt, cause_of, main, rows_named, run_branches
from aframe.draft import Deal, Draft, Status
from aframe.errors import AframeError

STAGE = Path(__file__).with_name("example_stage.py")


class TestPool:
    """Branches in processes."""

    @pytest.fixture
    def draft(self, tmp_path):
        """Make a draft to be told of progress."""
        return Draft(tmp_path)

    @pytest.mark.parametrize("workers", [1, 2, 16])
    def test_every_branch_is_done(self, tmp_path, draft, caplog, workers):
        """Whatever the number of processes, and the end is always said."""
        branches = [(tmp_path / str(index), f"{index}") for index in range(5)]

        with caplog.at_level(logging.INFO):
            run_branches(Path.write_text, branches, draft=draft, workers=workers, unit="files")

        assert [path.read_text() for path, _ in branches] == list("01234")
        assert caplog.messages[-1] == "5 of 5 files"

    def test_no_branch_is_no_work(self, tmp_path, draft, caplog, monkeypatch):
        """A run that had only to be published starts no process, and tells of none."""
        monkeypatch.setattr(branches, "in_processes", None)
        with caplog.at_level(logging.INFO):
            run_branches(Path.write_text, [], draft=draft, workers=4, unit="files")

        assert caplog.messages == []
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("workers", [1, 2])
    def test_the_first_failure_is_raised_with_its_parts(self, tmp_path, draft, workers):
        """An error of a worker is that of the command."""
        branches = [(tmp_path / "none.txt",)] * 3

        with pytest.raises(AframeError, match="a segment file cannot be read") as caught:
            run_branches(read_segments, branches, draft=draft, workers=workers, unit="files")

        assert "none.txt" in caught.value.found

    def test_a_failure_does_not_wait_for_the_others(self, tmp_path, draft):
        """Branches of hours are ended, since the same command makes them again."""
        begun = time.monotonic()

        with pytest.raises(TypeError):
            run_branches(time.sleep, [("x",), (1200,)], draft=draft, workers=2, unit="naps")

        assert time.monotonic() - begun < 1200

    def test_a_killed_worker_is_told(self, draft):
        """Out of memory looks like this: a process ends without a word."""
        with pytest.raises(AframeError, match="a worker process was killed") as caught:
            run_branches(os._exit, [(9,), (9,)], draft=draft, workers=2, unit="slides")

        assert caught.value.wanted_by == "the work on 2 slides"

    @pytest.mark.parametrize("workers", [1, 2])
    def test_each_branch_is_accounted_for(self, tmp_path, draft, workers):
        """A line a branch that is done, which outlives the process."""
        branches = [(tmp_path / str(index), f"{index}") for index in range(3)]

        run_branches(Path.write_text, branches, draft=draft, workers=workers, unit="files")

        rows = sorted(draft.accounting.rows(), key=lambda each: each.row)
        assert [(each.unit, each.row) for each in rows] == [("files", row) for row in range(3)]
        assert all(each.peak_memory > 1_000_000 for each in rows)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_the_status_names_the_branch_that_failed(self, tmp_path, draft, workers):
        """Of many branches one knows at once which to look at."""
        (tmp_path / "logs").mkdir()
        draft.status = Status(tmp_path / "logs" / "x.status.json", "aframe-data fetch")
        branches = [(tmp_path / "a", "a"), (tmp_path / "none" / "b", "b")]

        with pytest.raises(FileNotFoundError):
            run_branches(Path.write_text, branches, draft=draft, workers=workers, unit="files")

        told = json.loads(draft.status.path.read_text())
        assert (told["state"], told["branch"]) == ("failed", "files 1")


@pytest.fixture
def dealt(tmp_path):
    """Branches that read and write below two roots, laid down; their table."""
    strain, output = tmp_path / "strain", tmp_path / "output"
    for folder in (strain, output):
        folder.mkdir()
    for row in range(4):
        (strain / f"{row}.txt").write_text(f"strain {row}")
    rows = [(strain / f"{row}.txt", output / f"{row}.txt") for row in range(4)]
    draft = Draft(output, deal=Deal(tmp_path / "deal", {"output": output, "inputs.strain": strain}))
    with pytest.raises(Dealt) as caught:
        run_branches(
            shutil.copyfile,
            rows,
            draft=draft,
            workers=1,
            unit="files",
            reads=lambda source, _: [source],
            writes=lambda _, target: [target],
        )
    return caught.value.table


def _words(table, rows, *more):
    return ["--table", str(table), "--rows", rows, *map(str, more)]


class TestDeal:
    """A table of branches that others do."""

    def test_what_is_laid_down_is_described(self, tmp_path, dealt):
        """Whoever has the rows done knows how many there are and what each reads and writes."""
        told = json.loads(dealt.with_suffix(".json").read_text())

        assert (told["unit"], told["count"], told["table"]) == ("files", 4, "0.table")
        assert told["roots"]["output"] == str(tmp_path / "output")
        assert told["reads"][2] == [["inputs.strain", "2.txt"]]
        assert told["writes"][2] == [["output", "2.txt"]]

    def test_no_branch_is_done_yet(self, tmp_path, dealt):
        """They are for others to do."""
        assert not list((tmp_path / "output").iterdir())

    def test_rows_are_done_where_they_are_asked_for(self, tmp_path, dealt):
        """Two jobs share the table, each with its rows."""
        assert main("data", _words(dealt, "0,2-3")) == 0

        assert {path.name for path in (tmp_path / "output").iterdir()} == {
            "0.txt", "2.txt", "3.txt",
        }  # fmt: skip

    def test_a_row_that_is_done_is_left(self, tmp_path, dealt):
        """A job that was evicted half-way does not begin anew."""
        (tmp_path / "output" / "1.txt").write_text("done before")

        main("data", _words(dealt, "0-3", "--workers", 2))

        assert (tmp_path / "output" / "1.txt").read_text() == "done before"
        assert (tmp_path / "output" / "3.txt").read_text() == "strain 3"

    def test_roots_may_lie_elsewhere(self, tmp_path, dealt):
        """On a machine that sees nothing of the run, its files lie where the job has them."""
        shutil.move(tmp_path / "strain", tmp_path / "there")

        main(
            "data",
            _words(
                dealt, "1",
                "--root", f"inputs.strain={tmp_path / 'there'}",
                "--root", f"output={tmp_path / 'made'}",
            ),
        )  # fmt: skip

        assert (tmp_path / "made" / "1.txt").read_text() == "strain 1"

    def test_what_lies_below_no_root_becomes_one(self, tmp_path):
        """A file that a source names can be brought along as well."""
        draft = Draft(tmp_path, deal=Deal(tmp_path / "deal", {}))
        rows = [(Path("/data/x.gwf"), tmp_path / "x")]

        with pytest.raises(Dealt):
            run_branches(
                shutil.copyfile, rows, draft=draft, workers=1, unit="files",
                reads=lambda source, _: [source],
            )  # fmt: skip

        told = json.loads((tmp_path / "deal" / "0.json").read_text())
        assert told["reads"] == [[["other.0", "."]]]
        assert told["roots"] == {"other.0": "/data/x.gwf"}

    def test_each_deal_has_its_number(self, tmp_path, dealt):
        """The next set of branches does not overwrite the table that jobs still read."""
        draft = Draft(tmp_path, deal=Deal(dealt.parent, {}))

        with pytest.raises(Dealt) as caught:
            run_branches(time.sleep, [(0,)], draft=draft, workers=1, unit="naps")

        assert caught.value.table == dealt.parent / "1.table"

    def test_the_report_tells_what_was_done(self, tmp_path, dealt):
        """How it ended, where, and what each row used."""
        main("data", _words(dealt, "0-1", "--report", tmp_path / "report.json"))

        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["status"], report["error"], report["rows_done"]) == ("done", None, 2)
        assert [row["row"] for row in report["accounting"]] == [0, 1]
        assert report["host"] == os.uname().nodename

    def test_the_report_tells_what_went_wrong(self, tmp_path, dealt):
        """A failure is classed, so that whoever waits knows whether to try again."""
        (tmp_path / "strain" / "1.txt").unlink()

        with pytest.raises(FileNotFoundError):
            main("data", _words(dealt, "0-1", "--report", tmp_path / "report.json"))

        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["status"], report["cause"], report["rows_done"]) == ("failed", "unknown", 1)
        assert report["error"]["type"] == "FileNotFoundError"
        assert "Traceback" in report["error"]["traceback"]

    def test_a_report_that_cannot_be_written_hides_no_error(self, tmp_path, dealt):
        """Such as on the disk whose fullness it would tell of."""
        (tmp_path / "strain" / "1.txt").unlink()
        report = tmp_path / "gone" / "report.json"

        with pytest.raises(FileNotFoundError, match=r"1\.txt"):
            main("data", _words(dealt, "0-1", "--report", report))
        with pytest.raises(FileNotFoundError, match="gone"):
            main("data", _words(dealt, "0", "--report", report))

    def test_what_was_interrupted_is_not_reported_as_done(self, tmp_path, dealt, monkeypatch):
        """What it had done by then is told."""

        def interrupted(*_words):
            raise KeyboardInterrupt

        monkeypatch.setattr("aframe.branches._measured", interrupted)
        with pytest.raises(KeyboardInterrupt):
            main("data", _words(dealt, "0-1", "--report", tmp_path / "report.json"))

        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["status"], report["error"], report["rows_done"]) == ("failed", None, 0)

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (("--rows", "2-9"), "2-9"),
            (("--rows", "x"), "x"),
            (("--rows", "3-1"), "3-1"),
            (("--rows", "0", "--root", "scratch=/tmp"), "scratch"),
        ],
    )
    def test_refuses(self, dealt, words, found):
        """Rows and roots that the table does not have are named."""
        with pytest.raises(AframeError, match=r"there are no such rows|has no such root") as caught:
            main("data", ["--table", str(dealt), *words])

        assert caught.value.found == found

    def test_refuses_what_is_no_table(self, tmp_path):
        """A file of something else is named."""
        (tmp_path / "x.table").write_text("x")

        with pytest.raises(AframeError, match="a table of branches cannot be read") as caught:
            main("data", _words(tmp_path / "x.table", "0"))

        assert "x.table" in caught.value.found

    def test_refuses_a_root_without_a_path(self, dealt, capsys):
        """The command line says how a root is given."""
        with pytest.raises(SystemExit):
            main("data", _words(dealt, "0", "--root", "output"))

        assert "'output' is not NAME=PATH" in capsys.readouterr().err


def _stage(*words):
    done = subprocess.run(
        [sys.executable, STAGE, *map(str, words)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_a_verb_is_dealt_done_elsewhere_and_published(tmp_path):
    """The same command deals, and once the rows are done finishes as if it had done them."""
    verb = ("make", "--output", tmp_path / "output")
    deal = ("--resources.deal", tmp_path / "deal")
    table = tmp_path / "deal" / "0.table"

    first, told = _stage(*verb, *deal)
    jobs = [_stage("branches", *_words(table, rows)) for rows in ("0-1", "2-3")]
    last, _ = _stage(*verb, *deal)
    here, _ = _stage("make", "--output", tmp_path / "here")

    assert (first, [code for code, _ in jobs], last, here) == (DEALT, [0, 0], 0, 0)
    assert f"the branches in {table} are to be done" in told
    records = [
        json.loads((tmp_path / name / "make.record.json").read_text())
        for name in ("output", "here")
    ]
    assert records[0]["outputs"] == records[1]["outputs"]
    assert records[0]["digest"] == records[1]["digest"]


def test_a_row_that_the_user_must_mend_is_told_once(tmp_path):
    """A job's error is laid out as that of the command itself, with its status."""
    code, told = _stage("branches", *_words(tmp_path / "none.table", "0"))

    assert code == 2
    assert told.startswith("aframe-data: error: a table of branches cannot be read")


def test_rows_are_named_as_spans():
    """Single rows and spans may be mixed."""
    assert rows_named("7,0-2", 8) == [7, 0, 1, 2]


def _chained(error, cause):
    error.__cause__ = cause
    return error


def _mendable(cause=None):
    return _chained(AframeError("x", found="x", wanted_by="x", fix="x"), cause)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (_mendable(), "user"),
        (MemoryError(), "memory"),
        (_mendable(BrokenProcessPool()), "memory"),
        (OSError(errno.ENOSPC, "full"), "disk"),
        (_mendable(OSError(errno.EDQUOT, "")), "disk"),
        (OSError(errno.ESTALE, "stale"), "storage"),
        (FileNotFoundError(errno.ENOENT, "x"), "unknown"),
        (ZeroDivisionError(), "unknown"),
    ],
)  # fmt: skip
def test_causes(error, cause):
    """What more room or time may mend is told apart from what will fail again."""
    assert cause_of(error) == cause


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """The folder of a run, outside the working directory, whose disk has room or not."""
    (tmp_path / "job").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    monkeypatch.delenv("TMPDIR", raising=False)
    room = {tmp_path / "job": 10**9, tmp_path / "run": 0}
    monkeypatch.setattr(
        branches.shutil, "disk_usage", lambda path: SimpleNamespace(free=room[path.resolve()])
    )
    return tmp_path / "run"


def test_a_full_disk_of_the_run_is_not_the_jobs(run_folder):
    """More room for the job does not help it, whichever way the error tells the file."""
    full = partial(OSError, errno.ENOSPC, "full")
    for error, cause in (
        (full(str(run_folder / "x")), "storage"),
        (full(os.fsencode(run_folder / "x")), "storage"),
        (full("/scratch/x"), "disk"),
        (full("x"), "disk"),
        (OSError(errno.ENOSPC, f"write failed (filename = '{run_folder}/x.h5', …)"), "storage"),
        (OSError(errno.EDQUOT, "quota"), "storage"),
    ):
        assert cause_of(error, [run_folder]) == cause, error
    with pytest.raises(OSError, match="No space left") as caught:
        Path("/dev/full").write_text("x")
    # It names no file: the disk without room is meant.
    assert caught.value.filename is None
    assert cause_of(caught.value, [run_folder, Path("gone")]) == "storage"
    assert cause_of(caught.value, [Path("here")]) == "disk"


def test_a_full_disk_for_temporary_files_is_the_jobs(run_folder, monkeypatch):
    """A job may have another for these than for its files."""
    monkeypatch.setenv("TMPDIR", str(run_folder))
    other = run_folder.parent / "job2"
    other.mkdir()
    room = {"job": 10**9, "job2": 10**8, "run": 0}
    monkeypatch.setattr(
        branches.shutil, "disk_usage", lambda path: SimpleNamespace(free=room[path.resolve().name])
    )

    assert cause_of(OSError(errno.ENOSPC, "full"), [other]) == "disk"
    monkeypatch.delenv("TMPDIR")
    assert cause_of(OSError(errno.ENOSPC, "full"), [other]) == "storage"


def test_a_chain_of_causes_that_bites_its_tail_ends():
    """Two errors, each raised for the other, are no endless loop."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first

    assert cause_of(first) == "unknown"
