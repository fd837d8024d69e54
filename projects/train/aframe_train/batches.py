"""Training batches: whitened background with signals in some of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aframe.errors import AframeError
from aframe_train.background import Background
from aframe_train.chunks import Chunks
from aframe_train.generation import Generated
from aframe_train.glitches import Glitches
from aframe_train.injections import Counts, Injector
from aframe_train.snr import SnrPowerLaw
from aframe_train.streams import DeviceStream, host_stream
from aframe_train.waveforms import Stored


@dataclass(frozen=True)
class Mixture:
    """What a batch is made of.

    Args:
        batch_size: Number of kernels.
        waveform_prob: Share of the batch that holds a signal and is labeled so.
        kernels_per_stretch: Kernels that follow one another in the same stretch of a
            detector's strain and share its PSD.
        swap_prob: Share with the signals of two sources in two detectors, labeled noise.
        mute_prob: Share with a signal that one detector lacks, labeled noise.
        glitch_prob: Share with a glitch in one detector and no signal, labeled noise.
        inversion_prob: Chance that a detector's background is turned upside down.
        reversal_prob: Chance that a detector's background runs backward.
    """

    batch_size: int
    waveform_prob: float
    kernels_per_stretch: int = 1
    swap_prob: float = 0.0
    mute_prob: float = 0.0
    glitch_prob: float = 0.0
    inversion_prob: float = 0.5
    reversal_prob: float = 0.5

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of the kernels that are more than background, in their order in a batch."""
        return (self.waveform_prob, self.swap_prob, self.mute_prob, self.glitch_prob)

    def __post_init__(self) -> None:
        if min(self.shares) < 0 or sum(self.shares) > 1:
            names = "waveform_prob {:g}, swap_prob {:g}, mute_prob {:g}, glitch_prob {:g}"
            raise AframeError(
                "the shares of a batch do not add up",
                found=names.format(*self.shares),
                wanted_by="the training data",
                fix="give shares that are not negative and at most 1 together",
            )
        turned = (self.inversion_prob, self.reversal_prob)
        if not all(0 <= each <= 1 for each in turned):
            raise AframeError(
                "background cannot be turned over so often",
                found="inversion_prob {:g}, reversal_prob {:g}".format(*turned),
                wanted_by="the training data",
                fix="give probabilities from 0 to 1",
            )
        least = min(self.batch_size, self.kernels_per_stretch)
        if least < 1 or self.batch_size % self.kernels_per_stretch:
            raise AframeError(
                "a batch is no whole number of stretches",
                found=f"batch_size {self.batch_size}, "
                f"kernels_per_stretch {self.kernels_per_stretch}",
                wanted_by="the training data",
                fix="give a batch_size that kernels_per_stretch divides, both above zero",
            )


class TrainingBatches(torch.nn.Module):
    """Make the training batch of a given index, on the device.

    A stretch of each detector, drawn independently, gives the PSD (its first part) and
    ``kernels_per_stretch`` kernels that follow one another (the rest, whitened as one).
    No two kernels of a batch share a sample by construction, only the PSD estimate, as
    kernels of one block do in the search. Signals are whitened with the same PSD and
    added, since whitening is linear given the PSD.

    Args:
        background: Strain, in chunks.
        waveforms: Source of polarizations: read from a ledger, or made for each batch.
        injector: Maker of whitened signals; its whitener whitens the background as well.
        mixture: What a batch is made of.
        snr: Signal-to-noise ratios.
        psd_size: Length of the data that give a PSD (samples).
        seed: Seed of the run.
        device: Where batches are made.
        glitches: What puts glitches into background; may be left out where none are asked for.
    """

    def __init__(  # noqa: PLR0913 (the parts of a batch)
        self,
        background: Chunks[Background],
        waveforms: Stored | Generated,
        injector: Injector,
        *,
        mixture: Mixture,
        snr: SnrPowerLaw,
        psd_size: int,
        seed: int,
        device: torch.device,
        glitches: Glitches | None = None,
    ) -> None:
        super().__init__()
        self.glitches = glitches
        self.background, self.waveforms = background, waveforms
        self.injector = injector
        self.whitener = injector.whitener
        self.mixture, self.snr = mixture, snr
        self.psd_size, self.seed = psd_size, seed
        self._stream = DeviceStream(seed, "training batch", device)
        self.to(device)

    @torch.no_grad()
    def forward(
        self, index: int
    ) -> tuple[Float[Tensor, "batch ifo kernel"], Float[Tensor, "batch 1"]]:
        """Make the batch *index*: kernels, and 1 where there is a signal.

        Those with a signal come first; the order means nothing, as it is drawn at
        random which kernels of which stretches these are.
        """
        generator = self._stream.at(index)
        kernels, psd = self._noise(index, generator)
        # Rounded on the host, so that no shape depends on a tensor's value.
        uniform = host_stream(self.seed, "batch counts", index).random()
        counts = Counts.of(len(kernels), self.mixture.shares, uniform)
        number = counts.injected
        if number:
            waves = self.waveforms.draw(number, index, generator)
            snr = self.snr.sample(number, index, generator)
            kernels[:number] += self.injector(waves, psd[:number], snr, counts, generator)
        if self.glitches is not None and counts.glitches:
            place = slice(number, number + counts.glitches)
            kernels[place] = self.glitches(kernels[place], generator)
        labels = torch.zeros(len(kernels), 1, device=kernels.device)
        labels[: counts.signals] = 1
        return kernels, labels

    def _noise(
        self, index: int, generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch ifo kernel"], Float[Tensor, "batch ifo frequency"]]:
        """Whitened background, in random order, and the PSD that whitened each kernel."""
        batch, many = self.mixture.batch_size, self.mixture.kernels_per_stretch
        stretches = self.background.at(index).draw(batch // many, generator)
        # In parts, as torch's quantile takes no more than 16 million numbers.
        reference = torch.split(stretches[..., : self.psd_size], 256)
        psd = torch.cat([self.whitener.psd(part) for part in reference])
        whitened = self.whitener(stretches[..., self.psd_size :], psd)
        # The further a kernel is from the data of its PSD, the worse real noise is whitened:
        # without a random order, a kernel's place would tell the network its label.
        order = torch.randperm(batch, generator=generator, device=whitened.device)
        stretch, place = order // many, order % many
        kernels = whitened.unflatten(-1, (many, -1))[stretch, :, place]
        return augment(kernels, self.mixture, generator), psd[stretch]


def augment(
    kernels: Float[Tensor, "batch ifo time"], mixture: Mixture, generator: torch.Generator
) -> Float[Tensor, "batch ifo time"]:
    """Turn each detector's background over, in sign and in time, at random.

    After whitening, which both commute with: its filter has no phase.
    """
    uniform = torch.rand(2, *kernels.shape[:2], 1, generator=generator, device=generator.device)
    kernels = torch.where(uniform[0] < mixture.reversal_prob, kernels.flip(-1), kernels)
    return torch.where(uniform[1] < mixture.inversion_prob, -kernels, kernels)
