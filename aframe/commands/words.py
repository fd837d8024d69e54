"""Colors of states on a terminal and in a picture."""

from __future__ import annotations

import os
import sys

from aframe.tasks.outlook import DONE, RUNNING, RUNS, STOPS, WAITS

#: Number of the terminal's color, and the picture's.
COLORS = {
    DONE: (32, "#2a7f3f"),
    RUNNING: (36, "#1f77b4"),
    RUNS: (33, "#c77700"),
    WAITS: (90, "#7a7a7a"),
    STOPS: (31, "#c0392b"),
}


def colored(state: str, text: str | None = None) -> str:
    """Color *text*, or the word itself, as *state* is colored, where somebody sees it."""
    text = state if text is None else text
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{COLORS[state][0]}m{text}\033[0m"
