"""A trial's process ends with the one that asked for it."""

import os
import signal
import subprocess
import sys
import time

PARENT = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "aframe_train.tune.child", str(os.getpid()), sys.argv[1]]
)
child.wait()
"""
SCRIPT = """
import os, sys, time
from pathlib import Path
Path(sys.argv[0]).with_suffix(".pid").write_text(str(os.getpid()))
time.sleep(60)
"""


def running(pid):
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_parent_takes_its_child_along(tmp_path):
    """Nobody trains on, unseen."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(script)])
    pid, end = script.with_suffix(".pid"), time.monotonic() + 300
    while not pid.exists() or not pid.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    while running(int(pid.read_text())):
        assert time.monotonic() < end
        time.sleep(0.02)
