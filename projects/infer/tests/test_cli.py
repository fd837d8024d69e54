"""The command as a user types it."""

import json

from aframe_infer import cli


def test_searches_by_a_settings_file(settings, tmp_path, monkeypatch, capsys):
    """Files in, events and record out; a second call finds nothing to do."""
    content = {
        "inputs": {name: str(path) for name, path in vars(settings.inputs).items()},
        "output": str(settings.output),
        "ifos": ["H1", "L1"],
        "sample_rate": 256,
        "Tb": 150,
        "batch_size": 4,
        "psd_length": 4,
        "shifts": [0, 1],
    }
    (tmp_path / "settings.json").write_text(json.dumps(content))
    words = ["aframe-infer", "infer", "--config", str(tmp_path / "settings.json")]
    monkeypatch.setattr("sys.argv", words)

    assert cli.main() == 0
    assert cli.main() == 0

    record = json.loads((settings.output / "infer.record.json").read_text())
    assert set(record["outputs"]) == {
        "background.hdf5",
        "foreground.hdf5",
        "examples.hdf5",
        "0lag.hdf5",
        "candidates.hdf5",
    }
    assert record["notes"]["calibration"]["injections"] > 0
    assert "nothing to do" in capsys.readouterr().err


def test_refuses_in_the_house_format(settings, monkeypatch, capsys):
    """Exit status 2, no traceback, nothing written."""
    words = ["aframe-infer", "infer", "--output", str(settings.output), "--Tb", "0"]
    words += ["--inputs.model_repository", "a", "--inputs.background", "b"]
    words += ["--inputs.injections", "c", "--ifos", '["H1","L1"]', "--sample_rate", "256"]
    monkeypatch.setattr("sys.argv", words)

    assert cli.main() == 2

    assert "contradict themselves" in capsys.readouterr().err
    assert not settings.output.exists()
