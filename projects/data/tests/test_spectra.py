"""Noise curves by name and from files, and PSDs estimated from strain."""

from __future__ import annotations

import h5py
import lal
import lalsimulation
import numpy as np
import pytest
from scipy.signal import welch

from aframe.artifacts.strain import list_strain, read_strain
from aframe.errors import AframeError
from aframe_data import spectra
from aframe_data.spectra import Asd, design_curves, load_asd, median_psd


def load(name, nyquist=512.0):
    """Load a curve for a test."""
    return load_asd(str(name), nyquist=nyquist, wanted_by="a test")


@pytest.mark.parametrize("name", ["aLIGOO3LowT1800545", "SimNoisePSDaLIGOO3LowT1800545"])
def test_a_tabulated_design_curve_is_that_of_lalsimulation(name):
    """At frequencies between and on the points of the table."""
    series = lal.CreateREAL8FrequencySeries("", lal.LIGOTimeGPS(0), 0, 0.01, None, 60_000)
    lalsimulation.SimNoisePSDaLIGOO3LowT1800545(series, 5.0)
    frequencies = np.array([12.34, 20.0, 59.99, 100.01, 501.0])

    wanted = np.sqrt(series.data.data[np.round(frequencies / 0.01).astype(int)])

    np.testing.assert_allclose(load(name)(frequencies), wanted, rtol=1e-3)


def test_an_analytic_design_curve_is_that_of_lalsimulation():
    """Also where LALSimulation gives a function of frequency."""
    wanted = [np.sqrt(lalsimulation.SimNoisePSDaLIGOZeroDetHighPower(f)) for f in (20.0, 300.0)]

    np.testing.assert_allclose(load("aLIGOZeroDetHighPower")(np.array([20.0, 300.0])), wanted)


def test_lists_curves_and_no_other_functions():
    """Models that need more than a frequency are none."""
    names = design_curves()

    assert {"AdVDesignSensitivityP1200087", "KAGRA", "aLIGOO3LowT1800545"} < set(names)
    assert not {"FromFile", "SuspTherm", "", "GEOPtr"} & set(names)


def test_interpolates_straight_in_the_logarithms():
    """A power law stays one; beyond its ends the curve is flat."""
    curve = Asd(np.array([10.0, 1000.0]), np.array([1e-20, 1e-24]))

    found = curve(np.array([5.0, 10.0, 100.0, 2000.0]))

    np.testing.assert_allclose(found, [1e-20, 1e-20, 1e-22, 1e-24])


@pytest.mark.parametrize("kind", ["txt", "hdf5"])
def test_reads_a_curve_from_a_file(tmp_path, kind):
    """Text of two columns, or HDF5; a bin at zero frequency is left out."""
    path = tmp_path / f"curve.{kind}"
    frequencies, values = np.array([0.0, 8.0, 600.0]), np.array([1.0, 3e-22, 1e-23])
    if kind == "txt":
        np.savetxt(path, np.stack([frequencies, values], 1), header="Hz 1/sqrt(Hz)")
    else:
        with h5py.File(path, "w") as file:
            file["frequency"], file["asd"] = frequencies, values

    curve = load(path)

    np.testing.assert_allclose(curve.frequencies, [8, 600])
    np.testing.assert_allclose(curve.values, [3e-22, 1e-23])


def test_refuses_an_unknown_curve():
    """And names those that are spelled like it."""
    with pytest.raises(AframeError, match=r"no such noise curve[\s\S]*aLIGOO3LowT1800545"):
        load("aLIGOO3Low")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a number", "cannot be read"),
        ("10 1e-20 5\n600 1e-23 5", "cannot be read"),
        ("10 1e-20", "do not ascend"),
        ("600 1e-20\n10 1e-23", "do not ascend"),
        ("10 1e-20\n600 -1e-23", "not a number above zero"),
        ("10 1e-20\n600 nan", "not a number above zero"),
    ],
)
def test_refuses_a_file_that_is_no_curve(tmp_path, text, message):
    """Each fault is told."""
    path = tmp_path / "curve.txt"
    path.write_text(text)

    with pytest.raises(AframeError, match=message):
        load(path)


def test_refuses_an_hdf5_file_without_a_curve(tmp_path):
    """The names of its datasets are wanted."""
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["psd"] = [1.0]

    with pytest.raises(AframeError, match="datasets `frequency`"):
        load(tmp_path / "x.hdf5")


def test_refuses_a_curve_that_ends_below_nyquist(tmp_path):
    """Noise above it would be invented."""
    path = tmp_path / "curve.txt"
    path.write_text("10 1e-20\n400 1e-23\n")

    with pytest.raises(AframeError, match=r"spans 10 to 400 Hz[\s\S]*up to 512 Hz"):
        load(path)


@pytest.mark.parametrize("stretch", [512.0, 33.0])
@pytest.mark.parametrize("powers", [2**26, 10_000])
def test_median_psd_is_that_of_scipy(background, stretch, powers, monkeypatch):
    """However much strain is loaded, and however many frequencies are held, at a time."""
    monkeypatch.setattr(spectra, "_MOST_POWERS", powers)
    file = list_strain(background, ["H1"])[0]
    strain = read_strain(file, ["L1"])[0].astype(float)
    _, wanted = welch(strain, 1024, nperseg=4096, average="median")

    found = median_psd(file, "L1", 4.0, stretch=stretch)

    np.testing.assert_allclose(found[1:-1], wanted[1:-1], rtol=1e-4)
