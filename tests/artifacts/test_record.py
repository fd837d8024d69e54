"""Records: what made an output, and whether it is still that."""

import dataclasses
import hashlib
import importlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.artifacts import record as record_module
from aframe.artifacts.record import (
    Record,
    canonical,
    differences,
    file_digest,
    input_digest,
    is_whole,
    look_again,
    named_inputs,
    one_look,
    output_digests,
    prior_input,
    read_record,
    record_path,
    record_text,
    settings_digest,
    source_input,
    strain_files,
    write_record,
    write_text,
)
from aframe.errors import AframeError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
SETTINGS = st.dictionaries(st.text(), JSON, max_size=4)
RECORD = Record(
    command="aframe-data fetch",
    settings={"seed": 7, "highpass": 32.0, "source": {"kind": "files", "paths": ["a", "b"]}},
    inputs={"segments": "0" * 64},
    outputs={"background/x.hdf5": "1" * 64},
    sizes={"background/x.hdf5": 3},
    notes={"livetime": 12.5},
)


@pytest.fixture
def published(tmp_path):
    """Make an output directory with a file, a folder and their record."""
    (tmp_path / "background").mkdir()
    (tmp_path / "background" / "x.hdf5").write_text("abc")
    (tmp_path / "background" / "y.hdf5").write_text("defg")
    (tmp_path / "segments.txt").write_text("0 1 2 1")
    digests, sizes = output_digests(tmp_path)
    write_record(record_path(tmp_path, "fetch"), Record("c", {}, {}, digests, sizes))
    return tmp_path


def _sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_reading_gives_what_was_written(tmp_path):
    """All of it, and the digest for the eyes of people."""
    write_record(tmp_path / "x.record.json", RECORD)

    assert read_record(tmp_path / "x.record.json") == RECORD
    assert json.loads((tmp_path / "x.record.json").read_text())["digest"] == RECORD.digest
    assert RECORD.seed == 7
    assert [path.name for path in tmp_path.iterdir()] == ["x.record.json"]


def test_no_record_is_none(tmp_path):
    """An output that is not there is no error."""
    assert read_record(tmp_path / "x.record.json") is None
    assert Record("c", {}, {}, {}, {}).seed is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ("[1]", "it is a list, not an object with the fields of a record"),
        ("null", "it is null, not an object"),
        ("3.5", "it is a number, not an object"),
        ("{}", "`schema_version` is missing"),
        ('{"schema_version": 2, "digest": ""}', "schema version 2"),
        ('{"schema_version": "1"}', 'schema version "1"'),
        ('{"schema_version": 1, "digest": ""}', "`command` is missing"),
    ],
)
def test_refuses_what_is_no_record(tmp_path, text, message):
    """The file is named, with what is wrong in it."""
    (tmp_path / "x.record.json").write_text(text)

    with pytest.raises(AframeError, match="a record cannot be read") as caught:
        read_record(tmp_path / "x.record.json")

    assert "x.record.json" in caught.value.found
    assert message in caught.value.found


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("settings", None, "`settings` is null, not an object"),
        ("settings", [], "`settings` is a list, not an object"),
        ("inputs", "segments", "`inputs` is text, not an object"),
        ("inputs", {"segments": None}, "`inputs.segments` is null, not text"),
        ("outputs", ["background/x.hdf5"], "`outputs` is a list, not an object"),
        ("outputs", {"background/x.hdf5": 1}, "`outputs.background/x.hdf5` is a whole number"),
        ("sizes", 3, "`sizes` is a whole number, not an object"),
        ("sizes", {"background/x.hdf5": "3"}, "`sizes.background/x.hdf5` is text, not a whole"),
        ("sizes", {"background/x.hdf5": True}, "`sizes.background/x.hdf5` is true, not a whole"),
        ("sizes", {}, "`sizes` lacks background/x.hdf5, which `outputs` lists"),
        ("places", {"segments": {}}, "`places.segments` is an object, not text"),
        ("versions", [], "`versions` is a list, not an object"),
        ("versions", {"numpy": 2.1}, "`versions.numpy` is a number, not text"),
        ("notes", "many", "`notes` is text, not an object"),
        ("notes", {"accepted": {}}, "`notes.accepted` is an object, not a list"),
        ("notes", {"accepted": [{"who": "me"}]}, "`notes.accepted` holds what has no `when`"),
        ("usage", {"wall": "1"}, "`usage.wall` is text, not a number"),
        ("host", None, "`host` is null, not text"),
        ("finished", "yesterday", '`finished` is "yesterday", not a time'),
        ("color", 1, "`color` is no field of a record"),
    ],
)
def test_refuses_a_field_of_another_kind(tmp_path, name, value, message):
    """Before anything goes on with it; the field is named, what it is, and what to do."""
    content = {**json.loads(record_text(RECORD)), name: value}
    (tmp_path / "x.record.json").write_text(json.dumps(content))

    with pytest.raises(AframeError, match="a record cannot be read") as caught:
        read_record(tmp_path / "x.record.json")

    assert f"x.record.json: {message}" in caught.value.found
    assert "run its step again" in caught.value.fix


def test_a_record_that_cannot_be_opened_is_refused(tmp_path):
    """Such as a folder in its place."""
    (tmp_path / "x.record.json").mkdir()

    with pytest.raises(AframeError, match=r"x\.record\.json: Is a directory"):
        read_record(tmp_path / "x.record.json")


class TestOnceParsed:
    """A record is parsed once as long as its file stays as it is."""

    @pytest.fixture
    def parsed(self, monkeypatch):
        """Paths of the records that were parsed, in order."""
        paths = []
        whole = record_module.parse_record

        def parse(text, path):
            paths.append(str(path))
            return whole(text, path)

        monkeypatch.setattr(record_module, "parse_record", parse)
        return paths

    @pytest.fixture
    def settled(self, monkeypatch):
        """Let files count as long unchanged."""
        monkeypatch.setattr(record_module, "_SETTLED", -1.0)

    @pytest.mark.usefixtures("settled")
    def test_it_is_not_parsed_again(self, published, parsed):
        """Nor where it is read for the digest of an input."""
        path = record_path(published, "fetch")

        assert read_record(path) == read_record(path)
        input_digest(published / "background")
        input_digest(published / "segments.txt")

        assert parsed == [str(path)]

    @pytest.mark.usefixtures("settled")
    @pytest.mark.parametrize("write", [write_text, Path.write_text])
    def test_another_one_is_seen(self, tmp_path, write):
        """Put in its place by a rename or written over it, though of the same size and age."""
        path = tmp_path / "x.record.json"
        write_record(path, RECORD)
        assert read_record(path) == RECORD
        before = path.stat()
        other = dataclasses.replace(RECORD, command="aframe-data FETCH")
        time.sleep(0.05)
        write(path, record_text(other).replace(other.digest, RECORD.digest))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert path.stat().st_size == before.st_size
        assert read_record(path) == other
        path.unlink()
        assert read_record(path) is None

    def test_one_that_changed_just_now_is_parsed_again(self, tmp_path, parsed):
        """The clock of a disk may not have moved on between two writes."""
        write_record(tmp_path / "x.record.json", RECORD)

        assert read_record(tmp_path / "x.record.json") == read_record(tmp_path / "x.record.json")
        assert len(parsed) == 2


class TestOneLook:
    """While one look lasts, a folder of many files is counted once."""

    @pytest.fixture
    def counted(self, monkeypatch):
        """Folders that were looked through, in order."""
        paths = []
        count = record_module._count_sizes
        monkeypatch.setattr(
            record_module, "_count_sizes", lambda path: paths.append(path.name) or count(path)
        )
        return paths

    def test_a_folder_is_counted_once(self, published, counted, monkeypatch):
        """For all who read it, by whatever path, and for who asks whether it is whole."""
        record = read_record(record_path(published, "fetch"))
        monkeypatch.chdir(published)

        with one_look():
            digest = input_digest(published / "background")
            with one_look():
                assert is_whole(record, published)
            assert input_digest(Path("background")) == digest

        assert counted == ["background"]

    def test_what_changes_is_seen_by_the_next(self, published):
        """Also a file that is rewritten in place, which leaves the time of its folder."""
        record = read_record(record_path(published, "fetch"))
        with one_look():
            before = input_digest(published / "background")
            assert is_whole(record, published)
        (published / "background" / "x.hdf5").write_text("abcd")

        with one_look():
            assert input_digest(published / "background") != before
            assert not is_whole(record, published)
        assert input_digest(published / "background") != before
        assert not is_whole(record, published)

    def test_one_may_look_again(self, published):
        """Where something was made or removed meanwhile; outside of a look it changes nothing."""
        with one_look():
            before = input_digest(published / "background")
            (published / "background" / "z.hdf5").touch()
            assert input_digest(published / "background") == before
            look_again()
            assert input_digest(published / "background") != before
        look_again()

    def test_an_input_that_is_missing_is_looked_for_again(self, tmp_path):
        """An error is not what was seen."""
        with one_look():
            with pytest.raises(AframeError, match="an input is missing"):
                input_digest(tmp_path / "x")
            (tmp_path / "x").write_text("abc")
            assert input_digest(tmp_path / "x") == _sha256("abc")

    def test_another_thread_looks_for_itself(self, published):
        """What it makes is not hidden by what was seen here."""
        with one_look(), ThreadPoolExecutor(1) as pool:
            before = input_digest(published / "segments.txt")
            (published / "segments.txt").write_text("other")
            assert pool.submit(input_digest, published / "segments.txt").result() != before


@given(SETTINGS, SETTINGS)
def test_a_difference_is_told_if_and_only_if_the_digests_differ(old, new):
    """What refuses an output and what finds a draft again are of one mind."""
    record = Record("c", canonical(old), {"a": "1"}, {}, {})

    same = settings_digest(old, {"a": "1"}) == settings_digest(new, {"a": "1"})

    assert (differences(record, new, {"a": "1"}) == []) == same


@given(SETTINGS)
def test_order_and_form_of_numbers_do_not_matter(settings):
    """2 and 2.0 mean the same in a settings file, tuples are lists, paths are text."""
    one = {**settings, "x": 2, "y": (1, 2)}
    other = dict(reversed({**settings, "x": 2.0, "y": [1.0, 2.0]}.items()))

    assert settings_digest(one, {}) == settings_digest(other, {})
    assert canonical({"path": Path("/a"), "pair": (1, 2.0)}) == {"path": "/a", "pair": [1, 2.0]}


def test_a_setting_that_is_new_and_none_changes_nothing():
    """An output made before the setting was there stays current."""
    assert differences(RECORD, {**RECORD.settings, "new": None}, RECORD.inputs) == []
    assert settings_digest({"a": None}, {}) == settings_digest({}, {})


def test_differences_are_named_one_by_one():
    """Nested settings by their path; settings that came or went; inputs by their digest."""
    settings = {"highpass": 20, "source": {"kind": "files", "paths": ["a"]}, "new": None, "seed": 7}

    assert differences(
        RECORD, {**settings, "new": 1}, {"segments": "2" * 64, "extra": "3" * 64}
    ) == [
        "highpass: 32.0 -> 20",
        "new: null -> 1",
        'source.paths: ["a", "b"] -> ["a"]',
        "input extra: its content changed (None -> 33333333)",
        "input segments: its content changed (00000000 -> 22222222)",
    ]


def test_whole_means_every_file_with_its_size(published):
    """A file that is missing, or shorter, is seen without reading any."""
    record = read_record(record_path(published, "fetch"))
    assert is_whole(record, published)

    (published / "background" / "x.hdf5").write_text("ab")
    assert not is_whole(record, published)

    (published / "background" / "x.hdf5").unlink()
    assert not is_whole(record, published)


def test_whole_may_lie_elsewhere_or_be_hidden(published, tmp_path_factory):
    """A folder may be moved to another disk and linked; names of scratch may be outputs."""
    elsewhere = tmp_path_factory.mktemp("disk") / "background"
    shutil.move(published / "background", elsewhere)
    (published / "background").symlink_to(elsewhere)
    (published / "pictures").mkdir()
    (published / "pictures" / ".index").write_text("12")
    (elsewhere / "more").touch()
    record = read_record(record_path(published, "fetch"))
    sizes = {**record.sizes, "pictures/.index": 2}

    assert is_whole(dataclasses.replace(record, sizes=sizes), published)
    assert not is_whole(dataclasses.replace(record, sizes=sizes | {"none/x": 1}), published)


def test_digests_are_sha256(published):
    """As `sha256sum` gives them, by the path below the output directory; scratch left out."""
    (published / ".draft-x").mkdir()
    (published / ".draft-x" / "half").write_text("no")
    (published / "background" / ".half").write_text("no")
    for folder in (published, published / "background"):
        (folder / "gone").symlink_to("nowhere")

    digests, sizes = output_digests(published)

    texts = {"background/x.hdf5": "abc", "background/y.hdf5": "defg", "segments.txt": "0 1 2 1"}
    assert {name: digests[name] for name in texts} == {n: _sha256(t) for n, t in texts.items()}
    assert {name: sizes[name] for name in texts} == {n: len(t) for n, t in texts.items()}
    assert set(digests) - set(texts) <= {"fetch.record.json"}


def test_a_changed_file_has_a_new_digest(tmp_path):
    """A digest is remembered for a file as it is, not for its name."""
    path = tmp_path / "x"
    path.write_text("one")
    before = file_digest(path)
    path.write_text("three")

    assert before == _sha256("one")
    assert file_digest(path) == _sha256("three")


class TestInputs:
    """Digests of what a verb reads."""

    def test_a_recorded_input_is_not_read(self, published, monkeypatch):
        """Thirty gigabytes of waveforms are hashed once, by the step that made them."""
        monkeypatch.setattr(record_module, "file_digest", None)

        assert input_digest(published / "segments.txt") == _sha256("0 1 2 1")
        assert input_digest(published / "background" / "x.hdf5") == _sha256("abc")
        assert len(input_digest(published / "background")) == 64

    @pytest.mark.parametrize("name", ["segments.txt", "background", "background/x.hdf5"])
    def test_a_record_gives_the_digest_that_reading_gives(self, published, tmp_path_factory, name):
        """A copy without its record is the same input."""
        elsewhere = tmp_path_factory.mktemp("copy") / "copy"
        shutil.copytree(published, elsewhere, ignore=shutil.ignore_patterns("*.record.json"))

        assert input_digest(published / name) == input_digest(elsewhere / name)

    def test_a_file_that_differs_from_its_record_is_read(self, published):
        """One edited by hand is another input."""
        (published / "segments.txt").write_text("0 1 3 2 and more")

        assert input_digest(published / "segments.txt") == _sha256("0 1 3 2 and more")

    def test_a_file_more_in_a_folder_is_another_input(self, published):
        """What the record does not know counts too, scratch and records do not."""
        before = input_digest(published / "background")
        (published / "background" / ".half").touch()
        (published / "background" / ".draft-x").mkdir()
        (published / "background" / ".draft-x" / "half").touch()
        write_record(published / "background" / "other.record.json", RECORD)
        assert input_digest(published / "background") == before

        (published / "background" / "z.hdf5").touch()

        assert input_digest(published / "background") != before

    def test_names_matter_in_a_folder(self, tmp_path):
        """The same content under another name is another input."""
        for folder, name in (("a", "x"), ("b", "y")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / name).write_text("same")

        assert input_digest(tmp_path / "a") != input_digest(tmp_path / "b")

    def test_a_record_that_vanishes_is_no_error(self, published):
        """Another step may publish beside an input while it is looked up."""
        (published / "aaa.record.json").symlink_to(published / "nowhere")

        assert input_digest(published / "segments.txt") == _sha256("0 1 2 1")

    def test_a_recorded_folder_may_be_named_from_here(self, published, monkeypatch):
        """As by hand: a path relative to the working directory."""
        whole = input_digest(published / "background")
        monkeypatch.chdir(published)

        assert input_digest(Path("background")) == whole

    def test_a_missing_input_is_refused(self, tmp_path, published):
        """It is named, also where a record still lists it."""
        with pytest.raises(AframeError, match=r"an input is missing\n.*none.txt does not exist"):
            input_digest(tmp_path / "none.txt")
        (published / "segments.txt").unlink()
        with pytest.raises(
            AframeError, match=r"an input is missing\n.*segments.txt does not exist"
        ):
            input_digest(published / "segments.txt")
        shutil.rmtree(published / "background")
        with pytest.raises(AframeError, match=r"an input is missing\n.*background does not exist"):
            input_digest(published / "background")


def test_text_appears_whole(tmp_path, monkeypatch):
    """A write that fails leaves the old text."""
    path = tmp_path / "x.txt"
    path.write_text("old")
    monkeypatch.setattr(Path, "write_text", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        write_text(path, "new")

    assert path.read_text() == "old"


class TestSourceInput:
    """What a source of strain names counts as an input."""

    def test_a_rewritten_or_added_file_changes_it(self, tmp_path):
        """A file under the same name, or one more that the pattern matches, is another source."""
        (tmp_path / "a.gwf").write_text("quiet")
        source = {"kind": "files", "paths": [str(tmp_path / "*.gwf")]}
        found = [source_input(source)]
        (tmp_path / "a.gwf").write_text("loud!")
        found.append(source_input(source))
        (tmp_path / "b.gwf").write_text("more")
        found.append(source_input(source))

        assert len({each["source"] for each in found}) == 3

    def test_a_folder_stands_for_the_strain_below_it(self, tmp_path):
        """Frames and HDF5 at any depth, each once, not what else lies there or half arrived."""
        (tmp_path / "H1-12405").mkdir()
        names = ("b.hdf5", "a.gwf", "H1-12405/c.gwf", "notes.txt", ".d.gwf")
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.write_text("strain")

        assert strain_files(str(tmp_path)) == sorted(paths[:3])
        assert strain_files(f"{tmp_path}/**") == sorted(paths[:4])
        assert strain_files(str(paths[3])) == [paths[3]]
        before = source_input({"paths": [str(tmp_path)]})
        paths[2].write_text("other")
        assert source_input({"paths": [str(tmp_path)]}) != before

    def test_a_rewritten_noise_curve_changes_it(self, tmp_path):
        """A curve that is a file counts by its content, one by name does not count."""
        curve = tmp_path / "asd.txt"
        curve.write_text("10 1e-23")
        source = {"kind": "simulated", "psds": {"H1": str(curve), "L1": "aLIGOO3LowT1800545"}}
        before = source_input(source)
        curve.write_text("10 2e-23")

        assert source_input(source) != before

    @pytest.mark.parametrize(
        "source", [None, {}, {"kind": "simulated", "psds": {"H1": "aLIGOO3LowT1800545"}}]
    )
    def test_a_source_without_files_is_no_input(self, source):
        """Nothing is added to the record."""
        assert source_input(source) == {}

    def test_a_large_file_counts_by_size_and_time(self, tmp_path, monkeypatch):
        """An archive is not read to plan a run."""
        monkeypatch.setattr("aframe.artifacts.record._LARGE", 4)
        path = tmp_path / "a.gwf"
        path.write_text("large")
        os.utime(path, ns=(1, 1))
        before = source_input({"paths": [str(path)]})
        os.utime(path, ns=(2, 2))

        assert source_input({"paths": [str(path)]}) != before


class TestPriorInput:
    """A population of the user's own, which settings name and no path of an input is."""

    def test_a_rewritten_module_changes_it(self, tmp_path, monkeypatch):
        """In a package or not, under either of the settings' names."""
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "own_package").mkdir()
        (tmp_path / "own_package" / "__init__.py").write_text("")
        path = tmp_path / "own_package" / "sources.py"
        path.write_text("near")
        importlib.invalidate_caches()
        before = named_inputs({"prior": "own_package.sources.mine", "source": None})
        path.write_text("farther")
        after = named_inputs({"source_prior": "own_package.sources.mine"})

        assert set(before) == set(after) == {"prior"}
        assert before != after

    @pytest.mark.parametrize(
        "name",
        [None, "", "log_uniform_bbh", "aframe.priors.log_uniform_bbh", ".mine",
         "priors.priors.end_o3_ratesandpops", "no_such.module.mine", "sys.path", "..mine"],
    )  # fmt: skip
    def test_others_are_no_input(self, name):
        """Those of aframe, and what is in no file."""
        assert prior_input(name) == {}
