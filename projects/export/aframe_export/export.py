"""Export: a trained network becomes a repository of streaming models."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from aframe.artifacts.hdf5 import reading
from aframe.artifacts.preprocessing import Preprocessing, Streaming
from aframe.checks import refuse_short_psd
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe.transforms.whitening import Whitener
from aframe_export import backend, config, models, parity, plan
from aframe_export.settings import COMMAND, ExportSettings

log = logging.getLogger(__name__)

#: Every export is a repository of its own, so its models are the first version.
VERSION = "1"


def export(settings: ExportSettings, draft: Draft) -> None:
    """Write the network and its streaming search as TorchScript and, where it can be, ONNX.

    Raises:
        AframeError: If the settings are not those of the training, the network and its
            batch do not fit, the network cannot be what the platform asks for, or an exported
            model does not repeat the trained one.
    """
    trained = Preprocessing.read(settings.inputs.preprocessing)
    names = ("ifos", "sample_rate", "kernel_length", "fduration", "fftlength")
    asked = {name: getattr(settings, name) for name in (*names, "highpass", "lowpass")}
    trained.refuse_other(asked, wanted_by=COMMAND)
    refuse_short_psd(settings.psd_length, trained.fftlength, wanted_by=COMMAND)
    batch = _read_batch(settings.inputs.batch, trained)
    network = _read_network(settings.inputs.weights, batch)
    lacking = models.without_onnx(network, batch[:2])
    _refuse_without_onnx(lacking, settings)
    chosen = config.runners(settings.platform, onnx=not lacking)
    repository = draft.path / "model_repo"
    shutil.rmtree(repository, ignore_errors=True)
    _write_configs(repository, settings, chosen)
    trained.write(repository / "aframe" / VERSION / "preprocessing.json")
    _write_streaming(repository / "aframe-stream" / VERSION, settings)
    onnx = {config.NETWORK: not lacking, config.SEARCH: not lacking}
    deviations = _write_models(repository, settings, (network, batch, trained), chosen, onnx)
    parity.refuse_deviation(deviations)
    draft.notes["parity"] = {"tolerance": parity.TOLERANCE, "deviations": deviations}


def _read_batch(path: Path, trained: Preprocessing) -> Tensor:
    """Read the training's batch and refuse one of another shape."""
    with reading(path, "a batch of the training") as file:
        batch = torch.from_numpy(file["input_0"][:]).float()
    wanted = (len(trained.ifos), round(trained.kernel_length * trained.sample_rate))
    if batch.ndim != 3 or tuple(batch.shape[1:]) != wanted:  # noqa: PLR2004
        raise AframeError(
            "the batch does not fit the preprocessing",
            found=f"{path}: input_0 of shape {tuple(batch.shape)}",
            wanted_by=f"kernels of shape {wanted} (ifo, time)",
            fix="give batch.hdf5 and preprocessing.json of one training",
        )
    return batch


def _read_network(path: Path, batch: Tensor) -> torch.jit.ScriptModule:
    """Read the network and refuse one that does not score the batch."""
    try:
        network = torch.jit.load(path, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            shape = tuple(network(batch).shape)
        if shape != (len(batch), 1):
            raise ValueError(f"it scores {len(batch)} kernels with shape {shape}")
    except (RuntimeError, ValueError) as error:
        raise AframeError(
            "the network cannot be used",
            found=f"{path}: {str(error).strip().splitlines()[-1]}",
            wanted_by="TorchScript that gives kernels (batch, ifo, time) scores (batch, 1)",
            fix="give model.pt and batch.hdf5 of one training, or train again",
        ) from error
    return network


def _refuse_without_onnx(lacking: Sequence[str], settings: ExportSettings) -> None:
    """Refuse to serve from ONNX what has no such form; say what is left out elsewhere."""
    if lacking and settings.platform in ("ONNX", "TENSORRT"):
        raise AframeError(
            "the network has no ONNX form",
            found=f"{settings.inputs.weights}: {', '.join(lacking)}",
            wanted_by=f"platform {settings.platform}",
            fix="set platform to TORCHSCRIPT, or train a network of operations that ONNX has (no "
            "Fourier transforms)",
        )
    if lacking:
        log.info("no ONNX of the network, which has no such form: %s", ", ".join(lacking))


def _write_configs(
    repository: Path, settings: ExportSettings, chosen: Mapping[str, config.Runner]
) -> None:
    configs = config.repository(
        settings.stream,
        len(settings.ifos),
        streams_per_gpu=settings.streams_per_gpu,
        instances={
            config.PREPROCESSOR: settings.preproc_instances,
            config.NETWORK: settings.aframe_instances,
        },
        chosen=chosen,
    )
    for name, content in configs.items():
        (repository / name / VERSION).mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(content)
    scripts = Path(backend.__file__).parent
    for name, runner in chosen.items():
        if runner.name == "python":
            script = "snapshotter.py" if runner == config.PYTHON_STATE else "runner.py"
            shutil.copyfile(scripts / script, repository / name / VERSION / "model.py")


def _write_streaming(directory: Path, settings: ExportSettings) -> None:
    # The server wants a file in the version folder of an ensemble.
    (directory / "model.empty").touch()
    streaming = Streaming(
        settings.inference_sampling_rate, settings.batch_size, settings.psd_length
    )
    streaming.write(directory / "streaming.json")


def _write_models(
    repository: Path,
    settings: ExportSettings,
    training: tuple[torch.jit.ScriptModule, Tensor, Preprocessing],
    chosen: Mapping[str, config.Runner],
    onnx: Mapping[str, bool],
) -> dict[str, float]:
    """Write all models in the forms they have; returns how far each is from the trained one.

    The last is the ensemble of the files that the server runs, one after the other; before it
    stands one sweep over a block beside its kernels, where the network can be swept.

    Args:
        repository: Folder of the models.
        settings: What was asked for.
        training: The network, its batch, and what it saw.
        chosen: What runs each model.
        onnx: Whether a model has that form; those that are not named do.
    """
    network, batch, trained = training
    whitener = Whitener(
        trained.sample_rate, trained.fduration, trained.fftlength, trained.highpass, trained.lowpass
    )
    updates = models.random_updates(settings.stream, len(settings.ifos))
    deviations: dict[str, float] = {}
    for part in models.parts(settings.stream, whitener, network, updates[0]):
        folder = repository / part.name / VERSION
        script = models.torchscript(part)
        torch.jit.save(script, folder / "model.pt")
        names = ["model.pt"]
        if onnx.get(part.name, True):
            models.write_onnx(script, part, folder / "model.onnx")
            names.append("model.onnx")
        if chosen.get(part.name) == config.TENSORRT:
            plan.build(folder / "model.onnx", part.arguments[0].shape, folder / "model.plan")
            names.append("model.plan")
        for name in names:
            found = parity.load(folder / name)
            deviations[f"{part.name}/{name}"] = parity.deviation(
                found, part, batch=batch, updates=updates
            )
    files = {name: repository / name / VERSION / each.file for name, each in chosen.items()}
    swept = parity.sweep_deviation(network, settings.stream, len(settings.ifos))
    if swept is not None:
        deviations["sweep"] = swept
    deviations["ensemble"] = parity.deviation(
        parity.chain(files), part, batch=batch, updates=updates
    )
    return deviations
