"""The Lightning module: a network, its loss, its optimizer and its score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from aframe.errors import AframeError
from aframe_train.callbacks import SCORE, Artifacts, Checkpoints, Progress
from aframe_train.metric import TimeSlideAUROC
from aframe_train.validation import ValidationBatch

#: Largest learning rate of the parameters that a network calls slow, for all processes.
SLOW_RATE = 1e-3


class Aframe(LightningModule, ABC):
    """What every training does, whatever the network learns from; that is said by its loss.

    Args:
        arch: Network from whitened kernels ``(batch, ifo, time)`` to scores ``(batch, 1)``.
        metric: Score of a validation.
        learning_rate: Largest learning rate of the one-cycle schedule, for one process;
            it is multiplied by their number.
        pct_lr_ramp: Share of the training in which the learning rate rises.
        weight_decay: Decay of the weights, apart from the gradient (AdamW).
        checkpoint_steps: Steps between two checkpoints within an epoch.
        compiled: Whether to compile the network for training, which takes a minute and then
            pays on a GPU.

    Raises:
        AframeError: If no optimizer could work with these values.
    """

    def __init__(
        self,
        arch: torch.nn.Module,
        metric: TimeSlideAUROC,
        learning_rate: float,
        pct_lr_ramp: float,
        weight_decay: float = 0.0,
        checkpoint_steps: int = 200,
        *,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        _refuse_impossible(learning_rate, pct_lr_ramp, weight_decay, checkpoint_steps)
        self.arch = arch
        self.metric = metric
        self.learning_rate = learning_rate
        self.pct_lr_ramp = pct_lr_ramp
        self.weight_decay = weight_decay
        self.checkpoint_steps = checkpoint_steps
        # A function, not a module: its weights are those of the network, and stand once.
        self._compiled = torch.compile(arch.forward) if compiled else None
        self._seed = torch.initial_seed()

    @abstractmethod
    def loss(
        self, scores: Float[Tensor, "batch 1"], labels: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, ""]:
        """How bad *scores* are, where *labels* are 1 for a signal and else 0."""

    def forward(self, kernels: Float[Tensor, "batch ifo time"]) -> Float[Tensor, "batch 1"]:
        """Score *kernels*."""
        return self.arch(kernels)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Let what a network draws (dropout) depend on the step, for a training that resumes."""
        trainer = self.trainer
        step = trainer.global_step * trainer.world_size + trainer.global_rank
        torch.manual_seed((self._seed + step) % 2**63)

    def training_step(
        self, batch: tuple[Float[Tensor, "batch ifo time"], Float[Tensor, "batch 1"]]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch."""
        kernels, labels = batch
        loss = self.loss((self._compiled or self)(kernels), labels)
        self.log("train_loss", loss, on_step=True)
        return loss

    def validation_step(self, batch: ValidationBatch) -> None:
        """Score background and signals; a signal's score is the mean over its views.

        In single precision whatever the training's: half of it leaves loud scores equal.
        """
        with torch.autocast(self.device.type, enabled=False):
            self._validate(batch)

    def _validate(self, batch: ValidationBatch) -> None:
        views, signals = batch.injected.shape[:2]
        # Where there are more batches than signals some hold none, which no FFT takes.
        scores = self(batch.injected.flatten(0, 1)) if signals else batch.injected.new_empty(0)
        foreground = scores.reshape(views, signals).mean(0)
        background = self(batch.background)[:, 0]
        self.metric.update(batch.index, batch.slide, background, foreground)
        self._tell(batch, background, foreground)

    def _tell(
        self,
        batch: ValidationBatch,
        background: Float[Tensor, " noise"],
        foreground: Float[Tensor, " signal"],
    ) -> None:
        """Call ``on_validation_score(inputs, outputs, labels)`` of each callback that has it.

        It gets kernels ``(batch, ifo, time)``, a signal where it lies in the middle of its
        views; their scores ``(batch,)``; and which of them hold a signal.
        """
        hooks = [getattr(each, "on_validation_score", None) for each in self._callbacks]
        listeners = [hook for hook in hooks if hook is not None]
        if listeners:
            inputs = torch.cat([batch.background, batch.injected[len(batch.injected) // 2]])
            labels = torch.arange(len(inputs), device=inputs.device) >= len(background)
            for listener in listeners:
                listener(inputs, torch.cat([background, foreground]), labels)

    @property
    def _callbacks(self) -> list[Callback]:
        trainer: Any = self.trainer
        return trainer.callbacks

    def on_validation_epoch_end(self) -> None:
        """Log the score and its companions, and forget what they were made of."""
        score, *others = self.metric.compute()
        self.log(SCORE, score, sync_dist=True)
        for rate, area in zip(self.metric.rates[1:], others, strict=True):
            self.log(f"{SCORE}_{rate:g}", area, sync_dist=True)
        self.metric.reset()

    @property
    def logged(self) -> tuple[str, ...]:
        """Names of what is logged, by which callbacks may judge; who logs more adds to them."""
        rates = self.metric.rates[1:]
        return "train_loss", SCORE, *(f"{SCORE}_{rate:g}" for rate in rates)

    def configure_callbacks(self) -> list[Callback]:
        """What every training says and leaves on disk."""
        return [Progress(), Artifacts(), Checkpoints(self.checkpoint_steps)]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, with a learning rate that rises and falls once over all steps."""
        rate = self.learning_rate * self.trainer.world_size
        optimizer = AdamW(parameter_groups(self.arch, rate), rate, weight_decay=self.weight_decay)
        scheduler = OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=self.pct_lr_ramp,
        )
        each_step: LRSchedulerConfigType = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": each_step}


def _refuse_impossible(rate: float, ramp: float, decay: float, steps: int) -> None:
    if not (rate >= 0 and 0 <= ramp <= 1 and decay >= 0 and steps >= 1):
        raise AframeError(
            "the optimizer cannot work so",
            found=f"learning_rate {rate:g}, pct_lr_ramp {ramp:g}, weight_decay {decay:g}, "
            f"checkpoint_steps {steps}",
            wanted_by="model of the training configuration",
            fix="give a rate and a decay that are not negative, a ramp from 0 to 1, and at least "
            "one step between checkpoints",
        )


def parameter_groups(network: torch.nn.Module, rate: float) -> list[dict[str, Any]]:
    """Tell the optimizer which parameters of *network* want another rate than *rate*.

    These are what its method ``slow``, if it has one, names: at most `SLOW_RATE`, no decay.
    """
    slow: list[torch.nn.Parameter] = getattr(network, "slow", list)()
    names = {id(each) for each in slow}
    rest = [each for each in network.parameters() if id(each) not in names]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": rate}]
    if slow:
        groups.append({"params": slow, "lr": min(rate, SLOW_RATE), "weight_decay": 0.0})
    return groups


class SupervisedAframe(Aframe):
    """Tell signals from noise by supervised learning; the arguments are those of `Aframe`."""

    def loss(
        self, scores: Float[Tensor, "batch 1"], labels: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, ""]:
        """Cross entropy of the scores, which are logits."""
        return binary_cross_entropy_with_logits(scores, labels)


class SemiSupervisedAframe(Aframe):
    """Learn what signals are from kernels with one alone; the arguments are those of `Aframe`.

    For networks whose score of noise is bounded by what they are, as a correlation is.
    """

    def loss(
        self, scores: Float[Tensor, "batch 1"], labels: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, ""]:
        """Mean score of the signals, with the other sign; background has no say."""
        return -(scores * labels).sum() / labels.sum().clamp_min(1)
