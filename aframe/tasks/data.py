"""Tasks of the data stage: segments, strain and waveforms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import law

from aframe.parameters import (
    Count,
    Detectors,
    Numbers,
    OptionalNumber,
    OptionalPositive,
    PathParameter,
    Positive,
    Seed,
    Source,
    Text,
)
from aframe.tasks.base import StageTask
from aframe.tasks.checks import (
    refuse_band,
    refuse_few_slots,
    refuse_low_rate,
    refuse_source,
    refuse_span,
    refuse_window,
)


class StrainParameters(law.Task):
    """Which strain: its source, detectors and times."""

    task_namespace = ""

    source = Source(
        default={"kind": "gwosc"},
        description="where strain comes from, as JSON: "
        '{"kind": "gwosc"} for open data, '
        '{"kind": "simulated", "psds": {"H1": NAME-OR-FILE, …}}, '
        '{"kind": "files", "paths": ["GLOB", …]}, '
        '{"kind": "datafind", "frametypes": {"H1": TYPE, …}} or '
        '{"kind": "nds2", "channels": {"H1": NAME, …}}; projects/data/README.md has all keys',
    )
    ifos = Detectors(default=("H1", "L1"), description="detectors in channel order; default: H1,L1")
    min_duration = Positive(default=128.0, description="shortest segment to keep (s); default: 128")


class Query(StageTask, StrainParameters):
    """Find the segments in which all detectors have data."""

    stage, verb = "data", "query"
    branched = True
    publishes: ClassVar = {"segments": "segments.txt"}

    start = OptionalNumber(default=None, description="begin of the search for segments (GPS s)")
    stop = OptionalNumber(default=None, description="end of the search for segments (GPS s)")
    to_directory = PathParameter(default="", description="folder for segments.txt")

    @property
    def directory(self) -> Path:
        """Where ``segments.txt`` appears."""
        return self.to_directory or self.paths.train_background

    def check(self) -> None:
        """Refuse a source without strain and an empty span."""
        refuse_source(self)
        refuse_span(self)

    def settings(self) -> dict[str, Any]:
        """Source, detectors and span."""
        return {
            "source": plain(self.source),
            "ifos": list(self.ifos),
            "start": self.start,
            "stop": self.stop,
            "min_duration": self.min_duration,
        }


class FetchTask(StageTask, StrainParameters):
    """Fetch the strain of all segments, resampled, into HDF5 files."""

    stage, verb = "data", "fetch"
    branched = True
    publishes: ClassVar = {"background": "background"}

    start = OptionalNumber(default=None, description="begin of the strain (GPS s)")
    stop = OptionalNumber(default=None, description="end of the strain (GPS s)")
    seed = Seed(default=1122, description="seed of all random streams; default: 1122")
    sample_rate = Positive(default=2048.0, description="samples a second (Hz); default: 2048")
    max_duration = Positive(
        default=20000.0, description="longest strain file to write (s); default: 20000"
    )

    def check(self) -> None:
        """Refuse a source without strain or sampled too low, and an empty span."""
        refuse_source(self)
        refuse_low_rate(self)
        refuse_span(self)

    def requires(self) -> Query:
        """The segments."""
        mine = ("source", "start", "stop", "min_duration")
        given = {name: getattr(self, name) for name in mine}
        return Query.req(self, to_directory=self.directory, **given)

    def inputs(self) -> dict[str, Path | None]:
        """The segments."""
        return {"segments": Path(self.requires().output()["segments"].path)}

    def settings(self) -> dict[str, Any]:
        """Source, detectors, rate and length of files."""
        return {
            "source": plain(self.source),
            "ifos": list(self.ifos),
            "seed": self.seed,
            "sample_rate": self.sample_rate,
            "max_duration": self.max_duration,
        }


class FetchTrain(FetchTask):
    """Fetch the strain that training and validation draw their noise from."""

    start = OptionalNumber(default=1240579783.0, description="begin of the strain (GPS s)")
    stop = OptionalNumber(default=1241443783.0, description="end of the strain (GPS s)")
    min_duration = Positive(
        default=1024.0, description="shortest segment to keep (s); default: 1024"
    )

    @property
    def directory(self) -> Path:
        """Where the training strain lies."""
        return self.paths.train_background


class FetchTest(FetchTask):
    """Fetch the strain that the search is measured on."""

    start = OptionalNumber(default=1241443783.0, description="begin of the strain (GPS s)")
    stop = OptionalNumber(default=1244035783.0, description="end of the strain (GPS s)")

    @property
    def directory(self) -> Path:
        """Where the testing strain lies."""
        return self.paths.test_background


class FetchZeroLag(FetchTask):
    """Fetch strain to search at zero lag, where that is not the testing strain."""

    @property
    def directory(self) -> Path:
        """Where the zero-lag strain lies."""
        return self.paths.zero_lag


class WaveformTask(StageTask):
    """Generate waveforms of compact binaries drawn from a population."""

    stage = "data"
    branched = True

    num_signals = Count(default=100_000, description="number of signals to keep")
    prior = Text(
        default="end_o3_ratesandpops",
        description="population: its name in aframe.priors, or a dotted path to a factory; "
        "default: end_o3_ratesandpops",
    )
    waveform_approximant = Text(
        default="IMRPhenomPv2", description="LALSimulation approximant; default: IMRPhenomPv2"
    )
    waveform_duration = Positive(default=8.0, description="length of a waveform (s); default: 8")
    right_pad = Positive(
        default=2.0, description="time from coalescence to the waveform's end (s); default: 2"
    )
    minimum_frequency = Positive(
        default=20.0, description="frequency at which waveforms start (Hz); default: 20"
    )
    reference_frequency = Positive(
        default=50.0, description="frequency at which spins are given (Hz); default: 50"
    )
    sample_rate = Positive(default=2048.0, description="samples a second (Hz); default: 2048")
    seed = Seed(default=1122, description="seed of all random streams; default: 1122")

    def check(self) -> None:
        """Refuse a coalescence outside the waveform."""
        refuse_window(self)

    def settings(self) -> dict[str, Any]:
        """Population, approximant and shape of the waveforms."""
        return {
            "num_signals": self.num_signals,
            "prior": self.prior,
            "waveform_approximant": self.waveform_approximant,
            "waveform_duration": self.waveform_duration,
            "right_pad": self.right_pad,
            "minimum_frequency": self.minimum_frequency,
            "reference_frequency": self.reference_frequency,
            "sample_rate": self.sample_rate,
            "seed": self.seed,
        }


class InjectionTask(WaveformTask):
    """Generate the detectors' responses to signals that are loud enough to matter."""

    ifos = Detectors(default=("H1", "L1"), description="detectors in channel order; default: H1,L1")
    snr_threshold = Positive(
        default=4.0, description="network SNR below which a draw is rejected; default: 4"
    )
    highpass = OptionalPositive(default=32.0, description="lower edge of the SNR's band (Hz)")
    lowpass = OptionalPositive(default=None, description="upper edge of the SNR's band (Hz)")

    def check(self) -> None:
        """Refuse a band beyond Nyquist and a coalescence outside the waveform."""
        refuse_window(self)
        refuse_band(self)

    def settings(self) -> dict[str, Any]:
        """Population and shape, with the rejection."""
        return {
            **super().settings(),
            "ifos": list(self.ifos),
            "snr_threshold": self.snr_threshold,
            "highpass": self.highpass,
            "lowpass": self.lowpass,
        }


class TrainingWaveforms(WaveformTask):
    """Generate the polarizations that training injects."""

    verb = "training_waveforms"
    publishes: ClassVar = {"waveforms": "training_waveforms.hdf5"}

    @property
    def directory(self) -> Path:
        """Where training's waveforms lie."""
        return self.paths.train_waveforms


class ValidationWaveforms(InjectionTask):
    """Generate the signals that validation injects into the training strain."""

    verb = "validation_waveforms"
    publishes: ClassVar = {"waveforms": "val_waveforms.hdf5"}

    num_signals = Count(default=20_000, description="number of signals to keep")

    @property
    def directory(self) -> Path:
        """Where training's waveforms lie."""
        return self.paths.train_waveforms

    def requires(self) -> FetchTrain:
        """Strain for the PSD."""
        return FetchTrain.req(self)

    def inputs(self) -> dict[str, Path | None]:
        """Strain for the PSD."""
        return {"background": Path(self.requires().output()["background"].path)}


class TestingWaveforms(InjectionTask):
    """Generate the injections that measure the search, spaced over the testing strain."""

    verb = "testing_waveforms"
    publishes: ClassVar = {"waveforms": "waveforms.hdf5", "rejected": "rejected-parameters.hdf5"}

    num_signals = Count(default=500_000, description="number of signals to keep")
    shifts = Numbers(default=(0.0, 1.0), description="shift of each detector a slide (s)")
    spacing = Positive(
        default=16.0, description="time between one waveform's end and the next (s); default: 16"
    )
    buffer = Positive(
        default=16.0, description="time kept free at a segment's edges (s); default: 16"
    )
    jitter = Positive(
        default=0.1, description="injection times vary by up to this (s); default: 0.1"
    )
    psd_length = Positive(
        default=64.0, description="data before the first output, for the PSD (s); default: 64"
    )

    @property
    def directory(self) -> Path:
        """Where the test's waveforms lie."""
        return self.paths.test_waveforms

    def check(self) -> None:
        """Refuse what cannot fit, before anything runs."""
        super().check()
        refuse_few_slots(self, self.requires())

    def requires(self) -> FetchTest:
        """Strain to inject into."""
        return FetchTest.req(self)

    def inputs(self) -> dict[str, Path | None]:
        """Strain to inject into, and its segments."""
        strain = self.requires()
        return {
            "segments": strain.inputs()["segments"],
            "background": Path(strain.output()["background"].path),
        }

    def settings(self) -> dict[str, Any]:
        """Population, rejection and times."""
        return {
            **super().settings(),
            "shifts": list(self.shifts),
            "spacing": self.spacing,
            "buffer": self.buffer,
            "jitter": self.jitter,
            "psd_length": self.psd_length,
        }


def plain(value: Any) -> Any:
    """Bring luigi's frozen dictionaries to plain ones, for the settings file."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
