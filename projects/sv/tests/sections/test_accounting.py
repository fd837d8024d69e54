"""What the run took, in the report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aframe.artifacts.record import read_record
from aframe.usage import Table, Usage
from aframe_sv.sections.accounting import at_work, branches_a_job, in_bytes, rounded, section

USAGE = {
    "wall": 42.0, "cpu": 63.0, "gpu": 0.0, "peak_memory": 2.0e9, "bytes_read": 5e6,
    "bytes_written": 7e9, "queue": 0.0, "branches": 0, "workers": 2,
}  # fmt: skip


def _branch(row, **changes):
    at = 1_795_255_200.0  # 2026-11-21T10:00 UTC, when the run's records begin
    return replace(Usage("files", row, "node", "run", at + 10 * row, 20.0, 19.0, 10**9), **changes)


@pytest.fixture
def accounted(evidence, records, tmp_path):
    """The evidence of the run whose steps say what they took; a search with branches and a GPU."""

    def gather(branches=6):
        steps = []
        for path in records:
            record = read_record(path)
            folder = tmp_path / Path(path).parent.name
            used = dict(USAGE)
            if record.command == "aframe-infer infer":
                (folder / "logs").mkdir(parents=True)
                rows = [_branch(row, peak_memory=10**9 + row) for row in range(branches)]
                Table(folder / "logs" / "infer.branches.csv").add(rows)
                used |= {"branches": branches, "gpu": 30.0, "queue": 600.0}
            steps.append((folder / Path(path).name, replace(record, usage=used)))
        return evidence(records=steps)

    return gather


def test_every_step_is_accounted_for(accounted):
    """Time, processors, memory and bytes of each, and their sums at a glance."""
    got = section(accounted())

    table = got.tables[0]
    assert len(table.rows) == 5
    fetch = next(row for row in table.rows if row[0] == "aframe-data fetch")
    assert fetch[2:] == (
        "42.0 seconds", "1.1 minutes", "75%", "-", "2 GB", "5 MB", "7 GB", "-", "-",
    )  # fmt: skip
    infer = next(row for row in table.rows if row[0] == "aframe-infer infer")
    # Of jobs that waited in a queue the time says nothing of how busy they were.
    assert infer[4:6] == ("-", "30.0 seconds")
    assert infer[9:] == ("10.0 minutes", "6")
    assert ("Processor time", "5.2 minutes") in got.facts
    assert ("Written", "35 GB") in got.facts


def test_requests_fit_the_branches_that_were_seen(accounted):
    """Room for nearly all of them and a quarter more; as many a job as take an hour."""
    (_, table) = section(accounted()).tables

    ((command, branches, took, memory, _, number),) = table.rows
    assert (command, branches) == ("aframe-infer infer", "6 files")
    assert took == "20.0 seconds, 20.0 seconds"
    assert memory == "1280 MiB"
    assert number == "180"


def test_a_timeline_is_drawn(accounted):
    """One figure, which names each step to those who cannot see it."""
    (picture,) = section(accounted()).pictures

    assert picture.alt == "timeline of 5 steps"
    assert picture.content.startswith(b"<?xml")


def test_without_branches_there_is_no_advice(accounted):
    """Steps of one process are asked for as a whole."""
    assert len(section(accounted(branches=0)).tables) == 1


def test_records_that_do_not_say_leave_it_out(evidence):
    """Those of an older version do not."""
    assert section(evidence()) is None


def test_branches_at_work_are_counted():
    """Against a count at each moment by itself."""
    rng = np.random.default_rng(5)
    branches = [
        _branch(row, started=float(rng.uniform(0, 100)), wall=float(rng.uniform(1, 30)))
        for row in range(200)
    ]

    time, count = at_work(branches)

    for moment in rng.uniform(0, 130, 50):
        there = sum(each.started <= moment < each.started + each.wall for each in branches)
        before = np.searchsorted(time, moment, side="right") - 1
        assert (count[before] if before >= 0 else 0) == there
    assert count[-1] == 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2.34e9, "2.34 GB"), (3e13, "30 TB")],
)
def test_sizes_are_told_in_a_unit_that_fits(size, text):
    """From nothing to more than the largest unit."""
    assert in_bytes(size) == text


def test_requests_are_round():
    """A scheduler is asked for steps of 128 MiB, and for one branch at least."""
    assert rounded(1) == 128
    assert branches_a_job(np.array([1e6])) == 1
