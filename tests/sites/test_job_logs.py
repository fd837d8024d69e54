"""Which job had which rows, as the record of jobs tells it."""

import json

import pytest

from aframe.sites.job_logs import job_log, read_job_logs, told_logs


@pytest.fixture
def record(tmp_path):
    """Where it is."""
    return tmp_path / "logs" / "fetch.jobs.json"


def _write(record, **told):
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps(told))


def _attempt(name, rows):
    return {"log": f"/run/logs/fetch/{name}.log", "rows": rows}


def test_a_name_that_is_no_jobs(tmp_path):
    """It is told from those that are."""
    assert job_log(tmp_path / "fetch.log") is None
    assert job_log(tmp_path / "10-2-1.log").set == 10


def test_attempts_come_before_what_took_their_place(record):
    """Their names do not tell where, and all are relative."""
    attempts = [_attempt("0-0-1", "0-3")]
    now = {"/run/logs/fetch/0-0-2.log": "0-1", "/run/logs/fetch/0-1-1.log": "2-3"}

    assert list(told_logs(record, 0, attempts, now).items()) == [
        ("fetch/0-0-1.log", "0-3"),
        ("fetch/0-0-2.log", "0-1"),
        ("fetch/0-1-1.log", "2-3"),
    ]


def test_earlier_sets_are_kept_in_their_order(record):
    """Of this set and later ones, as another run left them, only what is known now is told."""
    before = {"fetch/0-0-1.log": "0-3", "fetch/0-0-2.log": "0", "fetch/1-7-1.log": "9"}
    _write(record, logs=before, attempts=[])

    told = told_logs(record, 1, [_attempt("0-0-1", "0-3")], {"/run/logs/fetch/1-0-1.log": "0"})

    assert list(told) == ["fetch/0-0-1.log", "fetch/0-0-2.log", "fetch/1-0-1.log"]


def test_a_run_that_goes_on_begins_with_the_first_attempt(record):
    """Which then is the last that is told."""
    attempts = [_attempt("0-0-1", ""), _attempt("0-0-2", "")]

    told = told_logs(record, 0, attempts, {"/run/logs/fetch/0-0-1.log": ""})

    assert list(told) == ["fetch/0-0-2.log", "fetch/0-0-1.log"]


def test_logs_lie_beside_the_record(record):
    """Whether an older version wrote where they lay, or this one how they are named."""
    _write(record, attempts=[_attempt("0-3-1", "0-39,44")])
    (old,) = read_job_logs(record)
    _write(record, attempts=[], logs={"fetch/0-3-1.log": "0-39,44", "fetch/else": ""})
    (new,) = read_job_logs(record)

    assert old == new
    assert new.path == record.parent / "fetch" / "0-3-1.log"
    assert (new.set, new.job, new.attempt) == (0, 3, 1)
    assert [new.has(row) for row in (0, 39, 40, 44)] == [True, True, False, True]
