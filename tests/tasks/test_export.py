"""The export task: which network, which streaming."""

import pytest

from aframe.errors import AframeError
from aframe.tasks import ExportLocal


def test_exports_what_training_left(shared, tmp_path):
    """Weights, preprocessing and an example batch come from the training's folder."""
    task = ExportLocal()

    assert task.requires().task_family == "Train"
    assert task.inputs() == {
        "weights": tmp_path / "training/model.pt",
        "preprocessing": tmp_path / "training/preprocessing.json",
        "batch": tmp_path / "training/batch.hdf5",
    }
    assert task.output()["repository"].path == str(tmp_path / "results/model_repo")


def test_the_preprocessing_is_held_against_the_trainings(shared):
    """The settings name what training used, so that the stage can compare."""
    task = ExportLocal(highpass=25.0, fftlength=2.0)
    trained = task.requires()

    assert trained.preprocessing().items() <= task.settings().items()
    assert (trained.highpass, trained.fftlength) == (25.0, 2.0)


def test_a_band_beyond_nyquist_is_refused():
    """A band is checked wherever it is set."""
    with pytest.raises(AframeError, match="highpass is not between zero and the Nyquist frequency"):
        ExportLocal(sample_rate=64.0)
