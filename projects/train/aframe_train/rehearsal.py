"""What a configuration of the training alone tells to be wrong, before there are any data."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from aframe.artifacts.cache import cached
from aframe.artifacts.preprocessing import Preprocessing
from aframe.errors import AframeError
from aframe_train.data import AframeData, place, refuse_nothing, refuse_unused, resolved
from aframe_train.fit import FitSettings, arguments
from aframe_train.glitches import GlitchSettings
from aframe_train.trainer import StepCLI, train
from aframe_train.tune.settings import TuneSettings
from aframe_train.tune.verb import planned


def rehearse(settings: FitSettings) -> None:
    """Refuse a configuration with which a training, or each of a search's, would not begin.

    Raises:
        AframeError: If there is none, it holds an unknown key or value, or describes a network
            or amounts of data that cannot be.
    """
    config = cached(settings.inputs.train_config)
    inputs = dataclasses.replace(settings.inputs, train_config=config)
    settings = dataclasses.replace(settings, inputs=inputs)
    if not config.is_file():
        raise AframeError(
            "there is no training configuration",
            found=f"{config} is no file",
            wanted_by="the input `train_config`",
            fix="correct the path; aframe-init writes one",
        )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            train(arguments(settings, Path(scratch)), kind=Rehearsal)
        except AframeError as error:
            raise AframeError(
                error.problem, found=error.found, wanted_by=str(config), fix=error.fix
            ) from error
    if isinstance(settings, TuneSettings):
        _rehearse_search(settings)


def _rehearse_search(settings: TuneSettings) -> None:
    tried = cached(settings.inputs.tune_config)
    settings = dataclasses.replace(
        settings, inputs=dataclasses.replace(settings.inputs, tune_config=tried)
    )
    plan = planned(settings, settings.output)
    from aframe_train.tune.search import foresee  # noqa: PLC0415 (Ray reads what is prepared)

    foresee(plan)


class Rehearsal(StepCLI):
    """The training's command line, with its network and trainer, but without data."""

    def before_instantiate_classes(self) -> None:
        """Have no data; what they are made of (amounts, mixture) is made and refused."""
        self.refuse_contradictions()
        self.parser.add_instantiator(_without_files, LightningDataModule, prepend=True)

    def _run_subcommand(self, subcommand: str) -> None:
        """Train nothing."""


def _without_files(kind: type, *_arguments: Any, **options: Any) -> LightningDataModule:
    """Make no data, but refuse settings of ours that contradict one another."""
    if issubclass(kind, AframeData):
        names = [each.name for each in dataclasses.fields(Preprocessing)]
        kernels = resolved(**{name: options[name] for name in names})
        place(kernels, options["left_pad"], options["right_pad"])
        refuse_unused(options["glitches"] or GlitchSettings(), options["mixture"])
        amounts = ("batches_per_epoch", "memory", "chunks_per_epoch")
        refuse_nothing(*(options[name] for name in amounts))
    return LightningDataModule()
