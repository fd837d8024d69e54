"""What a search is told."""

from importlib import resources

import pytest

from aframe.errors import AframeError
from aframe_train.tune.settings import Search, TuneResources, read_search
from aframe_train.tune.space import parse

CONFIGS = sorted((resources.files("aframe") / "pipelines" / "configs" / "tune").iterdir())


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_search_can_be_read(path):
    """Each distribution in it is one."""
    search = read_search(path)

    assert search.space
    for key, text in search.space.items():
        parse(key, text)


def test_what_is_given_otherwise_counts(tmp_path):
    """The command line before the file, the file before the defaults."""
    path = write(tmp_path / "tune.yaml", "space: {a: 'uniform(0, 1)'}\nnum_samples: 3\n")

    assert read_search(path) == Search({"a": "uniform(0, 1)"}, num_samples=3)
    assert read_search(path, num_samples=5).num_samples == 5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("samples: 3\nspace: {a: 'uniform(0, 1)'}\n", "samples"),
        ("num_samples: many\nspace: {a: 'uniform(0, 1)'}\n", "many"),
        ("num_samples: 3\n", "space"),
    ],
)
def test_an_unknown_search_is_refused(tmp_path, text, found):
    """A wrong key, a wrong value, no space."""
    path = write(tmp_path / "tune.yaml", text)

    with pytest.raises(AframeError, match="configuration of the search cannot be used") as error:
        read_search(path)

    assert str(path) in error.value.found
    assert found in error.value.found


def test_a_missing_file_is_refused(tmp_path):
    """The message names it."""
    with pytest.raises(AframeError, match="configuration of the search cannot be used") as error:
        read_search(tmp_path / "none.yaml")

    assert "none.yaml" in error.value.found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"num_samples": 0}, "num_samples 0"),
        ({"grace_period": 0, "reduction_factor": 1}, "grace_period 0, reduction_factor 1"),
        ({"space": {}}, "an empty space"),
    ],
)
def test_an_impossible_search_is_refused(changes, found):
    """Nothing to try, or nothing to compare."""
    with pytest.raises(AframeError, match="the search is impossible") as error:
        Search(**{"space": {"a": "uniform(0, 1)"}, **changes})

    assert error.value.found == found


def test_a_trial_needs_a_core():
    """Of each resource a number that can be."""
    with pytest.raises(AframeError, match="no trial can run with these resources") as error:
        TuneResources(cpus_per_gpu=0, num_workers=-1)

    assert error.value.found == "num_workers -1, cpus_per_gpu 0"
