"""What ran, in the report."""

from dataclasses import replace

from aframe.artifacts.record import read_record
from aframe_sv.sections.steps import flat, folds, seconds, section


def test_steps_come_in_the_order_in_which_they_began(evidence):
    """Each with folder, time, host, commit and digest."""
    got = section(evidence())
    (table,) = got.tables

    began = [row[2] for row in table.rows]
    assert began == sorted(began)
    assert {row[0] for row in table.rows} == {
        "aframe-data fetch",
        "aframe-train fit",
        "aframe-infer infer",
    }
    assert {row[3] for row in table.rows} == {"42.0 seconds"}
    assert ("Time in all steps", "3.5 minutes") in got.facts
    assert ("Code", "0123456789ab+changes") in got.facts
    assert len(got.folds) == len(table.rows) == 5


def test_every_setting_note_and_version_is_there(evidence):
    """Folded away, and complete."""
    infer = [step for step in evidence().records if step[1].command == "aframe-infer infer"]

    (fold,) = folds(infer)

    settings, notes, versions = (dict(each.rows) for each in fold.tables)
    assert settings["psd_length"] == "8.0"
    assert settings["ifos"] == '["H1", "L1"]'
    assert notes["count"] == "7"
    assert notes["calibration.injections"] == "64"
    assert versions["python"] == "3.11.2"


def test_no_records_leave_a_sentence(evidence):
    """They are no inputs, and may be missing."""
    assert section(evidence(records=())).paragraphs == [
        "No records of the steps were given to this report."
    ]


def test_a_record_without_times_takes_none(records):
    """Older records may lack them."""
    record = read_record(records[0])

    assert seconds(record) == 42.0
    assert seconds(replace(record, finished="")) == 0.0


def test_code_outside_a_checkout_is_said(evidence, records):
    """An installed package has no commit."""
    record = replace(read_record(records[0]), git="", versions={})

    got = section(evidence(records=[(records[0], record)]))

    assert ("Code", "not from a checkout") in got.facts
    assert got.tables[0].rows[0][5:7] == ("-", "-")


def test_long_values_are_cut():
    """A list of a thousand numbers does not fill the page."""
    ((name, text),) = flat({"many": list(range(1000))})

    assert name == "many"
    assert len(text) < 410
    assert text.endswith(" …")


def test_empty_groups_stay_visible():
    """An empty mapping is a value too."""
    assert flat({"source": {}}) == [("source", "{}")]
