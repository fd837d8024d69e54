"""Strain that the tests of the data stage share."""

from __future__ import annotations

import contextlib
from pathlib import Path

import h5py
import numpy as np
import pytest

import aframe
from aframe.artifacts.segments import Segment
from aframe.artifacts.strain import write_strain
from aframe_data.noise import ColoredNoise
from aframe_data.spectra import load_asd

#: Real strain of H1 and L1 around GW150914, 32 s at 4096 Hz, as GWOSC gives it.
REAL = Path(aframe.__file__).parent / "pipelines" / "configs" / "strain"
CURVE = "aLIGOO3LowT1800545"
START, RATE = 1_240_000_000.0, 1024


@pytest.fixture(scope="session")
def curve():
    """A design curve up to 512 Hz."""
    return load_asd(CURVE, nyquist=RATE / 2, wanted_by="a test")


@pytest.fixture(scope="session")
def background(tmp_path_factory, curve) -> Path:
    """Two strain files of H1 and L1, 1024 Hz, 200 s and 160 s, L1 twice as loud in the second."""
    directory = tmp_path_factory.mktemp("background")
    for start, duration, scale in ((START, 200, 1.0), (START + 500, 160, 2.0)):
        segment = Segment(start, start + duration)
        strain = [
            factor * ColoredNoise(curve, sample_rate=RATE, seed=1, ifo=ifo)(segment)
            for ifo, factor in (("H1", 1.0), ("L1", scale))
        ]
        write_strain(directory, np.stack(strain), ifos=("H1", "L1"), start=start, sample_rate=RATE)
    return directory


@pytest.fixture
def write_gwosc(tmp_path):
    """Write a file in GWOSC's layout."""

    def write(strain, *, ifo="H1", start=1_126_259_446, rate=4096, mask=None, tag="TEST"):
        path = tmp_path / f"{ifo[0]}-{ifo}_{tag}-{start}-{len(strain) // rate}.hdf5"
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("strain/Strain", data=strain)
            dataset.attrs.update(
                Xstart=start, Xspacing=1 / rate, Xunits="second", Yunits="", Npoints=len(strain)
            )
            file["meta/Detector"] = ifo
            if mask is not None:
                bits = file.create_dataset("quality/simple/DQmask", data=np.asarray(mask, "u4"))
                bits.attrs.update(Xstart=start, Xspacing=1.0)
        return path

    return write


@pytest.fixture
def real_strain() -> list[Path]:
    """Files of GWOSC's, H1 and L1, from 1126259446 for 32 s at 4096 Hz."""
    return sorted(REAL.glob("*.hdf5"))


@pytest.fixture
def no_waiting(monkeypatch):
    """Ask servers again at once, and be a stranger to all of them."""
    monkeypatch.setattr("aframe_data.servers.BACK_OFF", lambda _state: 0.0)
    # The client of GWOSC remembers addresses, which a later server may have too.
    monkeypatch.setattr("gwosc.api.v2.JSON_CACHE", {})
    monkeypatch.setattr("gwosc.api.v2.RETRY_DEFAULT_WAIT_TIME", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "X509_USER_CERT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def enter():
    """Enter servers, and leave them after the test."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context
