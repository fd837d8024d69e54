"""Tasks of the sv stage: sensitive volume and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import law

from aframe.parameters import Detectors, Flag, Pairs, Positive, Text
from aframe.tasks.base import StageTask
from aframe.tasks.data import FetchTrain, TestingWaveforms
from aframe.tasks.infer import Infer


class SensitiveVolume(StageTask):
    """Estimate the volume in which the search finds a source, against its false alarm rate."""

    stage, verb = "sv", "estimate"
    publishes: ClassVar = {"sensitive_volume": "sensitive_volume.h5"}
    #: The task that ranks; a pipeline may name another.
    infer_task: ClassVar[type[Infer]] = Infer

    ifos = Detectors(default=("H1", "L1"), description="detectors in channel order; default: H1,L1")
    mass_combos = Pairs(
        default=[[35, 35], [35, 20], [20, 20], [20, 10]],
        description="source-frame masses (Msun), heavier first",
    )
    source_prior = Text(
        default="end_o3_ratesandpops",
        description="population the injections were drawn from; default: end_o3_ratesandpops",
    )
    dt = Positive(
        default=1.0, description="largest distance of event and injection (s); default: 1"
    )
    max_far = Positive(
        default=365.0, description="largest false alarm rate to report (1/yr); default: 365"
    )
    sigma = Positive(
        default=0.1, description="width of the log-normal mass populations; default: 0.1"
    )
    legacy_redshift = Flag(
        default=False,
        description="weigh by masses alone, as the older tool did; default: False",
    )

    @property
    def directory(self) -> Path:
        """Where the volume appears."""
        return self.paths.results / "plots"

    def requires(self) -> dict[str, StageTask]:
        """The ranked events, and the draws that were rejected."""
        return {"events": self.infer_task.req(self), "injections": TestingWaveforms.req(self)}

    def inputs(self) -> dict[str, Path | None]:
        """Background, recovered injections and rejected draws."""
        required = self.requires()
        events = required["events"].output()
        return {
            "background": Path(events["background"].path),
            "foreground": Path(events["foreground"].path),
            "rejected_parameters": Path(required["injections"].output()["rejected"].path),
        }

    def settings(self) -> dict[str, Any]:
        """Populations, recovery and rates."""
        return {
            "ifos": list(self.ifos),
            "mass_combos": [list(pair) for pair in self.mass_combos],
            "source_prior": self.source_prior,
            "dt": self.dt,
            "max_far": self.max_far,
            "sigma": self.sigma,
            "legacy_redshift": self.legacy_redshift,
        }


class Report(StageTask):
    """Write the one page that shows what ran, how well it works and what it found."""

    stage, verb = "sv", "report"
    publishes: ClassVar = {"report": "report.html"}
    #: The task that estimates; a pipeline may name another.
    volume_task: ClassVar[type[SensitiveVolume]] = SensitiveVolume

    title = Text(
        default="A search for gravitational waves",
        description="headline of the report; default: A search for gravitational waves",
    )

    @property
    def directory(self) -> Path:
        """Where the report appears."""
        return self.paths.results

    def requires(self) -> SensitiveVolume:
        """The sensitive volume, and through it all else."""
        return self.volume_task.req(self)

    def inputs(self) -> dict[str, Path | None]:
        """What the plots are drawn from."""
        volume = self.requires()
        infer = volume.requires()["events"]
        steps = infer.requires()
        train = steps["model"].requires()
        events = infer.output()
        injections = steps["injections"].output()
        zero_lag = steps.get("zero_lag")
        return {
            "background": Path(events["background"].path),
            "foreground": Path(events["foreground"].path),
            "zero_lag": _optional(events, "zero_lag"),
            "candidates": _optional(events, "candidates"),
            "sensitive_volume": Path(volume.output()["sensitive_volume"].path),
            "rejected_parameters": Path(injections["rejected"].path),
            "injections": Path(injections["waveforms"].path),
            "train_background": _optional(FetchTrain.req(self).output(), "background"),
            "test_background": Path(steps["strain"].output()["background"].path),
            "zero_lag_background": _optional(zero_lag.output() if zero_lag else {}, "background"),
            "metrics": Path(train.output()["metrics"].path),
            "preprocessing": Path(train.output()["preprocessing"].path),
            "tune": _optional(train.output(), "trials"),
        }

    def settings(self) -> dict[str, Any]:
        """Nothing of its own but the title."""
        return {"title": self.title}

    def stage_resources(self) -> dict[str, Any]:
        """The records of every step, which tell what ran."""
        tasks = (task for task, *_ in self.requires().walk_deps())
        steps = {task.record for task in tasks if isinstance(task, StageTask)}
        return {**super().stage_resources(), "records": sorted(str(path) for path in steps)}


def _optional(outputs: dict[str, law.LocalFileTarget], name: str) -> Path | None:
    return Path(outputs[name].path) if name in outputs else None
