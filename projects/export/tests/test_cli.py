"""The command as a user types it."""

import json
import subprocess
import sys

import pytest

from aframe_export import cli


@pytest.fixture
def config(settings, tmp_path):
    """Write a settings file."""
    content = {
        "inputs": {name: str(path) for name, path in vars(settings.inputs).items()},
        "output": str(settings.output),
        "ifos": ["H1", "L1"],
        "sample_rate": 256,
        "kernel_length": 1,
        "fduration": 0.5,
        "highpass": 20,
        "batch_size": 8,
        "psd_length": 4,
    }
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(content))
    return path


def test_exports_by_a_settings_file(settings, config, monkeypatch, capsys):
    """Files in, repository and record out; a second call finds nothing to do."""
    monkeypatch.setattr("sys.argv", ["aframe-export", "export", "--config", str(config)])

    assert cli.main() == 0
    assert cli.main() == 0

    record = json.loads((settings.output / "export.record.json").read_text())
    assert "model_repo/aframe-stream/1/model.onnx" in record["outputs"]
    assert "parity" in record["notes"]
    assert "nothing to do" in capsys.readouterr().err


def test_every_run_gives_the_same_bytes(config, tmp_path):
    """In a process of its own, as TorchScript numbers the classes that a process made."""
    digests = []
    for name in ("one", "other"):
        program = "import aframe_export.cli as cli; raise SystemExit(cli.main())"
        output = tmp_path / name
        words = ["export", "--config", str(config), "--output", str(output)]
        subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True)
        digests.append(json.loads((output / "export.record.json").read_text())["outputs"])

    assert digests[0] == digests[1]
    assert len(digests[0]) == 15
