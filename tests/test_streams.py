"""What a process says is read until it ends, whatever it leaves behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from aframe import streams
from aframe.streams import lines_of

#: What takes longer does not end at all (s).
LONGEST = 300


def _said(script):
    with subprocess.Popen(
        ["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        return list(lines_of(process)), process.wait(LONGEST)


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("", []),
        ("echo one; echo two >&2", ["one\n", "two\n"]),
        ("printf 'one\\ntwo'", ["one\n", "two"]),
        ("printf 'one\\rtwo\\r\\n\\n'", ["one\n", "two\n", "\n"]),
        ("printf 'a\\303'; sleep 0.2; printf '\\251\\n'", ["aé\n"]),
        ("printf '\\377\\n'", ["\N{REPLACEMENT CHARACTER}\n"]),
        ("echo one; exec >&- 2>&-; sleep 0.2; exit 3", ["one\n"]),
    ],
)  # fmt: skip
def test_lines_are_those_that_were_said(script, lines):
    """Those of both outputs, whole letters, with ends of one kind; the last may have none."""
    assert _said(script) == (lines, 3 if "exit 3" in script else 0)


def test_a_process_that_says_nothing_is_waited_for(monkeypatch):
    """However long, as long as it runs."""
    monkeypatch.setattr(streams, "_LINGERS", 0.1)
    monkeypatch.setattr(streams, "_BETWEEN_LOOKS", 0.05)

    assert _said("sleep 1; echo one") == (["one\n"], 0)


@pytest.mark.parametrize(
    "leaves", ["sleep {}", "timeout {} sh -c 'while echo more; do sleep 0.02; done'"]
)
def test_what_a_process_left_behind_is_not_waited_for(monkeypatch, leaves):
    """It holds the output open, silent or not; what is said meanwhile is read."""
    monkeypatch.setattr(streams, "_LINGERS", 0.1)
    monkeypatch.setattr(streams, "_BETWEEN_LOOKS", 0.05)
    begun = time.monotonic()

    lines, code = _said(f"{leaves.format(2 * LONGEST)} & echo $!; echo last")

    (left,) = [line for line in lines if line.strip().isdecimal()]
    os.kill(int(left), signal.SIGKILL)
    assert ("last\n" in lines, code) == (True, 0)
    assert time.monotonic() - begun < LONGEST


def test_an_output_that_is_not_read_has_no_lines():
    """Where it goes is the parent's matter."""
    with subprocess.Popen(["true"]) as process:
        assert list(lines_of(process)) == []


def test_letters_are_whole_where_no_language_is_set():
    """As in bare jobs and containers, in which Python reads UTF-8."""
    code = (
        "import subprocess, sys; from aframe.streams import lines_of\n"
        "words = ['printf', '\\\\303\\\\251']\n"
        "with subprocess.Popen(words, stdout=subprocess.PIPE) as process:\n"
        "    print(ascii(list(lines_of(process))))"
    )
    own = {name: value for name, value in os.environ.items() if name[:3] not in ("LC_", "LAN")}

    said = subprocess.check_output(
        [sys.executable, "-c", code], env={**own, "LC_ALL": "C"}, text=True, timeout=LONGEST
    )

    assert said.strip() == r"['\xe9']"
