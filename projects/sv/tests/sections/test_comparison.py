"""The search beside published ones, in the report."""

import h5py
import numpy as np
import pytest

from aframe_sv.sections.comparison import section


@pytest.fixture
def changed(evidence, inputs, tmp_path):
    """Evidence whose volumes are of populations of another width or pair."""

    def change(**attributes):
        path = tmp_path / "sensitive_volume.h5"
        path.write_bytes(inputs.sensitive_volume.read_bytes())
        with h5py.File(path, "r+") as file:
            file.attrs.update(attributes)
        return evidence(sensitive_volume=path)

    return change


def test_each_population_that_is_published_is_compared(evidence):
    """A row a published search, and this one at the top, with the rates that are known."""
    got = section(evidence())

    (table,) = got.tables
    assert table.columns[2:] == ("35 + 35 M☉", "20 + 20 M☉")
    assert [row[0] for row in table.rows][:3] == ["this search", "GstLAL", "PyCBC-BBH"]
    assert ("GstLAL", "of the catalog", "1338 Mpc", "921 Mpc") in table.rows
    assert ("Aframe 2023", "0.93 a year", "1355 ± 141 Mpc", "719 ± 89 Mpc") in table.rows
    assert "35 + 35 M☉" in got.pictures[0].alt
    assert "041039" in got.paragraphs[-1]


def test_simulated_strain_is_said_to_compare_with_nothing(evidence, tmp_path):
    """The notice stands where the background is simulated, as the record of its fetch says."""
    assert "simulated" in section(evidence()).notices[0]
    assert section(evidence(test_background=tmp_path)).notices == []


def test_populations_of_another_width_are_compared_with_nothing(changed):
    """A wider population has another volume."""
    assert section(changed(sigma=0.3)) is None


def test_no_volume_makes_no_comparison(evidence):
    """The estimate is a step of its own."""
    assert section(evidence(sensitive_volume=None)) is None


def test_one_population_alone_can_be_compared(changed, inputs):
    """Those that nobody published are left out."""
    with h5py.File(inputs.sensitive_volume) as file:
        assert np.shape(file.attrs["mass_combos"]) == (2, 2)

    got = section(changed(mass_combos=[[20.0, 20.0]]))
    assert got.tables[0].columns[2:] == ("20 + 20 M☉",)
