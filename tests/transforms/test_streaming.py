"""A stream of updates gives the kernels that the whole strain gives."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aframe.errors import AframeError
from aframe.transforms.stream import Stream
from aframe.transforms.streaming import (
    DATA,
    REFERENCE,
    Preprocessor,
    Snapshotter,
    streaming_search,
)
from aframe.transforms.whitening import Whitener

STREAM = Stream(
    sample_rate=256.0,
    kernel_length=1.5,
    fduration=1.0,
    psd_length=8.0,
    inference_sampling_rate=4.0,
    batch_size=16,
)


class Recorder:
    """In place of whitening: keeps what it was given, and only crops."""

    def __init__(self, stream):
        self.stream = stream
        self.references = []

    def psd(self, strain):
        """Keep the strain of which a PSD was asked."""
        self.references.append(strain)
        return strain.mean(-1, keepdim=True)

    def whiten(self, strain, psd):
        """Crop the edges."""
        return strain[..., self.stream.edge_size : -self.stream.edge_size]


def _kernels(stream, strain, recorder):
    """Kernels of all updates of *strain*, of shape ``(pair, ifo, time)``."""
    snapshotter = Snapshotter(stream)
    preprocessor = Preprocessor(stream, recorder.psd, recorder.whiten)
    state = torch.zeros(*strain.shape[:-1], stream.state_size)
    for update in strain.split(stream.update_size, -1):
        snapshot, state = snapshotter(update, state)
        yield preprocessor(snapshot)


def test_lengths_of_the_reference_configuration():
    """At 2048 Hz: 1.5 s kernels, 128 of them at 4 Hz in an update of 32 s."""
    stream = Stream(2048, 1.5, 1.0, 64.0, 4, 128)

    assert stream.kernel_size == 3072
    assert stream.stride_size == 512
    assert stream.update_size == 32 * 2048
    assert stream.edge_size == 1024
    assert stream.psd_size == 64 * 2048
    assert stream.whitened_size == 127 * 512 + 3072
    assert stream.window_size == stream.whitened_size + 2048
    assert stream.state_size + stream.update_size == stream.psd_size + stream.window_size


@given(
    st.sampled_from([0.5, 1.0, 1.5]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([2, 4, 8]),
    st.integers(1, 9),
)
def test_kernel_n_ends_half_a_filter_before_stride_n_plus_one(kernel, fduration, rate, batch):
    """Strain that counts its own samples shows where each kernel was cut."""
    stream = Stream(64, kernel, fduration, 4.0, rate, batch)
    size = stream.update_size * (2 + stream.state_size // stream.update_size)
    strain = torch.arange(1.0, size + 1).expand(2, 2, -1)

    recorder = Recorder(stream)
    kernels = torch.cat(list(_kernels(stream, strain, recorder)))

    ends = (torch.arange(len(kernels)) + 1) * stream.stride_size - stream.edge_size
    torch.testing.assert_close(kernels[:, 0, -1], ends.clamp(min=0).float())
    # Samples of the last kernels count up; before the stream there was nothing.
    wanted = ends[-1] + torch.arange(1 - stream.kernel_size, 1)
    torch.testing.assert_close(kernels[-1, 1], wanted.clamp(min=0).float())


def test_a_block_is_whitened_with_what_lies_before_it():
    """The PSD ends where the block's data begin, so no signal enters its own PSD."""
    strain = torch.arange(1.0, 4 * STREAM.update_size + 1).expand(2, 2, -1)
    recorder = Recorder(STREAM)

    blocks = list(_kernels(STREAM, strain, recorder))

    for block, reference in zip(blocks, recorder.references, strict=True):
        first = block[0, 0, 0] - STREAM.edge_size
        assert reference.shape == (2, STREAM.psd_size)
        if first > 0:
            assert reference[0, -1] == first - 1


def test_the_psd_comes_from_the_reference_and_kernels_from_the_data():
    """An injection into the data leaves the PSD as it was."""
    strain = torch.stack([torch.full((2, 10_000), value) for value in (1.0, 2.0)])
    recorder = Recorder(STREAM)

    last = list(_kernels(STREAM, strain, recorder))[-1]

    assert (REFERENCE, DATA) == (0, 1)
    assert recorder.references[-1].unique().tolist() == [1.0]
    assert last.unique().tolist() == [2.0]
    assert last.shape == (STREAM.batch_size, 2, STREAM.kernel_size)


def test_the_search_scores_the_kernels_of_its_stream():
    """Composed of its parts it gives what whitening each block by hand gives."""
    torch.manual_seed(0)
    whitener = Whitener(256, 1.0, 2.0, 16.0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2 * STREAM.kernel_size, 1))
    search = streaming_search(STREAM, whitener, network)
    strain = torch.randn(1, 2, 5 * STREAM.update_size).expand(2, -1, -1)
    state = torch.zeros(2, 2, STREAM.state_size)

    scores = []
    for update in strain.split(STREAM.update_size, -1):
        block, state = search(update, state)
        scores.append(block)

    end = strain.shape[-1]
    window = strain[:1, :, end - STREAM.window_size :]
    before = strain[0, :, : end - STREAM.window_size][:, -STREAM.psd_size :]
    kernels = whitener(window, whitener.psd(before)[None])[0]
    by_hand = [
        network(kernels[None, :, first : first + STREAM.kernel_size])
        for first in range(0, STREAM.batch_size * STREAM.stride_size, STREAM.stride_size)
    ]
    assert [len(block) for block in scores] == [STREAM.batch_size] * 5
    torch.testing.assert_close(scores[-1], torch.cat(by_hand))


def test_refuses_lengths_that_are_no_samples():
    """As soon as a stream is asked for."""
    with pytest.raises(AframeError, match=r"kernel_length \* sample_rate is 256\.2"):
        replace(STREAM, kernel_length=1.001)
