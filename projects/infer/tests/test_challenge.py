"""The verb `challenge`."""

import logging
from dataclasses import replace

import h5py
import numpy as np
import pytest

from aframe.artifacts.events import Events
from aframe.artifacts.record import Record, input_digest, record_path, write_record
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_infer import challenge as verb
from aframe_infer.challenge import challenge, view_strain
from aframe_infer.inference import infer
from aframe_infer.outputs import EVENTS
from aframe_infer.settings import ChallengeInputs, ChallengeSettings

RATE, IFOS = 256, ("H1", "L1")
#: Segments of the file: start (s) and length (s), one too short to be searched.
SEGMENTS = ((5000, 60), (0, 40), (6000, 3))
#: Times of the bursts in it (s).
BURSTS = (12.3, 30.1, 5020.0, 5041.7)


def write_strain_file(path, toy, **changes):
    """Write white noise and loud bursts in the layout of the challenge."""
    with h5py.File(path, "w") as file:
        for start, seconds in SEGMENTS:
            strain = toy.noise(seconds, start)
            for time in BURSTS:
                # A burst has its middle 3 s after its start.
                first = round((time - 3 - start) * RATE)
                if 0 <= first <= strain.shape[1] - 4 * RATE:
                    strain[:, first : first + 4 * RATE] += toy.burst(30.0)
            for ifo, row in zip(changes.get("ifos", IFOS), strain, strict=True):
                # As the challenge's own code writes it: double precision and compressed.
                data = file.create_dataset(f"{ifo}/{start}", data=row, compression="gzip")
                data.attrs["start_time"] = float(start)
                data.attrs["delta_t"] = 1 / changes.get("rate", RATE)
    return path


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """Where the events of a search with the same network come to lie."""
    return tmp_path_factory.mktemp("calibrated")


@pytest.fixture
def asked(settings, model_repository, calibrated, toy, tmp_path):
    """Settings to search a file of the challenge, with the times of a small search."""
    if not (calibrated / "background.hdf5").exists():
        infer(replace(settings, zero_lag=False, Tb=150), Draft(calibrated))
    strain = write_strain_file(tmp_path / "foreground.hdf", toy)
    inputs = ChallengeInputs(model_repository, strain, calibrated / "background.hdf5")
    return ChallengeSettings(inputs, tmp_path / "out")


def run(asked, folder, **changes):
    """Run the verb; give the columns of the file and the draft."""
    folder.mkdir(exist_ok=True)
    draft = Draft(folder)
    challenge(replace(asked, **changes), draft)
    with h5py.File(folder / EVENTS) as file:
        return {name: file[name][:] for name in file}, draft


def test_bursts_are_the_loudest_events_at_their_times(asked, tmp_path, caplog):
    """Three columns in time, from all segments that are long enough."""
    with caplog.at_level(logging.WARNING):
        got, draft = run(asked, tmp_path / "draft")

    assert list(got) == ["stat", "time", "var"]
    assert np.all(np.diff(got["time"]) > 0)
    loudest = np.sort(got["time"][np.argsort(got["stat"])[-len(BURSTS) :]])
    # The toy network hears a burst alike wherever in its second of strain it lies.
    assert loudest == pytest.approx(sorted(BURSTS), abs=0.7)
    assert np.all(got["var"] == 0.2)
    assert draft.notes["events"] == len(got["time"])
    assert draft.notes["engine"]["name"] == "torchscript"
    assert "1 of 3 segments are too short to search" in caplog.text


def test_events_are_those_of_zero_lag(asked, settings, tmp_path):
    """The same strain searched by `infer` gives the same events."""
    got, draft = run(asked, tmp_path / "draft")
    inputs = replace(settings.inputs, zero_lag_background=draft.work / "strain")
    (tmp_path / "infer").mkdir()
    infer(replace(settings, inputs=inputs, Tb=150), Draft(tmp_path / "infer"))

    events = Events.read(tmp_path / "infer" / "0lag.hdf5")
    order = np.argsort(events.detection_time)
    assert got["stat"] == pytest.approx(events.detection_statistic[order])
    # The loudest ten have finer times there, the others have those of the grid.
    quiet = np.argsort(got["stat"])[:-10]
    assert len(quiet) >= 3
    assert got["time"][quiet] == pytest.approx(
        events.detection_time[order][quiet], abs=_offsets(asked, tmp_path / "infer")
    )


def _offsets(asked, folder):
    """How far the offsets of two small searches differ, and half a microsecond."""
    mine, theirs = (
        Events.read(path).time_offset
        for path in (asked.inputs.calibrated, folder / "background.hdf5")
    )
    return abs(mine - theirs) + 5e-7


def test_a_killed_search_goes_on(asked, tmp_path, monkeypatch):
    """What is done is not done again."""
    first, _ = run(asked, tmp_path / "draft")

    def fail(*args):
        raise AssertionError(args)

    monkeypatch.setattr(verb, "analyze", fail)
    again, _ = run(asked, tmp_path / "draft", var=0.3)

    assert np.array_equal(first["stat"], again["stat"])
    assert np.all(again["var"] == 0.3)


def test_strain_is_not_copied(asked, tmp_path, toy):
    """A month is 80 GB: the strain files are views of a few kilobytes."""
    _, draft = run(asked, tmp_path / "draft")

    views = list((draft.work / "strain").glob("*.hdf5"))
    assert len(views) == 3
    assert all(view.stat().st_size < 20_000 for view in views)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"ifos": ("H1", "V1")}, "no L1 in "),
        ({"rate": 2 * RATE}, " at 512 Hz"),
    ],
)
def test_strain_that_does_not_fit_is_refused(tmp_path, toy, changes, found):
    """Another detector, or another sample rate than the network's."""
    path = write_strain_file(tmp_path / "strain.hdf", toy, **changes)

    with pytest.raises(AframeError, match="does not fit the network") as caught:
        view_strain(path, IFOS, RATE, tmp_path / "views")
    assert found in caught.value.found


def test_detectors_with_other_segments_are_refused(tmp_path, toy):
    """One time for all."""
    path = write_strain_file(tmp_path / "strain.hdf", toy)
    with h5py.File(path, "r+") as file:
        del file["L1/0"]

    with pytest.raises(AframeError, match="does not fit the network") as caught:
        view_strain(path, IFOS, RATE, tmp_path / "views")
    assert "segments of H1 and of others differ" in caught.value.found


def test_a_file_without_segments_of_the_layout_is_refused(tmp_path):
    """A dataset without its sample spacing."""
    with h5py.File(tmp_path / "strain.hdf", "w") as file:
        for ifo in IFOS:
            file[f"{ifo}/0"] = np.zeros(10)

    with pytest.raises(AframeError, match="a file of the challenge cannot be read"):
        view_strain(tmp_path / "strain.hdf", IFOS, RATE, tmp_path / "views")


def test_segments_that_are_all_too_short_are_refused(asked, tmp_path, toy):
    """Nothing would be searched."""
    with h5py.File(asked.inputs.strain, "r+") as file:
        for ifo in IFOS:
            del file[f"{ifo}/0"], file[f"{ifo}/5000"]

    with pytest.raises(AframeError, match="no segment is long enough to be searched") as caught:
        run(asked, tmp_path / "draft")
    assert "the longest of 3 s" in caught.value.found


@pytest.fixture
def recorded(asked):
    """Write the record of a search beside the calibration, with some of it changed."""
    path = record_path(asked.inputs.calibrated.parent, "infer")

    def write(window=1.5, repository=None):
        digest = repository or input_digest(asked.inputs.model_repository)
        settings = {"integration_window_length": window}
        write_record(path, Record("infer", settings, {"model_repository": digest}, {}, {}))

    yield write
    path.unlink()


def test_times_of_the_same_search_are_taken(asked, recorded, tmp_path):
    """As its record tells."""
    unrecorded, _ = run(asked, tmp_path / "unrecorded")
    recorded()

    found, _ = run(asked, tmp_path / "draft")

    assert len(found["time"]) > 0
    assert found["time"].tolist() == unrecorded["time"].tolist()


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"window": 1.0}, "integration_window_length 1.0 s, here 1.5 s"),
        ({"repository": "sha256:0"}, "another model repository than"),
    ],
)
def test_times_of_another_search_are_refused(asked, recorded, tmp_path, other, found):
    """Its network or window would date each event elsewhere, and every signal be missed."""
    recorded(**other)

    with pytest.raises(AframeError, match="calibrated by another search") as caught:
        run(asked, tmp_path / "draft")
    assert found in caught.value.found
    assert not list((tmp_path / "draft").rglob("*.npy"))


def test_events_that_claim_no_time_are_refused(asked):
    """They would find nothing."""
    with pytest.raises(AframeError, match="events that claim no time find nothing"):
        replace(asked, var=0.0)
