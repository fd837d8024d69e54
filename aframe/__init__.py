"""A machine-learning search for gravitational waves, from strain to sensitive volume."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

__version__ = "0.1.0"

_TASKS = (
    "ExportLocal", "FetchTest", "FetchTrain", "FetchZeroLag", "Infer", "PAstro", "Query", "Report",
    "SensitiveVolume", "TestingWaveforms", "Train", "TrainLocal", "TrainingWaveforms",
    "TuneTask", "ValidationWaveforms", "Veto",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Give the tasks by name (``law run aframe.Train``) without importing law before."""
    # Of a task's name that is mistyped, aframe.tasks tells the nearest: but only to law. A stage's
    # command looks for its own classes here too (jsonargparse), and must not import law for that.
    mistyped = name[:1].isupper() and "law" in sys.modules
    if mistyped or (name in _TASKS and importlib.util.find_spec("law")):
        tasks = importlib.import_module("aframe.tasks")
        if name in _TASKS:
            return getattr(tasks, name)
    raise AttributeError(f"module 'aframe' has no attribute {name!r}")
