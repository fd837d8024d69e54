"""The package's own names."""

import subprocess
import sys

import pytest

import aframe
from aframe import tasks


def test_tasks_go_by_the_packages_name():
    """`law run aframe.Train` finds what `law run aframe.tasks.Train` does."""
    assert aframe.Train is tasks.Train
    assert {name for name in tasks.__all__ if hasattr(aframe, name)} == set(aframe._TASKS)
    assert set(tasks.__all__) - set(aframe._TASKS) == {"Pipeline", "StageTask"}


def test_another_name_is_none():
    """What is no task is no attribute."""
    with pytest.raises(AttributeError, match="module 'aframe' has no attribute 'Tune'"):
        _ = aframe.Tune
    assert not hasattr(aframe, "tune")


def test_importing_it_imports_nothing_else():
    """The stages import aframe in images that have neither law nor luigi."""
    code = "import sys, aframe; print({'law', 'luigi', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_a_class_that_is_none_of_ours_imports_no_law():
    """Jsonargparse looks for the classes of a stage's settings in every package above them."""
    code = "import aframe, sys; getattr(aframe, 'Resources', None); sys.exit('law' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
