"""What each task tells its stage is what the stage's verb takes, and what it publishes."""

import dataclasses
import importlib
import json
import typing

import luigi
import pytest

from aframe import program, tasks
from aframe.parameters import BASE_SECTION

PSDS = {"H1": "aLIGOO3LowT1800545", "L1": "aLIGOO3LowT1800545"}
SIMULATED = {"source": {"kind": "simulated", "psds": PSDS}, "start": 0.0, "stop": 10000.0}
FILES = {"source": {"kind": "files", "paths": ["/data/*.hdf5"]}}
SPAN = {"start": 0.0, "stop": 10000.0}
GWOSC = {"source": {"kind": "gwosc", "flags": ["CBC_CAT2", "H1:A:1"], "sample_rate": 16384}, **SPAN}
FRAMES = {
    "source": {"kind": "datafind", "frametypes": {"H1": "A", "L1": "B"}, "urltype": "https"},
    **SPAN,
}
NDS2 = {"source": {"kind": "nds2", "channels": {"H1": "H1:A", "L1": "L1:A"}}, **SPAN}
#: Each task with settings that its stage can be told; the rest are defaults.
TASKS = [
    (tasks.Query, SIMULATED),
    (tasks.Query, FILES),
    (tasks.Query, GWOSC),
    (tasks.Query, FRAMES),
    (tasks.FetchTest, GWOSC),
    (tasks.FetchTest, NDS2),
    (tasks.FetchTrain, SIMULATED),
    (tasks.FetchTest, SIMULATED),
    (tasks.FetchZeroLag, FILES),
    (tasks.TrainingWaveforms, {}),
    (tasks.ValidationWaveforms, {}),
    (tasks.TestingWaveforms, {}),
    (tasks.TrainLocal, {}),
    (tasks.TrainLocal, {"data_dir": "/data/train", "use_wandb": True, "wandb_name": "mine"}),
    (tasks.Train, {}),
    (tasks.TuneTask, {}),
    (
        tasks.TuneTask,
        {"num_workers": "2", "storage_dir": "s3://b/t", "temp_dir": "/scratch", "endpoint": "h:1"},
    ),
    (tasks.ExportLocal, {}),
    (tasks.ExportLocal, {"train_task": "TuneTask"}),
    (tasks.ExportLocal, {"platform": "PYTHON", "aframe_instances": "2"}),
    (tasks.Infer, {}),
    (tasks.Infer, {"zero_lag_source": FILES["source"]}),
    (tasks.Infer, {"zero_lag": False}),
    (tasks.Infer, {"known_events": "GW190521_030229,1187008882.4", "known_events_are": "kept"}),
    (tasks.Infer, {"server": "local", "server_timeout": "5"}),
    (tasks.Veto, {"vetoes": "/lists"}),
    (tasks.SensitiveVolume, {}),
    (tasks.SensitiveVolume, {"vetoes": "/lists"}),
    (tasks.PAstro, {}),
    (tasks.PAstro, {"rates": {"BBH": 20.0}}),
    (tasks.Report, {}),
]


@pytest.fixture(params=TASKS, ids=lambda case: case[0].__name__)
def task(request, monkeypatch, tmp_path):
    """One of the tasks, in a run directory of its own."""
    monkeypatch.chdir(tmp_path)
    # As a .cfg's [luigi_base] would; the tasks that others require take it from there.
    shared = {"source": json.dumps(SIMULATED["source"])}
    monkeypatch.setitem(luigi.configuration.get_config()._sections, BASE_SECTION, shared)
    family, parameters = request.param
    return family(**{name: _frozen(family, name, value) for name, value in parameters.items()})


def _frozen(family, name, value):
    """Bring *value* to what luigi makes of a `.cfg`."""
    text = value if isinstance(value, str) else json.dumps(value)
    return dict(family.get_params())[name].parse(text)


def _verbs(task):
    return importlib.import_module(f"aframe_{task.stage}.cli").VERBS


def _verb(task):
    return next(verb for verb in _verbs(task) if verb.name == task.verb)


def _parsed(task, tmp_path):
    """The settings as the stage's command reads them from the task's file."""
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(task.settings_file()))
    words = [task.verb, "--config", str(file)]
    _, settings, remake = program._parse(task.stage, _verbs(task), words)
    assert remake is False
    return settings


def test_the_stage_takes_the_settings_file(task, tmp_path):
    """Each value that a task writes arrives in its stage's settings, with its type and meaning."""
    arrived = json.loads(json.dumps(dataclasses.asdict(_parsed(task, tmp_path)), default=str))

    for name, value in task.settings_file().items():
        assert _holds(arrived[name], json.loads(json.dumps(value))), name


def _holds(arrived, sent):
    if isinstance(sent, dict):
        return all(_holds(arrived[name], value) for name, value in sent.items())
    return arrived == sent


def test_nothing_is_left_to_the_stage_but_what_no_task_can_say(task):
    """Every setting of a verb is a parameter of its task, so that its default stands once."""
    told = set(task.settings_file())
    takes = {field.name for field in dataclasses.fields(_verb(task).settings)}

    assert takes - told == set()


def test_every_input_of_the_stage_is_named(task):
    """The inputs of a task are those of its verb, no fewer and no more."""
    taken = typing.get_type_hints(_verb(task).settings).get("inputs")
    inputs = dataclasses.fields(taken) if taken else ()

    assert set(task.inputs()) == {field.name for field in inputs}


def test_the_stage_publishes_what_the_task_waits_for(task):
    """A task's outputs are among those of its verb."""
    names = {target.basename for target in task.output().values()}

    assert names <= set(_verb(task).publishes)
