"""Pictures of the hardest signals and the loudest background."""

from types import SimpleNamespace

import matplotlib as mpl
import pytest
import torch
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerPatch
from matplotlib.lines import Line2D
from PIL import Image

from aframe_train.callbacks import batch_size
from aframe_train.extremes import Extremes, draw, own_style, save
from aframe_train.runs import SentCheckpoints
from aframe_train.validation import ValidationBatch


@pytest.fixture
def trainer(tmp_path):
    """As much of a trainer as the callback looks at."""
    return SimpleNamespace(
        sanity_checking=False,
        current_epoch=2,
        is_global_zero=True,
        loggers=[],
        default_root_dir=tmp_path,
        strategy=SimpleNamespace(checkpoint_io=None),
        datamodule=SimpleNamespace(
            preprocessing=SimpleNamespace(ifos=("H1", "L1"), sample_rate=64.0)
        ),
    )


def told(callback, scores, labels):
    """Tell of kernels, each of which holds its own score."""
    outputs = torch.tensor(scores)
    kernels = outputs[:, None, None].expand(-1, 2, 16)
    callback.on_validation_score(kernels, outputs, torch.tensor(labels))


def test_the_most_extreme_of_all_batches_are_kept():
    """Background by the highest score, signals by the lowest, each with its kernel."""
    callback = Extremes(2)
    callback.on_validation_epoch_start()
    told(callback, [1.0, 5.0, 2.0, 9.0], [False, False, True, True])
    told(callback, [3.0, -1.0, 7.0, 0.5], [False, False, True, True])

    rank, kernels = callback.found["background"]
    assert rank.tolist() == kernels[:, 0, 0].tolist() == [5.0, 3.0]
    rank, kernels = callback.found["signals"]
    assert (-rank).tolist() == kernels[:, 1, 3].tolist() == [0.5, 2.0]


def test_each_validation_begins_anew():
    """What an epoch found is not seen in the next."""
    callback = Extremes(2)
    told(callback, [1.0], [False])
    callback.on_validation_epoch_start()

    assert callback.found == {}


@pytest.mark.parametrize("processes", [1, 3])
def test_a_validation_leaves_one_picture(trainer, tmp_path, processes):
    """What all processes found, drawn by the first; there may be fewer than asked for."""
    callback = Extremes(3)
    told(callback, [1.0, 2.0, 3.0], [False, False, True])
    several = {
        kind: tuple(torch.stack([each] * processes) if processes > 1 else each for each in found)
        for kind, found in callback.found.items()
    }
    callback.on_validation_epoch_end(trainer, SimpleNamespace(all_gather=lambda _: several))

    picture = Image.open(tmp_path / "validation" / "epoch-0003.png")
    assert picture.size == (1100, 520 if processes > 1 else 370)


def test_a_picture_is_kept_where_the_training_resumes_from(trainer, tmp_path):
    """On S3, before the checkpoint that follows."""
    kept = []
    keep = lambda path, *, wait: kept.append((path, wait))  # noqa: E731
    trainer.strategy.checkpoint_io = SentCheckpoints(keep)
    callback = Extremes(1)
    told(callback, [1.0, 3.0], [False, True])
    callback.on_validation_epoch_end(trainer, SimpleNamespace(all_gather=lambda found: found))

    assert kept == [(tmp_path / "validation" / "epoch-0003.png", True)]


@pytest.mark.parametrize(
    "changes", [{"is_global_zero": False}, {"sanity_checking": True}, {"current_epoch": 3}]
)
def test_none_is_drawn_elsewhere(trainer, tmp_path, changes):
    """Not in other processes, not of a check, not of an epoch that is left out."""
    vars(trainer).update(changes)
    callback = Extremes(2, every_n_epochs=2)
    told(callback, [1.0, 3.0], [False, True])
    callback.on_validation_epoch_end(trainer, SimpleNamespace(all_gather=lambda found: found))

    assert list(tmp_path.iterdir()) == []


def test_equal_finds_are_equal_files(tmp_path):
    """Nothing in a picture depends on when it was made, or on whose styles are loaded."""
    found = {kind: (torch.ones(1), torch.ones(1, 2, 16)) for kind in ("background", "signals")}
    handlers = dict(Legend.get_default_handler_map())
    for name, changed in (("a", {}), ("b", {"font.size": 20, "axes.grid": True, "savefig.dpi": 7})):
        with mpl.rc_context(changed), own_style():
            save(draw(found, ("H1", "L1"), 64.0, 0), tmp_path / name)
        # As gwpy does when it is imported.
        Legend.update_default_handler_map({Line2D: HandlerPatch()})
    Legend.set_default_handler_map(handlers)

    same = (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert same


def test_size_of_a_batch():
    """Of training and validation alike."""
    index = torch.arange(5)

    assert batch_size((torch.zeros(3, 2, 16), torch.zeros(3, 1))) == 3
    assert batch_size(ValidationBatch(index, index, torch.zeros(5, 2, 8), index)) == 5
