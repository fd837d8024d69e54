"""A search whose branches are done by jobs elsewhere is the search done here."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from aframe.artifacts.record import file_digest
from aframe.branches import Dealt, main
from aframe.draft import Deal, Draft
from aframe.errors import AframeError
from aframe_infer import engines, inference, slides
from aframe_infer.engines import EACH, PLAIN
from aframe_infer.inference import infer
from aframe_infer.kernels import write_blocks
from aframe_infer.settings import InferResources

FILES = ("background.hdf5", "foreground.hdf5", "0lag.hdf5", "candidates.hdf5")


@pytest.fixture
def dealt(settings, tmp_path):
    """Deal a search to jobs until it is done; gives its draft and the units that were dealt."""

    def search(do, **resources):
        asked = dataclasses.replace(
            settings, resources=InferResources(deal=tmp_path / "deal", **resources)
        )
        inputs = {
            f"inputs.{field.name}": getattr(settings.inputs, field.name)
            for field in dataclasses.fields(settings.inputs)
        }
        roots = {"output": tmp_path / "dealt", **inputs}
        draft = Draft(tmp_path / "dealt", deal=Deal(tmp_path / "deal", roots))
        units = []
        while True:
            try:
                infer(asked, draft)
            except Dealt as waiting:
                told = json.loads(waiting.table.with_suffix(".json").read_text())
                units.append(told["unit"])
                do(waiting.table, told)
            else:
                return draft, units

    return search


def _all_rows(table, told):
    main("infer", ["--table", str(table), "--rows", f"0-{told['count'] - 1}"])


def _digests(draft):
    return {name: file_digest(draft.path / name) for name in FILES}


@pytest.fixture
def here(settings, tmp_path):
    """Digests of the search done in this process."""
    draft = Draft(tmp_path / "here")
    infer(settings, draft)
    return _digests(draft)


def test_jobs_make_the_same_events(dealt, here):
    """Whitening is dealt, then the slides, and the events are to the bit those of a search here."""
    draft, units = dealt(_all_rows)

    assert units == ["detectors whitened", "slides of segments"]
    assert _digests(draft) == here


def test_a_job_needs_no_more_than_it_is_said_to_read(dealt, here, tmp_path):
    """Each row is done in a folder that holds what it reads and nothing else of the run."""

    def job(table, told):
        for row in range(told["count"]):
            place = tmp_path / f"job-{row}-{table.stem}"
            for root, below in told["reads"][row]:
                source, copy = Path(told["roots"][root]) / below, place / root / below
                copy.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)
            roots = [
                word for root in told["roots"] for word in ("--root", f"{root}={place / root}")
            ]
            main("infer", ["--table", str(table), "--rows", str(row), *roots])
            for root, below in told["writes"][row]:
                target = Path(told["roots"][root]) / below
                (place / root / below).rename(target)

    draft, _ = dealt(job)

    assert _digests(draft) == here


def test_jobs_with_a_gpu_find_their_own_engine(dealt, monkeypatch):
    """Where the dealing machine has no GPU it cannot choose for them, and the record says so."""
    chosen = []

    # A stand-in for the GPU: the jobs' tensors stay on the processor.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(inference, "write_blocks", _whiten_on_cpu)
    monkeypatch.setattr(inference, "analyze", _analyze_on_cpu)
    monkeypatch.setattr(engines, "_settled", {})
    monkeypatch.setattr(
        slides, "settle_here", lambda _network, device, *_: chosen.append(device) or PLAIN
    )

    draft, _ = dealt(_all_rows, device="cuda")

    assert draft.notes["engine"] == {"name": EACH, "device": "cuda"}
    assert set(chosen) == {"cpu"}
    assert (draft.path / "background.hdf5").exists()


def _whiten_on_cpu(repository, file, ifo, work, device):
    assert device.type == "cuda"
    write_blocks(repository, file, ifo, work, torch.device("cpu"))


def _analyze_on_cpu(search, *branch):
    assert (search.device, search.engine) == ("cuda", EACH)
    slides.analyze(dataclasses.replace(search, device="cpu"), *branch)


def test_a_process_finds_its_engine_once(repository, monkeypatch):
    """The branches of one job share what the first of them tried."""
    tried = []
    monkeypatch.setattr(engines, "_settled", {})
    monkeypatch.setattr(
        engines, "_choose", lambda *_: tried.append(1) or {"name": PLAIN, "device": "cpu"}
    )

    names = [engines.settle_here(repository, "cpu", lambda: None, 10) for _ in range(3)]

    assert names == [PLAIN] * 3
    assert len(tried) == 1


def test_refuses_a_server_that_jobs_cannot_reach(settings, tmp_path):
    """A server of the dealing machine's own answers no job on another."""
    asked = dataclasses.replace(
        settings, resources=InferResources(deal=tmp_path / "deal", server="local")
    )

    with pytest.raises(AframeError, match="jobs on other machines cannot ask a server") as caught:
        inference._refuse_unreachable(asked.resources)

    assert caught.value.found == "server local"
    inference._refuse_unreachable(dataclasses.replace(asked.resources, server="node3:8001"))
