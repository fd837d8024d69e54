"""Tasks of the data stage: which strain, which waveforms, and where they lie."""

import json

import pytest

from aframe import tasks
from aframe.errors import AframeError
from aframe.tasks.data import plain


@pytest.mark.parametrize(
    ("task", "folder", "files"),
    [
        (tasks.FetchTrain, "data/train", ["background"]),
        (tasks.FetchTest, "data/test", ["background"]),
        (tasks.TrainingWaveforms, "data/train", ["training_waveforms.hdf5"]),
        (tasks.ValidationWaveforms, "data/train", ["val_waveforms.hdf5"]),
        (tasks.TestingWaveforms, "data/test", ["rejected-parameters.hdf5", "waveforms.hdf5"]),
    ],
)
def test_where_outputs_lie(shared, tmp_path, task, folder, files):
    """The names and folders are those that users' tools look for."""
    paths = sorted(target.path for target in task().output().values())

    assert paths == [str(tmp_path / folder / name) for name in files]


def test_zero_lag_strain_lies_apart(shared, tmp_path):
    """Strain that is searched unshifted is none of the test's."""
    task = tasks.FetchZeroLag(start=0.0, stop=500.0)

    assert task.output()["background"].path == str(tmp_path / "data/test/zero_lag/background")


@pytest.mark.parametrize("kind", [tasks.FetchTrain, tasks.FetchTest])
def test_segments_lie_beside_their_strain(shared, kind):
    """The query is for the same source, detectors and span, and writes where the strain goes."""
    task = kind(ifos=("L1",), start=5.0, stop=5000.0, min_duration=300.0)
    query = task.requires()

    assert query.directory == task.directory
    assert query.settings() == {
        "source": {"kind": "simulated", "psds": {"H1": "aLIGOO3LowT1800545", "L1": "h1.txt"}},
        "ifos": ["L1"],
        "start": 5.0,
        "stop": 5000.0,
        "min_duration": 300.0,
    }
    assert task.inputs() == {"segments": task.directory / "segments.txt"}


def test_a_query_by_itself_writes_beside_the_training_strain(shared, tmp_path):
    """`law run aframe.Query` has a folder, too."""
    assert tasks.Query(start=0.0, stop=500.0).directory == tmp_path / "data" / "train"


def test_training_and_testing_strain_do_not_overlap(shared):
    """By default the test begins where training ends."""
    assert tasks.FetchTrain().stop == tasks.FetchTest().start
    assert tasks.FetchTrain().stop - tasks.FetchTrain().start == 10 * 86400
    assert tasks.FetchTest().stop - tasks.FetchTest().start == 30 * 86400


def test_validation_takes_its_psd_from_the_training_strain(shared, tmp_path):
    """And the test from the strain that it injects into, with the segments of both."""
    validation, testing = tasks.ValidationWaveforms(), tasks.TestingWaveforms()

    assert validation.inputs() == {"background": tmp_path / "data/train/background"}
    assert testing.inputs() == {
        "background": tmp_path / "data/test/background",
        "segments": tmp_path / "data/test/segments.txt",
    }


def test_more_injections_than_the_strain_has_room_for(shared):
    """The default span has room for the default number; waveforms longer than it have none."""
    assert tasks.TestingWaveforms().num_signals == 500_000
    with pytest.raises(AframeError, match="too short for the injections asked for"):
        tasks.TestingWaveforms(waveform_duration=3e6)


def test_plain_makes_what_json_takes():
    """Luigi freezes dictionaries and lists; settings files hold plain ones."""
    source = '{"kind": "files", "paths": ["/a", "/b"], "channels": {"H1": "H1:GDS"}}'
    frozen = dict(tasks.FetchTest.get_params())["source"].parse(source)

    assert json.loads(json.dumps(plain(frozen))) == json.loads(source)
