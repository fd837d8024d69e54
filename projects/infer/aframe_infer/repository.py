"""The model repository that export wrote, as inference needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from aframe.artifacts.preprocessing import Preprocessing, Streaming
from aframe.errors import AframeError
from aframe.transforms.stream import Stream
from aframe.transforms.whitening import Whitener
from aframe_infer.settings import COMMAND

LATEST = -1


@dataclass(frozen=True)
class Repository:
    """One version of an exported network and how strain reaches it.

    Args:
        network: TorchScript that scores kernels.
        preprocessing: What the network saw in training.
        streaming: How it takes strain in updates.
        version: Number of the version.
    """

    network: Path
    preprocessing: Preprocessing
    streaming: Streaming
    version: int

    @property
    def stream(self) -> Stream:
        """Lengths of the stream it was exported for."""
        trained, exported = self.preprocessing, self.streaming
        return Stream(
            trained.sample_rate,
            trained.kernel_length,
            trained.fduration,
            exported.psd_length,
            exported.inference_sampling_rate,
            exported.batch_size,
        )

    @property
    def whitener(self) -> Whitener:
        """The whitening of the training."""
        trained = self.preprocessing
        return Whitener(
            trained.sample_rate,
            trained.fduration,
            trained.fftlength,
            trained.highpass,
            trained.lowpass,
        )

    @property
    def onnx(self) -> Path:
        """The network as ONNX, which not every network can be."""
        return self.network.with_suffix(".onnx")

    def load_network(self, device: torch.device) -> torch.jit.ScriptModule:
        """Load the network, its weights folded into the graph.

        Raises:
            AframeError: If the file is no TorchScript.
        """
        try:
            network = torch.jit.load(self.network, map_location=device)  # type: ignore[no-untyped-call]
            return torch.jit.freeze(network.eval())
        except (RuntimeError, ValueError) as error:
            raise AframeError(
                "the model repository cannot be read",
                found=f"{self.network}: {str(error).strip().splitlines()[-1]}",
                wanted_by=COMMAND,
                fix=Streaming.fix,
            ) from error


def read_repository(path: Path, version: int) -> Repository:
    """Read a repository's latest (-1) or another version.

    Raises:
        AframeError: If the version is not there or one of its files cannot be read.
    """
    network = Path(path, "aframe")
    there = sorted(int(entry.name) for entry in network.glob("[0-9]*") if entry.name.isdigit())
    chosen = there[-1] if there and version == LATEST else version
    if chosen not in there:
        raise AframeError(
            "the model repository lacks this version of the network",
            found=f"{network} holds {', '.join(map(str, there)) or 'no version'}",
            wanted_by=f"model_version {version}",
            fix="choose a version that is there (-1 is the latest), or export first",
        )
    folder = network / str(chosen)
    preprocessing = Preprocessing.read(folder / "preprocessing.json")
    streaming = Streaming.read(Path(path, "aframe-stream", str(chosen), "streaming.json"))
    return Repository(folder / "model.pt", preprocessing, streaming, chosen)


def refuse_other(repository: Repository, asked: Mapping[str, Any]) -> None:
    """Refuse settings that differ from those of the training or the export.

    Args:
        repository: What was trained and exported.
        asked: Settings by name.

    Raises:
        AframeError: If a value differs; it names each.
    """
    exported = {field.name: asked[field.name] for field in fields(Streaming)}
    trained = {name: value for name, value in asked.items() if name not in exported}
    repository.preprocessing.refuse_other(trained, wanted_by=COMMAND)
    repository.streaming.refuse_other(exported, wanted_by=COMMAND)
