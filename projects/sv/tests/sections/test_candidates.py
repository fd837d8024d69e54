"""The events of zero lag."""

import numpy as np

from aframe.artifacts.events import Events
from aframe_sv.sections.candidates import section


def test_events_are_listed_with_their_rates(evidence):
    """Loudest first; one above all background stands out, with bounds."""
    (table,) = section(evidence()).tables

    assert table.emphasize == 1
    assert table.rows[0][1:4] == ("2015-09-14 09:50:45.43", "1126259462.43 ± 0.03", "11.80")
    assert table.rows[0][4] == "≲ 1 per 6.0 hours"
    assert table.rows[0][5] == "≲ 0.001"
    assert table.rows[1][3] == "-1.20"
    assert not table.rows[1][4].startswith("≲")
    assert "±" not in table.rows[1][2]


def test_each_event_can_be_opened(evidence):
    """Two events with strain, Q-scan and score each, of which the loudest is open."""
    first, second = section(evidence()).folds

    assert first.title == "Event 1: 2015-09-14 09:50:45.43 UTC, statistic 11.80"
    assert (first.opened, second.opened) == (True, False)
    assert first.group == second.group == "candidates"
    assert len(second.pictures) == 3
    strain, qscan, scores = first.pictures
    assert strain.alt.startswith("Whitened strain around GPS 1126259462.43; largest values")
    assert "H1" in strain.alt
    assert qscan.alt.startswith("Q-scan around GPS 1126259462.43; brightest: H1 ")
    assert "the event was ranked by 11.80" in scores.alt


def test_missing_files_leave_a_sentence(evidence):
    """No zero lag, no background, no strain of the candidates."""
    assert "no zero lag in this run" in section(evidence(zero_lag=None)).paragraphs[0]
    assert "no zero lag in this run" in section(evidence(background=None)).paragraphs[0]
    kept = section(evidence(candidates=None))
    assert kept.paragraphs[-1] == "Their strain and scores were not kept in this run."
    assert kept.tables
    assert not kept.folds


def test_a_search_without_events_says_so(evidence, tmp_path):
    """An empty file of events."""
    path = tmp_path / "0lag.hdf5"
    Events(np.empty(0), np.empty(0), np.empty((0, 2)), 22.0).write(path)

    assert section(evidence(zero_lag=path)).paragraphs == ["The search found no event at zero lag."]


def test_how_well_events_are_timed_is_said(evidence, tmp_path):
    """With what it was measured; nothing where no record of the search says it."""
    assert "64 loud injections scatter by 0.028 s" in section(evidence()).paragraphs[1]
    path = tmp_path / "0lag.hdf5"
    path.write_bytes(evidence().inputs.zero_lag.read_bytes())
    alone = section(evidence(zero_lag=path))
    assert not any("scatter" in each for each in alone.paragraphs)
    assert alone.tables[0].rows[0][2] == "1126259462.43"
