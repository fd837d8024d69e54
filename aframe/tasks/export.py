"""Tasks of the export stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from aframe.parameters import Choice, Count, Positive
from aframe.tasks.base import StageTask
from aframe.tasks.checks import refuse_band, refuse_stream
from aframe.tasks.train import PreprocessingParameters, Train, TrainLocal
from aframe.tasks.tune import TuneTask

_TRAINERS: dict[str, type[TrainLocal]] = {"Train": Train, "TuneTask": TuneTask}


class StreamParameters(PreprocessingParameters):
    """How strain reaches the network in updates; one truth for export and inference."""

    inference_sampling_rate = Positive(default=4.0, description="kernels a second (Hz); default: 4")
    batch_size = Count(
        default=128, description="kernels an update of the streaming ensemble; default: 128"
    )
    psd_length = Positive(
        default=64.0, description="data before an update that give its PSD (s); default: 64"
    )

    def streaming(self) -> dict[str, Any]:
        """These parameters as the stages' settings name them."""
        names = ("inference_sampling_rate", "batch_size", "psd_length")
        return {name: getattr(self, name) for name in names}


class ExportLocal(StageTask, StreamParameters):
    """Export the trained network and its streaming ensemble as a model repository."""

    stage, verb = "export", "export"
    publishes: ClassVar = {"repository": "model_repo"}

    streams_per_gpu = Count(default=6, description="streams a GPU serves; default: 6")
    aframe_instances = Count(
        default=1, description="copies of the network on each GPU of a server; default: 1"
    )
    preproc_instances = Count(
        default=1, description="copies of the preprocessor on each GPU of a server; default: 1"
    )
    platform = Choice(
        choices=("TORCHSCRIPT", "ONNX", "TENSORRT", "PYTHON"),
        default="TORCHSCRIPT",
        description="form in which a server runs the network; PYTHON for the server that "
        "`make server` installs; default: TORCHSCRIPT",
    )

    @property
    def directory(self) -> Path:
        """Where the repository appears."""
        return self.paths.results

    def check(self) -> None:
        """Refuse a band beyond Nyquist, and kernels that do not fit their samples."""
        refuse_band(self)
        refuse_stream(self)

    def requires(self) -> TrainLocal:
        """The trained network."""
        return _TRAINERS[self.train_task].req(self)

    def inputs(self) -> dict[str, Path | None]:
        """What training left."""
        trained = self.requires().output()
        return {name: Path(trained[name].path) for name in ("weights", "preprocessing", "batch")}

    def settings(self) -> dict[str, Any]:
        """Preprocessing to hold against the training's, and the streaming's sizes."""
        return {
            **self.preprocessing(),
            **self.streaming(),
            "streams_per_gpu": self.streams_per_gpu,
            "aframe_instances": self.aframe_instances,
            "preproc_instances": self.preproc_instances,
            "platform": self.platform,
        }
