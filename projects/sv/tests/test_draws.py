"""Draws of the prior."""

import numpy as np
import pytest

from aframe.artifacts.ledger import read_ledger, write_ledger
from aframe.errors import AframeError
from aframe_sv import draws
from aframe_sv.draws import read_injections, read_rejected, vetoed_injections


def test_injections_have_source_frame_masses_and_a_statistic_where_recovered(search):
    """Detector-frame masses of the file divided by one plus redshift."""
    found = read_ledger(search.foreground).parameters
    got = read_injections(search.foreground, dt=1.0)

    assert got.draws.mass_1 * (1 + got.draws.redshift) == pytest.approx(found["mass_1"])
    near = np.abs(found["detection_time"] - found["injection_time"]) <= 1.0
    assert np.array_equal(np.isfinite(got.statistic), near)
    assert got.kept == 1.0


def test_vetoed_injections_leave_their_share(search):
    """The file says how many there were."""
    ledger = read_ledger(search.foreground)
    ledger.metadata["vetoed_injections"] = len(ledger)
    write_ledger(search.foreground, ledger)

    assert read_injections(search.foreground, dt=1.0).kept == 0.5
    assert vetoed_injections({}) == 0


def test_rejected_draws_come_in_blocks(search, monkeypatch):
    """All of them, in order."""
    whole = np.concatenate([each.redshift for each in read_rejected(search.rejected_parameters)])
    monkeypatch.setattr(draws, "_ROWS_AT_A_TIME", 1000)
    blocks = [each.redshift for each in read_rejected(search.rejected_parameters)]

    assert len(blocks) > 3
    assert np.array_equal(np.concatenate(blocks), whole)


def test_a_rejected_draw_that_is_not_a_number_is_refused(search):
    """One NaN would spoil every sum."""
    ledger = read_ledger(search.rejected_parameters)
    ledger.parameters["redshift"][3] = np.nan
    write_ledger(search.rejected_parameters, ledger)

    with pytest.raises(AframeError, match="a value that is not a number"):
        list(read_rejected(search.rejected_parameters))
