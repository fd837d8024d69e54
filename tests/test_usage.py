"""What work costs is measured, kept through kills, and summed without counting twice."""

import math
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.usage import Meter, Table, Usage, at_work, total, with_queue

ROW = Usage("files", 3, "node7", "run-a", 10.5, 2.0, 1.5, 1000, 0.25, 70, 30, 4.0)


def test_a_meter_measures_this_process(tmp_path):
    """Time, processor time, memory and bytes are those of the work in between."""
    meter = Meter()
    (tmp_path / "written").write_bytes(bytes(3_000_000))
    held = bytearray(200_000_000)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass

    used = meter.read("files", 0, "run")

    assert used.wall >= used.cpu * 0.9 >= 0.18
    assert used.peak_memory > len(held)
    assert 3_000_000 <= used.bytes_written < 3_100_000
    assert used.gpu == 0


def test_the_peak_is_of_the_branch():
    """Memory that was given back before does not count for the next branch of a process."""
    held = bytearray(400_000_000)
    first = Meter().read("files", 0, "run").peak_memory
    del held

    assert Meter().read("files", 1, "run").peak_memory < first - 300_000_000


def test_where_the_system_does_not_say(monkeypatch):
    """Without /proc the bytes are unknown and the peak is that of the process's life."""

    def refused(*_words, **_options):
        raise OSError

    monkeypatch.setattr("aframe.usage.Path.read_text", refused)
    monkeypatch.setattr("aframe.usage.Path.write_text", refused)

    used = Meter().read("files", 0, "run")

    assert (used.bytes_read, used.bytes_written) == (0, 0)
    assert used.peak_memory > 1_000_000


def test_rows_come_back_as_they_were_noted(tmp_path):
    """Each number keeps its type, also where rows were added by several runs."""
    table = Table(tmp_path / "accounting.csv")
    table.add([ROW])
    table.add([replace(ROW, row=4), replace(ROW, row=5)])

    assert list(table.rows()) == [replace(ROW, row=row) for row in (3, 4, 5)]


def test_a_line_cut_short_is_left_out(tmp_path):
    """A kill in the middle of a line loses that line and no other."""
    table = Table(tmp_path / "accounting.csv")
    table.add([ROW, replace(ROW, row=4)])
    table.path.write_text(table.path.read_text()[:-20])

    assert list(table.rows()) == [ROW]


def test_a_table_without_its_first_line_gets_it(tmp_path):
    """A kill right after the file was made loses none of the lines to come."""
    table = Table(tmp_path / "accounting.csv")
    table.path.touch()
    table.add([ROW])

    assert list(table.rows()) == [ROW]


def test_no_table_has_no_rows(tmp_path):
    """A step without branches has none."""
    assert list(Table(tmp_path / "none.csv").rows()) == []


def test_the_wait_of_a_job_is_shared():
    """The sum over its branches is what the job waited."""
    rows = with_queue([replace(ROW, row=row) for row in range(4)], 10.0)

    assert [each.queue for each in rows] == [2.5] * 4


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
def test_the_time_at_work_counts_each_moment_once(spans):
    """As many seconds as some span holds."""
    rows = [replace(ROW, started=1e9 + start, wall=length) for start, length in spans]
    seconds = {second for start, length in spans for second in range(start, start + length)}

    assert at_work(rows) == len(seconds)


def test_a_step_took_as_long_as_its_jobs():
    """They worked before the process that publishes, side by side."""
    main = replace(ROW, unit="steps", run="run-b", started=2000.0, wall=10.0)
    jobs = [replace(ROW, row=n, run=f"job-{n}", started=1000.0 + n, wall=60.0) for n in range(3)]

    assert total(main, jobs, workers=2)["wall"] == 62 + 10


def test_what_other_runs_used_is_added():
    """Branches of this run are in what its process and children used; those of others are not."""
    main = replace(ROW, unit="steps", run="run-b", wall=100.0, cpu=50.0, peak_memory=5, gpu=0.0)
    mine = replace(ROW, run="run-b", peak_memory=9)
    others = [replace(ROW, row=row, run=f"job-{row}") for row in range(3)]

    found = total(main, [mine, *others], workers=2)

    assert found["wall"] == 100
    assert found["cpu"] == 50 + 3 * ROW.cpu
    assert found["bytes_read"] == 70 + 3 * 70
    assert found["peak_memory"] == 1000
    assert found["gpu"] == pytest.approx(3 * 0.25 + 0.25)
    assert (found["branches"], found["workers"]) == (4, 2)
    assert all(math.isfinite(value) for value in found.values())
