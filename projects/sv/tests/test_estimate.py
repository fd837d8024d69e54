"""The verb `estimate`."""

import logging
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from aframe.artifacts.events import JULIAN_YEAR
from aframe.artifacts.ledger import read_ledger, write_ledger
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.priors import load_prior
from aframe_sv.draws import read_injections
from aframe_sv.estimate import (
    OUTPUT,
    EstimateInputs,
    EstimateSettings,
    estimate,
    pair_name,
    rejected_sums,
)
from aframe_sv.volumes import Source

IFOS, PRIOR = ["H1", "L1"], "log_uniform_bbh"
PAIRS = [[35.0, 35.0], [35.0, 20.0], [20.0, 20.0]]


def settings_for(search, **changes):
    """Settings for a toy search."""
    inputs = EstimateInputs(search.background, search.foreground, search.rejected_parameters)
    return EstimateSettings(
        **{
            "inputs": inputs,
            "output": search.folder / "out",
            "ifos": IFOS,
            "mass_combos": PAIRS,
            "source_prior": PRIOR,
            "max_far": 1e5,
            **changes,
        }
    )


def run(search, name="draft", **changes):
    """Run the verb; give what the file holds, and the notes."""
    folder = search.folder / name
    folder.mkdir()
    draft = Draft(folder)
    estimate(settings_for(search, **changes), draft)
    with h5py.File(folder / OUTPUT) as file:
        curves = {
            key: {field: group[field][:] for field in group}
            for key, group in file.items()
            if isinstance(group, h5py.Group)
        }
        return SimpleNamespace(
            path=folder / OUTPUT,
            thresholds=file["thresholds"][:],
            fars=file["fars"][:],
            curves=curves,
            attributes=dict(file.attrs),
            notes=draft.notes,
        )


def edit(path, **parameters):
    """Change columns (or, as `metadata`, attributes) of a ledger."""
    ledger = read_ledger(path)
    ledger.metadata.update(parameters.pop("metadata", {}))
    ledger.parameters.update(parameters)
    write_ledger(path, ledger)


def test_file_has_the_fields_users_know_and_distances(search):
    """Thresholds and rates, and for each pair volume, distance and their errors."""
    got = run(search)

    assert sorted(got.curves) == ["20-20", "35-20", "35-35"]
    columns = ["distance", "distance_err", "err", "err_injections", "err_threshold"]
    columns += ["lower_bound", "outermost", "sv"]
    assert all(sorted(curve) == columns for curve in got.curves.values())
    assert all(len(curve["sv"]) == len(got.thresholds) for curve in got.curves.values())
    assert got.fars[0] == pytest.approx(JULIAN_YEAR / 21_700)
    assert got.fars[-1] <= 1e5
    assert got.attributes["dt"] == 1.0
    assert got.attributes["legacy_redshift"] == False  # noqa: E712 (numpy's, not Python's)
    assert got.attributes["mass_combos"].tolist() == PAIRS
    assert got.attributes["Tb"] == 21_700.0
    assert got.attributes["outermost_redshifts"] == pytest.approx([1.35, 1.5])
    assert got.attributes["schema_version"] == 1


def test_volumes_are_those_of_the_direct_formula(search):
    """Everything from files to Gpc^3 agrees with sums written out for one threshold."""
    got = run(search)
    threshold, pair = got.thresholds[20], (35.0, 20.0)
    found = read_ledger(search.foreground).parameters
    lost = read_ledger(search.rejected_parameters).parameters
    z, m1, m2 = (
        np.concatenate([found[k], lost[k]]).astype(float) for k in ("redshift", "mass_1", "mass_2")
    )
    m1, m2 = m1 / (1 + z), m2 / (1 + z)
    normal = [
        np.exp(-(np.log(m / at) ** 2) / 0.02) / m for m, at in zip((m1, m2), pair, strict=True)
    ]
    # The prior is flat in the logarithms, and its redshifts go with (1 + z)^-4 of the target's.
    weights = normal[0] * normal[1] * m1 * m2 * (m2 <= m1) * (1 + z) ** 4
    weights /= weights.sum()
    loud = found["detection_statistic"] >= threshold
    near = np.abs(found["detection_time"] - found["injection_time"]) <= 1.0
    hit = np.concatenate([loud & near, np.zeros(len(lost["redshift"]), bool)])
    share = weights[hit].sum()
    error = np.sqrt(np.sum((weights * (hit - share)) ** 2))

    volume = got.notes["volume_of_prior"]
    # The prior's own p(z) is interpolated, to some 1e-3.
    assert got.curves["35-20"]["sv"][20] == pytest.approx(volume * share, rel=3e-3)
    assert got.curves["35-20"]["err_injections"][20] == pytest.approx(volume * error, rel=3e-3)


def test_errors_hold_those_of_injections_and_of_the_threshold(search):
    """The two add in quadrature; that of the threshold is larger where few events make it."""
    got = run(search, max_far=1461.0)
    curve = got.curves["35-35"]

    assert curve["err"] == pytest.approx(np.hypot(curve["err_injections"], curve["err_threshold"]))
    assert curve["err_threshold"][0] > 0
    assert len(got.thresholds) == 1, "the error takes its slope from rates beyond the largest"
    wide = run(search, "wide").curves["35-35"]
    assert wide["err_threshold"][0] == pytest.approx(curve["err_threshold"][0])
    assert wide["err_threshold"][-1] < 0.5 * wide["err_threshold"][0]


def test_heavier_sources_are_seen_farther_and_lower_thresholds_see_more(search):
    """What any search shows."""
    curves = run(search).curves

    assert np.all(curves["35-35"]["distance"] > curves["20-20"]["distance"])
    assert all(np.all(np.diff(curve["sv"]) >= 0) for curve in curves.values())


def test_an_event_far_in_time_is_no_recovery(search):
    """A loud event seconds away counts for the older tool (dt infinite), not here."""
    found = read_ledger(search.foreground).parameters
    loud = np.full(len(found["snr"]), 50.0)
    edit(search.foreground, detection_statistic=loud, detection_time=found["injection_time"] + 1.5)

    assert np.all(run(search, "near").curves["35-35"]["sv"] == 0)
    everywhere = run(search, "far", dt=np.inf)
    assert np.all(everywhere.curves["35-35"]["sv"] > 0)
    injections = read_injections(search.foreground, dt=1.5)
    assert np.isfinite(injections.statistic).all(), "a difference of exactly dt is a recovery"


def test_same_inputs_give_the_same_bytes(search):
    """Nothing of the time or place of the run is in the file."""
    assert run(search, "one").path.read_bytes() == run(search, "two").path.read_bytes()


def test_notes_tell_how_well_the_population_is_sampled(search):
    """Mean weight one, and far fewer effective draws than draws."""
    notes = run(search).notes

    assert notes["35-20"]["draws"] == 12_000
    assert notes["35-20"]["mean_weight"] == pytest.approx(
        1, abs=4 * notes["35-20"]["mean_weight_error"]
    )
    assert 20 < notes["35-20"]["effective_draws"] < 2_000
    assert (
        notes["35-20"]["effective_found_at_lowest_far"]
        <= notes["35-20"]["effective_found_at_highest_far"]
    )
    assert notes["recovered_within_dt"] < notes["injected"] < 12_000


def test_thin_sampling_is_said(make_search, tmp_path, caplog):
    """Few effective injections leave a warning with their number."""
    with caplog.at_level(logging.WARNING):
        run(make_search(tmp_path, drawn=1_000))

    assert "35-20: only" in caplog.text
    assert "effective injections found" in caplog.text


NEAR = """
from bilby.gw.prior import UniformSourceFrame
from aframe.priors import log_uniform_bbh

def near():
    prior, frame = log_uniform_bbh()
    prior["redshift"] = UniformSourceFrame(0, 0.4, cosmology="Planck15", name="redshift")
    return prior, frame
"""


def test_volumes_that_the_injections_cut_off_are_said(make_search, tmp_path, monkeypatch, caplog):
    """Heavy pairs are seen beyond redshift 0.4, light ones are not."""
    (tmp_path / "nearby.py").write_text(NEAR)
    monkeypatch.syspath_prepend(tmp_path)
    search = make_search(tmp_path, prior="nearby.near")
    with caplog.at_level(logging.WARNING):
        got = run(search, source_prior="nearby.near", mass_combos=[[35.0, 35.0], [10.0, 7.0]])

    assert "35-35: the search still finds sources at redshifts 0.36 to 0.4" in caplog.text
    assert got.curves["35-35"]["lower_bound"].all()
    assert got.notes["35-35"]["lower_bound_from_far"] == got.fars[0]
    assert got.notes["35-35"]["outermost_share_at_lowest_far"] > 0.05
    assert "10-7: the search still" not in caplog.text
    assert not got.curves["10-7"]["lower_bound"].any()
    assert got.notes["10-7"]["lower_bound_from_far"] is None


def test_volumes_that_the_injections_hold_whole_are_no_bounds(search, caplog):
    """The demo's population ends beyond what the toy search sees."""
    with caplog.at_level(logging.WARNING):
        got = run(search)

    assert "still finds sources" not in caplog.text
    assert not any(curve["lower_bound"].any() for curve in got.curves.values())


def test_a_population_that_the_prior_cannot_draw_whole_is_said(search, caplog):
    """Half of a population about the prior's edge lies outside it."""
    with caplog.at_level(logging.WARNING):
        run(search, mass_combos=[[20.0, 5.0]])

    assert "20-5: the mean weight of all draws is 0.5" in caplog.text


def test_rejected_draws_are_added_up_in_blocks(search, monkeypatch):
    """The size of the blocks does not show in the sums."""
    settings = settings_for(search)
    prior, frame = load_prior(PRIOR)
    source = Source(prior, detector_frame=frame)
    whole = rejected_sums(settings, source)["35-20"]
    monkeypatch.setattr("aframe_sv.draws._ROWS_AT_A_TIME", 1_000)
    blocks = rejected_sums(settings, source)["35-20"]

    assert blocks.draws == whole.draws
    assert (blocks.total, blocks.squares) == pytest.approx((whole.total, whole.squares))


def test_no_rejected_draw_is_no_obstacle(search):
    """A prior so near that all is injected leaves an empty table."""
    ledger = read_ledger(search.rejected_parameters)
    write_ledger(search.rejected_parameters, ledger[:0])
    injected = len(read_ledger(search.foreground, waveforms=()))
    edit(search.foreground, metadata={"num_injections": injected})

    assert np.all(run(search).curves["35-35"]["sv"] > 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dt": 0.0}, "dt cannot be used"),
        ({"max_far": -1.0}, "max_far cannot be used"),
        ({"sigma": float("nan")}, "sigma cannot be used"),
        ({"ifos": []}, "ifos cannot be used"),
        ({"mass_combos": []}, "mass_combos cannot be used"),
        ({"mass_combos": [[20.0, 35.0]]}, "mass_combos cannot be used"),
        ({"mass_combos": [[20.0, 0.0]]}, "mass_combos cannot be used"),
        ({"mass_combos": [[20.0]]}, "mass_combos cannot be used"),
        ({"mass_combos": [[20.0, 20.0], [20, 20]]}, "mass_combos cannot be used"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, changes, message):
    """Before any file is read."""
    nowhere = SimpleNamespace(folder=tmp_path, background="", foreground="", rejected_parameters="")
    with pytest.raises(AframeError, match=message):
        settings_for(nowhere, **changes)


@pytest.mark.parametrize(
    ("name", "metadata", "found", "wanted"),
    [
        ("foreground", {"prior": "other"}, "prior other", f"source_prior {PRIOR}"),
        ("rejected_parameters", {"prior": "a.b.other"}, "prior a.b.other", f"source_prior {PRIOR}"),
        ("foreground", {"ifos": ["L1", "H1"]}, "ifos ['L1', 'H1']", "ifos ['H1', 'L1']"),
        ("rejected_parameters", {"ifos": ["V1"]}, "ifos ['V1']", "ifos ['H1', 'L1']"),
        (
            "foreground",
            {"num_injections": 11_999},
            "12000 draws injected and rejected",
            "11999 draws",
        ),
        (
            "foreground",
            {"num_injections": 12_001},
            "12000 draws injected and rejected",
            "12001 draws",
        ),
    ],
)
def test_files_of_another_search_are_refused(search, name, metadata, found, wanted):
    """Files that contradict each other or the settings."""
    edit(getattr(search, name), metadata=metadata)

    with pytest.raises(AframeError, match="is of another search") as caught:
        run(search)
    assert found in caught.value.found
    assert wanted in caught.value.wanted_by


@pytest.mark.parametrize("name", ["background", "foreground"])
def test_events_of_other_detectors_are_refused(search, name):
    """The number of shifts an event is that of the detectors."""
    path = getattr(search, name)
    shift = read_ledger(path).parameters["shift"]
    edit(path, shift=np.concatenate([shift, shift], axis=1))

    with pytest.raises(AframeError, match=f"the file `{name}` is of another search") as caught:
        run(search)
    assert caught.value.found == "4 shifts an event"


def test_a_dotted_prior_of_an_older_file_is_the_same(search):
    """`priors.priors.log_uniform_bbh` and `log_uniform_bbh` are one prior."""
    edit(search.foreground, metadata={"prior": f"priors.priors.{PRIOR}"})

    assert run(search).notes["injected"] > 0


def test_draws_that_are_not_a_number_are_refused(search):
    """One NaN would spoil every weight."""
    masses = read_ledger(search.foreground).parameters["mass_1"]
    masses[5] = np.nan
    edit(search.foreground, mass_1=masses)

    with pytest.raises(AframeError, match="a value that is not a number") as caught:
        run(search)
    assert caught.value.found.startswith("mass_1 of row 5 in ")


def test_draws_from_another_prior_are_refused(search):
    """Redshifts beyond the prior's range cannot come from it."""
    redshift = read_ledger(search.foreground).parameters["redshift"]
    edit(search.foreground, redshift=redshift + 0.3)

    with pytest.raises(AframeError, match="cannot come from the prior they are said to come from"):
        run(search)


def test_a_population_far_from_all_draws_is_refused(search):
    """No weight at all is an error, not a volume of zero."""
    with pytest.raises(AframeError, match="no draw is like the sources of population 4000-4000"):
        run(search, mass_combos=[[4000.0, 4000.0]], sigma=0.05)


def test_names_of_pairs_are_short():
    """Whole masses are written without a point."""
    assert pair_name((35.0, 20)) == "35-20"
