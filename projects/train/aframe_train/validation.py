"""The validation set: whole segments in time slides, and signals in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener
from aframe_train.injections import Injector
from aframe_train.placement import Placement, cut
from aframe_train.waveforms import WaveformFile


@dataclass(frozen=True)
class ValidationAmounts:
    """How much is validated with.

    Args:
        min_valid_duration: Strain to keep for it (s).
        valid_livetime: Time-slide background (s).
        valid_stride: Time from one window of background to the next (s).
        num_valid_views: Places in the kernel at which a signal is scored.
    """

    min_valid_duration: float = 15000.0
    valid_livetime: float = 57600.0
    valid_stride: float = 0.5
    num_valid_views: int = 5

    def __post_init__(self) -> None:
        if min(astuple(self)) <= 0:
            raise AframeError(
                "there is nothing to validate with",
                found=str(self),
                wanted_by="the setting `validation` of the training data",
                fix="give values above zero",
            )

    @property
    def windows(self) -> int:
        """Windows of background."""
        return max(1, int(self.valid_livetime / self.valid_stride))


@dataclass(frozen=True)
class Whitened:
    """Whitened strain of all segments, one after another, and what whitened it.

    Args:
        strain: Shape ``(ifo, time)``.
        lengths: Samples of each segment.
        psds: PSD of each block ``(block, ifo, frequency)`` (1/Hz).
        block: Length of a block (samples); every segment is a whole number of blocks.
    """

    strain: Float[Tensor, "ifo time"]
    lengths: tuple[int, ...]
    psds: Float[Tensor, "block ifo frequency"]
    block: int


def whiten_segments(
    segments: Sequence[Float[Tensor, "ifo _"]],
    whitener: Whitener,
    *,
    psd_size: int,
    block: int,
    device: torch.device,
) -> Whitened:
    """Whiten each detector once, block by block, each with the PSD of the data before it.

    Args:
        segments: Contiguous strain.
        whitener: Whitening of strain.
        psd_size: Length of the data that give a PSD (samples).
        block: Length of a whitened block (samples).
        device: Where to whiten, and to hold the result.
    """
    strain, psds, lengths = [], [], []
    for segment in segments:
        size = psd_size + block + 2 * whitener.edge
        if segment.shape[-1] < size:
            continue
        lengths.append(0)
        for window in torch.split(segment.unfold(-1, size, block).transpose(0, 1), 8):
            part = window.to(device)
            psd = whitener.psd(part[..., :psd_size])
            whitened = whitener(part[..., psd_size:], psd)
            strain.append(whitened.transpose(0, 1).flatten(1))
            psds.append(psd)
            lengths[-1] += block * len(part)
    if not strain:
        raise AframeError(
            "the strain for validation is too short",
            found=f"{len(segments)} stretches of at most "
            f"{max((len(segment[0]) for segment in segments), default=0)} samples",
            wanted_by=f"{psd_size + block + 2 * whitener.edge} contiguous samples: the PSD, "
            "the filter and a block",
            fix="raise min_valid_duration in the training configuration, or lower psd_length",
        )
    return Whitened(torch.cat(strain, -1), tuple(lengths), torch.cat(psds), block)


def slide_windows(
    lengths: Sequence[int], ifos: int, *, size: int, stride: int, shift: int, windows: int
) -> tuple[Int[Tensor, " window"], Int[Tensor, "window ifo"]]:
    """Place windows in time slides of +1, -1, +2, -2, … shifts, until there are enough.

    In slide +k detector *i* is read ``i * k`` shifts later than the first; in slide -k
    the last detector is the fixed one, and the first is read latest.

    Args:
        lengths: Samples of each segment, which lie one after another.
        ifos: Number of detectors.
        size: Length of a window (samples).
        stride: From one window to the next (samples).
        shift: The smallest shift (samples).
        windows: Number to place.

    Returns:
        Number of each window's slide and segment, and its first sample in each detector.

    Raises:
        AframeError: If all slides together do not hold so many.
    """
    begins = torch.tensor([0, *lengths]).cumsum(0)[:-1].tolist()
    slides: list[Tensor] = []
    starts: list[Tensor] = []
    missing = windows
    for step in range(1, max(lengths) // shift + 1):
        for order in (range(ifos), range(ifos - 1, -1, -1)):
            offsets = torch.tensor(order) * step * shift
            for begin, length in zip(begins, lengths, strict=True):
                count = (length - size - int(offsets.max())) // stride + 1
                if count > 0 and missing > 0:
                    first = begin + torch.arange(min(count, missing)) * stride
                    slides.append(torch.full_like(first, len(slides)))
                    starts.append(first[:, None] + offsets)
                    missing -= len(first)
    if missing:
        raise AframeError(
            "the strain for validation holds too few time slides",
            found=f"{windows - missing} windows in {len(lengths)} segments of at most "
            f"{max(lengths)} whitened samples",
            wanted_by=f"{windows} windows: valid_livetime / valid_stride",
            fix="lower valid_livetime or raise min_valid_duration in the training configuration",
        )
    return torch.cat(slides), torch.cat(starts)


class ValidationBatches(torch.nn.Module):
    """Make the validation batches: background in time slides, and signals in some of it.

    Each signal is seen at *views* places in the kernel, in one window of background,
    spread evenly over all of it.

    Args:
        background: Whitened strain.
        windows: Slide and first samples of each window, from :func:`slide_windows`.
        signals: Whitened signals from :func:`whiten_signals`.
        placement: Where the coalescence may lie.
        views: Number of places.
        batch_size: Windows in a batch.
    """

    def __init__(
        self,
        background: Whitened,
        windows: tuple[Int[Tensor, " window"], Int[Tensor, "window ifo"]],
        signals: Float[Tensor, "signal ifo time"],
        *,
        placement: Placement,
        views: int,
        batch_size: int,
    ) -> None:
        super().__init__()
        device = background.strain.device
        self.strain = background.strain
        self.slides, self.starts = (each.to(device) for each in windows)
        # From pinned memory a batch is fetched while the device computes.
        self.signals = signals.pin_memory() if device.type == "cuda" else signals
        self.hosts = signal_windows(len(signals), len(self.slides)).to(device)
        self.size = placement.size
        self.batch_size = batch_size
        self.offsets = [placement.last - position for position in placement.views(views)]

    def __len__(self) -> int:
        return math.ceil(len(self.slides) / self.batch_size)

    def forward(self, batch: int) -> ValidationBatch:
        """Make the batch of a given number."""
        total = len(self.slides)
        index = torch.arange(
            batch * self.batch_size,
            min((batch + 1) * self.batch_size, total),
            device=self.strain.device,
        )
        first, last = (len(self.signals) * edge // len(self) for edge in (batch, batch + 1))
        signals = self.signals[first:last].to(self.strain.device, non_blocking=True)
        quiet = self._kernels(self.hosts[first:last])
        loud = [quiet + signals[..., begin : begin + self.size] for begin in self.offsets]
        return ValidationBatch(index, self.slides[index], self._kernels(index), torch.stack(loud))

    def _kernels(self, index: Int[Tensor, " window"]) -> Float[Tensor, "window ifo kernel"]:
        strain = self.strain.expand(len(index), *self.strain.shape)
        return cut(strain, self.starts[index], self.size)


@dataclass(frozen=True)
class ValidationBatch:
    """Windows of background, and signals in others.

    Args:
        index: Place of each window of background in the whole.
        slide: Its slide.
        background: Whitened kernels.
        injected: Whitened kernels with a signal, in several views.
    """

    index: Int[Tensor, " window"]
    slide: Int[Tensor, " window"]
    background: Float[Tensor, "window ifo kernel"]
    injected: Float[Tensor, "view signal ifo kernel"]


def whiten_signals(
    file: WaveformFile,
    injector: Injector,
    background: Whitened,
    starts: Int[Tensor, "signal ifo"],
) -> Float[Tensor, "signal ifo time"]:
    """Whiten stored signals with the PSDs of the background they will lie in.

    Args:
        file: Signals as each detector sees them, at their own signal-to-noise ratio.
        injector: Maker of whitened signals.
        background: Whitened strain.
        starts: First sample of each signal's window in each detector.

    Returns:
        What a kernel may show of each, on the host: the coalescence is where the latest
        view has it.
    """
    placement = injector.placement
    first = injector.coalescence - placement.last
    stop = injector.coalescence - placement.first + placement.size
    device, ifos = background.strain.device, torch.arange(starts.shape[1])
    found = []
    for rows in torch.split(torch.arange(file.length), 256):
        strain = file.read(slice(int(rows[0]), int(rows[-1]) + 1)).transpose(0, 1).to(device)
        psd = background.psds[starts[rows] // background.block, ifos]
        found.append(injector.whiten(strain, psd)[..., first:stop].cpu())
    return torch.cat(found)


def signal_windows(signals: int, windows: int) -> Int[Tensor, " signal"]:
    """Window of background for each signal: evenly spread."""
    return torch.arange(signals) * windows // signals
