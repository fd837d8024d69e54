"""`python -m train` killed and typed again, and what it refuses to go on from."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from aframe.errors import AframeError
from aframe_train.resumption import find_checkpoint, refuse_cut
from aframe_train.runs import WholeCheckpoints
from aframe_train.trainer import train

#: `python -m train`, which kills itself in the middle of the second of its epochs of 7 steps.
KILLED = """
import os, signal, sys
from aframe_train import runs
from train.__main__ import main

save = runs.WholeCheckpoints.save_checkpoint

def save_then_die(self, checkpoint, path, **options):
    save(self, checkpoint, path, **options)
    if checkpoint["global_step"] == 10:
        os.kill(os.getpid(), signal.SIGKILL)

runs.WholeCheckpoints.save_checkpoint = save_then_die
main()
"""


@pytest.fixture
def words(config, data_dir, small, tmp_path):
    """Arguments of a training of 21 steps in a run directory *name*."""
    preprocessing = [f"--data.{k}={v}" for k, v in small.PREPROCESSING.items() if v]
    return lambda name, *more: [
        "--config", str(config), "--data.ifos=[H1,L1]", f"--data.data_dir={data_dir}",
        f"--trainer.logger.save_dir={tmp_path / name}", *preprocessing, *more,
    ]  # fmt: skip


def run(*command):
    """Run Python on one thread; give its status and what it said."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_the_same_command_goes_on(words, tmp_path):
    """Killed in mid-epoch and typed again, it leaves the table of an uninterrupted training."""
    assert run("-m", "train", *words("whole"))[0] == 0
    assert run("-c", KILLED, *words("killed"))[0] == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.pt").exists()
    status, said = run("-m", "train", *words("killed"))

    assert status == 0, said
    assert f"resuming from {tmp_path / 'killed' / 'last.ckpt'}" in said
    assert "from step 10 " in said
    tables = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "killed")]
    assert tables[0] == tables[1]
    networks = [torch.jit.load(tmp_path / name / "model.pt") for name in ("whole", "killed")]
    for before, after in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(before, after)


def test_another_training_is_not_taken_for_it(words, tmp_path):
    """Another setting in the same run directory is named; on another device it is the same."""
    short = ("--trainer.max_epochs=1", "--data.batches_per_epoch=2")
    train(words("run", *short))
    before = (tmp_path / "run" / "metrics.csv").read_text()

    with pytest.raises(AframeError, match="run directory holds another training") as refused:
        train(words("run", *short, "--model.learning_rate=0.1"))
    assert refused.value.found == "model.init_args.learning_rate 0.003 there, 0.1 here"
    assert "--ckpt_path=" in refused.value.fix
    assert (tmp_path / "run" / "metrics.csv").read_text() == before
    train(words("run", *short, "--trainer.devices=1"))
    assert (tmp_path / "run" / "metrics.csv").read_text() == before


def test_many_differences_are_shortened(tmp_path):
    """Five are shown."""
    (tmp_path / "last.ckpt").touch()
    (tmp_path / "config.yaml").write_text("".join(f"key_{n}: 1\n" for n in range(9)))

    with pytest.raises(AframeError, match="holds another training") as refused:
        find_checkpoint(tmp_path, "trainer: {logger: {save_dir: .}}")
    assert refused.value.found.endswith("key_4 1 there, None here; …")


def test_an_empty_directory_holds_nothing(tmp_path):
    """Neither a checkpoint without its configuration."""
    assert find_checkpoint(tmp_path, "seed: 1") is None
    (tmp_path / "last.ckpt").touch()
    assert find_checkpoint(tmp_path, "seed: 1") is None


def test_a_cut_checkpoint_is_refused(words, tmp_path):
    """With its size, and what to do; a whole one, or one that is not there, is not."""
    path = tmp_path / "last.ckpt"
    refuse_cut(str(path))
    torch.save({"weights": torch.zeros(1000)}, path)
    refuse_cut(str(path))
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(AframeError, match="a checkpoint cannot be read") as refused:
        train(words("run", f"--ckpt_path={path}"))
    assert "2000 bytes" in refused.value.found


def test_a_missing_checkpoint_is_refused(words, tmp_path):
    """Before the data are read."""
    with pytest.raises(AframeError, match="there is no such checkpoint") as refused:
        train(words("run", f"--ckpt_path={tmp_path / 'lost.ckpt'}"))
    assert "lost.ckpt is no file" in refused.value.found


def test_a_checkpoint_is_whole_whatever_happens_while_it_is_written(tmp_path, monkeypatch):
    """The one before stays until the next is complete."""
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)

    def cut(self, checkpoint, target, storage_options=None):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", cut)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint({"step": 2}, path)

    assert torch.load(path) == {"step": 1}
