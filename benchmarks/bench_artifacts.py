"""Reading and writing what stages hand each other, against plain h5py."""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from aframe.artifacts.events import Events, write_sorted
from aframe.artifacts.ledger import Ledger, merge_ledgers, read_ledger, write_ledger

REPEATS = 5


def seconds(*functions: Callable[[], object]) -> list[float]:
    """Best time of each function, all called in turns."""
    best = [float("inf")] * len(functions)
    for _ in range(REPEATS):
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def compare(what: str, ours: Callable[[], object], plain: Callable[[], object]) -> None:
    """Print how long *ours* takes for each second of *plain*."""
    mine, theirs = seconds(ours, plain)
    print(f"{what:<42} {mine:8.4f} s  plain {theirs:8.4f} s  ratio {mine / theirs:6.2f}")


def main() -> None:
    """Compare each in a temporary folder."""
    print(f"{os.cpu_count()} cores, h5py {h5py.__version__}, numpy {np.__version__}")
    rng = np.random.default_rng(0)
    ledger = Ledger({"mass_1": np.ones(8192)}, {"h1": rng.normal(size=(8192, 4096))}, {})
    single = ledger.waveforms["h1"].astype(np.float32)
    some = rng.permutation(8192)[:512]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def write_plain() -> None:
            with h5py.File(folder / "plain.hdf5", "w") as file:
                file["h1"] = single

        def read_plain() -> None:
            with h5py.File(folder / "plain.hdf5") as file:
                file["h1"][np.sort(some)]

        def copy_plain() -> None:
            with h5py.File(folder / "plain.hdf5") as old, h5py.File(folder / "c", "w") as new:
                new["h1"] = np.concatenate([old["h1"][:]] * 2)

        def write() -> None:
            write_ledger(folder / "ledger.hdf5", Ledger({}, {"h1": single}, {}))

        compare("write 128 MiB of waveforms", write, write_plain)
        compare(
            "read 512 rows by index",
            lambda: read_ledger(folder / "ledger.hdf5", rows=some),
            read_plain,
        )
        compare(
            "merge 2 x 128 MiB, a block at a time",
            lambda: merge_ledgers([folder / "ledger.hdf5"] * 2, folder / "merged.hdf5"),
            copy_plain,
        )
    background = rng.normal(size=200_000)
    events = Events(background, background, np.zeros((200_000, 2)), Tb=1e6)
    found = rng.normal(size=1000)
    compare(
        "rates of 1000 events, 200 000 background",
        lambda: events.false_alarm_rate(found),
        lambda: [(background >= each).sum() for each in found],
    )
    sort_a_million()


def sort_a_million() -> None:
    """Gather a million events of two hundred slides, against all of them in memory at once."""
    rng = np.random.default_rng(1)
    parts = [
        Events(
            rng.normal(size=5000).astype(np.float32),
            rng.uniform(size=5000) + 1e9,
            np.tile(np.float32([0, slide]), (5000, 1)),
            Tb=25_000.0,
        )
        for slide in range(200)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def plain() -> None:
            columns = [
                np.concatenate([getattr(part, field) for part in parts])
                for field in ("detection_statistic", "detection_time", "shift")
            ]
            order = np.argsort(columns[0], kind="stable")
            with h5py.File(folder / "plain.hdf5", "w") as file:
                for number, column in enumerate(columns):
                    file[str(number)] = column[order]

        for at_once in (2**20, 2**16):
            compare(
                f"sort 1e6 events, {at_once} at once",
                partial(
                    write_sorted,
                    folder / "x.hdf5",
                    parts,
                    scratch=folder,
                    metadata={},
                    at_once=at_once,
                ),
                plain,
            )


if __name__ == "__main__":
    main()
