"""Sensitive distances of published searches."""

import pytest

from aframe_sv.published import published


def test_volume_times_become_the_distances_that_others_found():
    """Distances that another reader of the same table worked out, to their last digit."""
    got = {name: one.lines for name, one in published(0.1).items()}

    expected = {
        "35-35": {"GstLAL": 1338, "PyCBC-BBH": 1359, "MBTA": 1244, "cWB": 1149},
        "35-20": {"GstLAL": 1103, "PyCBC-BBH": 1134, "MBTA": 1017, "cWB": 924},
        "20-20": {"GstLAL": 921, "PyCBC-BBH": 939, "MBTA": 863, "cWB": 689},
        "20-10": {"GstLAL": 705, "PyCBC-BBH": 724, "MBTA": 668, "cWB": 519},
    }
    assert got.keys() == expected.keys()
    for name, lines in expected.items():
        assert got[name] == pytest.approx(lines, abs=0.51)


def test_points_have_a_rate_a_distance_and_an_error():
    """The published search sees farther at higher rates."""
    for one in published(0.1).values():
        rates, distances, errors = zip(*one.points, strict=True)
        assert list(rates) == sorted(rates)
        assert list(distances) == sorted(distances)
        assert all(0 < error < distance for error, distance in zip(errors, distances, strict=True))


def test_sources_are_told():
    """A number is worth what its source is."""
    catalog, plots = published(0.1)["20-10"].sources
    assert "041039" in catalog
    assert "aframe-plots" in plots


def test_another_width_is_another_population():
    """There is nothing to compare with then."""
    assert published(0.2) == {}
