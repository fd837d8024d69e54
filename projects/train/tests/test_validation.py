"""The validation set against loops over the raw strain."""

from functools import cache

import pytest
import torch

from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener
from aframe_train.background import read_segments, split
from aframe_train.batches import Mixture
from aframe_train.data import VALID_BLOCK, AframeData
from aframe_train.metric import TimeSlideAUROC, auroc, loudest
from aframe_train.snr import SnrPowerLaw
from aframe_train.validation import (
    ValidationAmounts,
    signal_windows,
    slide_windows,
    whiten_segments,
)

CPU = torch.device("cpu")


def test_segments_are_whitened_block_by_block(small):
    """Each block is what the shared whitener makes of it with the PSD of the data before it."""
    whitener = Whitener(256.0, 0.5, 0.5, 20.0)
    segments = [
        torch.from_numpy(small.noise(seed, seconds)) for seed, seconds in ((1, 20), (2, 31))
    ]

    found = whiten_segments(segments, whitener, psd_size=1024, block=512, device=CPU)

    assert found.lengths == (7 * 512, 13 * 512)
    blocks = found.strain.unfold(-1, 512, 512).transpose(0, 1)
    starts = [(part, 512 * n) for part, count in enumerate((7, 13)) for n in range(count)]
    assert len(blocks) == len(found.psds) == len(starts)
    for block, psd, (part, start) in zip(blocks, found.psds, starts, strict=True):
        window = segments[part][None, :, start : start + 1024 + 512 + 128]
        torch.testing.assert_close(psd, whitener.psd(window[..., :1024])[0])
        torch.testing.assert_close(block, whitener(window[..., 1024:], psd[None])[0])


def test_refuses_segments_shorter_than_a_block(small):
    """The message says how long they would have to be."""
    with pytest.raises(AframeError, match="strain for validation is too short") as error:
        whiten_segments(
            [torch.from_numpy(small.noise(0, 4))],
            Whitener(256.0, 0.5, 0.5, 20.0),
            psd_size=1024,
            block=512,
            device=CPU,
        )

    assert error.value.found == "1 stretches of at most 1024 samples"
    assert error.value.wanted_by.startswith("1664 contiguous samples")


def slow_windows(lengths, ifos, size, stride, shift, windows):
    """Loop over slides, segments and times, and keep what lies within."""
    found, slide = [], 0
    for step in range(1, 100):
        for sign in (1, -1):
            for segment, length in enumerate(lengths):
                begin, before = sum(lengths[:segment]), len(found)
                for time in range(0, length, stride):
                    places = [
                        time + step * shift * (ifo if sign > 0 else ifos - 1 - ifo)
                        for ifo in range(ifos)
                    ]
                    if max(places) + size <= length:
                        found.append((slide, [begin + place for place in places]))
                slide += len(found) > before
    return found[:windows]


@pytest.mark.parametrize("ifos", [2, 3])
@pytest.mark.parametrize("windows", [1, 30, 60])
def test_windows_lie_in_slides_of_whole_shifts(ifos, windows):
    """+1, -1, +2, -2 … shifts over each segment in turn, the last slide cut short."""
    slides, starts = slide_windows((50, 9, 71), ifos, size=8, stride=3, shift=10, windows=windows)

    expected = slow_windows((50, 9, 71), ifos, 8, 3, 10, windows)
    assert list(zip(slides.tolist(), starts.tolist(), strict=True)) == expected


def test_refuses_more_background_than_all_slides_hold():
    """The message has the number that there is."""
    with pytest.raises(AframeError, match="too few time slides") as error:
        slide_windows((50,), 2, size=8, stride=3, shift=10, windows=1000)

    assert error.value.found.startswith(f"{len(slow_windows((50,), 2, 8, 3, 10, 1000))} windows")


def test_signals_are_spread_over_the_background():
    """From the first window on, evenly."""
    assert signal_windows(4, 10).tolist() == [0, 2, 5, 7]


@pytest.mark.parametrize("name", ["valid_livetime", "valid_stride", "num_valid_views"])
def test_refuses_nothing_to_validate_with(name):
    """Amounts of zero."""
    with pytest.raises(AframeError, match="nothing to validate with") as error:
        ValidationAmounts(**{name: 0 if name == "num_valid_views" else 0.0})

    assert name in error.value.found


@pytest.fixture
def data(data_dir, small) -> AframeData:
    """Data of the small search, ready to validate with."""
    data = AframeData(
        ifos=["L1", "H1"],
        mixture=Mixture(16, 0.5),
        batches_per_epoch=2,
        snr=SnrPowerLaw(),
        validation=ValidationAmounts(60.0, 120.0, 0.5, 3),
        data_dir=str(data_dir),
        psd_length=4.0,
        **small.PREPROCESSING,
    )
    data.setup("validate")
    return data


def statistic(kernels):
    """Score kernels by something that depends on both channels and on the time."""
    weights = torch.linspace(0.5, 1.5, kernels.shape[-1])
    return (kernels.prod(1) * weights).sum(-1)


def test_the_score_is_that_of_loops_over_raw_strain(data, small):
    """Whitened once and slid by index, or whitened window by window: the same AUROC.

    Windows that lie in two blocks are pieced together from both, as the search does.
    """
    metric = TimeSlideAUROC(max_fpr=0.5, pool_length=2, stride=0.5)
    for number in range(len(data.validation_batches)):
        batch = data.validation_batches(number)
        views, signals = batch.injected.shape[:2]
        foreground = statistic(batch.injected.flatten(0, 1)).reshape(views, signals).mean(0)
        metric.update(batch.index, batch.slide, statistic(batch.background), foreground)

    whitener = Whitener(256.0, 0.5, 0.5, 20.0)
    _, stretches = split(data.files, 60.0)
    (strain,) = read_segments(stretches, ("L1", "H1"))
    strain = torch.from_numpy(strain)
    psd_size, block, length = 1024, int(VALID_BLOCK * 256), 11 * int(VALID_BLOCK * 256)

    @cache
    def psd(ifo, begin):
        return whitener.psd(strain[ifo, begin : begin + psd_size][None])[None]

    @cache
    def whitened(ifo, begin):
        window = strain[ifo, begin + psd_size : begin + psd_size + block + 128]
        return whitener(window[None, None], psd(ifo, begin))[0, 0]

    def kernel(ifo, place):
        parts = [whitened(ifo, at // block * block) for at in (place, place + 255)]
        row = [*parts[0][place % block :], *(parts[1] if place % block + 256 > block else [])]
        return torch.tensor(row[:256])

    h1, l1 = 3 * small.chirps(2, 12)
    signals = torch.stack([torch.from_numpy(l1), torch.from_numpy(h1)], 1)

    def signal(number, ifo, place, position):
        """The whitened signal with its coalescence at *position* of a kernel."""
        padded = torch.nn.functional.pad(signals[number, ifo], (512, 512))
        begin = 512 + 384 - position
        window = padded[begin - 64 - 256 : begin + 256 + 64 + 256]
        return whitener(window[None, None], psd(ifo, place // block * block))[0, 0, 256:512]

    places = slow_windows((length,), 2, 256, 128, 256, 240)
    background = [
        statistic(torch.stack([kernel(ifo, start) for ifo, start in enumerate(starts)])[None])
        for _, starts in places
    ]
    foreground = []
    for number in range(12):
        _, starts = places[number * 240 // 12]
        quiet = torch.stack([kernel(ifo, start) for ifo, start in enumerate(starts)])
        scores = []
        for position in (243, 154, 64):
            loud = [signal(number, ifo, start, position) for ifo, start in enumerate(starts)]
            scores.append(statistic((quiet + torch.stack(loud))[None]))
        foreground.append(torch.cat(scores).mean())

    index = torch.argsort(torch.cat(metric.index))
    torch.testing.assert_close(
        torch.cat(metric.background)[index], torch.cat(background), rtol=1e-3, atol=0.05
    )
    torch.testing.assert_close(
        torch.cat(metric.foreground), torch.stack(foreground), rtol=0.03, atol=1.0
    )
    slides = torch.tensor([slide for slide, _ in places])
    expected = auroc(loudest(torch.cat(background), slides, 4), torch.stack(foreground), 0.5)
    assert metric.compute()[0].item() == pytest.approx(expected.item(), abs=0.01)
