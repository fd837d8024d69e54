"""Probabilities in the report."""

import h5py
import numpy as np
import pytest

from aframe_sv.evidence import Probabilities
from aframe_sv.sections import candidates
from aframe_sv.sections.probability import crossing, in_words, section


@pytest.fixture
def changed(evidence, inputs, tmp_path):
    """Evidence with a file of probabilities that a function has edited."""

    def change(edit):
        path = tmp_path / "p_astro.hdf5"
        path.write_bytes(inputs.p_astro.read_bytes())
        with h5py.File(path, "r+") as file:
            edit(file)
        return evidence(p_astro=path)

    return change


def test_probabilities_are_shown_with_what_made_them(evidence):
    """A row an event, loudest first; the rates with their source; both figures."""
    got = section(evidence())

    (table,) = got.tables
    assert table.columns == ("", "Time (UTC)", "Statistic", "p_astro", "BBH", "terrestrial")
    assert [row[2] for row in table.rows] == ["11.80", "-1.20"]
    assert table.rows[0][3].endswith("*"), "no background event is as loud"
    assert not table.rows[1][3].endswith("*")
    assert "BBH 28, NSBH 33, BNS 130 per Gpc³ and year" in got.paragraphs[1]
    assert "011048" in got.paragraphs[1]
    assert "hold no NSBH and no BNS" in got.paragraphs[2]
    assert "extrapolation" in got.paragraphs[3]
    assert len(got.pictures) == 2
    assert "half of the injections" in got.pictures[1].caption


def test_simulated_noise_makes_no_astrophysical_probability(evidence, tmp_path):
    """The notice stands where the background is simulated."""
    assert "not astrophysical" in section(evidence()).notices[0]
    assert section(evidence(test_background=tmp_path)).notices == []


def test_candidates_have_their_probability(evidence):
    """The table of events has one column more, in the same order."""
    table = candidates.section(evidence()).tables[0]
    mine = section(evidence()).tables[0]

    assert table.columns[-1] == "p_astro"
    assert [row[-1] for row in table.rows] == [row[3] for row in mine.rows]
    without = candidates.section(evidence(p_astro=None)).tables[0]
    assert without.columns[-1] == "Expected by chance"
    assert "extrapolated" not in without.caption


def test_no_probability_makes_no_section(evidence):
    """A run without zero lag has no event to be probable."""
    assert section(evidence(p_astro=None)) is None


def test_untested_probabilities_are_said_to_be(changed):
    """Where signals and noise do not overlap, nothing shows how the probabilities hold."""

    def clear(file):
        for name in file["reliability"]:
            del file[f"reliability/{name}"]
            file[f"reliability/{name}"] = np.zeros(0)

    got = section(changed(clear))
    assert len(got.pictures) == 1
    assert "Too few events are between signal and noise" in got.paragraphs[-1]


def test_a_search_too_small_for_a_model_says_so(changed):
    """A sentence in place of numbers, and no column in the table of events."""

    def clear(file):
        for name in file["model"]:
            del file[f"model/{name}"]

    made = changed(clear)
    assert section(made).paragraphs[0].startswith("Too few injections were found")
    assert candidates.section(made).tables[0].columns[-1] == "Expected by chance"


def test_a_search_without_events_shows_its_model(changed):
    """No table and no star, but the densities."""

    def clear(file):
        for name in file["events"]:
            kind = file[f"events/{name}"].dtype
            del file[f"events/{name}"]
            file[f"events/{name}"] = np.zeros(0, kind)

    got = section(changed(clear))
    assert got.tables == []
    assert len(got.pictures) == 2
    assert not any("extrapolation" in text for text in got.paragraphs)


def test_signals_and_noise_are_equal_where_their_rates_are():
    """Above the bulk of the noise; at the end of the table where signals never reach it."""
    statistic = np.linspace(0, 10, 1001)
    model = {"statistic": statistic, "noise": 100 * np.exp(-statistic), "BBH": 1 + 0 * statistic}
    made = Probabilities({}, model, {}, {"rates": '{"BBH": 1.0}'})
    never = Probabilities({}, {**model, "BBH": 1e-9 + 0 * statistic}, {}, {"rates": '{"BBH": 1.0}'})

    assert crossing(made) == pytest.approx(np.log(100), abs=0.01)
    assert crossing(never) == 10


@pytest.mark.parametrize(
    ("p", "words"), [(1.0, "> 0.9999"), (0.0, "< 0.0001"), (0.05, "0.050"), (0.95, "0.950")]
)
def test_probabilities_are_never_told_to_be_certain(p, words):
    """Neither zero nor one, and two digits of the smaller of the two sides."""
    assert in_words(p) == words
