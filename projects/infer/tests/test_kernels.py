"""Kernels against the stream of updates that they stand for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aframe.artifacts.strain import list_strain, read_strain, write_strain
from aframe.transforms.streaming import streaming_search
from aframe_infer import kernels as module
from aframe_infer.kernels import (
    Kernels,
    behind,
    block_range,
    first_kernel,
    kernel_energy,
    num_kernels,
    paths,
    read_blocks,
    whiten_blocks,
    whiten_signal,
    write_blocks,
)
from aframe_infer.scores import score

CPU = torch.device("cpu")
IFOS, RATE = ("H1", "L1"), 256


def _streamed(stream, whitener, network, reference, strain):
    """Score *strain* update by update, with the PSD of *reference*, as a server would."""
    search = streaming_search(stream, whitener, network)
    pair = torch.tensor(np.stack([reference, strain]), dtype=torch.float32)
    padding = -pair.shape[-1] % stream.update_size
    state = torch.zeros(2, len(IFOS), stream.state_size)
    scores = []
    with torch.no_grad():
        for update in torch.nn.functional.pad(pair, (0, padding)).split(stream.update_size, -1):
            block, state = search(update, state)
            scores.append(block[:, 0])
    return torch.cat(scores).numpy()


def _first_whole(stream):
    """First kernel whose block's PSD lies within the strain."""
    whole = -(-(stream.psd_size + stream.window_size) // stream.update_size) - 1
    return max(first_kernel(stream), whole * stream.batch_size)


def _kernels(stream, whitener, strain, offsets=(0, 0)):
    duration = strain.shape[-1] / RATE
    rows = torch.tensor(strain, dtype=torch.float32)
    blocks = [whiten_blocks(row, stream, whitener, block_range(stream, duration)) for row in rows]
    return Kernels(blocks, stream, offsets), blocks


# The second length ends within a block, the third within a stride.
@pytest.mark.parametrize("seconds", [40, 41.25, 41.3])
@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_scores_are_those_of_the_stream(repository, toy, seconds, batch_size):
    """At zero lag every kernel to the end is scored as the exported ensemble would."""
    stream = replace(repository.stream, batch_size=batch_size)
    strain = toy.noise(seconds, 5)
    kernels, _ = _kernels(stream, repository.whitener, strain)
    numbers = np.arange(_first_whole(stream), num_kernels(stream, strain.shape[-1] / RATE))

    found = score(toy.Power(), kernels, numbers, CPU)

    wanted = _streamed(stream, repository.whitener, toy.Power(), strain, strain)
    assert len(numbers) == int(seconds * 4) - _first_whole(stream)
    np.testing.assert_allclose(found, wanted[numbers], atol=1e-5)


@pytest.mark.parametrize("shift", [1, 3])
def test_a_slide_by_whole_blocks_is_a_stream_of_shifted_strain(repository, toy, shift):
    """An index does what shifting the strain and whitening it again would."""
    stream = repository.stream
    strain = toy.noise(40, 6)
    kernels, _ = _kernels(stream, repository.whitener, strain, (0, 4 * shift))
    numbers = np.arange(_first_whole(stream), num_kernels(stream, 40 - shift))

    found = score(toy.Power(), kernels, numbers, CPU)

    size = (40 - shift) * RATE
    slid = np.stack([strain[0, :size], strain[1, shift * RATE :]])
    wanted = _streamed(stream, repository.whitener, toy.Power(), slid, slid)
    np.testing.assert_allclose(found, wanted[numbers], atol=1e-5)


def test_a_slide_within_a_block_pairs_kernels_of_the_same_strain(repository, toy):
    """Kernel n of one detector meets kernel n + 3 of the other, each as it was at zero lag."""
    still, _ = _kernels(repository.stream, repository.whitener, toy.noise(40, 7))
    slid, _ = _kernels(repository.stream, repository.whitener, toy.noise(40, 7), (0, 3))
    numbers = torch.arange(20, 120)

    moved = slid(numbers)

    assert torch.equal(moved[:, 0], still(numbers)[:, 0])
    assert torch.equal(moved[:, 1], still(numbers + 3)[:, 1])


def test_the_first_blocks_take_the_psd_of_the_start(repository, toy):
    """Where less than its length lies before a block, and of nothing but strain."""
    stream, whitener = repository.stream, repository.whitener
    strain = toy.noise(20, 8)
    kernels, _ = _kernels(stream, whitener, strain)
    first = first_kernel(stream)
    data = torch.tensor(strain, dtype=torch.float32)

    (found,) = kernels(torch.tensor([first]))

    block = first // stream.batch_size
    end = (block + 1) * stream.update_size
    assert end - stream.window_size < stream.psd_size
    psd = whitener.psd(data[:, : stream.psd_size])
    whitened = whitener(data[None, :, end - stream.window_size : end], psd[None])[0]
    torch.testing.assert_close(found, whitened[:, : stream.kernel_size])


def test_an_injection_adds_its_whitened_signal(repository, toy):
    """To the stored background, as if it had lain in the strain but not in the PSD."""
    stream, whitener = repository.stream, repository.whitener
    clean, signal = toy.noise(30, 9), np.zeros((2, 30 * RATE))
    signal[:, 14 * RATE : 16 * RATE] = 3e-21 * np.sin(np.arange(2 * RATE) * 1.3)
    kernels, blocks = _kernels(stream, whitener, clean)
    added = [
        whiten_signal(torch.tensor(row, dtype=torch.float32), stream, whitener, background)
        for row, background in zip(signal, blocks, strict=True)
    ]
    alone = Kernels(added, stream, (0, 0))
    numbers = np.arange(_first_whole(stream), num_kernels(stream, 30))

    found = score(toy.Power(), lambda each: kernels(each) + alone(each), numbers, CPU)

    wanted = _streamed(stream, whitener, toy.Power(), clean, clean + signal)
    assert wanted.max() > 20
    np.testing.assert_allclose(found, wanted[numbers], atol=1e-4)


def test_the_energy_of_a_kernel_is_its_sum_of_squares(repository, toy):
    """For every kernel of every block."""
    stream = repository.stream
    _, (blocks, _) = _kernels(stream, repository.whitener, toy.noise(20, 10))

    found = kernel_energy(blocks, stream)

    by_hand = (stream.unfold(blocks.whitened.double()) ** 2).sum(-1)
    torch.testing.assert_close(found, by_hand)


def test_whitened_strain_survives_on_disk(repository, toy, data, tmp_path):
    """The blocks of a file come back bit by bit, and nothing half is left beside them."""
    (file,) = list_strain(data.background, IFOS)
    for ifo in IFOS:
        write_blocks(repository, file, ifo, tmp_path, CPU)

    blocks = read_blocks(repository, file, IFOS, tmp_path, CPU)

    strain = torch.from_numpy(read_strain(file, IFOS))
    spans = block_range(repository.stream, toy.DURATION)
    for found, row in zip(blocks, strain, strict=True):
        wanted = whiten_blocks(row, repository.stream, repository.whitener, spans)
        assert found.first == wanted.first
        assert torch.equal(found.whitened, wanted.whitened)
        assert torch.equal(found.psd, wanted.psd)
    names = {path.name for ifo in IFOS for path in paths(tmp_path, file, ifo)}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("blocks", [range(1, 20), range(4, 9), range(68, 100)])
def test_a_block_comes_from_the_strain_behind_it(repository, toy, blocks):
    """A part of a segment gives what the whole does, to the bit, at either end too."""
    strain = torch.tensor(toy.noise(99.3, 11)[0], dtype=torch.float32)
    stream, whitener = repository.stream, repository.whitener
    samples = behind(blocks, stream, len(strain))

    everything = whiten_blocks(strain, stream, whitener, range(1, 100))
    cut = strain[samples.start : samples.stop]
    part = whiten_blocks(cut, stream, whitener, blocks, samples.start)

    assert len(cut) <= stream.psd_size + stream.window_size + len(blocks) * stream.update_size
    rows = slice(blocks.start - 1, blocks.stop - 1)
    assert torch.equal(everything.whitened[rows], part.whitened)
    assert torch.equal(everything.psd[rows], part.psd)


def test_a_signal_is_whitened_from_what_is_behind_its_blocks(repository, toy):
    """As from the whole segment."""
    strain = torch.tensor(toy.noise(60, 12)[0], dtype=torch.float32)
    stream, whitener = repository.stream, repository.whitener
    whole = whiten_blocks(strain, stream, whitener, range(1, 60))
    part = whole.part(range(20, 40), CPU)
    samples = behind(part.numbers, stream, len(strain))

    everything = whiten_signal(strain, stream, whitener, whole)
    cut = strain[samples.start : samples.stop]
    found = whiten_signal(cut, stream, whitener, part, samples.start)

    assert torch.equal(found.whitened, everything.whitened[19:39])


@pytest.mark.parametrize("samples", [1, 10_000])
def test_a_file_is_whitened_part_by_part(repository, data, tmp_path, monkeypatch, samples):
    """However many blocks are in memory at a time: all but the rounding is the same."""
    (file,) = list_strain(data.background, IFOS)
    found = []
    for name, bound in (("usual", module._SAMPLES), ("few", samples)):
        monkeypatch.setattr(module, "_SAMPLES", bound)
        (tmp_path / name).mkdir()
        write_blocks(repository, file, "L1", tmp_path / name, CPU)
        found += read_blocks(repository, file, ["L1"], tmp_path / name, CPU)

    assert found[0].numbers == found[1].numbers
    torch.testing.assert_close(found[0].whitened, found[1].whitened, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[0].psd, found[1].psd, rtol=1e-9, atol=0)


def test_strain_of_any_rate_counts_its_kernels(tmp_path, repository, toy):
    """From the header alone, whatever the rounding of duration and rate."""
    path = write_strain(
        tmp_path, toy.noise(33.25, 0), ifos=IFOS, start=1_126_000_000.5, sample_rate=float(RATE)
    )
    (file,) = list_strain(path.parent, IFOS)

    assert num_kernels(repository.stream, file.duration) == 133
    assert block_range(repository.stream, file.duration) == range(1, 34)
