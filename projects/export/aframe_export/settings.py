"""Settings of the verb `export`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aframe.errors import AframeError
from aframe.program import Resources
from aframe.transforms.stream import Stream
from aframe_export.config import PLATFORMS

COMMAND = "aframe-export export"


@dataclass(frozen=True)
class ExportInputs:
    """Files that training left.

    Args:
        weights: ``model.pt``, the trained network.
        preprocessing: ``preprocessing.json``, what the network saw.
        batch: ``batch.hdf5``, a batch of the training with the dataset ``input_0``.
    """

    weights: Path
    preprocessing: Path
    batch: Path


@dataclass(frozen=True)
class ExportSettings:
    """Settings of ``aframe-export export``.

    Args:
        inputs: Files that training left.
        output: Directory where ``model_repo`` appears.
        ifos: Detectors in channel order.
        sample_rate: Samples a second of strain (Hz).
        kernel_length: Length of the network's input (s).
        fduration: Length of the whitening filter's impulse response (s).
        highpass: Lower edge of the band (Hz), or null.
        lowpass: Upper edge of the band (Hz), or null.
        fftlength: Length of a Welch segment (s); null for that of the training.
        inference_sampling_rate: Kernels a second (Hz).
        batch_size: Kernels an update.
        psd_length: Length of the data before an update that give its PSD (s).
        streams_per_gpu: Streams that a server's device serves at a time.
        aframe_instances: Copies of the network on each device of a server.
        preproc_instances: Copies of the preprocessor on each device of a server.
        platform: What a server runs the network with: TORCHSCRIPT, ONNX, TENSORRT, or PYTHON
            for a server that has the Python backend alone.
        resources: How to use the machine.
    """

    inputs: ExportInputs
    output: Path
    ifos: tuple[str, ...]
    sample_rate: float
    kernel_length: float
    fduration: float
    highpass: float | None
    lowpass: float | None = None
    fftlength: float | None = None
    inference_sampling_rate: float = 4.0
    batch_size: int = 128
    psd_length: float = 64.0
    streams_per_gpu: int = 6
    aframe_instances: int = 1
    preproc_instances: int = 1
    platform: str = "TORCHSCRIPT"
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        if self.platform not in PLATFORMS:
            raise AframeError(
                "the network cannot be exported for this platform",
                found=f"platform {self.platform}",
                wanted_by=COMMAND,
                fix=f"choose one of {', '.join(PLATFORMS)}",
            )
        if self.platform == "TENSORRT":
            # torch takes seconds to load.
            from aframe_export import plan  # noqa: PLC0415

            plan.refuse_missing(wanted_by=COMMAND)
        for name in ("streams_per_gpu", "aframe_instances", "preproc_instances"):
            if getattr(self, name) < 1:
                raise AframeError(
                    "a server needs one stream and one copy of each model at least",
                    found=f"{name} {getattr(self, name)}",
                    wanted_by=COMMAND,
                    fix="give 1 or more",
                )
        self.stream  # noqa: B018 (refuses lengths that are no whole number of samples)

    @property
    def stream(self) -> Stream:
        """Lengths of the stream."""
        return Stream(
            self.sample_rate,
            self.kernel_length,
            self.fduration,
            self.psd_length,
            self.inference_sampling_rate,
            self.batch_size,
        )
