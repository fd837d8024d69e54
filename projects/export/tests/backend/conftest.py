"""A stand-in of the module that a server's Python backend hands to its models."""

import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def triton(monkeypatch):
    """What the models use of it; tests of aframe-infer run them in a real server."""
    stand_in = SimpleNamespace(
        Tensor=lambda name, array: SimpleNamespace(name=name, array=array),
        TritonError=str,
        InferenceResponse=lambda tensors=(), error=None: SimpleNamespace(
            arrays={each.name: each.array for each in tensors}, error=error
        ),
        get_input_tensor_by_name=lambda request, name: SimpleNamespace(
            as_numpy=lambda: request.arrays[name]
        ),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stand_in)


@pytest.fixture
def request_of():
    """Make a request of a sequence."""

    def make(sequence=0, flags=0, **arrays):
        return SimpleNamespace(arrays=arrays, correlation_id=lambda: sequence, flags=lambda: flags)

    return make
