"""The verb `tune`, with real trainings: a search in, an ordinary training out."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from aframe.artifacts.preprocessing import Preprocessing
from aframe_train.cli import VERBS, main
from aframe_train.tune.results import PUBLISHES as WRITTEN
from aframe_train.tune.search import _what_decides, foresee, resolve
from aframe_train.tune.trials import claim
from aframe_train.tune.verb import PUBLISHES

SEARCH = """
space: {model.learning_rate: "loguniform(1e-3, 1e-2)", data.mixture.batch_size: "choice([8, 16])"}
num_samples: 2
"""


def settings(path, config, data_dir, small, **changes):
    """Write a settings file of a small search; give its words on the command line."""
    (path / "tune.yaml").write_text(SEARCH)
    content = {
        "inputs": {
            "background": f"{data_dir}/background",
            "training_waveforms": f"{data_dir}/training_waveforms.hdf5",
            "validation_waveforms": f"{data_dir}/val_waveforms.hdf5",
            "train_config": str(config),
            "tune_config": str(path / "tune.yaml"),
        },
        "output": str(path / "out"),
        "ifos": list(small.IFOS),
        "seed": 4,
        **small.PREPROCESSING,
        **changes,
    }
    file = path / "settings.json"
    file.write_text(json.dumps(content))
    return ["aframe-train", "tune", "--config", str(file)]


@pytest.mark.xdist_group("ray")
def test_the_best_trial_is_an_ordinary_training(
    config, data_dir, small, tmp_path, monkeypatch, capsys
):
    """All that export and inference read, and its settings as a difference to the base."""
    pictures = "  callbacks:\n    - {class_path: aframe_train.extremes.Extremes}\n"
    text = config.read_text().replace("  callbacks:\n", pictures)
    config.write_text(text.replace("max_epochs: 3", "max_epochs: 2"))
    kept = {"storage_dir": str(tmp_path / "kept"), "name": "first"}
    monkeypatch.setattr(sys, "argv", settings(tmp_path, config, data_dir, small, resources=kept))

    assert main() == 0

    out = tmp_path / "out"
    assert {path.name for path in out.iterdir() if path.name[0] != "."} == {
        *PUBLISHES, "tune.record.json", "validation"
    }  # fmt: skip
    assert torch.jit.load(out / "model.pt")(torch.zeros(3, 2, 256)).shape == (3, 1)
    assert Preprocessing.read(out / "preprocessing.json").ifos == ("H1", "L1")
    trials = json.loads((out / "trials.json").read_text())
    assert {path.name for path in (out / "validation").iterdir()} == {
        "epoch-0001.png", "epoch-0002.png"
    }  # fmt: skip
    # Who repeats it by hand does not write into the trial's directory.
    assert str(tmp_path / "kept") not in (out / "config.yaml").read_text()
    rows = list(csv.DictReader((out / "trials.csv").open()))
    assert [row["trial"] for row in rows] == ["0", "1"]
    best = trials["trials"][trials["best"]]
    assert best["status"] == "finished"
    assert best["score"] == max(each["score"] for each in trials["trials"])
    metrics = list(csv.DictReader((out / "metrics.csv").open()))
    assert [float(row["valid_auroc"]) for row in metrics] == best["scores"]
    # Its settings, on top of the base, are the configuration that it was trained with.
    tried = yaml.safe_load((out / "best.yaml").read_text())
    assert tried["model"]["init_args"]["learning_rate"] == best["settings"]["model.learning_rate"]
    trained = yaml.safe_load((out / "config.yaml").read_text())
    repeated = resolve(["--config", str(config), "--config", str(out / "best.yaml")])
    for part in ("arch", "learning_rate", "weight_decay"):
        assert repeated["model"]["init_args"][part] == trained["model"]["init_args"][part]
    assert repeated["data"]["init_args"]["mixture"] == trained["data"]["init_args"]["mixture"]
    record = json.loads((out / "tune.record.json").read_text())
    assert record["notes"]["best_trial"] == trials["best"]
    assert record["notes"]["trials"] in ({"finished": 2}, {"finished": 1, "stopped": 1})
    assert "ray" in record["versions"]
    said = capsys.readouterr().err
    assert "2 trials side by side" in said or "1 trials side by side" in said

    # The trials stay in the storage: made anew, the same comes out without any training.
    shutil.rmtree(out)
    again = [*sys.argv]
    monkeypatch.setattr(sys, "argv", again)
    before = (Path(kept["storage_dir"]) / "first" / "trial-0000" / "trial.json").stat().st_mtime_ns
    assert main() == 0
    after = (Path(kept["storage_dir"]) / "first" / "trial-0000" / "trial.json").stat().st_mtime_ns
    assert before == after
    assert json.loads((out / "trials.json").read_text()) == trials


def test_trials_of_an_output_on_s3_outlive_the_machine(
    bucket, config, data_dir, small, tmp_path, monkeypatch, capsys
):
    """They are kept in the draft there, and a search that resumes elsewhere is the same one."""
    bucket.put(data_dir, "data")
    address = {"output": f"{bucket.address}/out"}
    words = settings(tmp_path, config, f"{bucket.address}/data", small, **address)
    monkeypatch.setattr(sys, "argv", words)
    found = []

    def ended(plan):
        claim(plan.storage, _what_decides(plan))
        found.append(plan.storage.address)
        raise KeyboardInterrupt

    monkeypatch.setattr("aframe_train.tune.search.run", ended)
    assert main() == 130
    monkeypatch.setenv("AFRAME_CACHE_DIR", str(tmp_path / "other machine"))
    monkeypatch.setattr("aframe_train.tune.search.run", lambda plan: (foresee(plan), ended(plan)))
    assert main() == 130, capsys.readouterr().err

    assert found == 2 * [f"{bucket.address}/out/.draft-tune/.work/trials"]
    assert "out/.draft-tune/.work/trials/search.json" in bucket.names()


def test_another_search_in_the_same_storage_is_refused(
    config, data_dir, small, tmp_path, monkeypatch, capsys
):
    """Its trials are not ours; status 2, and no trial begins."""
    kept = {"storage_dir": str(tmp_path / "kept")}
    (tmp_path / "kept" / "tune").mkdir(parents=True)
    (tmp_path / "kept" / "tune" / "search.json").write_text('{"space": {}}')
    monkeypatch.setattr(sys, "argv", settings(tmp_path, config, data_dir, small, resources=kept))

    assert main() == 2

    assert "the storage holds the trials of another search" in capsys.readouterr().err


def test_the_verb_publishes_what_it_says():
    """The table of verbs, the verb and what writes the files agree."""
    verb = VERBS[1]

    assert verb.name == "tune"
    assert verb.publishes == PUBLISHES == WRITTEN
    assert verb.summary.startswith("Search for the settings of the training")


def test_a_wrong_search_is_refused_first(config, data_dir, small, tmp_path, monkeypatch, capsys):
    """Before anything heavy is loaded."""
    words = settings(tmp_path, config, data_dir, small)
    (tmp_path / "tune.yaml").write_text("num_samples: 3\n")
    monkeypatch.setattr(sys, "argv", words)

    assert main() == 2

    assert "the configuration of the search cannot be used" in capsys.readouterr().err
