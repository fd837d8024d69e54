"""Strain of several sequences, kept apart."""

import json

import numpy as np
import pytest

from aframe_export.backend import snapshotter as module
from aframe_export.backend.snapshotter import END, START, Snapshots, TritonPythonModel


@pytest.fixture
def model(triton):
    """A model of updates of two samples and states of three."""
    config = {
        "input": [{"dims": ["1", "1", "2"]}],
        "output": [{"dims": ["1", "1", "5"]}],
        "sequence_batching": {"max_sequence_idle_microseconds": "600000000"},
    }
    found = TritonPythonModel()
    found.initialize({"model_config": json.dumps(config)})
    return found


def _update(*values):
    return np.array([[values]], np.float32)


def test_sequences_are_kept_apart(model, request_of):
    """By their correlation ids, numbers or text; the state of each begins as zeros."""
    responses = model.execute(
        [
            request_of("a", START, stream=_update(1, 2)),
            request_of(7, START, stream=_update(9, 9)),
            request_of("a", stream=_update(3, 4)),
            request_of(7, END, stream=_update(8, 8)),
            request_of("a", END, stream=_update(5, 6)),
        ]
    )

    assert [each.arrays["strain"][0, 0].tolist() for each in responses] == [
        [0, 0, 0, 1, 2],
        [0, 0, 0, 9, 9],
        [0, 1, 2, 3, 4],
        [0, 9, 9, 8, 8],
        [2, 3, 4, 5, 6],
    ]
    assert model.snapshots.states == {}


def test_a_start_begins_anew(model, request_of):
    """Also where the sequence was not ended, as after a lost connection."""
    first = request_of("a", START, stream=_update(1, 2))
    model.execute([first, request_of("a", stream=_update(3, 4))])

    (again,) = model.execute([first])

    assert again.arrays["strain"][0, 0].tolist() == [0, 0, 0, 1, 2]


def test_an_unknown_sequence_is_an_error(model, request_of):
    """Zeros would be taken for its state."""
    (response,) = model.execute([request_of("a", stream=_update(1, 2))])

    assert response.error == "the sequence a was not started, or forgotten"


def test_an_idle_sequence_is_forgotten(monkeypatch):
    """Its client was killed."""
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    snapshots = Snapshots((1, 1, 3), idle=10.0)
    snapshots("dead", START, _update(1, 2))
    clock[0] = 6.0
    snapshots("alive", START, _update(1, 2))
    clock[0] = 12.0

    snapshots("alive", 0, _update(3, 4))

    assert set(snapshots.states) == {"alive"}
    with pytest.raises(KeyError, match="dead"):
        snapshots("dead", 0, _update(3, 4))
