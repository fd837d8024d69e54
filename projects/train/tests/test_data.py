"""The data module: one truth for each number, and memory that is bounded."""

import pytest
import torch

from aframe.artifacts.preprocessing import Preprocessing
from aframe.errors import AframeError
from aframe_train.batches import Mixture
from aframe_train.data import AframeData, BatchNumbers
from aframe_train.snr import SnrPowerLaw
from aframe_train.validation import ValidationAmounts


@pytest.fixture
def make(data_dir, small):
    """Make the data of the small search."""

    def data(**settings):
        defaults = {
            "ifos": ["H1", "L1"],
            "mixture": Mixture(16, 0.5, kernels_per_stretch=2),
            "batches_per_epoch": 4,
            "snr": SnrPowerLaw(),
            "validation": ValidationAmounts(60.0, 40.0, 0.5, 3),
            "data_dir": str(data_dir),
            "psd_length": 4.0,
            **small.PREPROCESSING,
        }
        return AframeData(**{**defaults, **settings})

    return data


def test_the_sample_rate_is_that_of_the_strain(make):
    """Whoever gives none gets it; the length of a Welch segment is that of kernel and filter."""
    found = make(sample_rate=None, fftlength=None).preprocessing

    assert found == Preprocessing(("H1", "L1"), 256.0, 1.0, 0.5, 1.5, 20.0, None, 4.0)


def test_training_and_validation_share_no_strain(make):
    """The last file validates, the others train."""
    data = make()
    data.setup("fit")

    background = data.training_batches.background.at(0)
    assert background.strain.shape[-1] == 128 * 256
    # 96 s less the first PSD and filter, in blocks of 8 s.
    assert data.validation_batches.strain.shape[-1] == 88 * 256


def test_channels_follow_ifos(make):
    """Detectors the other way round give the same data with their channels exchanged."""
    one, other = make(), make(ifos=["L1", "H1"])
    for data in (one, other):
        data.setup("validate")

    mine, theirs = one.validation_batches, other.validation_batches
    assert torch.equal(mine.strain, theirs.strain.flip(0))
    # Another detector is shifted, so that signals lie in blocks of other PSDs.
    likeness = torch.cosine_similarity(mine.signals, theirs.signals.flip(1), dim=-1)
    assert likeness.min() > 0.95
    assert torch.cosine_similarity(mine.signals, theirs.signals, dim=-1).max() < 0.9


def test_little_memory_means_chunks(make):
    """Of what does not fit, the present chunk and the next together are what is allowed."""
    # 4 bytes, 2 detectors, 256 Hz: 76 of 128 s of strain, and 38 of 40 waveforms of 2 s.
    data = make(memory=76 * 256 * 8 / 1e9, chunks_per_epoch=2)
    data.setup("fit")
    background, waveforms = data.training_batches.background, data.training_batches.waveforms.bank

    for step in range(0, 20, 2):
        both = background.at(step).strain.shape[-1], background.at(step + 2).strain.shape[-1]
        assert min(both) >= 20 * 256
        assert sum(both) <= 76 * 256
    assert background.at(0) is background.at(1)
    assert len({float(background.at(step).strain.sum()) for step in range(0, 20, 2)}) > 1
    assert waveforms.at(0).shape == waveforms.at(2).shape == (2, 19, 512)
    assert data.training_batches(3)[0].shape == (16, 2, 256)


def test_what_fits_is_held_whole(make):
    """There is no next chunk to share the memory with."""
    data = make(memory=129 * 256 * 8 / 1e9)
    data.setup("fit")

    assert data.training_batches.background.at(0).strain.shape[-1] == 128 * 256
    assert data.training_batches.waveforms.bank.at(0).shape == (2, 40, 512)


def test_chunks_do_not_depend_on_where_a_run_began(make):
    """The batch of an index is the same whether the chunks before it were read or not."""
    one, other = (make(memory=80 * 256 * 8 / 1e9) for _ in range(2))
    for data in (one, other):
        data.setup("fit")
    for index in range(5):
        last = one.training_batches(index)

    for mine, theirs in zip(last, other.training_batches(4), strict=True):
        assert torch.equal(mine, theirs)


def test_batch_numbers_go_on_where_a_checkpoint_was():
    """An interrupted epoch is finished, and the next one is whole."""
    numbers = BatchNumbers(5)
    whole = [*numbers, *numbers]
    numbers = BatchNumbers(5)
    part = iter(numbers)
    before = [next(part), next(part)]
    resumed = BatchNumbers(5, first=numbers.next)

    assert [*before, *resumed, *resumed] == whole == list(range(10))


def test_processes_share_the_batches():
    """Two processes make different batches, half as many each."""
    first, second = (BatchNumbers(6, rank=rank, processes=2) for rank in range(2))

    assert len(first) == len(second) == 3
    assert sorted([*first, *second]) == list(range(6))


@pytest.mark.parametrize(
    ("settings", "message", "found"),
    [
        ({"data_dir": None}, "not said where the data are", "neither data_dir nor background_dir"),
        ({"sample_rate": 512.0}, "strain has another sample rate", "256 Hz"),
        ({"highpass": 200.0}, "highpass is not between zero", "highpass 200 Hz"),
        ({"psd_length": 0.2}, "shorter than one Welch segment", "psd_length 0.2 s"),
        ({"left_pad": 2.0}, "no place in the kernel", "left_pad 2 s"),
        ({"batches_per_epoch": 0}, "nothing to train with", "batches_per_epoch 0"),
        ({"memory": 0.0}, "nothing to train with", "memory 0 GB"),
        ({"chunks_per_epoch": 0}, "nothing to train with", "chunks_per_epoch 0"),
        ({"data_dir": "/nowhere"}, "there is no strain", "/nowhere/background"),
    ],
)
def test_refuses_before_any_work(make, settings, message, found):
    """Each contradiction when the data are named, not when they are read."""
    with pytest.raises(AframeError, match=message) as error:
        make(**settings)

    assert found in error.value.found
