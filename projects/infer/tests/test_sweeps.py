"""Slides of a network that is swept, against the same network kernel by kernel."""

import shutil

import h5py
import numpy as np
import pytest
import torch

from aframe.artifacts.strain import list_strain
from aframe.draft import Draft
from aframe_infer import inference, slides
from aframe_infer.injections import read_injections
from aframe_infer.kernels import write_blocks
from aframe_infer.repository import read_repository
from aframe_infer.slides import Branch, Search, analyze
from aframe_infer.sweeps import load_sweep

IFOS, RATE = ("H1", "L1"), 256
CPU = torch.device("cpu")


class Parts(torch.nn.Module):
    """Power of each detector's edges, frame by frame, and the loudest frame of both."""

    def __init__(self):
        super().__init__()
        layers = [torch.nn.Conv1d(1, 4, 16, 8), torch.nn.Tanh(), torch.nn.Conv1d(4, 3, 3)]
        self.single = torch.nn.Sequential(*layers)
        self.together = torch.nn.Sequential(
            torch.nn.Flatten(1, 2), torch.nn.Conv1d(6, 5, 1), torch.nn.ReLU(),
            torch.nn.AdaptiveMaxPool1d(1), torch.nn.Flatten(), torch.nn.Linear(5, 1),
        )  # fmt: skip

    def forward(self, kernels):
        """Score kernels one by one."""
        features = self.single(kernels.reshape(-1, 1, kernels.shape[-1]))
        return self.together(features.reshape(-1, 2, *features.shape[1:]))


@pytest.fixture(scope="module")
def swept_search(model_repository, tmp_path_factory):
    """A search with this network, exported as the others are."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("swept") / "model_repo"
    shutil.copytree(model_repository, root)
    script = torch.jit.trace(Parts().eval(), torch.zeros(1, len(IFOS), RATE))
    torch.jit.save(script, root / "aframe" / "1" / "model.pt")
    return Search(read_repository(root, -1), 1.5, 8.0, keep_scores=True, device="cpu")


@pytest.fixture(scope="module")
def work(data, swept_search, tmp_path_factory):
    """Scratch with the whitened background."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "background").mkdir()
    (file,) = list_strain(data.background, IFOS)
    for ifo in IFOS:
        write_blocks(swept_search.repository, file, ifo, folder / "background", CPU)
    return folder


@pytest.mark.parametrize("shifts", [(0.0, 1.0), (0.0, 2.25)])
@pytest.mark.parametrize("stretch", [slides.STRETCH, 160])
def test_a_slide_has_the_scores_of_its_kernels(
    data, swept_search, work, monkeypatch, shifts, stretch
):
    """With injections and without, wherever the shift puts the borders of the blocks."""
    known = read_injections(data.injections, IFOS, float(RATE))
    (file,) = list_strain(data.background, IFOS)
    (rows,) = np.nonzero((known.shift == (0.0, 1.0)).all(axis=1))
    branch = Branch(file, shifts, rows, "background")
    monkeypatch.setattr(slides, "STRETCH", stretch)
    scores = {}
    for how in ("swept", "windows"):
        analyze(swept_search, branch, known, work)
        with h5py.File(work / branch.name) as found:
            names = ("background", "foreground")
            scores[how] = np.stack([found[f"{name}/scores"][:] for name in names])
        monkeypatch.setattr(slides, "load_sweep", lambda *_: None)

    assert np.abs(scores["swept"][1] - scores["swept"][0]).max() > 0.03
    np.testing.assert_allclose(scores["swept"], scores["windows"], rtol=1e-5, atol=1e-6)


def test_a_network_of_one_part_is_not_swept(repository):
    """It is scored kernel by kernel."""
    assert load_sweep(repository, CPU) is None


def test_a_search_that_is_swept_tries_no_engine(swept_search, tmp_path):
    """And says in its record that it was."""
    draft = Draft(tmp_path)
    assert inference.choose_engine(swept_search, [], draft) == "torchscript"
    assert draft.notes["engine"] == {"name": "sweep", "device": "cpu", "step": 8}
