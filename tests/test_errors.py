"""The error a user can mend."""

import copy

from aframe.errors import AframeError

ERROR = AframeError("no strain", found="none", wanted_by="fetch", fix="add files")


def test_the_message_has_four_parts():
    """Problem, found, wanted by and fix, each on its line."""
    assert str(ERROR).splitlines() == [
        "no strain",
        "  found      none",
        "  wanted by  fetch",
        "  fix        add files",
    ]


def test_it_survives_a_pool_of_processes():
    """What pickle does with it, as `copy` does it too, keeps all its parts."""
    got = copy.copy(ERROR)

    assert type(got) is AframeError
    assert str(got) == str(ERROR)
    assert (got.problem, got.found, got.wanted_by, got.fix) == (
        "no strain",
        "none",
        "fetch",
        "add files",
    )
