"""`aframe explain`: old value, new value, and where the new one comes from."""

import json

import pytest


def _record(run, path, **changes):
    content = json.loads((run.directory / path).read_text())
    (run.directory / path).write_text(json.dumps({**content, **changes}))


def test_a_value_of_the_command_line(finished):
    """The option that it was typed with."""
    status, out, _ = finished.aframe("explain", "SandboxInfer", "--SandboxInfer-Tb", "1000")

    assert status == 0
    assert out.startswith("SandboxInfer would stop the run\n")
    assert "  differs    Tb: 23400.0 -> 1000.0\n" in out
    assert "             from --SandboxInfer-Tb on the command line\n" in out
    assert "  fix        restore the settings" in out


@pytest.mark.parametrize(
    ("section", "key", "value", "step", "line", "where"),
    [
        ("luigi_base", "highpass", "40", "Train", "highpass: 32.0 -> 40.0", "[luigi_base] of"),
        (
            *("luigi_base", "minimum_frequency", "25", "TrainingWaveforms"),
            *("minimum_frequency: 20.0 -> 25.0", "[luigi_base] of"),
        ),
        (
            *("luigi_SandboxInfer", "cluster_window_length", "6", "SandboxInfer"),
            *("cluster_window_length: 8.0 -> 6.0", "[luigi_SandboxInfer] of"),
        ),
    ],
)
def test_a_value_of_the_file(finished, section, key, value, step, line, where):
    """The section and the file that it stands in."""
    finished.set(section, key, value)
    _, out, _ = finished.aframe("explain", step)

    assert f"  differs    {line}\n             from {where} {finished.directory}/sandbox.cfg" in out


def test_a_reference_is_shown(finished):
    """A value that stands elsewhere in the file says where."""
    path = finished.directory / "sandbox.cfg"
    text = path.read_text()
    finished.set("luigi_TestingWaveforms", "psd_length", "16")
    path.write_text(text.replace("inference_psd_length = 8", "inference_psd_length = 16"))
    _, out, _ = finished.aframe("explain", "TestingWaveforms")

    assert "(&::luigi_base::inference_psd_length)" in out


def test_a_value_that_was_handed_on(finished):
    """A step that gets its value from the one that requires it names where that has it from."""
    finished.set("luigi_FetchZeroLag", "min_duration", "20")
    _, out, _ = finished.aframe("explain", "Query:data/test/zero_lag")

    assert "  differs    min_duration: 16.0 -> 20.0\n" in out
    assert f"from [luigi_FetchZeroLag] of {finished.directory}/sandbox.cfg" in out


def test_a_default_and_a_constant_of_the_task(finished):
    """What nobody wrote down anywhere."""
    record = "data/train/training_waveforms.record.json"
    content = json.loads((finished.directory / record).read_text())
    content["settings"]["right_pad"] = 1.0
    finished.set("luigi_base", "right_pad", "2")
    (finished.directory / record).write_text(json.dumps(content))
    text = (finished.directory / "sandbox.cfg").read_text()
    (finished.directory / "sandbox.cfg").write_text(text.replace("right_pad = 2\n", ""))
    _, out, _ = finished.aframe("explain", "TrainingWaveforms")

    assert "right_pad: 1.0 -> 2" in out
    assert "from the default of TrainingWaveforms" in out


def test_an_input_that_changed(finished):
    """With the file that it is."""
    with (finished.directory / "train.yaml").open("a") as file:
        file.write("# edited\n")
    _, out, _ = finished.aframe("explain", "Train")

    assert "  differs    input train_config: its content changed (" in out
    assert f"             from {finished.directory}/train.yaml\n" in out


def test_versions_and_code(finished):
    """Told, and that they are no reason to run."""
    record = "results/report.record.json"
    content = json.loads((finished.directory / record).read_text())
    versions = {**content["versions"], "law": "0.0.1", "nosuch": "1.0", "python": "3.0.0"}
    _record(finished, record, versions=versions, git="0123456789ab")
    _, out, _ = finished.aframe("explain", "SandboxReport")

    assert out.startswith("SandboxReport is current: a run would leave it alone\n")
    assert "  differs    version of law: 0.0.1 -> " in out
    assert "  differs    version of python: 3.0.0 -> " in out
    assert "  differs    version of nosuch: 1.0 -> not installed\n" in out
    assert "  differs    code: 0123456789ab -> " in out
    assert "is no reason to make it anew" in out


def test_versions_in_an_image_are_not_known_here(finished, tmp_path):
    """They are those of the image."""
    _, out, _ = finished.aframe("explain", "Train", "--container-root", str(tmp_path))

    assert f"versions may: they are those in {tmp_path}/train.sif" in out


def test_nothing_differs(finished, monkeypatch):
    """A current output, made by this code."""
    record = json.loads((finished.directory / "training/fit.record.json").read_text())
    monkeypatch.setattr("aframe.commands.explain.commit", lambda: record["git"])
    _, out, _ = finished.aframe("explain", "Train")

    assert "  differs    nothing: settings, inputs, versions and code are those that made it" in out


def test_nothing_to_compare_with(empty):
    """Of each step of the name."""
    _, out, _ = empty.aframe("explain", "Query")

    assert out.count(" would run\n  why        absent\n") == 3
    assert out.count("  record     none: there is nothing to compare with") == 3


def test_a_step_that_is_not_there(empty):
    """The nearest is offered, whatever stands before its name."""
    status, _, err = empty.aframe("explain", "infer")

    assert status == 2
    assert "there is no such step" in err
    assert "did you mean SandboxInfer?" in err


@pytest.mark.parametrize("where", ["the file", "the command line"])
def test_a_setting_of_all_steps_is_none_of_one(empty, where):
    """What requires a step hands it on: said to the step alone it would be overlooked."""
    words = ["plan"]
    if where == "the file":
        empty.set("luigi_Train", "highpass", "40")
    else:
        words += ["--Train-highpass", "40"]
    status, _, err = empty.aframe(*words)

    assert status == 2
    assert "a setting of all steps is given to one alone, and would be overlooked" in err
    assert "highpass = 40 for Train, 32.0 for those that require it" in err
    assert "give highpass in [luigi_base]" in err
