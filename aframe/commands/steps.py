"""The steps that a user means by a word."""

from __future__ import annotations

from collections.abc import Sequence

from aframe.errors import AframeError, did_you_mean
from aframe.tasks.outlook import Outlook


def named(word: str, found: Sequence[Outlook]) -> list[Outlook]:
    """Choose the steps that *word* names: ``FetchTrain``, ``Query`` for each, ``Query:data/test``.

    Raises:
        AframeError: If it names none.
    """
    names = {each.name: each for each in found}
    if word in names:
        return [names[word]]
    alike = [each for each in found if each.step.task_family == word]
    if alike:
        return alike
    known = [*names, *(each.step.task_family for each in found)]
    # Infer is nearer to SandboxInfer than to Query, whatever their lengths.
    ends = [name for name in names if name.lower().endswith(word.lower())]
    raise AframeError(
        "there is no such step",
        found=word,
        wanted_by="aframe",
        fix=f"{did_you_mean(ends[0] if ends else word, known)}steps are: {', '.join(names)}",
    )
