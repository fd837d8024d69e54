"""The sensitive volume at all thresholds at once, against one sum a threshold.

Sizes are above those of a full search: a million injections, a thousand thresholds (years of
background down to a thousand false alarms a year) and four populations.
"""

import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.draft import Draft
from aframe.priors import load_prior, sample
from aframe_sv.estimate import EstimateInputs, EstimateSettings, estimate
from aframe_sv.volumes import Found, WeightSums, found_fraction

INJECTIONS, THRESHOLDS = 1_000_000, 1_000
#: Draws that were too faint to inject, in the two cases of the whole step.
REJECTED = (0, 5_000_000)
#: One in so many thresholds is summed directly, which is slow.
SHARE = 20
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
    found = Found.at(statistic, thresholds)
    share, error = found_fraction(weights, found, WeightSums.of(weights))
    ours = time.perf_counter() - start
    start = time.perf_counter()
    some = slice(None, None, SHARE)
    slow = np.array([directly(weights, statistic, each) for each in thresholds[some]]).T
    theirs = (time.perf_counter() - start) * SHARE
    share, error = share[some], error[some]
    off = max(np.max(np.abs(share / slow[0] - 1)), np.max(np.abs(error / slow[1] - 1)))
    print(
        f"one population, {INJECTIONS:,} injections, {THRESHOLDS} thresholds: counted once "
        f"{ours:.3f} s, one sum a threshold {theirs:.2f} s, ratio {theirs / ours:.0f}, "
        f"largest relative difference {off:.0e}"
    )


def write_search(folder: Path, rng: np.random.Generator, rejected: int) -> EstimateInputs:
    """Write a full search: draws of the prior, and noise for statistics."""
    prior, frame = load_prior(PRIOR)
    names = ("mass_1", "mass_2", "redshift")
    count = 2_000_000
    Events(rng.normal(size=count), np.zeros(count), np.zeros((count, 2)), JULIAN_YEAR).write(
        folder / "background.hdf5"
    )
    for name, rows in (("foreground", INJECTIONS), ("rejected", rejected)):
        draws = {
            key: value
            for key, value in sample(prior, frame, max(rows, 1), rng).items()
            if key in names
        }
        if name == "foreground":
            draws |= {"detection_statistic": rng.normal(3, 2, rows), "shift": np.zeros((rows, 2))}
            draws |= {"detection_time": np.zeros(rows), "injection_time": np.zeros(rows)}
        write_ledger(folder / f"{name}.hdf5", Ledger(draws, {}, {"prior": PRIOR})[:rows])
    return EstimateInputs(*(folder / f"{n}.hdf5" for n in ("background", "foreground", "rejected")))


def main() -> None:
    """Compare the sums, then time the whole step."""
    print(f"{os.cpu_count()} cores, numpy {np.__version__}")
    rng = np.random.default_rng(0)
    compare_sums(rng)
    for rejected in REJECTED:
        with tempfile.TemporaryDirectory() as name:
            run(Path(name), rng, rejected)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"largest resident memory, with what made the files: {peak:.2f} GiB")


def run(folder: Path, rng: np.random.Generator, rejected: int) -> None:
    """Time the whole step, from files to file."""
    inputs = write_search(folder, rng, rejected)
    settings = EstimateSettings(inputs, folder, ["H1", "L1"], PAIRS, PRIOR, max_far=THRESHOLDS)
    start = time.perf_counter()
    estimate(settings, Draft(folder))
    print(
        f"aframe-sv estimate, {len(PAIRS)} populations, {INJECTIONS:,} injections, {THRESHOLDS:,} "
        f"thresholds, {rejected:,} rejected draws: {time.perf_counter() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
