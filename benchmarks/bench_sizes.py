"""Memory of the injections that measure the search, and of its strain, at a fiftieth and below.

Each size runs in a process of its own, planner and worker in one: what it prints is the
most that either ever held. The plan alone is made at full size.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aframe.artifacts.segments import Segment, write_segments
from aframe.artifacts.strain import write_strain
from aframe.draft import Draft
from aframe.program import Resources
from aframe_data.fetch import FetchInputs, FetchSettings, fetch
from aframe_data.sources import Simulated
from aframe_data.testing import (
    TestingInputs,
    TestingSettings,
    injection_slots,
    testing_waveforms,
)

RATE, START, PIECE = 2048.0, 1_240_000_000, 12_960
#: Injections, and files of strain, of the smallest size; the largest is four times that.
SIGNALS, MONTH, ALL = 2500, 30 * 86400, 500_000
IFOS = ("H1", "L1")


def settings(home: Path, signals: int, **changes: object) -> TestingSettings:
    """Those of the full search, with signals that are made fast."""
    plain = {
        "output": home / "out",
        "num_signals": signals,
        "ifos": IFOS,
        "prior": "log_uniform_bbh",
        "waveform_approximant": "IMRPhenomD",
        "inputs": TestingInputs(home / "segments.txt", home / "background"),
        "resources": Resources(workers=1),
    }
    return TestingSettings(**{**plain, **changes})


def write_data(home: Path, files: int) -> None:
    """Write noise of about the size of strain, in files that follow one another."""
    rng = np.random.default_rng(0)
    for number in range(files):
        noise = rng.normal(scale=1e-22, size=(2, int(PIECE * RATE))).astype(np.float32)
        begin = START + number * PIECE
        write_strain(home / "background", noise, ifos=IFOS, start=begin, sample_rate=RATE)
    write_segments(home / "segments.txt", [Segment(START, START + files * PIECE)])


def fetch_noise(home: Path) -> None:
    """Simulate the strain of all segments."""
    source = Simulated("simulated", dict.fromkeys(IFOS, "aLIGOO3LowT1800545"))
    draft = Draft(home / "draft")
    draft.path.mkdir(exist_ok=True)
    asked = FetchSettings(
        output=home,
        inputs=FetchInputs(home / "segments.txt"),
        ifos=IFOS,
        source=source,
        sample_rate=RATE,
    )
    fetch(asked, draft)


def report(what: str, begin: float) -> None:
    """Print what this process held at most, and how long it took."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{what:<58} peak {most:5.2f} GB  {time.monotonic() - begin:6.1f} s", flush=True)


def run(kind: str, home: Path, signals: int) -> None:
    """Make one size; this process ends with it."""
    begin = time.monotonic()
    if kind == "plan":
        pieces = [Segment(START + t, START + t + 20_000) for t in range(0, MONTH - 20_000, 20_000)]
        times, *_ = injection_slots(settings(home, signals), pieces)
        report(f"plan of {len(times)} injections into a month", begin)
        return
    if kind == "strain":
        fetch_noise(home)
        report(f"{home.name} h of simulated strain", begin)
        return
    stars = {
        "prior": "tidal_bns",
        "waveform_approximant": "IMRPhenomPv2_NRTidalv2",
        "waveform_duration": 90.0,
        "right_pad": 45.0,
        "spacing": 90.0,
    }
    draft = Draft(home / "draft")
    draft.path.mkdir(exist_ok=True)
    testing_waveforms(settings(home, signals, **(stars if kind == "stars" else {})), draft)
    size = (draft.path / "waveforms.hdf5").stat().st_size / 1e9
    report(f"{signals} {kind} into {home.name} h of strain, {size:.2f} GB of signals", begin)


def main() -> None:
    """Compare sizes, each in a process of its own."""
    with tempfile.TemporaryDirectory() as root:
        for kind, signals, files in (
            ("plan", ALL, 0),
            ("stars", 100, 1),
            *(("strain", 0, times) for times in (1, 2, 4)),
            *(("binaries", SIGNALS * times, times) for times in (1, 2, 4)),
        ):
            hours = files * PIECE / 3600
            home = Path(root, kind, f"{hours:g}")
            home.mkdir(parents=True)
            write_data(home, files)
            command = [sys.executable, __file__, kind, str(home), str(signals)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
