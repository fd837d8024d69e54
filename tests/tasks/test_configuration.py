"""Where parameters come from, and what is refused, without a trace, before anything runs."""

import re

import law
import luigi
import pytest

from aframe import tasks
from aframe.errors import AframeError
from aframe.tasks import configuration

SOURCE = '{"kind": "simulated", "psds": {"H1": "a", "L1": "b"}}'


def _planned(run, task, *options):
    """Parameters of *task* as the plan shows them."""
    done = run.law("--print-deps", "9", *options)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if f" > {task}(" in line)
    return dict(re.findall(r"(\w+)=([^=]*)(?:, (?=\w+=)|\))", line))


def test_the_section_of_a_task_comes_before_the_shared_one(empty):
    """`[luigi_Task]` speaks for one task, `[luigi_base]` for all that have the parameter."""
    empty.set("luigi_base", "seed", "7")
    empty.set("luigi_TrainingWaveforms", "seed", "8")

    assert _planned(empty, "TrainingWaveforms")["seed"] == "8"
    assert _planned(empty, "FetchTest")["seed"] == "7"


def test_the_command_line_comes_before_the_file(empty):
    """An option names a task and its parameter."""
    options = ("--SandboxInfer-Tb", "1000", "--SandboxSV-max-far", "2")

    assert _planned(empty, "SandboxInfer", *options)["Tb"] == "1000.0"
    assert _planned(empty, "SandboxSV", *options)["max_far"] == "2.0"


def test_a_reference_is_the_value_it_refers_to(empty):
    """`&::section::key` is another key's value, and what is referred to counts as read."""
    empty.set("luigi_base", "inference_psd_length", "4")
    empty.set("luigi_base", "my_duration", "512")
    empty.set("luigi_FetchTest", "min_duration", "&::luigi_base::my_duration")

    assert _planned(empty, "SandboxInfer")["psd_length"] == "4.0"
    assert _planned(empty, "ExportLocal")["psd_length"] == "4.0"
    assert _planned(empty, "FetchTest")["min_duration"] == "512.0"


def test_a_file_inherits_from_another(empty):
    """What a file does not say is taken from the one that it inherits from."""
    base = empty.configuration.rename(empty.directory / "base.cfg")
    empty.configuration.write_text(
        f"[core]\ninherit = {base}\n[luigi_base]\nhighpass = 25\n[luigi_SandboxInfer]\nTb = 600\n"
    )

    planned = _planned(empty, "SandboxInfer")

    assert (planned["Tb"], planned["highpass"], planned["sample_rate"]) == (
        "600.0",
        "25.0",
        "1024.0",
    )


def test_variables_and_home_are_expanded(empty, tmp_path):
    """A `.cfg` may speak of the environment."""
    empty.set("luigi_Train", "run_dir", "$AFRAME_RESULTS_DIR/mine")
    empty.set("luigi_Train", "data_dir", "~/data")
    planned = _planned(empty, "Train")

    assert planned["run_dir"] == f"{empty.directory}/results/mine"
    assert not planned["data_dir"].startswith("~")


def wandb_section(monkeypatch, tmp_path, text):
    """Have the configuration hold *text* as its section `[wandb]`."""
    (tmp_path / "my.cfg").write_text(f"[wandb]\n{text}")
    config = law.config.Config(
        str(tmp_path / "my.cfg"), skip_fallbacks=True, skip_env_sync=True, skip_luigi_sync=True
    )
    monkeypatch.setattr(configuration, "_config", lambda: config)


def test_runs_at_weights_and_biases_are_described(monkeypatch, tmp_path):
    """`[wandb]` has what the guide names; the option of the task comes before its name."""
    text = "group = o3\ntags = autoencoder, o3 \nproject = aframe\nname = mine\nentity =\n"
    wandb_section(monkeypatch, tmp_path, text)

    assert configuration.wandb_settings() == {
        "group": "o3", "project": "aframe", "name": "mine", "tags": ["autoencoder", "o3"]
    }  # fmt: skip
    found = tasks.Train(data_dir=tmp_path, use_wandb=True, wandb_name="other").stage_resources()
    named = {name: value for name, value in found.items() if "wandb" in name}
    assert named == {
        "use_wandb": True, "wandb_group": "o3", "wandb_project": "aframe", "wandb_name": "other",
        "wandb_tags": ["autoencoder", "o3"],
    }  # fmt: skip


def test_a_key_has_no_place_in_a_configuration(monkeypatch, tmp_path):
    """It would be recorded; the message does not repeat it."""
    wandb_section(monkeypatch, tmp_path, "api_key = 0123456789\n")

    with pytest.raises(AframeError, match="holds an unknown parameter") as error:
        tasks.Train(data_dir=tmp_path)

    assert error.value.found == "api_key in [wandb]"
    assert "0123" not in str(error.value)


#: Section, key and value; what the error says of it.
REFUSED = {
    "unknown key": (
        ("luigi_SandboxInfer", "Tbb", "1"),
        "the configuration holds an unknown parameter",
        "Tbb in [luigi_SandboxInfer]",
        "did you mean Tb? ",
    ),
    "unknown section": (
        ("luigi_SandboxInfr", "Tb", "1"),
        "the configuration holds an unknown section",
        "[luigi_SandboxInfr]",
        "did you mean [luigi_SandboxInfer]? ",
    ),
    "section without luigi_": (
        ("FetchZeroLag", "min_duration", "16"),
        "the configuration holds an unknown section",
        "[FetchZeroLag]",
        "did you mean [luigi_FetchZeroLag]? ",
    ),
    "unknown shared key": (
        ("luigi_base", "high_pass", "30"),
        "the configuration holds an unknown shared parameter",
        "high_pass in [luigi_base]",
        "did you mean highpass? ",
    ),
    "no number": (
        ("luigi_base", "sample_rate", "fast"),
        "a parameter cannot be used",
        "sample_rate = 'fast'",
        "give a number above zero",
    ),
    "zero": (
        ("luigi_base", "kernel_length", "0"),
        "a parameter cannot be used",
        "kernel_length = '0'",
        "give a number above zero",
    ),
    "part of a signal": (
        ("luigi_TestingWaveforms", "num_signals", "10.5"),
        "a parameter cannot be used",
        "num_signals = '10.5'",
        "give a whole number above zero",
    ),
    "no truth": (
        ("luigi_SandboxInfer", "zero_lag", "perhaps"),
        "a parameter cannot be used",
        "zero_lag = 'perhaps'",
        "give True or False",
    ),
    "no choice": (
        ("luigi_ExportLocal", "platform", "TRITON"),
        "a parameter cannot be used",
        "platform = 'TRITON'",
        "give one of TORCHSCRIPT, ONNX",
    ),
    "repeated detectors": (
        ("luigi_base", "ifos", "H1,H1"),
        "a parameter cannot be used",
        "ifos = 'H1,H1'",
        "give detectors such as H1,L1, each once",
    ),
    "bad JSON": (
        ("luigi_base", "source", "{kind: files}"),
        "a parameter cannot be used",
        "source = '{kind: files}'",
        "give JSON with a kind, one of simulated, files",
    ),
    "unknown kind": (
        ("luigi_base", "source", '{"kind": "frames"}'),
        "a parameter cannot be used",
        """source = '{"kind": "frames"}'""",
        "one of simulated, files",
    ),
    "no noise curve": (
        ("luigi_base", "source", '{"kind": "simulated", "psds": {"H1": "aLIGOO3LowT1800545"}}'),
        "a detector has no noise curve",
        "a source with psds of H1",
        "add to the source's psds: L1",
    ),
    "a key that its kind of source has not": (
        ("luigi_base", "source", '{"kind": "gwosc", "flag": "DATA"}'),
        "a source of kind gwosc does not take flag",
        '"flag": "DATA"',
        "it takes sample_rate, dataset, flags, gwosc_server, segment_server",
    ),
    "no files": (
        ("luigi_SandboxInfer", "zero_lag_source", '{"kind": "files", "paths": []}'),
        "a source of files names none",
        "a source with no paths",
        'give it paths, such as ["/data/*.hdf5"]',
    ),
    "highpass beyond Nyquist": (
        ("luigi_base", "highpass", "512"),
        "highpass is not between zero and the Nyquist frequency",
        "highpass 512 Hz with sample_rate 1024 Hz",
        "choose a highpass below 512 Hz, leave it open, or raise sample_rate",
    ),
    "lowpass beyond Nyquist": (
        ("luigi_base", "lowpass", "600"),
        "lowpass is not between zero and the Nyquist frequency",
        "lowpass 600 Hz with sample_rate 1024 Hz",
        "choose a lowpass below 512 Hz, leave it open, or raise sample_rate",
    ),
    "empty band": (
        ("luigi_base", "lowpass", "32"),
        "the band is empty",
        "highpass 32 Hz, lowpass 32 Hz",
        "choose highpass < lowpass",
    ),
    "coalescence outside": (
        ("luigi_base", "right_pad", "8"),
        "the coalescence lies outside the waveform",
        "right_pad 8 s of a waveform of 8 s",
        "choose a right_pad shorter than waveform_duration",
    ),
    "empty span": (
        ("luigi_FetchTest", "stop", "1240584183"),
        "the span of strain is empty",
        "start 1240584183, stop 1240584183",
        "choose a start before the stop",
    ),
    "no span": (
        ("luigi_FetchTest", "stop", ""),
        "simulated strain needs a span",
        "start 1240584183, stop none",
        "give start and stop (GPS s)",
    ),
    "too many injections": (
        ("luigi_TestingWaveforms", "num_signals", "100000000"),
        "the segments are too short for the injections asked for",
        "slots in all",
        "ask for fewer signals, a smaller spacing or buffer, or add strain",
    ),
    "too much livetime": (
        ("luigi_SandboxInfer", "Tb", "31536000"),
        "the segments are too short for the livetime asked for",
        "s in all 3591 slides of 1 segments",
        "ask for less livetime (Tb), use smaller shifts, or add strain",
    ),
    "a shift too many": (
        ("luigi_base", "shifts", "0,1,2"),
        "the shifts do not fit the detectors",
        "3 shifts for 2 detectors (H1, L1)",
        "give one shift (s) for each detector",
    ),
    "a shift between kernels": (
        ("luigi_base", "shifts", "0,0.3"),
        "a shift is no whole number of strides",
        "shifts [0.0, 0.3] s at 4 kernels a second",
        "choose shifts that are not negative and whole multiples of 1 / inference_sampling_rate",
    ),
    "shifts that move nothing": (
        ("luigi_base", "shifts", "1,1"),
        "the shifts make no time slides",
        "shifts [1.0, 1.0]",
        "give one shift a detector, none negative and each two more than ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_runs(empty, case):
    """Status 2, our form of an error, no traceback, and the run directory as it was."""
    (section, key, value), problem, found, fix = REFUSED[case]
    empty.set(section, key, value)
    before = sorted(empty.directory.rglob("*"))
    done = empty.law()
    error, *rows = done.stderr.splitlines()

    assert done.returncode == 2
    assert error == f"ERROR: {problem}"
    assert [row[:13] for row in rows] == ["  found      ", "  wanted by  ", "  fix        "]
    assert found in rows[0]
    assert fix in rows[2]
    assert sorted(empty.directory.rglob("*")) == before
    assert empty.calls() == []


def test_a_wrong_option_is_refused_with_its_name(empty):
    """An error says where the value may have come from, the command line among it."""
    done = empty.law("--SandboxInfer-Tb", "abc")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "ERROR: a parameter cannot be used",
        "  found      Tb = 'abc'",
        "  wanted by  --SandboxInfer-Tb, [luigi_SandboxInfer] or [luigi_base] of the .cfg",
        "  fix        give a number above zero, on the command line or in the .cfg",
    ]


@pytest.mark.parametrize(
    ("words", "found", "fix"),
    [
        (
            ("--SandboxInfer-Tbb", "1"),
            "unrecognized arguments: --SandboxInfer-Tbb 1",
            "did you mean --SandboxInfer-Tb? add --help to see all",
        ),
        (("--xyz", "1"), "unrecognized arguments: --xyz 1", "add --help to see all"),
        (
            ("--workflow", "condor"),
            "unrecognized arguments: --workflow condor",
            "set workflow in [luigi_base] of the .cfg (or choose a --site); add --help to see all",
        ),
        (
            ("--highpass", "32"),
            "unrecognized arguments: --highpass 32",
            "set highpass in [luigi_base] of the .cfg; add --help to see all",
        ),
        (
            ("--SandboxInfer-Tb",),
            "argument --SandboxInfer-Tb: expected one argument",
            "add --help to see all",
        ),
        (
            ("--print-status",),
            "argument --print-status: expected one argument",
            "give how deep to look, such as --print-status 9; add --help to see all",
        ),
    ],
)
def test_an_option_that_cannot_be_is_refused(empty, words, found, fix):
    """Without luigi's usage, and with the option that was probably meant."""
    done = empty.law(*words)

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "ERROR: the command line cannot be used",
        f"  found      {found}",
        "  wanted by  law run aframe.pipelines.sandbox.Sandbox",
        f"  fix        {fix}",
    ]


@pytest.mark.parametrize(
    ("task", "found", "near"),
    [
        ("aframe.TrainLocl", "task 'aframe.TrainLocl' not found", "aframe.TrainLocal"),
        ("aframe.tasks.TrainLocl", "task 'aframe.tasks.TrainLocl' not found", "aframe.tasks.Train"),
        ("aframe.tasks.StageTask", "StageTask is no task by itself", "aframe.tasks."),
        (
            "aframe.pipelines.sandbox.Infer",
            "Infer is no task by itself",
            "aframe.pipelines.sandbox.SandboxInfer",
        ),
    ],
)
def test_a_task_that_is_none_is_refused(empty, task, found, near):
    """With the one that was probably meant, and all of its module."""
    done = empty.law(task=task)
    error, *rows = done.stderr.splitlines()

    assert done.returncode == 2
    assert (error, rows[:2]) == (
        "ERROR: there is no such task",
        [f"  found      {found}", f"  wanted by  law run {task}"],
    )
    assert rows[2].startswith(f"  fix        did you mean {near}")
    assert "? known are: aframe." in rows[2]


def test_a_missing_configuration_file_is_refused(empty):
    """Law would take nothing for it, and so run another search than was meant."""
    empty.configuration.unlink()
    done = empty.law()

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "ERROR: the configuration file is missing",
        f"  found      {empty.configuration} is no file",
        "  wanted by  LAW_CONFIG_FILE",
        "  fix        correct the path, or make a run directory with aframe-init",
    ]


def test_inheriting_from_nothing_is_refused(empty):
    """Law would overlook it, and so run another search than was meant."""
    empty.set("core", "inherit", "base.cfg")
    done = empty.law()

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "ERROR: a configuration cannot be taken from another file",
        f"  found      {empty.directory}/base.cfg is no file",
        f"  wanted by  inherit in [core] of {empty.configuration}",
        "  fix        correct the path, which is relative to this file",
    ]


def test_a_section_of_luigis_own_is_no_unknown_one(finished):
    """A `.cfg` may set what luigi itself reads."""
    finished.set("luigi_worker", "wait_interval", "0.1")

    assert finished.law().returncode == 0


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Give law the configuration of a text."""

    def use(text):
        path = tmp_path / "some.cfg"
        path.write_text(text)
        read = law.config.Config(str(path), skip_env_sync=True, skip_luigi_sync=True)
        monkeypatch.setattr(law.config.Config, "_instance", read)

    return use


def test_keys_of_a_section(configured):
    """Each is a parameter of its task, whatever other sections say."""
    configured("[luigi_FetchTest]\nstart = 1\n[luigi_Train]\nstart = 1\n")

    configuration.refuse_unknown_keys(tasks.FetchTest)
    configuration.refuse_unknown_keys(tasks.Query)
    with pytest.raises(AframeError, match="the configuration holds an unknown parameter"):
        configuration.refuse_unknown_keys(tasks.Train)


def test_sections_and_shared_keys(configured):
    """What law, luigi and others read is not ours to refuse."""
    configured(
        "[luigi_base]\nifos = H1\nmine = 3\n[luigi_worker]\nkeep_alive = True\n"
        "[luigi_FetchTest]\nstart = &::luigi_base::mine\n[else]\nanything = 1\n"
    )
    configuration.refuse_unknown_sections([tasks.FetchTest])

    configured("[luigi_FetchTets]\nstart = 1\n")
    with pytest.raises(AframeError, match="the configuration holds an unknown section") as caught:
        configuration.refuse_unknown_sections([tasks.FetchTest, tasks.Train])
    assert caught.value.fix == (
        "did you mean [luigi_FetchTest]? known are: [luigi_FetchTest], [luigi_Train], [luigi_base]"
    )

    for bare in ("FetchTest", "fetchtest", "luigi.FetchTest", "luigi-Fetchtest"):
        configured(f"[{bare}]\nstart = 1\n")
        with pytest.raises(AframeError, match="holds an unknown section") as caught:
            configuration.refuse_unknown_sections([tasks.FetchTest, tasks.Train])
        assert caught.value.found == f"[{bare}]"
        assert caught.value.fix.startswith("did you mean [luigi_FetchTest]? ")

    configured("[luigi_base]\nmine = 3\n")
    with pytest.raises(AframeError, match="the configuration holds an unknown shared parameter"):
        configuration.refuse_unknown_sections([tasks.FetchTest])


def test_the_file_that_is_named_must_be_whole(monkeypatch, tmp_path):
    """None need be named, and a name may hold variables."""
    monkeypatch.delenv("LAW_CONFIG_FILE", raising=False)
    configuration.refuse_broken_file()
    (tmp_path / "sandbox.cfg").touch()
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("LAW_CONFIG_FILE", "$HERE/sandbox.cfg")
    configuration.refuse_broken_file()
    monkeypatch.setenv("LAW_CONFIG_FILE", "$HERE/other.cfg")
    with pytest.raises(AframeError, match="the configuration file is missing"):
        configuration.refuse_broken_file()


def test_what_the_user_sets_of_luigi_stays(monkeypatch):
    """Only what nobody set is set for a run on one machine."""
    sections = {"core": {"log_level": "DEBUG"}}
    monkeypatch.setattr(luigi.configuration.get_config(), "_sections", sections)
    configuration.set_defaults()

    assert sections["core"]["log_level"] == "DEBUG"
    assert sections["core"]["local_scheduler"] == "true"
    assert sections["retcode"]["task_failed"] == "1"


def test_no_name_is_near():
    """Where nothing is near, the error lists what is known and makes no guess."""
    error = configuration._unknown("parameter", "xyz in [luigi_A]", {"alpha", "beta"})

    assert isinstance(error, AframeError)
    assert error.fix == "known are: alpha, beta"


def test_the_directory_of_a_run_is_not_planned_from_defaults(tmp_path, monkeypatch):
    """Typed there without its configuration, law would begin another search in its files."""
    (tmp_path / "run.sh").write_text("LAW_CONFIG_FILE=/runs/a/sandbox.cfg law run x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAW_CONFIG_FILE", raising=False)

    with pytest.raises(AframeError, match="settings of the run that is here would not be") as told:
        configuration.refuse_unread_run()

    assert told.value.fix.endswith("or export LAW_CONFIG_FILE=/runs/a/sandbox.cfg")


@pytest.mark.parametrize("script", [None, "echo something else\n"])
def test_other_directories_are_planned_in(tmp_path, monkeypatch, script):
    """A script of that name may be anybody's: only one that names its configuration is a run's."""
    if script:
        (tmp_path / "run.sh").write_text(script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAW_CONFIG_FILE", raising=False)

    assert configuration.refuse_unread_run() is None
    (tmp_path / "run.sh").write_text(f"{script or ''}LAW_CONFIG_FILE=/runs/a.cfg law run x\n")
    with pytest.raises(AframeError):
        configuration.refuse_unread_run()
