"""What a user sees of luigi, and of an interrupted run."""

import logging
import sys

import pytest

from aframe.errors import AframeError
from aframe.tasks.screen import OnScreen, _last_words

ERROR = AframeError("no strain", found="none", wanted_by="fetch", fix="add files")
SHOWN = "no strain\n  found      none\n  wanted by  fetch\n  fix        add files"


def _record(level, message, *arguments, error=None):
    trace = error and (type(error), error, None)
    return logging.LogRecord("luigi-test", level, __file__, 1, message, arguments, trace)


def _wrapped():
    try:
        try:
            raise ERROR
        except AframeError as error:
            raise ValueError("a default value cannot be parsed") from error
    except ValueError as error:
        return error


def test_chatter_is_left_out():
    """Of luigi's notes none is shown; warnings and errors are."""
    screen = OnScreen()

    assert not screen.filter(_record(logging.INFO, "Informed scheduler that %s", "it is"))
    assert screen.filter(_record(logging.WARNING, "Worker died"))


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ("* 3 ran successfully:\n    - 1 Query(...)\n\nThis progress looks :) because", "complete"),
        (
            "* 3 complete ones were encountered:\n\nDid not run any tasks\nThis looks :) because",
            "complete: nothing was to be done",
        ),
        (
            (
                "* 2 ran successfully:\n    - 2 Query(...)\n* 2 failed:\n    - 1 Train(gpus=0)\n"
                "    - 1 FetchTest(...)\n* 1 were left pending:\n    - 1 Report()\nThis looks :("
            ),
            (
                "failed: FetchTest, Train; its error is above and in its log\n"
                "the same command goes on from there"
            ),
        ),
    ],
)
def test_the_summary_is_one_line(outcome, line):
    """What ran stands above already, and so does an error, which stays on the screen."""
    record = _record(logging.INFO, f"\n===== Luigi Execution Summary =====\n\n{outcome}\n")

    assert OnScreen().filter(record)
    assert record.getMessage() == line


def test_a_run_that_was_refused_has_no_summary():
    """Its error is all there is to say."""
    text = "Luigi Execution Summary\n* 1 failed scheduling:\n    - 1 Sandbox(...)\nlooks :("

    assert not OnScreen().filter(_record(logging.INFO, text))


def test_debug_shows_all():
    """With the level DEBUG nothing is left out."""
    logger = logging.getLogger("luigi-test")
    logger.setLevel(logging.DEBUG)
    try:
        assert OnScreen().filter(_record(logging.DEBUG, "Asking scheduler for work"))
    finally:
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("error", [ERROR, _wrapped()], ids=["as raised", "wrapped by luigi"])
def test_an_error_the_user_can_mend_is_its_message(error):
    """The traceback goes, and what luigi says round it."""
    record = _record(logging.ERROR, "[pid %s] failed", 7, error=error)

    assert OnScreen().filter(record)
    assert (record.getMessage(), record.exc_info) == (SHOWN, None)


def test_an_error_in_planning_is_its_message():
    """Luigi has the traceback of planning in its text."""
    text = f'Traceback:\n  File "x"\naframe.errors.AframeError: {SHOWN}\n'
    record = _record(logging.WARNING, "Will not run %s:\n%s", "Train()", text)

    assert OnScreen().filter(record)
    assert (record.getMessage(), record.levelname) == (SHOWN, "ERROR")


def test_an_error_is_shown_once():
    """Luigi logs an error where it occurs and again where it ends the run."""
    screen = OnScreen()
    records = [_record(logging.ERROR, "failed", error=ERROR) for _ in range(2)]

    assert [screen.filter(record) for record in records] == [True, False]


def test_a_fault_of_ours_keeps_its_traceback():
    """What no user can mend must be seen whole."""
    fault = ZeroDivisionError("division by zero")
    record = _record(logging.ERROR, "failed", error=fault)

    assert OnScreen().filter(record)
    assert record.exc_info[1] is fault


def test_ctrl_c_ends_in_one_line(capsys):
    """An interruption is no error."""
    _last_words(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert capsys.readouterr().err == "interrupted; the same command resumes\n"


def test_other_endings_are_pythons(monkeypatch):
    """Any other exception is shown as ever."""
    seen = []
    monkeypatch.setattr(sys, "__excepthook__", lambda *given: seen.append(given))
    fault = ZeroDivisionError()
    _last_words(ZeroDivisionError, fault, None)

    assert seen == [(ZeroDivisionError, fault, None)]
