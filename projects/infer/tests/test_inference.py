"""The verb: refusals before work, the same bits whatever happens on the way."""

import dataclasses
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.artifacts.events import Events
from aframe.artifacts.record import file_digest
from aframe.artifacts.strain import write_strain
from aframe.errors import AframeError
from aframe.program import Draft, Resources
from aframe_infer import inference
from aframe_infer.inference import infer

FILES = ("background.hdf5", "foreground.hdf5", "0lag.hdf5", "candidates.hdf5")


@pytest.fixture
def draft(tmp_path):
    """An empty draft."""
    (tmp_path / "draft").mkdir()
    return Draft(tmp_path / "draft")


def _digests(draft):
    return {name: file_digest(draft.path / name) for name in FILES}


def test_the_result_does_not_depend_on_workers_or_kills(settings, draft, tmp_path):
    """Two processes, or one that stops after some branches and starts again: the same bits."""
    infer(settings, draft)
    several = Draft(tmp_path / "several")
    infer(dataclasses.replace(settings, resources=Resources(workers=2)), several)
    resumed = Draft(tmp_path / "resumed")
    shutil.copytree(several.work, resumed.path / ".work")
    kept = sorted(resumed.work.rglob("slide-*"))
    for path in kept[::2]:
        path.unlink()
    next(resumed.work.glob("background/whitened-*")).unlink()
    (resumed.work / "background/whitened-1126000000.draft").write_bytes(b"half")
    (resumed.work / "background/.slide-1126000000-0-1.hdf5.draft").write_bytes(b"half")

    infer(settings, resumed)

    assert _digests(draft) == _digests(several) == _digests(resumed)
    assert len(kept) == 4


def test_finished_branches_are_not_done_again(settings, draft, monkeypatch):
    """A second run only gathers."""
    infer(settings, draft)

    def fail(*args):
        raise AssertionError(args)

    monkeypatch.setattr(inference, "analyze", fail)
    monkeypatch.setattr(inference, "write_blocks", fail)
    infer(settings, draft)


def test_zero_lag_may_be_that_of_the_background(changed, draft, data):
    """Without strain of its own the unshifted background is searched."""
    infer(changed(inputs={"zero_lag_background": None}), draft)

    events = Events.read(draft.path / "0lag.hdf5")
    assert events.Tb == 196
    assert not (draft.work / "zero_lag").exists()


def test_zero_lag_may_be_left_alone(changed, draft):
    """Then there is neither a file of it nor one of candidates."""
    infer(changed(zero_lag=False), draft)

    assert {path.name for path in draft.path.glob("*.hdf5")} == set(FILES[:2])


def test_slides_of_injections_count_as_background(changed, draft):
    """One slide would do for the livetime; the injections' second one is analyzed anyway."""
    infer(changed(Tb=100), draft)

    events = Events.read(draft.path / "background.hdf5")
    assert events.Tb == (200 - 4 - 1) + (200 - 4 - 2)


def test_several_segments_share_the_slides(changed, draft, toy, data, tmp_path):
    """A segment too short for a slide sits it out."""
    folder = tmp_path / "background"
    shutil.copytree(data.background, folder)
    for start, seconds in ((1000, 30), (2000, 6)):
        write_strain(
            folder,
            toy.noise(seconds, start),
            ifos=("H1", "L1"),
            start=toy.START + start,
            sample_rate=256.0,
        )

    infer(changed(inputs={"background": folder}, Tb=600), draft)

    events = Events.read(draft.path / "background.hdf5")
    longest = sum(200 - 4 - shift for shift in (1, 2, 3))
    assert events.Tb == longest + sum(30 - 4 - shift for shift in (1, 2, 3)) + (6 - 4 - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shifts": (0, 0.3)}, r"shifts \[0, 0.3\] s at 4 kernels(.|\n)*0.25 s"),
        ({"shifts": (0, -1)}, "not negative"),
        ({"shifts": (0, 1, 2)}, "3 shifts for 2 detectors"),
        ({"integration_window_length": 0}, "integration_window_length 0 s"),
        ({"cluster_window_length": 0.25}, "cluster_window_length 0.25 s"),
        ({"Tb": 0}, "Tb 0 s"),
    ],
)
def test_refuses_settings_that_contradict_themselves(changed, change, message):
    """As soon as they are read."""
    with pytest.raises(AframeError, match=message):
        changed(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Tb": 1e6}, r"too short for the livetime(.|\n)*1e\+06 s"),
        ({"shifts": (0, 0)}, "shifts make no time slides"),
        ({"batch_size": 8}, r"batch_size 8 \(exported with 4\)"),
        ({"sample_rate": 512}, r"sample_rate 512 \(trained with 256.0\)"),
        ({"model_version": 7}, "lacks this version"),
    ],
)
def test_refuses_what_does_not_fit(changed, draft, change, message):
    """Before any strain is whitened."""
    with pytest.raises(AframeError, match=message):
        infer(changed(**change), draft)

    assert not list(draft.path.rglob("*.npy"))


def test_refuses_strain_of_another_rate(changed, draft, toy, tmp_path):
    """Of the background as of zero lag."""
    write_strain(
        tmp_path / "other",
        toy.noise(30, 0),
        ifos=("H1", "L1"),
        start=toy.START,
        sample_rate=512.0,
    )

    for name in ("background", "zero_lag_background"):
        with pytest.raises(AframeError, match="strain has another sample rate"):
            infer(changed(inputs={name: tmp_path / "other"}), draft)


def test_refuses_zero_lag_strain_without_room(changed, draft, toy, tmp_path):
    """Four seconds give a PSD and nothing to search."""
    write_strain(
        tmp_path / "short", toy.noise(4, 0), ifos=("H1", "L1"), start=toy.START, sample_rate=256.0
    )

    with pytest.raises(AframeError, match=r"no strain is long enough(.|\n)*segments of 4 s"):
        infer(changed(inputs={"zero_lag_background": tmp_path / "short"}), draft)


def test_refuses_injections_where_no_strain_is(changed, draft, toy, tmp_path):
    """They would count as missed though nobody looked."""
    path = toy.injections(tmp_path / "w.hdf5", [toy.START + 1000], [[0, 1]], [9])

    with pytest.raises(AframeError, match=r"outside the strain(.|\n)*1 of 1"):
        infer(changed(inputs={"injections": path}), draft)


def test_refuses_injections_between_the_strides(changed, draft, toy, tmp_path):
    """Their detectors' kernels could not be paired."""
    path = toy.injections(tmp_path / "w.hdf5", [toy.START + 100], [[0, 1.1]], [9])

    with pytest.raises(AframeError, match=r"no multiples of 0.25 s"):
        infer(changed(inputs={"injections": path}), draft)


def test_injections_go_to_their_slide_and_segment(changed, toy, repository, tmp_path):
    """Half open in time; every row once."""
    for start in (0, 100):
        write_strain(
            tmp_path / "strain",
            toy.noise(100, start),
            ifos=("H1", "L1"),
            start=toy.START + start,
            sample_rate=256.0,
        )
    path = toy.injections(
        tmp_path / "w.hdf5",
        toy.START + np.array([150, 100, 50, 99.9, 120]),
        [[0, 2], [0, 1], [0, 1], [0, 1], [0, 1.25]],
        [9] * 5,
    )
    settings = changed(inputs={"background": tmp_path / "strain", "injections": path}, Tb=100)
    known = inference.read_injections(path, ("H1", "L1"), 256.0)

    branches, _ = inference._plan(settings, repository.stream, known)

    found = {(each.file.start - toy.START, each.shifts): each.rows.tolist() for each in branches}
    assert found == {
        (0, (0, 1)): [2, 3],
        (100, (0, 1)): [1],
        (0, (0, 1.25)): [],
        (100, (0, 1.25)): [4],
        (0, (0, 2)): [],
        (100, (0, 2)): [0],
    }


def test_a_search_without_injections_has_a_background(changed, draft, toy, tmp_path):
    """Then nothing calibrates, and nothing is added to the times."""
    path = toy.injections(tmp_path / "w.hdf5", [], np.empty((0, 2)), np.empty(0))

    infer(changed(inputs={"injections": path}), draft)

    assert draft.notes["calibration"]["injections"] == 0
    assert Events.read(draft.path / "background.hdf5").time_offset == 0


@given(st.sampled_from(["cpu", "cuda", "auto"]))
def test_auto_takes_a_gpu_where_there_is_one(name):
    """Any other name is taken as it is."""
    found = inference._device(name)

    assert found in ("cpu", "cuda")
    assert name in (found, "auto")
