"""What a network saw in training, and how it was exported: numbers that later stages repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from aframe.artifacts.record import write_text
from aframe.errors import AframeError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class _Numbers:
    """Numbers in a JSON file of their own, as one stage leaves them for the next."""

    #: What the numbers are, and the file's name without its ending.
    what: ClassVar[str]
    #: What was done with them to the model, how to do it again, and how to get the file.
    done: ClassVar[str]
    again: ClassVar[str]
    fix: ClassVar[str]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        content = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        write_text(Path(path), json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            AframeError: If it is missing or not of this schema.
        """
        try:
            content = json.loads(Path(path).read_text())
            version = content.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}")
            return cls(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise AframeError(
                f"the {cls.what} of the model cannot be read",
                found=f"{path}: {error}",
                wanted_by=f"schema version {SCHEMA_VERSION} of {cls.what}.json",
                fix=cls.fix,
            ) from error

    def refuse_other(self, asked: Mapping[str, Any], *, wanted_by: str) -> None:
        """Refuse settings that differ from these numbers.

        Args:
            asked: Any of this class's fields by name.
            wanted_by: Who asks, for the message.

        Raises:
            AframeError: If a value differs; it names each.
        """
        mine = asdict(self)
        wrong = [
            f"{name} {_plain(value)} ({self.done} with {_plain(mine[name])})"
            for name, value in asked.items()
            if _plain(value) != _plain(mine[name])
        ]
        if wrong:
            raise AframeError(
                f"the settings differ from those the model was {self.done} with",
                found=", ".join(wrong),
                wanted_by=wanted_by,
                fix=f"use the model's values, or {self.again} again with these",
            )


@dataclass(frozen=True)
class Preprocessing(_Numbers):
    """How strain becomes the input of a network: ``preprocessing.json``.

    Args:
        ifos: Detectors in channel order.
        sample_rate: Samples a second of strain and kernel (Hz).
        kernel_length: Length of the whitened kernel (s).
        fduration: Length of the whitening filter's impulse response (s).
        fftlength: Length of one Welch segment (s).
        highpass: Frequency below which the whitening filter is zero (Hz), or ``None``.
        lowpass: Frequency above which the whitening filter is zero (Hz), or ``None``.
        psd_length: Length of the data before a kernel that gave its PSD in training (s).
    """

    what, done, again = "preprocessing", "trained", "train"
    fix = "train again, or give the folder in which training left model.pt"

    ifos: tuple[str, ...]
    sample_rate: float
    kernel_length: float
    fduration: float
    fftlength: float
    highpass: float | None
    lowpass: float | None
    psd_length: float

    def __post_init__(self) -> None:
        # JSON knows lists only.
        object.__setattr__(self, "ifos", tuple(self.ifos))

    def refuse_other(self, asked: Mapping[str, Any], *, wanted_by: str) -> None:
        """Refuse settings that differ; ``None`` for *fftlength* means that of the training."""
        given = {
            name: value
            for name, value in asked.items()
            if not (name == "fftlength" and value is None)
        }
        super().refuse_other(given, wanted_by=wanted_by)


@dataclass(frozen=True)
class Streaming(_Numbers):
    """How an exported network takes strain in updates: ``streaming.json``.

    Args:
        inference_sampling_rate: Kernels a second (Hz).
        batch_size: Kernels an update.
        psd_length: Length of the data before an update that give its PSD (s).
    """

    what, done, again = "streaming", "exported", "export"
    fix = "run `aframe-export export` again, or give the folder model_repo that it made"

    inference_sampling_rate: float
    batch_size: int
    psd_length: float


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value
