"""The search as a stream: strain comes in updates, a state is carried, scores go out.

Export turns these modules into the models of a server, and inference is held against
them: both count samples by one :class:`Stream`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from aframe.transforms.stream import Stream
from aframe.transforms.whitening import Whitener

#: The leading pair of a stream: strain that gives the PSD, and strain to whiten.
REFERENCE, DATA = 0, 1


class Snapshotter(torch.nn.Module):
    """Append an update of the stream to the state, and keep the end as the next state.

    Args:
        stream: The lengths.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.state_size = stream.state_size

    def forward(
        self,
        stream: Float[Tensor, "pair ifo update"],
        state: Float[Tensor, "pair ifo state"],
    ) -> tuple[Float[Tensor, "pair ifo snapshot"], Float[Tensor, "pair ifo state"]]:
        """Return the whole snapshot and the new state."""
        strain = torch.cat([state, stream], dim=-1)
        return strain, strain[..., -self.state_size :]


class Preprocessor(torch.nn.Module):
    """Turn a snapshot into a block of whitened kernels.

    The PSD comes from the start of the snapshot's reference strain, the kernels from
    the end of its data: an injection never enters its own PSD.

    Args:
        stream: The lengths.
        psd: Gives the PSD of strain of shape ``(ifo, time)``.
        whiten: Whitens strain of shape ``(1, ifo, time)`` with a PSD ``(1, ifo, frequency)``.
    """

    def __init__(
        self,
        stream: Stream,
        psd: Callable[[Tensor], Tensor],
        whiten: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.stream = stream
        self.psd = psd
        self.whiten = whiten

    def forward(
        self, strain: Float[Tensor, "pair ifo snapshot"]
    ) -> Float[Tensor, "batch ifo kernel"]:
        """Whiten the snapshot's end and cut it into kernels."""
        psd = self.psd(strain[REFERENCE, :, : self.stream.psd_size])
        window = strain[DATA:, :, -self.stream.window_size :]
        return self.stream.unfold(self.whiten(window, psd[None])[0]).transpose(0, 1).contiguous()


class StreamingSearch(torch.nn.Module):
    """The whole search in one graph: an update and the state in, scores and the state out.

    Args:
        snapshotter: Carries the state.
        preprocessor: Makes kernels of a snapshot.
        network: Scores kernels.
    """

    def __init__(
        self,
        snapshotter: torch.nn.Module,
        preprocessor: torch.nn.Module,
        network: torch.nn.Module,
    ) -> None:
        super().__init__()
        self.snapshotter = snapshotter
        self.preprocessor = preprocessor
        self.network = network

    def forward(
        self,
        stream: Float[Tensor, "pair ifo update"],
        state: Float[Tensor, "pair ifo state"],
    ) -> tuple[Float[Tensor, "batch score"], Float[Tensor, "pair ifo state"]]:
        """Score the kernels that end within the update."""
        strain, state = self.snapshotter(stream, state)
        return self.network(self.preprocessor(strain)), state


def streaming_search(
    stream: Stream, whitener: Whitener, network: torch.nn.Module
) -> StreamingSearch:
    """Compose the search of a trained *network* and the *whitener* of its training."""
    return StreamingSearch(
        Snapshotter(stream), Preprocessor(stream, whitener.psd, whitener), network
    )
