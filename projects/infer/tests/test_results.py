"""The files of a search have the layout that others read."""

import h5py
import numpy as np
import pytest

from aframe.artifacts.events import Events
from aframe.artifacts.ledger import read_ledger, read_metadata
from aframe.artifacts.strain import list_strain, read_strain, write_strain
from aframe.draft import Draft
from aframe_infer import inference
from aframe_infer.examples import NUM_EXAMPLES
from aframe_infer.inference import infer
from aframe_infer.planning import plan
from aframe_infer.settings import InferInputs, InferSettings
from aframe_infer.statistic import cluster, integrate


@pytest.fixture(scope="module")
def run(model_repository, data, tmp_path_factory, toy):
    """Files of the small search, with its scores."""
    folder = tmp_path_factory.mktemp("run")
    settings = InferSettings(
        inputs=InferInputs(model_repository, data.background, data.injections, data.zero_lag),
        output=folder,
        ifos=("H1", "L1"),
        sample_rate=256,
        Tb=500,
        inference_sampling_rate=4,
        batch_size=4,
        psd_length=4,
        # As long as a kernel, so that the average has a peak and no plateau.
        integration_window_length=1.0,
        return_timeseries=True,
    )
    draft = Draft(folder)
    infer(settings, draft)
    return draft


@pytest.fixture(scope="module")
def many(model_repository, data, tmp_path_factory, toy):
    """Files of a search of the background at zero lag, with injections there."""
    folder = tmp_path_factory.mktemp("many")
    times = toy.START + np.array([50.1, 100.3, 150.2])
    path = toy.injections(folder / "w.hdf5", times, [[0, 0]] * 3, [30] * 3)
    settings = InferSettings(
        inputs=InferInputs(model_repository, data.background, path),
        output=folder,
        ifos=("H1", "L1"),
        sample_rate=256,
        Tb=100,
        inference_sampling_rate=4,
        batch_size=4,
        psd_length=4,
        return_timeseries=True,
    )
    draft = Draft(folder)
    infer(settings, draft)
    return draft


def test_the_background_is_sorted_and_tells_its_livetime(run):
    """Of slides 1 to 3, which 500 s need; loudest last."""
    events = Events.read(run.path / "background.hdf5")

    assert events.Tb == sum(200 - 4 - shift for shift in (1, 2, 3))
    assert (np.diff(events.detection_statistic) >= 0).all()
    assert set(map(tuple, events.shift)) == {(0, 1), (0, 2), (0, 3)}
    told = run.notes["background"]
    assert (told["events"], told["Tb"], told["slides"]) == (len(events), events.Tb, 3)
    named = read_metadata(run.path / "background.hdf5")
    assert (named["known_events_are"], named["known_events"], named["left_out"]) == ("kept", [], 0)


def _with_a_signal(model_repository, toy, root, **fields):
    """Search strain in which both detectors have a loud burst at its middle."""
    strain = toy.noise(200, 7)
    strain[:, 97 * 256 : 101 * 256] += toy.burst(60.0)
    write_strain(root / "strain", strain, ifos=("H1", "L1"), start=toy.START, sample_rate=256.0)
    path = toy.injections(root / "w.hdf5", toy.START + np.array([30.0]), [[0, 1]], [30])
    settings = InferSettings(
        inputs=InferInputs(model_repository, root / "strain", path),
        output=root,
        ifos=("H1", "L1"),
        sample_rate=256,
        Tb=500,
        batch_size=4,
        psd_length=4,
        zero_lag=True,
        known_events=(str(toy.START + 100.0), "GW190521_030229"),
        known_events_half_width=1.0,
        **fields,
    )
    draft = Draft(root)
    infer(settings, draft)
    return draft


def test_known_events_are_removed_from_the_background_or_kept(model_repository, toy, tmp_path):
    """Each convention is named; removed, neither their events nor their time count."""
    removed = _with_a_signal(model_repository, toy, tmp_path / "removed")
    kept = _with_a_signal(model_repository, toy, tmp_path / "kept", known_events_are="kept")

    without, whole = (Events.read(each.path / "background.hdf5") for each in (removed, kept))
    told, other = (read_metadata(each.path / "background.hdf5") for each in (removed, kept))
    # An output is of 1 s of kernel, 0.5 s of filter and 6 strides before: those that end within
    # 5 s of one detector hold some of its 2 s, and of the other as much later as it is shifted.
    lost = sum(5 - 0.25 + shift for shift in (1, 2, 3))
    assert whole.Tb - without.Tb == told["left_out"] == lost
    assert whole.Tb == 195 + 194 + 193
    assert other["left_out"] == 0
    assert told["known_events"] == other["known_events"] == [str(toy.START + 100.0)]
    assert [each["known_events_are"] for each in (told, other)] == ["removed", "kept"]
    assert told["known_events_half_width"] == 1.0
    assert removed.notes["background"]["left_out"] == lost
    # The file tells when, for either detector: no event is left there, and as much time is gone.
    assert len(told["left_out_times"]) == 2
    begin, end = min(told["left_out_times"], key=lambda pair: abs(pair[0] - toy.START))
    assert other["left_out_times"] == []
    times = without.detection_time[:, None] + without.shift
    assert not ((times > begin) & (times < end)).any()
    assert ((whole.detection_time[:, None] + whole.shift > begin + 1)
            & (whole.detection_time[:, None] + whole.shift < end - 1)).any()  # fmt: skip
    assert sum(end - begin + shift for shift in (1, 2, 3)) == pytest.approx(lost, abs=3 * 0.25)
    # A signal in one detector is half as loud as in both, and louder than all noise.
    assert whole.detection_statistic[-1] > 3 * without.detection_statistic[-1]
    zero_lag = [Events.read(each.path / "0lag.hdf5") for each in (removed, kept)]
    np.testing.assert_array_equal(*(each.detection_statistic for each in zero_lag))
    assert zero_lag[0].detection_time[-1] == pytest.approx(toy.START + 100, abs=0.2)


def test_the_files_do_not_depend_on_the_order_of_the_slides(
    model_repository, data, tmp_path, toy, monkeypatch
):
    """The background is the same to the bit if its slides come the other way round."""
    files = []
    for number, turned in enumerate((False, True)):
        settings = InferSettings(
            inputs=InferInputs(model_repository, data.background, data.injections),
            output=tmp_path / str(number),
            ifos=("H1", "L1"),
            sample_rate=256,
            Tb=500,
            batch_size=4,
            psd_length=4,
            zero_lag=False,
        )

        def planned(*arguments, turned=turned):
            branches, zero_lag = plan(*arguments)
            return branches[:: -1 if turned else 1], zero_lag

        monkeypatch.setattr(inference, "plan", planned)
        draft = Draft(tmp_path / str(number))
        infer(settings, draft)
        files.append(
            [(draft.path / name).read_bytes() for name in ("background.hdf5", "foreground.hdf5")]
        )

    assert files[0] == files[1]


def test_the_foreground_keeps_every_parameter_in_its_order(run, data):
    """One row an injection, with the event nearest to it, and no waveform."""
    given = read_ledger(data.injections)

    found = read_ledger(run.path / "foreground.hdf5")

    for name, values in given.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], values)
    assert set(found.parameters) - set(given.parameters) == {
        "detection_statistic",
        "detection_time",
    }
    assert found.waveforms == {}
    offset = run.notes["calibration"]["grid_offset"]
    kept = {name: value for name, value in given.metadata.items() if value is not None}
    assert {name: found.metadata[name] for name in kept} == kept
    assert found.metadata["time_offset"] == offset
    assert found.metadata["Tb"] == (200 - 4 - 1) + (200 - 4 - 2)


def test_loud_injections_are_found_at_their_time(run):
    """After calibration to half a stride and a little, and above all background."""
    found = read_ledger(run.path / "foreground.hdf5").parameters
    loudest = Events.read(run.path / "background.hdf5").detection_statistic[-1]
    loud = found["snr"] > 40

    assert loud.sum() >= 8
    assert (found["detection_statistic"][loud] > loudest).all()
    assert np.abs(found["detection_time"] - found["injection_time"])[loud].max() < 0.2


def test_the_event_at_zero_lag_is_found_at_its_time(run, data):
    """It is the loudest, and its time is finer than the stride."""
    events = Events.read(run.path / "0lag.hdf5")

    assert events.Tb == 16
    assert events.detection_statistic[-1] > 20
    assert events.detection_time[-1] == pytest.approx(data.event, abs=0.05)
    assert (events.shift == 0).all()


def test_each_event_at_zero_lag_tells_its_offset(many):
    """The loudest ten are timed on the finer grid, whose offset is another."""
    calibration = many.notes["calibration"]
    found = read_ledger(many.path / "0lag.hdf5")
    offset = found.parameters["time_offset"]

    grid, fine = np.float32(calibration["grid_offset"]), np.float32(calibration["fine_offset"])
    assert grid != fine
    assert len(offset) > 20
    assert (offset[:-10] == grid).all()
    assert (offset[-10:] == fine).all()
    assert found.metadata["time_offset"] == calibration["grid_offset"]
    raw = found.parameters["detection_time"] - found.parameters["time_offset"]
    strides = 4 * (raw[:-10] + 0.25 + 1.5)
    np.testing.assert_allclose(strides, strides.round(), atol=1e-4)


def test_injections_at_zero_lag_and_zero_lag_share_their_scores(many):
    """One slide does for both, and is written once."""
    with h5py.File(many.path / "timeseries.hdf5") as file:
        shifts = file["index"]["shifts"].tolist()
        assert shifts.count([0, 0]) == 1
        path = file["index"]["path"][shifts.index([0, 0])].decode()
        assert set(file[path]) == {"background", "foreground"}


def test_candidates_are_the_loudest_zero_lag_events(run, data):
    """Loudest first, each with what the search saw around it."""
    events = Events.read(run.path / "0lag.hdf5")
    with h5py.File(run.path / "candidates.hdf5") as file:
        assert set(file) == {str(place) for place in range(len(events))}
        for place in range(len(events)):
            group = file[str(place)]
            assert group.attrs["detection_time"] == events.detection_time[-1 - place]
            assert group.attrs["detection_statistic"] == events.detection_statistic[-1 - place]
            assert group["whitened"].shape[0] == 2
            assert group["whitened"].attrs["sample_rate"] == 256
            # An average ends with each score that has nearly a window of others before it.
            assert len(group["scores"]) - len(group["integrated"]) == 5 * 8 - 1
            assert all(each.dtype == np.float32 for each in group.values())
        first = file["0"]
        whitened, integrated = first["whitened"], first["integrated"]
        burst = first.attrs["gps_start"] + np.abs(whitened[0]).argmax() / 256
        peak = integrated.attrs["gps_start"] + integrated[:].argmax() / 32
        assert burst == pytest.approx(data.event, abs=0.02)
        assert peak == pytest.approx(data.event, abs=0.1)
        # The statistic has another grid and the PSD of other seconds: 4 s know a bin to 25 %.
        assert integrated[:].max() == pytest.approx(first.attrs["detection_statistic"], rel=0.4)


def test_examples_are_injections_seen_as_they_were_searched(run):
    """Each with its burst at its time, in strain that is slid, and as ranked among the others."""
    recovered = read_ledger(run.path / "foreground.hdf5").parameters
    loudest = Events.read(run.path / "background.hdf5").detection_statistic[-1]
    with h5py.File(run.path / "examples.hdf5") as file:
        assert file.attrs["threshold"] == loudest
        shown = [group for group in file.values() if "row" in group.attrs]
        assert 0 < len(shown) <= 2 * NUM_EXAMPLES
        rows = [group.attrs["row"] for group in shown]
        assert len(set(rows)) == len(rows)
        for group in shown:
            row, found = group.attrs["row"], group.attrs["found"]
            assert group.attrs["injection_time"] == recovered["injection_time"][row]
            for name in ("detection_time", "detection_statistic"):
                assert group.attrs[name] == pytest.approx(recovered[name][row], rel=1e-6)
            assert found == (group.attrs["detection_statistic"] >= loudest)
            assert group.attrs["snr"] == pytest.approx(recovered["snr"][row])
            begin = group.attrs["gps_start"]
            burst = begin + np.abs(group["whitened"][0]).argmax() / 256
            if recovered["snr"][row] > 20:
                assert burst == pytest.approx(group.attrs["injection_time"], abs=0.05)
            assert set(group) == {"whitened", "scores", "integrated"}


def test_the_loudest_background_events_are_kept_as_their_slide_has_them(run, data, toy):
    """The loudest first, in strain that is read as much later as the file of events says."""
    events = Events.read(run.path / "background.hdf5")
    strain = read_strain(list_strain(data.background, ("H1", "L1"))[0], ["H1", "L1"])
    with h5py.File(run.path / "examples.hdf5") as file:
        places = sorted(map(int, file))
        assert places == list(range(len(places)))
        shown = [group for place in places if "shift" in (group := file[str(place)]).attrs]
        assert len(shown) == NUM_EXAMPLES
        for place, group in enumerate(shown, 1):
            assert group.attrs["detection_statistic"] == events.detection_statistic[-place]
            assert group.attrs["detection_time"] == events.detection_time[-place]
            assert group.attrs["shift"].tolist() == events.shift[-place].tolist()
            whitened = group["whitened"]
            for row, raw, shift in zip(whitened, strain, group.attrs["shift"], strict=True):
                begin = round((group.attrs["gps_start"] + shift - toy.START) * 256)
                # Whitening leaves the phases of white noise as they are.
                there = raw[begin : begin + len(row)]
                assert np.corrcoef(row, there)[0, 1] > 0.7
                elsewhere = raw[begin + 64 : begin + 64 + len(row)]
                assert abs(np.corrcoef(row, elsewhere[: len(row)])[0, 1]) < 0.2


def test_the_time_series_lead_to_the_events(run):
    """Each slide's scores lie where the index says, and give its events again."""
    events = Events.read(run.path / "background.hdf5")
    with h5py.File(run.path / "timeseries.hdf5") as file:
        index = file["index"][:]
        assert index.dtype.names == ("t0", "shifts", "path")
        assert index["shifts"].dtype == np.int32
        assert index["shifts"].tolist() == [[0, 1], [0, 2], [0, 3], [0, 0]]
        for row in index[:3]:
            group = file[row["path"].decode()]
            statistic = integrate(group["background"][:], 5)
            found = statistic[cluster(statistic, 16)]
            mine = events.detection_statistic[(events.shift == row["shifts"]).all(axis=1)]
            np.testing.assert_allclose(np.sort(found), mine, rtol=1e-6)
        assert set(file[index[0]["path"].decode()]) == {"background", "foreground"}
        assert set(file[index[2]["path"].decode()]) == {"background"}
