"""What all waveform verbs share: their settings, and the drawing of signals loud enough."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from aframe.artifacts.ledger import Ledger, merge_ledgers, write_ledger
from aframe.artifacts.strain import StrainFile
from aframe.errors import AframeError
from aframe.priors import load_prior, sample
from aframe.program import Resources
from aframe_data.checks import (
    refuse_band,
    refuse_not_positive,
    refuse_unnamed,
    refuse_wrong_workers,
)
from aframe_data.projection import optimal_snr, refuse_unknown_detectors, responses, series
from aframe_data.spectra import median_psd
from aframe_data.streams import stream
from aframe_data.waveforms import (
    Approximant,
    Window,
    load_approximant,
    polarizations,
    refuse_misfit_tides,
    refuse_tilted_spins,
)

#: Signals a branch, whatever the number of workers; fewer of long ones, so that one detector's
#: have at most so many samples together.
BRANCH, _BRANCH_SAMPLES = 512, 2**24
#: Signals drawn at a time within a branch, likewise.
BATCH, _BATCH_SAMPLES = 128, 2**21
#: Draws that show whether a prior and an approximant go together.
_TRIAL = 256
#: A branch gives up when it drew so many and accepted less than one in `_HOPELESS`.
_PATIENCE, _HOPELESS = 20_000, 2_000

ACCEPTED, REJECTED = "branch", "rejected"

Table = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class WaveformSettings:
    """Settings of all waveforms.

    Args:
        output: Directory in which the waveforms appear.
        num_signals: Number of signals to keep.
        prior: Population: its name in ``aframe.priors``, or a dotted path to a factory.
        waveform_approximant: Model of LALSimulation.
        waveform_duration: Length of a waveform (s).
        right_pad: Time from coalescence to the waveform's end (s).
        minimum_frequency: Frequency at which waveforms start (Hz).
        reference_frequency: Frequency at which spins are given (Hz).
        sample_rate: Samples a second (Hz).
        seed: Seed of all random streams.
        resources: How to use the machine.

    Raises:
        AframeError: If a value cannot be meant.
    """

    output: Path
    num_signals: int
    prior: str = "end_o3_ratesandpops"
    waveform_approximant: str = "IMRPhenomPv2"
    waveform_duration: float = 8.0
    right_pad: float = 2.0
    minimum_frequency: float = 20.0
    reference_frequency: float = 50.0
    sample_rate: float = 2048.0
    seed: int = 0
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        positive = ("num_signals", "waveform_duration", "minimum_frequency")
        refuse_not_positive(self, *positive, "reference_frequency", "sample_rate")
        refuse_not_positive(self, "right_pad", "seed", zero=True)
        refuse_wrong_workers(self.resources)
        refuse_band(self, "minimum_frequency")
        if self.right_pad >= self.waveform_duration:
            raise AframeError(
                "the coalescence lies outside the waveform",
                found=f"right_pad {self.right_pad:g} s of {self.waveform_duration:g} s",
                wanted_by="the settings of the waveforms",
                fix="choose a right_pad shorter than waveform_duration",
            )
        if not (self.waveform_duration * self.sample_rate).is_integer():
            raise AframeError(
                "a waveform has no whole number of samples",
                found=f"{self.waveform_duration:g} s at {self.sample_rate:g} Hz",
                wanted_by="the settings of the waveforms",
                fix="choose a waveform_duration that is a multiple of 1 / sample_rate",
            )

    @property
    def window(self) -> Window:
        """How the waveforms are sampled."""
        return Window(
            self.sample_rate,
            self.waveform_duration,
            self.right_pad,
            self.minimum_frequency,
            self.reference_frequency,
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """What a ledger says of all its waveforms."""
        return {
            "sample_rate": self.sample_rate,
            "duration": self.waveform_duration,
            "right_pad": self.right_pad,
            "prior": self.prior,
            "waveform_approximant": self.waveform_approximant,
            "minimum_frequency": self.minimum_frequency,
            "reference_frequency": self.reference_frequency,
        }


@dataclass(frozen=True, kw_only=True)
class InjectionSettings(WaveformSettings):
    """Settings of signals as detectors see them.

    Args:
        ifos: Detectors, in the order of the channels.
        snr_threshold: Network SNR below which a draw is rejected.
        highpass: Lower edge of the SNR's band (Hz); ``None`` for the minimum frequency.
        lowpass: Upper edge of the SNR's band (Hz); ``None`` for the Nyquist frequency.

    Raises:
        AframeError: If a value cannot be meant.
    """

    ifos: tuple[str, ...]
    snr_threshold: float = 4.0
    highpass: float | None = 32.0
    lowpass: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_not_positive(self, "snr_threshold", zero=True)
        refuse_band(self, "highpass", "lowpass")
        refuse_unnamed(self.ifos)
        refuse_unknown_detectors(self.ifos)

    @property
    def band(self) -> Bool[np.ndarray, " frequency"]:
        """Which frequencies of a waveform's transform count for its SNR."""
        frequencies = np.fft.rfftfreq(self.window.size, 1 / self.sample_rate)
        low = self.minimum_frequency if self.highpass is None else self.highpass
        return (frequencies >= low) & (frequencies < (self.lowpass or self.sample_rate / 2))

    @property
    def metadata(self) -> dict[str, Any]:
        """What a ledger says of all its waveforms."""
        return {**super().metadata, "ifos": list(self.ifos)}


def refuse_misfits(settings: WaveformSettings) -> None:
    """Refuse an unknown prior or approximant, or two that do not go together.

    Raises:
        AframeError: If so.
    """
    approximant = load_approximant(settings.waveform_approximant)
    drawn = sample(*load_prior(settings.prior), _TRIAL, stream(settings.seed, "trial of the prior"))
    refuse_tilted_spins(approximant, drawn, settings.prior)
    refuse_misfit_tides(approximant, drawn, settings.window, settings.prior)


def branch_size(window: Window) -> int:
    """Most signals of a branch, which are few where a waveform is long."""
    return max(1, min(BRANCH, _BRANCH_SAMPLES // window.size))


def batch_size(window: Window) -> int:
    """Most signals to draw at a time."""
    return max(1, min(BATCH, _BATCH_SAMPLES // window.size))


def branch_sizes(total: int, most: int) -> list[int]:
    """Cut *total* signals into branches of at most *most*.

    Example:
        >>> branch_sizes(1200, 512)
        [512, 512, 176]
    """
    return [min(most, total - begin) for begin in range(0, total, most)]


@functools.lru_cache(maxsize=4)
def network_psds(
    file: StrainFile, ifos: tuple[str, ...], fftlength: float
) -> Float[np.ndarray, "ifo frequency"]:
    """PSD (1/Hz) of each detector over a strain file, kept for the next branch."""
    return np.stack([median_psd(file, ifo, fftlength) for ifo in ifos])


def fill(
    settings: InjectionSettings,
    psds: Float[np.ndarray, "ifo frequency"],
    times: Float[np.ndarray, " slot"],
    rng: np.random.Generator,
) -> tuple[Ledger, Ledger]:
    """Draw until every slot has a signal above the threshold.

    Args:
        settings: Population, sampling and threshold.
        psds: PSD of each detector (1/Hz).
        times: GPS time of each slot (s), which fixes the detectors' place under the sky.
        rng: Source of chance.

    Returns:
        The accepted signals in the order of the slots, and the parameters of the
        rejected ones; ``num_injections`` of either counts both.

    Raises:
        AframeError: If next to none is loud enough.
    """
    prior, approximant = load_prior(settings.prior), load_approximant(settings.waveform_approximant)
    strain = np.empty((len(times), len(settings.ifos), settings.window.size), np.float32)
    accepted: Table = {}
    rejected: list[Table] = []
    waiting, draws, most = np.arange(len(times)), 0, batch_size(settings.window)
    while waiting.size:
        taken, waiting = waiting[:most], waiting[most:]
        drawn = sample(*prior, len(taken), rng)
        table, spectra = observe(drawn, settings, approximant, psds, times[taken])
        loud, draws = table["snr"] >= settings.snr_threshold, draws + len(taken)
        strain[taken[loud]] = series(spectra[loud], settings.window.size, settings.sample_rate)
        for name, column in table.items():
            whole = accepted.setdefault(name, np.empty((len(times), *column.shape[1:])))
            whole[taken[loud]] = column[loud]
        rejected.append({name: column[~loud] for name, column in table.items()})
        waiting = np.concatenate([taken[~loud], waiting])
        _refuse_hopeless(settings, draws, len(times) - len(waiting))
    metadata = {**settings.metadata, "num_injections": draws}
    waveforms = {ifo.lower(): strain[:, index] for index, ifo in enumerate(settings.ifos)}
    faint = {name: np.concatenate([table[name] for table in rejected]) for name in accepted}
    return Ledger(accepted, waveforms, metadata), Ledger(faint, {}, metadata)


def observe(
    drawn: Table,
    settings: InjectionSettings,
    approximant: Approximant,
    psds: Float[np.ndarray, "ifo frequency"],
    times: Float[np.ndarray, " signal"],
) -> tuple[Table, np.ndarray]:
    """Project drawn signals onto the detectors.

    Returns:
        The parameters with ``snr`` and ``ifo_snrs``, and the spectra (1/Hz), shape
        ``(signal, ifo, frequency)``.
    """
    waves = polarizations(drawn, approximant, settings.window)
    spectra = responses(waves, drawn, times, settings.ifos, settings.sample_rate)
    snrs = optimal_snr(spectra, psds, settings.band, settings.waveform_duration)
    return {**drawn, "snr": np.sqrt((snrs**2).sum(axis=1)), "ifo_snrs": snrs}, spectra


def _refuse_hopeless(settings: InjectionSettings, draws: int, accepted: int) -> None:
    if draws < _PATIENCE or accepted * _HOPELESS >= draws:
        return
    raise AframeError(
        "next to no signal is loud enough",
        found=f"{accepted} of {draws} draws at or above SNR {settings.snr_threshold:g}",
        wanted_by=f"{settings.num_signals} signals of the prior {settings.prior}",
        fix="lower snr_threshold, or choose a prior that does not reach as far",
    )


def write_branch(
    settings: InjectionSettings,
    file: StrainFile,
    slots: Table,
    purpose: str,
    number: int,
    work: Path,
) -> None:
    """Fill one branch's slots and write its accepted and rejected draws.

    Args:
        settings: Population, sampling and threshold.
        file: Strain whose PSD the SNR is against.
        slots: Columns of the slots; ``injection_time`` (GPS s) fixes the detectors' place
            under the sky.
        purpose: What the signals are for, which the random stream derives from.
        number: Number of the branch, likewise.
        work: Directory to write to.
    """
    psds = network_psds(file, settings.ifos, settings.waveform_duration)
    rng = stream(settings.seed, purpose, number)
    accepted, rejected = fill(settings, psds, slots["injection_time"], rng)
    accepted.parameters.update(slots)
    # The accepted come last: their file says that the branch is done.
    write_ledger(branch_path(work, number, REJECTED), rejected)
    write_ledger(branch_path(work, number), accepted)


def branch_reads(_settings: InjectionSettings, file: StrainFile, *_branch: Any) -> list[Path]:
    """Give the files that one branch reads."""
    return [file.path]


def branch_writes(
    _settings: InjectionSettings,
    _file: StrainFile,
    _slots: Table,
    _purpose: str,
    number: int,
    work: Path,
) -> list[Path]:
    """Give the files that one branch writes."""
    return [branch_path(work, number, kind) for kind in (REJECTED, ACCEPTED)]


def branch_path(work: Path, number: int, kind: str = ACCEPTED) -> Path:
    """File of one branch."""
    return work / f"{kind}-{number}.hdf5"


def merge_branches(work: Path, count: int, out: Path, kind: str = ACCEPTED) -> None:
    """Join the files of all branches, in the order of their numbers."""
    merge_ledgers([branch_path(work, number, kind) for number in range(count)], out)


def refuse_unfit_strain(settings: InjectionSettings, files: Sequence[StrainFile]) -> None:
    """Refuse strain that the PSD of these waveforms cannot come from.

    Raises:
        AframeError: If it has another sample rate, or a file is shorter than a waveform.
    """
    rate, shortest = files[0].sample_rate, min(files, key=lambda file: file.duration)
    if rate != settings.sample_rate:
        raise AframeError(
            "strain and waveforms differ in sample rate",
            found=f"{files[0].path} at {rate:g} Hz",
            wanted_by=f"waveforms at {settings.sample_rate:g} Hz",
            fix="fetch the strain again at this rate, or set sample_rate to the strain's",
        )
    if shortest.duration < settings.waveform_duration:
        raise AframeError(
            "strain is too short for a PSD",
            found=f"{shortest.path}: {shortest.duration:g} s",
            wanted_by=f"segments of {settings.waveform_duration:g} s (waveform_duration)",
            fix="raise min_duration of the query, or use shorter waveforms",
        )
