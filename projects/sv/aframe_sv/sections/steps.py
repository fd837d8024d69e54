"""What ran: each step with its settings, versions, host and time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from aframe.artifacts.record import Record
from aframe_sv.evidence import Evidence
from aframe_sv.far import in_words
from aframe_sv.page import Fold, Section, Table

_LONGEST = 400
_MEANING = (
    "Each step is one command with one settings file; its record lies beside its output. "
    "“+changes” after a commit marks code that was edited after it."
)
Steps = Sequence[tuple[Path, Record]]


def section(evidence: Evidence) -> Section:
    """List the steps of the run."""
    name, title = "steps", "What ran"
    steps = sorted(evidence.records, key=lambda step: (step[1].started, str(step[0])))
    if not steps:
        return Section(name, title, ["No records of the steps were given to this report."])
    facts = [
        ("Steps", str(len(steps))),
        ("Time in all steps", in_words(sum(seconds(record) for _, record in steps))),
        ("Hosts", ", ".join(sorted({record.host for _, record in steps}))),
        ("Code", ", ".join(sorted({record.git or "not from a checkout" for _, record in steps}))),
    ]
    return Section(name, title, [_MEANING], facts=facts, tables=[table(steps)], folds=folds(steps))


def seconds(record: Record) -> float:
    """Length of the step's last run (s)."""
    times = [datetime.fromisoformat(time) for time in (record.started, record.finished) if time]
    return (times[1] - times[0]).total_seconds() if len(times) == 2 else 0.0  # noqa: PLR2004


def table(steps: Steps) -> Table:
    """List steps in the order in which they began."""
    rows = [
        (
            record.command,
            path.parent.name,
            record.started.replace("T", " ").replace("+00:00", ""),
            in_words(seconds(record)),
            record.host,
            record.git or "-",
            record.versions.get("aframe", "-"),
            record.digest[:12],
        )
        for path, record in steps
    ]
    columns = ("Command", "Folder", "Began (UTC)", "Took", "Host", "Commit", "aframe")
    caption = "Steps in the order in which they began; the digest stands for settings and inputs."
    return Table((*columns, "Digest"), rows, caption)


def folds(steps: Steps) -> list[Fold]:
    """Settings, results worth keeping and versions of each step."""
    return [
        Fold(
            f"{record.command} ({path.parent.name}): settings and versions",
            [
                Table((head, "value"), rows)
                for head, rows in (
                    ("setting", flat(record.settings)),
                    ("note", flat(record.notes)),
                    ("version of", flat(record.versions)),
                )
                if rows
            ],
        )
        for path, record in steps
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Name nested values by their path; cut long ones.

    Example:
        >>> flat({"source": {"kind": "simulated"}, "ifos": ["H1", "L1"]})
        [('source.kind', 'simulated'), ('ifos', '["H1", "L1"]')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
            rows.append((prefix + name, cut))
    return rows
