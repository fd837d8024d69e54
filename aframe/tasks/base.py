"""What every task shares: where it runs, what it makes, how it fails."""

from __future__ import annotations

import errno
import functools
import multiprocessing
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, ClassVar

import law

from aframe.artifacts import inventory
from aframe.artifacts.inventory import exists, read_record
from aframe.artifacts.record import PREPARED, STAMP, draft_path, one_look, record_path
from aframe.artifacts.remote import address, here, place
from aframe.errors import AframeError
from aframe.failures import INTERRUPTED, failure_path
from aframe.images import locate
from aframe.parameters import Choice, Flag, Gpus, Natural, PathParameter, Text
from aframe.paths import RunPaths, run_paths
from aframe.sites.step import PoolStep, run_name
from aframe.sites.workflow import run_step, withdraw
from aframe.stages import Stage, Step
from aframe.targets import RecordedTarget
from aframe.tasks.configuration import (
    refuse_broken_file,
    refuse_misspelt_sections,
    refuse_overlooked,
    refuse_unknown_keys,
    refuse_unknown_sections,
    refuse_unread_run,
    set_defaults,
)
from aframe.tasks.foresight import (
    outputs,
    records,
    refuse_missing_inputs,
    refuse_wrong,
    unfinished,
)
from aframe.tasks.outlook import lines
from aframe.tasks.pool import PoolParameters
from aframe.tasks.screen import prepare_screen, watch

prepare_screen()
set_defaults()

#: Physical settings that a task hands to those it requires, since they are one truth for all.
HANDED_ON = (
    "ifos",
    "sample_rate",
    "kernel_length",
    "fduration",
    "fftlength",
    "highpass",
    "lowpass",
)


def cores() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _once(requires: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have *requires* build what a task requires once; its parameters, all that decides, stay."""

    @functools.wraps(requires)
    def known(task: Any) -> Any:
        built: dict[Any, Any] = vars(task).setdefault("_required", {})
        if requires not in built:
            built[requires] = requires(task)
        return built[requires]

    return known


class RunParameters(law.Task):
    """Where and how tasks run; these reach every task that one requires."""

    task_namespace = ""
    #: Names of the files and folders that the task makes, by what they are.
    publishes: ClassVar[dict[str, str]] = {}

    dev = Flag(
        default=False,
        significant=False,
        always_in_help=False,
        description="bind the checkout at hand over the code in the images; default: False",
    )
    gpus = Gpus(
        default="",
        significant=False,
        always_in_help=False,
        description="GPUs to use, comma-separated indices; default: those of $CUDA_VISIBLE_DEVICES",
    )
    container_root = PathParameter(
        default="",
        significant=False,
        always_in_help=False,
        description="folder of <stage>.sif images; default: $AFRAME_CONTAINER_ROOT, and where "
        "that is not set, no image: run in the environment at hand",
    )
    processes = Natural(
        default=0,
        significant=False,
        always_in_help=False,
        description="processes that one step may use; default: one a core",
    )
    on_change = Choice(
        choices=("stop", "remake"),
        default="stop",
        significant=False,
        always_in_help=False,
        description="what to do with an output that was made with other settings: stop and say "
        "which differ, or remake it; default: stop",
    )
    site = Text(
        default="",
        significant=False,
        always_in_help=False,
        description="site whose section [site_<name>] says where and how steps run: laptop, gpu, "
        "igwn, ospool or one of your own; default: none",
    )
    train_task = Choice(
        choices=("Train", "TuneTask"),
        default="Train",
        significant=False,
        always_in_help=False,
        description="task that makes the network: Train, or TuneTask for the best of many "
        "trainings; default: Train, but TuneTask in the pipeline Tune",
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # luigi asks each step whether all before it is complete, and parsing is slow.
        if "requires" in vars(cls):
            cls.requires = _once(cls.requires)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        refuse_broken_file()
        refuse_unknown_keys(type(self))
        self.check()

    @classmethod
    @functools.cache
    def get_params(cls) -> list[tuple[str, Any]]:
        """Parameters of this task: luigi looks through the whole class each time.

        No class of ours gains any after it was made.
        """
        return super().get_params()

    @classmethod
    def req_params(cls, inst: law.Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Hand on how to run and what is one truth for all; the rest each task reads itself."""
        handed_on = {*HANDED_ON, *(name for name, _ in RunParameters.get_params())}
        others = {name for name, _ in cls.get_params() if name not in handed_on}
        exclude = others | set(law.util.make_list(kwargs.pop("_exclude", None) or ()))
        return super().req_params(inst, *args, _exclude=exclude, **kwargs)

    def check(self) -> None:
        """Refuse parameters that contradict each other; called when the task is built."""

    def _print_deps(self, args: Any) -> None:
        """Print the dependencies, and what each would do and why."""
        super()._print_deps(args)
        print("", *lines(self), sep="\n")  # noqa: T201 - law's own way

    def _print_status(self, args: Any) -> None:
        """Print the status and what each step would do and why; then refuse what a run would."""
        super()._print_status(args)
        print("", *lines(self), sep="\n")  # noqa: T201 - law's own way
        refuse_missing_inputs(unfinished(self))

    @property
    def paths(self) -> RunPaths:
        """The run directory."""
        return run_paths()


class StageTask(RunParameters, PoolParameters):
    """A task whose work is one run of one stage.

    A subclass names its *stage*, *verb* and what it *publishes*, declares its
    parameters, and says in :meth:`settings` and :meth:`inputs` what the stage is told.
    Building a task touches no disk and needs no image, so ``--print-status`` works
    on any machine.
    """

    stage: ClassVar[str]
    verb: ClassVar[str]

    image = PathParameter(
        default="",
        significant=False,
        always_in_help=False,
        description="Apptainer image of this task's stage, absolute or relative to "
        "container_root; default: <container_root>/<stage>.sif",
    )

    exclude_params_req: ClassVar[set[str]] = {"image"}
    #: Whether the verb's branches are jobs of their own on a pool; else one job does all of it.
    branched: ClassVar[bool] = False

    @property
    def directory(self) -> Path:
        """Where the outputs appear, on this machine or on S3."""
        raise NotImplementedError

    def inputs(self) -> dict[str, Path | None]:
        """Paths of what the stage reads, by the names its settings give them."""
        return {}

    def settings(self) -> dict[str, Any]:
        """What the stage is told besides inputs, output and resources."""
        raise NotImplementedError

    def stage_resources(self) -> dict[str, Any]:
        """How the stage may use the machine (luigi's own ``resources`` are something else)."""
        return {"workers": self.request_cpus if self.on_pool else self.processes or cores()}

    def settings_file(self) -> dict[str, Any]:
        """The whole content of the settings file that the stage reads."""
        inputs = {name: path and place(path) for name, path in self.inputs().items()}
        return {
            **self.settings(),
            **({"inputs": inputs} if inputs else {}),
            "output": place(self.directory),
            "resources": self.stage_resources(),
        }

    @property
    def record(self) -> Path:
        """Where the record of what made the output lies."""
        return record_path(self.directory, self.verb)

    def target(self, name: str) -> RecordedTarget:
        """The published file or folder *name*."""
        return RecordedTarget(
            self.directory / name,
            record=self.record,
            asked=lambda: (self.settings(), self.inputs()),
        )

    def output(self) -> dict[str, RecordedTarget]:
        """What the stage publishes, by name."""
        return {name: self.target(file) for name, file in self.publishes.items()}

    def complete(self) -> bool:
        """Whether this output and all that it rests on are there, with the settings asked for.

        luigi asks it of the whole graph before anything runs, and ``--print-status`` does not.

        Raises:
            AframeError: If a step is to be run that lacks its image, its command or an input,
                whose output was made with other settings, or that its stage refuses.
        """
        with one_look():
            todo = unfinished(self)
            remade = {Path(output.path) for step in todo for output in step.output().values()}
            for step in todo:
                step.where.refuse_missing()
                step.refuse_impossible_jobs()
                step.refuse_changed(remade)
                step.refuse_foreign()
            refuse_missing_inputs(todo)
        refuse_wrong(todo)
        watch(failure_path(here(step.directory), step.verb) for step in todo)
        return not todo

    @property
    def where(self) -> Stage:
        """The stage's program, and the image it runs in.

        Raises:
            AframeError: If the image is relative, and there is no folder of images.
        """
        root = self.container_root or os.environ.get("AFRAME_CONTAINER_ROOT")
        return Stage(
            self.stage,
            locate(self.stage, self.image or None, Path(root).expanduser() if root else None),
            gpus=self.gpus,
            dev=self.dev,
            scratch=self.paths.tmp,
        )

    def run(self) -> None:
        """Run the stage's command with this task's settings.

        Raises:
            AframeError: If the output was made with other settings, unless *on_change* says to
                remake it, if the command fails, or if the disk is full or refuses a file.
        """
        self.refuse_changed()
        remake = self.on_change == "remake"
        try:
            self._run(remake=remake)
        except KeyboardInterrupt:
            if multiprocessing.parent_process() is None:
                raise
            # Of a worker of luigi's multiprocessing would show a traceback, and luigi ends the run.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise AframeError(
                "the disk is full" if full else "a file of the run cannot be written or read",
                found=str(error),
                wanted_by=f"{self.task_family} in {place(self.directory)}",
                fix=f"{'free some space' if full else 'correct its permissions or path'}, then run "
                "the same command: it resumes",
            ) from error
        finally:
            inventory.forget()

    def _run(self, *, remake: bool) -> None:
        if self.on_pool:
            run_step(self.pool_step(remake=remake))
            return
        withdraw(self.condor_folder, here(self.directory), self.verb)
        self.where.run(self.verb, self.settings_file(), label=self.task_family, remake=remake)

    @property
    def condor_folder(self) -> Path:
        """Where what jobs are given lies."""
        name = run_name(here(self.directory), self.verb)
        return self.paths.condor / f"{self.task_family}-{name[:8]}"

    def is_published(self) -> bool:
        """Whether the output is there by now, with the settings asked for."""
        inventory.forget()
        return all(target.exists() for target in records(self))

    def pool_step(self, *, remake: bool = False) -> PoolStep:
        """This task as a pool is to do it."""
        return PoolStep(
            self.where,
            Step(self.task_family, self.verb, self.settings_file()),
            self.request(),
            self.terms(),
            self.condor_folder,
            branched=self.branched,
            published=self.is_published,
            remake=remake,
        )

    def refuse_changed(self, remade: Collection[Path] = ()) -> None:
        """Refuse an output that was made with other settings, unless it is to be remade.

        Args:
            remade: Inputs that earlier steps are about to make anew.

        Raises:
            AframeError: It names the settings.
        """
        with one_look():
            changed = {
                line for target in self.output().values() for line in target.stale(remade=remade)
            }
        if changed and self.on_change == "stop":
            raise AframeError(
                f"the output of {self.task_family} was made with other settings",
                found="; ".join(sorted(changed)),
                wanted_by=f"{self.task_family} in {place(self.directory)}",
                fix="restore the settings, choose another run directory, or add --on-change remake "
                "to make it anew with all that rests on it",
            )

    def refuse_foreign(self) -> None:
        """Refuse a file where the output is to be that no record tells of.

        Raises:
            AframeError: It names the file.
        """
        if read_record(self.record) is not None or self._is_half_published():
            return
        for target in outputs(self):
            if exists(target.path):
                raise AframeError(
                    "a file without a record is in the way",
                    found=place(target.path),
                    wanted_by=self.task_family,
                    fix="move it away, or choose another output directory",
                )

    def _is_half_published(self) -> bool:
        """Whether a killed run left the output half in its place; the next one goes on there."""
        prepared = draft_path(here(self.directory), self.verb) / PREPARED
        begun = draft_path(self.directory, self.verb) / STAMP
        return prepared.exists() or bool(address(self.directory) and exists(begun))


class Pipeline(RunParameters, law.WrapperTask):
    """A chain of tasks, built and checked as a whole before any of them runs."""

    def check(self) -> None:
        """Build every task, so that each refuses what it can before anything runs."""
        refuse_unread_run()
        try:
            tasks = [task for task, *_ in self.walk_deps()]
        except AframeError:
            # What contradicts a default may stand in a section whose name is misspelt.
            refuse_misspelt_sections()
            raise
        refuse_unknown_sections({type(task) for task in tasks})
        for task in tasks:
            refuse_overlooked(task, HANDED_ON)
