"""The training's command line: Lightning's, with our links and our errors."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from inspect import signature
from pathlib import Path
from pydoc import locate
from typing import Any

import jsonargparse
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from aframe.artifacts.cache import cached
from aframe.errors import AframeError, did_you_mean
from aframe.processes import end_with_parent
from aframe.program import hint
from aframe_train import tracking
from aframe_train.callbacks import Progress, SaveConfig
from aframe_train.resumption import find_checkpoint, refuse_cut, refuse_missing
from aframe_train.runs import Keep, SentCheckpoints, WholeCheckpoints, fetch_run, several

log = logging.getLogger(__name__)

SEED = 101588
#: Options by which a step names a table of glitches, and a ledger.
GLITCHES = "--data.init_args.glitches.table"
LEDGER = "--data.init_args.training_waveforms"
#: Variable that tells further processes of a training which one has started them.
_FIRST = "AFRAME_FIRST_PROCESS"
#: Lightning's remarks on what is meant to be so.
_EXPECTED = (
    ".*does not have many workers.*",
    ".*is smaller than the logging interval.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*GPU available but not used.*",
    ".*ended before the epoch ended and your dataloader is not resumable.*",
)


class AframeCLI(LightningCLI):
    """Lightning's command line, in which what two parts need stands once.

    Args:
        words: Arguments, a subcommand first.
        keep: Told of each file from which a training resumes.
    """

    def __init__(self, words: Sequence[str], keep: Keep | None = None) -> None:
        self.words = list(words)
        self.keep = keep
        options = {"parser_mode": "omegaconf", "exit_on_error": False}
        super().__init__(
            LightningModule,
            LightningDataModule,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={
                # Lightning's own keeps a third, with its path in it; the model brings ours.
                "enable_checkpointing": False,
                "logger": {
                    "class_path": "lightning.pytorch.loggers.CSVLogger",
                    "init_args": {"save_dir": "."},
                },
            },
            seed_everything_default=SEED,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={**options, **{name: dict(options) for name in self.subcommands()}},
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the seed, the detectors, the kernels and the stride of the validation.

        A network takes of the kernels' properties those that its arguments name.
        """
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments(
            "data.init_args.ifos", "model.init_args.arch.init_args.num_ifos", compute_fn=len
        )
        for name in ("sample_rate", "kernel_length", "highpass", "lowpass"):
            parser.link_arguments(
                f"data.init_args.{name}", f"model.init_args.arch.init_args.{name}"
            )
        parser.link_arguments(
            "data.init_args.validation.valid_stride", "model.init_args.metric.init_args.stride"
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read arguments and configuration files; Lightning looks into a checkpoint next."""
        with _explained(self.words):
            super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        _refuse_seed(config.seed_everything)
        refuse_cut(config.get("ckpt_path"))

    def instantiate_classes(self) -> None:
        """Make the model, the data and the trainer."""
        with _explained(self.words):
            _refuse_unknown_rate(self._get(self.config, "model"))
            super().instantiate_classes()
        _refuse_unknown_metric(self.trainer, self.model)

    def before_instantiate_classes(self) -> None:
        """Bring here what lies on S3, find what to resume from, and name the run at W&B."""
        config = self.config[self.subcommand]
        loggers = several(config.trainer.get("logger"))
        self.run = fetch_run(loggers)
        directory = Path((loggers and loggers[0].init_args.get("save_dir")) or ".")
        is_step, self.keep = self.keep is not None, self.run.keep if self.run else self.keep
        if config.get("ckpt_path"):
            config.ckpt_path = str(cached(config.ckpt_path))
        elif self.subcommand == "fit" and not is_step:
            config.ckpt_path = self._left(directory)
        refuse_cut(config.ckpt_path)
        refuse_missing(config.ckpt_path)
        if tracking.is_asked_for(loggers):
            tracking.refuse_missing()
            name = tracking.identify(directory, resumed=is_step or bool(config.ckpt_path))
            if self.keep:
                self.keep(name, wait=True)

    def _left(self, directory: Path) -> str | None:
        """The checkpoint that the same command left in *directory* when it was killed."""
        config = self.config[self.subcommand].clone()
        config.pop("ckpt_path", None)
        parser = self._parser(self.subcommand)
        found = find_checkpoint(directory, parser.dump(config, skip_unset=False))
        if found is None:
            return None
        log.info("resuming from %s", found)
        return str(found)

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """Make the trainer, whose checkpoints are whole and sent where they are kept."""
        trainer = super().instantiate_trainer(**options)
        _refuse_vain(trainer)
        trainer.strategy.checkpoint_io = (
            SentCheckpoints(self.keep) if self.keep else WholeCheckpoints()
        )
        return trainer

    def before_fit(self) -> None:
        """Begin the run at Weights & Biases."""
        tracking.start(self.trainer.loggers)

    def after_fit(self) -> None:
        """Send the training's files to a run directory on S3."""
        if self.run and self.trainer.is_global_zero:
            self.run.push()

    @property
    def progress(self) -> Progress:
        """What is known of the training's course."""
        trainer: Any = self.trainer
        return next(each for each in trainer.callbacks if isinstance(each, Progress))


class StepCLI(AframeCLI):
    """The command line of a step, whose record must know all that the training read."""

    def before_instantiate_classes(self) -> None:
        """Refuse files that the configuration alone names, before anything is fetched."""
        self.refuse_contradictions()
        super().before_instantiate_classes()

    def refuse_contradictions(self) -> None:
        """Refuse waveforms from two places or none, and what a change of would go unnoticed.

        Raises:
            AframeError: If waveforms are to be made as well as read; if the configuration names
                a table of glitches that is no input, or a population of the user's own.
        """
        data = self.config[self.subcommand].data
        _refuse_two_ledgers(data, self.words)
        _refuse_unrecorded(data, self.words)


def _refuse_two_ledgers(data: jsonargparse.Namespace, words: Sequence[str]) -> None:
    makes, reads = data.get("init_args.generation") is not None, f"{LEDGER}=null" not in words
    if makes == reads:
        raise AframeError(
            "it is not clear where the training's waveforms come from",
            found=f"{'a' if reads else 'no'} ledger, and a configuration "
            f"{'with' if makes else 'without'} `generation`",
            wanted_by="the training",
            fix="to make them in the training, have on_the_fly = True in the .cfg and `generation` "
            "in the configuration; to read them, neither",
        )


def _refuse_unrecorded(data: jsonargparse.Namespace, words: Sequence[str]) -> None:
    table = data.get("init_args.glitches.table")
    population = data.get("init_args.generation.prior") or ""
    if table and not any(word.startswith(f"{GLITCHES}=") for word in words):
        raise AframeError(
            "a change of the table of glitches would go unnoticed",
            found=f"glitches.table {table}",
            wanted_by="the record of the training",
            fix="take it out of the configuration, and name it as the input `glitches`: "
            "glitch_table = … in the .cfg",
        )
    if population.rpartition(".")[0] not in ("", "aframe.priors"):
        raise AframeError(
            "a change of the training's population would go unnoticed",
            found=f"generation.prior {population}",
            wanted_by="the record of the training",
            fix="leave generation.prior out, and name the population in the .cfg: it is then "
            "that of the validation waveforms",
        )


def _refuse_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise AframeError(
            "there is no such seed",
            found=f"seed_everything {seed}",
            wanted_by="all random streams",
            fix="give a whole number from 0 to 4294967295",
        )


def _refuse_vain(trainer: Trainer) -> None:
    """Refuse a training that would have no end, or leave no network."""
    epochs, every = trainer.max_epochs or 0, trainer.check_val_every_n_epoch or 1
    if trainer.max_steps == epochs == -1:
        raise AframeError(
            "the training has no end",
            found="max_epochs -1, and no max_steps",
            wanted_by="the learning rate, which rises and falls once over all steps",
            fix="give trainer.max_epochs",
        )
    if 0 in (epochs, trainer.max_steps, trainer.limit_val_batches) or 0 < epochs < every:
        raise AframeError(
            "no epoch would be validated",
            found=f"max_epochs {epochs}, max_steps {trainer.max_steps}, limit_val_batches "
            f"{trainer.limit_val_batches}, check_val_every_n_epoch {every}",
            wanted_by="model.pt, which keeps the weights of the best validation",
            fix="give trainer.max_epochs of one at least, no fewer than "
            "trainer.check_val_every_n_epoch, and a limit_val_batches above zero",
        )


def _refuse_unknown_metric(trainer: Trainer, model: LightningModule) -> None:
    """Refuse callbacks that would judge by what is never logged, before an epoch is lost."""
    logged: tuple[str, ...] = getattr(model, "logged", ())
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitored = getattr(callback, "monitor", None)
        if logged and monitored is not None and monitored not in logged:
            raise AframeError(
                "a callback watches a metric that is not logged",
                found=f"monitor {monitored}",
                wanted_by=f"{type(callback).__name__} in trainer.callbacks",
                fix=did_you_mean(monitored, logged) + f"give one of {', '.join(logged)}",
            )


def _refuse_unknown_rate(model: jsonargparse.Namespace) -> None:
    """Refuse a network that must know the rate where that is left to the strain."""
    if model.get("init_args.arch.init_args.sample_rate", 0.0) is None:
        raise AframeError(
            "the network must know the sample rate",
            found=f"no sample_rate for {model.init_args.arch.class_path}",
            wanted_by="model.arch of the training configuration",
            fix="add --data.sample_rate=RATE (Hz), the strain's",
        )


@contextlib.contextmanager
def _explained(words: Sequence[str]) -> Iterator[None]:
    """Turn what the parser says of a configuration into an error that names its file."""
    try:
        yield
    except (jsonargparse.ArgumentError, MisconfigurationException, ValueError, TypeError) as error:
        causes = list(_causes(error))
        ours = [cause for cause in causes if isinstance(cause, AframeError)]
        if ours:
            raise ours[0] from error
        # The parser wraps each fault in one that says only that no type fits.
        said = [str(cause) for cause in causes]
        plain = [text for text in said if "Union subtypes" not in text] or said
        raise AframeError(
            "the training configuration cannot be used",
            found=_found(said[0], plain[0]),
            wanted_by=" ".join(["python -m train", *words]),
            fix=hint(plain[0], _options(plain[0]))
            + "correct the key or value; python -m train fit --help describes each",
        ) from error


def _found(whole: str, plain: str) -> str:
    """Say what is wrong in one line that names the key, and all that may stand there."""
    key = re.search(r'Parser key "([\w.]+)"', whole)
    allowed = list(dict.fromkeys(re.findall(r"^ +- Expected an? (.+)$", whole, re.MULTILINE)))
    if key and "Parser key" not in plain and allowed:
        value = plain.rpartition("Got value: ")[2]
        return f"{key[1]}: {value}, where {' or '.join(allowed)} is expected"
    return re.sub(r"\s*\n\s*", " ", plain)


def _options(said: str) -> list[str]:
    """Names that the last class which the parser *said* it cannot make takes, or a trainer."""
    classes = re.findall(r"class_path '([\w.]+)'", said)
    kind = locate(classes[-1]) if classes else Trainer
    names = signature(kind).parameters if isinstance(kind, type) else ()
    return [name if classes else f"trainer.{name}" for name in names]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def train(
    words: Sequence[str], keep: Keep | None = None, kind: type[AframeCLI] = AframeCLI
) -> AframeCLI:
    """Run the training's command line.

    Args:
        words: Arguments; without a subcommand they are those of ``fit``.
        keep: Told of each file from which a training resumes.
        kind: The command line.

    Raises:
        AframeError: If they, or a configuration file among them, cannot be used.
    """
    known = {*AframeCLI.subcommands(), "-h", "--help"}
    command = [] if words and words[0] in known else ["fit"]
    for name in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message)
        with _as_program([*command, *words]), tracking.own_run():
            return kind([*command, *words], keep)


@contextlib.contextmanager
def _as_program(words: Sequence[str]) -> Iterator[None]:
    """Look like ``python -m train``, which Lightning starts again for each further GPU.

    Those end with this one: torch has them wait for it for half an hour, its output held open.
    """
    mine, first = sys.argv, os.environ.get(_FIRST)
    if first and os.environ.get("LOCAL_RANK", "0") != "0":
        end_with_parent(int(first))
    sys.argv = [str(Path(__file__).parents[1] / "train" / "__main__.py"), *words]
    os.environ[_FIRST] = str(os.getpid())
    try:
        yield
    finally:
        sys.argv = mine
        os.environ.pop(_FIRST, None)
