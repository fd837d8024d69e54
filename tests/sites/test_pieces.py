"""Rows are shared out to jobs, and what is known of these outlives a kill."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.branches import rows_named
from aframe.sites.pieces import Piece, State, grouped, read_state, rows_of, rows_text
from aframe.sites.requests import Request


@given(st.sets(st.integers(0, 60), min_size=1))
def test_rows_are_written_as_the_stage_reads_them(rows):
    """Any rows, in order."""
    text = rows_text(sorted(rows))

    assert rows_of(text) == rows_named(text, 61) == sorted(rows)


@given(
    st.integers(1, 300), st.floats(0.01, 5000) | st.none(), st.floats(1, 20000), st.integers(1, 8)
)
def test_every_row_is_in_one_job(count, seconds, length, workers):
    """Jobs are as alike as can be, and not longer than asked for, or of one row."""
    jobs = [rows_of(each) for each in grouped(count, seconds, length, workers)]

    assert [row for rows in jobs for row in rows] == list(range(count))
    sizes = {len(rows) for rows in jobs}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == 1 or max(sizes) * (seconds or 60.0) / workers <= length * (1 + 1e-9)


def test_a_state_is_read_as_it_was_written(tmp_path):
    """With attempts and what they ask for."""
    state = State(tmp_path / "state.json", "digest")
    state.begin(3, ["0-4", "5-9"], Request(memory=10))
    state.pieces[1].again(Request(memory=20), 5.0, "bad")
    state.attempts.append({"cause": "node"})
    state.write()

    assert read_state(state.path) == state
    assert [piece.attempt for piece in state.pieces] == [1, 2]


def test_a_state_of_an_older_version_is_read(tmp_path):
    """Which did not keep what was asked for first."""
    state = State(tmp_path / "state.json", "digest")
    state.begin(0, ["0-4"], Request())
    content = json.loads(state.path.read_text())
    del content["request"]
    state.path.write_text(json.dumps(content))

    again = read_state(state.path)
    assert (again.pieces, again.request) == (state.pieces, None)


@pytest.mark.parametrize("content", [None, "", "{}", '{"pieces": [{}]}', "[]"])
def test_what_is_no_state_is_none(tmp_path, content):
    """A file cut short, or of another version."""
    path = tmp_path / "state.json"
    if content is not None:
        path.write_text(content)

    assert read_state(path) is None


def test_two_sets_are_told_apart():
    """Also where a run begins anew at the same number."""
    tokens = set()
    for _ in range(2):
        state = State.__new__(State)
        state.write = lambda: None
        state.begin(0, ["0"], Request())
        tokens.add(state.token)

    assert len(tokens) == 2


def test_another_attempt_avoids_each_bad_machine_once():
    """And waits to be submitted."""
    piece = Piece(0, "0-3", Request(), submitted=True, starts=2)

    piece.again(Request(), 0.0, "a")
    piece.again(Request(), 0.0, "a")
    piece.again(Request(), 9.0, None)

    assert (piece.avoid, piece.attempt, piece.submitted, piece.starts) == (["a"], 4, False, 0)
