"""The shipped `.cfg` files: keys known, numbers those of the code, the strain as published."""

import configparser
import hashlib
import re
from pathlib import Path

import pytest
import yaml

from aframe import tasks
from aframe.cli import CONFIGS, PRESETS
from aframe.pipelines import sandbox

SANDBOX = {
    task.get_task_family(): task
    for task in (
        tasks.Query, tasks.FetchTrain, tasks.FetchTest, tasks.FetchZeroLag,
        tasks.TrainingWaveforms, tasks.ValidationWaveforms, tasks.TestingWaveforms, tasks.Train,
        tasks.ExportLocal, sandbox.SandboxInfer, sandbox.SandboxVeto, sandbox.SandboxSV,
        sandbox.SandboxPAstro, sandbox.SandboxReport, sandbox.Sandbox,
    )
}  # fmt: skip
#: Where the full search is more than its tasks' defaults, and why.
NOT_DEFAULTS = {
    ("Train", "seed"): "a training by itself has a seed of its own; a search has one for all",
    ("Train", "config"): "the run's own copy, to be edited",
    ("SandboxInfer", "known_events"): "those of the strain that the file names",
}


def _read(preset):
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read(CONFIGS / f"{preset}.cfg")
    return parser


def _values(parser):
    """The value that each task takes for each of its parameters that the file speaks of."""
    base = dict(parser["luigi_base"])
    for family, task in SANDBOX.items():
        section = f"luigi_{family}"
        own = dict(parser[section]) if section in parser else {}
        for name, parameter in task.get_params():
            written = own.get(name, base.get(name))
            if written is not None and "@" not in written:
                text = base[written.rsplit("::")[-1]] if written.startswith("&::") else written
                value = parameter.normalize(parameter.parse(text))
                yield family, name, value, parameter.task_value(family, name)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_section_and_key_is_read_by_a_task(preset):
    """No section but those of the pipeline's tasks, no key but their parameters."""
    parser = _read(preset)
    referred = set(re.findall(r"&::luigi_base::(\w+)", (CONFIGS / f"{preset}.cfg").read_text()))
    parameters = {name for task in SANDBOX.values() for name, _ in task.get_params()}

    for section in set(parser.sections()) - {"luigi_base"}:
        names = {name for name, _ in SANDBOX[section.removeprefix("luigi_")].get_params()}
        assert set(parser[section]) <= names, section
    assert set(parser["luigi_base"]) <= parameters | referred
    assert referred <= set(parser["luigi_base"])


def test_the_full_search_is_the_tasks_defaults():
    """What bbh.cfg shows and what the code does without it are one number each."""
    differing = {
        (family, name): (written, default)
        for family, name, written, default in _values(_read("bbh"))
        if written != default and (family, name) not in NOT_DEFAULTS
    }

    assert differing == {}


def test_the_full_search_reads_what_it_shows():
    """The comparison above covers every key of the file, shared or not."""
    parser = _read("bbh")
    compared = {name for _, name, *_ in _values(parser)}
    written = {key for section in parser.sections() for key in parser[section]}
    own_names = {"train_start", "train_stop", "test_stop"}
    own_names |= {"inference_psd_length", "inference_batch_size"}

    assert written - compared == {*own_names, "config", "zero_lag_source"}


def test_the_strain_is_as_published():
    """The shipped strain has the digests that its README states, and none is left out."""
    folder = CONFIGS / "strain"
    readme = (folder / "README.md").read_text()
    stated = dict(re.findall(r"`([\w-]+\.hdf5)` \| `([0-9a-f]{64})`", readme))

    assert stated == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.hdf5")
    }
    assert len(stated) == 2
    assert "CC BY 4.0" in readme


def test_the_training_configuration_of_the_guide_is_that_of_the_full_search():
    """`/opt/aframe/projects/train/config.yaml` in an image, and in a checkout that --dev binds."""
    link = Path(__file__).parents[2] / "projects" / "train" / "config.yaml"

    assert link.resolve() == CONFIGS / "bbh.yaml"
    assert yaml.safe_load(link.read_text())["data"]["class_path"] == "aframe_train.data.AframeData"
    # A link out of the folder of the train stage still leads there where all lies in /opt/aframe.
    assert not link.readlink().is_absolute()
