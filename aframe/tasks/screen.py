"""What a user sees of a run: luigi's summary and warnings, errors without traceback."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from aframe.errors import AframeError


def prepare_screen() -> None:
    """Have luigi's messages pass :class:`OnScreen`, and Ctrl-C end a run in one line."""
    logging.getLogger("luigi-interface").addFilter(OnScreen())
    sys.excepthook = _last_words


class OnScreen(logging.Filter):
    """What luigi says: its summary, its warnings, and errors the user can mend without traceback.

    With ``[luigi_core] log_level = DEBUG`` it says all.
    """

    shown: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show *record*; an error that the user can mend becomes its message."""
        message = self._told(record)
        if message is None:
            chatter = record.levelno < logging.WARNING and "Summary" not in str(record.msg)
            return not chatter or logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        # luigi logs an error once where it occurs and once where it ends the run.
        first, self.shown = message != self.shown, message
        record.msg, record.args, record.exc_info = message, None, None
        record.levelno, record.levelname = logging.ERROR, "ERROR"
        return first

    def _told(self, record: logging.LogRecord) -> str | None:
        error = record.exc_info[1] if record.exc_info else None
        # luigi wraps what a parameter's parser raises.
        while error is not None and not isinstance(error, AframeError):
            error = error.__cause__
        if error is not None:
            return str(error)
        # What goes wrong in planning, luigi has in text.
        _, found, text = record.getMessage().rpartition(f"{AframeError.__module__}.AframeError: ")
        return text.rstrip() if found else None


def _last_words(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("interrupted; the same command resumes\n")
    else:
        sys.__excepthook__(kind, error, trace)
