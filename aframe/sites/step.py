"""A step that is to run on a pool, and where its jobs keep their things."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aframe.artifacts.record import PREPARED, draft_path, settings_digest
from aframe.artifacts.remote import here
from aframe.sites.requests import Request, Terms
from aframe.sites.submission import Batch
from aframe.stages import Stage, Step


@dataclass(frozen=True)
class PoolStep:
    """A step that runs on a pool.

    Args:
        stage: The stage's program, and the image it runs in.
        step: The task's name, the verb and the settings.
        request: What each job asks for.
        terms: On what terms they run.
        folder: Where the tables, scripts and reports of this step lie.
        branched: Whether the verb deals its branches; else one job does all of it.
        published: Tells whether the output is there, as asked for.
        remake: Whether to replace an output that was made with other settings.
    """

    stage: Stage
    step: Step
    request: Request
    terms: Terms
    folder: Path
    branched: bool
    published: Callable[[], bool]
    remake: bool = False

    @property
    def output(self) -> Path:
        """The output directory on this machine."""
        return here(self.step.settings["output"])

    @property
    def run(self) -> str:
        """What tells the jobs of this step from all others in the queue."""
        return run_name(self.output, self.step.verb)

    @property
    def tables(self) -> Path:
        """Where the verb lays down its branches."""
        return self.folder / "tables"

    @property
    def reports(self) -> Path:
        """Where jobs report, on a shared disk."""
        return self.folder / "reports"

    @property
    def draft(self) -> Path:
        """Where the verb writes until it publishes."""
        return draft_path(self.output, self.step.verb)

    @property
    def returned(self) -> bool:
        """Whether what a job made of the whole verb lies in the draft, to be published."""
        return (self.draft / PREPARED).exists()

    @property
    def digest(self) -> str:
        """Digest of what the jobs do; how they do it is left out."""
        plain = {name: value for name, value in self.step.settings.items() if name != "resources"}
        return settings_digest({**plain, "verb": self.step.verb}, {})

    @property
    def logs(self) -> Path:
        """Holds the log of each job."""
        return self.output / "logs" / self.step.verb

    @property
    def homes(self) -> Path:
        """Holds a folder for each job, without a shared disk."""
        return self.folder / "jobs"

    @property
    def constraint(self) -> str:
        """What is true of the jobs of this step alone."""
        return f'AframeRun == "{self.run}"'

    def batch(self, number: int, token: str) -> Batch:
        """Where the jobs of set *number* keep their things."""
        return Batch(
            label=self.step.label,
            run=self.run,
            number=number,
            token=token,
            folder=self.folder,
            logs=self.logs,
            homes=self.homes,
        )


def run_name(output: Path, verb: str) -> str:
    """Name the jobs that do *verb* for the directory *output*.

    Machines that submit to one scheduler must not use one path for two directories.
    """
    return hashlib.sha256(f"{output.absolute()}\0{verb}".encode()).hexdigest()[:16]
