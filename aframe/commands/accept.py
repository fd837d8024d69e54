"""`aframe accept`: keep an output though a setting or an input of it has changed."""

from __future__ import annotations

import getpass
import platform
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aframe.artifacts.inventory import forget, is_whole, recorded_digest
from aframe.artifacts.record import (
    Record,
    canonical,
    input_digest,
    named_inputs,
    parse_record,
    read_record,
    record_text,
    write_record,
)
from aframe.artifacts.remote import Remote, address, copy_of, here, place
from aframe.commands.run_directory import RunDirectory
from aframe.commands.steps import named
from aframe.errors import AframeError
from aframe.tasks.outlook import RUNNING, Outlook, changes, outlooks

_NO_REASON = "  no reason is kept; who reads the record would want one: --because TEXT"


def run(run_directory: RunDirectory, asked: Any, options: Sequence[str]) -> int:
    """Accept the outputs of the steps that are asked for, and say what was accepted."""
    with run_directory.task_to_run(options) as task:
        found = outlooks(task)
        steps = {each.name: each for word in asked.tasks for each in named(word, found)}
        accepted = {name: _accepted(each, asked.because) for name, each in steps.items()}
        for name, record in accepted.items():
            if record is None:
                print(f"{name} is as it is asked for: nothing was to be accepted")
                continue
            _replace(steps[name], record)
            print(f"{name} is kept, though it was made with")
            for line in record.notes["accepted"][-1]["changes"]:
                print(f"  {line}")
            print(f"  because {asked.because}" if asked.because else _NO_REASON)
    return 0


def _accepted(each: Outlook, because: str | None) -> Record | None:
    """The record that *each* gets; ``None`` where nothing differs.

    Raises:
        AframeError: If there is no whole output, it is at work, or what differs cannot be known.
    """
    step, record = each.step, each.record
    _refuse(each)
    assert record is not None  # noqa: S101 (for the type checker: it was refused)
    lines = changes(step, record)
    if not lines:
        return None
    asked = canonical(step.settings())
    given = {name: path for name, path in step.inputs().items() if path}
    digests = {name: told for name, path in given.items() if (told := _digest(path))}
    there = {name: given[name] for name in digests}
    note = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": f"{_user()} on {platform.node()}",
        "because": because,
        "changes": lines,
        "settings": record.settings,
        "inputs": record.inputs,
    }
    accepted = replace(
        record,
        settings={**record.settings, **asked},
        inputs={**record.inputs, **digests, **named_inputs(step.settings())},
        notes={**record.notes, "accepted": [*record.notes.get("accepted", ()), note]},
        places={**record.places, **{name: place(path) for name, path in there.items()}},
    )
    left = changes(step, accepted)
    if left:
        raise AframeError(
            "what changed cannot be accepted",
            found="; ".join(left),
            wanted_by=f"aframe accept {each.name}",
            fix="have the inputs at hand, or make the output anew with --on-change remake",
        )
    return accepted


def _refuse(each: Outlook) -> None:
    step, record = each.step, each.record
    found = None
    if each.state == RUNNING:
        found = "it is being made at this moment"
    elif record is None:
        # A store that does not answer says so.
        found = each.reasons[0] if each.fix else f"no {place(step.record)}"
    elif not is_whole(record, step.directory):
        found = f"files of {place(step.record)} are gone or cut short"
    if found is not None:
        raise AframeError(
            "there is no whole output to accept",
            found=found,
            wanted_by=f"aframe accept {each.name}",
            fix="run the step; only what was made whole can be kept",
        )


def _digest(path: Path) -> str | None:
    """Digest of an input, ``None`` where it cannot be known: on S3, without record, not fetched."""
    copy = copy_of(path)
    return recorded_digest(path) or (input_digest(copy) if copy.exists() else None)


def _replace(each: Outlook, record: Record) -> None:
    """Write *record* in place of that of a step, here or on S3.

    Raises:
        AframeError: If that on S3 is another by now.
    """
    path = each.step.record
    if address(path) is not None:
        remote = Remote(place(path))
        there = remote.look("")
        same = there is not None and parse_record(there.content, place(path)) == each.record
        if not (there and same and remote.swap("", record_text(record).encode(), there.tag)):
            raise AframeError(
                "the record on S3 has changed meanwhile",
                found=f"another one than was read a moment ago at {place(path)}",
                wanted_by=f"aframe accept {each.name}",
                fix="let the run that writes there end, then look at aframe plan again",
            )
        forget()
    # Of an output on S3, what this machine made of it is the same output.
    if read_record(here(path)) == each.record:
        write_record(here(path), record)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "an unknown user"
