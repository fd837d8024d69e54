"""The demo with a seed that no preset names: what `make demo` promises.

At a third of its training and less than a fifth of its injections; at its full size with
`AFRAME_TEST_FULL_DEMO=1`.
"""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from end_to_end.conftest import LONGEST, Run

from aframe.artifacts.events import Events
from aframe.cli import write_run_directory

#: When GW150914's signal was loudest at the geocenter (GPS s), from its parameter estimation.
GW150914 = 1126259462.4
SEED = 150914
FULL = bool(os.environ.get("AFRAME_TEST_FULL_DEMO"))
#: What makes it smaller: epochs, the step at which signals are at their faintest, injections.
EPOCHS = {"max_epochs": "5", "decay_steps": "250"}
INJECTIONS = ("num_signals = 14000", "num_signals = 2500")
#: The error of a distance goes as one over the root of the number of injections.
ERROR = 0.1 if FULL else 0.24

pytestmark = [
    pytest.mark.xdist_group("demo"),
    # At its full size it takes what it takes.
    *([pytest.mark.timeout(0)] if FULL else []),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo that ran to its end."""
    directory = tmp_path_factory.mktemp("demo") / "run"
    write_run_directory(directory, preset="demo", seed=SEED)
    if not FULL:
        _shorten(directory)
    status, said = Run(directory).run(longest=None if FULL else LONGEST)
    assert status == 0, said
    return directory / "results"


def _shorten(directory):
    run = Run(directory)
    for key, value in EPOCHS.items():
        run.set(key, value, file="train.yaml")
    path, (many, fewer) = directory / "sandbox.cfg", INJECTIONS
    assert path.read_text().count(many) == 1
    path.write_text(path.read_text().replace(many, fewer))


def test_the_event_is_the_loudest_candidate(demo):
    """Of 32 s of real strain: above all background, and timed to a tenth of a second."""
    background, candidates = (Events.read(demo / f"{name}.hdf5") for name in ("background", "0lag"))

    assert candidates.detection_statistic[-1] > background.detection_statistic[-1]
    assert candidates.detection_time[-1] == pytest.approx(GW150914, abs=0.1)


def test_events_are_dated_by_their_mergers(demo):
    """In the median of those with SNR above 15, to 10 ms and the error of that median."""
    with h5py.File(demo / "foreground.hdf5") as file:
        found = {name: each[:] for name, each in file["parameters"].items()}
    late = found["detection_time"] - found["injection_time"]
    late = late[(found["snr"] > 15) & (np.abs(late) < 1)]
    # Of a median of normal deviations.
    error = np.sqrt(np.pi / 2) * np.std(late) / np.sqrt(len(late))

    assert len(late) > 100
    assert abs(np.median(late)) < 0.01 + 3 * error


def test_background_is_hours_long(demo):
    """At least six hours of time slides."""
    assert Events.read(demo / "background.hdf5").Tb >= 6 * 3600


def test_distance_is_known(demo):
    """Enough injections for the distance at 20+20 solar masses, at every false alarm rate."""
    with h5py.File(demo / "plots" / "sensitive_volume.h5") as file:
        population = file["20-20"]
        distance, error = population["distance"][:], population["distance_err"][:]

    assert np.all(distance > 0)
    assert np.all(error <= ERROR * distance)


def test_report_shows_it(demo):
    """One page, which asks nothing of a network."""
    page = (demo / "report.html").read_text()

    assert "1126259462." in page
    assert 'src="http' not in page
