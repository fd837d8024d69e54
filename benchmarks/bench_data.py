"""Making strain and waveforms, against the libraries that do the bulk of it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import lal
import lalsimulation
import numpy as np
import scipy

from aframe.artifacts.segments import Segment
from aframe.priors import TIDES, load_prior, luminosity_distance, sample
from aframe_data.noise import ColoredNoise
from aframe_data.projection import optimal_snr, responses
from aframe_data.resampling import resample_piece
from aframe_data.spectra import load_asd
from aframe_data.streams import stream, white_noise
from aframe_data.training import TrainingSettings, write_polarizations
from aframe_data.waveforms import Window, load_approximant, polarizations

REPEATS, SIGNALS = 5, 512
HOUR = Segment(1.24e9, 1.24e9 + 3600)


def compare(what: str, count: float, unit: str, *functions: Callable[[], object]) -> None:
    """Print the rate of the first function, and of the second, called in turns.

    Time is that of the process, so that others on the machine matter less.
    """
    best = [float("inf")] * len(functions)
    for _ in range(REPEATS):
        for index, function in enumerate(functions):
            start = time.process_time()
            function()
            best[index] = min(best[index], time.process_time() - start)
    mine, theirs = best
    rates = f"{count / mine:10.0f} {unit}/s  plain {count / theirs:10.0f} {unit}/s"
    print(f"{what:<46} {rates}  share {theirs / mine:5.2f}")


def waveforms(
    prior: str,
    model: str,
    sample_rate: float,
    window: tuple[float, float] = (8.0, 2.0),
    length: float = 8.0,
    signals: int = SIGNALS,
) -> None:
    """Conditioned waveforms, and a branch of the verb, against a bare loop over LALSimulation.

    Args:
        prior: What to draw from.
        model: Approximant.
        sample_rate: Samples a second (Hz).
        window: Length and right pad of a waveform (s).
        length: Inverse of the bare loop's frequency step (s): what a signal takes.
        signals: How many to make.
    """
    duration, right_pad = window
    view = Window(sample_rate, duration, right_pad, 20.0, 50.0)
    settings = TrainingSettings(
        output=Path(),
        num_signals=signals,
        prior=prior,
        waveform_approximant=model,
        sample_rate=sample_rate,
        waveform_duration=duration,
        right_pad=right_pad,
    )
    # Those that the branch draws.
    rng = stream(settings.seed, "training waveforms", 0)
    drawn = sample(*load_prior(prior), signals, rng)
    approximant = load_approximant(model)
    masses = [drawn[name] * lal.MSUN_SI for name in ("mass_1", "mass_2")]
    angles = (drawn["theta_jn"], drawn["phi_jl"], drawn["tilt_1"], drawn["tilt_2"])
    spins = (drawn["phi_12"], drawn["a_1"], drawn["a_2"])
    distances = luminosity_distance(drawn["redshift"]) * 1e6 * lal.PC_SI
    binaries = []
    for row in zip(*angles, *spins, *masses, drawn["phase"], distances, strict=True):
        *first, mass_1, mass_2, phase, distance = map(float, row)
        turned = lalsimulation.SimInspiralTransformPrecessingNewInitialConditions(
            *first, mass_1, mass_2, 50.0, phase
        )
        inclination, *xyz = turned
        if prior == "log_uniform_bbh":
            xyz = [0.0, 0.0, xyz[2], 0.0, 0.0, xyz[5]]
        binaries.append((mass_1, mass_2, *xyz, distance, inclination, phase, 0, 0, 0))
    shape = 1 / length, 20.0, sample_rate / 2, 50.0
    tides = zip(*(drawn.get(name, np.zeros(signals)) for name in TIDES), strict=True)
    options = [deformed(*map(float, pair)) for pair in tides]

    def plain() -> None:
        for binary, option in zip(binaries, options, strict=True):
            lalsimulation.SimInspiralChooseFDWaveform(*binary, *shape, option, approximant.number)

    compare(
        f"{model}, {duration:g} s at {sample_rate:.0f} Hz",
        signals,
        "signals",
        lambda: polarizations(drawn, approximant, view),
        plain,
    )
    with TemporaryDirectory() as folder:
        path = Path(folder, "branch.hdf5")
        compare(
            "  drawn, made and written",
            signals,
            "signals",
            lambda: write_polarizations(settings, 0, signals, path),
            plain,
        )


def deformed(lambda_1: float, lambda_2: float) -> object:
    """LALSimulation's options of tidal deformabilities; none for none."""
    if not (lambda_1 or lambda_2):
        return None
    options = lal.CreateDict()
    lalsimulation.SimInspiralWaveformParamsInsertTidalLambda1(options, lambda_1)
    lalsimulation.SimInspiralWaveformParamsInsertTidalLambda2(options, lambda_2)
    return options


def projection() -> None:
    """Responses and SNRs of two detectors, against the Fourier transforms they need."""
    window = Window(1024.0, 8.0, 2.0, 20.0, 50.0)
    drawn = sample(*load_prior("log_uniform_bbh"), SIGNALS, np.random.default_rng(0))
    waves = polarizations(drawn, load_approximant("IMRPhenomD"), window)
    times, psds = np.full(SIGNALS, 1.2e9), np.full((2, 4097), 1e-46)
    band = np.arange(4097) > 256

    def mine() -> None:
        spectra = responses(waves, drawn, times, ("H1", "L1"), 1024.0)
        optimal_snr(spectra, psds, band, 8.0)

    compare(
        "responses and SNRs, 8 s at 1024 Hz",
        SIGNALS,
        "signals",
        mine,
        lambda: scipy.fft.rfft(waves),
    )


def noise(sample_rate: int) -> None:
    """Colored noise, against white noise alone."""
    asd = load_asd("aLIGOO3LowT1800545", nyquist=sample_rate / 2, wanted_by="a benchmark")
    colored = ColoredNoise(asd, sample_rate=sample_rate, seed=0, ifo="H1")
    compare(
        f"simulated noise at {sample_rate} Hz",
        3600,
        "s",
        lambda: colored(HOUR),
        lambda: white_noise(0, "H1", 1, 3600 * sample_rate),
    )


def resampling() -> None:
    """4096 Hz to 1024 Hz, against gwpy's way, a transform of the whole."""
    strain = np.random.default_rng(0).normal(size=600 * 4096)
    piece = Segment(0.0, 600.0)

    def read(part: Segment) -> np.ndarray:
        first, stop = (round(time * 4096) for time in part)
        return strain[first:stop]

    compare(
        "strain from 4096 Hz to 1024 Hz",
        600,
        "s",
        lambda: resample_piece(read, piece, piece, sample_rate=4096, wanted=1024),
        lambda: scipy.signal.resample(strain, 600 * 1024),
    )


def main() -> None:
    """Compare each on one core."""
    versions = f"lalsimulation {lalsimulation.__version__}, scipy {scipy.__version__}"
    print(f"{os.cpu_count()} cores, {versions}, numpy {np.__version__}")
    for sample_rate in (1024, 2048):
        noise(sample_rate)
    resampling()
    for sample_rate in (1024.0, 2048.0):
        waveforms("log_uniform_bbh", "IMRPhenomD", sample_rate)
        waveforms("end_o3_ratesandpops", "IMRPhenomPv2", sample_rate)
    waveforms("end_o3_ratesandpops", "IMRPhenomXPHM", 2048.0, signals=32)
    # From 20 Hz on, these neutron stars take 72 to 240 s, 143 s on average.
    stars = (90.0, 45.0), 143.0, 8
    waveforms("end_o3_ratesandpops_bns", "IMRPhenomPv2", 2048.0, *stars)
    waveforms("tidal_bns", "IMRPhenomPv2_NRTidalv2", 2048.0, *stars)
    projection()


if __name__ == "__main__":
    main()
