"""A search by Ray Tune, with a training that takes no time; killed, resumed, on a cluster."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from aframe.artifacts.remote import copy_of
from aframe.errors import AframeError
from aframe_train.tune.cluster import Room
from aframe_train.tune.search import _anywhere, _refuse_fixed, line, locate, resolve, run, summary
from aframe_train.tune.settings import read_search
from aframe_train.tune.space import as_words, draw, parse
from aframe_train.tune.trials import Storage, Trial, folder, read_trial, write_trial

HERE = Path(__file__).parent
PRESETS = resources.files("aframe") / "pipelines" / "configs"
plan = runpy.run_path(str(HERE / "run_search.py"))["plan"]
SAMPLES = 6
#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 500


def search(config, storage, *endpoint, **environment):
    """Start a search of six stubs as a process of its own."""
    words = [sys.executable, str(HERE / "run_search.py"), str(config), str(storage), *endpoint]
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "STUB_SECONDS": "0.4", **environment},
    )


def events(storage):
    """What the stubs noted, by trial."""
    files = [storage / folder(number) / "events" for number in range(SAMPLES)]
    return [[json.loads(text) for text in file.read_text().splitlines()] for file in files]


def states(storage):
    return [read_trial(Storage(str(storage)), number, {}) for number in range(SAMPLES)]


def wait_until(true):
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def processes_of(storage):
    """Processes that have the storage in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(storage).encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.xdist_group("ray")
def test_a_killed_search_goes_on_with_what_had_ended(config, tmp_path):
    """Two at a time, each on its core; killed, nothing is left; resumed, nothing is repeated."""
    storage = tmp_path / "search"
    first = search(config, storage)
    wait_until(lambda: any(trial.status == "finished" for trial in states(storage)))
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=LONGEST)
    wait_until(lambda: not processes_of(storage))
    before = states(storage)

    out, err = search(config, storage).communicate(timeout=LONGEST)

    after = states(storage)
    ended = [trial for trial in before if trial.ended]
    assert ended
    assert [after[trial.number] for trial in ended] == ended
    told = events(storage)
    starts = [sum(each["event"] == "start" for each in trial) for trial in told]
    assert all(starts[trial.number] == 1 for trial in ended)
    # Both cores were used, and no more; each training has the core that it was given.
    spans = [
        (trial[-2]["time"], trial[-1]["time"]) for trial in told if trial[-1]["event"] == "end"
    ]
    running = [sum(begin <= start < end for begin, end in spans) for start, _ in spans]
    assert max(running) <= 2
    assert {each["OMP_NUM_THREADS"] for trial in told for each in trial} == {"1"}
    assert {each["WANDB_RUN_GROUP"] for trial in told for each in trial} == {"stubs"}
    assert all("--trainer.devices=1" in each["words"] for trial in told for each in trial)
    # A rate above 1 fails: one line with the reason, and the search goes on without it.
    bad = [trial for trial in after if trial.settings["model.learning_rate"] > 1]
    assert bad
    assert all(trial.status == "failed" for trial in bad)
    for trial in bad:
        assert err.count(f"trial {trial.number} failed: RuntimeError: CUDA out of memory\n") == 1
    assert "Traceback" not in err
    good = [trial for trial in after if trial not in bad]
    assert {trial.status for trial in good} <= {"finished", "stopped"}
    assert int(out) == max(good, key=lambda trial: trial.settings["model.learning_rate"]).number


CONFIG = {
    "model": {"class_path": "A", "init_args": {"rate": 1, "arch": {"class_path": "B"}}},
    "data": {"class_path": "C", "init_args": {"mixture": {"batch_size": 2}}},
    "trainer": {"max_epochs": 3},
}


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("model.rate", "model.init_args.rate"),
        ("model.init_args.rate", "model.init_args.rate"),
        ("model.arch.class_path", "model.init_args.arch.class_path"),
        ("data.mixture.batch_size", "data.init_args.mixture.batch_size"),
        ("trainer.max_epochs", "trainer.max_epochs"),
    ],
)
def test_a_key_is_found_as_on_the_command_line(key, place):
    """With and without the words that only the file has."""
    assert ".".join(locate(CONFIG, key)) == place


@pytest.mark.parametrize("key", ["model.speed", "trainer.max_epoch", "trainer.max_epochs.x"])
def test_a_key_that_stands_nowhere_is_refused(key):
    """Also one that the command line would take for another."""
    with pytest.raises(AframeError, match="training configuration has no such key") as error:
        locate(CONFIG, key)

    assert error.value.found.startswith(f"{key}: no ")


@pytest.mark.parametrize("key", ["trainer.max_epochs", "data.rate", "data.init_args.rate"])
def test_what_the_search_or_the_cfg_sets_is_not_tried(key):
    """Trials are compared by epochs; and export would refuse a network for another band."""
    config = {"trainer": {"max_epochs": 3}, "data": {"init_args": {"rate": 1}}}

    with pytest.raises(AframeError, match="trials may not differ in this") as error:
        _refuse_fixed({key: None}, config, fixed=("data.rate",))

    assert error.value.found == key
    _refuse_fixed({"data.rate": None}, config, fixed=())


def test_the_whole_configuration_is_that_of_the_command_line(config):
    """Files, words, defaults."""
    found = resolve(["fit", "--config", str(config), "--model.learning_rate=0.5"])

    assert found["model"]["init_args"]["learning_rate"] == 0.5
    assert found["model"]["init_args"]["weight_decay"] == 0.0
    assert found["trainer"]["max_epochs"] == 3


@pytest.mark.parametrize("preset", sorted(path.stem for path in (PRESETS / "tune").iterdir()))
def test_every_shipped_search_fits_its_training(preset):
    """Each of its keys stands in the configuration of the same name, and takes what is drawn."""
    search = read_search(PRESETS / "tune" / f"{preset}.yaml")
    space = {key: parse(key, text) for key, text in search.space.items()}

    base = resolve(["--config", str(PRESETS / f"{preset}.yaml"), *as_words(draw(space, 0, 1))])

    assert all(locate(base, key) for key in space)
    assert search.grace_period <= base["trainer"]["max_epochs"]


def test_a_search_of_data_on_s3_is_the_same_everywhere(monkeypatch):
    """Whether a word has the address, as when it is planned, or a copy in one cache or another."""
    names = [_anywhere("--data.background_dir=s3:/b/data")]
    for cache in ("/one", "/other"):
        monkeypatch.setenv("AFRAME_CACHE_DIR", cache)
        names.append(_anywhere(f"--data.background_dir={copy_of('s3://b/data')}"))

    assert len(set(names)) == 1
    assert _anywhere("--data.background_dir=/b/data") == "--data.background_dir=/b/data"
    assert _anywhere("s3://b/train.yaml") == _anywhere(str(copy_of("s3://b/train.yaml")))


def test_a_wrong_value_is_refused_before_any_trial(config, tmp_path):
    """In the training's words, and of the search, unless the configuration is wrong."""
    asked = plan(config, tmp_path)
    asked.search.space["data.mixture.batch_size"] = "choice(['many', 'more'])"

    with pytest.raises(AframeError, match="cannot be given what the search tries") as error:
        run(asked)

    assert "mixture.batch_size" in error.value.found
    with pytest.raises(AframeError, match="training configuration cannot be used"):
        run(replace(asked, words=(*asked.words, "--data.mixture.batch_size=many")))


@pytest.mark.parametrize("name", ["storage_dir", "temp_dir"])
def test_a_place_that_cannot_be_written_is_refused_first(config, tmp_path, name):
    """Below a file, say; nothing is begun."""
    asked = plan(config, tmp_path / "search")
    below = config / "below"
    asked = (
        replace(asked, storage=Storage(str(below)))
        if name == "storage_dir"
        else replace(asked, resources=replace(asked.resources, temp_dir=below))
    )

    with pytest.raises(AframeError, match="directory of the search cannot be written") as error:
        run(asked)

    assert error.value.found == f"{config} is no directory"
    assert error.value.wanted_by == f"{name} {below}"
    assert not (tmp_path / "search").exists()


def test_a_search_without_room_is_refused_first(config, tmp_path):
    """Before its storage is claimed."""
    asked = plan(config, tmp_path / "search")

    with pytest.raises(AframeError, match="no room for the trials"):
        run(replace(asked, resources=replace(asked.resources, num_workers=4096)))

    assert not (tmp_path / "search").exists()


def test_a_comparison_after_the_end_is_refused(config, tmp_path):
    """No trial could ever be stopped."""
    asked = plan(config, tmp_path)
    object.__setattr__(asked.search, "grace_period", 5)

    with pytest.raises(AframeError, match="trials end before they may be compared") as error:
        run(asked)

    assert error.value.found == "max_epochs 4, grace_period 5"


def settled(config, tmp_path, *trials):
    """A search whose trials have ended."""
    asked = plan(config, tmp_path / "search", samples=len(trials))
    for trial in trials:
        write_trial(asked.storage, trial)
    return asked


def test_a_search_that_has_ended_needs_no_cluster(config, tmp_path, caplog):
    """It is read; a stopped trial is not the best, since its training has no end."""
    asked = settled(
        config,
        tmp_path,
        Trial(0, {}, "finished", [0.3, 0.7, 0.6], [0, 1, 2]),
        Trial(1, {}, "finished", [0.4, 0.5], [0, 1]),
        Trial(2, {}, "stopped", [0.9], [0]),
    )

    assert run(asked).best.number == 0


def test_no_trial_at_its_end_is_an_error(config, tmp_path):
    """The best may have failed after the others were stopped for it."""
    asked = settled(config, tmp_path, Trial(0, {}, "stopped", [0.5], [0]))

    with pytest.raises(AframeError, match="no trial reached its end"):
        run(asked)


def test_a_search_whose_trials_all_fail_is_an_error(config, tmp_path, monkeypatch):
    """With the reasons, each once, and where to read more; Ray itself is not needed for that."""
    asked = plan(config, tmp_path, samples=2)

    def fail(_plan, _room, drawn, _epochs):
        for number, settings in enumerate(drawn):
            reason = "RuntimeError: CUDA out of memory"
            write_trial(asked.storage, Trial(number, settings, "failed", reason=reason))

    monkeypatch.setattr("aframe_train.tune.search.cluster", lambda *_: nullcontext(Room(1, 0, 2)))
    monkeypatch.setattr("aframe_train.tune.search._fit", fail)

    with pytest.raises(AframeError, match="every trial failed") as error:
        run(asked)

    assert error.value.found == "2 of 2 failed: RuntimeError: CUDA out of memory"
    assert str(tmp_path) in error.value.fix


def test_lines_say_how_it_goes():
    """A failure by its reason; a search that has no score yet by its counts."""
    assert line(Trial(2, {"a": 1}, "failed", reason="no GPU")) == "trial 2 failed: no GPU"
    assert summary([Trial(0, {}), Trial(1, {}, "running")]) == "0 of 2 trials ended, 1 running"
