"""The metric of the mock data challenge."""

import h5py
import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_sv.mock_data import (
    MONTH,
    REFERENCE,
    Campaign,
    Triggers,
    loudest_claims,
    radius,
    read_campaign,
    read_searched,
    read_triggers,
    refuse_other_distances,
    thresholds_at,
    volumes,
)

RANGE = (130.0, 350.0)


def _all(path):
    """All injections, wherever there is strain."""
    return read_campaign(path, None)


def drawn(count, seed=0):
    """Injections as the challenge draws them: uniform in the volume of the chirp distance."""
    rng = np.random.default_rng(seed)
    mass_1, mass_2 = np.sort(rng.uniform(7, 50, (2, count)), axis=0)[::-1]
    chirp_mass = (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2
    chirp_distance = np.cbrt(rng.uniform(RANGE[0] ** 3, RANGE[1] ** 3, count))
    time = np.cumsum(rng.uniform(24, 30, count))
    distance = chirp_distance * (chirp_mass / REFERENCE) ** (5 / 6)
    return Campaign(time, distance, chirp_mass)


def evaluated(triggers, noise, campaign):
    """The challenge's metric, step by step and event by event, in the words of its paper."""
    claimed = {}
    for time, stat, var in zip(triggers.time, triggers.stat, triggers.var, strict=True):
        nearest = int(np.argmin(np.abs(campaign.time - time)))
        if abs(campaign.time[nearest] - time) <= var:
            claimed[nearest] = max(stat, claimed.get(nearest, -np.inf))
    total = 4 / 3 * np.pi * campaign.distance.max() ** 3
    distances = []
    for threshold in noise:
        found = [index for index, stat in claimed.items() if stat > threshold]
        share = np.sum((campaign.chirp_mass[found] / campaign.chirp_mass.max()) ** (5 / 2))
        distances.append((3 * total * share / len(campaign) / (4 * np.pi)) ** (1 / 3))
    return np.array(distances)


def test_official_distance_is_that_of_the_metric_step_by_step():
    """To rounding, with several events at one injection, ties in loudness, and misses in time."""
    campaign, rng = drawn(300), np.random.default_rng(1)
    times = np.concatenate([campaign.time + rng.normal(0, 0.15, 300), campaign.time[:100] + 0.05])
    times = np.concatenate([times, rng.uniform(0, campaign.time[-1], 200)])
    stat = rng.integers(0, 40, len(times)) / 2.0
    triggers = Triggers(times, stat, rng.choice([0.1, 0.2, 0.3], len(times)))
    noise = np.sort(rng.integers(0, 36, 80) / 2.0)[::-1]

    official, _ = volumes(campaign, loudest_claims(triggers, campaign), noise, RANGE)

    assert radius(official) == pytest.approx(evaluated(triggers, noise, campaign), rel=1e-12)


@pytest.mark.parametrize("horizon", [150.0, 200.0, 300.0, 350.0])
def test_unbiased_volume_is_that_of_a_sphere(horizon):
    """A search that finds all to a chirp distance has the sphere of that distance, mass by mass."""
    campaign = drawn(400_000)
    loudest = np.where(campaign.chirp_distance < horizon, 1.0, -np.inf)

    official, unbiased = volumes(campaign, loudest, np.array([0.0]), RANGE)

    weight = np.mean((campaign.chirp_mass / REFERENCE) ** 2.5)
    # Below 145 Mpc lies the nearest fiftieth of what was drawn: all of it is found.
    assert unbiased[0] == pytest.approx(4 / 3 * np.pi * horizon**3 * weight, rel=0.01)
    shell = (horizon**3 - RANGE[0] ** 3) / (RANGE[1] ** 3 - RANGE[0] ** 3)
    farthest, heaviest = campaign.distance.max(), campaign.chirp_mass.max()
    mean = np.mean((campaign.chirp_mass / heaviest) ** 2.5)
    assert official[0] == pytest.approx(4 / 3 * np.pi * farthest**3 * mean * shell, rel=0.01)


def test_the_official_distance_is_biased():
    """It lacks what is nearer than all injections: 9 % of the distance at a horizon of 200 Mpc."""
    campaign = drawn(400_000)
    loudest = np.where(campaign.chirp_distance < 200, 1.0, -np.inf)

    official, unbiased = map(radius, volumes(campaign, loudest, np.array([0.0]), RANGE))

    assert official[0] / unbiased[0] == pytest.approx(0.915, abs=0.01)


def test_a_resampled_injection_counts_as_often_as_it_is_drawn():
    """Two of each change nothing."""
    campaign = drawn(500)
    loudest = np.where(campaign.chirp_distance < 250, 1.0, -np.inf)
    once, twice = (
        volumes(campaign, loudest, np.array([0.0]), RANGE, repeats)
        for repeats in (None, np.full(500, 2))
    )

    assert twice[0] == pytest.approx(once[0])
    assert twice[1] == pytest.approx(once[1])


def test_the_loudest_event_within_its_own_time_claims_an_injection():
    """The nearest injection only, and as far as the event says."""
    campaign = Campaign(np.array([10.0, 20.0]), np.ones(2), np.ones(2))
    times, stat = np.array([10.1, 9.9, 10.4, 14.9, 20.3]), np.array([1.0, 2.0, 9.0, 8.0, 7.0])
    triggers = Triggers(times, stat, np.array([0.2, 0.2, 0.2, 1.0, 0.3 + 1e-9]))

    assert loudest_claims(triggers, campaign).tolist() == [2.0, 7.0]
    alone = Campaign(np.array([10.0]), np.ones(1), np.ones(1))
    assert loudest_claims(triggers, alone).tolist() == [2.0]


def test_a_threshold_is_exceeded_by_the_events_counted():
    """One a month: the second loudest of a month, which itself does not count."""
    stat = np.array([9.0, 7.0, 5.0, 3.0])

    assert thresholds_at(stat, np.array([1, 2, 3])).tolist() == [7.0, 5.0, 3.0]
    assert thresholds_at(stat, np.array([4])).tolist() == [-np.inf]
    assert thresholds_at(stat, np.array([1, 2]), np.array([0, 2, 0, 3])).tolist() == [7.0, 3.0]


@pytest.fixture
def files(tmp_path):
    """Files of the layouts of the challenge."""
    with h5py.File(tmp_path / "injections.hdf", "w") as file:
        for name, values in {
            "tc": [130.0, 20.0, 99.0, 95.0], "distance": [1.0, 2.0, 3.0, 4.0],
            "mass1": [30.0] * 4, "mass2": [30.0] * 4, "ra": [0.0] * 4,
        }.items():  # fmt: skip
            file[name] = values
    with h5py.File(tmp_path / "foreground.hdf", "w") as file:
        for ifo in ("H1", "L1"):
            for start, seconds in ((120, 20), (10, 88)):
                file[f"{ifo}/{start}"] = np.zeros(seconds * 16)
                file[f"{ifo}/{start}"].attrs.update(start_time=float(start), delta_t=1 / 16)
    with h5py.File(tmp_path / "events.hdf", "w") as file:
        file["time"], file["stat"], file["var"] = [1.0, 2.0], [3, 4], [0.2, 0.2]
    return tmp_path


def test_injections_within_the_strain_count_in_their_order(files):
    """One lies between the segments; masses are turned to chirp masses."""
    searched = read_searched(files / "foreground.hdf")
    campaign = read_campaign(files / "injections.hdf", searched, edge=0.0)

    assert searched == [(10, 98), (120, 140)]
    assert campaign.time.tolist() == [20, 95, 130]
    assert campaign.distance.tolist() == [2, 4, 1]
    assert campaign.chirp_mass == pytest.approx(30 * 2**-0.2)
    assert len(read_campaign(files / "injections.hdf", None)) == 4


def test_injections_near_the_ends_of_segments_do_not_count(files):
    """As in the challenge's code, 30 s from either; a segment of a minute then has none."""
    searched = read_searched(files / "foreground.hdf")

    near = read_campaign(files / "injections.hdf", searched, edge=5.0)
    assert near.time.tolist() == [20, 130]
    assert len(read_campaign(files / "injections.hdf", searched)) == 0


def test_events_are_read(files):
    """Three columns."""
    got = read_triggers(files / "events.hdf")

    assert (got.time.tolist(), got.stat.tolist(), got.var.tolist()) == ([1, 2], [3, 4], [0.2, 0.2])


@pytest.mark.parametrize(
    ("read", "name", "kind"),
    [
        (read_triggers, "injections.hdf", "an event file of the challenge cannot be read"),
        (read_searched, "events.hdf", "an input file of the challenge cannot be read"),
        (_all, "events.hdf", "an injection file of the challenge cannot be read"),
    ],
)
def test_other_files_are_refused(files, read, name, kind):
    """By what they lack."""
    with pytest.raises(AframeError, match=kind):
        read(files / name)


def test_columns_of_unlike_length_are_refused(files):
    """An event file that lost rows."""
    with h5py.File(files / "events.hdf", "r+") as file:
        del file["var"]
        file["var"] = [0.2]

    with pytest.raises(AframeError, match="an event file of the challenge cannot be read"):
        read_triggers(files / "events.hdf")


@pytest.mark.parametrize(
    ("read", "name", "column", "values", "message"),
    [
        (read_triggers, "events", "stat", [1.0, np.nan], "stat of row 1 is not a number"),
        (_all, "injections", "distance", [np.nan, 1, 1, 1], "distance of row 0 is not a number"),
        (_all, "injections", "tc", [1.0, 2, 3], r"columns of shapes \[\(3,\), \(4,\)"),
        (_all, "injections", "mass2", [30.0, 0, 30, 30], "a mass is not above zero"),
    ],
)
def test_columns_that_would_spoil_the_distance_are_refused(
    files, read, name, column, values, message
):
    """One NaN in a sum, or a threshold that is none, would be a result that says nothing."""
    with h5py.File(files / f"{name}.hdf", "r+") as file:
        del file[column]
        file[column] = values

    with pytest.raises(AframeError, match=message):
        read(files / f"{name}.hdf")


def test_a_resampling_without_an_injection_has_no_volume():
    """Zero, and not the quotient of nothing."""
    campaign = drawn(2)
    found = volumes(campaign, np.ones(2), np.zeros(1), RANGE, np.zeros(2, int))

    assert [each.tolist() for each in found] == [[0.0], [0.0]]


def test_injections_of_another_range_are_refused():
    """Their volume would be another."""
    campaign = drawn(1000)
    refuse_other_distances(campaign, RANGE)

    with pytest.raises(AframeError, match="not of the chirp distances they are said to be of"):
        refuse_other_distances(campaign, (200.0, 350.0))
    with pytest.raises(AframeError, match="there is no injection to be found"):
        refuse_other_distances(drawn(0), RANGE)


def test_a_month_has_thirty_days():
    """As the challenge has it."""
    assert MONTH == 2_592_000
