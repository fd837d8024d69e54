"""A toy search: files of every stage in their formats, made in a second without the stages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from aframe.artifacts.events import Events
from aframe.artifacts.ledger import Ledger, write_ledger
from aframe.artifacts.preprocessing import Preprocessing
from aframe.artifacts.record import Record, read_record, write_record
from aframe.artifacts.strain import write_strain
from aframe.draft import Draft
from aframe.priors import load_prior, luminosity_distance, sample
from aframe_sv.estimate import EstimateInputs, EstimateSettings, estimate
from aframe_sv.evidence import Evidence, Inputs
from aframe_sv.p_astro import PAstroInputs, PAstroSettings, p_astro

IFOS = ("H1", "L1")
PRIOR = "log_uniform_bbh"
RATE = 1024.0
GPS = 1_240_579_783.0
EVENT = 1_126_259_462.4


def network_snr(draws, rng):
    """Twelve for a face-on pair of 30 Msun at 1 Gpc, less for other directions."""
    total = draws["mass_1"] + draws["mass_2"]
    chirp = (draws["mass_1"] * draws["mass_2"]) ** 0.6 / total**0.2
    direction = rng.beta(2, 2, len(total))
    return 24 * direction * (chirp / 26) ** (5 / 6) * 1e3 / luminosity_distance(draws["redshift"])


def statistic_of(snr, rng):
    """A logit: it grows with the SNR and saturates."""
    return 16 * np.tanh((snr - 6) / 12) + rng.normal(scale=1.2, size=len(snr))


def events(rng, count, Tb, start=GPS):  # noqa: N803
    """Noise events: an exponential tail of the statistic."""
    slides = 1.0 + np.arange(count) % 5
    return Events(
        rng.exponential(0.8, count) - 3.0,
        start + np.sort(rng.uniform(0, 3600, count)),
        np.stack([np.zeros(count), slides], axis=1),
        Tb,
        -1.35,
    )


def metadata(drawn, prior=PRIOR):
    """What the ledgers of injections say of themselves."""
    return {
        "sample_rate": RATE,
        "duration": 4.0,
        "right_pad": 1.0,
        "num_injections": drawn,
        "ifos": list(IFOS),
        "prior": prior,
        "waveform_approximant": "IMRPhenomD",
        "minimum_frequency": 20.0,
        "reference_frequency": 50.0,
    }


def chirps(draws, snr, times):
    """Signals of the right look: a rising tone that ends at 3 s of 4."""
    t = np.arange(int(4 * RATE)) / RATE - 3.0
    before = np.clip(-t, 1e-3, None)
    tone = np.cos(2 * np.pi * (-60.0 * before**0.625)) * before**-0.25 * (t < 0)
    tone *= 1e-21 / np.abs(tone).max() * np.clip((t + 1.0) * 4, 0, 1)
    scale = (snr / 60)[:, None].astype(np.float32)
    return {"h1": scale * tone, "l1": -0.8 * scale * np.roll(tone, 7)}


def write_injections(folder, rng, drawn=12_000, *, prior=PRIOR, waveforms=False):
    """Draw, reject the faint, search the rest: three ledgers."""
    draws = sample(*load_prior(prior), drawn, rng)
    said = metadata(drawn, prior)
    snr = network_snr(draws, rng)
    kept = snr > 4
    parameters = {name: values[kept] for name, values in draws.items()}
    count, snr_kept = int(kept.sum()), snr[kept]
    times = GPS + 20 + 24.0 * (np.arange(count) % 140)
    shift = np.stack([np.zeros(count), 1.0 + np.arange(count) // 140], axis=1)
    ifo_snrs = np.stack([0.75 * snr_kept, 0.66 * snr_kept], axis=1)
    injected = {**parameters, "snr": snr_kept, "ifo_snrs": ifo_snrs, "injection_time": times}
    injected["shift"] = shift
    statistic = statistic_of(snr_kept, rng)
    # The faintest leave no event of their own: the nearest is some noise, far away.
    near = rng.random(count) < snr_kept / 6
    off = np.where(near, rng.normal(0, 0.05, count), rng.uniform(2, 8, count))
    recovered = {
        **injected,
        "detection_statistic": np.where(near, statistic, rng.exponential(0.8, count) - 3.0),
        "detection_time": times + off,
    }
    faint = {name: values[~kept] for name, values in draws.items()}
    series = chirps(parameters, snr_kept, times) if waveforms else {}
    write_ledger(folder / "waveforms.hdf5", Ledger(injected, series, said))
    found = {**said, "Tb": 20_000.0, "time_offset": -1.35}
    write_ledger(folder / "foreground.hdf5", Ledger(recovered, {}, found))
    rejected = {**faint, "snr": snr[~kept]}
    write_ledger(folder / "rejected-parameters.hdf5", Ledger(rejected, {}, said))


@pytest.fixture
def search(tmp_path):
    """Background, injections and rejected draws of a small search."""
    return write_search(tmp_path)


@pytest.fixture
def make_search():
    """Write further searches: a folder, a seed and the number of draws."""
    return write_search


def write_search(folder, seed=1, drawn=12_000, prior=PRIOR):
    """Write the events that `estimate` reads."""
    rng = np.random.default_rng(seed)
    events(rng, 3000, 21_700.0).write(folder / "background.hdf5")
    write_injections(folder, rng, drawn, prior=prior)
    return SimpleNamespace(
        folder=folder,
        background=folder / "background.hdf5",
        foreground=folder / "foreground.hdf5",
        rejected_parameters=folder / "rejected-parameters.hdf5",
    )


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory):
    """All that a search leaves behind but its report."""
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def inputs(run_directory):
    """Where the files of the run lie, as the report is told."""
    return Inputs(
        background=run_directory / "background.hdf5",
        foreground=run_directory / "foreground.hdf5",
        zero_lag=run_directory / "0lag.hdf5",
        candidates=run_directory / "candidates.hdf5",
        examples=run_directory / "examples.hdf5",
        sensitive_volume=run_directory / "plots" / "sensitive_volume.h5",
        p_astro=run_directory / "plots" / "p_astro.hdf5",
        rejected_parameters=run_directory / "test" / "rejected-parameters.hdf5",
        injections=run_directory / "test" / "waveforms.hdf5",
        train_background=run_directory / "train" / "background",
        test_background=run_directory / "test" / "background",
        zero_lag_background=run_directory / "zero-lag" / "background",
        metrics=run_directory / "training" / "metrics.csv",
        preprocessing=run_directory / "training" / "preprocessing.json",
    )


@pytest.fixture(scope="session")
def records(run_directory):
    """The records of the run's steps."""
    return sorted(run_directory.rglob("*.record.json"))


@pytest.fixture
def evidence(inputs, records):
    """The evidence of the run, and of the run with other inputs."""

    def gather(**changes):
        steps = changes.pop("records", [(path, read_record(path)) for path in records])
        return Evidence(replace(inputs, **changes), steps)

    return gather


def write_run(folder, seed=2, drawn=6_000, hours=0.05):
    """Write the files of a whole run: strain, training, events, candidates, records."""
    rng = np.random.default_rng(seed)
    for name, start, kind in (
        ("train", GPS - 86_400, "simulated"),
        ("test", GPS, "simulated"),
        ("zero-lag", EVENT - 16.4, "files"),
    ):
        seconds = 32.0 if name == "zero-lag" else 3600 * hours
        write_noise(folder / name / "background", rng, round(start), seconds)
        record(folder / name / "fetch.record.json", "aframe-data fetch", source={"kind": kind})
    test = folder / "test"
    events(rng, 3000, 21_700.0).write(folder / "background.hdf5")
    write_injections(test, rng, drawn, waveforms=True)
    (test / "foreground.hdf5").rename(folder / "foreground.hdf5")
    write_zero_lag(folder, rng)
    write_examples(folder)
    write_training(folder / "training")
    rest = {"psd_length": 8.0, "integration_window_length": 1.5, "Tb": 21_600.0, "seed": 7}
    calibration = {"injections": 64, "fine_scatter": 0.0275, "grid_scatter": 0.06}
    record(
        folder / "infer.record.json",
        "aframe-infer infer",
        notes={"calibration": calibration, "count": 7},
        inference_sampling_rate=4.0,
        **rest,
    )
    files = EstimateInputs(
        folder / "background.hdf5", folder / "foreground.hdf5", test / "rejected-parameters.hdf5"
    )
    pairs = [[35.0, 35.0], [20.0, 20.0]]
    (folder / "plots").mkdir()
    settings = EstimateSettings(files, folder, list(IFOS), pairs, PRIOR, max_far=1e6)
    estimate(settings, Draft(folder / "plots"))
    asked = PAstroInputs(
        files.background, files.foreground, files.rejected_parameters, folder / "0lag.hdf5"
    )
    p_astro(PAstroSettings(asked, folder, list(IFOS), PRIOR), Draft(folder / "plots"))
    return folder


def write_noise(directory, rng, start, seconds):
    """Write noise that falls steeply to 100 Hz and rises gently above."""
    size = int(seconds * RATE)
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    with np.errstate(divide="ignore"):
        shape = np.sqrt(1 + (60 / np.maximum(frequency, 8)) ** 8 + (frequency / 250) ** 2)
    strain = [
        np.fft.irfft(np.fft.rfft(rng.normal(size=size)) * shape, size) * 4e-24 * np.sqrt(RATE / 2)
        for _ in IFOS
    ]
    write_strain(directory, np.array(strain), ifos=IFOS, start=float(start), sample_rate=RATE)


def write_zero_lag(folder, rng):
    """Write two events of zero lag, the louder one a signal, and their neighborhoods."""
    statistic, times = np.array([-1.2, 11.8]), np.array([EVENT - 7.3, EVENT + 0.03])
    Events(statistic, times, np.zeros((2, 2)), 22.0, -1.35).write(folder / "0lag.hdf5")
    with h5py.File(folder / "candidates.hdf5", "w") as file:
        file.attrs["schema_version"] = 1
        for rank, index in enumerate((1, 0)):
            group = file.create_group(str(rank))
            start = times[index] - 2.0
            group.attrs.update(
                detection_time=times[index], detection_statistic=statistic[index], gps_start=start
            )
            noise = rng.normal(size=(2, int(4 * RATE)))
            if index:
                signal = chirps({}, np.array([20.0]), None)
                # Their merger lies 3 s after the start, the event 2 s.
                for row, name in zip(noise, ("h1", "l1"), strict=True):
                    row[: int(2 * RATE)] += 2e22 * signal[name][0, int(RATE) : int(3 * RATE)]
            group["whitened"] = noise.astype(np.float32)
            group["whitened"].attrs["sample_rate"] = RATE
            scores = rng.normal(-3, 0.5, 80)
            if index:
                scores[32:40] = 12.0
            for name, series in (
                ("scores", scores),
                ("integrated", np.convolve(scores, np.ones(6) / 6)[:80]),
            ):
                group[name] = series.astype(np.float32)
                group[name].attrs.update(gps_start=times[index] - 10.0, sample_rate=4.0)


def write_examples(folder):
    """Call the neighborhood of the loud event one of a found injection, and the other's missed.

    That one is the loudest event of the background as well, with one that a veto has removed.
    """
    background = Events.read(folder / "background.hdf5")
    with (
        h5py.File(folder / "candidates.hdf5") as source,
        h5py.File(folder / "examples.hdf5", "w") as file,
    ):
        for place, rank in enumerate(("1", "0")):
            source.copy(rank, file, str(place))
            said = file[str(place)].attrs
            # The missed one has its nearest event seconds away.
            said["injection_time"] = said["detection_time"] - (0.0, 0.06)[place]
            said["detection_time"] += (4.2, 0.0)[place]
            said.update(snr=(14.5, 9.1)[place], mass_1=44.0, mass_2=33.0, redshift=0.1)
            said.update(row=place, found=bool(place))
        for place, time in enumerate((background.detection_time[-1], -1.0), 2):
            source.copy("1", file, str(place))
            said = file[str(place)].attrs
            statistic = background.detection_statistic[-1]
            said.update(detection_time=time, detection_statistic=statistic)
            said["shift"] = background.shift[-1]


def write_training(folder):
    """Write the table of a training and the preprocessing of its model."""
    folder.mkdir()
    rows = ["epoch,step,train_loss,learning_rate,valid_auroc"]
    for epoch in range(12):
        step = 100 * (epoch + 1)
        rows.append(f"{epoch},{step - 50},{0.7 * 0.8**epoch + 0.15:.4f},0.003,")
        rows.append(f"{epoch},{step},,,{0.5 + 0.45 * (1 - 0.75**epoch):.4f}")
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    Preprocessing(IFOS, RATE, 1.5, 1.0, 1.0, 32.0, None, 8.0).write(folder / "preprocessing.json")
    (folder / "config.yaml").write_text(
        "data:\n  init_args:\n    snr: {minimum: 5.0, first_minimum: 12.0, decay_steps: 800}\n"
    )
    record(folder / "fit.record.json", "aframe-train fit", kernel_length=1.5, highpass=32.0)


def record(path: Path, command: str, notes=None, **settings):
    """Write the record of a step that took some minutes."""
    minute = len(list(path.parents[1].rglob("*.record.json"))) % 60
    write_record(
        path,
        Record(
            command=command,
            settings={"ifos": list(IFOS), "sample_rate": RATE, **json.loads(json.dumps(settings))},
            inputs={},
            outputs={},
            sizes={},
            versions={"python": "3.11.2", "aframe": "0.1.0", "numpy": "2.1.0"},
            git="0123456789ab+changes",
            host="laptop",
            started=f"2026-11-21T10:{minute:02d}:00+00:00",
            finished=f"2026-11-21T10:{minute:02d}:42+00:00",
            notes=notes or {"count": 7},
        ),
    )
