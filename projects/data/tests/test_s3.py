"""The data stage with its output on S3, on machines that come and go."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from aframe.artifacts.ledger import read_ledger
from aframe.artifacts.remote import cache_directory
from aframe.artifacts.segments import Segment, write_segments
from aframe.artifacts.strain import list_strain, read_strain
from aframe.program import main
from aframe_data import fetch, injections, training
from aframe_data.cli import VERBS

SOURCE = {"kind": "simulated", "psds": dict.fromkeys(("H1", "L1"), "aLIGOO3LowT1800545")}
WAVEFORMS = {
    "num_signals": 12,
    "prior": "log_uniform_bbh",
    "waveform_approximant": "IMRPhenomD",
    "waveform_duration": 2,
    "right_pad": 1,
    "sample_rate": 512,
}
STRAIN = {"ifos": ["H1", "L1"], "source": SOURCE, "sample_rate": 256, "max_duration": 4}


class KilledError(BaseException):
    """Stands for what ends a process."""


class Branches:
    """The function of a verb's branches, which counts them and dies in one when told to.

    Args:
        function: The real one.
        bucket: The store, which has what the branches before made when this one dies.
        pattern: What stands in the names of those.
    """

    def __init__(self, function, bucket, pattern):
        self.function, self.bucket, self.pattern = function, bucket, pattern
        self.done, self.dies_in = 0, None

    def __call__(self, *branch):
        """Do one."""
        if self.done == self.dies_in:
            end = time.monotonic() + 300
            while sum(self.pattern in name for name in self.bucket.names()) < self.done:
                assert time.monotonic() < end, self.bucket.names()
                time.sleep(0.01)
            raise KilledError
        self.function(*branch)
        self.done += 1


@pytest.fixture(params=["training_waveforms", "fetch"])
def step(request, bucket, tmp_path, monkeypatch):
    """A verb of four branches, its settings, and the function of these."""
    monkeypatch.setattr(injections, "BRANCH", 3)
    if request.param == "fetch":
        write_segments(tmp_path / "segments.txt", [Segment(1e9, 1e9 + 16)])
        asked = {**STRAIN, "inputs": {"segments": str(tmp_path / "segments.txt")}}
        module, name, pattern = fetch, "fetch_piece", "background/background-"
    else:
        asked, module, name = WAVEFORMS, training, "write_polarizations"
        pattern = ".work/branch-"
    branches = Branches(getattr(module, name), bucket, pattern)
    monkeypatch.setattr(module, name, branches)

    def run(output):
        path = tmp_path / "settings.json"
        path.write_text(json.dumps({**asked, "output": output}))
        return main("data", VERBS, [request.param, "--config", str(path)])

    return run, branches


def content(output: Path):
    """All samples of an output."""
    if (output / "background").exists():
        files = list_strain(output / "background", ("H1", "L1"))
        return [read_strain(file, ("H1", "L1")) for file in files]
    return list(read_ledger(output / "training_waveforms.hdf5").waveforms.values())


def test_a_killed_verb_goes_on_on_an_empty_machine(step, bucket, tmp_path):
    """With the branches that are there; nothing of the draft stays, and all is as without S3."""
    run, branches = step
    branches.dies_in = 2
    with pytest.raises(KilledError):
        run(f"{bucket.address}/out")
    shutil.rmtree(cache_directory())
    branches.dies_in, branches.done = None, 0

    assert run(f"{bucket.address}/out") == 0

    assert branches.done == 2
    assert not any(".draft" in name for name in bucket.names())
    assert run(str(tmp_path / "here")) == 0
    mine = cache_directory() / bucket.name / "out"
    assert all(
        (a == b).all() for a, b in zip(content(mine), content(tmp_path / "here"), strict=True)
    )
