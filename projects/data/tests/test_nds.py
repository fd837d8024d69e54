"""Channels of NDS2, whose client is not on PyPI."""

from __future__ import annotations

import pytest

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data.nds import available, channel
from aframe_data.sources import Nds2

NAME = "H1:GDS-CALIB_STRAIN"
SOURCE = Nds2("nds2", {"H1": NAME})


def test_a_client_that_is_missing(monkeypatch):
    """Said before any work, with where to have it from."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    for ask in (available, channel):
        with pytest.raises(
            AframeError, match=r"not installed[\s\S]*conda-forge python-nds2-client"
        ):
            ask(SOURCE, "H1", Segment(0, 9))
