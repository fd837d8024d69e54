"""Missed and found injections."""

import bilby
import numpy as np
import pytest

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe_sv.evidence import Recovered
from aframe_sv.neighborhood import Candidate, Series
from aframe_sv.sections.missed import Injected, chirp_mass, efficiency, section, title


def background(statistic):
    """Events of a year."""
    count = len(statistic)
    return Events(np.array(statistic), np.arange(float(count)), np.zeros((count, 2)), JULIAN_YEAR)


def test_the_section_shows_mass_distance_snr_and_the_curve(evidence):
    """Efficiency, three scatter plots, shares, and the loudest missed."""
    shown = section(evidence())

    alts = [picture.alt for picture in shown.pictures]
    assert alts[0].startswith("Share of injections found against false alarm rate")
    over = [alt.partition("injections: ")[2] for alt in alts[1:4]]
    assert over == [
        "Network SNR against luminosity distance.",
        "luminosity distance against chirp mass.",
        "Network SNR against chirp mass.",
    ]
    assert alts[4].startswith("Share of injections found against distance")
    (table,) = shown.tables
    snrs = [float(row[0]) for row in table.rows]
    assert len(snrs) == 10
    assert snrs == sorted(snrs, reverse=True)


def test_injections_can_be_opened(evidence):
    """Those that the search kept, each by what it was; where it kept none, nothing says so."""
    shown = section(evidence())
    missed, found = shown.folds

    assert missed.title == "Missed: SNR 14.5, 40 + 30 M☉, 475 Mpc, statistic -1.20"
    assert found.title.startswith("Found: SNR 9.1")
    assert missed.group == found.group == "missed"
    assert "4.2 s after it: the search has none of it" in missed.pictures[-1].caption
    assert "0.06 s after its merger" in found.pictures[-1].caption
    assert len(missed.pictures) == 3
    without = section(evidence(examples=None))
    assert without.folds == []
    assert len(without.paragraphs) == len(shown.paragraphs) - 1


def test_found_is_what_the_text_counts(evidence):
    """As loud as the loudest background event and near in time, counted by hand."""
    everything = evidence()
    columns = everything.recovered.columns
    near = np.abs(columns["detection_time"] - columns["injection_time"]) <= 1
    loud = columns["detection_statistic"] >= everything.background.detection_statistic.max()

    assert f"{(near & loud).sum():,} are found" in section(everything).paragraphs[0]


@pytest.mark.parametrize("missing", ["background", "foreground"])
def test_without_background_or_injections_there_is_no_section(evidence, missing):
    """Nothing to hold against the other."""
    assert section(evidence(**{missing: None})) is None


def test_the_efficiency_is_that_of_counting():
    """At each rate, the injections at least as loud as the events of that rate; ties count all."""
    noise = [5.0, 4.0, 4.0, 3.0, 1.0]
    fars, share, (low, high) = efficiency(
        background(noise), np.array([6.0, 5.0, 4.5, 4.0, 2.0, -np.inf])
    )

    assert fars.tolist() == pytest.approx([1, 3, 3, 4, 5])
    assert share.tolist() == pytest.approx([2 / 6, 4 / 6, 4 / 6, 4 / 6, 5 / 6])
    assert np.all((low < share) & (share < high))


def test_masses_are_of_the_source_and_distances_of_the_cosmology():
    """As bilby has them."""
    columns = {
        "mass_1": np.array([66.0]), "mass_2": np.array([44.0]), "redshift": np.array([0.1]),
        "snr": np.array([12.0]),
    }  # fmt: skip
    injected = Injected.of(Recovered(columns, 1.0))

    expected = bilby.gw.conversion.component_masses_to_chirp_mass(60.0, 40.0)
    assert injected.chirp_mass[0] == pytest.approx(expected)
    assert injected.distance[0] == pytest.approx(
        bilby.gw.conversion.redshift_to_luminosity_distance(0.1, "Planck15"), rel=1e-3
    )
    assert chirp_mass(np.array(66.0), np.array(44.0)) == pytest.approx(1.1 * expected)


def test_an_example_that_says_little_is_still_named():
    """Whether it was found, and its statistic."""
    series = Series(np.zeros(4), 0.0, 4.0)
    example = Candidate(1.0, 7.0, series, series, series, injection={"injection_time": 1.0})

    assert title(example) == "Found: statistic 7.00"
