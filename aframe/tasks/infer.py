"""Tasks of the infer stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from aframe.parameters import (
    Choice,
    Flag,
    Integer,
    Numbers,
    OptionalSource,
    Positive,
    Text,
    Words,
)
from aframe.tasks.base import StageTask
from aframe.tasks.checks import (
    refuse_late_average,
    refuse_livetime,
    refuse_nameless_events,
    refuse_other_stream,
    refuse_shifts,
    refuse_stray_injections,
    refuse_windows,
)
from aframe.tasks.data import FetchTask, FetchTest, FetchZeroLag, TestingWaveforms
from aframe.tasks.export import ExportLocal, StreamParameters


class Infer(StageTask, StreamParameters):
    """Rank time slides, injections and zero lag with the exported network."""

    stage, verb = "infer", "infer"
    branched = True
    publishes: ClassVar = {
        "background": "background.hdf5",
        "foreground": "foreground.hdf5",
        "examples": "examples.hdf5",
    }
    #: The task that exports; a pipeline may name another.
    export_task: ClassVar[type[ExportLocal]] = ExportLocal

    integration_window_length = Positive(
        default=1.5, description="length of the average over scores (s); default: 1.5"
    )
    cluster_window_length = Positive(
        default=8.0, description="time in which one event is kept (s); default: 8"
    )
    Tb = Positive(default=31_536_000.0, description="background livetime to analyze (s)")
    shifts = Numbers(default=(0.0, 1.0), description="shift of each detector a slide (s)")
    zero_lag = Flag(
        default=True,
        description="whether to search unshifted strain too; default: True",
    )
    zero_lag_source = OptionalSource(
        default=None,
        description="source of the strain to search at zero lag, as JSON; "
        "default: the testing strain",
    )
    model_version = Integer(
        default=-1, description="version of the exported network; default: -1, the latest"
    )
    return_timeseries = Flag(
        default=False,
        description="whether to keep every score in timeseries.hdf5; default: False",
    )
    known_events = Words(
        default=(),
        description="catalogued events in the testing strain: GPS times (s), or names with the "
        "UTC time such as GW190521_030229; default: none",
    )
    known_events_half_width = Positive(
        default=8.0, description="strain on either side of each that is its own (s); default: 8"
    )
    known_events_are = Choice(
        default="removed",
        choices=("removed", "kept"),
        description="whether that strain is removed from the background; default: removed",
    )

    server = Text(
        default="",
        significant=False,
        description="Triton server that scores: `local` for the one that `make server` installs "
        "or a tritonserver on PATH, the path of another environment, program or image (.sif), or "
        "the host:port of one that runs; default: none, the network runs in the process",
    )
    server_timeout = Positive(
        default=60.0,
        significant=False,
        description="how long to wait for the server's answer, or for it to come back (s); "
        "default: 60",
    )

    @property
    def directory(self) -> Path:
        """Where the events appear."""
        return self.paths.results

    def check(self) -> None:
        """Refuse what cannot be scored, slid, averaged or found, before anything runs."""
        refuse_other_stream(self, self.export_task.req(self))
        refuse_shifts(self)
        refuse_windows(self)
        refuse_nameless_events(self)
        refuse_late_average(self)
        refuse_stray_injections(self, TestingWaveforms.req(self))
        refuse_livetime(self, FetchTest.req(self))

    def requires(self) -> dict[str, StageTask]:
        """The network, the strain and the injections."""
        required: dict[str, StageTask] = {
            "model": self.export_task.req(self),
            "strain": FetchTest.req(self),
            "injections": TestingWaveforms.req(self),
        }
        if self.zero_lag and self.zero_lag_source:
            required["zero_lag"] = FetchZeroLag.req(self, source=self.zero_lag_source)
        return required

    def output(self) -> dict[str, Any]:
        """Events of slides and injections, and those of zero lag where it is searched."""
        extra = {"zero_lag": "0lag.hdf5", "candidates": "candidates.hdf5"} if self.zero_lag else {}
        names = {**self.publishes, **extra}
        return {name: self.target(file) for name, file in names.items()}

    def inputs(self) -> dict[str, Path | None]:
        """The repository, the strain and the injections."""
        required = self.requires()
        zero_lag = required.get("zero_lag")
        return {
            "model_repository": Path(required["model"].output()["repository"].path),
            "background": _strain(required["strain"]),
            "injections": Path(required["injections"].output()["waveforms"].path),
            "zero_lag_background": _strain(zero_lag) if zero_lag else None,
        }

    def settings(self) -> dict[str, Any]:
        """Slides, statistic and clustering."""
        return {
            "ifos": list(self.ifos),
            "sample_rate": self.sample_rate,
            **self.streaming(),
            "integration_window_length": self.integration_window_length,
            "cluster_window_length": self.cluster_window_length,
            "Tb": self.Tb,
            "shifts": list(self.shifts),
            "zero_lag": self.zero_lag,
            "model_version": self.model_version,
            "return_timeseries": self.return_timeseries,
            "known_events": list(self.known_events),
            "known_events_half_width": self.known_events_half_width,
            "known_events_are": self.known_events_are,
        }

    def stage_resources(self) -> dict[str, Any]:
        """The machine, and the server if there is one."""
        return {
            **super().stage_resources(),
            "server": self.server or None,
            "server_timeout": self.server_timeout,
        }


def _strain(task: StageTask) -> Path:
    assert isinstance(task, FetchTask)  # noqa: S101 (for the type checker; inputs are ours)
    return Path(task.output()["background"].path)
