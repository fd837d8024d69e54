"""Settings of the verbs `infer` and `challenge`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aframe.artifacts.segments import event_time, refuse_standing
from aframe.checks import refuse_shifts, refuse_windows
from aframe.errors import AframeError
from aframe.program import Resources

COMMAND = "aframe-infer infer"
CHALLENGE = "aframe-infer challenge"


@dataclass(frozen=True)
class InferInputs:
    """What is searched, and with what.

    Args:
        model_repository: The folder ``model_repo`` that export wrote.
        background: Directory of the strain to slide and inject into.
        injections: Ledger of the injections (``waveforms.hdf5``).
        zero_lag_background: Directory of the strain to search unshifted; null for
            that of *background*.
    """

    model_repository: Path
    background: Path
    injections: Path
    zero_lag_background: Path | None = None


@dataclass(frozen=True)
class InferResources(Resources):
    """How the search may use the machine, or a server.

    Args:
        server: Triton server that scores; null for this process. ``local`` starts that of the
            environment that `make server` made, or a ``tritonserver`` on PATH; the path of such
            an environment, of a program or of an image (.sif) starts that; ``host:port`` is one
            that runs already.
        server_timeout: How long to wait for its answer, or for it to come back (s).
    """

    server: str | None = None
    server_timeout: float = 60.0


@dataclass(frozen=True)
class InferSettings:
    """Settings of ``aframe-infer infer``.

    Args:
        inputs: What is searched, and with what.
        output: Directory where the events appear.
        ifos: Detectors in channel order.
        sample_rate: Samples a second of strain (Hz).
        inference_sampling_rate: Kernels a second (Hz).
        batch_size: Kernels that share a PSD, as export was told.
        psd_length: Length of the data before a block that give its PSD (s).
        integration_window_length: Length of the average over scores (s).
        cluster_window_length: Time in which one event is kept (s).
        Tb: Background livetime to analyze (s).
        shifts: Shift of each detector in the first time slide (s).
        zero_lag: Whether to search unshifted strain too.
        model_version: Version of the exported network; -1 for the latest.
        return_timeseries: Whether to keep all scores in ``timeseries.hdf5``.
        known_events: Catalogued events: GPS times (s), or names with the UTC time such as
            ``GW190521_030229``.
        known_events_half_width: Strain on either side of each that counts as its own (s).
        known_events_are: Whether that strain is ``removed`` from the background or ``kept``.
        resources: How to use the machine.
    """

    inputs: InferInputs
    output: Path
    ifos: tuple[str, ...]
    sample_rate: float
    Tb: float
    inference_sampling_rate: float = 4.0
    batch_size: int = 128
    psd_length: float = 64.0
    integration_window_length: float = 1.5
    cluster_window_length: float = 8.0
    shifts: tuple[float, ...] = (0.0, 1.0)
    zero_lag: bool = True
    model_version: int = -1
    return_timeseries: bool = False
    known_events: tuple[str, ...] = ()
    known_events_half_width: float = 8.0
    known_events_are: Literal["removed", "kept"] = "removed"
    resources: InferResources = field(default_factory=InferResources)

    def __post_init__(self) -> None:
        rate = self.inference_sampling_rate
        refuse_shifts(self.shifts, self.ifos, rate, wanted_by=COMMAND)
        refuse_standing(self.shifts)
        refuse_windows(
            inference_sampling_rate=rate,
            integration_window_length=self.integration_window_length,
            cluster_window_length=self.cluster_window_length,
            wanted_by=COMMAND,
        )
        if self.Tb <= 0:
            raise contradiction(f"Tb {self.Tb:g} s", "ask for some background livetime")
        for event in self.known_events:
            event_time(event)
        if self.known_events_half_width <= 0:
            raise contradiction(
                f"known_events_half_width {self.known_events_half_width:g} s",
                "cut some strain, or keep known events with known_events_are kept",
            )
        if self.resources.server_timeout <= 0:
            raise contradiction(
                f"server_timeout {self.resources.server_timeout:g} s", "wait for some seconds"
            )


def contradiction(found: str, fix: str) -> AframeError:
    """Make the error of settings that cannot all be meant."""
    return AframeError(
        "the settings of the search contradict themselves", found=found, wanted_by=COMMAND, fix=fix
    )


@dataclass(frozen=True)
class ChallengeInputs:
    """What is searched, and with what.

    Args:
        model_repository: The folder ``model_repo`` that export wrote.
        strain: File of the challenge: a group a detector, with a dataset a segment.
        calibrated: Events of a search with the same network and windows
            (``background.hdf5``), whose ``time_offset`` dates the events here.
    """

    model_repository: Path
    strain: Path
    calibrated: Path


@dataclass(frozen=True)
class ChallengeSettings:
    """Settings of ``aframe-infer challenge``.

    Args:
        inputs: What is searched, and with what.
        output: Directory where the event file appears.
        var: Largest distance in time at which an event claims a signal (s).
        integration_window_length: Length of the average over scores (s).
        cluster_window_length: Time in which one event is kept (s).
        model_version: Version of the exported network; -1 for the latest.
        resources: How to use the machine.

    Raises:
        AframeError: If an event can claim no signal.
    """

    inputs: ChallengeInputs
    output: Path
    var: float = 0.2
    integration_window_length: float = 1.5
    cluster_window_length: float = 8.0
    model_version: int = -1
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        if not self.var > 0:
            raise AframeError(
                "events that claim no time find nothing",
                found=f"var {self.var:g} s",
                wanted_by=CHALLENGE,
                fix="give the largest distance in time of event and signal, such as 0.2 s",
            )
