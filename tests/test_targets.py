"""Outputs: there when they are whole and made as asked, and otherwise the status says why not."""

import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from aframe.artifacts.record import (
    Record,
    input_digest,
    one_look,
    output_digests,
    prior_input,
    read_record,
    write_record,
)
from aframe.artifacts.remote import copy_of, place
from aframe.errors import AframeError
from aframe.targets import RecordedTarget

SETTINGS = {"highpass": 32.0, "source": {"kind": "files", "paths": ["/data"]}}


@pytest.fixture
def strain(tmp_path):
    """An input."""
    path = tmp_path / "strain.hdf5"
    path.write_text("strain")
    return path


@pytest.fixture
def made(tmp_path, strain):
    """A folder with an output and its record."""
    folder = tmp_path / "output"
    folder.mkdir()
    (folder / "model.pt").write_text("weights")
    digests, sizes = output_digests(folder)
    inputs = {"background": input_digest(strain)}
    places = {"background": str(strain), "output": str(folder)}
    settings = {**SETTINGS, "of_the_stage": 1}
    record = Record("aframe-train fit", settings, inputs, digests, sizes, places=places)
    write_record(folder / "fit.record.json", record)
    return folder


@pytest.fixture
def target(made, strain):
    """Makes the target with settings and inputs; by default those of the record."""

    def make(settings=SETTINGS, inputs=None, name="model.pt"):
        asked = (settings, {"background": strain} if inputs is None else inputs)
        return RecordedTarget(made / name, record=made / "fit.record.json", asked=lambda: asked)

    return make


def _plain(text):
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_made_as_asked(target):
    """The settings of the record and its inputs' content: the output is there."""
    assert target().exists()
    assert target().stale() == []
    assert target().status_text() == "existent"


def test_the_stage_may_record_more_than_the_task_asks(target):
    """What a task leaves to its stage is no change."""
    assert target({"highpass": 32}).exists()


def test_another_setting(target):
    """The output is not there for who asks for another, and the status says what differs."""
    other = target({**SETTINGS, "highpass": 20.0})

    assert not other.exists()
    assert other.stale() == ["highpass: 32.0 -> 20.0"]
    assert other.status_text() == "made with other settings: highpass: 32.0 -> 20.0"


def test_another_source(target):
    """A difference inside a source is named by its key."""
    other = target({**SETTINGS, "source": {"kind": "files", "paths": ["/more"]}})

    assert other.stale() == ['source.paths: ["/data"] -> ["/more"]']


def test_a_key_taken_out_of_a_source(tmp_path):
    """What stood in the source and stands there no more is a change; its defaults are none."""
    data = {"kind": "gwosc", "flags": ["CBC_CAT2"], "sample_rate": 16384, "dataset": None}
    (tmp_path / "segments.txt").write_text("")
    digests, sizes = output_digests(tmp_path)
    record = Record("aframe-data query", {"source": data}, {}, digests, sizes)
    write_record(tmp_path / "query.record.json", record)

    def stale(**source):
        asked = ({"source": {"kind": "gwosc", **source}}, {})
        path, made = tmp_path / "segments.txt", tmp_path / "query.record.json"
        return RecordedTarget(path, record=made, asked=lambda: asked).stale()

    assert stale(flags=["CBC_CAT2"], sample_rate=16384) == []
    assert stale(sample_rate=16384) == ['source.flags: ["CBC_CAT2"] -> null']
    assert stale(flags=["CBC_CAT2"]) == ["source.sample_rate: 16384 -> null"]


def test_another_population_under_the_same_name(tmp_path, made, target, monkeypatch):
    """A module of the user's own counts by its content, and as it was where it is not found."""
    monkeypatch.syspath_prepend(tmp_path)
    path, asked = tmp_path / "own_population.py", {**SETTINGS, "prior": "own_population.mine"}
    path.write_text("near")
    importlib.invalidate_caches()
    record = read_record(made / "fit.record.json")
    digests = {**record.inputs, **prior_input("own_population.mine")}
    write_record(made / "fit.record.json", replace(record, settings=asked, inputs=digests))
    assert target(asked).exists()

    path.write_text("farther")
    (changed,) = target(asked).stale()
    assert changed.startswith("input prior: its content changed")

    path.unlink()
    importlib.invalidate_caches()
    assert target(asked).exists()


def test_another_content_of_an_input(target, strain):
    """Inputs count by their content, wherever they lie."""
    moved = strain.with_name("moved.hdf5")
    moved.write_text("strain")
    assert target(inputs={"background": moved}).exists()

    moved.write_text("other strain")
    assert not target(inputs={"background": moved}).exists()
    assert re.fullmatch(
        r"input background: its content changed \(\w{8} -> \w{8}\)",
        target(inputs={"background": moved}).stale()[0],
    )


def test_another_input(target, strain):
    """One more input is a change, one that is none is not."""
    assert not target(inputs={"background": strain, "injections": strain}).exists()
    assert target(inputs={"background": strain, "zero_lag": None}).exists()


def test_an_input_that_is_gone(target, strain):
    """A deleted input, as of strain no longer needed, leaves the output as it is."""
    strain.unlink()

    assert target().exists()


def test_an_input_that_was_moved_with_its_output_and_is_gone(made, strain, tmp_path):
    """A run directory that has another name now is still the same."""
    strain.unlink()
    made.rename(tmp_path.parent / f"{tmp_path.name} moved")
    home = tmp_path.parent / f"{tmp_path.name} moved"

    def stale(strain):
        asked = (SETTINGS, {"background": strain})
        path, record = home / "model.pt", home / "fit.record.json"
        return RecordedTarget(path, record=record, asked=lambda: asked).stale()

    assert stale(home.parent / "strain.hdf5") == []
    assert stale(home / "strain.hdf5") != []


@pytest.mark.parametrize("where", ["no/such/strain.hdf5", "s3://mine/strain.hdf5"])
def test_an_input_elsewhere_that_is_not_at_hand(target, strain, tmp_path, monkeypatch, where):
    """Whatever it holds, nobody can say that the output was made with it."""
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "cache"))
    other = target(inputs={"background": Path(where)})

    assert not other.exists()
    (line,) = other.stale()
    assert line == f"input background: {strain} -> {place(where)}, not known to be the same"


def test_an_input_on_s3(target, made, monkeypatch, tmp_path):
    """Its name tells it; by another name what was fetched does. No store is asked."""
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "cache"))
    record = read_record(made / "fit.record.json")
    read = {**record.places, "background": "s3://mine/strain.hdf5"}
    write_record(made / "fit.record.json", replace(record, places=read))
    assert target(inputs={"background": Path("s3://mine/strain.hdf5")}).exists()

    moved = target(inputs={"background": Path("s3://mine/moved.hdf5")})
    copy = copy_of("s3://mine/moved.hdf5")
    copy.parent.mkdir(parents=True)
    copy.write_text("strain")
    assert moved.exists()
    copy.write_text("other strain")
    assert moved.stale()[0].startswith("input background: its content changed")


def test_one_more_input_that_is_not_at_hand(target, strain, tmp_path):
    """It is a change too."""
    (line,) = target(inputs={"background": strain, "injections": tmp_path / "none"}).stale()

    assert line == f"input injections: null -> {tmp_path}/none, not known to be the same"


def test_a_record_of_before_inputs_had_places(target, made, strain):
    """What it does not tell is believed."""
    record = read_record(made / "fit.record.json")
    write_record(made / "fit.record.json", replace(record, places={}))
    strain.unlink()

    assert target().exists()


def test_a_file_that_was_cut_short(target, made):
    """A file of another size is not whole; nor is one beside it that the record lists."""
    (made / "model.pt").write_text("half")

    assert not target().exists()
    assert target().status_text() == "absent (cut short)"


def test_a_deleted_file_is_absent(target, made):
    """Nothing of it was cut."""
    (made / "model.pt").unlink()

    assert target().status_text() == "absent"


def test_nothing_there(target, made):
    """Without record and file the output is absent."""
    (made / "model.pt").unlink()
    (made / "fit.record.json").unlink()

    assert not target().exists()
    assert target().stale() == []
    assert target().status_text() == "absent"


def test_a_file_without_a_record(target, made):
    """Somebody's own file is no output, and the status says so."""
    (made / "fit.record.json").unlink()

    assert not target().exists()
    assert target().status_text() == "absent (a file without a record is in the way)"


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"schema_version": 1, "settings": []}'])
def test_a_file_that_is_no_record(target, made, content):
    """It is told as that, not by whatever stumbles over it."""
    (made / "fit.record.json").write_text(content)

    assert target().status_text() == "not known: a record cannot be read"
    with pytest.raises(AframeError, match="a record cannot be read"):
        target().exists()


def test_a_source_that_was_recorded_as_text(target, made):
    """It is another source."""
    record = read_record(made / "fit.record.json")
    changed = replace(record, settings={**record.settings, "source": "/data"})
    write_record(made / "fit.record.json", changed)

    (line,) = target().stale()

    assert line.startswith('source: "/data" -> {')


def test_what_was_removed_is_seen(target, made):
    """Also in one look of those that plan."""
    (made / "parts").mkdir()
    (made / "parts" / "0.hdf5").write_text("part")
    record = read_record(made / "fit.record.json")
    (made / "fit.record.json").unlink()
    digests, sizes = output_digests(made)
    write_record(made / "fit.record.json", replace(record, outputs=digests, sizes=sizes))
    parts = target(name="parts")
    with one_look():
        assert parts.exists()
        parts.remove()
        assert not parts.exists()


def test_colors(target, monkeypatch):
    """On a terminal the status has colors, and the same words."""
    monkeypatch.setattr("os.isatty", lambda _: True)
    changed = target({"highpass": 20.0})
    text = changed.status_text(color=True)

    assert text != changed.status_text()
    assert _plain(text) == changed.status_text()
    assert _plain(target().status_text(color=True)) == "existent"
