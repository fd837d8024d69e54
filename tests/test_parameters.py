"""Parameters: what each takes, what it refuses, and that writing and reading agree."""

import json
import math
from pathlib import Path

import luigi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aframe.errors import AframeError
from aframe.parameters import (
    BASE_SECTION,
    Choice,
    Count,
    Detectors,
    Flag,
    Gpus,
    Integer,
    Natural,
    Number,
    Numbers,
    OptionalNumber,
    OptionalPositive,
    OptionalSource,
    Pairs,
    PathParameter,
    Positive,
    Rates,
    Seed,
    Size,
    Source,
    Text,
    Words,
)

FILES = '{"kind": "files", "paths": ["/data/*.hdf5"]}'
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (Text(), "end_o3_ratesandpops", "end_o3_ratesandpops"),
        (Integer(), "-1", -1),
        (Count(), "1", 1),
        (Natural(), "0", 0),
        (Seed(), "0", 0),
        (Gpus(), "0, 1", "0,1"),
        (Gpus(), "GPU-5a1e,MIG-GPU-5a1e/1/0", "GPU-5a1e,MIG-GPU-5a1e/1/0"),
        (Gpus(), " ", ""),
        (Number(), "-1.5", -1.5),
        (Number(), "1e3", 1000.0),
        (OptionalNumber(), "", None),
        (OptionalNumber(), "null", None),
        (OptionalNumber(), "0", 0.0),
        (Positive(), "inf", math.inf),
        (OptionalPositive(), " None ", None),
        (OptionalPositive(), "2048", 2048.0),
        (Size(), "4GB", 4096),
        (Size(), "512", 512),
        (Size(), " 1.5 GiB", 1536),
        (Size(), "2048kb", 2),
        (Detectors(), "H1,L1", ("H1", "L1")),
        (Detectors(), " H1 , V1 ", ("H1", "V1")),
        (Numbers(), "0,1", (0.0, 1.0)),
        (Words(), "GW190521_030229, 1187008882.4", ("GW190521_030229", "1187008882.4")),
        (Words(), "", ()),
        (Flag(), "true", True),
        (Flag(), "False", False),
        (Choice(choices=("stop", "remake")), "remake", "remake"),
        (PathParameter(), "/data", Path("/data")),
        (PathParameter(), " ", None),
        (OptionalSource(), "", None),
    ],
    ids=lambda case: case.__class__.__name__ if hasattr(case, "takes") else repr(case),
)
def test_takes(parameter, text, value):
    """Text from a `.cfg` or the command line becomes the value that is meant."""
    assert parameter.parse(text) == value


@pytest.mark.parametrize(
    ("parameter", "text", "right"),
    [
        (Integer(), "1.5", "a whole number"),
        (Count(), "0", "a whole number above zero"),
        (Count(), "many", "a whole number above zero"),
        (Natural(), "-1", "a whole number, not negative"),
        (Seed(), "-1", "a whole number, not negative"),
        (Gpus(), "a", "numbers of GPUs such as 0,1, each once"),
        (Gpus(), "-1", "numbers of GPUs such as 0,1, each once"),
        (Gpus(), "0,", "numbers of GPUs such as 0,1, each once"),
        (Gpus(), "0,0", "numbers of GPUs such as 0,1, each once"),
        (Number(), "fast", "a number"),
        (Number(), "nan", "a number"),
        (OptionalNumber(), "late", "a number, or nothing"),
        (Positive(), "0", "a number above zero"),
        (Positive(), "-1", "a number above zero"),
        (Positive(), "", "a number above zero"),
        (OptionalPositive(), "0", "a number above zero, or nothing"),
        (Size(), "lots", "a number with its unit, such as 512MB or 4GB"),
        (Size(), "100kB", "a number with its unit, such as 512MB or 4GB"),
        (Detectors(), "H1,H1", "detectors such as H1,L1, each once"),
        (Detectors(), "H1,,L1", "detectors such as H1,L1, each once"),
        (Detectors(), "", "detectors such as H1,L1, each once"),
        (Detectors(), "h1,l1", "detectors such as H1,L1, each once"),
        (Numbers(), "0,one", "numbers such as 0,1"),
        (Words(), "a,,b", "words such as"),
        (Pairs(), "[[35]]", "pairs of numbers as JSON"),
        (Pairs(), "[35, 20]", "pairs of numbers as JSON"),
        (Pairs(), '[["a", "b"]]', "pairs of numbers as JSON"),
        (Pairs(), "[[35, 35]", "pairs of numbers as JSON"),
        (Pairs(), "35", "pairs of numbers as JSON"),
        (Pairs(), "[]", "pairs of numbers as JSON"),
        (Pairs(), "{}", "pairs of numbers as JSON"),
        (Rates(), "{}", "numbers above zero by name"),
        (Rates(), "[28]", "numbers above zero by name"),
        (Rates(), '{"BBH": 0}', "numbers above zero by name"),
        (Rates(), '{"BBH": "many"}', "numbers above zero by name"),
        (Flag(), "maybe", "True or False"),
        (Choice(choices=("stop", "remake")), "ask", "one of stop, remake"),
        (Source(), "{", "JSON with a kind, one of simulated, files"),
        (Source(), "[1]", "JSON with a kind, one of simulated, files"),
        (Source(), "{}", "JSON with a kind, one of simulated, files"),
        (Source(), '{"kind": "frames"}', "JSON with a kind, one of simulated, files"),
        (OptionalSource(), '{"kind": 3}', "JSON with a kind, one of simulated, files"),
    ],
    ids=lambda case: case.__class__.__name__ if hasattr(case, "takes") else repr(case),
)
def test_refuses(parameter, text, right):
    """What cannot be meant is refused, with the value and what would be right."""
    parameter.description = "what it is for"
    with pytest.raises(AframeError, match="a parameter cannot be used") as caught:
        parameter.parse(text)

    assert caught.value.found == repr(text)
    assert caught.value.wanted_by == "the parameter described as: what it is for"
    assert caught.value.fix.startswith(f"give {right}")


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Number(), FINITE),
        (OptionalNumber(), st.none() | FINITE),
        (Size(), st.integers(1, 2**40)),
        (OptionalPositive(), st.none() | st.floats(min_value=1e-9, allow_infinity=False)),
        (Numbers(), st.lists(FINITE, min_size=1, max_size=3).map(tuple)),
        (Detectors(), st.permutations(["H1", "L1", "V1"]).map(tuple)),
        (Words(), st.lists(st.sampled_from(["GW190521_030229", "1187008882.4"])).map(tuple)),
        (PathParameter(), st.none() | st.sampled_from([Path("/data"), Path("relative/x")])),
        (Flag(), st.booleans()),
    ],
    ids=lambda case: case.__class__.__name__ if hasattr(case, "takes") else "",
)
def test_writing_and_reading_agree(parameter, values):
    """Law hands a task's parameters on as text: nothing may be lost on the way."""

    @given(values)
    def agree(value):
        assert parameter.parse(parameter.serialize(value)) == value

    agree()


def test_sources_are_written_as_they_were_read():
    """A source goes to the stage's settings and back without change."""
    for parameter in (Source(), OptionalSource()):
        assert json.loads(parameter.serialize(parameter.parse(FILES))) == json.loads(FILES)
    assert OptionalSource().serialize(None) == ""


def test_an_error_names_the_parameter_of_a_task():
    """As the option that it is, where nothing else tells where the value came from."""

    class Wrong(luigi.Task):
        on_change = Choice(choices=("stop", "remake"))

    with pytest.raises(AframeError, match="a parameter cannot be used") as caught:
        Wrong.on_change.parse("rmake")

    assert caught.value.wanted_by == "--on-change"
    assert caught.value.fix.startswith("give one of stop, remake, ")


def test_an_error_names_where_the_value_may_have_come_from(monkeypatch):
    """The option, the task's section and the shared one."""
    shared = luigi.configuration.get_config()._sections
    monkeypatch.setitem(shared, BASE_SECTION, {"sample_rate": "fast"})
    with pytest.raises(AframeError, match="a parameter cannot be used") as caught:
        Positive(default=1.0).task_value("Train", "sample_rate")

    assert caught.value.found == "sample_rate = 'fast'"
    assert caught.value.wanted_by == (
        "--Train-sample-rate, [luigi_Train] or [luigi_base] of the .cfg"
    )


def test_the_shared_section_comes_before_the_default(monkeypatch):
    """A task's own section comes before both."""
    sections = luigi.configuration.get_config()._sections
    monkeypatch.setitem(sections, BASE_SECTION, {"sample_rate": "1024"})
    parameter = Positive(default=2048.0)

    assert parameter.task_value("Train", "sample_rate") == 1024.0
    assert parameter.task_value("Train", "kernel_length") == 2048.0
    monkeypatch.setitem(sections, "Train", {"sample_rate": "4096"})
    assert parameter.task_value("Train", "sample_rate") == 4096.0


def test_pairs_are_pairs():
    """Mass pairs keep their order."""
    assert [list(pair) for pair in Pairs().parse("[[35, 35], [20, 10.5]]")] == [
        [35, 35],
        [20, 10.5],
    ]


def test_paths_are_expanded(monkeypatch):
    """`~` is the user's home."""
    monkeypatch.setenv("HOME", "/home/einstein")

    assert PathParameter().parse("~/data") == Path("/home/einstein/data")


def test_paths_of_a_source_are_expanded(monkeypatch):
    """Of files, folders and curves; names of curves, and what a check refuses later, stay."""
    monkeypatch.setenv("HOME", "/home/einstein")
    given = {"kind": "files", "paths": ["~/H-*.gwf", "/x"], "psds": {"H1": "~/h1.txt", "L1": "a"}}
    expanded = {"paths": ["/home/einstein/H-*.gwf", "/x"]}
    expanded["psds"] = {"H1": "/home/einstein/h1.txt", "L1": "a"}

    assert Source().parse(json.dumps(given)) == {**given, **expanded}
    for odd in (3, None, [{}]):
        assert Source().parse(json.dumps({"kind": "files", "paths": odd}))["paths"] == odd


def test_none_brings_no_warning(recwarn):
    """Luigi warns of values of another type; none and a path are meant."""
    for parameter in (OptionalNumber(), OptionalPositive(), PathParameter()):
        parameter._warn_on_wrong_param_type("name", None)
    PathParameter()._warn_on_wrong_param_type("name", Path("/data"))

    assert not recwarn
