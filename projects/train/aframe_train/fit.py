"""The verb `fit`: settings in, a trained network out."""

from __future__ import annotations

import csv
import logging
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aframe.artifacts.record import write_text
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.program import Resources
from aframe_train.checks import refuse_impossible

log = logging.getLogger(__name__)

_ACCELERATORS = {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}


@dataclass(frozen=True)
class FitInputs:
    """What is trained with.

    Args:
        background: Directory of strain files.
        training_waveforms: Ledger of polarizations ``plus`` and ``cross``; ``None`` if the
            training makes them itself, as ``generation`` of its configuration says.
        validation_waveforms: Ledger of signals as each detector sees them.
        train_config: Lightning YAML of the network, the amounts of data and the trainer.
        glitches: Table of glitches, in place of simulated ones, if not ``None``.
    """

    background: Path
    training_waveforms: Path | None
    validation_waveforms: Path
    train_config: Path
    glitches: Path | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class FitResources(Resources):
    """How a training may use the machine, and where else it logs.

    Args:
        workers: Most threads to compute on; all cores unless given. A training that is
            resumed keeps the number it began with, as sums depend on it in their last digits.
        use_wandb: Log to Weights & Biases as well; needs the package ``wandb``.
        wandb_name: Name of the run there.
        wandb_group: Group of runs that it belongs to.
        wandb_tags: Its tags.
        wandb_project: Project that it belongs to; ``$WANDB_PROJECT``, or ``aframe``.
        wandb_entity: Team or user that owns it; one's own if ``None``.
    """

    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    use_wandb: bool = False
    wandb_name: str | None = None
    wandb_group: str | None = None
    wandb_tags: tuple[str, ...] = ()
    wandb_project: str = field(default_factory=lambda: os.environ.get("WANDB_PROJECT", "aframe"))
    wandb_entity: str | None = None

    @property
    def wandb(self) -> dict[str, Any]:
        """What is said of the run, by the names that Weights & Biases gives it."""
        names = ("name", "group", "tags", "project", "entity")
        said = {name: getattr(self, f"wandb_{name}") for name in names}
        return {name: list(value) if name == "tags" else value for name, value in said.items()}


@dataclass(frozen=True)
class FitSettings:
    """Settings of a training; all else stands in its configuration file.

    Args:
        inputs: What is trained with.
        output: Directory where the files appear.
        ifos: Detectors in channel order.
        sample_rate: Samples a second (Hz).
        kernel_length: Length of a whitened kernel (s).
        fduration: Length of the whitening filter (s).
        fftlength: Length of a Welch segment (s); ``kernel_length + fduration`` if ``None``.
        highpass: Lower edge of the band (Hz), or ``None``.
        lowpass: Upper edge of the band (Hz), or ``None``.
        seed: Seed of all random streams.
        resources: How to use the machine.
    """

    inputs: FitInputs
    output: Path
    ifos: tuple[str, ...]
    sample_rate: float
    kernel_length: float
    fduration: float
    highpass: float | None
    fftlength: float | None = None
    lowpass: float | None = None
    seed: int = 101588
    resources: FitResources = field(default_factory=FitResources)

    def __post_init__(self) -> None:
        refuse_impossible(**self.preprocessing)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The settings that the training data share with all later stages."""
        names = ("sample_rate", "kernel_length", "fduration", "fftlength", "highpass", "lowpass")
        return {"ifos": list(self.ifos), **{name: getattr(self, name) for name in names}}


def fit(settings: FitSettings, draft: Draft) -> None:
    """Train the network that tells signals from noise."""
    # torch takes seconds to load, so it is not loaded before the settings are known to be good.
    import torch  # noqa: PLC0415

    from aframe_train.callbacks import copy_training  # noqa: PLC0415
    from aframe_train.trainer import StepCLI, train  # noqa: PLC0415

    words = arguments(settings, draft.work, draft.path.parent)
    number = threads(draft.work, settings.resources.workers, torch.get_num_threads())
    torch.set_num_threads(number)
    draft.keep(draft.work / "threads", wait=True)
    log.info("python -m train %s", shlex.join(words))
    try:
        cli = train(words, keep=draft.keep, kind=StepCLI)
    except SystemExit as ended:
        # Lightning ends the process where it is interrupted; the command says what resumes.
        raise KeyboardInterrupt from ended
    copy_training(draft.work, draft.path)
    draft.notes.update(
        parameters=sum(each.numel() for each in cli.model.parameters()),
        steps=cli.trainer.global_step,
        best_valid_auroc=_best(draft.path / "metrics.csv"),
        samples_per_second=round(cli.progress.samples_per_second, 1),
        device=str(cli.model.device),
        threads=number,
    )


def _best(metrics: Path) -> float:
    with metrics.open() as file:
        return max(float(row["valid_auroc"]) for row in csv.DictReader(file))


def threads(directory: Path, workers: int, available: int) -> int:
    """Give the number of threads, and keep it for whoever resumes.

    Args:
        directory: Where the training resumes from.
        workers: Most that are asked for.
        available: Those that torch would take by itself: not more than there are cores.
    """
    path, asked = directory / "threads", max(1, min(workers, available))
    if not path.exists():
        write_text(path, f"{asked}\n")
    number = int(path.read_text())
    if number != asked:
        log.info("computing on %d threads, with which the training began, not %d", number, asked)
    return number


def arguments(settings: FitSettings, directory: Path, output: Path | None = None) -> list[str]:
    """Write *settings* as arguments of the training's command line.

    Args:
        settings: What is asked for.
        directory: Where the training writes, and resumes from.
        output: Where Weights & Biases writes; *directory* if ``None``.

    Raises:
        AframeError: If the device is unknown, or Weights & Biases is not installed.
    """
    inputs, resources = settings.inputs, settings.resources
    _refuse_unknown(resources)
    output = output or directory
    data = {
        **settings.preprocessing,
        "background_dir": inputs.background,
        "training_waveforms": inputs.training_waveforms,
        "validation_waveforms": inputs.validation_waveforms,
    }
    if inputs.glitches is not None:
        data["glitches.table"] = inputs.glitches
    words = ["fit", "--config", str(inputs.train_config)]
    words += [f"--seed_everything={settings.seed}"]
    words += [f"--data.init_args.{name}={_word(value)}" for name, value in data.items()]
    words += [f"--trainer.accelerator={_ACCELERATORS[resources.device]}"]
    words += [f"--trainer.logger.save_dir={directory}"]
    if resources.use_wandb:
        words += ["--trainer.logger+=lightning.pytorch.loggers.WandbLogger"]
        # Not in the draft, which is removed: a run that was kept offline is to be sent later.
        words += [f"--trainer.logger.save_dir={output}"]
        given = {name: value for name, value in resources.wandb.items() if value}
        words += [f"--trainer.logger.{name}={_word(value)}" for name, value in given.items()]
    if (directory / "last.ckpt").exists():
        log.info("resuming from %s", directory / "last.ckpt")
        words += [f"--ckpt_path={directory / 'last.ckpt'}"]
    return words


def _refuse_unknown(resources: FitResources) -> None:
    if resources.device not in _ACCELERATORS:
        raise AframeError(
            "there is no such device",
            found=f"device {resources.device}",
            wanted_by="`resources` of the settings",
            fix=f"choose one of {', '.join(_ACCELERATORS)}",
        )
    if resources.use_wandb:
        from aframe_train.tracking import refuse_missing  # noqa: PLC0415 (Lightning: seconds)

        refuse_missing()


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(value)}]"
    return "null" if value is None else str(value)
