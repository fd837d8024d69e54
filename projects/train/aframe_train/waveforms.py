"""Stored waveforms: polarizations for training, projected signals for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from aframe.artifacts.ledger import read_ledger, read_metadata
from aframe.errors import AframeError
from aframe_train.chunks import Chunks
from aframe_train.streams import host_stream

#: Rows read at a time where the file is too large to hold: one seek each.
RUN = 1000
POLARIZATIONS = ("plus", "cross")


@dataclass(frozen=True)
class WaveformFile:
    """What is known of a ledger of waveforms before any is read.

    Args:
        path: The file.
        fields: Waveform fields to read, in the order of the channels.
        length: Number of waveforms.
        samples: Length of each (samples).
        coalescence: Index of the sample at the coalescence.
    """

    path: Path
    fields: tuple[str, ...]
    length: int
    samples: int
    coalescence: int

    @classmethod
    def open(cls, path: Path, fields: Sequence[str], sample_rate: float) -> WaveformFile:
        """Read the header.

        Raises:
            AframeError: If the file is no ledger, is empty, lacks a field, or its
                sample rate is not that of the strain.
        """
        metadata = read_metadata(path)
        if metadata["sample_rate"] != sample_rate or metadata["right_pad"] is None:
            raise AframeError(
                "waveforms do not fit the strain",
                found=f"{path}: sample_rate {metadata['sample_rate']}, "
                f"right_pad {metadata['right_pad']}",
                wanted_by=f"sample_rate {sample_rate:g} Hz and a known right_pad",
                fix="make the waveforms again with the sample rate of the strain",
            )
        if not metadata["length"]:
            raise AframeError(
                "there are no waveforms",
                found=f"{path} has 0 rows",
                wanted_by="the training",
                fix="make waveforms: num_signals above zero",
            )
        none = read_ledger(path, parameters=(), waveforms=fields, rows=slice(0))
        samples = none.waveforms[fields[0]].shape[-1]
        coalescence = samples - round(metadata["right_pad"] * sample_rate)
        return cls(Path(path), tuple(fields), metadata["length"], samples, coalescence)

    def read(self, rows: slice) -> Float[Tensor, "channel row time"]:
        """Read some rows as float32."""
        ledger = read_ledger(self.path, parameters=(), waveforms=self.fields, rows=rows)
        found = [ledger.waveforms[field] for field in self.fields]
        return torch.from_numpy(np.stack(found).astype(np.float32, copy=False))

    def chunk(self, count: int, seed: int, index: int) -> Float[Tensor, "channel row time"]:
        """Read about *count* rows in runs from random places, or all where that is fewer."""
        if count >= self.length:
            return self.read(slice(None))
        run = min(RUN, count)
        starts = host_stream(seed, "waveform chunk", index).integers(
            self.length - run + 1, size=count // run
        )
        return torch.cat([self.read(slice(start, start + run)) for start in starts.tolist()], 1)


class Stored:
    """Waveforms of a ledger, drawn at random from what is in memory.

    Args:
        bank: Polarizations ``(2, waveform, time)``, in chunks.
    """

    def __init__(self, bank: Chunks[Tensor]) -> None:
        self.bank = bank

    def draw(
        self, number: int, index: int, generator: torch.Generator
    ) -> Float[Tensor, "2 signal time"]:
        """Draw *number* signals for the batch *index*."""
        bank = self.bank.at(index)
        rows = torch.randint(bank.shape[1], (number,), generator=generator, device=bank.device)
        return bank[:, rows]
