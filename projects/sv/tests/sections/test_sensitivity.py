"""Sensitive volume and distance in the report."""

import h5py
import numpy as np
import pytest

from aframe.artifacts.record import Record, write_record
from aframe_sv.evidence import Volumes
from aframe_sv.page import bound
from aframe_sv.sections.sensitivity import (
    bounds,
    curves,
    distance_in_words,
    in_solar_masses,
    roughness,
    section,
    table,
    thinned,
    uncovered,
)


def volumes(fars, legacy=False, cut_off=0):  # noqa: FBT002
    """Volumes that grow with the rate, those of the highest rates cut off."""
    fars = np.array(fars, float)
    sv = 1 + np.log10(fars / fars[0])
    curve = {"sv": sv, "err": 0.1 * sv, "distance": 600 + 100 * sv, "distance_err": 20 + 0 * sv}
    curve |= {"err_injections": 0.1 * sv, "err_threshold": 0 * sv}
    curve |= {"outermost": 0.01 * sv, "lower_bound": np.zeros(len(fars), bool)}
    bound = np.arange(len(fars)) >= len(fars) - cut_off
    attributes = {
        "sigma": 0.1,
        "legacy_redshift": legacy,
        "outermost_redshifts": np.array([0.63, 0.7]),
    }
    return Volumes(fars, {"35-35": {**curve, "lower_bound": bound}, "20-10": curve}, attributes)


def test_whole_run_is_shown(evidence):
    """A table, and curves of distance and volume."""
    got = section(evidence())

    assert len(got.pictures) == 2
    assert got.notices == roughness(evidence().volumes), "nothing else is wrong with it"
    assert "width 0.1 of the logarithm" in got.paragraphs[0]
    assert "35 + 35 M☉" in got.pictures[0].alt


def test_no_volume_leaves_a_sentence(evidence):
    """The estimate is a step of its own."""
    got = section(evidence(sensitive_volume=None))

    assert got.paragraphs == ["The sensitive volume was not estimated in this run."]


def test_legacy_weights_are_noticed(evidence, inputs, tmp_path):
    """Volumes that are known to be low are never shown without saying so."""
    path = tmp_path / "sensitive_volume.h5"
    path.write_bytes(inputs.sensitive_volume.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["legacy_redshift"] = True

    notice = section(evidence(sensitive_volume=path)).notices[0]
    assert "too low by a factor of up to two" in notice


def test_volumes_that_are_cut_off_are_noticed():
    """Which, from which rate on, by how much, and a mark in the table."""
    some = volumes(np.arange(1, 301) * 1461.0, cut_off=250)

    (notice,) = bounds(some)
    assert "The volume of 35 + 35 M☉ is a lower bound at 250 of 300 false alarm rates" in notice
    assert "the lowest of them 1 per 7.1 minutes: up to 3% of it lies" in notice
    assert "at redshifts 0.63 to 0.7," in notice
    rows = table(some).rows
    assert rows[-1][1].startswith("≥\u00a0")
    assert rows[-1][2] == rows[-1][1].removeprefix("≥\u00a0")
    assert rows[0][1] == rows[0][2]


def with_effective(counts):
    """Volumes of one population that rest on so many effective injections at each rate."""
    some = volumes(np.arange(1, len(counts) + 1) * 1461.0)
    curve = some.curves["20-10"]
    some.curves["20-10"] = {**curve, "err_injections": curve["sv"] / np.sqrt(counts)}
    return some


def test_rough_volumes_are_noticed_and_marked():
    """Fewer effective injections than the estimate wants: the notice, the table, the figures."""
    some = with_effective(np.array([16.5, 39.9, 40.1]))

    (notice,) = roughness(some)
    assert "as few as 16.5 (20 + 10 M☉), where 40 are wanted" in notice
    told = [distance_in_words(some.curves["20-10"], index) for index in range(3)]
    assert [words.startswith("≈ ") for words in told] == [True, True, False]
    assert table(some).rows[0][1].startswith("700")
    drawn = curves(some, "distance", "distance_err", "Sensitive distance (Mpc)")
    assert "Dashed: rough." in drawn.caption


def test_volumes_of_enough_injections_have_no_such_mark():
    """Nothing is said where nothing is wrong."""
    some = with_effective(np.array([41.0, 400.0]))

    assert roughness(some) == []
    assert "≈" not in " ".join(table(some).rows[0])
    drawn = curves(some, "distance", "distance_err", "Sensitive distance (Mpc)")
    assert "Dashed" not in drawn.caption


@pytest.mark.parametrize(
    ("mean", "legacy", "count"), [(1.2, False, 1), (0.8, False, 1), (1.1, False, 0), (1.2, True, 0)]
)
def test_a_population_that_the_injections_do_not_hold_is_noticed(
    evidence, inputs, tmp_path, mean, legacy, count
):
    """As the estimate warns: a mean weight off by more than 0.02 and five errors."""
    path = tmp_path / "sensitive_volume.h5"
    path.write_bytes(inputs.sensitive_volume.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["legacy_redshift"] = legacy
    notes = {"35-35": {"mean_weight": mean, "mean_weight_error": 0.02}}
    write_record(
        tmp_path / "estimate.record.json", Record("aframe-sv estimate", {}, {}, {}, {}, notes=notes)
    )

    got = uncovered(evidence(sensitive_volume=path))

    assert len(got) == count
    assert all(f"35 + 35 M☉ is {mean:.3f} ± 0.020 instead of 1" in notice for notice in got)


def test_table_has_the_lowest_rate_and_each_power_of_ten():
    """One row at the lowest rate, then the first of each decade."""
    rows = table(volumes(np.arange(1, 301) * 1461.0)).rows

    assert [row[0] for row in rows] == [
        "1 per 6.0 hours",
        "1 per 51.4 minutes",
        "1 per 5.2 minutes",
    ]
    assert rows[0][1] == bound("700 ± 20 Mpc, 1.00 ± 0.10 Gpc³")


@pytest.mark.parametrize("count", [1, 5, 2000])
def test_one_rate_or_many_can_be_drawn(count):
    """A single threshold is a point with its error; thousands stay a small figure."""
    drawn = curves(volumes(np.arange(1, count + 1)), "sv", "err", "Sensitive volume (Gpc³)")

    assert "at 1 per 1.0 year 1.00 ± 0.10 for 35 + 35 M☉" in drawn.alt
    assert len(drawn.content) < 200_000


def test_thinning_keeps_the_ends():
    """First and last point stay, at most a few hundred between."""
    kept = thinned(100_000)

    assert kept[0] == 0
    assert kept[-1] == 99_999
    assert len(kept) <= 300
    assert thinned(3).tolist() == [0, 1, 2]


def test_populations_are_named_by_their_masses():
    """As one writes a binary."""
    assert in_solar_masses("1.6-1.4") == "1.6 + 1.4 M☉"
