"""What the report says first."""

import numpy as np
import pytest
from scipy.stats import chi2

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.artifacts.record import Record, write_record
from aframe_sv.clock import Clock
from aframe_sv.evidence import Evidence, Inputs
from aframe_sv.far import rate_in_words
from aframe_sv.sections.headline import Ranked, section
from aframe_sv.sections.sensitivity import rough

HOUR = 3600.0


def events(statistic, Tb):  # noqa: N803
    """Events of these loudnesses, a second apart."""
    statistic = np.array(statistic, float)
    times = 1126259462.4 + np.arange(len(statistic))
    return Events(statistic, times, np.zeros((len(statistic), 2)), Tb)


@pytest.fixture
def searched(tmp_path):
    """Evidence of a search with these events."""

    def gather(zero_lag, origins=("simulated", "files")):
        events([0.0, 1.0, 2.0, 3.0], 6 * HOUR).write(tmp_path / "background.hdf5")
        zero_lag.write(tmp_path / "0lag.hdf5")
        paths = {}
        for name, kind in zip(("test", "zero"), origins, strict=True):
            (tmp_path / name).mkdir(exist_ok=True)
            paths[name] = tmp_path / name / "background"
            if kind:
                record = Record("aframe-data fetch", {"source": {"kind": kind}}, {}, {}, {})
                write_record(tmp_path / name / "fetch.record.json", record)
        return Evidence(
            Inputs(
                background=tmp_path / "background.hdf5",
                zero_lag=tmp_path / "0lag.hdf5",
                test_background=paths["test"],
                zero_lag_background=paths["zero"],
            )
        )

    return gather


def test_an_event_above_all_background_is_bounded_and_no_more(searched):
    """Louder than all N hours; its rate is a bound of one count; what made it is not said."""
    got = section(searched(events([1.5, 9.0], 22.0)))

    assert got.paragraphs[0] == "One event is louder than all 6.0 hours of simulated background."
    text = got.paragraphs[1]
    assert "2015-09-14 09:50:46.40 UTC (GPS 1126259463.40)" in text
    assert "rate is not measured: it is below about 1 per 6.0 hours, one count" in text
    assert "In the 22.0 seconds searched" in text
    assert "below about 0.001 events as loud" in text
    assert ("False alarm rate", "≲ 1 per 6.0 hours") in got.facts
    everything = " ".join([*got.paragraphs, *got.notices]).lower()
    assert "gravitational" not in everything
    assert "detected" not in everything


def test_a_limit_has_its_confidence(searched):
    """No count in six hours excludes, at 90 %, a mean that gives none in one of ten cases."""
    text = section(searched(events([9.0], 22.0))).paragraphs[1]

    mean = chi2.isf(0.1, 2) / 2  # Garwood's upper limit for no count
    assert mean == pytest.approx(2.3026, abs=1e-4)
    assert (
        f"At 90 % confidence the limits are {rate_in_words(mean * JULIAN_YEAR / 6 / HOUR)}" in text
    )
    assert f"and {mean * 22 / (6 * HOUR):.2g} events" in text


def test_the_time_of_a_loud_event_has_its_error(evidence):
    """The scatter of loud injections is that of a loud event, and of no other."""
    got = section(evidence())

    assert "(GPS 1126259462.43 ± 0.03)" in got.paragraphs[1]
    assert ("GPS time", "1126259462.43 ± 0.03 s") in got.facts
    quiet = Ranked(statistic=1.0, time=5.0, louder=3, Tb=1.0, searched=1.0)
    assert quiet.gps(Clock(64, scatter=0.0275, stride=0.25)) == "5.00"
    loud = Ranked(statistic=1.0, time=5.0, louder=0, Tb=1.0, searched=1.0)
    assert loud.gps(None) == "5.00"


def test_several_events_above_all_background_are_counted(searched):
    """Their number is the headline, the loudest the detail."""
    got = section(searched(events([9.0, 5.0, 1.0], 22.0)))

    assert got.paragraphs[0] == "2 events are louder than all 6.0 hours of simulated background."
    assert "GPS 1126259462.40" in got.paragraphs[1]


def test_an_event_within_the_background_has_a_measured_rate(searched):
    """Two of four background events in six hours are as loud: one per three hours."""
    got = section(searched(events([2.0], HOUR)))

    first, second = got.paragraphs
    assert first == (
        "The loudest event has a false alarm rate of 1 per 3.0 hours (1.3 to 8.5) in the simulated "
        "background."
    )
    assert "2 of the background events in 6.0 hours are at least as loud" in second
    assert "on average 0.33 events as loud (0.12 to 0.77: one standard" in second
    assert ("False alarm rate", "1 per 3.0 hours (1.3 to 8.5)") in got.facts


@pytest.mark.parametrize(
    ("origins", "words"),
    [
        (("simulated", "files"), "the zero lag is strain that was read from files"),
        (("simulated", "simulated"), "the zero lag is simulated too"),
        (("simulated", None), "no record says what the zero lag is"),
        (("files", "simulated"), "noise of another kind"),
        (("files", None), "hold only if both are of one kind"),
        ((None, "files"), "hold only if both are of one kind"),
        ((None, None), "hold only if both are of one kind"),
    ],
)
def test_what_the_background_is_made_of_is_said(searched, origins, words):
    """Simulated background and real zero lag above all: this is no astrophysical rate."""
    (notice,) = section(searched(events([9.0], 22.0), origins)).notices

    assert words in notice
    if origins[0] == "simulated":
        assert "6.0 hours of time slides of simulated, stationary Gaussian noise" in notice
        assert "astrophysical false alarm rate" in notice


def test_strain_from_files_on_both_sides_needs_no_notice(searched):
    """Then the background is of the same kind as what was searched."""
    got = section(searched(events([9.0], 22.0), ("files", "files")))

    assert got.notices == []
    assert got.paragraphs[0] == "One event is louder than all 6.0 hours of background."


def test_no_event_at_zero_lag_is_said(searched):
    """An empty search is a result too."""
    got = section(searched(events([], 22.0)))

    assert got.paragraphs == [
        "The search found no event at all in the 22.0 seconds that it searched at zero lag."
    ]


def test_a_run_without_zero_lag_is_said(inputs):
    """It still measures the search."""
    got = section(Evidence(Inputs(background=inputs.background)))
    assert "searched no zero lag" in got.paragraphs[0]
    assert got.notices == []

    alone = section(Evidence(Inputs(zero_lag=inputs.zero_lag)))
    assert "no background to rank its events against" in alone.paragraphs[0]


def test_a_whole_run_has_its_numbers_at_a_glance(evidence):
    """Background, zero lag, injections and distances."""
    facts = dict(section(evidence()).facts)

    assert facts["Background (3,000 events)"] == "6.0 hours"
    assert facts["Searched at zero lag"] == "22.0 seconds"
    for name, words in (("35-35", "35 + 35 M☉"), ("20-20", "20 + 20 M☉")):
        curve = evidence().volumes.curves[name]
        mark = " (rough)" if rough(curve)[0] else ""
        distance = facts[f"Sensitive distance, {words}, at 1 per 6.0 hours{mark}"]
        assert distance.startswith("≈ " if mark else f"{curve['distance'][0]:.0f} ± ")


def test_rate_and_chance_follow_from_the_counts():
    """One count at least, in the year that all of aframe counts in."""
    ranked = Ranked(statistic=1.0, time=0.0, louder=0, Tb=JULIAN_YEAR, searched=JULIAN_YEAR / 4)

    assert ranked.far == 1.0
    assert ranked.expected == 0.25
    assert ranked.rate == "≲ 1 per 1.0 year"
