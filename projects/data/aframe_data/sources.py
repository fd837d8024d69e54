"""Where strain comes from: local files, or a simulation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aframe.errors import AframeError


@dataclass(frozen=True)
class Simulated:
    """Stationary Gaussian noise.

    Args:
        kind: ``simulated``.
        psds: The noise curve of each detector: a design curve of LALSimulation by name, or
            a file of frequency (Hz) and amplitude spectral density (1/sqrt(Hz)).
    """

    kind: Literal["simulated"]
    psds: dict[str, str]


@dataclass(frozen=True)
class Files:
    """Files on this machine: GWOSC's HDF5, frames, or strain files as `fetch` writes them.

    Args:
        kind: ``files``.
        paths: Patterns such as ``/data/*.gwf``; all files they match together.
        channels: Channel to read of each detector in frames that hold several.
    """

    kind: Literal["files"]
    paths: tuple[str, ...]
    channels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.paths:
            raise AframeError(
                "a source of files names none",
                found="paths []",
                wanted_by="the setting `source`",
                fix="give patterns such as /data/*.hdf5",
            )


Source = Simulated | Files


def refuse_missing_psds(source: Simulated, ifos: tuple[str, ...]) -> None:
    """Refuse a simulation that leaves out a detector.

    Raises:
        AframeError: If a detector has no noise curve.
    """
    missing = [ifo for ifo in ifos if ifo not in source.psds]
    if missing:
        raise AframeError(
            "a detector has no noise curve",
            found=f"psds of {', '.join(source.psds) or 'none'}",
            wanted_by=f"simulated strain of {', '.join(ifos)}",
            fix=f"add to the source's psds: {', '.join(missing)}",
        )
