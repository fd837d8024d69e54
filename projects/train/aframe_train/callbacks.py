"""What a training says on the way and leaves on disk."""

from __future__ import annotations

import copy
import csv
import io
import logging
import math
import re
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.cli import SaveConfigCallback
from torch import Tensor

from aframe.artifacts.hdf5 import writing
from aframe.artifacts.record import write_text
from aframe.errors import AframeError
from aframe_train.data import AframeData
from aframe_train.outputs import PICTURES, PUBLISHES

log = logging.getLogger(__name__)

BEST, LAST = "best", "last"
SCORE = "valid_auroc"
COLUMNS = ("epoch", "step", "train_loss", "learning_rate", SCORE)
_SECONDS_BETWEEN_LINES = 15.0


def batch_size(batch: Any) -> int:
    """Kernels of a batch of training or validation, for Lightning's `ThroughputMonitor`."""
    return len(batch[0] if isinstance(batch, tuple) else batch.index)


def run_directory(trainer: Trainer) -> Path:
    """Where a training's files go: the first logger's ``save_dir``."""
    saved = [logger.save_dir for logger in trainer.loggers]
    return Path(saved[0] if saved and saved[0] else trainer.default_root_dir)


class Progress(Callback):
    """Say how far the training is, and keep a table of its epochs in ``metrics.csv``.

    The table is carried in the checkpoints and holds nothing that depends on the
    machine's speed: a training that was killed and resumed leaves the same one.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self._loss: Tensor | float = 0.0
        self._batches = 0
        self._samples = 0
        self._seconds = 0.0

    @property
    def samples_per_second(self) -> float:
        """Mean speed of the training in this process, validation left out."""
        return self._samples / self._seconds if self._seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Rows, and the sum of the losses in an epoch that has not ended."""
        return {"rows": self.rows, "loss": float(self._loss), "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was."""
        self.rows = state_dict["rows"]
        self._loss, self._batches = state_dict["loss"], state_dict["batches"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to take the time."""
        self._began = self._said = self._lap = time.monotonic()
        self._first = trainer.global_step
        parameters = sum(each.numel() for each in pl_module.parameters())
        log.log(
            logging.INFO if trainer.is_global_zero else logging.DEBUG,
            "%d steps from step %d of a network of %d parameters on %s",
            trainer.estimated_stepping_batches,
            trainer.global_step,
            parameters,
            pl_module.device,
        )

    def on_train_batch_start(self, *_: Any) -> None:
        """Leave out of the time what lay between two epochs."""
        if not self._batches:
            self._lap = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Add to the sum of the losses, on the device: nobody waits for its value."""
        self._loss = self._loss + outputs["loss"].detach().double()
        self._batches += 1
        self._samples += len(batch[0]) * trainer.world_size
        now = time.monotonic()
        self._seconds += now - self._lap
        self._lap = now
        if trainer.is_global_zero and now - self._said > _SECONDS_BETWEEN_LINES:
            self._say(trainer, float(self._loss) / self._batches)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add a row, unless the checkpoint that this run resumed from has it already."""
        if not self._batches:
            return
        values = (
            trainer.current_epoch,
            trainer.global_step,
            float(self._loss) / self._batches,
            trainer.optimizers[0].param_groups[0]["lr"],
            float(trainer.callback_metrics.get(SCORE, float("nan"))),
        )
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))
        self._loss, self._batches = 0.0, 0
        if not math.isfinite(values[2]):
            raise AframeError(
                "the training diverged",
                found=f"a mean loss of {values[2]} in epoch {values[0] + 1}",
                wanted_by=str(run_directory(trainer)),
                fix="lower model.learning_rate, clip gradients (trainer.gradient_clip_val), or "
                "look at the strain: a network of no numbers finds nothing",
            )
        if trainer.is_global_zero:
            self._say(trainer, values[2], score=values[-1])
            write_text(run_directory(trainer) / "metrics.csv", table(self.rows))

    def _say(self, trainer: Trainer, loss: float, *, score: float | None = None) -> None:
        self._said = time.monotonic()
        done, total = trainer.global_step, int(trainer.estimated_stepping_batches)
        left = (self._said - self._began) * (total - done) / max(1, done - self._first)
        log.info(
            "epoch %d of %d, step %d of %d: loss %.4f%s, %.0f samples/s, %d min %02d s left",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            done,
            total,
            loss,
            "" if score is None else f", score {score:.4f}",
            self.samples_per_second,
            *divmod(round(left), 60),
        )


def table(rows: list[dict[str, float]]) -> str:
    """Write *rows* as comma-separated values."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Checkpoints(Checkpoint):
    """Keep ``best.ckpt`` and ``last.ckpt`` up to date.

    The last is written at the end of each epoch and in between, the best where an
    epoch's score is above all before. Lightning's own class would not do: it skips the
    end of an epoch whose last batch it saved at, so that a training resumed from there
    misses a validation, and it forgets the best score in a directory that was moved.

    Args:
        every_n_steps: Steps between two checkpoints within an epoch.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self.best_score = -math.inf

    def state_dict(self) -> dict[str, float]:
        """Score of ``best.ckpt``."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on where the checkpoint was."""
        self.best_score = state_dict["best_score"]

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save, unless the epoch's end comes next and saves as well."""
        ended = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if trainer.global_step % self.every_n_steps == 0 and not ended:
            _save(trainer, LAST)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Save after all else that happens at the end of an epoch."""
        score = float(trainer.callback_metrics.get(SCORE, -math.inf))
        if score > self.best_score:
            self.best_score = score
            _save(trainer, BEST)
        _save(trainer, LAST)


def _save(trainer: Trainer, name: str) -> None:
    trainer.save_checkpoint(run_directory(trainer) / f"{name}.ckpt")


class SaveConfig(SaveConfigCallback):
    """Write ``config.yaml``: every setting, with which ``python -m train`` repeats the training."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Write the file."""
        config = self.config.clone()
        config.pop("ckpt_path", None)
        directory = run_directory(trainer)
        directory.mkdir(parents=True, exist_ok=True)
        write_text(directory / "config.yaml", self.parser.dump(config, skip_unset=False))


class Artifacts(Callback):
    """Write what the next stages read.

    At the start ``preprocessing.json``, ``batch.hdf5`` (the first training batch) and
    ``val_batch.hdf5``; at the end ``model.pt``, the network with its best weights.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the preprocessing and one batch of each kind."""
        if not trainer.is_global_zero:
            return
        data, directory = _data(trainer), run_directory(trainer)
        directory.mkdir(parents=True, exist_ok=True)
        data.preprocessing.write(directory / "preprocessing.json")
        kernels, labels = data.training_batches(0)
        _write_tensors(directory / "batch.hdf5", input_0=kernels, y=labels)
        valid = data.validation_batches(0)
        _write_tensors(
            directory / "val_batch.hdf5", X_bg_0=valid.background, X_inj_0=valid.injected
        )

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the network with the weights of the best validation score."""
        if not trainer.is_global_zero:
            return
        directory = run_directory(trainer)
        best = directory / f"{BEST}.ckpt"
        if not best.exists():
            raise AframeError(
                "no weights are the best",
                found=f"{best} does not exist: no epoch was validated",
                wanted_by="model.pt, which keeps the weights of the best validation",
                fix="let the trainer validate (limit_val_batches, check_val_every_n_epoch)",
            )
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        example = _data(trainer).training_batches(0)[0].cpu()
        write_model(directory / "model.pt", pl_module.arch, state, example)


def _data(trainer: Trainer) -> AframeData:
    data: Any = trainer
    return data.datamodule


def write_model(
    path: Path, arch: torch.nn.Module, state: dict[str, Tensor], example: Tensor
) -> None:
    """Write TorchScript of *arch* with the weights ``arch.*`` of *state*, whole or not at all.

    Args:
        path: The file.
        arch: The network.
        state: Weights of the whole module, as a checkpoint has them.
        example: Kernels to trace the network with.
    """
    prefix = "arch."
    arch = copy.deepcopy(arch).cpu().eval()
    arch.load_state_dict(
        {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}
    )
    draft = path.with_name(f".{path.name}.draft")
    with torch.no_grad(), warnings.catch_warnings():
        # torch announces another format, but the stages' contract is TorchScript; and its
        # normalization checks shapes in Python, which a trace does not keep.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(arch, example), draft)  # type: ignore[no-untyped-call]
    draft.replace(path)


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint so that equal contents are equal files.

    Which of a checkpoint's equal texts are one object, and so stand once in the file,
    depends on whether the training was resumed.
    """
    torch.save(_distinct(torch.load(source, map_location="cpu", weights_only=True)), target)


def copy_training(source: Path, target: Path) -> None:
    """Copy what a training leaves to where it is published, each file whole or not at all.

    Its configuration then names no directory that is gone: who repeats it by hand says where.
    """
    for name in PUBLISHES:
        draft = target / f".{name}.draft"
        if name.endswith(".ckpt"):
            copy_checkpoint(source / name, draft)
        elif name == "config.yaml":
            write_text(draft, _anywhere((source / name).read_text()))
        else:
            shutil.copyfile(source / name, draft)
        draft.replace(target / name)
    if (source / PICTURES).exists():
        scratch = shutil.ignore_patterns(".*")
        shutil.copytree(source / PICTURES, target / PICTURES, ignore=scratch, dirs_exist_ok=True)


def _anywhere(config: str) -> str:
    """Have the loggers that write where the first one does write to the working directory."""
    first = re.search(r"\bsave_dir: .*\n", config)
    return config.replace(first[0], "save_dir: .\n") if first else config


def _distinct(value: Any) -> Any:
    """Rebuild *value* with one object for each text, and one for each container's place."""
    if isinstance(value, dict):
        rebuilt = copy.copy(value)
        rebuilt.clear()
        rebuilt.update((_distinct(key), _distinct(each)) for key, each in value.items())
        if hasattr(value, "__dict__"):  # a module's state has the version of each part there
            vars(rebuilt).update(_distinct(vars(value)))
        return rebuilt
    if isinstance(value, (list, tuple)):
        return type(value)(map(_distinct, value))
    return sys.intern(value) if isinstance(value, str) else value


def _write_tensors(path: Path, **tensors: Tensor) -> None:
    with writing(path) as file:
        for name, tensor in tensors.items():
            file.create_dataset(name, data=tensor.cpu().numpy())
