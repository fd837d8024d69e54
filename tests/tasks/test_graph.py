"""The whole graph with stand-in stages: what runs and in which order; changes and kills."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aframe.cli import write_run_directory

#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 600
#: Each step of the demo, and what must have run before it.
ORDER = {
    "data query in data/train": (),
    "data query in data/test": (),
    "data query in data/test/zero_lag": (),
    "data training_waveforms in data/train": (),
    "data fetch in data/train": ("data query in data/train",),
    "data fetch in data/test": ("data query in data/test",),
    "data fetch in data/test/zero_lag": ("data query in data/test/zero_lag",),
    "data validation_waveforms in data/train": ("data fetch in data/train",),
    "data testing_waveforms in data/test": ("data fetch in data/test",),
    "train fit in training": (
        "data fetch in data/train",
        "data training_waveforms in data/train",
        "data validation_waveforms in data/train",
    ),
    "export export in results": ("train fit in training",),
    "infer infer in results": (
        "export export in results",
        "data fetch in data/test/zero_lag",
        "data testing_waveforms in data/test",
    ),
    "sv estimate in results/plots": ("infer infer in results",),
    "sv p_astro in results/plots": ("infer infer in results",),
    "sv report in results": ("sv estimate in results/plots", "sv p_astro in results/plots"),
}
LAST = [
    "infer infer in results",
    # These two in any order.
    "sv estimate in results/plots",
    "sv p_astro in results/plots",
    "sv report in results",
]


def in_order(calls):
    """The *calls*, with those that are beside each other in the order of their names."""
    return [*calls[:-3], *sorted(calls[-3:-1]), *calls[-1:]]


def _with_stubs_first(run):
    """Let `run.sh` find the stand-ins before the commands that are installed."""
    script = run.directory / "run.sh"
    script.write_text(script.read_text().replace("export PATH=", f"export PATH={run.stubs}:"))
    return script


def test_run_sh_runs_each_step_once_and_then_nothing(empty):
    """The script that aframe-init writes runs all steps in a right order; again, it runs none."""
    script = _with_stubs_first(empty)
    notes = {
        f"STUB_{name.upper()}": str(empty.directory.parent / name) for name in ("calls", "checks")
    }
    environment = {"PATH": os.environ["PATH"], **notes}

    def run():
        return subprocess.run(
            ["bash", script], env=environment, capture_output=True, text=True, check=False
        )

    first = run()
    calls = empty.calls()
    again = run()

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert sorted(calls) == sorted(ORDER)
    for step, before in ORDER.items():
        assert all(calls.index(earlier) < calls.index(step) for earlier in before), step
    assert empty.calls() == []
    assert "complete: nothing was to be done" in again.stderr


def test_log_level_debug_shows_what_luigi_thinks(finished):
    """The chatter is a setting away."""
    finished.set("luigi_core", "log_level", "DEBUG")

    assert "Informed scheduler" in finished.law().stderr


def test_one_worker_makes_the_same_files(empty, finished, tmp_path):
    """The number of workers changes nothing that is published.

    And the screen shows the command of each step, what it says and how long it took.
    """
    made_by_five = finished.files()
    for folder in ("data", "training", "results"):
        (finished.directory / folder).rename(tmp_path / folder)

    done = empty.law("--workers", "1")

    assert done.returncode == 0, done.stderr
    assert empty.files() == made_by_five
    settings = empty.directory / "training" / "logs" / "fit.settings.json"
    assert f"Train | {empty.stubs}/aframe-train fit --config {settings}\n" in done.stderr
    assert "Train | train fit at work\n" in done.stderr
    assert "Train | done in " in done.stderr
    assert done.stderr.endswith("INFO: complete\n")
    assert "DEBUG" not in done.stderr
    assert "Informed scheduler" not in done.stderr


def test_each_step_keeps_its_settings_and_log(finished):
    """The settings file and the log of a step lie in `logs`, and no failure."""
    logs = finished.directory / "results" / "logs"
    settings = json.loads((logs / "infer.settings.json").read_text())

    assert settings["output"].endswith("/results")
    assert settings["Tb"] == 23400
    assert (logs / "infer.log").read_text().splitlines()[0].startswith("$ ")
    assert "infer infer at work" in (logs / "infer.log").read_text()
    assert not list(finished.directory.rglob("*.failure.json"))


def test_a_failing_step_ends_the_run_and_the_next_run_resumes(empty):
    """Status 1, what failed and how to repeat it, no traceback; then only the missing steps run."""
    failed = empty.law("--workers", "5", fail="train fit")
    failure = json.loads((empty.directory / "training/logs/fit.failure.json").read_text())
    before = empty.calls()
    resumed = empty.law("--workers", "5")

    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    cause = "the stand-in was told to fail (train fit)"
    assert f"ERROR: step Train failed: {cause}; the end of the run tells more\n" in failed.stderr
    ending = failed.stderr[failed.stderr.index("ERROR: failed: Train\n") :]
    assert ending.startswith(
        f"ERROR: failed: Train\n  cause      {cause}\n  fix        run without STUB_FAIL\n"
        f"  log        {failure['log']}, which ends with\n"
    )
    assert ending.endswith(
        f"  by hand    {failure['command']}\nthe same command goes on from there\n"
    )
    assert failure["step"] == "Train"
    assert failure["ended"] == "exit status 2"
    assert "  fix        run without STUB_FAIL" in failure["last_lines"]
    assert Path(failure["log"]).read_text().startswith(f"$ {failure['command']}\n")
    assert resumed.returncode == 0, resumed.stderr
    assert in_order(empty.calls()) == ["train fit in training", "export export in results", *LAST]
    assert "data testing_waveforms in data/test" in before
    assert not (empty.directory / "training/logs/fit.failure.json").exists()


def test_steps_that_fail_alike_are_told_once(empty):
    """Three steps of one cause are one block at the end of the run, with the log of the first."""
    failed = empty.law("--workers", "5", fail="data query")

    assert failed.returncode == 1
    assert failed.stderr.count("\nERROR: failed: ") == 1
    assert "\nERROR: failed: Query (3 times)\n" in failed.stderr
    assert failed.stderr.count("  by hand    ") == 1


def test_the_command_of_a_failure_repeats_the_step(empty):
    """What the error shows can be pasted into a shell, and law goes on from there."""
    empty.law(fail="data query")
    query = empty.directory / "data/train/logs/query.failure.json"
    empty.calls()

    command = json.loads(query.read_text())["command"]
    pasted = subprocess.run(["sh", "-c", command], env=empty.environment(), check=False)

    assert pasted.returncode == 0
    assert (empty.directory / "data/train/segments.txt").exists()
    empty.law(task="aframe.tasks.FetchTrain")
    assert empty.calls() == ["data query in data/train", "data fetch in data/train"]


def test_a_changed_setting_is_named_before_its_step_runs(finished):
    """The status and the refused run say which setting differs, from what to what."""
    finished.set("luigi_SandboxInfer", "cluster_window_length", "6")
    status = finished.law("--print-status", "9")
    stopped = finished.law()

    assert "made with other settings: cluster_window_length: 8.0 -> 6.0" in status.stdout
    assert stopped.returncode == 2
    assert "ERROR: the output of SandboxInfer was made with other settings" in stopped.stderr
    assert "  found      cluster_window_length: 8.0 -> 6.0\n" in stopped.stderr
    assert "--on-change remake" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert finished.calls() == []


def test_a_changed_setting_is_remade_with_all_that_rests_on_it(finished):
    """What came before the change stays; what comes after it is made from the new."""
    old = finished.files()
    finished.set("luigi_SandboxInfer", "cluster_window_length", "6")
    remade = finished.law("--on-change", "remake")
    new = finished.files()

    assert remade.returncode == 0, remade.stderr
    assert in_order(finished.calls()) == LAST
    assert {name for name in old if old[name] != new[name]} == {
        "results/0lag.hdf5",
        "results/background.hdf5",
        "results/candidates.hdf5",
        "results/examples.hdf5",
        "results/foreground.hdf5",
        "results/plots/p_astro.hdf5",
        "results/plots/sensitive_volume.h5",
        "results/report.html",
        "sandbox.cfg",
    }


def test_a_shared_setting_changes_every_step_that_reads_it(finished):
    """The highpass of the band is one number for all."""
    finished.set("luigi_base", "highpass", "30")

    assert finished.law("--on-change", "remake", "--workers", "2").returncode == 0
    assert set(finished.calls()) == {
        "data validation_waveforms in data/train",
        "data testing_waveforms in data/test",
        "train fit in training",
        "export export in results",
        *LAST,
    }


def test_a_change_of_the_last_step_leaves_the_others_alone(finished):
    """Another title makes another report, and nothing else."""
    finished.set("luigi_SandboxReport", "title", "my search")

    assert finished.law("--on-change", "remake").returncode == 0
    assert finished.calls() == ["sv report in results"]


def test_writing_a_number_otherwise_changes_nothing(finished):
    """32 and 32.0 are one highpass."""
    finished.set("luigi_base", "highpass", "32.0")

    assert finished.law().returncode == 0
    assert finished.calls() == []


def test_an_image_that_is_missing_is_refused_before_anything_runs(finished, tmp_path):
    """Not when the step's turn comes; the status is shown nevertheless."""
    options = ("--container-root", str(tmp_path))
    for lost in ("data/train/segments.txt", "results/report.html"):
        (finished.directory / lost).unlink()
    status = finished.law(*options, "--print-status", "9")
    done = finished.law(*options)
    image = finished.law("--SandboxReport-image", str(tmp_path / "mine.sif"))

    assert (status.returncode, status.stderr) == (0, "")
    assert done.returncode == image.returncode == 2
    assert done.stderr.startswith("ERROR: no container image for stage 'data'\n")
    assert f"fix        build-containers data --root {tmp_path}\n" in done.stderr
    # The first step could run, and does not.
    assert image.stderr.startswith("ERROR: no container image for stage 'sv'\n")
    assert image.stderr.count("ERROR") == 1
    assert finished.calls() == []


def test_what_a_stage_refuses_is_told_before_any_step_runs(empty):
    """Each stage is asked once for all its steps; a run that is complete asks none."""
    refused = empty.law(refuse="data training_waveforms")
    asked = empty.checks()

    assert refused.returncode == 2
    assert refused.stderr.startswith("looking through the settings of 15 steps")
    assert (
        "ERROR: no such prior\n  found      X\n  wanted by  prior, for TrainingWaveforms\n"
        "  fix        Y\n"
    ) in refused.stderr
    waveforms = ["testing_waveforms", "training_waveforms", "validation_waveforms"]
    assert sorted(asked["data"]) == [*(["fetch"] * 3), *(["query"] * 3), *waveforms]
    assert {stage: asked[stage] for stage in ("train", "export", "infer", "sv")} == {
        "train": ["fit"], "export": ["export"], "infer": ["infer"],
        "sv": ["estimate", "p_astro", "report"],
    }  # fmt: skip
    assert empty.calls() == []
    assert not (empty.directory / "data").exists()


def test_what_was_looked_through_is_not_asked_about_again(empty):
    """Unless a file of a step has changed since, or its settings, or some step was refused."""
    assert empty.law(refuse="data training_waveforms").returncode == 2
    empty.checks()
    failed = empty.law(fail="data query")
    asked = empty.checks()
    again, waveforms = empty.law(fail="data query"), empty.checks()
    with (empty.directory / "train.yaml").open("a") as file:
        file.write("# another line\n")
    empty.set("luigi_SandboxSV", "max_far", "999")
    changed, some = empty.law(fail="data query"), empty.checks()

    assert failed.returncode == again.returncode == changed.returncode == 1
    assert set(asked) == {"data", "train", "export", "infer", "sv"}
    # The training's waveforms have come between.
    assert waveforms == {"train": ["fit"]}
    assert "looking through the settings of 1 steps" in again.stderr
    assert some == {"train": ["fit"], "sv": ["estimate"]}


def test_a_missing_input_is_told_before_any_step_runs(empty):
    """Of a file that no step makes; the status is shown, and then refused like a run."""
    (empty.directory / "train.yaml").unlink()
    status, run = empty.law("--print-status", "0"), empty.law()
    alone = empty.law("--data-dir", "/nowhere/at/all", task="aframe.TrainLocal")

    assert (status.returncode, run.returncode, alone.returncode) == (2, 2, 2)
    assert "Sandbox" in status.stdout
    for done in (status, run):
        assert "ERROR: an input is missing\n" in done.stderr
        assert f"found      {empty.directory}/train.yaml does not exist\n" in done.stderr
        assert "wanted by  Train, as its train_config\n" in done.stderr
    assert "found      /nowhere/at/all/background does not exist\n" in alone.stderr
    assert (empty.calls(), empty.checks()) == ([], {})
    assert [path.name for path in empty.directory.iterdir()].count("training") == 0


def test_a_complete_run_looks_through_nothing(finished):
    """What is there is not asked about, even where what it was made of has gone."""
    (finished.directory / "train.yaml").unlink()
    done = finished.law()

    assert (done.returncode, finished.checks()) == (0, {})
    assert "looking through" not in done.stderr


def test_images_are_needed_by_what_is_to_run(finished, tmp_path):
    """A search that is complete needs none."""
    assert finished.law("--container-root", str(tmp_path)).returncode == 0


@pytest.mark.parametrize(
    ("lost", "step"),
    [
        ("data/test/rejected-parameters.hdf5", "data testing_waveforms in data/test"),
        ("results/model_repo/part-0.hdf5", "export export in results"),
        ("training/val_batch.hdf5", "train fit in training"),
    ],
)
def test_a_lost_output_makes_just_its_step_again(finished, lost, step):
    """The step makes the same files again, so that nothing after it is due."""
    whole = finished.files()
    (finished.directory / lost).unlink()
    status = finished.law("--print-status", "9").stdout

    assert finished.law().returncode == 0
    assert finished.calls() == [step]
    assert finished.files() == whole
    assert "absent" in status


def test_an_output_that_was_cut_short_is_made_again(finished):
    """A file of another size than its record's is none."""
    whole = finished.files()
    (finished.directory / "results/foreground.hdf5").write_text("half")

    assert "absent (cut short)" in finished.law("--print-status", "9").stdout
    assert finished.law().returncode == 0
    assert finished.calls() == ["infer infer in results"]
    assert finished.files() == whole


def test_somebody_elses_file_is_named_and_kept(empty):
    """A file without a record is shown in the status, and nothing runs that would replace it."""
    mine = empty.directory / "data/train/segments.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own segments")
    status = empty.law("--print-status", "9").stdout
    done = empty.law("--workers", "1")

    assert "(a file without a record is in the way)" in status
    assert done.returncode == 2
    assert f"found      {mine}" in done.stderr
    assert empty.calls() == []
    assert mine.read_text() == "my own segments"


@pytest.mark.parametrize("workers", ["0", "-1", "x"])
def test_a_number_of_workers_that_is_none(empty, workers):
    """Told before anything is planned."""
    done = empty.law("--workers", workers)

    assert done.returncode == 2
    assert f"argument --workers: {workers!r} is no whole number above zero" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_misspelt_section_comes_before_what_its_keys_contradict(empty):
    """Not what the defaults that stand for them contradict."""
    configuration = empty.directory / "sandbox.cfg"
    text = configuration.read_text()
    configuration.write_text(text.replace("[luigi_SandboxInfer]", "[luigi_SandboxInfr]"))
    done = empty.law()

    assert done.returncode == 2
    assert "found      [luigi_SandboxInfr]" in done.stderr
    assert "did you mean [luigi_SandboxInfer]?" in done.stderr


def test_a_record_that_cannot_be_read_is_named(finished):
    """A damaged record ends the planning with its path, once and without a traceback."""
    record = finished.directory / "training/fit.record.json"
    record.write_text("{")
    done = finished.law()

    assert done.returncode == 2
    assert done.stderr.count("a record cannot be read") == 1
    assert str(record) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("step", "everything"),
    [("data fetch", True), ("train fit", False), ("infer infer", True)],
    ids=["fetch, law and its steps", "training, law alone", "inference, law and its steps"],
)
def test_a_killed_run_goes_on(empty, finished, tmp_path, step, everything):
    """`kill -9` of law, or of law and its steps: the same command again finishes the same files."""
    whole = finished.files()
    for folder in ("data", "training", "results"):
        (finished.directory / folder).rename(tmp_path / folder)
    go, screen = tmp_path / "go", tmp_path / "screen"
    law = empty.start(screen, "--workers", "2", wait=step, go=go)
    _wait_for(lambda: any(call.startswith(step) for call in _seen(empty)))
    if everything:
        os.killpg(law.pid, signal.SIGKILL)
        go.touch()
    else:
        law.kill()
    law.wait()
    again = empty.start(screen, "--workers", "2", wait=step, go=go)
    if not everything:
        # The step of the first run lives on; that of the second lets it finish.
        _wait_for(lambda: "another run is at work here" in screen.read_text())
        go.touch()

    assert again.wait(timeout=LONGEST) == 0, screen.read_text()
    assert empty.files() == whole


def test_two_run_directories_are_at_work_at_once(empty, finished, tmp_path, stubs):
    """A run does not wait for one of another directory on the same machine."""
    other = type(empty)(tmp_path / "other" / "run", stubs)
    write_run_directory(other.directory, preset="demo")
    screen, go = tmp_path / "screen", tmp_path / "go"
    waiting = other.start(screen, "--workers", "1", wait="data training_waveforms", go=go)
    _wait_for(lambda: "data training_waveforms" in _seen(other))
    finished.set("luigi_SandboxReport", "title", "meanwhile")
    done = finished.law("--on-change", "remake")
    os.killpg(waiting.pid, signal.SIGKILL)
    waiting.wait()

    assert done.returncode == 0, done.stderr
    assert finished.calls() == ["sv report in results"]


def test_ctrl_c_ends_a_run_in_one_line(empty, tmp_path):
    """An interrupted run says how to go on, without a traceback of law's."""
    screen = tmp_path / "screen"
    law = empty.start(screen, "--workers", "2", wait="data query", go=tmp_path / "never")
    _wait_for(lambda: _seen(empty))
    os.killpg(law.pid, signal.SIGINT)
    status = law.wait(timeout=LONGEST)

    assert status != 0
    assert "interrupted; the same command resumes\n" in screen.read_text()
    assert "luigi" not in screen.read_text()


def _seen(run):
    calls = run.directory.parent / "calls"
    return (
        [json.loads(line)["step"] for line in calls.read_text().splitlines()]
        if calls.exists()
        else []
    )


def _wait_for(condition):
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, "the step did not begin"
        time.sleep(0.02)


def test_a_reader_that_has_seen_enough_is_no_error(finished):
    """Such as `head`: nothing of luigi's is said of it."""
    words = "law run aframe.pipelines.sandbox.Sandbox --print-status 9 | head -1"

    done = subprocess.run(
        ["bash", "-c", words],
        env=finished.environment(),
        cwd=finished.directory,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.startswith("print task status")
    assert done.stderr == ""
