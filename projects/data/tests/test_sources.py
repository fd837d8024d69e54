"""What a source must name, refused by the stage as by planning."""

from __future__ import annotations

import dataclasses
import json
import typing

import pytest

from aframe import sources
from aframe.errors import AframeError
from aframe_data.sources import (
    Files,
    Gwosc,
    Simulated,
    Source,
    read_source,
    refuse_missing_span,
    refuse_unfit,
)


def test_planning_knows_the_keys_of_each_kind():
    """No more and no fewer than the stage takes."""
    kinds = {
        typing.get_args(typing.get_type_hints(kind)["kind"])[0]: {
            each.name for each in dataclasses.fields(kind)
        }
        for kind in typing.get_args(Source)
    }

    assert kinds == {kind: {"kind", *keys} for kind, keys in sources.KEYS.items()}


def test_a_source_is_read_from_json():
    """As text, as read from it, or made before; one of another kind is not this one."""
    wanted = Files("files", ("/data/*.gwf",), {"H1": "H1:X"}, flags=("DATA",))
    content = dataclasses.asdict(wanted)

    assert read_source(Files, content) == wanted
    assert read_source(Files, json.dumps(content)) == wanted
    assert read_source(Files, wanted) is wanted
    with pytest.raises(ValueError, match="a source of kind files"):
        read_source(Gwosc, content)


@pytest.mark.parametrize("content", ['{"kind": "gwosc"', ["kind", "gwosc"], None])
def test_what_is_no_source(content):
    """Text that is no JSON, or JSON of something else."""
    with pytest.raises(AframeError, match=r"no kind that is known[\s\S]*the setting `source`"):
        read_source(Gwosc, content)


@pytest.mark.parametrize("kind", typing.get_args(Source), ids=lambda kind: kind.__name__)
def test_a_source_of_its_kind_alone_is_refused_for_what_it_lacks(kind):
    """Not by Python, for the argument; open data lack nothing."""
    source = read_source(kind, {"kind": kind.__name__.lower()})

    if kind is Gwosc:
        refuse_unfit(source, ("H1",))
        return
    with pytest.raises(AframeError, match=r"has no|names none"):
        refuse_unfit(source, ("H1",))


def test_a_source_that_does_not_fit():
    """The message says whose setting it is."""
    refuse_unfit(Gwosc("gwosc"), ("H1", "L1"))
    with pytest.raises(AframeError, match=r"names none[\s\S]*wanted by  the setting `source`"):
        refuse_unfit(Files("files", ()), ("H1",))


def test_a_span_that_is_missing():
    """Likewise."""
    refuse_missing_span(Files("files", ("/data/*",)), None, None)
    with pytest.raises(AframeError, match=r"needs a span[\s\S]*the setting `source`"):
        refuse_missing_span(Simulated("simulated", {}), None, None)
