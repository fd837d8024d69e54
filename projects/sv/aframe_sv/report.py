"""The verb `report`: one page that shows what ran, how well it works and what it found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aframe.artifacts.inventory import read_record
from aframe.artifacts.record import Record, write_text
from aframe.draft import Draft
from aframe.processes import Failed, in_processes
from aframe.program import Resources
from aframe_sv.evidence import Evidence, Inputs
from aframe_sv.page import Section, render
from aframe_sv.sections import (
    accounting,
    candidates,
    comparison,
    headline,
    injections,
    missed,
    probability,
    ranking,
    sensitivity,
    steps,
    strain,
    training,
    tuning,
)

log = logging.getLogger(__name__)

OUTPUT = "report.html"
SECTIONS: tuple[Callable[[Evidence], Section | None], ...] = (
    headline.section,
    candidates.section,
    probability.section,
    sensitivity.section,
    comparison.section,
    ranking.section,
    missed.section,
    training.section,
    tuning.section,
    injections.section,
    strain.section,
    accounting.section,
    steps.section,
)
#: In this order they are made: those with close-ups first, so that no process ends long before
#: another.
_LONGEST_FIRST = sorted(
    range(len(SECTIONS)),
    key=lambda number: (
        SECTIONS[number] not in (ranking.section, missed.section, candidates.section)
    ),
)


@dataclass(frozen=True)
class ReportResources(Resources):
    """How the report is made, and which records it shows: they never decide a result.

    Args:
        workers: Number of processes.
        device: Where tensors live.
        records: Records of the steps that ran (``*.record.json``).
    """

    records: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class ReportSettings:
    """Settings of ``aframe-sv report``.

    Args:
        inputs: What to show; what is missing leaves a sentence.
        output: Directory in which ``report.html`` appears.
        title: Headline of the page.
        resources: Records to show, and how to use the machine.
    """

    inputs: Inputs
    output: Path
    title: str = "A search for gravitational waves"
    resources: ReportResources = field(default_factory=ReportResources)


def report(settings: ReportSettings, draft: Draft) -> None:
    """Write one self-contained page about a run."""
    evidence = Evidence(settings.inputs, read_records(settings.resources.records))
    parts: dict[int, Section | None] = {}
    calls = {number: (number, evidence) for number in _LONGEST_FIRST}
    try:
        for number, part in in_processes(
            _section, calls, settings.resources.workers, "sections of the page"
        ):
            parts[number] = part
            draft.progress(len(parts), len(SECTIONS), "sections")
    except Failed as failed:
        raise failed.error from failed.error.__cause__
    shown = [part for _, part in sorted(parts.items()) if part is not None]
    page = render(settings.title, subtitle(evidence), shown)
    write_text(draft.path / OUTPUT, page)
    draft.notes["pictures"] = sum(part.count for part in shown)
    draft.notes["bytes"] = len(page.encode())


def _section(number: int, evidence: Evidence) -> Section | None:
    return SECTIONS[number](evidence)


def read_records(paths: Sequence[Path]) -> list[tuple[Path, Record]]:
    """Read the records that are there, here or on S3."""
    found = [(Path(path), read_record(path)) for path in paths]
    for path, record in found:
        if record is None:
            log.warning("there is no record %s: the report leaves that step out", path)
    return [(path, record) for path, record in found if record is not None]


def subtitle(evidence: Evidence) -> str:
    """Line under the headline: detectors, and the version of the code."""
    versions = {record.versions.get("aframe") for _, record in evidence.records}
    code = ", ".join(sorted(version for version in versions if version))
    words = (f"aframe {code}".strip(), ", ".join(evidence.ifos))
    return " · ".join(word for word in words if word)
