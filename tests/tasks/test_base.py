"""What every task shares: what it hands on, how it may use the machine, what it refuses."""

import errno
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from aframe import tasks
from aframe.errors import AframeError
from aframe.tasks import ExportLocal, FetchTest, Pipeline, StageTask, TrainLocal, base, foresight
from aframe.tasks.base import HANDED_ON, cores

#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 300


class _Chain(Pipeline):
    """A pipeline of one step."""

    def requires(self):
        return tasks.TestingWaveforms.req(self)


def test_how_to_run_reaches_every_step(shared):
    """What is typed once counts for all that the task requires."""
    how = {"gpus": "1", "processes": 3, "on_change": "remake", "dev": True}
    how["container_root"] = Path("/images")
    task = ExportLocal(**how)

    for step in (task.requires(), task.requires().requires()["validation"]):
        assert {name: getattr(step, name) for name in how} == how


def test_one_truth_reaches_every_step(shared):
    """Detectors, rate, kernel, filter and band are handed on; the rest each step reads itself."""
    task = ExportLocal(sample_rate=1024.0, kernel_length=2.0, highpass=20.0, psd_length=8.0)
    train = task.requires()

    assert all(getattr(train, name) == getattr(task, name) for name in HANDED_ON)
    assert train.requires()["validation"].highpass == 20.0
    # A step's own length of data is none of another's.
    assert tasks.TestingWaveforms.req(task).psd_length == 64.0


def test_an_image_is_of_one_stage(shared):
    """The image of a task is not that of those it requires."""
    assert ExportLocal(image="/export.sif").requires().image is None


def test_processes_default_to_the_cores(shared, monkeypatch):
    """One process a core that this process may use, unless said otherwise."""
    assert FetchTest(processes=3).stage_resources() == {"workers": 3}
    assert FetchTest().stage_resources() == {"workers": cores()}
    assert cores() == len(os.sched_getaffinity(0))

    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_a_settings_file_without_inputs_names_none(shared):
    """The key stands only where the stage has inputs."""
    query = FetchTest().requires()

    assert "inputs" not in query.settings_file()
    assert FetchTest().settings_file()["inputs"] == {"segments": f"{query.directory}/segments.txt"}


def test_a_step_is_complete_with_all_it_rests_on(shared, stubs, tmp_path, monkeypatch):
    """An output whose inputs are still to be made is not complete."""
    monkeypatch.setenv("PATH", str(stubs), prepend=":")
    monkeypatch.setenv("STUB_CHECKS", str(tmp_path / "checks"))
    task = FetchTest()

    assert not task.complete()
    assert not (tmp_path / "data").exists()


def test_a_step_runs_its_stage_and_refuses_a_change(shared, stubs, tmp_path, monkeypatch):
    """Made once; made with other settings only where that is asked for."""
    monkeypatch.setenv("PATH", str(stubs), prepend=":")
    monkeypatch.setenv("STUB_CALLS", str(tmp_path / "calls"))
    spans = {"start": 0.0, "stop": 5000.0}
    query = tasks.Query(**spans)
    query.run()
    assert query.complete()

    longer = {**spans, "stop": 6000.0}
    for refusing in (tasks.Query(**longer).complete, tasks.Query(**longer).run):
        with pytest.raises(AframeError, match="the output of Query was made with other") as caught:
            refusing()
    assert caught.value.found == "stop: 5000.0 -> 6000.0"
    tasks.Query(**longer, on_change="remake").run()
    assert tasks.Query(**longer).complete()
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


def test_a_pipeline_is_checked_as_a_whole(shared, monkeypatch):
    """Building it builds every step, and looks for sections that none of them reads."""
    seen = []
    monkeypatch.setattr(base, "refuse_unknown_sections", seen.append)
    _Chain(gpus="7")

    assert {task.__name__ for task in seen[0]} == {
        "_Chain", "TestingWaveforms", "FetchTest", "Query",
    }  # fmt: skip


def test_a_pipeline_refuses_what_its_steps_refuse(shared):
    """A step that cannot be is known before any other runs."""
    shared["source"] = '{"kind": "simulated", "psds": {}}'
    with pytest.raises(AframeError, match="a detector has no noise curve"):
        _Chain(gpus="8")


@pytest.mark.parametrize("member", ["directory", "settings"])
def test_a_task_without_a_stage_has_no(member):
    """What a task must say for itself has no default."""

    class Nameless(StageTask):
        """A task that says nothing."""

    with pytest.raises(NotImplementedError):
        getattr(Nameless(), member)()
    Nameless.deregister()


def test_paths_may_be_given_as_text(shared):
    """In Python, too, a folder is a folder."""
    assert TrainLocal(run_dir="/x").directory.as_posix() == "/x"


@pytest.mark.parametrize(
    ("number", "problem", "fix"),
    [
        (errno.ENOSPC, "the disk is full", "free some space"),
        (errno.EACCES, "a file of the run cannot be written or read", "correct its permissions"),
    ],
)
def test_a_disk_that_refuses_is_no_fault_of_ours(shared, monkeypatch, number, problem, fix):
    """A log that cannot be written ends the step in one block, not in a traceback."""

    def refuse(*_words, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(base.Stage, "run", refuse)
    with pytest.raises(AframeError, match=problem) as caught:
        tasks.Query(start=0.0, stop=5000.0).run()
    assert os.strerror(number) in caught.value.found
    assert caught.value.fix.startswith(fix)


def test_an_interrupted_worker_ends_without_a_traceback(shared, monkeypatch, capfd):
    """Where several steps run at once; alone in its process a step is interrupted as ever."""

    def interrupt(*_words, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(base.Stage, "run", interrupt)
    step = tasks.Query(start=0.0, stop=5000.0)
    worker = multiprocessing.get_context("fork").Process(target=step.run)
    worker.start()
    worker.join(LONGEST)
    worker.kill()

    assert worker.exitcode == 130
    assert capfd.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt):
        step.run()


def test_what_a_killed_run_left_half_published_is_no_foreign_file(shared, stubs, tmp_path):
    """The next run goes on there; a file that nothing tells of stops it before it begins."""
    step = tasks.Query(start=0.0, stop=5000.0)
    made = Path(step.output()["segments"].path)
    made.parent.mkdir(parents=True)
    made.touch()
    with pytest.raises(AframeError, match="a file without a record is in the way") as caught:
        step.refuse_foreign()
    assert caught.value.found == str(made)

    (made.parent / ".draft-query").mkdir()
    (made.parent / ".draft-query" / ".record.json").touch()
    step.refuse_foreign()


def test_it_is_not_remembered_for_ever_that_a_step_was_looked_through(tmp_path):
    """Marks of a month ago go, so that they do not pile up."""
    old, new = tmp_path / "old", tmp_path / "new"
    for mark in (old, new):
        mark.touch()
    os.utime(old, (0, time.time() - 31 * 86400))

    foresight._forget_old(tmp_path)

    assert [mark.name for mark in tmp_path.iterdir()] == ["new"]
