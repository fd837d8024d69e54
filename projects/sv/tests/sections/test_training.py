"""The training in the report."""

from dataclasses import replace

import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_sv.sections.training import (
    Easing,
    loss,
    read_easing,
    read_metrics,
    score,
    section,
)

HEAD = "epoch,step,train_loss,learning_rate,valid_auroc\n"


def table(path, text):
    """Write a table of a training."""
    path = path / "metrics.csv"
    path.write_text(text)
    return path


def test_gaps_and_nan_are_left_out(tmp_path):
    """Lightning's logger writes a row a call, with most columns blank."""
    rows = HEAD + "0,10,0.7,0.1,\n0,20,,,0.5\n1,30,0.6,0.1,nan\n1,40,,,0.75\n"

    columns = read_metrics(table(tmp_path, rows))

    assert columns["train_loss"][0].tolist() == [10, 30]
    assert columns["train_loss"][1].tolist() == [0.7, 0.6]
    assert columns["valid_auroc"][0].tolist() == [20, 40]
    assert set(columns) == {"train_loss", "learning_rate", "valid_auroc"}


@pytest.mark.parametrize(
    "text", ["epoch,loss\n1,2\n", "epoch,step,loss\n1,2,much\n", "\x89HDF\n\0\0,"]
)
def test_a_file_that_is_no_table_of_a_training_is_refused(tmp_path, text):
    """A missing column, words for numbers, another format."""
    with pytest.raises(AframeError, match="the table of the training cannot be read"):
        read_metrics(table(tmp_path, text))


def test_a_missing_table_is_refused(tmp_path):
    """A path to nothing is an error: the report was told to show it."""
    with pytest.raises(AframeError, match="the table of the training cannot be read"):
        read_metrics(tmp_path / "metrics.csv")


def test_whole_run_shows_loss_and_score(evidence):
    """Both curves, and what the network saw."""
    got = section(evidence())

    assert [each.alt.split(" ")[0] for each in got.pictures] == ["Training", "Validation"]
    assert ("Steps", "1,200") in got.facts
    assert ("Kernel", "1.5 s at 1024 Hz") in got.facts
    assert ("Band", "above 32 Hz") in got.facts


def test_no_table_leaves_a_sentence(evidence):
    """A search with a network from elsewhere."""
    got = section(evidence(metrics=None))

    assert got.paragraphs == ["This run has no table of a training."]


@pytest.mark.parametrize("text", [HEAD, "", "epoch,step,learning_rate\n0,1,0.1\n"])
def test_a_table_without_curves_leaves_a_sentence(evidence, tmp_path, text):
    """Killed before its first epoch, or logging something else."""
    got = section(evidence(metrics=table(tmp_path, text), preprocessing=None))

    assert got.paragraphs == ["The training logged neither loss nor validation score."]
    assert got.pictures == []


@pytest.mark.parametrize(
    ("highpass", "lowpass", "words"),
    [(None, None, "all"), (None, 512.0, "below 512 Hz"), (20.0, 512.0, "20 to 512 Hz")],
)
def test_the_band_is_said(evidence, highpass, lowpass, words):
    """With one edge, both, or none."""
    found = evidence()
    found.__dict__["preprocessing"] = replace(
        found.preprocessing, highpass=highpass, lowpass=lowpass
    )

    assert ("Band", words) in section(found).facts


def test_curves_say_where_they_begin_end_and_peak():
    """The text for those who cannot see the figure has the numbers."""
    steps = np.arange(3.0)

    assert "from 0.7 to 0.2" in loss({"train_loss": (steps, np.array([0.7, 0.5, 0.2]))}, None).alt
    assert "best 0.9" in score({"valid_auroc": (steps, np.array([0.5, 0.9, 0.8]))}).alt


def test_a_loss_that_rises_as_signals_get_fainter_is_explained(evidence):
    """The caption says until when, and promises no fall."""
    (curve, _) = section(evidence()).pictures

    assert "faintest signals have SNR 12 at first and 5 from step 800 on" in curve.caption
    assert "may rise until then" in curve.caption


def test_a_loss_at_one_hardness_needs_no_such_words():
    """Nor does it promise what the curve may not show."""
    steps = np.arange(3.0)

    curve = loss({"train_loss": (steps, np.array([0.7, 0.5, 0.2]))}, None)

    assert "fainter" not in curve.caption
    assert "falls" not in curve.caption
    assert "rise" not in curve.caption


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("data: {init_args: {snr: {minimum: 5, first_minimum: 12, decay_steps: 800}}}", True),
        ("data: {init_args: {snr: {minimum: 5, first_minimum: null, decay_steps: 0}}}", False),
        ("data: {init_args: {snr: {minimum: 5, first_minimum: 12, decay_steps: 0}}}", False),
        ("data: {init_args: {snr: some.path}}", False),
        ("data: null", False),
        ("", False),
        (None, False),
    ],
)
def test_the_course_of_the_signals_is_read_beside_the_table(tmp_path, text, found):
    """From the settings of the training, where they are there and say it."""
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)

    got = read_easing(tmp_path / "metrics.csv")

    assert got == (Easing(first=12, last=5, steps=800) if found else None)
