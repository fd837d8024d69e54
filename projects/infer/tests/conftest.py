"""A small search: a network that hears power, noise, bursts injected into it."""

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.artifacts.preprocessing import Preprocessing, Streaming
from aframe.artifacts.strain import write_strain
from aframe.draft import Draft
from aframe_export.export import export
from aframe_export.settings import ExportInputs, ExportSettings
from aframe_infer.repository import read_repository
from aframe_infer.server import Server, find
from aframe_infer.settings import InferInputs, InferSettings

RATE = 256
IFOS = ("H1", "L1")
START = 1_126_000_000.0
DURATION = 200.0
TRAINED = Preprocessing(
    ifos=IFOS,
    sample_rate=float(RATE),
    kernel_length=1.0,
    fduration=0.5,
    fftlength=0.5,
    highpass=20.0,
    lowpass=None,
    psd_length=4.0,
)
STREAMING = Streaming(inference_sampling_rate=4.0, batch_size=4, psd_length=4.0)


class Power(torch.nn.Module):
    """Score a kernel by its power in both detectors, above that of unit variance."""

    def forward(self, kernels):
        """Give one score a kernel."""
        return 20 * ((kernels**2).mean((1, 2)) - 0.9)[:, None]


def noise(seconds, seed):
    """Draw white noise of the size of strain, one row a detector."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((len(IFOS), int(seconds * RATE))) * 1e-21


def burst(snr):
    """A sine-Gaussian at 60 Hz, 4 s long with its middle 1 s before the end.

    In white noise of variance 1e-42 its SNR is the root of the sum of its squares.
    """
    time = np.arange(4 * RATE) / RATE - 3
    wave = np.exp(-((time / 0.05) ** 2) / 2) * np.cos(2 * np.pi * 60 * time)
    return snr * 1e-21 * wave / np.sqrt((wave**2).sum())


def injections(path, times, shifts, snrs, *, ifos=IFOS, sample_rate=float(RATE)):
    """Write a ledger of bursts."""
    rng = np.random.default_rng(0)
    waves = np.array([burst(snr) for snr in snrs])
    parameters = {
        "mass_1": rng.uniform(20, 40, len(snrs)),
        "snr": np.asarray(snrs) * np.sqrt(2.0),
        "injection_time": np.asarray(times, float),
        "shift": np.asarray(shifts, float).reshape(len(snrs), len(IFOS)),
    }
    waveforms = {ifo.lower(): waves * sign for ifo, sign in zip(ifos, (1, -1), strict=False)}
    metadata = {
        "sample_rate": sample_rate,
        "duration": 4.0,
        "right_pad": 1.0,
        "num_injections": 3 * len(snrs),
        "ifos": list(ifos),
        "prior": "bursts",
    }
    write_ledger(path, Ledger(parameters, waveforms, metadata))
    return path


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep what a machine remembers of its choices out of the home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFRAME_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def toy():
    """Hand out what tests build other searches with."""
    return SimpleNamespace(
        noise=noise, burst=burst, injections=injections, Power=Power, START=START, DURATION=DURATION
    )


@pytest.fixture(scope="session")
def model_repository(tmp_path_factory):
    """The part of a repository that inference reads."""
    root = tmp_path_factory.mktemp("exported") / "model_repo"
    network, stream = root / "aframe" / "1", root / "aframe-stream" / "1"
    network.mkdir(parents=True)
    stream.mkdir(parents=True)
    torch.jit.save(torch.jit.script(Power()), network / "model.pt")
    TRAINED.write(network / "preprocessing.json")
    STREAMING.write(stream / "streaming.json")
    return root


@pytest.fixture(scope="session")
def repository(model_repository):
    """The repository, read."""
    return read_repository(model_repository, -1)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Strain of one segment, and bursts in its first two slides, loud and faint."""
    root = tmp_path_factory.mktemp("data")
    write_strain(
        root / "background", noise(DURATION, 1), ifos=IFOS, start=START, sample_rate=float(RATE)
    )
    slots = np.arange(20, 180, 12) + 0.37
    times = START + np.concatenate([slots, slots + 3.1])
    shifts = np.repeat([[0.0, 1.0], [0.0, 2.0]], len(slots), axis=0)
    snrs = np.tile([30.0, 8.0, 2.0], len(times))[: len(times)]
    injections(root / "waveforms.hdf5", times, shifts, snrs)
    zero_lag = noise(20, 2)
    zero_lag[:, 10 * RATE + 90 - 3 * RATE :][:, : 4 * RATE] += burst(25.0)
    write_strain(
        root / "zero_lag",
        zero_lag,
        ifos=IFOS,
        start=START + 5000,
        sample_rate=float(RATE),
    )
    return SimpleNamespace(
        background=root / "background",
        injections=root / "waveforms.hdf5",
        zero_lag=root / "zero_lag",
        event=START + 5010 + 90 / RATE,
    )


@pytest.fixture
def settings(model_repository, data, tmp_path):
    """Give settings of the small search."""
    return InferSettings(
        inputs=InferInputs(model_repository, data.background, data.injections, data.zero_lag),
        output=tmp_path / "results",
        ifos=IFOS,
        sample_rate=RATE,
        Tb=500,
        inference_sampling_rate=4,
        batch_size=4,
        psd_length=4,
    )


@pytest.fixture
def changed(settings):
    """Make settings that differ in some fields, or in some inputs."""

    def change(inputs=None, **fields):
        return replace(settings, inputs=replace(settings.inputs, **(inputs or {})), **fields)

    return change


SERVER_REQUIREMENTS = Path(__file__).parents[1] / "server.txt"


@pytest.fixture(scope="session")
def server_environment(tmp_path_factory):
    """An environment with a real Triton server, made as `make server` makes it."""
    made = Path(__file__).parents[3] / ".venv-server"
    if (made / "bin" / "python").exists():
        return made
    place = tmp_path_factory.mktemp("server") / "environment"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        pytest.skip("no uv to make the server's environment with")
    python = str(place / "bin" / "python")
    for words in (
        ["venv", "--python", sys.executable, str(place)],
        ["pip", "install", "--python", python, "--requirement", str(SERVER_REQUIREMENTS)],
    ):
        done = subprocess.run([uv, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no environment of a server can be made here: {done.stderr[-300:]}")
    return place


@pytest.fixture(scope="session")
def served_repository(tmp_path_factory):
    """The small network, exported for a server that has the Python backend alone."""
    root = tmp_path_factory.mktemp("served")
    torch.jit.save(torch.jit.script(Power()), root / "model.pt")
    TRAINED.write(root / "preprocessing.json")
    with h5py.File(root / "batch.hdf5", "w") as file:
        file["input_0"] = np.random.default_rng(0).standard_normal((4, 2, RATE)).astype("f4")
    inputs = ExportInputs(
        *(root / name for name in ("model.pt", "preprocessing.json", "batch.hdf5"))
    )
    settings = ExportSettings(
        inputs=inputs,
        output=root,
        ifos=IFOS,
        sample_rate=RATE,
        kernel_length=TRAINED.kernel_length,
        fduration=TRAINED.fduration,
        highpass=TRAINED.highpass,
        inference_sampling_rate=STREAMING.inference_sampling_rate,
        batch_size=STREAMING.batch_size,
        psd_length=STREAMING.psd_length,
        streams_per_gpu=6,
        platform="PYTHON",
    )
    export(settings, Draft(root))
    return root / "model_repo"


@pytest.fixture(scope="session")
def program(server_environment, served_repository, tmp_path_factory):
    """How the real server is started."""
    return find(str(server_environment), served_repository, tmp_path_factory.mktemp("backends"))


@pytest.fixture(scope="session")
def server(program, served_repository, tmp_path_factory):
    """A real server, for tests that do it no harm; other tests may take longer than it idles."""
    said = tmp_path_factory.mktemp("log") / "log"
    with Server(program, served_repository, said, idle_seconds=86_400.0) as started:
        yield started


def members(group):
    """Processes of a group that have not ended, with the words that each was started with."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, its = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its) == group and state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().split("\0")
    return found


@pytest.fixture(scope="session")
def group_of():
    """Give the processes of a server, and its own alone."""

    def find_server(server):
        found = members(server._process.pid)
        (itself,) = (pid for pid, words in found.items() if words[0].endswith("/tritonserver"))
        return itself

    return SimpleNamespace(members=members, server=find_server)
