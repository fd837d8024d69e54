"""What a rate promises holds in pure noise: many seeds, every slide, all of the time."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest, poisson

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe_infer.kernels import first_kernel
from aframe_infer.slides import Search
from aframe_infer.statistic import raw_times

RATE = 4.0
#: Outputs searched in a segment, and slides of it.
SEARCHED, SLIDES = 1200, 24


@pytest.fixture(scope="module")
def search(repository):
    """The statistic of a search: averages over 1.5 s, one event within 8 s."""
    return Search(repository, 1.5, 8.0, keep_scores=False, device="cpu")


def _detector(rng, size):
    """Noise as a network hears it in one detector: kernels of six strides overlap."""
    return np.convolve(rng.standard_normal(size + 5), np.ones(6) / np.sqrt(6), mode="valid")


def _found(search, streams, strides):
    """Events of a slide, whose score is what its detectors have in common."""
    size = SEARCHED + search.window - 1
    moved = [stream[shift : shift + size] for stream, shift in zip(streams, strides, strict=True)]
    return search.events(np.prod(moved, axis=0) - 50.0, 0.0)


def _experiment(search, seed, slides=SLIDES):
    """Search noise of three detectors at zero lag, and in slides of a second and two."""
    rng = np.random.default_rng(seed)
    longest = SEARCHED + search.window + 8 * slides
    streams = [np.abs(_detector(rng, longest)) for _ in range(3)]
    zero_lag, _ = _found(search, streams, (0, 0, 0))
    background = [_found(search, streams, (0, 4 * k, 8 * k)) for k in range(1, slides + 1)]
    return zero_lag, background


def _events(background):
    """Gather slides into a background that knows its livetime."""
    parts = [
        Events(statistic, time, np.tile([0.0, k, 2.0 * k], (len(time), 1)), SEARCHED / RATE)
        for k, (statistic, time) in enumerate(background, 1)
    ]
    return Events(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("detection_statistic", "detection_time", "shift")
        ),
        sum(part.Tb for part in parts),
    )


@pytest.fixture(scope="module")
def experiments(search):
    """Many searches of noise, each with a background of its own."""
    return [
        (zero_lag, _events(background))
        for zero_lag, background in (_experiment(search, seed) for seed in range(150))
    ]


def test_what_is_left_out_makes_no_event_and_hides_none(search):
    """The shoulder of a loud stretch is an event of its own once the loud one is cut away."""
    scores = np.zeros(200)
    scores[100:107], scores[110:117] = 9.0, 5.0
    first = first_kernel(search.stream)

    whole, _ = search.events(scores, 0.0)
    left, times = search.events(scores, 0.0, np.arange(first + 92, first + 108))

    assert sorted(whole)[-2:] == [0.0, 9.0]
    assert sorted(left)[-2:] == [0.0, 5.0]
    numbers = np.round((times - raw_times(search.stream, 0.0, 1.5, np.array(0))) * RATE)
    assert not set(numbers) & set(range(first + 92, first + 108))
    nothing, _ = search.events(scores, 0.0, first + np.arange(200 - search.window + 1))
    assert len(nothing) == 0


def test_probabilities_of_the_loudest_event_are_uniform(experiments):
    """1 - exp(-FAR T) of the loudest zero-lag event, over searches with other noise."""
    livetime = SEARCHED / RATE / JULIAN_YEAR
    rates = [background.false_alarm_rate(zero_lag.max()) for zero_lag, background in experiments]

    probabilities = -np.expm1(-np.array(rates) * livetime)

    assert kstest(probabilities, "uniform").pvalue > 0.01


@pytest.mark.parametrize("seconds", [30.0, 100.0, 1000.0])
def test_counts_at_zero_lag_are_poisson_at_the_quoted_rate(experiments, seconds):
    """Their sum lies in its interval, and they scatter from search to search as they should."""
    expected, counts = [], []
    for zero_lag, background in experiments:
        threshold = background.threshold_at_far(JULIAN_YEAR / seconds)
        rate = background.false_alarm_rate(threshold) / JULIAN_YEAR
        expected.append(float(rate) * SEARCHED / RATE)
        counts.append(int((zero_lag >= threshold).sum()))

    low, high = poisson.interval(0.99, sum(expected))
    assert low <= sum(counts) <= high
    scatter = ((np.array(counts) - expected) ** 2 / np.array(expected)).sum()
    # Events keep a distance, so that frequent ones scatter less than chance would have it.
    assert chi2.sf(scatter, len(counts)) > 0.005


def test_every_slide_and_all_of_the_time_are_alike(search, experiments):
    """Counts a slide, and a fifth of the time, are those of one rate."""
    by_slide, by_time = np.zeros((100, SLIDES)), np.zeros((100, 5))
    begin = raw_times(search.stream, 0.0, 1.5, np.array(first_kernel(search.stream)))
    for number, (_, background) in enumerate(experiments[:100]):
        loud = background.detection_statistic >= background.threshold_at_far(JULIAN_YEAR / 100.0)
        slide = background.shift[loud, 1].astype(int) - 1
        by_slide[number] = np.bincount(slide, minlength=SLIDES)
        passed = (background.detection_time[loud] - begin) * RATE / SEARCHED
        by_time[number], _ = np.histogram(passed, 5, (0, 1))

    # One detector is the same in all slides: fifths of one search are not independent of each
    # other, so that it is from search to search that their error shows.
    for counts in (by_slide, by_time):
        error = counts.std(axis=0, ddof=1) / np.sqrt(len(counts))
        sigmas = (counts.mean(axis=0) - counts.mean()) / error
        assert counts.sum() > 4000
        assert chi2.sf((sigmas**2).sum(), counts.shape[1] - 1) > 0.005


def test_the_order_of_the_slides_is_no_matter(search):
    """Rates and thresholds are the same however the background is gathered."""
    _, background = _experiment(search, 5)
    turned, straight = _events(background[::-1]), _events(background)
    levels = np.linspace(-50, -40, 200)

    np.testing.assert_array_equal(
        turned.false_alarm_rate(levels), straight.false_alarm_rate(levels)
    )
    for far in (1e3, 1e5, 1e7):
        assert turned.threshold_at_far(far) == straight.threshold_at_far(far)
    assert (turned.sorted().detection_statistic == straight.sorted().detection_statistic).all()
