"""Where strain comes from, and what a source must name."""

from __future__ import annotations

import pytest

from aframe.errors import AframeError
from aframe_data.sources import Files, Simulated, refuse_missing_psds


def test_a_source_of_files_names_some():
    """An empty list is a slip."""
    with pytest.raises(AframeError, match="a source of files names none"):
        Files("files", ())


def test_a_simulation_needs_a_curve_for_each_detector():
    """The message names those without."""
    source = Simulated("simulated", {"H1": "aLIGOO3LowT1800545"})

    refuse_missing_psds(source, ("H1",))
    with pytest.raises(AframeError, match=r"psds of H1[\s\S]*add to the source's psds: L1"):
        refuse_missing_psds(source, ("H1", "L1"))
