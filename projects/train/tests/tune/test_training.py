"""The process of one trial."""

import signal
import time

import pytest

from aframe_train.callbacks import SCORE as LOGGED
from aframe_train.tune.training import LOG, SCORE, Training, read_scores, reason

SCRIPT = """
import os, subprocess, sys, time
from pathlib import Path
here = Path(sys.argv[1])
(here / "words").write_text(repr((sys.argv[1:], os.environ["SAID"])))
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(here / "grandchild").write_text(str(grandchild.pid))
time.sleep(600)
"""


def wait_for(path):
    end = time.monotonic() + 300
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    return path.read_text()


def alive(pid):
    """Whether a process runs; one that ended and waits for its parent does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_score_has_the_trainings_name():
    """It is read without importing the training."""
    assert SCORE == LOGGED


def test_a_training_is_stopped_with_all_its_processes(tmp_path):
    """The words, the directory and the environment arrive; nothing is left behind."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "last.ckpt").touch()
    training = Training([str(script)], ["{directory}", "--a=b"], tmp_path, {"SAID": "it"})
    grandchild = int(wait_for(tmp_path / "grandchild"))
    assert training.status() is None

    training.stop()

    here = str(tmp_path)
    assert wait_for(tmp_path / "words") == repr(
        ([here, "--a=b", f"--ckpt_path={here}/last.ckpt"], "it")
    )
    assert training.status() == -signal.SIGKILL
    end = time.monotonic() + 300
    while alive(grandchild):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_module_is_run_by_name(tmp_path):
    """As `python -m` would, with what it says in the log."""
    training = Training(["-m", "json.tool"], ["--help"], tmp_path, {})
    end = time.monotonic() + 300
    while training.status() is None:
        assert time.monotonic() < end
        time.sleep(0.02)

    assert training.status() == 0
    assert "usage:" in (tmp_path / LOG).read_text()


def test_scores_are_those_of_the_epochs(tmp_path):
    """None before the first."""
    assert read_scores(tmp_path) == []

    (tmp_path / "metrics.csv").write_text("epoch,step,valid_auroc\n0,7,0.5\n1,14,nan\n")

    assert repr(read_scores(tmp_path)) == "[0.5, nan]"


@pytest.mark.parametrize(
    ("status", "log", "words"),
    [
        (2, "train: error: no strain\n  found      none\n  fix x\n", "no strain: none"),
        (1, 'Traceback …:\n  File "x"\nValueError: bad\n\n', "ValueError: bad"),
        (-9, "step 1\n", "killed by SIGKILL (often: out of memory)"),
        (-11, "", "killed by SIGSEGV"),
        (3, "", "exit status 3"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line(status, log, words):
    """Our errors, others' exceptions, signals, silence."""
    assert reason(status, log) == words
