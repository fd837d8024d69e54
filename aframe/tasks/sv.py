"""Tasks of the sv stage: vetoes, sensitive volume, probabilities and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import law

from aframe.artifacts.remote import place
from aframe.parameters import Detectors, Flag, Pairs, PathParameter, Positive, Rates, Text
from aframe.tasks.base import StageTask
from aframe.tasks.data import TestingWaveforms
from aframe.tasks.infer import Infer


class Veto(StageTask):
    """Leave out events, injections and livetime in which a detector is vetoed."""

    stage, verb = "sv", "veto"
    publishes: ClassVar = {"background": "background.hdf5", "foreground": "foreground.hdf5"}
    #: The task that ranks; a pipeline may name another.
    infer_task: ClassVar[type[Infer]] = Infer

    vetoes = PathParameter(
        default="",
        description="folder of lists <IFO>-<anything>.txt of segments or gates to leave out",
    )

    @property
    def directory(self) -> Path:
        """Where the events that are left appear."""
        return self.paths.results / "vetoed"

    def requires(self) -> Infer:
        """The ranked events, and through them the strain."""
        return self.infer_task.req(self)

    def output(self) -> dict[str, Any]:
        """The same files as of the search, but for the examples, which show what was injected."""
        found = self.requires().output()
        return {
            name: self.target(Path(target.path).name)
            for name, target in found.items()
            if name != "examples"
        }

    def inputs(self) -> dict[str, Path | None]:
        """The vetoes, the events and the strain that was searched."""
        infer = self.requires()
        events, steps = infer.output(), infer.requires()
        zero_lag = steps.get("zero_lag")
        return {
            "vetoes": self.vetoes and Path(self.vetoes),
            "background": Path(events["background"].path),
            "foreground": Path(events["foreground"].path),
            "strain": Path(steps["strain"].output()["background"].path),
            "zero_lag": _optional(events, "zero_lag"),
            "candidates": _optional(events, "candidates"),
            "zero_lag_strain": _optional(zero_lag.output() if zero_lag else {}, "background"),
        }

    def settings(self) -> dict[str, Any]:
        """What tells the time that was searched."""
        infer = self.requires()
        return {"ifos": list(infer.ifos), "psd_length": infer.streaming()["psd_length"]}


class SensitiveVolume(StageTask):
    """Estimate the volume in which the search finds a source, against its false alarm rate."""

    stage, verb = "sv", "estimate"
    publishes: ClassVar = {"sensitive_volume": "sensitive_volume.h5"}
    #: The task that ranks, and the one that vetoes; a pipeline may name others.
    infer_task: ClassVar[type[Infer]] = Infer
    veto_task: ClassVar[type[Veto]] = Veto

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
    vetoes = PathParameter(
        default="",
        description="folder of lists <IFO>-<anything>.txt of segments (start stop) or gates "
        "(center half-width taper) to leave out of events and livetime; default: none",
    )

    @property
    def directory(self) -> Path:
        """Where the volume appears."""
        return self.paths.results / "plots"

    @property
    def infer(self) -> Infer:
        """The search, before any veto."""
        return self.infer_task.req(self)

    def requires(self) -> dict[str, StageTask]:
        """The ranked events that are left, and the draws that were rejected."""
        vetoed = self.vetoes and self.veto_task.req(self, vetoes=self.vetoes)
        return {"events": vetoed or self.infer, "injections": TestingWaveforms.req(self)}

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


class PAstro(StageTask):
    """Tell how probable it is that each zero-lag event is a signal, and of which class."""

    stage, verb = "sv", "p_astro"
    publishes: ClassVar = {"p_astro": "p_astro.hdf5"}
    #: The task that estimates the volume from the same events; a pipeline may name another.
    volume_task: ClassVar[type[SensitiveVolume]] = SensitiveVolume

    rates = Rates(
        default={"BBH": 28.0, "NSBH": 33.0, "BNS": 130.0},
        description="mergers of each class (1/(Gpc^3 yr)), as JSON; "
        'default: {"BBH": 28, "NSBH": 33, "BNS": 130}',
    )
    rates_source = Text(
        default="R. Abbott et al., Phys. Rev. X 13, 011048 (2023): 17.9 to 44 BBH (at redshift "
        "0.2), 7.8 to 140 NSBH, 10 to 1700 BNS per Gpc³ and year",
        description="where the rates are from, told in the report; default: the catalog GWTC-3",
    )
    heaviest_neutron_star = Positive(
        default=3.0, description="source-frame mass of the lightest black hole (Msun); default: 3"
    )

    @property
    def directory(self) -> Path:
        """Where the probabilities appear."""
        return self.paths.results / "plots"

    @property
    def volume(self) -> SensitiveVolume:
        """The task of the volume, whose events and population these are."""
        return self.volume_task.req(self)

    def requires(self) -> dict[str, StageTask]:
        """The ranked events, and the draws that were rejected."""
        return self.volume.requires()

    def inputs(self) -> dict[str, Path | None]:
        """What the volume is estimated from, and the events of zero lag."""
        zero_lag = self.requires()["events"].output()["zero_lag"]
        return {**self.volume.inputs(), "zero_lag": Path(zero_lag.path)}

    def settings(self) -> dict[str, Any]:
        """Rates, and the population and recovery of the volume."""
        of_volume = self.volume.settings()
        shared = ("ifos", "source_prior", "dt", "legacy_redshift")
        return {
            **{name: of_volume[name] for name in shared},
            "rates": dict(self.rates),
            "rates_source": self.rates_source,
            "heaviest_neutron_star": self.heaviest_neutron_star,
        }


class Report(StageTask):
    """Write the one page that shows what ran, how well it works and what it found."""

    stage, verb = "sv", "report"
    publishes: ClassVar = {"report": "report.html"}
    #: The tasks that estimate; a pipeline may name others.
    volume_task: ClassVar[type[SensitiveVolume]] = SensitiveVolume
    p_astro_task: ClassVar[type[PAstro]] = PAstro

    title = Text(
        default="A search for gravitational waves",
        description="headline of the report; default: A search for gravitational waves",
    )

    @property
    def directory(self) -> Path:
        """Where the report appears."""
        return self.paths.results

    @property
    def volume(self) -> SensitiveVolume:
        """The sensitive volume."""
        return self.volume_task.req(self)

    def requires(self) -> dict[str, StageTask]:
        """The sensitive volume and probabilities of zero lag, and through them all else."""
        volume = self.volume
        required: dict[str, StageTask] = {"volume": volume}
        if volume.infer.zero_lag:
            required["p_astro"] = self.p_astro_task.req(self)
        return required

    def inputs(self) -> dict[str, Path | None]:
        """What the plots are drawn from."""
        required, volume = self.requires(), self.volume
        p_astro = required.get("p_astro")
        steps = volume.infer.requires()
        train = steps["model"].requires()
        events = volume.requires()["events"].output()
        injections = steps["injections"].output()
        zero_lag = steps.get("zero_lag")
        return {
            "background": Path(events["background"].path),
            "foreground": Path(events["foreground"].path),
            "zero_lag": _optional(events, "zero_lag"),
            "candidates": _optional(events, "candidates"),
            "examples": Path(volume.infer.output()["examples"].path),
            "sensitive_volume": Path(volume.output()["sensitive_volume"].path),
            "p_astro": _optional(p_astro.output() if p_astro else {}, "p_astro"),
            "rejected_parameters": Path(injections["rejected"].path),
            "injections": Path(injections["waveforms"].path),
            "train_background": train.inputs()["background"],
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
        tasks = (task for step in self.requires().values() for task, *_ in step.walk_deps())
        steps = {task.record for task in tasks if isinstance(task, StageTask)}
        return {**super().stage_resources(), "records": sorted(map(place, steps))}


def _optional(outputs: dict[str, law.LocalFileTarget], name: str) -> Path | None:
    return Path(outputs[name].path) if name in outputs else None
