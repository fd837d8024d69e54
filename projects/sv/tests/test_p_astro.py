"""The verb `p_astro`."""

import json
import logging
import math
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy.cosmology import Planck15
from scipy.integrate import trapezoid

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.artifacts.ledger import read_ledger, write_ledger
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.priors import load_prior
from aframe_sv import p_astro as verb
from aframe_sv.densities import Density, Excess
from aframe_sv.far import ONE_SIGMA
from aframe_sv.p_astro import (
    OUTPUT,
    RATES,
    PAstroInputs,
    PAstroSettings,
    Signals,
    model,
    p_astro,
    read_signals,
    refuse_unknown_prior,
    score_held_out,
)
from aframe_sv.reliability import reliability

IFOS, PRIOR = ["H1", "L1"], "log_uniform_bbh"


@pytest.fixture
def searched(search):
    """A toy search with three events of zero lag: noise, something between, a loud one."""
    statistic = np.array([6.0, -2.0, 12.0])
    times = np.array([1e9, 1.1e9, 1.2e9])
    path = search.folder / "0lag.hdf5"
    Events(statistic, times, np.zeros((3, 2)), 3600.0).write(path)
    return SimpleNamespace(**vars(search), zero_lag=path)


def settings_for(searched, **changes):
    """Settings for a toy search."""
    inputs = PAstroInputs(
        searched.background, searched.foreground, searched.rejected_parameters, searched.zero_lag
    )
    said = {"output": searched.folder, "ifos": IFOS, "source_prior": PRIOR, **changes}
    return PAstroSettings(inputs=inputs, **said)


def run(searched, **changes):
    """Run the verb; give the columns of the events, the attributes and the notes."""
    draft = Draft(searched.folder)
    p_astro(settings_for(searched, **changes), draft)
    with h5py.File(searched.folder / OUTPUT) as file:
        events = {name: values[:] for name, values in file["events"].items()}
        groups = {
            name: {k: v[:] for k, v in file[name].items()} for name in ("model", "reliability")
        }
        return SimpleNamespace(
            events=events, attributes=dict(file.attrs), notes=draft.notes, **groups
        )


def test_each_event_has_a_probability_and_a_class(searched):
    """Loudest first; classes and noise add up to one; the rates and their source are told."""
    got = run(searched)

    assert got.events["detection_statistic"].tolist() == [12.0, 6.0, -2.0]
    assert got.events["detection_time"].tolist() == [1.2e9, 1e9, 1.1e9]
    assert got.events["p_astro"][0] > got.events["p_astro"][1] > got.events["p_astro"][2]
    assert got.events["p_astro"][0] > 0.9
    assert got.events["p_astro"][2] < 1e-3
    total = got.events["p_BBH"] + got.events["p_terrestrial"]
    assert total == pytest.approx(1)
    assert got.events["extrapolated"].tolist() == [True, True, False]
    low, rate, high = (
        got.events[f"false_alarm_rate{end}"] * got.attributes["Tb"] / JULIAN_YEAR
        for end in ("_low", "", "_high")
    )
    assert rate[:2] == pytest.approx(1.0), "one count at least"
    assert (low[0], high[0]) == pytest.approx((0.0, -math.log((1 - ONE_SIGMA) / 2)))
    assert low[2] < rate[2] < high[2]
    # Two of three intervals of a large count are its root wide on either side.
    assert high[2] - low[2] == pytest.approx(2 * math.sqrt(rate[2]), rel=0.05)
    assert json.loads(got.attributes["rates"]) == RATES
    assert "011048" in got.attributes["rates_source"]
    assert got.notes["found_a_year"].keys() == {"BBH"}, "this prior draws no neutron star"


def test_probability_is_that_of_rates_over_rates(searched):
    """Odds are the signals' rate density over that of the noise, in the same unit."""
    got = run(searched)
    table, at = got.model, 6.0

    signal, noise = (np.interp(at, table["statistic"], table[name]) for name in ("BBH", "noise"))
    assert got.events["p_astro"][1] == pytest.approx(signal / (signal + noise), rel=0.05)


def test_found_a_year_is_volume_times_rate_times_the_share_that_is_found(searched):
    """Weights turn the prior's redshifts to those of sources uniform in volume and their time."""
    signals = read_signals(settings_for(searched))
    found = read_ledger(searched.foreground).parameters
    lost = read_ledger(searched.rejected_parameters).parameters
    near = np.abs(found["detection_time"] - found["injection_time"]) <= 1.0
    # The prior's redshifts go with (1 + z)^-4 of those of the population.
    weights = [(1 + columns["redshift"]) ** 4 for columns in (found, lost)]
    share = weights[0][near].sum() / (weights[0].sum() + weights[1].sum())
    volume = 4 / 3 * math.pi * _comoving_time_volume(1.5)

    assert signals.rates["BBH"].sum() == pytest.approx(RATES["BBH"] * volume * share, rel=5e-3)


def _comoving_time_volume(redshift):
    """Cube of the radius (Gpc^3) of a Euclidean sphere like that within *redshift*."""
    z = np.linspace(0, redshift, 4001)
    shells = Planck15.differential_comoving_volume(z).value / 1e9 * 4 * math.pi / (1 + z)
    return trapezoid(shells, z) / (4 / 3 * math.pi)


def test_legacy_redshift_gives_the_older_rate(searched):
    """Rate, volume and the plain share of draws that are found."""
    settings = settings_for(searched, legacy_redshift=True)
    signals = read_signals(settings)
    found = read_ledger(searched.foreground).parameters
    near = np.abs(found["detection_time"] - found["injection_time"]) <= 1.0
    share = near.sum() / 12_000

    volume = 4 / 3 * math.pi * _comoving_time_volume(1.5)
    assert signals.rates["BBH"].sum() == pytest.approx(RATES["BBH"] * volume * share, rel=1e-3)


def test_more_mergers_make_signals_more_probable(searched):
    """Odds are proportional to the rate."""
    odds = []
    for rate in (10.0, 40.0):
        p = run(searched, rates={"BBH": rate}).events["p_astro"][1]
        odds.append(p / (1 - p))

    assert odds[1] / odds[0] == pytest.approx(4, rel=1e-6)


def test_classes_are_by_source_frame_masses(searched):
    """With a heavier limit some of these binaries count as with a neutron star."""
    got = run(searched, heaviest_neutron_star=20.0)
    events = got.events

    assert got.notes["found_a_year"].keys() == {"BBH", "NSBH", "BNS"}
    names = ("p_BBH", "p_NSBH", "p_BNS", "p_terrestrial")
    assert sum(events[name] for name in names) == pytest.approx(1)
    # Light binaries are fainter, and few of them as loud as the loudest.
    assert events["p_BBH"][0] > events["p_BNS"][0] > 0


def test_halves_of_signals_and_noise_hold_for_each_other(searched):
    """On events that had no part in the model, promised and observed odds agree."""
    got = run(searched)
    widths = (np.log(got.reliability["high"]) - np.log(got.reliability["low"])) / 2

    assert len(widths) >= 4
    assert got.notes["bins_off_by_two_sigma"] <= 1
    assert np.all(got.reliability["low"] < got.reliability["high"])


def test_too_few_events_leave_the_probability_open(searched, caplog):
    """A search of minutes has a file that says so, and goes on."""
    ledger = read_ledger(searched.background)
    write_ledger(searched.background, ledger[:19])
    with caplog.at_level(logging.WARNING):
        got = run(searched)

    assert "no probability for any event: 19 background events, where 20 are needed" in caplog.text
    assert np.isnan(got.events["p_astro"]).all()
    assert got.events["detection_statistic"].tolist() == [12.0, 6.0, -2.0]
    assert got.model == {}
    assert len(got.reliability["promised"]) == 0


def test_a_wrong_model_is_warned_of(searched, monkeypatch, caplog):
    """A model that takes the noise for a tenth of what it is promises too much."""
    right = verb.background

    def too_quiet(noise, grid):
        return Density(grid, right(noise, grid).logarithm - np.log(10))

    monkeypatch.setattr(verb, "background", too_quiet)
    monkeypatch.setattr(verb, "tail_excess", lambda _: Excess(14.0, 2, 1e-6))
    with caplog.at_level(logging.WARNING):
        run(searched)

    assert "the probabilities do not hold on held-out events" in caplog.text
    assert "2 events at 14 and above, where it promises 1e-06" in caplog.text


def test_held_out_events_of_known_densities_are_reliable():
    """Normal signals and exponential noise: few bins off by two of their standard deviations."""
    rng = np.random.default_rng(8)
    signals = Signals(rng.normal(6, 2, 5000), {"BBH": np.full(5000, 50 / 5000)})
    statistic = rng.exponential(0.7, 40_000)
    noise = Events(statistic, np.zeros(40_000), np.zeros((40_000, 2)), 2 * JULIAN_YEAR)

    got = reliability(score_held_out(signals, noise))

    # From a bin with a single noise event on, nothing more is tested.
    assert got.promised.max() > 0.3
    assert np.mean(np.abs(got.deviations) > 2) < 0.2
    assert model(signals, noise).p_astro(9.0) > got.promised.max()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dt": 0.0}, "dt cannot be used"),
        ({"rates": {}}, "rates cannot be used"),
        ({"rates": {"burst": 1.0}}, "rates cannot be used"),
        ({"rates": {"BBH": 0.0}}, "rates cannot be used"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(searched, changes, message):
    """Before any file is read."""
    with pytest.raises(AframeError, match=message):
        settings_for(searched, **changes)


def test_a_class_that_the_prior_does_not_draw_is_no_class(searched):
    """Rates of neutron stars alone say nothing of injected black holes."""
    with pytest.raises(AframeError, match="the injections are of no class that has a rate"):
        run(searched, rates={"BNS": 100.0})


def test_an_unknown_prior_is_refused_before_anything_runs(searched):
    """As `check` asks."""
    refuse_unknown_prior(settings_for(searched))
    with pytest.raises(AframeError, match="there is no such prior"):
        refuse_unknown_prior(settings_for(searched, source_prior="nowhere"))


def test_files_of_another_search_are_refused(searched):
    """Injections of another prior have other weights."""
    ledger = read_ledger(searched.foreground)
    ledger.metadata["prior"] = "end_o3_ratesandpops"
    write_ledger(searched.foreground, ledger)

    assert load_prior("end_o3_ratesandpops")
    with pytest.raises(AframeError, match="is of another search"):
        run(searched)


def test_same_inputs_give_the_same_bytes(searched):
    """The halves are drawn from a fixed seed."""
    run(searched)
    first = (searched.folder / OUTPUT).read_bytes()
    run(searched)

    assert (searched.folder / OUTPUT).read_bytes() == first
