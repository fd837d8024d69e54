"""The validation score against a slow, exact one."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch

from aframe.errors import AframeError
from aframe_train.metric import TimeSlideAUROC, auroc, loudest


def slow_loudest(scores, slides, width):
    """Loop over slides and windows; the last window may be cut short."""
    found = []
    for slide in dict.fromkeys(slides):
        own = [score for score, number in zip(scores, slides, strict=True) if number == slide]
        size = min(width, len(own))
        step = max(1, size // 2)
        begin = 0
        while True:
            found.append(max(own[begin : begin + size]))
            if begin + size >= len(own):
                break
            begin += step
    return found


def slow_auroc(background, foreground, max_fpr):
    """Count at every threshold, integrate trapezoids up to the edge, standardize (McClish)."""
    points = [(0.0, 0.0)] + [
        (
            sum(score >= threshold for score in background) / len(background),
            sum(score >= threshold for score in foreground) / len(foreground),
        )
        for threshold in sorted({*background, *foreground}, reverse=True)
    ]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 >= max_fpr:
            break
        stop = min(x1, max_fpr)
        height = y1 if x1 == x0 else y0 + (y1 - y0) * (stop - x0) / (x1 - x0)
        area += (stop - x0) * (y0 + height) / 2
    least = max_fpr**2 / 2
    return 0.5 * (1 + (area - least) / (max_fpr - least))


@pytest.mark.parametrize("width", [1, 2, 5, 16, 100])
def test_loudest_of_each_slide(width):
    """Maxima never mix slides, and the end of a slide counts too."""
    rng = np.random.default_rng(width)
    slides = np.repeat([0, 1, 2, 3], [40, 7, 1, 33])
    scores = rng.normal(size=len(slides)).astype(np.float32)

    found = loudest(torch.from_numpy(scores), torch.from_numpy(slides), width)

    assert found.tolist() == slow_loudest(scores.tolist(), slides.tolist(), width)


@pytest.mark.parametrize("max_fpr", [1e-3, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("rounding", [0, 8])
def test_auroc_is_the_area_of_the_exact_curve(max_fpr, rounding):
    """With and without ties, below and above the resolution of the background."""
    rng = np.random.default_rng(1)
    background = np.round(rng.normal(size=300), rounding or 1)
    foreground = np.round(rng.normal(1.5, 1.0, size=80), rounding or 1)

    found = auroc(torch.from_numpy(background), torch.from_numpy(foreground), max_fpr)

    expected = slow_auroc(background.tolist(), foreground.tolist(), max_fpr)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_loud_scores_are_told_apart():
    """Logits of 40 and 50 differ, though not in a sigmoid of single precision."""
    found = auroc(torch.tensor([40.0, 41.0]), torch.tensor([50.0, 60.0]), 0.5)

    assert found.item() == pytest.approx(1.0)


def test_metric_is_its_functions_over_all_batches():
    """Batches in any order, as several processes give them, make one score."""
    rng = np.random.default_rng(3)
    index = torch.arange(120)
    slide = index // 40
    background = torch.from_numpy(rng.normal(size=120))
    foreground = torch.from_numpy(rng.normal(2.0, 1.0, size=30))
    metric = TimeSlideAUROC(max_fpr=0.1, pool_length=4, stride=0.5)
    for part in (slice(60, 120), slice(0, 60)):
        metric.update(
            index[part], slide[part], background[part], foreground[part.start // 4 :][:15]
        )

    peaks = loudest(background, slide, 8)
    assert metric.compute().tolist() == [auroc(peaks, foreground, rate) for rate in (0.1, 1.0)]


def test_no_number_is_no_detection():
    """A signal without a score is missed, and background without one is as loud as can be."""
    index, slide = torch.arange(40), torch.zeros(40).long()
    background, foreground = torch.randn(40, generator=torch.manual_seed(0)), torch.full((4,), 9.0)

    def score(background, foreground):
        metric = TimeSlideAUROC(max_fpr=0.5, pool_length=0.5, stride=0.5)
        metric.update(index, slide, background, foreground)
        return metric.compute()[0].item()

    missed, loud = foreground.clone(), background.clone()
    missed[:2], loud[:30] = float("nan"), float("nan")

    assert score(background, foreground) == pytest.approx(1.0)
    assert score(background, missed) == score(background, torch.tensor([-1e9, -1e9, 9.0, 9.0]))
    assert score(loud, foreground) == score(torch.where(loud.isnan(), 1e9, loud), foreground) < 0.5


def test_nothing_is_kept_after_a_reset():
    """Epochs do not add up: a hundred of them hold what one does."""
    metric = TimeSlideAUROC()
    sizes = set()
    for _ in range(100):
        metric.update(torch.arange(4), torch.zeros(4).long(), torch.randn(4), torch.randn(4))
        metric.compute()
        sizes.add(len(pickle.dumps(metric)))
        metric.reset()

    assert len(sizes) == 1
    assert not any([metric.index, metric.slide, metric.background, metric.foreground])


@pytest.mark.parametrize(
    "settings",
    [{"max_fpr": 0.0}, {"max_fpr": 2.0}, {"also": [0.0]}, {"stride": 9.0}, {"stride": 0.0}],
)
def test_refuses_what_is_not_defined(settings):
    """Rates outside (0, 1], and trials shorter than the stride."""
    with pytest.raises(AframeError, match="validation score is not defined"):
        TimeSlideAUROC(**settings)


def test_takes_all_of_the_curve():
    """The largest rate may be 1, an integer too."""
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 2.0]), 1).item() == 0.75
