"""The kernels in a whitened block."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def unfold(
    whitened: Float[Tensor, "*block whitened"], size: int, stride: int
) -> Float[Tensor, "*block kernel time"]:
    """View a block as its overlapping kernels, of *size* samples and *stride* samples apart."""
    # A positive axis: the exporter of ONNX misplaces a negative one.
    return whitened.unfold(whitened.ndim - 1, size, stride)
