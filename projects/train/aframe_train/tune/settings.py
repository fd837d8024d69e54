"""What a search is told: what to try, how often, and on how much of the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import jsonargparse

from aframe.errors import AframeError
from aframe_train.fit import FitInputs, FitResources, FitSettings


@dataclass(frozen=True)
class Search:
    """What is tried.

    Args:
        space: Distribution of each key of the training configuration, as
            ``loguniform(1e-4, 1e-2)``.
        num_samples: Number of trials.
        grace_period: Epochs that each trial has before it may be stopped.
        reduction_factor: Where trials are compared (after *grace_period* epochs, that
            times this factor, …) the best one in this many goes on.
    """

    space: dict[str, str]
    num_samples: int = 8
    grace_period: int = 1
    reduction_factor: int = 2

    def __post_init__(self) -> None:
        low = {"num_samples": 1, "grace_period": 1, "reduction_factor": 2}
        wrong = [
            f"{name} {getattr(self, name)}"
            for name, least in low.items()
            if getattr(self, name) < least
        ]
        if wrong or not self.space:
            raise AframeError(
                "the search is impossible",
                found=", ".join(wrong) or "an empty space",
                wanted_by="the configuration of the search",
                fix="name a key to search at least, and give at least one trial, one epoch "
                "of grace and a reduction factor of two",
            )


def read_search(path: Path, **changes: int) -> Search:
    """Read a search's configuration.

    Args:
        path: YAML with the fields of :class:`Search`.
        **changes: Fields that are given otherwise.

    Raises:
        AframeError: If there is none, or it says what no search knows.
    """
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Search)
    try:
        found = parser.parse_path(path)
        return Search(**{**found.as_dict(), **changes})
    except (jsonargparse.ArgumentError, OSError, ValueError, TypeError) as error:
        raise AframeError(
            "the configuration of the search cannot be used",
            found=f"{path}: {' '.join(str(error).split())}",
            wanted_by="the search",
            fix="give a YAML file with `space`, and `num_samples`, `grace_period` and "
            "`reduction_factor` where their defaults do not fit",
        ) from error


@dataclass(frozen=True)
class TuneInputs(FitInputs):
    """What is trained with, and what is tried.

    Args:
        background: Directory of strain files.
        training_waveforms: Ledger of polarizations ``plus`` and ``cross``; ``None`` if the
            trainings make them themselves.
        validation_waveforms: Ledger of signals as each detector sees them.
        train_config: Lightning YAML that the trials change.
        tune_config: YAML of what is tried.
        glitches: Table of glitches, in place of simulated ones, if not ``None``.
    """

    tune_config: Path


@dataclass(frozen=True)
class TuneResources(FitResources):
    """How a search may use the machine, or a cluster.

    Args:
        workers: Most cores of this machine for all trials together; all unless given.
        name: Name of the search: of its folder in *storage_dir*, and of its group in
            Weights & Biases.
        num_workers: Trials side by side; 0 for as many as there is room for.
        gpus_per_worker: GPUs of a trial; none where there are none.
        cpus_per_gpu: Cores of a trial for each of its GPUs, or in all where it has none.
        storage_dir: Where the trials are kept, a directory or ``s3://`` address; with
            the output's draft if ``None``, until the search has ended.
        temp_dir: Directory for what Ray writes while it runs; the system's if ``None``.
        endpoint: Address ``host:port`` of a running Ray cluster's client server, which
            then runs the trials; they must see *storage_dir* and the inputs.
    """

    name: str = "tune"
    num_workers: int = 0
    gpus_per_worker: int = 1
    cpus_per_gpu: int = 1
    storage_dir: str | None = None
    temp_dir: Path | None = None
    endpoint: str | None = None

    def __post_init__(self) -> None:
        low = {"num_workers": 0, "gpus_per_worker": 0, "cpus_per_gpu": 1}
        wrong = [
            f"{name} {getattr(self, name)}"
            for name, least in low.items()
            if getattr(self, name) < least
        ]
        if wrong:
            raise AframeError(
                "no trial can run with these resources",
                found=", ".join(wrong),
                wanted_by="`resources` of the settings",
                fix="give each trial at least one core",
            )


@dataclass(frozen=True)
class TuneSettings(FitSettings):
    """Settings of a search: those of the trainings that it makes.

    Args:
        inputs: What is trained with, and what is tried.
        output: Directory where the files of the best trial appear.
        ifos: Detectors in channel order.
        sample_rate: Samples a second (Hz).
        kernel_length: Length of a whitened kernel (s).
        fduration: Length of the whitening filter (s).
        fftlength: Length of a Welch segment (s); ``kernel_length + fduration`` if ``None``.
        highpass: Lower edge of the band (Hz), or ``None``.
        lowpass: Upper edge of the band (Hz), or ``None``.
        seed: Seed of all random streams, and of what the trials try.
        resources: How to use the machine.
    """

    inputs: TuneInputs
    resources: TuneResources = field(default_factory=TuneResources)
