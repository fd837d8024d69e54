"""Strain and waveforms whose branches jobs make elsewhere are those made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from aframe.artifacts.record import read_record
from aframe.branches import DEALT
from aframe.program import main
from aframe_data.cli import VERBS

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


@pytest.fixture
def run(tmp_path):
    """Run a verb in a folder of the test's."""

    def verb_in(folder, verb, deal, **settings):
        path = tmp_path / f"{verb}.json"
        resources = {"resources": {"deal": str(tmp_path / "deal") if deal else None}}
        path.write_text(json.dumps({"output": str(tmp_path / folder), **settings, **resources}))
        return main("data", VERBS, [verb, "--config", str(path)])

    return verb_in


def _done_apart(table: Path, scratch: Path) -> None:
    """Do each row of a table in a folder that holds what it reads, and nothing else."""
    told = json.loads(table.with_suffix(".json").read_text())
    roots = {name: Path(path) for name, path in told["roots"].items()}
    for row in range(told["count"]):
        place = scratch / f"job-{row}"
        for root, below in told["reads"][row]:
            copy = place / root / below
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(roots[root] / below, copy)
        here = [word for root in roots for word in ("--root", f"{root}={place / root}")]
        assert (
            main("data", VERBS, ["branches", "--table", str(table), "--rows", str(row), *here]) == 0
        )
        for root, below in told["writes"][row]:
            target = roots[root] / below
            target.parent.mkdir(parents=True, exist_ok=True)
            (place / root / below).rename(target)


@pytest.fixture
def steps(tmp_path, real_strain):
    """Each verb of branches, on real strain, with what comes before it."""
    segments, strain = str(tmp_path / "here/segments.txt"), str(tmp_path / "here/background")
    source = {"kind": "files", "paths": [str(path) for path in real_strain]}
    shared = {"ifos": ["H1", "L1"], "source": source}
    return {
        "query": {**shared, "start": None, "stop": None, "min_duration": 10},
        "fetch": {
            **shared, "sample_rate": 512, "seed": 3, "max_duration": 20,
            "inputs": {"segments": segments},
        },
        "training_waveforms": WAVEFORMS,
        "validation_waveforms": {**SIGNALS, "inputs": {"background": strain}},
        "testing_waveforms": {
            **SIGNALS, "inputs": {"segments": segments, "background": strain}, "num_signals": 2,
            "shifts": [0, 1], "spacing": 4, "buffer": 2, "jitter": 0.1, "psd_length": 4,
        },
    }  # fmt: skip


def test_jobs_make_what_is_made_here(tmp_path, steps, run):
    """Every verb of branches, dealt to jobs that see nothing of the run, gives the same bytes."""
    for verb, settings in steps.items():
        assert run("here", verb, deal=False, **settings) == 0
        assert run("dealt", verb, deal=True, **settings) == DEALT
        _done_apart(tmp_path / "deal/0.table", tmp_path / "scratch" / verb)
        assert run("dealt", verb, deal=True, **settings) == 0
        shutil.rmtree(tmp_path / "deal")

        records = [
            read_record(tmp_path / folder / f"{verb}.record.json") for folder in ("here", "dealt")
        ]
        assert records[0].outputs == records[1].outputs, verb
        assert records[0].digest == records[1].digest, verb
