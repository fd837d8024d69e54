"""The demo at its full size, with a seed that no preset names: what `make demo` promises."""

from __future__ import annotations

import subprocess

import h5py
import numpy as np
import pytest

from aframe.artifacts.events import Events
from aframe.cli import write_run_directory

#: When GW150914's signal was loudest at the geocenter (GPS s), from its parameter estimation.
GW150914 = 1126259462.4
SEED = 150914

pytestmark = pytest.mark.xdist_group("demo")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo that ran to its end."""
    directory = tmp_path_factory.mktemp("demo") / "run"
    write_run_directory(directory, preset="demo", seed=SEED)
    words = ["bash", str(directory / "run.sh")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return directory / "results"


def test_the_event_is_the_loudest_candidate(demo):
    """Of 32 s of real strain: above all background, and timed to a tenth of a second."""
    background, candidates = (Events.read(demo / f"{name}.hdf5") for name in ("background", "0lag"))

    assert candidates.detection_statistic[-1] > background.detection_statistic[-1]
    assert candidates.detection_time[-1] == pytest.approx(GW150914, abs=0.1)


def test_background_is_hours_long(demo):
    """At least six hours of time slides."""
    assert Events.read(demo / "background.hdf5").Tb >= 6 * 3600


def test_distance_is_known_to_a_tenth(demo):
    """Enough injections for the distance at 20+20 solar masses, at every false alarm rate."""
    with h5py.File(demo / "plots" / "sensitive_volume.h5") as file:
        population = file["20-20"]
        distance, error = population["distance"][:], population["distance_err"][:]

    assert np.all(distance > 0)
    assert np.all(error <= 0.1 * distance)


def test_report_shows_it(demo):
    """One page, which asks nothing of a network."""
    page = (demo / "report.html").read_text()

    assert "1126259462." in page
    assert 'src="http' not in page
