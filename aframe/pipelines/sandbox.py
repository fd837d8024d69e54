"""The search end to end: data, training, export, inference, sensitive volume, report."""

from __future__ import annotations

from aframe.tasks import Infer, PAstro, Pipeline, Report, SensitiveVolume, Veto


class SandboxInfer(Infer):
    """Rank time slides, injections and zero lag with the exported network."""


class SandboxVeto(Veto):
    """Leave out events, injections and livetime in which a detector is vetoed."""

    infer_task = SandboxInfer


class SandboxSV(SensitiveVolume):
    """Estimate the volume in which the search finds a source, against its false alarm rate."""

    infer_task = SandboxInfer
    veto_task = SandboxVeto


class SandboxPAstro(PAstro):
    """Tell how probable it is that each zero-lag event is a signal, and of which class."""

    volume_task = SandboxSV


class SandboxReport(Report):
    """Write the one page that shows what ran, how well it works and what it found."""

    volume_task = SandboxSV
    p_astro_task = SandboxPAstro


class Sandbox(Pipeline):
    """Run the search end to end, from strain to sensitive volume and report."""

    def requires(self) -> SandboxReport:
        """The report, and through it every step."""
        return SandboxReport.req(self)


class Tune(Pipeline):
    """Run the search end to end, with the best of many trainings."""

    def requires(self) -> SandboxReport:
        """The report, and through it every step."""
        return SandboxReport.req(self, train_task="TuneTask")


# Their sections and options are those of the classes above.
for _replaced in (Infer, Veto, SensitiveVolume, PAstro, Report):
    _replaced.deregister()
