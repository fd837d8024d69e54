"""The report's page, drawn in one process and in two; a close-up, fitted to its labels or not."""

import os
import tempfile
import time
from pathlib import Path

import h5py
import matplotlib as mpl
import numpy as np

from aframe.artifacts.events import Events
from aframe.draft import Draft
from aframe_sv.evidence import Inputs
from aframe_sv.neighborhood import read_candidates
from aframe_sv.report import OUTPUT, ReportResources, ReportSettings, report
from aframe_sv.sections import closeup

#: Events that are shown from near: of zero lag, and of the background.
SHOWN, SLID = 10, 5
GPS, TB, RATE, AROUND = 1_240_000_000.0, 1e5, 2048.0, 4.0
#: Close-ups that are drawn each way.
TURNS = 8


def write_events(folder: Path, name: str, rng: np.random.Generator, count: int) -> Events:
    """Write events, loudest last."""
    statistic = np.sort(rng.normal(2, 1, count))
    shift = np.tile([0.0, float(name == "background")], (count, 1))
    events = Events(statistic, GPS + rng.uniform(0, TB, count), shift, TB)
    events.write(folder / f"{name}.hdf5")
    return events


def write_neighborhoods(path: Path, events: Events, rng: np.random.Generator, count: int) -> None:
    """Write noise as what lies around the loudest events."""
    with h5py.File(path, "w") as file:
        file.attrs["schema_version"] = 1
        for rank in range(count):
            group, index = file.create_group(str(rank)), len(events) - 1 - rank
            when = events.detection_time[index]
            group.attrs.update(
                detection_time=when,
                detection_statistic=events.detection_statistic[index],
                gps_start=when - AROUND,
            )
            if events.shift.any():
                group.attrs["shift"] = events.shift[index]
            for name, shape, rate in (
                ("whitened", (2, int(2 * AROUND * RATE)), RATE),
                ("scores", (int(2 * AROUND * 16),), 16.0),
                ("integrated", (int(2 * AROUND * 128),), 128.0),
            ):
                group[name] = rng.normal(size=shape).astype(np.float32)
                group[name].attrs["sample_rate"] = rate


def write_search(folder: Path) -> Inputs:
    """Write what the page shows of a search."""
    rng = np.random.default_rng(0)
    background = write_events(folder, "background", rng, 100_000)
    zero_lag = write_events(folder, "0lag", rng, 1_000)
    write_neighborhoods(folder / "candidates.hdf5", zero_lag, rng, SHOWN)
    write_neighborhoods(folder / "examples.hdf5", background, rng, SLID)
    return Inputs(
        background=folder / "background.hdf5",
        zero_lag=folder / "0lag.hdf5",
        candidates=folder / "candidates.hdf5",
        examples=folder / "examples.hdf5",
    )


def compare_processes(inputs: Inputs, folder: Path) -> None:
    """Print how long the page takes in one process and in two."""
    took, pages = {}, set()
    for workers in (1, 2):
        start = time.perf_counter()
        resources = ReportResources(workers=workers)
        report(ReportSettings(inputs, folder, resources=resources), Draft(folder))
        took[workers] = time.perf_counter() - start
        pages.add((folder / OUTPUT).read_bytes())
    print(
        f"a page with {SHOWN + SLID} close-ups: one process {took[1]:.1f} s, two {took[2]:.1f} s, "
        f"ratio {took[1] / took[2]:.2f}; {'the same' if len(pages) == 1 else 'other'} bytes"
    )


def compare_layouts(inputs: Inputs) -> None:
    """Print how long a close-up takes, its plots fitted to their labels and in given places."""
    candidate = read_candidates(inputs.candidates, 1)[0]
    given, took = closeup._MARGINS, {True: 0.0, False: 0.0}  # noqa: SLF001 (what is compared)
    for turn in range(2 * TURNS):
        fitted = bool(turn % 2)
        closeup._MARGINS = None if fitted else given  # noqa: SLF001
        start = time.perf_counter()
        closeup.strain(candidate, ["H1", "L1"], "event 1")
        # The first of all loads fonts.
        took[fitted] += (time.perf_counter() - start) * (turn > 1)
    closeup._MARGINS = given  # noqa: SLF001
    mean = {fitted: 1e3 * seconds / (TURNS - 1) for fitted, seconds in took.items()}
    print(
        f"a plot of strain: fitted {mean[True]:.0f} ms, in given places {mean[False]:.0f} ms, "
        f"ratio {mean[True] / mean[False]:.2f}"
    )


def main() -> None:
    """Compare both."""
    print(f"{os.cpu_count()} cores, matplotlib {mpl.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = write_search(folder)
        compare_layouts(inputs)
        compare_processes(inputs, folder)


if __name__ == "__main__":
    main()
