"""A machine-learning search for gravitational waves, from strain to sensitive volume."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_TASKS = (
    "ExportLocal", "FetchTest", "FetchTrain", "FetchZeroLag", "Infer", "Query", "Report",
    "SensitiveVolume", "TestingWaveforms", "Train", "TrainLocal", "TrainingWaveforms",
    "ValidationWaveforms",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Give the tasks by name (``law run aframe.Train``) without importing law before."""
    if name in _TASKS:
        return getattr(importlib.import_module("aframe.tasks"), name)
    raise AttributeError(f"module 'aframe' has no attribute {name!r}")
