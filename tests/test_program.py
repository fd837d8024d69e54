"""What the commands of all stages share: settings, draft, record, publication, pool."""

import contextlib
import dataclasses
import errno
import io
import json
import logging
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aframe import program
from aframe.artifacts.record import read_record, record_path
from aframe.errors import AframeError
from aframe.program import USER_ERROR, Resources, Verb, main, run_verb

STAGE = Path(__file__).with_name("example_stage.py")
#: Far above what anything here takes (s): what hangs ends the test.
LONGEST = 300


@dataclass(frozen=True)
class Inputs:
    """What the verb reads.

    Args:
        strain: Strain.
        extra: More of it, if there is any.
    """

    strain: Path
    extra: Path | None = None

    def __post_init__(self):
        if str(self.strain) == "both":
            raise AframeError("one strain, not both", found="both", wanted_by="I", fix="one")


@dataclass(frozen=True)
class Settings:
    """What the verb is told.

    Args:
        output: Where to.
        inputs: What it reads.
        highpass: Lower edge (Hz).
        ifos: Detectors.
        lowpass: Upper edge (Hz), or ``None``.
        resources: How.
    """

    output: Path
    inputs: Inputs
    highpass: float = 32.0
    ifos: tuple[str, ...] = ("H1", "L1")
    lowpass: float | None = None
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self):
        if self.highpass > 1024:
            raise AframeError(
                "highpass above Nyquist", found=f"{self.highpass}", wanted_by="H", fix="less"
            )


def _make(settings, draft):
    """Write the files.

    And more words on it.
    """
    text = f"{settings.highpass} {settings.inputs.strain.read_text()}"
    (draft.path / "result.txt").write_text(text)
    (draft.path / "folder" / "deep").mkdir(parents=True, exist_ok=True)
    (draft.path / "folder" / "deep" / "more.txt").write_text(text * 2)
    if settings.highpass < 40:
        (draft.path / "extra.txt").write_text("only below 40 Hz")
    (draft.work / "scratch").write_text("not published")
    draft.notes["count"] = 2


VERB = Verb("make", Settings, _make, ("result.txt", "folder", "extra.txt"))
PUBLISHED = ["extra.txt", "folder", "make.record.json", "result.txt"]


@pytest.fixture
def settings(tmp_path):
    """Settings for an output directory that is not there yet."""
    (tmp_path / "strain.txt").write_text("noise")
    return Settings(tmp_path / "out" / "data", Inputs(tmp_path / "strain.txt"))


@pytest.fixture
def config(tmp_path, settings):
    """Settings file of `settings`."""
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(dataclasses.asdict(settings), default=str))
    return path


def _visible(directory):
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def _contents(directory):
    """Everything published but the record, whose times differ."""
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and "record" not in path.name
    }


def _run(settings, **changes):
    run_verb("data", VERB, dataclasses.replace(settings, **changes))


@pytest.mark.parametrize(("told", "queue"), [("12", 12.0), ("", 0.0), ("-3", 0.0)])
def test_a_job_tells_how_long_it_has_waited(settings, monkeypatch, told, queue):
    """Clocks of two machines may differ: not less than nothing."""
    monkeypatch.setenv("AFRAME_WAITED", told)
    _run(settings)

    assert read_record(record_path(settings.output, VERB.name)).usage["queue"] == queue


class TestSettings:
    """One file in, and nothing in it is passed over."""

    def test_a_settings_file_runs_the_verb(self, config, settings):
        """Every value of the file arrives with its type."""
        assert main("data", [VERB], ["make", "--config", str(config)]) == 0

        assert (settings.output / "result.txt").read_text() == "32.0 noise"
        record = read_record(record_path(settings.output, "make"))
        assert record.settings == {"highpass": 32.0, "ifos": ["H1", "L1"], "lowpass": None}

    def test_a_key_on_the_command_line_wins(self, config, settings):
        """A key given as an option replaces that of the file, nested ones by their path."""
        words = ["make", "--config", str(config), "--highpass", "20", "--resources.workers=3"]

        assert main("data", [VERB], words) == 0

        assert (settings.output / "result.txt").read_text().startswith("20.0")

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"high_pass": 3}, "high_pass"),
            ({"inputs": {"strain": "x", "noise": "y"}}, "noise"),
            ({"resources": {"gpus": 2}}, "gpus"),
            ({"highpass": "many"}, "highpass"),
            ({"inputs": {}}, "strain"),
        ],
        ids=["unknown", "unknown input", "unknown resource", "type", "missing"],
    )
    def test_refuses_settings_it_cannot_use(self, config, capsys, settings, change, named):
        """Exit status 2 and the name of the key, no traceback, and nothing written."""
        config.write_text(json.dumps({**json.loads(config.read_text()), **change}))

        assert main("data", [VERB], ["make", "--config", str(config)]) == USER_ERROR

        said = capsys.readouterr().err
        assert "aframe-data: error: the settings cannot be used\n  found      " in said
        assert named in said
        assert f"wanted by  aframe-data make --config {config}" in said
        assert "aframe-data make --help describes each setting" in said
        assert "Traceback" not in said
        assert not settings.output.exists()

    @pytest.mark.parametrize(
        "words", [[], ["brew"], ["make", "--config", "/nowhere.json"], ["make", "--brew", "1"]]
    )
    def test_refuses_words_it_does_not_know(self, capsys, words):
        """A verb, file or option that is not there is the user's to mend."""
        assert main("data", [VERB], words) == USER_ERROR

        assert "the settings cannot be used" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "meant"),
        [
            (["mak"], "make"),
            (["make", "--highpath=20"], "highpass"),
            (["make", "--resources.workrs", "2"], "resources.workers"),
            (["make", "--config", '{"high_pass": 20}'], "highpass"),
        ],
    )
    def test_tells_the_nearest_name(self, capsys, words, meant):
        """Of verbs and of settings, on the command line and in the file."""
        assert main("data", [VERB], words) == USER_ERROR

        assert f"  fix        did you mean {meant}? aframe-data " in capsys.readouterr().err

    @pytest.mark.parametrize("value", ["H1,L1", "H1"])
    def test_tells_how_a_list_is_written(self, capsys, value):
        """A .cfg has no brackets, so they are easily left out."""
        assert main("data", [VERB], ["make", "--ifos", value]) == USER_ERROR

        assert f'  fix        write "[{value}]"; aframe-data make --help' in capsys.readouterr().err

    def test_a_contradiction_is_told_as_the_settings_say_it(self, config, capsys):
        """The message of the settings themselves arrives whole."""
        words = ["make", "--config", str(config), "--highpass", "2000"]

        assert main("data", [VERB], words) == USER_ERROR

        said = capsys.readouterr().err
        assert "aframe-data: error: highpass above Nyquist\n  found      2000.0\n" in said

    def test_a_contradiction_deep_in_the_settings_is_told_too(self, config, capsys):
        """Also that of a part of the settings, which the parser makes."""
        words = ["make", "--config", str(config), "--inputs.strain", "both"]

        assert main("data", [VERB], words) == USER_ERROR

        assert "aframe-data: error: one strain, not both\n" in capsys.readouterr().err

    def test_help_describes_each_setting(self, capsys):
        """Verbs with their summary, settings with their unit."""
        with pytest.raises(SystemExit, match="0"):
            main("data", [VERB], ["--help"])
        assert "Write the files." in capsys.readouterr().out

        with pytest.raises(SystemExit, match="0"):
            main("data", [VERB], ["make", "--help"])
        said = capsys.readouterr().out
        assert "And more words on it." in said
        for text in ("Lower edge (Hz)", "--inputs.strain", "--resources.workers", "--remake"):
            assert text in said

    @pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit(0)])
    def test_an_interruption_is_told_in_a_line(self, config, capsys, settings, end):
        """Ctrl-C ends with 130 and says how to go on, as does a library that leaves at SIGTERM."""

        def interrupted(settings, draft):
            raise end

        verb = dataclasses.replace(VERB, run=interrupted)

        assert main("data", [verb], ["make", "--config", str(config)]) == 130
        assert "interrupted; the same command resumes" in capsys.readouterr().err
        assert _visible(settings.output) == []


class TestRecord:
    """What made the files stands beside them."""

    def test_the_record_tells_what_made_the_files(self, settings):
        """Settings, digests of inputs and outputs, versions, times and notes."""
        _run(settings)

        record = read_record(record_path(settings.output, "make"))
        assert record.command == "aframe-data make"
        assert set(record.inputs) == {"strain"}
        assert set(record.outputs) == {"result.txt", "folder/deep/more.txt", "extra.txt"}
        assert record.sizes["result.txt"] == len("32.0 noise")
        assert record.notes == {"count": 2}
        assert record.started <= record.finished
        assert {"python", "aframe", "h5py", "numpy", "gwpy"} <= set(record.versions)

    def test_a_verb_may_read_nothing(self, tmp_path):
        """Settings without inputs have none in their record."""
        alone = dataclasses.make_dataclass("Alone", [("output", Path)])
        verb = Verb("brew", alone, lambda _, draft: (draft.path / "tea").touch(), ("tea",))

        run_verb("data", verb, alone(tmp_path))

        assert read_record(record_path(tmp_path, "brew")).inputs == {}

    def test_an_output_that_is_current_is_left_alone(self, settings, caplog):
        """The same settings and inputs make nothing new."""
        _run(settings)
        before = (settings.output / "result.txt").stat().st_mtime_ns

        with caplog.at_level(logging.INFO):
            _run(settings)
            _run(settings, resources=Resources(workers=7, device="cpu"))

        assert caplog.text.count("is current: nothing to do") == 2
        assert (settings.output / "result.txt").stat().st_mtime_ns == before

    def test_other_settings_are_refused_by_name(self, settings):
        """Each difference is listed, nested ones too, and the files stay."""
        _run(settings)
        settings.inputs.strain.write_text("other noise")

        with pytest.raises(AframeError, match="made with other settings") as caught:
            _run(settings, highpass=50.0, ifos=("H1",))

        assert caught.value.found.split("; ")[:2] == [
            "highpass: 32.0 -> 50.0",
            'ifos: ["H1", "L1"] -> ["H1"]',
        ]
        assert "input strain: its content changed" in caught.value.found
        assert (settings.output / "result.txt").read_text() == "32.0 noise"

    def test_remake_replaces_every_file(self, settings):
        """What the new settings do not make any more is gone."""
        _run(settings)

        run_verb("data", VERB, dataclasses.replace(settings, highpass=50.0), remake=True)

        assert (settings.output / "result.txt").read_text() == "50.0 noise"
        assert _visible(settings.output) == ["folder", "make.record.json", "result.txt"]

    def test_a_file_without_a_record_is_never_overwritten(self, settings):
        """Somebody's own file is in the way, with --remake or not."""
        settings.output.mkdir(parents=True)
        (settings.output / "result.txt").write_text("mine")

        for remake in (False, True):
            with pytest.raises(AframeError, match="a file without a record is in the way"):
                run_verb("data", VERB, settings, remake=remake)

        assert (settings.output / "result.txt").read_text() == "mine"

    def test_nor_where_the_verb_did_not_tell_that_it_makes_such_a_file(self, settings):
        """What is made beyond the names that a verb is known by replaces nobody's file either."""
        settings.output.mkdir(parents=True)
        (settings.output / "folder").mkdir()
        (settings.output / "folder" / "mine").write_text("mine")
        verb = dataclasses.replace(VERB, publishes=("result.txt",))

        with pytest.raises(AframeError, match="a file without a record is in the way"):
            run_verb("data", verb, settings)
        assert (settings.output / "folder" / "mine").read_text() == "mine"
        (settings.output / "folder").rename(settings.output / "moved")
        run_verb("data", verb, settings)

        assert (settings.output / "moved" / "mine").read_text() == "mine"
        assert set(PUBLISHED) < set(_visible(settings.output))

    @pytest.mark.parametrize("name", ["result.txt", "folder/deep/more.txt"])
    def test_a_file_that_vanished_is_made_again(self, settings, name):
        """An output that is not whole is not current."""
        _run(settings)
        before = _contents(settings.output)
        (settings.output / name).unlink()

        _run(settings)

        assert _contents(settings.output) == before

    def test_verbs_share_an_output_directory(self, settings):
        """Each has its own record and files."""
        other = Verb("brew", Settings, lambda _, d: (d.path / "tea").touch(), ("tea",))
        _run(settings)

        run_verb("data", other, settings)

        assert _visible(settings.output) == sorted([*PUBLISHED, "brew.record.json", "tea"])

    def test_the_commit_is_recorded(self, settings, monkeypatch):
        """That of the code that runs, in an image or not."""
        monkeypatch.setattr(program, "commit", lambda: "0123456789ab+changes")
        _run(settings)

        assert read_record(record_path(settings.output, "make")).git == "0123456789ab+changes"


class _Killed(BaseException):
    """Stands for a kill: nothing in the code may catch it."""


def _dying(monkeypatch, at, *, after):
    """Let the process die at the *at*-th change of a name in the file system."""
    count = 0

    def watch(original):
        def changed(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at and not after:
                raise _Killed
            result = original(*args, **kwargs)
            if count == at:
                raise _Killed
            return result

        return changed

    for owner, name in [
        (Path, "rename"),
        (Path, "replace"),
        (Path, "unlink"),
        (program.shutil, "rmtree"),
    ]:
        monkeypatch.setattr(owner, name, watch(getattr(owner, name)))


class TestKill:
    """Killed anywhere, the same command finishes with the same files."""

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    @pytest.mark.parametrize("remake", [False, True], ids=["first run", "remake"])
    def test_at_every_change_of_a_name(self, tmp_path, settings, monkeypatch, remake, after):
        """Before or after any rename, of a first run or one that replaces another."""
        wanted = None
        for at in range(1, 60):
            now = dataclasses.replace(settings, output=tmp_path / f"{remake}-{after}-{at}")
            if remake:
                _run(now)
                now = dataclasses.replace(now, highpass=50.0)
            with monkeypatch.context() as patch:
                _dying(patch, at, after=after)
                try:
                    run_verb("data", VERB, now, remake=remake)
                    died = False
                except _Killed:
                    died = True
            run_verb("data", VERB, now, remake=remake)
            wanted = wanted or _contents(now.output)
            assert _contents(now.output) == wanted
            assert not (now.output / ".draft-make").exists()
            if not died:
                break
        assert at > 5
        assert not died

    def test_other_settings_after_a_kill_while_publishing(self, settings, monkeypatch):
        """What was finished is published first, and then protected as any other output."""
        for at in range(1, 20):
            with monkeypatch.context() as patch, contextlib.suppress(_Killed):
                _dying(patch, at, after=True)
                _run(settings)
            if not record_path(settings.output, "make").exists() and _visible(settings.output):
                break
        assert 0 < len(_visible(settings.output)) < len(PUBLISHED)

        with pytest.raises(AframeError, match=r"highpass: 32.0 -> 50.0"):
            _run(settings, highpass=50.0)

        assert _visible(settings.output) == PUBLISHED

    def test_other_settings_begin_with_an_empty_draft(self, settings):
        """Scratch of one run is none of another's."""
        seen = []

        def fails(settings, draft):
            seen.append(sorted(path.name for path in draft.work.iterdir()))
            (draft.work / f"{settings.highpass}").touch()
            raise _Killed

        verb = dataclasses.replace(VERB, run=fails)
        for highpass in (32.0, 32.0, 50.0, 32.0):
            with pytest.raises(_Killed):
                run_verb("data", verb, dataclasses.replace(settings, highpass=highpass))

        assert seen == [[], ["32.0"], [], []]

    @pytest.mark.parametrize("workers", [1, 2])
    def test_for_real(self, tmp_path, workers):
        """Killed in its first branch and in a later one, it goes on with those not done."""
        output = tmp_path / "out"
        command = [
            *(sys.executable, STAGE, "make", "--output", output),
            *("--count=4", "--seconds=2", f"--resources.workers={workers}"),
        ]
        scratch = output / ".draft-make" / ".work"
        for done in (0, 2):
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                _wait_for(lambda done=done: len(list(scratch.glob("*.txt"))) >= done)
                _wait_for(lambda: len(list(scratch.glob("*.begun"))) > len(_done(scratch)))
                process.send_signal(signal.SIGKILL)
            _wait_for(lambda: not _alive(scratch))
            assert _visible(output) == []
        left = 4 - len(_done(scratch))
        assert left <= 2

        last = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)

        assert f"{left} of {left} branches" in last.stderr
        assert (output / "numbers.txt").read_text().split() == [f"branch-{i}" for i in range(4)]
        assert _visible(output) == ["folder", "make.record.json", "numbers.txt"]

    def test_an_interruption_ends_the_workers(self, tmp_path):
        """Ctrl-C does not wait for branches that take hours."""
        output = tmp_path / "out"
        command = [sys.executable, STAGE, "make", "--output", output, f"--seconds={2 * LONGEST}"]
        scratch = output / ".draft-make" / ".work"
        with subprocess.Popen(
            [*command, "--resources.workers=2"], stderr=subprocess.PIPE, text=True
        ) as process:
            _wait_for(lambda: len(list(scratch.glob("*.begun"))) == 2)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=LONGEST)[1]

        assert process.returncode == 130
        assert said.splitlines()[-1].endswith("interrupted; the same command resumes")
        assert "Traceback" not in said
        _wait_for(lambda: not _alive(scratch))

    def test_a_second_run_waits_for_the_first(self, tmp_path):
        """It finds the finished output, and no branch is made twice."""
        output = tmp_path / "out"
        command = [sys.executable, STAGE, "make", "--output", output, "--seconds=0.2"]
        runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        said = sorted((run.communicate(timeout=LONGEST)[1] for run in runs), key=len)

        assert [run.returncode for run in runs] == [0, 0]
        assert any("is current: nothing to do" in text for text in said)
        assert _visible(output) == ["folder", "make.record.json", "numbers.txt"]


def _done(scratch):
    return list(scratch.glob("*.txt"))


def _alive(scratch):
    """Processes that wrote a mark and still run."""
    pids = {int(pid) for path in scratch.glob("*.begun") for pid in path.read_text().split()}
    return [pid for pid in pids if _runs(pid)]


def _runs(pid):
    try:
        # A zombie has ended; that nobody asked for its status is no matter.
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_for(true):
    end = time.monotonic() + LONGEST
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class TestDisk:
    """What a disk refuses is told with the cure."""

    def test_a_full_disk(self, config, capsys, settings):
        """The system's own refusal to write; what was done stays for the next run."""

        def fills(settings, draft):
            (draft.work / "done").touch()
            (draft.path / "result.txt").symlink_to("/dev/full")
            (draft.path / "result.txt").write_text("x" * 10_000)

        verb = dataclasses.replace(VERB, run=fills)

        assert main("data", [verb], ["make", "--config", str(config)]) == USER_ERROR

        said = capsys.readouterr().err
        assert "aframe-data: error: the disk is full\n" in said
        assert "No space left on device" in said
        assert "the same command: it resumes" in said
        assert (settings.output / ".draft-make" / ".work" / "done").exists()
        assert _visible(settings.output) == []

    def test_a_disk_that_fills_up_in_a_worker(self, tmp_path):
        """A file of a branch that grows over the limit stops the command, and it resumes."""
        output = tmp_path / "out"
        command = [sys.executable, STAGE, "make", "--output", output, "--resources.workers=2"]

        def limited():
            # Python ignores SIGXFSZ, so that the write fails instead.
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

        first = subprocess.run(
            [*command, "--count=60"],
            check=False,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limited,
        )
        subprocess.run([*command, "--count=60"], check=True, stderr=subprocess.DEVNULL)

        assert first.returncode == USER_ERROR
        assert "a file is larger than this disk or process may have" in first.stderr
        assert len((output / "numbers.txt").read_text().split()) == 60

    @pytest.mark.parametrize(
        "error", [PermissionError(errno.EACCES, "no"), NotADirectoryError(errno.ENOTDIR, "no")]
    )
    def test_a_path_that_cannot_be_used(self, config, capsys, error):
        """A permission or a file in place of a folder is the user's to mend."""

        def refused(settings, draft):
            raise error

        verb = dataclasses.replace(VERB, run=refused)

        assert main("data", [verb], ["make", "--config", str(config)]) == USER_ERROR
        assert "a file cannot be written or read" in capsys.readouterr().err

    def test_an_output_below_a_file(self, config, capsys, tmp_path):
        """A folder cannot be made there."""
        words = ["make", "--config", str(config), "--output", str(tmp_path / "strain.txt" / "x")]

        assert main("data", [VERB], words) == USER_ERROR
        assert "a file cannot be written or read" in capsys.readouterr().err

    def test_other_errors_keep_their_traceback(self, config):
        """A fault of ours is not dressed up as one of the user."""

        def faulty(settings, draft):
            raise OSError(errno.EIO, "the disk is broken")

        verb = dataclasses.replace(VERB, run=faulty)

        with pytest.raises(OSError, match="the disk is broken"):
            main("data", [verb], ["make", "--config", str(config)])

    def test_a_refused_verb_leaves_nothing(self, settings):
        """Neither draft nor lock; what it had done before stays, for the same command."""

        def refuses(settings, draft):
            if settings.highpass > 32:
                (draft.work / "done").touch()
            raise AframeError("no", found="n", wanted_by="w", fix="f")

        verb = dataclasses.replace(VERB, run=refuses)
        with pytest.raises(AframeError, match="no"):
            run_verb("data", verb, settings)
        assert list(settings.output.iterdir()) == []
        with pytest.raises(AframeError, match="no"):
            run_verb("data", verb, dataclasses.replace(settings, highpass=40.0))
        assert (settings.output / ".draft-make" / ".work" / "done").exists()

    def test_a_missing_input(self, settings, tmp_path):
        """It is refused before anything is made."""
        with pytest.raises(AframeError, match="an input is missing"):
            _run(settings, inputs=Inputs(tmp_path / "nothing"))

        assert not settings.output.exists()


def _checked(monkeypatch, capsys, steps, check=None):
    """Status and answer of the command that looks through *steps*."""
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(steps)))
    status = main("data", [dataclasses.replace(VERB, check=check)], ["check"])
    told = capsys.readouterr().out
    return status, json.loads(told) if told else None


def test_check_refuses_a_step_without_running_any(tmp_path, monkeypatch, capsys):
    """Steps whose inputs are still to be made are told to be wrong, and which; nothing is made."""
    good = {"output": str(tmp_path / "out"), "inputs": {"strain": str(tmp_path / "missing")}}

    def refuse_high(settings):
        if settings.highpass == 64:
            raise AframeError("too high", found="64", wanted_by="the test", fix="less")

    steps = [["make", good], ["make", {**good, "highpass": 64.0}]]
    assert _checked(monkeypatch, capsys, steps) == (0, None)
    assert _checked(monkeypatch, capsys, steps, refuse_high) == (
        USER_ERROR,
        {"step": 1, "problem": "too high", "found": "64", "wanted_by": "the test", "fix": "less"},
    )
    status, told = _checked(monkeypatch, capsys, [["make", {**good, "higpass": 1.0}]])
    assert (status, told["step"], told["problem"]) == (2, 0, "the settings cannot be used")
    assert "higpass" in told["found"]
    assert told["wanted_by"] == "aframe-data make --config"
    assert _checked(monkeypatch, capsys, [["make", {**good, "highpass": 2e3}]])[1]["found"] == (
        "2000.0"
    )
    assert not (tmp_path / "out").exists()


def test_of_those_who_wait_one_at_a_time_goes_on(tmp_path):
    """The lock's file is taken away by who holds it, which lets no two in at once."""
    lock, log, count = tmp_path / ".lock", tmp_path / "log", 4

    def work():
        for _ in range(25):
            with program._locked(lock), log.open("a") as file:
                file.write("in ")
                file.flush()
                time.sleep(0.0005)
                file.write("out\n")

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert log.read_text() == "in out\n" * 25 * count
    assert not lock.exists()


def test_a_missing_verb_is_told(capsys):
    """And how to find it."""
    assert main("data", [VERB], []) == USER_ERROR
    assert "  fix        aframe-data --help describes each setting\n" in capsys.readouterr().err
