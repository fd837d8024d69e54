"""Refusals that several verbs share: each fires, and says which value was wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from aframe.errors import AframeError
from aframe.program import Resources
from aframe_data.checks import (
    refuse_band,
    refuse_fraction,
    refuse_not_positive,
    refuse_unnamed,
    refuse_wrong_workers,
)


@pytest.mark.parametrize("value", [0, -1.5, float("nan"), float("inf")])
def test_refuses_what_is_not_positive(value):
    """Zero, negative, not a number, infinite."""
    with pytest.raises(AframeError, match=r"spacing cannot be used[\s\S]*above zero"):
        refuse_not_positive(SimpleNamespace(fine=1, spacing=value), "fine", "spacing")


def test_zero_is_allowed_where_it_makes_sense():
    """But nothing below it."""
    refuse_not_positive(SimpleNamespace(buffer=0), "buffer", zero=True)
    with pytest.raises(AframeError, match="not below zero"):
        refuse_not_positive(SimpleNamespace(buffer=-1e-9), "buffer", zero=True)


def test_a_band_names_the_settings_that_ask_for_it():
    """One edge or two, of which either may be open."""
    edges = SimpleNamespace(sample_rate=10, highpass=None, lowpass=5, minimum_frequency=4)
    refuse_band(edges, "minimum_frequency")

    with pytest.raises(AframeError, match="lowpass is not between zero and the Nyquist") as error:
        refuse_band(edges, "highpass", "lowpass")

    assert error.value.wanted_by == "the settings `highpass` and `lowpass`"


def test_refuses_no_workers():
    """At least one process works."""
    refuse_wrong_workers(Resources(workers=1))
    with pytest.raises(AframeError, match="workers 0"):
        refuse_wrong_workers(Resources(workers=0))


def test_refuses_a_fraction():
    """512.0 is whole, 512.5 is not."""
    refuse_fraction(SimpleNamespace(sample_rate=512.0), "sample_rate")
    with pytest.raises(AframeError, match="sample_rate is not a whole number"):
        refuse_fraction(SimpleNamespace(sample_rate=512.5), "sample_rate")


@pytest.mark.parametrize("ifos", [(), ("H1", "L1", "H1"), ("h1", "l1"), ("H1:STRAIN",)])
def test_refuses_detectors_that_are_none_or_twice_or_no_prefix(ifos):
    """Each channel is one detector."""
    with pytest.raises(AframeError, match="the detectors cannot be used"):
        refuse_unnamed(ifos)
