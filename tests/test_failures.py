"""A failed step: what its log says was the cause, its record, and how it is told."""

import json
import pickle
import signal

import pytest

from aframe.errors import AframeError
from aframe.failures import (
    Failure,
    StepFailedError,
    failure_of,
    failure_path,
    read_failure,
    told,
)

REFUSED = str(AframeError("the band is empty", found="32, 16", wanted_by="Train", fix="swap them"))


def _of(code, *lines, step="Train"):
    return failure_of(step, code, lines, command="aframe-train fit", log="/run/logs/fit.log")


@pytest.mark.parametrize(
    ("code", "lines", "problem", "cause"),
    [
        (2, f"aframe-train: error: {REFUSED}", "the band is empty (32, 16)", "user"),
        (
            2,
            (
                "aframe-data: error: the disk is full\n  found      [Errno 28]\n  wanted by  x\n"
                "  fix        free some space"
            ),
            "the disk is full ([Errno 28])",
            "disk",
        ),
        (
            1,
            'Traceback (most recent call last):\n  File "x", line 1\nValueError: no 7',
            "ValueError: no 7",
            "unknown",
        ),
        (
            1,
            "Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA out of memory",
            "torch.OutOfMemoryError: CUDA out of memory",
            "memory",
        ),
        (
            -signal.SIGKILL,
            "12 of 40 files",
            "it was killed from outside, mostly for want of memory",
            "memory",
        ),
        (137, "", "it was killed from outside, mostly for want of memory", "memory"),
        (-signal.SIGTERM, "", "it was interrupted", "interrupted"),
        (130, "", "it was interrupted", "interrupted"),
        (-signal.SIGSEGV, "half a line", "it ended with SIGSEGV", "unknown"),
        (3, "", "it ended with exit status 3", "unknown"),
    ],
)  # fmt: skip
def test_the_cause_is_read_from_the_log(code, lines, problem, cause):
    """An error of ours is its problem with what was found; other endings are one sentence."""
    failure = _of(code, *lines.splitlines())

    assert (failure.problem, failure.cause) == (problem, cause)


def test_an_error_of_many_lines_is_one_sentence():
    """What was found may be a list; the fix is kept, and the last error counts."""
    error = AframeError("x", found="a:\n  b\n  c", wanted_by="w\n  v", fix="mend it")
    lines = f"aframe-sv: error: {REFUSED}\naframe-sv: error: {error}".splitlines()

    assert _of(2, *lines).problem == "x (a: b c)"
    assert _of(2, *lines).fix == "mend it"


def test_a_record_is_read_as_it_was_written(tmp_path):
    """Beside the log of its verb; keys of a later version are passed over."""
    failure = _of(3, "a", "b")
    path = failure_path(tmp_path, "fit")
    path.parent.mkdir()
    failure.write(path)
    assert path == tmp_path / "logs/fit.failure.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "new": 1}))
    read = read_failure(path)

    assert {**vars(read), "last_lines": tuple(read.last_lines)} == {
        **vars(failure), "last_lines": ("a", "b"),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["{", "[]", '{"step": "x"}', "7"])
def test_what_is_no_record_tells_nothing(tmp_path, text):
    """A file that was cut short is no reason to fail again."""
    path = tmp_path / "x.json"
    path.write_text(text)

    assert read_failure(path) is None
    assert read_failure(tmp_path / "none") is None


def test_an_error_travels_between_processes():
    """A pool's worker hands it back whole."""
    error = pickle.loads(pickle.dumps(StepFailedError(_of(3, "a"))))  # noqa: S301

    assert str(error).startswith("step Train failed: it ended with exit status 3\n")
    assert error.failure.log == "/run/logs/fit.log"


def test_four_hundred_equal_failures_are_one():
    """One block with a count; another cause is another block."""
    alike = [_of(3, "line", step="Fetch") for _ in range(399)]
    text = told([*alike, _of(3, "line", step="Other"), _of(-9, step="Train")])

    assert [line for line in text.splitlines() if line.startswith("failed")] == [
        "failed: Fetch, Other (400 times)", "failed: Train",
    ]  # fmt: skip


def test_failures_of_one_cause_are_one():
    """Though each found another file; the first one's is shown, with the number of the others."""
    errors = [
        AframeError("a file cannot be read", found=f"/data/{n}.hdf5", wanted_by="x", fix="y")
        for n in range(400)
    ]
    failures = [_of(2, *f"aframe-data: error: {each}".splitlines(), step="F") for each in errors]
    other = _of(2, *f"aframe-data: error: {REFUSED}".splitlines(), step="F")
    failed, cause, fix = told(failures).splitlines()[:3]

    assert failed == "failed: F (400 times)"
    assert cause == "  cause      a file cannot be read (/data/0.hdf5), and 399 more alike"
    assert fix == "  fix        y"
    assert told([*failures, other]).count("failed: ") == 2


def test_steps_that_found_different_things_stay_apart():
    """What each found tells where to look."""
    refused = REFUSED.replace("32, 16", "64, 32")
    lines = [f"aframe-x: error: {each}".splitlines() for each in (REFUSED, refused)]
    failures = [_of(2, *each, step=name) for each, name in zip(lines, "AB", strict=True)]

    assert told(failures).count("failed: ") == 2


def _trace(line, error):
    """A traceback of a worker, and that of who awaited it."""
    worker = f'Traceback (most recent call last):\n  File "/x/fetch.py", line {line}, in f\n{error}'
    return f'{worker}\n\nTraceback (most recent call last):\n  File "/y.py", line 1\n{error}'


def test_exceptions_of_one_place_are_one():
    """By their type and the place where they were raised; what they say may differ."""
    alike = [_of(1, *_trace(7, f"ValueError: no {n}").splitlines()) for n in range(400)]
    elsewhere = _of(1, *_trace(8, "ValueError: no 0").splitlines(), step="Train")
    another = _of(1, *_trace(7, "KeyError: 0").splitlines())

    assert alike[0].kind == "ValueError at /x/fetch.py:7"
    assert told(alike).splitlines()[:2] == [
        "failed: Train (400 times)", "  cause      ValueError: no 0, and 399 more alike",
    ]  # fmt: skip
    assert elsewhere.kind == "ValueError at /x/fetch.py:8"
    assert told([*alike, another]).count("failed: ") == 2
    assert _of(1, "ValueError: no 7").kind == "ValueError"


def test_a_branch_and_the_schedulers_words_are_told():
    """Where there was a branch, or a scheduler that said something."""
    failure = Failure(
        "Fetch", "it used more memory than it had asked for", "aframe-data branches",
        "exit status 1", "/log", branch="rows 40-79", reason="memory 3 GB over 2 GB", count=7,
    )  # fmt: skip
    lines = told([failure]).splitlines()

    assert lines[0] == "failed: Fetch[rows 40-79] (7 times)"
    assert "  scheduler  memory 3 GB over 2 GB" in lines
