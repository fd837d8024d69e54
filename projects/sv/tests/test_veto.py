"""The verb `veto`."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from aframe.artifacts.events import Events
from aframe.artifacts.ledger import read_ledger, write_ledger
from aframe.artifacts.strain import write_strain
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_sv.estimate import EstimateInputs, EstimateSettings, estimate
from aframe_sv.veto import VetoInputs, VetoSettings, veto

IFOS = ["H1", "L1"]
GPS = 1_240_579_783
PSD = 8.0
#: Five slides of 3600 s, each a second shorter than the one before.
TB = 5 * (3600 - PSD) - 15


@pytest.fixture
def searched(search, tmp_path):
    """A toy search with the strain it slid, and two lists of vetoes."""
    strain = tmp_path / "background"
    write_strain(strain, np.zeros((2, 3600)), ifos=IFOS, start=float(GPS), sample_rate=1.0)
    noise = Events.read(search.background)
    Events(noise.detection_statistic, noise.detection_time, noise.shift, TB).write(
        search.background
    )
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "H1-cat2.txt").write_text(f"{GPS + 500.02} {GPS + 900}\n")
    (lists / "L1-gates.txt").write_text(f"{GPS + 2000} 100 0.625\n")
    return SimpleNamespace(**vars(search), strain=strain, lists=lists)


def run(searched, folder, **changes):
    """Run the verb; give its notes."""
    inputs = {
        "vetoes": searched.lists,
        "background": searched.background,
        "foreground": searched.foreground,
        "strain": searched.strain,
        **changes,
    }
    folder.mkdir()
    draft = Draft(folder)
    veto(VetoSettings(VetoInputs(**inputs), folder, IFOS, PSD), draft)
    return draft.notes


def bad(times, shift):
    """Whether the strain of either detector is vetoed: the two stretches of the lists."""
    after = np.asarray(times)[:, None] + shift - GPS
    first = (after[:, 0] >= 500.02) & (after[:, 0] < 900)
    return first | ((after[:, 1] >= 1899) & (after[:, 1] < 2101))


def test_events_and_their_time_are_left_out(searched, tmp_path):
    """In each slide 400 s of one detector and 202 s of the other, wherever they lie by then."""
    before = Events.read(searched.background)
    notes = run(searched, tmp_path / "out")
    after = Events.read(tmp_path / "out/background.hdf5")

    assert len(after) == np.sum(~bad(before.detection_time, before.shift))
    assert not bad(after.detection_time, after.shift).any()
    assert after.Tb == pytest.approx(TB - 5 * 601.98)
    assert notes["background"]["events_left"] == len(after)
    rates = [len(events) / events.Tb for events in (before, after)]
    assert rates[0] == pytest.approx(rates[1], rel=0.05), "the noise is the same all the time"


def test_time_that_was_left_out_already_counts_once(searched, tmp_path):
    """A veto over a known event takes only what is left of it: counted in steps of 0.01 s."""
    gone = np.array([[850.0, 950.0], [2950.0, 3000.0]])
    ledger = read_ledger(searched.background)
    slides = np.unique(ledger.parameters["shift"], axis=0)
    left = total = 0.0
    for shift in slides:
        time = np.arange(PSD, 3600 - shift.max(), 0.01) + 0.005
        moved = time[:, None] + shift
        out = ((moved[..., None] > gone[:, 0]) & (moved[..., None] < gone[:, 1])).any((1, 2))
        total += 0.01 * np.sum(~out)
        left += 0.01 * np.sum(~out & ~bad(time + GPS, shift))
    ledger.metadata |= {"left_out_times": gone + GPS, "Tb": total}
    write_ledger(searched.background, ledger)

    run(searched, tmp_path / "out")

    assert Events.read(tmp_path / "out/background.hdf5").Tb == pytest.approx(left, abs=0.1)


def test_what_the_file_says_of_itself_stays(searched, tmp_path):
    """Such as how known events were left out of the background."""
    ledger = read_ledger(searched.background)
    ledger.metadata["known_events_are"] = "removed"
    write_ledger(searched.background, ledger)
    run(searched, tmp_path / "out")

    after = read_ledger(tmp_path / "out/background.hdf5")
    assert after.metadata["known_events_are"] == "removed"
    assert after.metadata["time_offset"] == ledger.metadata["time_offset"]


def test_injections_in_a_veto_are_no_injections(searched, tmp_path):
    """They are neither found nor missed, and the file says how many there were."""
    before = read_ledger(searched.foreground)
    run(searched, tmp_path / "out")
    after = read_ledger(tmp_path / "out/foreground.hdf5")

    out = bad(before.parameters["injection_time"], before.parameters["shift"])
    assert len(after) == len(before) - out.sum()
    assert after.metadata["vetoed_injections"] == out.sum()
    shift = after.parameters["shift"]
    lost = bad(after.parameters["detection_time"], shift)
    assert lost.any()
    assert np.array_equal(np.isneginf(after.parameters["detection_statistic"]), lost)


def test_volume_is_that_of_the_time_that_is_left(searched, tmp_path):
    """A sixth of the time is vetoed, and the volume is the same: nothing depends on time."""
    run(searched, tmp_path / "out")
    volumes = []
    for folder in (searched.folder, tmp_path / "out"):
        files = EstimateInputs(
            folder / "background.hdf5", folder / "foreground.hdf5", searched.rejected_parameters
        )
        draft = tmp_path / f"draft-{folder.name}"
        draft.mkdir()
        # A wide population, so that many draws count.
        settings = EstimateSettings(
            files, draft, IFOS, [[30.0, 20.0]], "log_uniform_bbh", max_far=3e4, sigma=0.5
        )
        estimate(settings, Draft(draft))
        with h5py.File(draft / "sensitive_volume.h5") as file:
            volumes.append((file["30-20/sv"][-1], file["30-20/err"][-1]))

    (whole, error), (left, _) = volumes
    assert left == pytest.approx(whole, abs=1.5 * error)


def test_zero_lag_and_its_candidates_are_vetoed(searched, tmp_path, run_directory, inputs):
    """The loudest event falls in a veto, and with it its neighborhood."""
    events = Events.read(inputs.zero_lag)
    loudest = events.detection_time[events.detection_statistic.argmax()]
    (searched.lists / "H1-event.txt").write_text(f"{loudest - 1} {loudest + 1}\n")
    notes = run(
        searched,
        tmp_path / "out",
        zero_lag=inputs.zero_lag,
        candidates=inputs.candidates,
        zero_lag_strain=run_directory / "zero-lag/background",
    )

    left = Events.read(tmp_path / "out/0lag.hdf5")
    assert len(left) == len(events) - 1
    assert left.Tb == pytest.approx(events.Tb * (1 - 2 / (32 - PSD)))
    assert notes["zero_lag"]["events"] == len(events)
    with h5py.File(tmp_path / "out/candidates.hdf5") as file:
        assert [float(group.attrs["detection_time"]) for group in file.values()] == (
            left.detection_time.tolist()
        )
        assert file["0/whitened"].attrs["sample_rate"] > 0


def test_vetoes_of_everything_are_refused(searched, tmp_path):
    """A search without time has no rate."""
    (searched.lists / "H1-all.txt").write_text(f"{GPS} {GPS + 4000}\n")

    with pytest.raises(AframeError, match="the vetoes leave nothing of the search"):
        run(searched, tmp_path / "out")


def test_strain_of_another_search_is_refused(searched, tmp_path, inputs):
    """Less strain than was searched cannot be what was."""
    with pytest.raises(AframeError, match="the strain is not what was searched") as caught:
        run(searched, tmp_path / "out", strain=inputs.zero_lag_background)
    assert "in 5 slides of 1 segments" in caught.value.found
