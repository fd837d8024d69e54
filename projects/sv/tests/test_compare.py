"""Several runs on one page."""

import json

import numpy as np
import pytest

from aframe.artifacts.events import JULIAN_YEAR
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_sv.compare import (
    OUTPUT,
    CompareInputs,
    CompareSettings,
    common_far,
    compare,
    curves,
    different,
    numbers,
    read_runs,
)


@pytest.fixture
def listed(inputs, records, tmp_path):
    """A list of two runs, of which the second has no volume."""

    def write(*names):
        paths = {name: str(path) for name, path in vars(inputs).items() if path}
        few = {name: path for name, path in paths.items() if name != "sensitive_volume"}
        mine = [str(path) for path in records]
        runs = [
            {"name": name, "inputs": few if number else paths, "records": mine, "digests": {}}
            for number, name in enumerate(names)
        ]
        path = tmp_path / "runs.json"
        path.write_text(json.dumps(runs))
        return path

    return write


def test_the_page_holds_all_runs(listed, tmp_path):
    """Their numbers, curves, and settings that differ, in one file of its own."""
    draft = Draft(tmp_path / "out")
    draft.path.mkdir()
    compare(CompareSettings(CompareInputs(listed("old", "new")), draft.path), draft)

    text = (draft.path / OUTPUT).read_text()
    assert "2 runs: old, new" in text
    assert text.count("<img ") == 4
    assert text.count('src="data:') == 4
    assert "All steps had the same settings." in text
    assert draft.notes == {"runs": 2}


def test_runs_are_held_against_one_another_at_one_rate(evidence, make_search, tmp_path):
    """The lowest that all measure; shares are counted there."""
    full, bare = evidence(), evidence(foreground=None, sensitive_volume=None, zero_lag=None)
    (table,) = numbers({"full": full, "bare": bare}).tables

    far = common_far({"full": full, "bare": bare})
    assert far == JULIAN_YEAR / full.background.Tb
    found = full.recovered.statistic >= full.background.detection_statistic.max()
    first, second = table.rows
    assert first[:4] == ["full", "6.0 hours", "22.0 seconds", "11.80"]
    assert first[5] == f"{np.mean(found):.0%} of {len(found):,}"
    assert "Mpc" in first[6]
    assert second[2:] == ["none"] * (len(table.columns) - 2)


def test_runs_without_background_have_no_curves(evidence):
    """A sentence instead."""
    bare = evidence(background=None, sensitive_volume=None, foreground=None)

    shown = curves({"a": bare, "b": bare})
    assert shown.paragraphs == ["None of the runs has a background."]
    assert "None of these runs measures" in numbers({"a": bare, "b": bare}).paragraphs[0]


def test_settings_that_differ_are_listed(evidence):
    """By step; those alike are not, and a step that one run lacks has none."""
    whole = evidence()
    without = evidence(records=[each for each in whole.records if "fit" not in each[0].name])

    (table,) = different({"whole": whole, "without": without}).tables
    assert ["train fit", "kernel_length", "1.5", "none"] in table.rows
    assert {row[0] for row in table.rows} == {"train fit"}


@pytest.mark.parametrize("names", [("one",), ("same", "same")])
def test_what_is_no_list_of_runs_is_refused(listed, names):
    """One alone, or two of one name."""
    with pytest.raises(AframeError, match="the list of runs cannot be used"):
        read_runs(listed(*names))
