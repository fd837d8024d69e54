"""What is searched: a distribution for each key of the training's configuration.

A distribution is written as a call of Ray Tune's function of that name, such as
``loguniform(1e-4, 1e-2)`` or ``tune.choice([64, 128])``. Each trial draws from its own
random stream, so more trials leave the first ones as they are.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.search.sample import Categorical, Domain, Float, Integer

from aframe.errors import AframeError
from aframe_train.streams import host_stream

DISTRIBUTIONS = (
    "choice", "uniform", "quniform", "loguniform", "qloguniform",
    "randint", "qrandint", "lograndint", "qlograndint",
)  # fmt: skip


def parse(key: str, text: str) -> Domain:
    """Read a distribution.

    Args:
        key: Key of the training's configuration that it is for.
        text: A call with numbers, such as ``loguniform(1e-4, 1e-2)``.

    Raises:
        AframeError: If it is no such call, or there is nothing to draw from.

    Example:
        >>> parse("model.learning_rate", "loguniform(1e-4, 1e-2)").lower
        0.0001
    """
    try:
        call = ast.parse(str(text).removeprefix("tune."), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise TypeError("not of the form name(values)")
        if call.func.id not in DISTRIBUTIONS:
            raise ValueError(f"there is no distribution {call.func.id}")
        named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
        domain: Domain = getattr(tune, call.func.id)(*map(ast.literal_eval, call.args), **named)
        if _is_empty(domain):
            raise ValueError("there is nothing to draw from")
    except (SyntaxError, TypeError, ValueError) as error:
        raise AframeError(
            "a distribution cannot be read",
            found=f"{key}: {text} ({error})",
            wanted_by="the space of the search",
            fix=f"write one of {', '.join(DISTRIBUTIONS)}, such as loguniform(1e-4, 1e-2)",
        ) from error
    return domain


def _is_empty(domain: Domain) -> bool:
    if isinstance(domain, Categorical):
        return not domain.categories
    return isinstance(domain, (Float, Integer)) and not domain.lower < domain.upper


def draw(space: Mapping[str, Domain], number: int, seed: int) -> dict[str, Any]:
    """Draw the settings of a trial.

    Args:
        space: Distribution of each key.
        number: Number of the trial.
        seed: Seed of the search.
    """
    streams = {key: host_stream(seed, f"tune {key}", number) for key in space}
    return {key: space[key].sample(random_state=streams[key]) for key in space}


def as_words(settings: Mapping[str, Any]) -> list[str]:
    """Write a trial's settings as arguments of the training's command line.

    Example:
        >>> as_words({"model.learning_rate": 0.001, "model.arch.layers": [3, 4]})
        ['--model.learning_rate=0.001', '--model.arch.layers=[3, 4]']
    """
    return [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in settings.items()
    ]
