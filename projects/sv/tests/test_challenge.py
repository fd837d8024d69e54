"""The verb `challenge`."""

import logging
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_sv.challenge import OUTPUT, ChallengeInputs, ChallengeSettings, challenge
from aframe_sv.mock_data import MONTH, REFERENCE

#: Chirp distance (Mpc) at which a signal is as loud as the loudest noise, on average.
HORIZON = 240.0


def write_files(folder, seed=0, count=20_000, noise=3000):
    """Write a data set: a search whose statistic falls with the chirp distance."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    mass_1, mass_2 = rng.uniform(30, 50, count), rng.uniform(10, 30, count)
    chirp_mass = (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2
    chirp_distance = np.cbrt(rng.uniform(130**3, 350**3, count))
    time = np.sort(rng.uniform(0, MONTH, count))
    columns = {"tc": time, "mass1": mass_1, "mass2": mass_2}
    columns["distance"] = chirp_distance * (chirp_mass / REFERENCE) ** (5 / 6)
    stat = 8 * HORIZON / chirp_distance
    files = {
        "injections": columns,
        "foreground": {"time": time + 0.01, "stat": stat, "var": np.full(count, 0.2)},
        "background": {
            "time": rng.uniform(0, MONTH, noise),
            # The loudest of so many is at 8 on average.
            "stat": 8 + 0.3 * (rng.exponential(size=noise) - np.log(noise) - 0.5772),
            "var": np.full(noise, 0.2),
        },
    }  # fmt: skip
    for name, content in files.items():
        with h5py.File(folder / f"{name}.hdf", "w") as file:
            for key, values in content.items():
                file[key] = values
    return ChallengeInputs(
        *(folder / f"{n}.hdf" for n in ("foreground", "background", "injections"))
    )


def run(folder, inputs, **changes):
    """Run the verb; give the groups of the file."""
    draft = Draft(folder)
    challenge(ChallengeSettings(inputs, folder, **changes), draft)
    with h5py.File(folder / OUTPUT) as file:
        groups = {name: {k: v[:] for k, v in file[name].items()} for name in file}
        return SimpleNamespace(**groups, attributes=dict(file.attrs), notes=draft.notes)


def test_distances_stand_at_the_rates_asked_for(tmp_path):
    """Both forms with errors, farther at higher rates, and along the whole background."""
    got = run(tmp_path, write_files(tmp_path), bootstraps=50)

    assert got.at["false_alarms"].tolist() == [1, 10, 100, 1000]
    for form in ("official", "unbiased"):
        assert np.all(np.diff(got.at[form]) > 0)
        assert np.all(got.at[f"{form}_err"] > 0)
        along = np.interp([1, 10, 100], got.curve["false_alarms"], got.curve[form])
        assert along == pytest.approx(got.at[form][:3])
    assert got.curve["false_alarms"][0] == 0, "nothing is louder than the loudest"
    assert got.notes["injections"] == 20_000
    # A few are so near to another that it takes both events.
    assert 19_900 < got.notes["claimed"] <= 20_000
    assert got.attributes["duration"] == MONTH


def test_unbiased_distance_is_the_closed_form(tmp_path):
    """At a threshold t all signals nearer than 8 / t times the horizon are found."""
    got = run(tmp_path, write_files(tmp_path, count=100_000), bootstraps=2)
    threshold = got.curve["threshold"][10]
    with h5py.File(tmp_path / "injections.hdf") as file:
        mass_1, mass_2 = file["mass1"][:], file["mass2"][:]
    chirp_mass = (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2
    weight = np.cbrt(np.mean((chirp_mass / REFERENCE) ** 2.5))

    assert got.curve["unbiased"][10] == pytest.approx(weight * 8 * HORIZON / threshold, rel=2e-3)


def test_bootstrap_errors_are_the_scatter_of_repeated_challenges(tmp_path):
    """Of injections and of the background, down to the single loudest event."""
    found, told = [], []
    for seed in range(60):
        folder = tmp_path / str(seed)
        got = run(folder, write_files(folder, seed, 1000, 400), bootstraps=25, false_alarms=[1, 10])
        found.append([got.at["unbiased"], got.at["official"]])
        told.append([got.at["unbiased_err"], got.at["official_err"]])

    # The scatter of 60 is known to 9 %; the bootstrap of the loudest few is rough.
    assert np.mean(told, axis=0) == pytest.approx(np.std(found, axis=0), rel=0.35)


def test_the_strain_tells_what_was_searched(tmp_path):
    """Half a month of strain holds half of the injections, and its length is the rates'."""
    inputs = write_files(tmp_path)
    with h5py.File(tmp_path / "strain.hdf", "w") as file:
        file["H1/0"] = np.zeros(int(MONTH / 2 / 100))
        file["H1/0"].attrs.update(start_time=0.0, delta_t=100.0)
    with_strain = ChallengeInputs(
        inputs.foreground_events,
        inputs.background_events,
        inputs.injections,
        tmp_path / "strain.hdf",
    )
    got = run(tmp_path, with_strain, bootstraps=2, false_alarms=[2.0])

    assert got.notes["injections"] == pytest.approx(10_000, abs=300)
    assert got.attributes["duration"] == MONTH / 2
    other = run(tmp_path, with_strain, bootstraps=2, duration=2 * MONTH, false_alarms=[2.0])
    assert other.attributes["duration"] == 2 * MONTH
    assert other.at["official"][0] > got.at["official"][0], "a longer background has more events"


def test_rates_out_of_reach_are_left_out(tmp_path, caplog):
    """No distance is made up where there is no threshold."""
    inputs = write_files(tmp_path, noise=50)
    with caplog.at_level(logging.WARNING):
        got = run(tmp_path, inputs, bootstraps=2)

    assert got.at["false_alarms"].tolist() == [1, 10]
    assert (
        "100, 1000 false alarms a month are left out: the background has 50 events" in caplog.text
    )
    with pytest.raises(AframeError, match="reaches none of the rates asked for"):
        run(tmp_path, inputs, false_alarms=[0.5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chirp_distances": (350.0, 130.0)}, "chirp_distances cannot be used"),
        ({"false_alarms": []}, "false_alarms cannot be used"),
        ({"false_alarms": [0.0]}, "false_alarms cannot be used"),
        ({"false_alarms": [np.inf]}, "false_alarms cannot be used"),
        ({"duration": 0.0}, "duration cannot be used"),
        ({"duration": np.nan}, "duration cannot be used"),
        ({"edge": -1.0}, "edge cannot be used"),
        ({"bootstraps": 1}, "bootstraps cannot be used"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, changes, message):
    """Before any file is read."""
    inputs = ChallengeInputs(tmp_path, tmp_path, tmp_path)
    with pytest.raises(AframeError, match=message):
        ChallengeSettings(inputs, tmp_path, **changes)


def test_same_seed_gives_the_same_bytes(tmp_path):
    """And another seed other errors."""
    inputs = write_files(tmp_path, count=500, noise=200)
    files = []
    for seed in (0, 0, 1):
        run(tmp_path, inputs, bootstraps=5, false_alarms=[10], seed=seed)
        files.append((tmp_path / OUTPUT).read_bytes())

    assert files[0] == files[1] != files[2]
