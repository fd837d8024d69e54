"""What steps cost before: an estimate of what is to run, from the records of past runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aframe.artifacts.record import Record, read_record
from aframe.artifacts.remote import here
from aframe.errors import AframeError

#: Settings that a step's work grows with, where there is one.
_GROWS_WITH = {
    "aframe-data training_waveforms": "num_signals",
    "aframe-data validation_waveforms": "num_signals",
    "aframe-data testing_waveforms": "num_signals",
    "aframe-infer infer": "Tb",
}
_EPOCHS = re.compile(r"^\s*max_epochs:\s*(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Estimate:
    """What a step is likely to cost.

    Args:
        wall: Time (s).
        gpu: Time that it holds a GPU (s).
        written: Size of what it publishes (bytes).
        of: The record that tells.
        scale: How much more there is to do than then.
    """

    wall: float
    gpu: float
    written: float
    of: Path
    scale: float


@dataclass(frozen=True)
class Past:
    """A step that has run."""

    path: Path
    record: Record

    @property
    def wall(self) -> float:
        """Time that it took (s)."""
        if "wall" in self.record.usage:
            return float(self.record.usage["wall"])
        times = (self.record.started, self.record.finished)
        if not all(times):
            return 0.0
        began, ended = map(datetime.fromisoformat, times)
        return (ended - began).total_seconds()


def pasts(directories: Iterable[Path]) -> list[Past]:
    """Records of past runs below *directories*; what cannot be read tells nothing."""
    return list(_pasts(directories))


def _pasts(directories: Iterable[Path]) -> Iterator[Past]:
    for path in sorted({path for each in directories for path in _records(each)}):
        try:
            record = read_record(path)
        except AframeError:
            continue
        if record is not None:
            yield Past(path, record)


def _records(directory: Path) -> Iterator[Path]:
    for path in Path(directory).rglob("*.record.json"):
        if not any(part.startswith(".") for part in path.relative_to(directory).parts):
            yield path


def neighbors(directory: Path) -> list[Path]:
    """The run directories beside *directory*, and itself."""
    beside = sorted(path.parent for path in directory.parent.glob("*/run.sh"))
    return [directory, *(path for path in beside if path != directory)]


def estimate(step: Any, known: Sequence[Past]) -> Estimate | None:
    """Estimate what *step* costs, from the most like it of those that are *known*."""
    command = f"aframe-{step.stage} {step.verb}"
    settings = step.settings()
    alike = [past for past in known if past.record.command == command and past.wall > 0]
    if not alike:
        return None
    mine = str(here(step.directory))
    best = max(
        alike,
        key=lambda past: (
            _same(past.record.settings, settings),
            str(past.path.parent) == mine,
            past.record.finished,
        ),
    )
    now, then = _work(step, settings), _work_then(best)
    scale = now / then if now and then else 1.0
    return Estimate(
        wall=best.wall * scale,
        gpu=float(best.record.usage.get("gpu", 0.0)) * scale,
        written=sum(best.record.sizes.values()) * scale,
        of=best.path,
        scale=scale,
    )


def _same(then: Mapping[str, Any], now: Mapping[str, Any]) -> int:
    """How many settings are alike."""
    return sum(then.get(name) == value for name, value in now.items())


def _work(step: Any, settings: Mapping[str, Any]) -> float | None:
    """How much there is to do: signals, livetime (s), strain (s), epochs; ``None`` if unknown."""
    command = f"aframe-{step.stage} {step.verb}"
    if command == "aframe-data fetch" and step.start is not None and step.stop is not None:
        return float(step.stop - step.start)
    if command == "aframe-train fit":
        return _epochs(step.inputs().get("train_config"))
    name = _GROWS_WITH.get(command)
    return float(settings[name]) if name else None


def _work_then(past: Past) -> float | None:
    record = past.record
    if record.command == "aframe-data fetch":
        query = read_record(past.path.with_name("query.record.json"))
        start, stop = (query.settings.get(n) if query else None for n in ("start", "stop"))
        return None if start is None or stop is None else float(stop - start)
    if record.command == "aframe-train fit":
        return _epochs(past.path.with_name("config.yaml"))
    name = _GROWS_WITH.get(record.command)
    value = record.settings.get(name) if name else None
    return float(value) if value else None


def _epochs(configuration: Path | None) -> float | None:
    try:
        found = _EPOCHS.findall(configuration.read_text()) if configuration else []
    except OSError:
        return None
    return float(found[-1]) if found else None


def spelled_time(seconds: float) -> str:
    """Write a time as people read it.

    Example:
        >>> spelled_time(42), spelled_time(600), spelled_time(9000), spelled_time(400_000)
        ('42 s', '10 min', '2.5 h', '4.6 d')
    """
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length or (unit == "min" and seconds >= length):
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds else "0 s"


def spelled_size(size: float) -> str:
    """Write a number of bytes as people read it.

    Example:
        >>> spelled_size(512), spelled_size(2_500_000), spelled_size(3e12)
        ('512 B', '2.5 MB', '3 TB')
    """
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.3g} {unit}"
    return f"{size:.0f} B"
