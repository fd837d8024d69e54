"""The Lightning data module: which data, in which amounts; what is done with them is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from aframe.artifacts.cache import cached
from aframe.artifacts.preprocessing import Preprocessing
from aframe.artifacts.strain import StrainFile, list_strain
from aframe.checks import refuse_short_psd
from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener
from aframe_train.background import Background, Stretch, choose, pieces, read_segments, split
from aframe_train.batches import Mixture, TrainingBatches
from aframe_train.checks import refuse_impossible
from aframe_train.chunks import Chunks
from aframe_train.generation import Generated, Generation, generated
from aframe_train.glitches import Glitches, GlitchSettings, SineGaussians, real_glitches
from aframe_train.injections import Injector
from aframe_train.placement import Placement
from aframe_train.snr import SnrPowerLaw
from aframe_train.validation import (
    ValidationAmounts,
    ValidationBatches,
    signal_windows,
    slide_windows,
    whiten_segments,
    whiten_signals,
)
from aframe_train.waveforms import POLARIZATIONS, Stored, WaveformFile

FLOATS_PER_GIGABYTE = 1e9 / 4
#: Length of a whitened block of validation data (s).
VALID_BLOCK = 8.0
#: Smallest shift between the detectors in a time slide (s).
VALID_SHIFT = 1.0


class BatchNumbers:
    """Numbers of the training's batches, epoch by epoch.

    Args:
        per_epoch: Batches in an epoch, over all processes.
        first: Place of the first batch in this process's training.
        rank: Number of this process.
        processes: How many share the batches.
    """

    def __init__(
        self, per_epoch: int, *, first: int = 0, rank: int = 0, processes: int = 1
    ) -> None:
        self.per_epoch = max(1, per_epoch // processes)
        self.rank, self.processes = rank, processes
        self.next = first

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.next % self.per_epoch, self.per_epoch):
            self.next += 1
            yield (self.next - 1) * self.processes + self.rank


class AframeData(LightningDataModule):
    """Training and validation data of the search for mergers.

    Args:
        ifos: Detectors in channel order.
        mixture: What a training batch is made of.
        batches_per_epoch: Training batches in an epoch, over all processes.
        snr: Signal-to-noise ratios of the training's signals.
        validation: How much is validated with.
        glitches: Where the share ``mixture.glitch_prob`` of glitches comes from; simulated
            ones of usual ranges if ``None``.
        data_dir: Directory with ``background/``, ``training_waveforms.hdf5`` and
            ``val_waveforms.hdf5``, unless these are given themselves; any of them may be an
            address ``s3://…``, from which this machine fetches them once.
        background_dir: Directory of the strain files.
        training_waveforms: Ledger of polarizations ``plus`` and ``cross``.
        validation_waveforms: Ledger of signals as each detector sees them.
        generation: How to make waveforms during the training, new ones for each batch, instead
            of reading *training_waveforms*.
        sample_rate: Samples a second (Hz); that of the strain if ``None``.
        kernel_length: Length of a whitened kernel (s).
        fduration: Length of the whitening filter (s).
        fftlength: Length of a Welch segment (s); ``kernel_length + fduration`` if ``None``.
        highpass: Lower edge of the band (Hz), or ``None``.
        lowpass: Upper edge of the band (Hz), or ``None``.
        psd_length: Data before a stretch of kernels that give its PSD (s).
        left_pad: Least time from the kernel's start to the coalescence (s).
        right_pad: Least time from the coalescence to the kernel's end (s).
        memory: Most strain, most waveforms and most glitches to hold on the device at a time
            (GB each). Of more strain or waveforms, random chunks of half that size are read one
            after another, since the next one is read while the present one is in use; of more
            glitches, some are chosen at random.
        chunks_per_epoch: Chunks in an epoch, of what does not fit.
        seed: Seed of all random streams; taken from ``seed_everything``.
    """

    def __init__(  # noqa: PLR0913 (a setting each, as the published command line names them)
        self,
        *,
        ifos: list[str],
        mixture: Mixture,
        batches_per_epoch: int,
        snr: SnrPowerLaw,
        validation: ValidationAmounts,
        glitches: GlitchSettings | None = None,
        data_dir: str | None = None,
        background_dir: str | None = None,
        training_waveforms: str | None = None,
        validation_waveforms: str | None = None,
        generation: Generation | None = None,
        sample_rate: float | None = None,
        kernel_length: float = 1.5,
        fduration: float = 1.0,
        fftlength: float | None = None,
        highpass: float | None = 32.0,
        lowpass: float | None = None,
        psd_length: float = 8.0,
        left_pad: float = 0.25,
        right_pad: float = 0.05,
        memory: float = 4.0,
        chunks_per_epoch: int = 2,
        seed: int = 101588,
    ) -> None:
        super().__init__()
        self.ifos = tuple(ifos)
        self.mixture, self.snr, self.validation = mixture, snr, validation
        self.glitches = glitches or GlitchSettings()
        refuse_unused(self.glitches, mixture)
        refuse_nothing(batches_per_epoch, memory, chunks_per_epoch)
        self.batches_per_epoch = batches_per_epoch
        background = _path("background_dir", background_dir, data_dir, "background")
        self.generation = generation
        if generation is None:
            self.training_waveforms = _path(
                "training_waveforms", training_waveforms, data_dir, "training_waveforms.hdf5"
            )
        self.validation_waveforms = _path(
            "validation_waveforms", validation_waveforms, data_dir, "val_waveforms.hdf5"
        )
        self._first = 0
        self.memory, self.chunks_per_epoch, self.seed = memory, chunks_per_epoch, seed
        self.files = list_strain(background, self.ifos)
        self.preprocessing = resolved(
            ifos=self.ifos,
            sample_rate=_agreed_rate(sample_rate, self.files),
            kernel_length=kernel_length,
            fduration=fduration,
            fftlength=fftlength,
            highpass=highpass,
            lowpass=lowpass,
            psd_length=psd_length,
        )
        self.placement = place(self.preprocessing, left_pad, right_pad)

    def setup(self, stage: str) -> None:
        """Open the files, check that they fit one another, and whiten the validation data."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        training, validation = split(self.files, self.validation.min_valid_duration)
        rate = self.preprocessing.sample_rate
        signals = WaveformFile.open(
            self.validation_waveforms, [ifo.lower() for ifo in self.ifos], rate
        )
        if stage == "fit":
            self.training_batches = self._training_batches(training, signals, device)
        self.validation_batches = self._validation_batches(validation, signals, device)
        batches, (_, processes) = len(self.validation_batches), self._place
        if batches < processes:
            raise AframeError(
                "a process has nothing to validate",
                found=f"{batches} batches of validation for {processes} processes",
                wanted_by="the training data",
                fix="lower mixture.batch_size, raise validation.valid_livetime, or use fewer "
                "processes (trainer.devices)",
            )

    def _whitener(self) -> Whitener:
        p = self.preprocessing
        return Whitener(p.sample_rate, p.fduration, p.fftlength, p.highpass, p.lowpass)

    def _injector(self, waveforms: WaveformFile, whitener: Whitener) -> Injector:
        return Injector(
            self.ifos, whitener, self.placement, waveforms.coalescence, waveforms.samples
        )

    def _training_batches(
        self, training: Sequence[Stretch], signals: WaveformFile, device: torch.device
    ) -> TrainingBatches:
        whitener = self._whitener()
        waveforms, source = self._source(signals, device)
        psd_size = round(self.preprocessing.psd_length * self.preprocessing.sample_rate)
        kernels = self.mixture.kernels_per_stretch * self.placement.size
        size = psd_size + 2 * whitener.edge + kernels
        return TrainingBatches(
            self._background(training, size, device),
            source,
            self._injector(waveforms, whitener),
            mixture=self.mixture,
            snr=self.snr,
            psd_size=psd_size,
            seed=self.seed,
            device=device,
            glitches=self._glitches(training, whitener, psd_size),
        )

    def _glitches(
        self, training: Sequence[Stretch], whitener: Whitener, psd_size: int
    ) -> Glitches | None:
        """Make what puts glitches into background, if there is a share of them."""
        if not self.mixture.glitch_prob:
            return None
        if self.glitches.table is None:
            return SineGaussians(self.glitches, self.preprocessing)
        kernel = self.placement.size
        return real_glitches(
            cached(self.glitches.table),
            training,
            self.ifos,
            whitener,
            psd_size=psd_size,
            kernel=kernel,
            most=max(1, int(self.memory * FLOATS_PER_GIGABYTE / (2 * kernel))),
            seed=self.seed,
        )

    def _background(
        self, training: Sequence[Stretch], size: int, device: torch.device
    ) -> Chunks[Background]:
        rate = self.preprocessing.sample_rate
        most = self.memory * FLOATS_PER_GIGABYTE / (len(self.ifos) * rate)
        whole = sum(stretch.duration for stretch in training) <= most
        chunk = most / 2
        # Pieces of which many make a chunk, and each holds many starts of a stretch.
        longest = min(chunk, max(chunk / 16, 8 * size / rate))
        parts = training if whole else pieces(training, longest)

        def load(index: int) -> Background:
            chosen = parts if whole else choose(parts, chunk, self.seed, index)
            return Background(read_segments(chosen, self.ifos), size, device)

        return Chunks(load, None if whole else self._chunk_steps())

    def _source(
        self, signals: WaveformFile, device: torch.device
    ) -> tuple[WaveformFile, Stored | Generated]:
        """Where the training's waveforms come from, and the file whose layout they have."""
        if self.generation is None:
            rate = self.preprocessing.sample_rate
            stored = WaveformFile.open(self.training_waveforms, POLARIZATIONS, rate)
            return stored, Stored(self._waveforms(stored, device))
        mixture = self.mixture
        shares = mixture.waveform_prob + mixture.swap_prob + mixture.mute_prob
        return signals, generated(
            self.generation,
            self.validation_waveforms,
            samples=signals.samples,
            coalescence=signals.coalescence,
            most=int(mixture.batch_size * shares) + 1,
            seed=self.seed,
            device=device,
        )

    def _waveforms(self, waveforms: WaveformFile, device: torch.device) -> Chunks[torch.Tensor]:
        most = int(self.memory * FLOATS_PER_GIGABYTE / (len(POLARIZATIONS) * waveforms.samples))
        whole = waveforms.length <= most

        def load(index: int) -> torch.Tensor:
            return waveforms.chunk(most if whole else most // 2, self.seed, index).to(device)

        return Chunks(load, None if whole else self._chunk_steps())

    def _chunk_steps(self) -> int:
        return max(1, self.batches_per_epoch // self.chunks_per_epoch)

    def _validation_batches(
        self, validation: Sequence[Stretch], signals: WaveformFile, device: torch.device
    ) -> ValidationBatches:
        whitener = self._whitener().to(device)
        rate, amounts = self.preprocessing.sample_rate, self.validation
        background = whiten_segments(
            [torch.from_numpy(each) for each in read_segments(validation, self.ifos)],
            whitener,
            psd_size=round(self.preprocessing.psd_length * rate),
            block=round(VALID_BLOCK * rate),
            device=device,
        )
        windows = slide_windows(
            background.lengths,
            len(self.ifos),
            size=self.placement.size,
            stride=round(amounts.valid_stride * rate),
            shift=round(VALID_SHIFT * rate),
            windows=amounts.windows,
        )
        injector = self._injector(signals, whitener)
        hosts = signal_windows(signals.length, amounts.windows)
        return ValidationBatches(
            background,
            windows,
            whiten_signals(signals, injector, background, windows[1][hosts]),
            placement=self.placement,
            views=amounts.num_valid_views,
            batch_size=self.mixture.batch_size,
        )

    @property
    def _place(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    def train_dataloader(self) -> BatchNumbers:
        """Numbers of the batches, which are made on the device when their turn comes."""
        rank, processes = self._place
        self._numbers = BatchNumbers(
            self.batches_per_epoch, first=self._first, rank=rank, processes=processes
        )
        return self._numbers

    def state_dict(self) -> dict[str, int]:
        """Place of the next batch, for a checkpoint.

        Lightning's own record of a loader is not read when the optimizer asked for the
        number of steps, so the place is kept here.
        """
        return {"next": self._numbers.next}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin where the checkpoint was."""
        self._first = state_dict["next"]

    def val_dataloader(self) -> list[int]:
        """Numbers of this process's validation batches."""
        rank, processes = self._place
        return list(range(len(self.validation_batches)))[rank::processes]

    def on_after_batch_transfer(self, batch: int, dataloader_idx: int) -> Any:  # noqa: ARG002
        """Make the batch of a number."""
        if self.trainer is not None and self.trainer.training:
            return self.training_batches(batch)
        return self.validation_batches(batch)


def refuse_unused(glitches: GlitchSettings, mixture: Mixture) -> None:
    """Refuse a table of glitches of which no batch gets any.

    Raises:
        AframeError: If there is a table and no share of it.
    """
    if glitches.table and not mixture.glitch_prob:
        raise AframeError(
            "the glitches would not be used",
            found=f"{glitches.table}, and mixture.glitch_prob 0",
            wanted_by="the training data",
            fix="give mixture.glitch_prob, the share of a batch with a glitch (such as 0.05), "
            "or leave the table out",
        )


def refuse_nothing(batches_per_epoch: int, memory: float, chunks_per_epoch: int) -> None:
    """Refuse amounts of data from which no batch could be made.

    Args:
        batches_per_epoch: Training batches in an epoch.
        memory: Most data to hold at a time (GB).
        chunks_per_epoch: Chunks in an epoch, of what does not fit.

    Raises:
        AframeError: If one of them is not positive.
    """
    if min(batches_per_epoch, memory, chunks_per_epoch) <= 0:
        raise AframeError(
            "there is nothing to train with",
            found=f"batches_per_epoch {batches_per_epoch}, memory {memory:g} GB, "
            f"chunks_per_epoch {chunks_per_epoch}",
            wanted_by="the training data",
            fix="give values above zero",
        )


def resolved(
    *, kernel_length: float, fduration: float, fftlength: float | None, **others: Any
) -> Preprocessing:
    """Give the preprocessing, a Welch segment of which is as long as a kernel's strain if `None`.

    Args:
        kernel_length: Length of a whitened kernel (s).
        fduration: Length of the whitening filter (s).
        fftlength: Length of a Welch segment (s), or ``None``.
        **others: Its other fields.
    """
    length = kernel_length + fduration if fftlength is None else fftlength
    return Preprocessing(
        kernel_length=kernel_length, fduration=fduration, fftlength=length, **others
    )


def place(preprocessing: Preprocessing, left_pad: float, right_pad: float) -> Placement:
    """Find where in a kernel signals lie.

    Args:
        preprocessing: What makes a kernel.
        left_pad: Least time from the kernel's start to the coalescence (s).
        right_pad: Least time from the coalescence to the kernel's end (s).

    Raises:
        AframeError: If the preprocessing cannot be, or the pads leave no room.
    """
    settings = asdict(preprocessing)
    psd_length = settings.pop("psd_length")
    refuse_impossible(**settings)
    refuse_short_psd(psd_length, settings["fftlength"], wanted_by="the training data")
    return Placement.of(preprocessing.kernel_length, left_pad, right_pad, preprocessing.sample_rate)


def _path(name: str, given: str | None, data_dir: str | None, default: str) -> Path:
    if given is None and data_dir is None:
        raise AframeError(
            "it is not said where the data are",
            found=f"neither data_dir nor {name}",
            wanted_by="the training data",
            fix=f"give --data.data_dir DIR, or --data.{name}",
        )
    return cached(given if given is not None else Path(str(data_dir), default))


def _agreed_rate(asked: float | None, files: Sequence[StrainFile]) -> float:
    found = files[0].sample_rate
    if asked is not None and asked != found:
        raise AframeError(
            "the strain has another sample rate",
            found=f"{files[0].path}: {found:g} Hz",
            wanted_by=f"sample_rate {asked:g} Hz",
            fix="fetch the strain again at this rate, or correct sample_rate",
        )
    return found
