"""Draws of the prior: which were injected, what the search made of them, which were rejected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aframe.artifacts.ledger import read_ledger, read_metadata
from aframe.errors import AframeError
from aframe_sv.volumes import Draws

_MASSES = ("mass_1", "mass_2", "redshift")
_ROWS_AT_A_TIME = 1_000_000


class Files(Protocol):
    """Inputs of a verb that are of one search."""

    @property
    def background(self) -> Path:
        """Events of the time slides."""

    @property
    def foreground(self) -> Path:
        """Recovered injections."""

    @property
    def rejected_parameters(self) -> Path:
        """Draws that were too faint to inject."""


@dataclass(frozen=True)
class Sources:
    """Draws of the prior.

    Args:
        mass_1: Heavier mass in the source's frame (Msun).
        mass_2: Lighter mass in the source's frame (Msun).
        redshift: Redshift of each.
    """

    mass_1: Draws
    mass_2: Draws
    redshift: Draws

    @classmethod
    def of(cls, path: Path, columns: dict[str, Draws]) -> Sources:
        """Take detector-frame masses to the source's frame.

        Raises:
            AframeError: If a value of *columns*, which are from *path*, is not a number.
        """
        for name, values in columns.items():
            if np.isnan(values).any():
                raise AframeError(
                    "a draw has a value that is not a number",
                    found=f"{name} of row {int(np.argmax(np.isnan(values)))} in {path}",
                    wanted_by="the weights of the sensitive volume",
                    fix="make the testing waveforms and the inference again",
                )
        mass_1, mass_2, redshift = (columns[name].astype(float) for name in _MASSES)
        return cls(mass_1 / (1 + redshift), mass_2 / (1 + redshift), redshift)


@dataclass(frozen=True)
class Injections:
    """Draws that were injected, and what the search made of them.

    Args:
        draws: Their masses and redshifts.
        statistic: Detection statistic, ``-inf`` where no event was near enough in time.
        kept: Share of the injections that no veto took.
    """

    draws: Sources
    statistic: Draws
    kept: float = 1.0


def refuse_strangers(files: Files, ifos: Sequence[str], source_prior: str) -> None:
    """Refuse files that are not of one search.

    Args:
        files: Background, injections and rejected draws.
        ifos: Detectors of the search.
        source_prior: Prior that the injections are said to be drawn from.

    Raises:
        AframeError: If they contradict each other or what is said.
    """
    found = {
        name: read_metadata(getattr(files, name)) for name in ("foreground", "rejected_parameters")
    }
    for name, metadata in found.items():
        prior, theirs = metadata["prior"], metadata["ifos"]
        if prior is not None and _last_word(prior) != _last_word(source_prior):
            raise _stranger(name, f"prior {prior}", f"source_prior {source_prior}")
        if theirs is not None and list(theirs) != list(ifos):
            raise _stranger(name, f"ifos {theirs}", f"ifos {list(ifos)}")
    rows = sum(metadata["length"] for metadata in found.values())
    rows += vetoed_injections(found["foreground"])
    drawn = found["foreground"]["num_injections"]
    if drawn is not None and drawn != rows:
        raise _stranger(
            "rejected_parameters",
            f"{rows} draws injected and rejected",
            f"{drawn} draws, as foreground says (num_injections)",
        )
    for name in ("background", "foreground"):
        shift = read_ledger(
            getattr(files, name), parameters=("shift",), waveforms=(), rows=slice(0, 1)
        ).parameters["shift"]
        if shift.shape[-1] != len(ifos):
            raise _stranger(name, f"{shift.shape[-1]} shifts an event", f"ifos {list(ifos)}")


def vetoed_injections(foreground: dict[str, Any]) -> int:
    """Number of injections that `veto` left out of a *foreground* with these metadata."""
    return int(foreground.get("vetoed_injections") or 0)


def _last_word(prior: str) -> str:
    # Older files name the module as well: priors.priors.end_o3_ratesandpops.
    return prior.rpartition(".")[-1]


def _stranger(name: str, found: str, wanted: str) -> AframeError:
    return AframeError(
        f"the file `{name}` is of another search",
        found=found,
        wanted_by=wanted,
        fix="give the files of one run, with its own settings",
    )


def read_injections(path: Path, dt: float) -> Injections:
    """Read the injections of a search.

    Injections of any SNR count: the loudest are found by any search, and leaving them out
    (aframe up to 2025 does above 1e4) only takes their weight from the volume.

    Args:
        path: Recovered injections, each with the event nearest to it.
        dt: Largest difference between the two times of a recovery (s).

    Raises:
        AframeError: If a value is not a number.
    """
    names = (*_MASSES, "detection_statistic", "detection_time", "injection_time")
    ledger = read_ledger(path, parameters=names, waveforms=())
    columns, vetoed = ledger.parameters, vetoed_injections(ledger.metadata)
    draws = Sources.of(path, columns)
    near = np.abs(columns["detection_time"] - columns["injection_time"]) <= dt
    statistic = columns["detection_statistic"].astype(float)
    kept = len(ledger) / max(len(ledger) + vetoed, 1)
    return Injections(draws, np.where(near, statistic, -np.inf), kept)


def read_rejected(path: Path) -> Iterator[Sources]:
    """Read the draws that were too faint to inject, some rows at a time.

    Raises:
        AframeError: If a value is not a number.
    """
    for start in range(0, read_metadata(path)["length"], _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        columns = read_ledger(path, parameters=_MASSES, waveforms=(), rows=rows).parameters
        yield Sources.of(path, columns)
