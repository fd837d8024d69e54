"""What a training says and leaves on disk."""

import logging
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger

from aframe_train import callbacks
from aframe_train.callbacks import (
    Checkpoints,
    Progress,
    copy_checkpoint,
    run_directory,
    table,
    write_model,
)


def trainer(tmp_path, **changes):
    """As much of a trainer as the callbacks look at."""
    known = {
        "loggers": [],
        "default_root_dir": tmp_path,
        "global_step": 4,
        "world_size": 1,
        "current_epoch": 1,
        "max_epochs": 2,
        "estimated_stepping_batches": 8,
        "is_global_zero": True,
        "optimizers": [SimpleNamespace(param_groups=[{"lr": 0.5}])],
        "callback_metrics": {"valid_auroc": torch.tensor(0.75)},
    }
    return SimpleNamespace(**{**known, **changes})


def trained(progress, at, losses):
    """Tell *progress* of batches with these losses."""
    progress.on_train_start(at, SimpleNamespace(parameters=list, device="cpu"))
    for loss in losses:
        progress.on_train_batch_start()
        progress.on_train_batch_end(at, None, {"loss": torch.tensor(loss)}, (range(3), None), 0)


def test_files_go_where_the_first_logger_writes(tmp_path):
    """Without a logger they go to the trainer's own directory."""
    assert run_directory(Trainer(logger=CSVLogger(tmp_path / "a"))) == tmp_path / "a"
    assert run_directory(Trainer(logger=False, default_root_dir=tmp_path / "b")) == tmp_path / "b"


def test_a_row_has_the_mean_loss_and_the_score(tmp_path, caplog):
    """One row an epoch, in the file and in the log."""
    progress = Progress()
    with caplog.at_level(logging.INFO):
        trained(progress, trainer(tmp_path), [1.0, 3.0])
        progress.on_train_epoch_end(trainer(tmp_path), None)

    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,step,train_loss,learning_rate,valid_auroc\n1,4,2.0,0.5,0.75\n"
    )
    assert "epoch 2 of 2, step 4 of 8: loss 2.0000, score 0.7500" in caplog.text
    assert progress.samples_per_second > 0


def test_an_interrupted_epoch_keeps_its_losses(tmp_path):
    """The state of a checkpoint carries the part of the mean that is known."""
    before, after = Progress(), Progress()
    trained(before, trainer(tmp_path), [1.0, 3.0])
    after.load_state_dict(before.state_dict())
    trained(after, trainer(tmp_path), [8.0])
    after.on_train_epoch_end(trainer(tmp_path), None)

    assert after.rows[0]["train_loss"] == 4.0


def test_an_epoch_without_batches_adds_no_row(tmp_path):
    """A run that resumes at the end of an epoch passes that end again."""
    progress = Progress()
    progress.on_train_epoch_end(trainer(tmp_path), None)

    assert progress.rows == []


def test_long_epochs_are_heard_of(tmp_path, caplog, monkeypatch):
    """Within an epoch a line comes every few seconds."""
    monkeypatch.setattr(callbacks, "_SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO):
        trained(Progress(), trainer(tmp_path), [1.0])

    assert "step 4 of 8: loss 1.0000, " in caplog.text
    assert "score" not in caplog.text


@pytest.mark.parametrize(("step", "ended", "saves"), [(4, False, 1), (5, False, 0), (4, True, 0)])
def test_checkpoints_come_between_epochs_ends(tmp_path, step, ended, saves):
    """Every so many steps, but not where the end of the epoch saves anyway."""
    saved = []
    progress = SimpleNamespace(is_last_batch=ended)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    Checkpoints(2).on_train_batch_end(
        trainer(tmp_path, global_step=step, fit_loop=loop, save_checkpoint=saved.append)
    )

    assert saved == [tmp_path / "last.ckpt"] * saves


def test_the_best_epoch_is_kept(tmp_path):
    """A score must be above all before, also those before a resumption."""
    saved = []
    before, after = Checkpoints(2), Checkpoints(2)
    for score, callback in ((0.6, before), (0.5, before), (0.6, after), (0.7, after)):
        if callback is after:
            after.load_state_dict(before.state_dict())
        metrics = {"valid_auroc": torch.tensor(score)}
        callback.on_train_epoch_end(
            trainer(tmp_path, callback_metrics=metrics, save_checkpoint=saved.append), None
        )

    names = [path.name.removesuffix(".ckpt") for path in saved]
    assert names == ["best", "last", "last", "last", "best", "last"]


def test_without_a_score_none_is_the_best(tmp_path):
    """An epoch that was not validated leaves the last checkpoint alone."""
    saved = []
    at = trainer(tmp_path, callback_metrics={}, save_checkpoint=saved.append)
    Checkpoints(2).on_train_epoch_end(at, None)

    assert saved == [tmp_path / "last.ckpt"]


def test_copies_of_equal_checkpoints_are_equal_files(tmp_path):
    """Whether a text is one object or two, the copy is the same, and nothing is lost."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    shared, other = (str(10**9) for _ in range(2))
    content = {
        "state_dict": network.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": {"widths": [4, 8], "pair": (1, None), "name": shared},
    }
    for number, text in enumerate((shared, other)):
        (tmp_path / f"{number}").mkdir()
        torch.save({**content, "key": text}, tmp_path / f"{number}" / "source.ckpt")
        copy_checkpoint(tmp_path / f"{number}" / "source.ckpt", tmp_path / f"{number}" / "a.ckpt")

    sources = [(tmp_path / each / "source.ckpt").read_bytes() for each in "01"]
    copies = [(tmp_path / each / "a.ckpt").read_bytes() for each in "01"]
    assert sources[0] != sources[1]
    assert copies[0] == copies[1]
    found = torch.load(tmp_path / "0" / "a.ckpt", weights_only=True)
    assert found["hyper_parameters"] == content["hyper_parameters"]
    assert found["state_dict"]._metadata == content["state_dict"]._metadata
    torch.testing.assert_close(found["state_dict"], content["state_dict"], rtol=0, atol=0)
    torch.testing.assert_close(
        found["optimizer_states"][0]["state"], optimizer.state_dict()["state"], rtol=0, atol=0
    )


def test_a_table_without_rows_has_its_header():
    """Readers find the columns before the first epoch has ended."""
    assert table([]) == "epoch,step,train_loss,learning_rate,valid_auroc\n"


def test_a_model_has_the_weights_given(tmp_path):
    """Weights of the network are found among those of the whole module."""
    arch = torch.nn.Linear(3, 1)
    state = {"arch.weight": torch.ones(1, 3), "arch.bias": torch.zeros(1), "other": torch.ones(9)}
    write_model(tmp_path / "model.pt", arch, state, torch.zeros(2, 3))

    assert torch.jit.load(tmp_path / "model.pt")(torch.ones(5, 3)).tolist() == [[3.0]] * 5
    assert not torch.equal(arch.weight, state["arch.weight"])
    assert [each.name for each in tmp_path.iterdir()] == ["model.pt"]
