"""The model `snapshotter` of a Triton server's Python backend.

That backend keeps no state for a model, so this one keeps the strain of each sequence by
its correlation id. It runs in the server's own environment, which needs numpy.
"""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

import numpy as np

#: Flags of a request: it is the first, or the last, of its sequence.
START, END = 1, 2


class Snapshots:
    """The latest strain of each sequence, which starts as zeros.

    Args:
        shape: Shape of a state, with its length in samples last.
        idle: Time after which a sequence without a request is forgotten (s).
    """

    def __init__(self, shape: tuple[int, ...], idle: float) -> None:
        self.shape = shape
        self.idle = idle
        self.states: dict[Any, tuple[float, np.ndarray]] = {}

    def __call__(self, sequence: Any, flags: int, update: np.ndarray) -> np.ndarray:
        """Append an update to its sequence; returns state and update.

        Raises:
            KeyError: If the sequence was not started, or forgotten.
        """
        now = time.monotonic()
        # A client that was killed never ends its sequences.
        self.states = {k: v for k, v in self.states.items() if now - v[0] < self.idle}
        if flags & START:
            self.states[sequence] = now, np.zeros(self.shape, np.float32)
        _, state = self.states.pop(sequence)
        strain = np.concatenate([state, update], axis=-1)
        if not flags & END:
            self.states[sequence] = now, strain[..., -self.shape[-1] :].copy()
        return strain


class TritonPythonModel:
    """What the server calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Take the lengths from the configuration."""
        self.triton: Any = importlib.import_module("triton_python_backend_utils")
        config = json.loads(args["model_config"])
        update, strain = (
            [int(size) for size in config[name][0]["dims"]] for name in ("input", "output")
        )
        shape = (*update[:-1], strain[-1] - update[-1])
        idle = int(config["sequence_batching"]["max_sequence_idle_microseconds"])
        self.snapshots = Snapshots(shape, idle / 1e6)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, which the server hands over in the order of each sequence."""
        return [self._answer(each) for each in requests]

    def _answer(self, request: Any) -> Any:
        update = self.triton.get_input_tensor_by_name(request, "stream").as_numpy()
        sequence = request.correlation_id()
        try:
            strain = self.snapshots(sequence, request.flags(), update)
        except KeyError:
            error = self.triton.TritonError(
                f"the sequence {sequence} was not started, or forgotten"
            )
            return self.triton.InferenceResponse(error=error)
        return self.triton.InferenceResponse([self.triton.Tensor("strain", strain)])
