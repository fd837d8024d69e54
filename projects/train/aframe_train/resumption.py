"""A training that goes on where the same command was killed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from aframe.errors import AframeError
from aframe_train.callbacks import LAST

#: Of the configuration, what may change from one run of a command to the next: where and how.
_HOW = ("ckpt_path", "trainer.logger", "trainer.accelerator", "trainer.devices", "trainer.strategy")
_SHOWN = 5


def find_checkpoint(directory: Path, config: str) -> Path | None:
    """Find the checkpoint that a killed training left, if this is the same training.

    Args:
        directory: Its run directory, with its ``config.yaml``.
        config: The configuration now, as that file would hold it.

    Raises:
        AframeError: If another training is there.
    """
    checkpoint, written = directory / f"{LAST}.ckpt", directory / "config.yaml"
    if not (checkpoint.exists() and written.exists()):
        return None
    before, now = (_settings(text) for text in (written.read_text(), config))
    changed = sorted(key for key in before.keys() | now if before.get(key) != now.get(key))
    if changed:
        shown = [f"{key} {before.get(key)} there, {now.get(key)} here" for key in changed]
        raise AframeError(
            "the run directory holds another training",
            found="; ".join(shown[:_SHOWN]) + ("; …" if len(shown) > _SHOWN else ""),
            wanted_by=str(directory),
            fix="choose another directory by --trainer.logger.save_dir, restore the settings, or "
            f"give --ckpt_path={checkpoint} to go on with these",
        )
    return checkpoint


def refuse_cut(named: str | None) -> None:
    """Refuse a checkpoint that is not whole, as a full disk or a lost connection leaves one.

    Args:
        named: Its path, if there is one.

    Raises:
        AframeError: If so.
    """
    checkpoint = Path(named or "")
    # The directory of this kind of archive stands at its end.
    if checkpoint.is_file() and not zipfile.is_zipfile(checkpoint):
        raise AframeError(
            "a checkpoint cannot be read",
            found=f"{checkpoint}: {checkpoint.stat().st_size} bytes, which are no whole archive",
            wanted_by="the training, which would resume from it",
            fix="remove it to begin anew, or put a copy of best.ckpt in its place to lose less",
        )


def refuse_missing(named: str | None) -> None:
    """Refuse a checkpoint that is not there.

    Args:
        named: Its path on this machine, if one is asked for.

    Raises:
        AframeError: If so.
    """
    if named and not Path(named).is_file():
        raise AframeError(
            "there is no such checkpoint",
            found=f"{named} is no file",
            wanted_by="--ckpt_path",
            fix="correct the path, or leave it out: the same command goes on by itself from the "
            "last.ckpt of its run directory",
        )


def _settings(text: str) -> dict[str, Any]:
    """Values of a configuration by dotted keys, but for those that say where and how."""
    return {
        key: value
        for key, value in _flat(yaml.safe_load(text))
        if not any(key == one or key.startswith(f"{one}.") for one in _HOW)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
