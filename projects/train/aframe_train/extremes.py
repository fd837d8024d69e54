"""Pictures of what a validation found hardest: the quietest signals and the loudest background."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from jaxtyping import Bool, Float, Shaped
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerLine2D
from matplotlib.lines import Line2D
from torch import Tensor

from aframe_train.callbacks import run_directory
from aframe_train.outputs import PICTURES
from aframe_train.runs import keep

log = logging.getLogger(__name__)

KINDS = {"background": "loudest background", "signals": "hardest signals"}


class Extremes(Callback):
    """Draw the signals of lowest score and the background of highest of each validation.

    The kernels are drawn as the network sees them, a signal where it lies in the middle of
    its views. The pictures are files of the run directory (``validation/epoch-0001.png``), and
    rows of a table where Weights & Biases is a logger.

    Args:
        count: Kernels of each kind.
        every_n_epochs: Validations from one picture to the next.
    """

    def __init__(self, count: int = 4, every_n_epochs: int = 1) -> None:
        self.count = count
        self.every_n_epochs = every_n_epochs
        self.found: dict[str, tuple[Tensor, Tensor]] = {}

    def on_validation_epoch_start(self, *_: Any) -> None:
        """Forget the validation before."""
        self.found = {}

    def on_validation_score(
        self,
        inputs: Float[Tensor, "batch ifo time"],
        outputs: Float[Tensor, " batch"],
        labels: Bool[Tensor, " batch"],
    ) -> None:
        """Keep what is more extreme than what was kept, on the device."""
        for kind, chosen, sign in (("background", ~labels, 1), ("signals", labels, -1)):
            # Not by index: the number of signals would have to be known to the host.
            rank = torch.where(chosen, sign * outputs, -torch.inf)
            before = self.found.get(kind, (rank[:0], inputs[:0]))
            self.found[kind] = most(
                torch.cat([before[0], rank]), torch.cat([before[1], inputs]), self.count
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw what all processes found."""
        if trainer.sanity_checking or trainer.current_epoch % self.every_n_epochs:
            return
        everybody: Any = pl_module.all_gather(self.found)
        if trainer.is_global_zero:
            found = {kind: self._joined(*each) for kind, each in everybody.items()}
            self._draw(trainer, found)

    def _joined(self, rank: Tensor, kernels: Tensor) -> tuple[Tensor, Tensor]:
        """Choose among the processes' finds, which stand side by side where there are several."""
        rank, kernels = rank.reshape(-1), kernels.reshape(-1, *kernels.shape[-2:])
        rank, kernels = most(rank, kernels, self.count)
        there = rank > -torch.inf
        return rank[there].float().cpu(), kernels[there].float().cpu()

    def _draw(self, trainer: Trainer, found: dict[str, tuple[Tensor, Tensor]]) -> None:
        data: Any = trainer
        properties = data.datamodule.preprocessing
        path = run_directory(trainer) / PICTURES / f"epoch-{trainer.current_epoch + 1:04d}.png"
        with own_style():
            figure = draw(found, properties.ifos, properties.sample_rate, trainer.current_epoch)
            save(figure, path)
        keep(trainer, path)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_table(logger, found, path, trainer)


def most(
    rank: Float[Tensor, " kernel"], kernels: Shaped[Tensor, "kernel ifo time"], count: int
) -> tuple[Float[Tensor, " chosen"], Shaped[Tensor, "chosen ifo time"]]:
    """Choose the *count* kernels of the highest rank, the highest first."""
    best = rank.topk(min(count, len(rank)))
    return best.values, kernels[best.indices]


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Draw alike whatever style the user, or a library such as gwpy, has set."""
    with mpl.rc_context():
        mpl.rcdefaults()
        yield


def draw(
    found: dict[str, tuple[Tensor, Tensor]],
    ifos: tuple[str, ...],
    sample_rate: float,
    epoch: int,
) -> Figure:
    """Draw kernels of each kind in a column, the most extreme at the top.

    Args:
        found: Rank and whitened kernels ``(kernel, ifo, time)`` of each kind.
        ifos: Detectors in channel order.
        sample_rate: Samples a second (Hz).
        epoch: Number of the epoch, from 0.
    """
    rows = max(1, *(len(rank) for rank, _ in found.values()))
    figure = Figure(figsize=(11, 0.7 + 1.5 * rows), layout="constrained")
    axes = figure.subplots(rows, len(KINDS), sharex=True, sharey=True, squeeze=False)
    figure.suptitle(f"Validation of epoch {epoch + 1}")
    for column, (kind, title) in enumerate(KINDS.items()):
        rank, kernels = found[kind]
        axes[0, column].set_title(title)
        axes[-1, column].set_xlabel("time in the kernel (s)")
        for row in range(rows):
            panel = axes[row, column]
            if row >= len(rank):
                panel.axis("off")
                continue
            _draw_kernel(panel, kernels[row], ifos, sample_rate)
            score = rank[row].item() * (-1 if kind == "signals" else 1)
            style = {"va": "top", "bbox": {"facecolor": "white", "alpha": 0.8, "linewidth": 0}}
            panel.text(0.015, 0.9, f"score {score:.2f}", transform=panel.transAxes, **style)
    for row in range(rows):
        axes[row, 0].set_ylabel("whitened")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper right",
        ncols=3,
        handler_map={Line2D: HandlerLine2D()},
    )
    return figure


def _draw_kernel(
    panel: Any, kernel: Float[Tensor, "ifo time"], ifos: tuple[str, ...], sample_rate: float
) -> None:
    time = torch.arange(kernel.shape[-1]) / sample_rate
    for name, series in zip(ifos, kernel, strict=True):
        panel.plot(time, series, linewidth=0.5, alpha=0.8, label=name)


def save(figure: Figure, path: Path) -> None:
    """Write *figure* as PNG, whole or not at all, with nothing in it that time changes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    figure.savefig(draft, format="png", dpi=100, metadata={"Software": None})
    draft.replace(path)


def _log_table(
    logger: WandbLogger, found: dict[str, tuple[Tensor, Tensor]], path: Path, trainer: Trainer
) -> None:
    import wandb  # noqa: PLC0415 (an extra, which is there where its logger is)

    epoch = trainer.current_epoch + 1
    scores = [
        [epoch, kind, place + 1, float(rank) * (-1 if kind == "signals" else 1)]
        for kind, (ranks, _) in found.items()
        for place, rank in enumerate(ranks)
    ]
    columns = ["epoch", "kind", "place", "score"]
    logger.log_table("validation_scores", columns=columns, data=scores)
    row = [[epoch, wandb.Image(str(path))]]
    logger.log_table("validation", columns=["epoch", "kernels"], data=row)
