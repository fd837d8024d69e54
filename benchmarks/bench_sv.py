"""The sensitive volume at all thresholds at once, against one sum a threshold.

Sizes are those of a full search: 500 000 injections, and a year of background down to
one false alarm a day.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.priors import load_prior, sample
from aframe.program import Draft
from aframe_sv.estimate import EstimateInputs, EstimateSettings, estimate
from aframe_sv.volumes import WeightSums, found_fraction

INJECTIONS, REJECTED, THRESHOLDS = 500_000, 5_000_000, 365
PRIOR = "end_o3_ratesandpops"
PAIRS = [[35.0, 35.0], [35.0, 20.0], [20.0, 20.0], [20.0, 10.0]]


def directly(weights: np.ndarray, statistic: np.ndarray, threshold: float) -> tuple[float, float]:
    """Sum over all injections for one threshold."""
    found = statistic >= threshold
    mean = np.sum(weights * found)
    return mean, np.sqrt(np.sum((weights * (found - mean)) ** 2))


def compare_sums(rng: np.random.Generator) -> None:
    """Print how long both ways take, and how far they differ."""
    weights, statistic = rng.lognormal(size=INJECTIONS), rng.normal(size=INJECTIONS)
    thresholds = np.linspace(4, 1, THRESHOLDS)
    weights /= weights.sum()
    start = time.perf_counter()
    share, error = found_fraction(weights, statistic, thresholds, WeightSums.of(weights))
    ours = time.perf_counter() - start
    start = time.perf_counter()
    slow = np.array([directly(weights, statistic, each) for each in thresholds]).T
    theirs = time.perf_counter() - start
    off = max(np.max(np.abs(share / slow[0] - 1)), np.max(np.abs(error / slow[1] - 1)))
    print(
        f"one population, {INJECTIONS:,} injections, {THRESHOLDS} thresholds: one sort "
        f"{ours:.3f} s, one sum a threshold {theirs:.2f} s, ratio {theirs / ours:.0f}, "
        f"largest relative difference {off:.0e}"
    )


def write_search(folder: Path, rng: np.random.Generator) -> EstimateInputs:
    """Write a full search: draws of the prior, and noise for statistics."""
    prior, frame = load_prior(PRIOR)
    names = ("mass_1", "mass_2", "redshift")
    count = 2_000_000
    Events(rng.normal(size=count), np.zeros(count), np.zeros((count, 2)), JULIAN_YEAR).write(
        folder / "background.hdf5"
    )
    for name, rows in (("foreground", INJECTIONS), ("rejected", REJECTED)):
        draws = {
            key: value for key, value in sample(prior, frame, rows, rng).items() if key in names
        }
        if name == "foreground":
            draws |= {"detection_statistic": rng.normal(3, 2, rows), "shift": np.zeros((rows, 2))}
            draws |= {"detection_time": np.zeros(rows), "injection_time": np.zeros(rows)}
        write_ledger(folder / f"{name}.hdf5", Ledger(draws, {}, {"prior": PRIOR}))
    return EstimateInputs(*(folder / f"{n}.hdf5" for n in ("background", "foreground", "rejected")))


def main() -> None:
    """Compare the sums, then time the whole step."""
    print(f"{os.cpu_count()} cores, numpy {np.__version__}")
    rng = np.random.default_rng(0)
    compare_sums(rng)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = EstimateSettings(
            write_search(folder, rng), folder, ["H1", "L1"], PAIRS, PRIOR, max_far=365.25
        )
        start = time.perf_counter()
        estimate(settings, Draft(folder))
        print(
            f"aframe-sv estimate, {len(PAIRS)} populations, {INJECTIONS:,} injections, "
            f"{REJECTED:,} rejected draws: {time.perf_counter() - start:.1f} s"
        )


if __name__ == "__main__":
    main()
