"""What a run left behind, as far as the report needs it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.time import Time
from jaxtyping import Float, Shaped

from aframe.artifacts.events import Events
from aframe.artifacts.hdf5 import attributes, reading
from aframe.artifacts.ledger import read_ledger
from aframe.artifacts.preprocessing import Preprocessing
from aframe.artifacts.record import Record, read_record, record_path

#: Recovery window (s) where no volume says which one was used.
DEFAULT_DT = 1.0
_RECOVERED = (
    "detection_statistic", "detection_time", "injection_time", "snr", "mass_1", "mass_2", "redshift"
)  # fmt: skip
_CURVE = (
    *("sv", "err", "err_injections", "err_threshold", "distance", "distance_err"),
    *("outermost", "lower_bound"),
)


@dataclass(frozen=True)
class Inputs:
    """Files and directories that the report shows; each may be missing (null).

    Args:
        background: Events of the time slides (``background.hdf5``).
        foreground: Recovered injections (``foreground.hdf5``).
        zero_lag: Events of the unshifted strain (``0lag.hdf5``).
        candidates: Neighborhoods of these events (``candidates.hdf5``).
        examples: Neighborhoods of some injections (``examples.hdf5``).
        sensitive_volume: Volumes (``sensitive_volume.h5``).
        p_astro: Probabilities of the zero-lag events (``p_astro.hdf5``).
        rejected_parameters: Draws too faint to inject (``rejected-parameters.hdf5``).
        injections: The injected signals (``waveforms.hdf5``).
        train_background: Directory of the strain to train with.
        test_background: Directory of the strain that is slid.
        zero_lag_background: Directory of the strain that is searched unshifted.
        metrics: Table of the training (``metrics.csv``).
        preprocessing: What the network saw (``preprocessing.json``).
        tune: Trials of the search for the training's settings (``trials.json``).
    """

    background: Path | None = None
    foreground: Path | None = None
    zero_lag: Path | None = None
    candidates: Path | None = None
    examples: Path | None = None
    sensitive_volume: Path | None = None
    p_astro: Path | None = None
    rejected_parameters: Path | None = None
    injections: Path | None = None
    train_background: Path | None = None
    test_background: Path | None = None
    zero_lag_background: Path | None = None
    metrics: Path | None = None
    preprocessing: Path | None = None
    tune: Path | None = None


@dataclass(frozen=True)
class Recovered:
    """Injections and the event nearest to each.

    Args:
        columns: Parameters of the injections and their events.
        dt: Largest difference in time of a recovery (s).
    """

    columns: dict[str, Float[np.ndarray, " injection"]]
    dt: float

    @property
    def offset(self) -> Float[np.ndarray, " injection"]:
        """Time of the event after that of the injection (s)."""
        return self.columns["detection_time"] - self.columns["injection_time"]

    @property
    def statistic(self) -> Float[np.ndarray, " injection"]:
        """Detection statistic, ``-inf`` where no event was near enough."""
        statistic = self.columns["detection_statistic"].astype(float)
        return np.where(np.abs(self.offset) <= self.dt, statistic, -np.inf)


@dataclass(frozen=True)
class Volumes:
    """Sensitive volumes as `estimate` wrote them.

    Args:
        fars: False alarm rates (1/yr).
        curves: Volume (Gpc^3) and distance (Mpc) with their errors, the share of the volume in
            the outermost redshifts and whether it is a lower bound, by population.
        attributes: Settings of the estimate.
    """

    fars: Float[np.ndarray, " threshold"]
    curves: dict[str, dict[str, Shaped[np.ndarray, " threshold"]]]
    attributes: dict[str, object]


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of the zero-lag events as `p_astro` wrote them.

    Args:
        events: Columns of the events, loudest first.
        model: Rate density (1/yr) of the noise and of each class, against ``statistic``.
        reliability: Promised and observed probabilities of held-out events.
        attributes: Settings of the step.
    """

    events: dict[str, Shaped[np.ndarray, " event"]]
    model: dict[str, Float[np.ndarray, " point"]]
    reliability: dict[str, Float[np.ndarray, " bin"]]
    attributes: dict[str, Any]

    @property
    def rates(self) -> dict[str, float]:
        """Mergers per Gpc^3 and year of each class."""
        return dict(json.loads(self.attributes["rates"]))

    @property
    def classes(self) -> list[str]:
        """Classes that the injections hold."""
        return [name for name in self.rates if name in self.model]


@dataclass(frozen=True)
class Evidence:
    """What a run left behind; what was not asked for or not made is ``None``.

    Args:
        inputs: Where it lies.
        records: Records of the steps, with the paths they were read from.
    """

    inputs: Inputs
    records: Sequence[tuple[Path, Record]] = field(default=())

    @cached_property
    def background(self) -> Events | None:
        """Events of the time slides; a background without time is none."""
        events = None if self.inputs.background is None else Events.read(self.inputs.background)
        return events if events is not None and events.Tb > 0 else None

    @cached_property
    def zero_lag(self) -> Events | None:
        """Events of the unshifted strain, loudest last."""
        path = self.inputs.zero_lag
        return None if path is None else Events.read(path).sorted()

    @cached_property
    def recovered(self) -> Recovered | None:
        """Injections and their events."""
        path = self.inputs.foreground
        if path is None:
            return None
        columns = read_ledger(path, parameters=_RECOVERED, waveforms=()).parameters
        said = self.volumes.attributes.get("dt") if self.volumes else None
        return Recovered(columns, float(said) if isinstance(said, (int, float)) else DEFAULT_DT)

    @cached_property
    def volumes(self) -> Volumes | None:
        """Sensitive volumes."""
        path = self.inputs.sensitive_volume
        if path is None:
            return None
        with reading(path, "a sensitive volume") as file:
            said = attributes(file)
            names = [f"{first:g}-{second:g}" for first, second in said["mass_combos"]]
            curves = {name: {key: file[name][key][:] for key in _CURVE} for name in names}
            return Volumes(file["fars"][:], curves, said)

    @cached_property
    def probabilities(self) -> Probabilities | None:
        """Probabilities of the zero-lag events."""
        path = self.inputs.p_astro
        if path is None:
            return None
        with reading(path, "a file of probabilities") as file:
            events, model, held_out = (
                {key: values[:] for key, values in file[name].items()}
                for name in ("events", "model", "reliability")
            )
            return Probabilities(events, model, held_out, attributes(file))

    @cached_property
    def preprocessing(self) -> Preprocessing | None:
        """What the network saw."""
        path = self.inputs.preprocessing
        return None if path is None else Preprocessing.read(path)

    @property
    def ifos(self) -> tuple[str, ...]:
        """Detectors in channel order, empty where nothing says which."""
        if self.preprocessing:
            return self.preprocessing.ifos
        named = (record.settings.get("ifos") for _, record in self.records)
        return next((tuple(ifos) for ifos in named if ifos), ())

    @property
    def background_is_simulated(self) -> bool | None:
        """Whether the strain that is slid is simulated; ``None`` where no record says."""
        return is_simulated(self.inputs.test_background)

    @property
    def zero_lag_is_simulated(self) -> bool | None:
        """Whether the unshifted strain is simulated; ``None`` where no record says."""
        return is_simulated(self.inputs.zero_lag_background or self.inputs.test_background)


def detectors(ifos: Sequence[str], count: int) -> list[str]:
    """Name *count* detectors: by *ifos*, where those are known.

    Example:
        >>> detectors(["H1"], 2)
        ['H1', 'detector 2']
    """
    return [*ifos, *(f"detector {number}" for number in range(len(ifos) + 1, count + 1))][:count]


def is_simulated(directory: Path | None) -> bool | None:
    """Whether the strain in *directory* is simulated, as the record of its fetch says."""
    record = read_record(record_path(Path(directory).parent, "fetch")) if directory else None
    kind = (record.settings.get("source") or {}).get("kind") if record else None
    return None if kind is None else kind == "simulated"


def utc(gps: float) -> str:
    """Write a GPS time in UTC.

    Example:
        >>> utc(1126259462.4)
        '2015-09-14 09:50:45.40'
    """
    with warnings.catch_warnings():
        # Years far ahead have no leap seconds announced, and astropy calls them dubious.
        warnings.simplefilter("ignore")
        return str(Time(gps, format="gps", precision=2).utc.iso)
