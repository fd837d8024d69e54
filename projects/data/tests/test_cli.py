"""The command, as a user types it."""

from __future__ import annotations

import io
import json

import pytest

from aframe.artifacts.ledger import read_metadata
from aframe.artifacts.record import read_record
from aframe.artifacts.segments import read_segments
from aframe.artifacts.strain import list_strain
from aframe.program import main
from aframe_data import cli
from aframe_data.cli import VERBS

SOURCE = {"kind": "simulated", "psds": dict.fromkeys(("H1", "L1"), "aLIGOO3LowT1800545")}
WAVEFORMS = {
    "num_signals": 6,
    "prior": "aframe.priors.log_uniform_bbh",
    "waveform_approximant": "IMRPhenomD",
    "waveform_duration": 4,
    "right_pad": 1,
    "minimum_frequency": 20,
    "reference_frequency": 50,
    "sample_rate": 512,
    "seed": 3,
}
SIGNALS = {**WAVEFORMS, "ifos": ["H1", "L1"], "snr_threshold": 4, "highpass": 32, "lowpass": None}


def aframe_data(verb, directory, **settings):
    """Run a verb with a settings file."""
    path = directory / f"{verb}.json"
    path.write_text(json.dumps({"output": str(directory / "out"), **settings}))
    return main("data", VERBS, [verb, "--config", str(path)])


def test_verbs_follow_one_another(tmp_path):
    """From nothing to injections, each with its record; a second time there is nothing to do."""
    out = tmp_path / "out"
    strain, segments = str(out / "background"), str(out / "segments.txt")
    steps = {
        "query": {
            "ifos": ["H1", "L1"], "source": SOURCE, "start": 1.2e9, "stop": 1200000300,
            "min_duration": 100,
        },
        "fetch": {
            "ifos": ["H1", "L1"], "source": SOURCE, "sample_rate": 512, "seed": 3,
            "max_duration": 200, "inputs": {"segments": segments},
            "resources": {"workers": 2, "device": "auto"},
        },
        "training_waveforms": WAVEFORMS,
        "validation_waveforms": {**SIGNALS, "inputs": {"background": strain}},
        "testing_waveforms": {
            **SIGNALS, "inputs": {"segments": segments, "background": strain}, "shifts": [0, 1],
            "spacing": 8, "buffer": 4, "jitter": 0.1, "psd_length": 8,
        },
    }  # fmt: skip

    assert [aframe_data(verb, tmp_path, **settings) for verb, settings in steps.items()] == [0] * 5

    assert read_segments(out / "segments.txt") == [(1.2e9, 1.2e9 + 300)]
    assert [file.duration for file in list_strain(out / "background", ("H1", "L1"))] == [150, 150]
    for name in ("training_waveforms", "val_waveforms", "waveforms"):
        assert read_metadata(out / f"{name}.hdf5")["length"] == 6
    digests = {verb: read_record(out / f"{verb}.record.json").outputs for verb in steps}
    assert "rejected-parameters.hdf5" in digests["testing_waveforms"]
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.hdf5")}
    assert aframe_data("testing_waveforms", tmp_path, **steps["testing_waveforms"]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.hdf5")} == times


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": {**SOURCE, "psd": {}}}, "did you mean psds?"),
        ({"source": {"kind": "tape", "paths": []}}, "the kinds are simulated, files"),
        ({"source": "gwosc"}, "the kinds are simulated, files"),
        ({"sauce": SOURCE}, "sauce"),
    ],
)
def test_an_unknown_key_is_refused(tmp_path, capsys, settings, message):
    """With exit status 2 and the setting's name."""
    plain = {"ifos": ["H1"], "source": SOURCE, "start": 1.2e9, "stop": 1.3e9}

    status = aframe_data("query", tmp_path, **{**plain, **settings})

    assert status == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 4


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_help_tells_every_setting(verb, capsys):
    """With a description each."""
    with pytest.raises(SystemExit):
        main("data", VERBS, [verb, "--help"])

    said = capsys.readouterr().out
    assert "--output" in said
    assert "(type: " in said


def test_the_command_knows_its_verbs(monkeypatch, capsys):
    """As installed."""
    monkeypatch.setattr("sys.argv", ["aframe-data", "--help"])

    with pytest.raises(SystemExit):
        cli.main()

    said = capsys.readouterr().out
    assert all(verb.name in said for verb in VERBS)


def test_check_tells_a_wrong_name_while_there_is_nothing_to_read(tmp_path, monkeypatch, capsys):
    """An approximant that does not exist, of a step whose strain is still to be made."""
    step = {**SIGNALS, "output": str(tmp_path / "out"), "inputs": {"background": "/nowhere"}}
    good, wrong = step, {**step, "waveform_approximant": "IMRPhenomZZ"}
    steps = [["validation_waveforms", each] for each in (good, wrong)]
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(steps)))

    assert main("data", VERBS, ["check"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["step"], told["found"]) == (1, "IMRPhenomZZ")
    assert not (tmp_path / "out").exists()
