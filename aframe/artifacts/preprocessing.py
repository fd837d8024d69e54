"""What a trained network saw: the numbers that export and inference must repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aframe.artifacts.record import write_text
from aframe.errors import AframeError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Preprocessing:
    """How strain becomes the input of a network.

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

    ifos: tuple[str, ...]
    sample_rate: float
    kernel_length: float
    fduration: float
    fftlength: float
    highpass: float | None
    lowpass: float | None
    psd_length: float

    def write(self, path: Path) -> None:
        """Write ``preprocessing.json``, whole or not at all."""
        content = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        write_text(Path(path), json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Preprocessing:
        """Read ``preprocessing.json``.

        Raises:
            AframeError: If it is missing or not of this schema.
        """
        try:
            content = json.loads(Path(path).read_text())
            version = content.pop("schema_version")
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}")
            return cls(**{**content, "ifos": tuple(content["ifos"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise AframeError(
                "the preprocessing of the model cannot be read",
                found=f"{path}: {error}",
                wanted_by=f"schema version {SCHEMA_VERSION} of preprocessing.json",
                fix="train again, or give the folder in which training left model.pt",
            ) from error

    def refuse_other(self, asked: Mapping[str, Any], *, wanted_by: str) -> None:
        """Refuse settings that differ from those of the training.

        Args:
            asked: Any of this class's fields by name; ``None`` for *fftlength* means
                that of the training.
            wanted_by: Who asks, for the message.

        Raises:
            AframeError: If a value differs; it names each.
        """
        mine = asdict(self)
        wrong = [
            f"{name} {_plain(value)} (trained with {_plain(mine[name])})"
            for name, value in asked.items()
            if _plain(value) != _plain(mine[name]) and not (name == "fftlength" and value is None)
        ]
        if wrong:
            raise AframeError(
                "the settings differ from those the model was trained with",
                found=", ".join(wrong),
                wanted_by=wanted_by,
                fix="use the training's values, or train again with these",
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else value
