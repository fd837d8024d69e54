"""Strain in the report."""

import numpy as np
import pytest

from aframe.artifacts.strain import list_strain, write_strain
from aframe_sv.sections.strain import asd, densities, livetime, section, time_unit, timeline

GPS = 1_240_579_783.0


def white(directory, seconds, start=GPS, rate=512.0, level=2e-23):
    """White noise of a given amplitude spectral density in both detectors."""
    noise = np.random.default_rng(3).normal(size=(2, int(seconds * rate)))
    strain = level * np.sqrt(rate / 2) * noise
    write_strain(directory, strain, ifos=("H1", "L1"), start=start, sample_rate=rate)
    return directory


def test_whole_run_shows_segments_and_noise(evidence):
    """A row a set, where it came from, and the noise of each detector."""
    got = section(evidence())
    (table,) = got.tables

    assert [row[0] for row in table.rows] == ["training", "time slides", "zero lag"]
    assert [row[1] for row in table.rows] == ["simulated", "simulated", "files"]
    assert table.rows[2][-1] == "32.0 seconds"
    assert table.rows[1][4] == f"2019-04-29 13:29:25.00 ({GPS:.0f})"
    assert len(got.pictures) == 3
    assert "for time slides" in got.pictures[1].alt
    assert "for zero lag" in got.pictures[1].alt


def test_missing_strain_leaves_a_sentence(evidence):
    """None at all; none for training; none of zero lag's own."""
    nothing = evidence(train_background=None, test_background=None, zero_lag_background=None)
    assert section(nothing).paragraphs == ["No strain was given to this report."]
    some = section(evidence(zero_lag_background=None))
    assert "that of the strain for time slides" in some.paragraphs[0]
    training = section(evidence(test_background=None, zero_lag_background=None))
    assert len(training.pictures) == 1, "its noise is that of the slides, and not shown"


def test_origin_is_said_to_be_unknown_where_it_is(evidence, tmp_path):
    """Strain without the record of its fetch."""
    strain = white(tmp_path / "alone" / "background", 64)

    (table,) = section(evidence(test_background=strain)).tables

    assert table.rows[1][1] == "not recorded"


def test_detectors_come_from_the_strain_where_nothing_else_says(evidence):
    """Without model and records the files themselves name them."""
    got = section(evidence(preprocessing=None, records=()))

    assert got.tables[0].rows[0][2] == "H1, L1"
    assert len(got.pictures) == 3


@pytest.mark.parametrize("seconds", [600, 32, 4])
def test_white_noise_has_its_density(tmp_path, seconds):
    """The estimate is that of the noise, from minutes of strain or seconds."""
    files = list_strain(white(tmp_path, seconds), ("H1", "L1"))

    frequency, density = asd(files, "L1")

    inside = (frequency > 5) & (frequency < 250)
    assert np.median(density[inside]) == pytest.approx(2e-23, rel=0.06)
    assert frequency[-1] == 256


def test_a_month_of_strain_is_not_read_for_its_density(tmp_path, monkeypatch):
    """At most some minutes are."""
    asked = []
    files = list_strain(white(tmp_path, 600), ("H1", "L1"))
    monkeypatch.setattr(
        "aframe_sv.sections.strain.read_strain",
        lambda _file, _ifos, start, stop: asked.append(stop - start) or np.ones((1, 4096), "f4"),
    )

    asd(files, "H1")

    assert asked == [256.0]


def test_gaps_are_seen(tmp_path):
    """Files that touch are one segment; the share of time is said."""
    for start in (GPS, GPS + 64, GPS + 192):
        white(tmp_path, 64, start)
    files = list_strain(tmp_path, ("H1",))

    assert livetime(files) == 192
    assert "training 75% of 4.3 minutes in 2 segments" in timeline({"training": files}).alt


@pytest.mark.parametrize("band", [(None, None), (32.0, None), (20.0, 200.0), (2.0, 400.0)])
def test_the_band_of_the_search_is_drawn(band):
    """Edges within the plot are shaded, others are not needed."""
    frequency = np.linspace(0, 256, 513)
    drawn = densities("H1", {"time slides": (frequency, np.full(513, 2e-23))}, band)

    assert "median above 50 Hz 2e-23/√Hz for time slides" in drawn.alt
    shades = drawn.content.count(b"opacity: 0.15")
    assert shades == {(None, None): 0, (32.0, None): 1, (20.0, 200.0): 2, (2.0, 400.0): 0}[band]


def test_the_cut_of_resampling_is_not_shown(monkeypatch):
    """Near the Nyquist frequency there is no noise left to show, and no axis that goes there."""
    limits = []
    monkeypatch.setattr(
        "aframe_sv.sections.strain.picture",
        lambda ax, **_: limits.append((ax.get_xlim(), ax.get_ylim())),
    )
    frequency = np.linspace(0, 512, 2049)
    density = np.where(frequency < 470, 2e-23, 1e-27)

    densities("H1", {"time slides": (frequency, density)}, (32.0, None))

    ((right, lowest),) = [(x[1], y[0]) for x, y in limits]
    assert right == pytest.approx(0.9 * 512)
    assert lowest > 1e-24


@pytest.mark.parametrize(
    ("span", "unit"), [(5.0, "Seconds"), (600.0, "Minutes"), (9e3, "Hours"), (3e5, "Days")]
)
def test_time_is_shown_in_its_unit(span, unit):
    """At least two of the unit fit."""
    assert time_unit(span)[0] == unit
