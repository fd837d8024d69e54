"""`python -m train`, the published spelling."""

import sys

import pytest

from train.__main__ import main


@pytest.mark.parametrize("subcommand", [[], ["fit"]])
def test_errors_come_without_a_traceback(subcommand, config, tmp_path, monkeypatch, capsys):
    """With and without the subcommand, exit status 2 and our format."""
    words = ["--config", str(config), "--data.ifos=[H1]", f"--data.data_dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["train", *subcommand, *words])

    assert main() == 2
    assert capsys.readouterr().err.splitlines()[-4:-2] == [
        "train: error: there is no strain",
        f"  found      no *.hdf5 in {tmp_path}/background",
    ]


def test_a_training_ends_well(config, data_dir, small, tmp_path, monkeypatch):
    """Exit status 0, and the files where the logger writes."""
    words = [f"--data.{name}={value}" for name, value in small.PREPROCESSING.items() if value]
    monkeypatch.setattr(
        sys,
        "argv",
        ["train", "--config", str(config), "--data.ifos=[H1,L1]", "--data.data_dir", str(data_dir),
         f"--trainer.logger.save_dir={tmp_path}", "--trainer.max_epochs=1", *words],
    )  # fmt: skip

    assert main() == 0
    assert (tmp_path / "model.pt").exists()
