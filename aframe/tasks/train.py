"""Tasks of the train stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import law

from aframe.artifacts.remote import place
from aframe.errors import AframeError
from aframe.parameters import (
    Detectors,
    Flag,
    OptionalPositive,
    PathParameter,
    Positive,
    Seed,
    Text,
)
from aframe.tasks.base import StageTask
from aframe.tasks.checks import refuse_band
from aframe.tasks.configuration import wandb_settings
from aframe.tasks.data import FetchTrain, TrainingWaveforms, ValidationWaveforms

CONFIGS = Path(__file__).resolve().parents[1] / "pipelines" / "configs"


class PreprocessingParameters(law.Task):
    """How strain becomes the network's input; one truth for training, export and inference."""

    task_namespace = ""

    ifos = Detectors(default=("H1", "L1"), description="detectors in channel order; default: H1,L1")
    sample_rate = Positive(default=2048.0, description="samples a second (Hz); default: 2048")
    kernel_length = Positive(default=1.5, description="length of a kernel (s); default: 1.5")
    fduration = Positive(default=1.0, description="length of the whitening filter (s); default: 1")
    fftlength = OptionalPositive(
        default=None,
        description="length of a Welch segment (s); default: kernel_length + fduration",
    )
    highpass = OptionalPositive(
        default=32.0, description="lower edge of the band (Hz); default: 32"
    )
    lowpass = OptionalPositive(default=None, description="upper edge of the band (Hz)")

    def preprocessing(self) -> dict[str, Any]:
        """These parameters as the stages' settings name them."""
        return {
            "ifos": list(self.ifos),
            "sample_rate": self.sample_rate,
            "kernel_length": self.kernel_length,
            "fduration": self.fduration,
            "fftlength": self.fftlength,
            "highpass": self.highpass,
            "lowpass": self.lowpass,
        }


class TrainLocal(StageTask, PreprocessingParameters):
    """Train the network on this machine."""

    stage, verb = "train", "fit"
    publishes: ClassVar = {
        "weights": "model.pt",
        "batch": "batch.hdf5",
        "preprocessing": "preprocessing.json",
        "metrics": "metrics.csv",
        "checkpoint": "best.ckpt",
    }

    config = PathParameter(
        default=str(CONFIGS / "bbh.yaml"),
        description="training configuration (Lightning YAML); default: the bbh preset's",
    )
    data_dir = PathParameter(
        default="",
        description="folder with background/, training_waveforms.hdf5 and val_waveforms.hdf5 "
        "to train on, also s3://BUCKET/…; default: what the data tasks make",
    )
    on_the_fly = Flag(
        default=False,
        description="make the waveforms during the training, as `generation` of config says, "
        "instead of a ledger before it; default: False",
    )
    glitch_table = PathParameter(
        default="",
        description="table of glitches (CSV with ifo and event_time, GPS s) to put into a share of "
        "the background, also s3://…; default: simulated ones where config asks for a share",
    )
    run_dir = PathParameter(
        default="",
        description="folder for the training's files, also s3://BUCKET/…; "
        "default: $AFRAME_TRAIN_RUN_DIR",
    )
    seed = Seed(default=101588, description="seed of all random streams; default: 101588")
    use_wandb = Flag(
        default=False,
        significant=False,
        description="log to Weights & Biases as well as to metrics.csv; default: False",
    )
    wandb_name = Text(
        default="",
        significant=False,
        description="name of the run in Weights & Biases; default: [wandb] name of the .cfg, where "
        "group, tags, project and entity stand, too",
    )

    @property
    def directory(self) -> Path:
        """Where the training's files appear."""
        return Path(place(self.run_dir or self.paths.train_run))

    def check(self) -> None:
        """Refuse a band beyond Nyquist, and what `[wandb]` does not know."""
        refuse_band(self)
        wandb_settings()

    def requires(self) -> dict[str, StageTask]:
        """The strain and waveforms, unless *data_dir* has them."""
        if self.data_dir is not None:
            return {}
        required = {"strain": FetchTrain.req(self), "validation": ValidationWaveforms.req(self)}
        if not self.on_the_fly:
            required["training"] = TrainingWaveforms.req(self)
        return required

    def inputs(self) -> dict[str, Path | None]:
        """Strain, waveforms, configuration, and glitches if there is a table."""
        return {
            **self._data(),
            "train_config": Path(place(self.config)),
            "glitches": self.glitch_table and Path(place(self.glitch_table)),
        }

    def _data(self) -> dict[str, Path | None]:
        """Strain and waveforms; of those for training none, where it makes them itself."""
        if self.data_dir is not None:
            folder = Path(place(self.data_dir))
            background, validation = folder / "background", folder / "val_waveforms.hdf5"
            training = None if self.on_the_fly else folder / "training_waveforms.hdf5"
        else:
            made = {name: task.output() for name, task in self.requires().items()}
            background = Path(made["strain"]["background"].path)
            validation = Path(made["validation"]["waveforms"].path)
            training = Path(made["training"]["waveforms"].path) if "training" in made else None
        return {
            "background": background,
            "training_waveforms": training,
            "validation_waveforms": validation,
        }

    def settings(self) -> dict[str, Any]:
        """Preprocessing and seed."""
        return {**self.preprocessing(), "seed": self.seed}

    def stage_resources(self) -> dict[str, Any]:
        """The machine, and where to log besides the CSV."""
        said = wandb_settings()
        if self.wandb_name:
            said["name"] = self.wandb_name
        wandb = {f"wandb_{name}": value for name, value in said.items()}
        return {**super().stage_resources(), "use_wandb": self.use_wandb, **wandb}


class Train(TrainLocal):
    """Train the network, here or on a remote cluster."""

    train_remote = Flag(
        default=False,
        significant=False,
        description="train on a Kubernetes cluster instead of this machine; default: False",
    )

    def check(self) -> None:
        """Refuse a remote training, for which no site is set up."""
        super().check()
        if self.train_remote:
            raise AframeError(
                "no remote site is set up for training",
                found="--train-remote",
                wanted_by=self.task_family,
                fix="leave the option out: the training then runs on this machine",
            )
