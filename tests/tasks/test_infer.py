"""The inference task: slides, injections, and what is searched at zero lag."""

import pytest

from aframe.errors import AframeError
from aframe.tasks import Infer

FILES = {"kind": "files", "paths": ["/data/H-*.hdf5", "/data/L-*.hdf5"]}


def test_the_events_of_slides_injections_and_zero_lag(shared, tmp_path):
    """Five files, two of them only where zero lag is searched."""
    every = {name: target.path for name, target in Infer().output().items()}
    without = Infer(zero_lag=False).output()

    assert every == {
        "background": str(tmp_path / "results/background.hdf5"),
        "foreground": str(tmp_path / "results/foreground.hdf5"),
        "examples": str(tmp_path / "results/examples.hdf5"),
        "zero_lag": str(tmp_path / "results/0lag.hdf5"),
        "candidates": str(tmp_path / "results/candidates.hdf5"),
    }
    assert sorted(without) == ["background", "examples", "foreground"]


def test_zero_lag_is_that_of_the_test_unless_other_strain_is_named(shared, tmp_path):
    """Other strain is fetched for it with its own span: all of the files."""
    own = Infer()
    other = Infer(zero_lag_source=FILES)
    fetch = other.requires()["zero_lag"]

    assert own.inputs()["zero_lag_background"] is None
    assert "zero_lag" not in own.requires()
    assert other.inputs()["zero_lag_background"] == tmp_path / "data/test/zero_lag/background"
    assert fetch.settings()["source"] == FILES
    assert (fetch.start, fetch.stop) == (None, None)
    assert "zero_lag" not in Infer(zero_lag_source=FILES, zero_lag=False).requires()


def test_what_it_reads(shared, tmp_path):
    """The repository, the testing strain and its injections."""
    assert Infer().inputs() == {
        "model_repository": tmp_path / "results/model_repo",
        "background": tmp_path / "data/test/background",
        "injections": tmp_path / "data/test/waveforms.hdf5",
        "zero_lag_background": None,
    }


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"Tb": 1e15}, "the segments are too short for the livetime asked for"),
        ({"shifts": (0.0, 0.1)}, "a shift is no whole number of strides"),
        ({"shifts": (0.0,)}, "the shifts do not fit the detectors"),
        ({"shifts": (0.0, 0.0)}, "the shifts make no time slides"),
        ({"known_events": ("GW190521",)}, "an event cannot be placed in time"),
        ({"psd_length": 8.0}, "the network would be exported for another stream"),
        ({"cluster_window_length": 0.25}, "the windows over scores are too short"),
    ],
)
def test_refuses_what_cannot_be_searched(shared, parameters, problem):
    """Slides are counted, and exports compared, before anything runs."""
    with pytest.raises(AframeError, match=problem):
        Infer(**parameters)
