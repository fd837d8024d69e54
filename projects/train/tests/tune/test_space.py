"""Distributions of a search, and what is drawn from them."""

import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_train.tune.space import as_words, draw, parse


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("choice([16, 32, 'all'])", lambda value: value in (16, 32, "all")),
        ("uniform(0.2, 0.6)", lambda value: 0.2 <= value <= 0.6),
        ("quniform(0, 1, 0.25)", lambda value: value in (0, 0.25, 0.5, 0.75, 1)),
        ("loguniform(1e-4, 1e-2)", lambda value: 1e-4 <= value <= 1e-2),
        ("qloguniform(1e-3, 1e-1, 1e-3)", lambda value: abs(value * 1e3 % 1 - 0.5) > 0.499),
        ("randint(1, 5)", lambda value: value in (1, 2, 3, 4)),
        ("qrandint(8, 64, 8)", lambda value: value in range(8, 65, 8)),
        ("lograndint(1, 100)", lambda value: value in range(1, 100)),
        ("qlograndint(lower=8, upper=512, q=8)", lambda value: value in range(8, 513, 8)),
        ("tune.uniform(0, 1)", lambda value: 0 <= value <= 1),
    ],
)
def test_each_distribution_draws_what_it_says(text, possible):
    """By either spelling, and always as a plain value of Python."""
    space = {"key": parse("key", text)}

    drawn = [draw(space, number, 5)["key"] for number in range(50)]

    assert all(map(possible, drawn))
    assert len(set(drawn)) > 1
    assert {type(value) for value in drawn} <= {int, float, str}


def test_a_logarithmic_distribution_is_flat_in_the_logarithm():
    """Half of the draws lie below the geometric mean."""
    space = {"rate": parse("rate", "loguniform(1e-4, 1e-2)")}

    drawn = np.array([draw(space, number, 1)["rate"] for number in range(400)])

    assert (drawn < 1e-3).mean() == pytest.approx(0.5, abs=0.1)


def test_trials_are_drawn_from_streams_of_their_own():
    """Further trials and further keys leave the others as they are; another seed does not."""
    one = {"a": parse("a", "uniform(0, 1)")}
    two = {"b": parse("b", "uniform(0, 1)"), **one}

    assert draw(one, 3, 7)["a"] == draw(two, 3, 7)["a"]
    assert draw(two, 3, 7)["a"] != draw(two, 3, 7)["b"]
    assert draw(one, 3, 7) != draw(one, 4, 7) != draw(one, 3, 8)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("uniform(0.6, 0.2)", "nothing to draw from"),
        ("choice([])", "nothing to draw from"),
        ("loguniform(0, 1)", "lower bound greater than 0"),
        ("uniform(1)", "missing 1 required"),
        ("gaussian(0, 1)", "no distribution gaussian"),
        ("__import__('os')", "no distribution __import__"),
        ("uniform(0, __import__('os'))", "malformed node"),
        ("os.system('ls')", "not of the form"),
        ("uniform(0, 1", "was never closed"),
        ("0.5", "not of the form"),
    ],
)
def test_what_is_no_distribution_is_refused(text, found):
    """Before any trial, with the key and what is wrong with it."""
    with pytest.raises(AframeError, match="a distribution cannot be read") as error:
        parse("model.learning_rate", text)

    assert error.value.found.startswith(f"model.learning_rate: {text} (")
    assert found in error.value.found


def test_settings_become_words():
    """Values as the training's command line reads them."""
    settings = {"a.b": 1e-05, "c": "silu", "d": [1, 2], "e": True, "f": None}

    assert as_words(settings) == ["--a.b=1e-05", "--c=silu", "--d=[1, 2]", "--e=true", "--f=null"]
