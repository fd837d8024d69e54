"""Background strain: split, pieces, and stretches at random."""

import numpy as np
import pytest
import torch

from aframe.artifacts.strain import StrainFile, list_strain, write_strain
from aframe.errors import AframeError
from aframe_train.background import Background, Stretch, choose, pieces, read_segments, split

CPU = torch.device("cpu")


def files(*durations, gap=0.0):
    """Headers of strain files, one after another."""
    start, found = 0.0, []
    for duration in map(float, durations):
        found.append(StrainFile(f"f{start}", start, duration, 256.0, ("H1", "L1")))
        start += duration + gap
    return found


def spans(stretches):
    return [(stretch.start, stretch.stop) for stretch in stretches]


def test_the_last_files_validate():
    """Whole files from the end, as many as reach the time asked for."""
    training, validation = split(files(100, 100, 50, 50), 60.0)

    assert spans(training) == [(0, 100), (100, 200)]
    assert spans(validation) == [(200, 250), (250, 300)]


def test_a_single_file_is_cut_in_time():
    """Where whole files would leave nothing to train on, the first of them is cut."""
    training, validation = split(files(100), 30.0)

    assert spans(training) == [(0, 70)]
    assert spans(validation) == [(70, 100)]


def test_cut_falls_into_the_first_of_several():
    """The cut keeps exactly the time asked for."""
    training, validation = split(files(100, 20), 50.0)

    assert spans(training) == [(0, 70)]
    assert spans(validation) == [(70, 100), (100, 120)]


def test_refuses_too_little():
    """The message has the time that there is and the time that is needed."""
    with pytest.raises(AframeError, match="too little strain to train and validate") as error:
        split(files(100, 20), 120.0)

    assert error.value.found == "120 s in 2 files"
    assert "120 s" in error.value.wanted_by


def test_pieces_tile_the_stretches():
    """Nothing is lost or doubled, and none is longer than allowed."""
    cut = pieces([Stretch(file, *file.segment) for file in files(100, 30)], 40.0)

    assert spans(cut) == [(0, 40), (40, 80), (80, 100), (100, 130)]


def test_a_chunk_is_a_random_choice_that_repeats():
    """A chunk is as long as allowed, the same for its index, another for the next."""
    stretches = [Stretch(file, *file.segment) for file in files(*[10] * 100)]
    first, again, other = (choose(stretches, 165.0, 1, index) for index in (0, 0, 1))

    assert spans(first) == spans(again) != spans(other)
    assert len(set(spans(first))) == 16


def test_a_chunk_is_never_empty():
    """A stretch longer than allowed is better than none."""
    assert spans(choose([Stretch(file, *file.segment) for file in files(100)], 9.0, 1, 0))


def test_neighbors_are_joined_and_gaps_are_not(tmp_path, small):
    """Files that follow one another are one segment; a gap parts two."""
    for start in (0, 16, 48):
        write_strain(
            tmp_path,
            small.noise(start, 16),
            ifos=small.IFOS,
            start=small.START + start,
            sample_rate=small.RATE,
        )
    stretches = [Stretch(file, *file.segment) for file in list_strain(tmp_path, small.IFOS)]

    segments = read_segments(stretches, ("L1", "H1"))

    assert [segment.shape for segment in segments] == [(2, 32 * 256), (2, 16 * 256)]
    np.testing.assert_array_equal(segments[0][:, : 16 * 256], small.noise(0, 16)[::-1])
    np.testing.assert_array_equal(segments[0][:, 16 * 256 :], small.noise(16, 16)[::-1])


def numbered(*lengths):
    """Strain whose samples tell where they are: detector, part and place."""
    return [
        np.stack([1000 * part + np.arange(n), 1_000_000 + 1000 * part + np.arange(n)]).astype("f4")
        for part, n in enumerate(lengths)
    ]


def test_stretches_lie_within_one_part_and_start_anywhere():
    """Every possible start occurs about equally often; no stretch crosses a seam."""
    background = Background(numbered(12, 5, 9), 6, CPU)
    drawn = background.draw(11_000, torch.Generator().manual_seed(1))

    assert drawn.shape == (11_000, 2, 6)
    assert (drawn.diff(dim=-1) == 1).all()
    starts, counts = drawn[:, 0, 0].unique(return_counts=True)
    assert starts.tolist() == [*range(7), *range(2000, 2004)]
    # 1000 expected of each: five sigma.
    assert (counts - 1000).abs().max() < 160


def test_detectors_draw_by_themselves():
    """The starts in two detectors are independent: that is what makes noise of real strain."""
    drawn = Background(numbered(500), 6, CPU).draw(4000, torch.Generator().manual_seed(2))
    starts = drawn[:, :, 0] - torch.tensor([0, 1_000_000])

    assert abs(np.corrcoef(starts.T.numpy())[0, 1]) < 0.08


def test_refuses_strain_shorter_than_a_stretch():
    """The message has both lengths."""
    with pytest.raises(AframeError, match="strain for training is too short") as error:
        Background(numbered(12, 5), 13, CPU)

    assert error.value.found == "2 stretches of at most 12 samples"
    assert error.value.wanted_by.startswith("13 contiguous samples")
