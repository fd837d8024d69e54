"""`python -m train.tune --config train.yaml … --tune.num_samples 8`: a search by hand.

Words that begin with ``--tune.`` are the search's; all others are those of each training,
as `python -m train` takes them. The best training's files appear where a training's would,
which may be on S3, and the trials with them unless ``--tune.storage_dir`` names another place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import jsonargparse

from aframe.artifacts.claim import Claim
from aframe.artifacts.remote import Remote, address, here
from aframe.errors import USER_ERROR, AframeError
from aframe_train.fit import FitResources
from aframe_train.outputs import PICTURES
from aframe_train.tune.environment import prepare
from aframe_train.tune.settings import TuneResources, read_search
from aframe_train.tune.training import DIRECTORY

_SAVE_DIR = "--trainer.logger.save_dir"
_OF_A_TRAINING = {field.name for field in dataclasses.fields(FitResources)}


def main(words: Sequence[str] | None = None) -> int:
    """Run a search; returns its exit status."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s tune: %(message)s", datefmt="%H:%M:%S", force=True
    )
    try:
        _search(list(sys.argv[1:] if words is None else words))
    except AframeError as error:
        print(f"tune: error: {error}", file=sys.stderr)  # noqa: T201
        return USER_ERROR
    except KeyboardInterrupt:
        print("tune: interrupted; the same command resumes", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _search(words: list[str]) -> None:
    mine, trainings = split(words)
    parser = _parser()
    try:
        options = parser.parse_args(mine).tune.as_dict()
    except jsonargparse.ArgumentError as error:
        raise AframeError(
            "the options of the search cannot be used",
            found=" ".join(str(error).split()),
            wanted_by=" ".join(["python -m train.tune", *mine]),
            fix="python -m train.tune --help describes each",
        ) from error
    samples = options.pop("num_samples")
    given = {} if samples is None else {"num_samples": samples}
    search = read_search(options.pop("config"), **given)
    chosen = TuneResources(**options)
    prepare(chosen.endpoint)
    from aframe_train.tune.results import PUBLISHES, publish  # noqa: PLC0415 (torch, ray: seconds)
    from aframe_train.tune.search import Plan, run  # noqa: PLC0415
    from aframe_train.tune.trials import open_storage  # noqa: PLC0415

    trainings, output = redirect(trainings)
    at = address(output)
    storage = open_storage(chosen.storage_dir or at, chosen.name, default=output / chosen.name)
    plan = Plan(tuple(trainings), search, storage, chosen)
    with contextlib.ExitStack() as held:
        if at is None:
            publish(run(plan), plan, output)
            return
        remote = Remote(at)
        claim = Claim(remote, ".claim.json")
        claim.hold()
        held.callback(claim.release)
        publish(run(plan), plan, here(at))
        claim.hold()
        drawn = [f"{PICTURES}/{path.name}" for path in (here(at) / PICTURES).glob("[!.]*")]
        for name in (*PUBLISHES, *drawn):
            remote.upload(here(at) / name, name)


def _parser() -> jsonargparse.ArgumentParser:
    parser = jsonargparse.ArgumentParser(
        prog="python -m train.tune", description=__doc__, exit_on_error=False, allow_abbrev=False
    )
    default = resources.files("aframe") / "pipelines" / "configs" / "tune" / "bbh.yaml"
    parser.add_argument(
        "--tune.config", type=Path, default=Path(str(default)), help="YAML of what is tried"
    )
    parser.add_argument("--tune.num_samples", type=int | None, help="number of trials")
    parser.add_class_arguments(TuneResources, "tune", skip=_OF_A_TRAINING)
    return parser


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part words into the search's own, and those of each training.

    Example:
        >>> split(["--config", "a.yaml", "--tune.name", "x", "--tune.num_workers=2"])
        (['--tune.name', 'x', '--tune.num_workers=2'], ['--config', 'a.yaml'])
    """
    mine: list[str] = []
    others: list[str] = []
    chosen = others
    for word in words:
        if word.startswith("-"):
            chosen = mine if word.startswith("--tune.") or word in ("-h", "--help") else others
        chosen.append(word)
    return mine, others


def redirect(words: Sequence[str]) -> tuple[list[str], Path]:
    """Have each training write to its trial's directory.

    Returns:
        The words of a trial, and the directory that *words* name for the training's files.

    Example:
        >>> redirect(["--config", "a.yaml", "--trainer.logger.save_dir", "run"])
        (['--config', 'a.yaml', '--trainer.logger.save_dir={directory}'], PosixPath('run'))
    """
    kept: list[str] = []
    given: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == _SAVE_DIR or word.startswith(f"{_SAVE_DIR}="):
            given.append(next(rest, ".") if word == _SAVE_DIR else word.partition("=")[2])
            kept.append(f"{_SAVE_DIR}={DIRECTORY}")
        else:
            kept.append(word)
    if not given:
        kept.append(f"{_SAVE_DIR}={DIRECTORY}")
    return kept, Path(given[0] if given else ".").expanduser()


if __name__ == "__main__":
    sys.exit(main())
