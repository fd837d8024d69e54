"""The command `aframe-sv`."""

import io
import json
import sys

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from aframe.artifacts.record import read_record
from aframe_sv import cli


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Run the command with these settings."""

    def run(verb, **settings):
        path = tmp_path / f"{verb}.json"
        path.write_text(json.dumps(settings, default=str))
        monkeypatch.setattr(sys, "argv", ["aframe-sv", verb, "--config", str(path)])
        return cli.main()

    return run


def estimate_settings(search, output):
    """Settings as a task writes them."""
    names = ("background", "foreground", "rejected_parameters")
    return {
        "inputs": {name: getattr(search, name) for name in names},
        "output": output,
        "resources": {"workers": 2, "device": "cpu"},
        "ifos": ["H1", "L1"],
        "mass_combos": [[35, 35], [35, 20]],
        "source_prior": "log_uniform_bbh",
        "dt": 1.0,
        "max_far": 100000.0,
        "sigma": 0.1,
        "legacy_redshift": False,
    }


def test_estimate_publishes_volumes_with_their_record(command, search, tmp_path):
    """The file, and what made it."""
    out = tmp_path / "plots"

    assert command("estimate", **estimate_settings(search, out)) == 0

    record = read_record(out / "estimate.record.json")
    assert list(record.outputs) == ["sensitive_volume.h5"]
    assert record.settings["mass_combos"] == [[35, 35], [35, 20]]
    assert set(record.inputs) == {"background", "foreground", "rejected_parameters"}
    assert record.notes["35-20"]["draws"] == 12_000


def test_challenge_publishes_distances(command, tmp_path):
    """Settings of one data set of the challenge, without its strain."""
    names = ("foreground", "background", "injections")
    rng, files = np.random.default_rng(0), {name: tmp_path / f"{name}.hdf" for name in names}
    time, mass = np.arange(1, 301) * 27.0, np.full(300, 1.4)
    columns = {"time": time, "stat": rng.normal(size=300), "var": np.full(300, 0.2)}
    drawn = {"tc": time, "distance": rng.uniform(130, 350, 300), "mass1": mass, "mass2": mass}
    for name, content in zip(names, (columns, columns, drawn), strict=True):
        with h5py.File(files[name], "w") as file:
            for key, values in content.items():
                file[key] = values
    inputs = {
        "foreground_events": files["foreground"],
        "background_events": files["background"],
        "injections": files["injections"],
        "foreground": None,
    }
    out = tmp_path / "out"

    assert command("challenge", inputs=inputs, output=out, bootstraps=2, false_alarms=[10]) == 0
    assert list(read_record(out / "challenge.record.json").outputs) == ["challenge.hdf5"]


def test_report_takes_null_inputs_and_records(command, inputs, records, tmp_path, monkeypatch):
    """As a task writes it: null where nothing was made, records beside the resources."""
    # How its figures are drawn is no matter here.
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"<svg/>"))
    out = tmp_path / "results"
    given = {**vars(inputs), "zero_lag": None, "candidates": None}

    status = command(
        "report",
        inputs=given,
        output=out,
        title="My run",
        resources={"workers": 1, "device": "auto", "records": [str(path) for path in records]},
    )

    assert status == 0
    assert "<h1>My run</h1>" in (out / "report.html").read_text()
    record = read_record(out / "report.record.json")
    assert "zero_lag" not in record.inputs
    assert record.settings == {"title": "My run"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mass_combos": [[20, 35]]}, "the heavier first"),
        ({"unknown": 1}, "unknown"),
        ({"source_prior": "no_such_prior"}, "no_such_prior"),
    ],
)
def test_errors_are_said_without_a_traceback(command, search, tmp_path, capsys, changes, words):
    """Exit status 2, the problem and the fix, and nothing published."""
    out = tmp_path / "plots"

    assert command("estimate", **{**estimate_settings(search, out), **changes}) == 2

    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (out / "sensitive_volume.h5").exists()


def test_help_describes_every_setting(monkeypatch, capsys):
    """Units and meaning come from the docstrings."""
    monkeypatch.setattr(sys, "argv", ["aframe-sv", "estimate", "--help"])
    with pytest.raises(SystemExit):
        cli.main()

    said = " ".join(capsys.readouterr().out.split())
    assert "Largest false alarm rate to report (1/yr)" in said
    assert "heavier first" in said


TIED = """
from bilby.core.prior import Constraint
from aframe.priors import log_uniform_bbh

def spinning():
    prior, frame = log_uniform_bbh()
    prior["chi"] = Constraint(0.1, 0.5, name="chi")
    prior.conversion_function = lambda one: {
        **one, "mass_ratio": one["mass_2"] / one["mass_1"], "chi": one["chi_1"] + one["chi_2"]
    }
    return prior, frame
"""


@pytest.mark.parametrize(
    ("prior", "words"), [("nosuch", "nosuch"), ("tied.spinning", "do not tell mass_ratio, chi,")]
)
def test_check_tells_a_prior_that_cannot_weigh(search, monkeypatch, capsys, tmp_path, prior, words):
    """One that there is not, or whose masses depend on more; before there are events."""
    (tmp_path / "tied.py").write_text(TIED)
    monkeypatch.syspath_prepend(tmp_path)
    settings = {**estimate_settings(search, tmp_path / "plots"), "source_prior": prior}
    steps = json.dumps([["estimate", settings]], default=str)
    monkeypatch.setattr(sys, "argv", ["aframe-sv", "check"])
    monkeypatch.setattr("sys.stdin", io.StringIO(steps))

    assert cli.main() == 2
    assert words in json.loads(capsys.readouterr().out)["found"]
