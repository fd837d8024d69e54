"""The model carries the numbers that export and inference must repeat."""

import dataclasses
import json

import pytest

from aframe.artifacts.preprocessing import Preprocessing, Streaming
from aframe.errors import AframeError

PREPROCESSING = Preprocessing(
    ifos=("H1", "L1"),
    sample_rate=2048.0,
    kernel_length=1.5,
    fduration=1.0,
    fftlength=2.0,
    highpass=32.0,
    lowpass=None,
    psd_length=8.0,
)
STREAMING = Streaming(inference_sampling_rate=4.0, batch_size=128, psd_length=64.0)


@pytest.fixture
def path(tmp_path):
    """Write the numbers."""
    PREPROCESSING.write(tmp_path / "preprocessing.json")
    return tmp_path / "preprocessing.json"


@pytest.mark.parametrize("numbers", [PREPROCESSING, STREAMING])
def test_reading_gives_what_was_written(tmp_path, numbers):
    """Detectors as a tuple, none as none; each number stands under its own name."""
    path = tmp_path / "numbers.json"
    numbers.write(path)
    content = json.loads(path.read_text())

    assert type(numbers).read(path) == numbers
    assert content.pop("schema_version") == 1
    assert content.keys() == dataclasses.asdict(numbers).keys()


def _change(**changes):
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_text("{"), "Expecting property name"),
        (lambda path: path.write_text("[]"), "list"),
        (lambda path: path.write_text("{}"), "schema_version"),
        (_change(schema_version=2), "schema version 2"),
        (_change(color="red"), "color"),
        (_change(ifos=None), "NoneType"),
    ],
    ids=["missing", "no JSON", "list", "empty", "newer", "field", "type"],
)
def test_refuses_to_read(path, spoil, message):
    """What cannot be trusted is not guessed."""
    spoil(path)

    with pytest.raises(AframeError, match="the preprocessing of the model cannot") as caught:
        Preprocessing.read(path)

    assert message in caught.value.found


def test_refuses_the_streaming_of_something_else(path):
    """And says who writes it."""
    with pytest.raises(AframeError, match="the streaming of the model cannot be read") as caught:
        Streaming.read(path)

    assert caught.value.wanted_by == "schema version 1 of streaming.json"
    assert "aframe-export export" in caught.value.fix


def test_the_same_settings_pass():
    """Lists for tuples, whole numbers for floats, and no fftlength for that of the training."""
    same = dataclasses.asdict(PREPROCESSING)

    PREPROCESSING.refuse_other(same, wanted_by="export")
    PREPROCESSING.refuse_other({"ifos": ["H1", "L1"], "sample_rate": 2048}, wanted_by="export")
    PREPROCESSING.refuse_other({"fftlength": None}, wanted_by="export")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ifos", ["L1", "H1"]),
        ("sample_rate", 4096.0),
        ("kernel_length", 1.0),
        ("fduration", 2.0),
        ("fftlength", 2.5),
        ("highpass", None),
        ("lowpass", 1000.0),
        ("psd_length", 64.0),
    ],
)
def test_refuses_each_number_that_differs(name, value):
    """Training at one fftlength and inference at another diverge in silence otherwise."""
    with pytest.raises(AframeError, match="differ from those the model was trained") as caught:
        PREPROCESSING.refuse_other({name: value}, wanted_by="aframe-infer infer")

    assert caught.value.found.startswith(f"{name} {value} (trained with ")
    assert caught.value.wanted_by == "aframe-infer infer"


def test_refuses_another_streaming():
    """Each number that differs is named, with that of the export."""
    same = dataclasses.asdict(STREAMING)
    STREAMING.refuse_other(same, wanted_by="infer")

    with pytest.raises(
        AframeError, match="differ from those the model was exported with"
    ) as caught:
        STREAMING.refuse_other({**same, "batch_size": 4, "psd_length": 8}, wanted_by="infer")

    assert caught.value.found == (
        "batch_size 4 (exported with 128), psd_length 8 (exported with 64.0)"
    )
