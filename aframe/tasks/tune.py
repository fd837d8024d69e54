"""The task that searches for the settings of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from aframe.artifacts.remote import place
from aframe.parameters import Count, Integer, PathParameter, Text
from aframe.tasks.train import CONFIGS, TrainLocal


class TuneTask(TrainLocal):
    """Search for the settings that train best, and keep the best training."""

    verb = "tune"
    publishes: ClassVar = {**TrainLocal.publishes, "trials": "trials.json"}

    tune_config = PathParameter(
        default=str(CONFIGS / "tune" / "bbh.yaml"),
        description="what is tried (YAML): a distribution for each key of config, and how many "
        "trials; default: the bbh preset's",
    )
    search_name = Text(
        default="tune",
        significant=False,
        description="name of the search: of its folder in storage_dir, and of its group in "
        "Weights & Biases; default: tune",
    )
    num_workers = Integer(
        default=0,
        significant=False,
        description="trials side by side; default: as many as there is room for",
    )
    gpus_per_worker = Integer(
        default=1, significant=False, description="GPUs of a trial, where there are any; default: 1"
    )
    cpus_per_gpu = Count(
        default=1,
        significant=False,
        description="cores of a trial for each of its GPUs, or in all without any; default: 1",
    )
    storage_dir = Text(
        default="",
        significant=False,
        description="where the trials are kept, a folder or s3:// address; default: in the "
        "output's draft, until the search has ended",
    )
    temp_dir = PathParameter(
        default="",
        significant=False,
        description="folder for what Ray writes while it runs; default: the system's",
    )
    endpoint = Text(
        default="",
        significant=False,
        description="host:port of a running Ray cluster's client server, to run the trials there",
    )

    def inputs(self) -> dict[str, Path | None]:
        """What a training reads, and what is tried."""
        return {**super().inputs(), "tune_config": Path(place(self.tune_config))}

    def stage_resources(self) -> dict[str, Any]:
        """The machine or cluster, and its share for each trial."""
        return {
            **super().stage_resources(),
            "name": self.search_name,
            "num_workers": self.num_workers,
            "gpus_per_worker": self.gpus_per_worker,
            "cpus_per_gpu": self.cpus_per_gpu,
            "storage_dir": self.storage_dir or None,
            "temp_dir": self.temp_dir and str(self.temp_dir.absolute()),
            "endpoint": self.endpoint or None,
        }
