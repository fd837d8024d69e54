"""A branch against the same search done the long way: all kernels, injections in the strain."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from aframe.artifacts.strain import list_strain, read_strain
from aframe_infer import slides
from aframe_infer.injections import read_injections, signal
from aframe_infer.kernels import Kernels, block_range, read_blocks, whiten_blocks, write_blocks
from aframe_infer.scores import score
from aframe_infer.slides import Branch, Search, analyze, outputs, sample

IFOS, RATE = ("H1", "L1"), 256
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def search(repository):
    """What the branches share."""
    return Search(repository, 1.5, 8.0, keep_scores=True, device="cpu")


@pytest.fixture(scope="module")
def known(data):
    """The injections of the small search."""
    return read_injections(data.injections, IFOS, float(RATE))


@pytest.fixture(scope="module")
def work(data, repository, tmp_path_factory):
    """Scratch with the whitened background."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "background").mkdir()
    (file,) = list_strain(data.background, IFOS)
    for ifo in IFOS:
        write_blocks(repository, file, ifo, folder / "background", CPU)
    return folder


def _branch(data, known, shifts):
    (file,) = list_strain(data.background, IFOS)
    (rows,) = np.nonzero((known.shift == shifts).all(axis=1))
    return Branch(file, shifts, rows, "background")


def _long_way(repository, toy, branch, known):
    """Score all kernels of strain with the signals in it, whitened with the clean PSD."""
    stream, whitener = repository.stream, repository.whitener
    spans = block_range(stream, branch.file.duration)
    blocks = []
    for ifo, shift, clean in zip(
        IFOS, branch.shifts, torch.from_numpy(read_strain(branch.file, IFOS)), strict=True
    ):
        size = len(clean)
        added = signal(
            known, branch.rows, ifo,
            start=branch.file.start, shift=shift, size=size, sample_rate=RATE,
        )  # fmt: skip
        quiet = whiten_blocks(clean, stream, whitener, spans)
        dirty = clean + torch.from_numpy(added)
        whitened = []
        for row, block in enumerate(spans):
            end = (block + 1) * stream.update_size
            window = torch.nn.functional.pad(dirty, (stream.window_size, stream.update_size))
            window = window[end : end + stream.window_size]
            whitened.append(whitener(window[None, None], quiet.psd[row][None, None])[0, 0])
        blocks.append(replace(quiet, whitened=torch.stack(whitened)))
    offsets = [round(4 * shift) for shift in branch.shifts]
    numbers = np.arange(16 - 6, outputs(stream, branch.file.duration, branch.shifts)[-1] + 1)
    return score(toy.Power(), Kernels(blocks, stream, offsets), numbers, CPU)


@pytest.mark.parametrize("shifts", [(0.0, 1.0), (0.0, 2.0)])
def test_recovered_injections_are_those_of_the_full_stream(search, data, known, work, toy, shifts):
    """Only kernels near them are scored anew, and statistic and time are the same."""
    branch = _branch(data, known, shifts)

    analyze(search, branch, known, work)

    statistic, time = search.events(
        _long_way(search.repository, toy, branch, known), branch.file.start
    )
    nearest = np.abs(time[None] - known.time[branch.rows][:, None]).argmin(axis=1)
    with h5py.File(work / branch.name) as file:
        found = {name: file["foreground"][name][:] for name in file["foreground"]}
        clean = file["background/scores"][:]
    assert len(branch.rows) == 14
    # A dozen loud ones stand out, and as many faint ones do not.
    assert (statistic[nearest] > search.events(clean, branch.file.start)[0].max()).sum() >= 5
    np.testing.assert_array_equal(found["detection_time"], time[nearest])
    np.testing.assert_allclose(found["detection_statistic"], statistic[nearest], atol=1e-4)


def test_far_from_injections_scores_are_those_of_the_background(search, data, known, work):
    """To the bit: they are copied, not computed again."""
    branch = _branch(data, known, (0.0, 1.0))

    analyze(search, branch, known, work)

    with h5py.File(work / branch.name) as file:
        both = [file[name]["scores"][:] for name in ("background", "foreground")]
    numbers = search.scored(outputs(search.stream, branch.file.duration, branch.shifts))
    ends = branch.file.start + (numbers + 1) / 4
    coalescence = known.time[branch.rows]
    near = (np.abs(ends[:, None] - coalescence - 0.5) < 3).any(axis=1)
    assert 0 < (both[0] != both[1]).sum() < 0.8 * len(ends)
    np.testing.assert_array_equal(both[0][~near], both[1][~near])


@pytest.mark.parametrize("stretch", [32, 96])
def test_scores_do_not_depend_on_the_stretches(search, data, known, work, monkeypatch, stretch):
    """To the bit in strain; an injection's whitening is rounded by what it is batched with."""
    branch = _branch(data, known, (0.0, 1.0))
    found = []
    for size in (slides.STRETCH, stretch):
        monkeypatch.setattr(slides, "STRETCH", size)
        analyze(search, branch, known, work)
        with h5py.File(work / branch.name) as file:
            found.append({name: file[name]["scores"][:] for name in file})

    assert len(found[0]["background"]) > 5 * stretch
    np.testing.assert_array_equal(found[1]["background"], found[0]["background"])
    np.testing.assert_allclose(found[1]["foreground"], found[0]["foreground"], atol=1e-5)


def test_a_sample_is_from_all_over_the_slide(search, data, known, work):
    """As many kernels as asked for, first and last among them."""
    branch = _branch(data, known, (0.0, 1.0))
    numbers = search.scored(outputs(search.stream, branch.file.duration, branch.shifts))
    cut = Kernels(
        read_blocks(search.repository, branch.file, IFOS, work / branch.folder, CPU),
        search.stream,
        (0, 4),
    )

    found = sample(search, branch, work, 7)

    assert found.shape == (7, 2, 256)
    for place, number in ((0, numbers[0]), (-1, numbers[-1])):
        (wanted,) = cut(torch.tensor([number]))
        assert torch.equal(found[place], wanted)


def test_livetime_counts_the_outputs(search, data, known, work):
    """What lies after the PSD and before the end of the most shifted detector."""
    branch = _branch(data, known, (0.0, 7.0))

    analyze(search, branch, known, work)

    with h5py.File(work / branch.name) as file:
        assert file.attrs["Tb"] == 200 - 4 - 7
        # The first average is over six scores more, of kernels that end before it.
        assert len(file["background/scores"]) == 4 * (200 - 4 - 7) + 6
        assert "foreground" not in file


@pytest.mark.parametrize("level", [-1000.0, 1000.0])
def test_events_are_the_same_at_any_level_of_the_scores(search, toy, level):
    """No average is made with anything but scores, at the start of a slide neither."""
    scores = np.random.default_rng(7).normal(size=900)

    statistic, time = search.events(scores, toy.START)
    moved, same = search.events(scores + level, toy.START)

    np.testing.assert_array_equal(same, time)
    np.testing.assert_allclose(moved, statistic + level)


def test_scores_are_kept_only_if_asked(search, data, known, work):
    """They are most of a branch's size."""
    branch = _branch(data, known, (0.0, 5.0))

    analyze(replace(search, keep_scores=False), branch, known, work)

    with h5py.File(work / branch.name) as file:
        assert set(file["background"]) == {"detection_statistic", "detection_time"}


def test_every_branch_has_a_file_of_its_own(data, known):
    """Named by strain, start and shifts."""
    shifts = [(0.0, 1.0), (0.0, 0.25), (0.0, 10.0), (1.0, 0.0)]
    branches = [_branch(data, known, each) for each in shifts]
    branches.append(replace(branches[0], folder="zero_lag"))

    assert len({branch.name for branch in branches}) == 5


@pytest.mark.parametrize("count", [1, 2, 50])
def test_the_nearest_event_is_that_of_all_distances(count):
    """Before the first, after the last, and halfway between two as well."""
    rng = np.random.default_rng(count)
    times = np.sort(rng.choice(np.arange(0, 400, 2.0), count, replace=False))
    wanted = np.arange(-5.0, 405.0)

    found = slides.nearest(times, wanted)

    np.testing.assert_array_equal(found, np.abs(times[None] - wanted[:, None]).argmin(axis=1))
