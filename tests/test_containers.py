"""`build-containers`: what it builds, what it leaves, and what it says when a build fails."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aframe import containers
from aframe.checkout import code_digest
from aframe.containers import main

CHECKOUT = Path(__file__).parents[1]
#: What takes longer than this on a busy machine does not end at all (s).
LONGEST = 300
#: Stands for `apptainer build [options] image definition`, which fails where its base says how,
#: and for `apptainer inspect`; an image is its labels.
APPTAINER = f"""#!{sys.executable}
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, {str(CHECKOUT)!r})
from aframe.checkout import code_digest

if sys.argv[1] == "inspect":
    labels = json.loads(Path(sys.argv[-1]).read_text())
    print(json.dumps({{"data": {{"attributes": {{"labels": labels}}}}}}))
    sys.exit()
*options, image, definition = sys.argv[2:]
stage = Path.cwd().name
calls = Path(os.environ["CALLS"], stage)
calls.write_text(json.dumps([options, image, definition, str(Path.cwd()), dict(os.environ)]))
print("INFO: building", flush=True)
draft = Path(image)
draft.write_text("half")
Path(os.environ["APPTAINER_TMPDIR"], "rootfs").mkdir()
wait = Path(os.environ["CALLS"], "wait")
while wait.exists():
    time.sleep(0.02)
said = Path(os.environ["CALLS"], f"{{stage}}.fail")
if said.exists():
    sys.stderr.write(said.read_text())
    sys.exit(255)
base = next((o.partition("=")[2] for o in options if o.startswith("base=")), "python")
digest = code_digest(stage)
draft.write_text(json.dumps(
    {{"aframe.digest": digest, "org.opencontainers.image.base.name": base}}))
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A stand-in for Apptainer; a function that gives what it was called for since."""
    folder, program = tmp_path / "calls", tmp_path / "bin" / "apptainer"
    for path in (folder, program.parent, tmp_path / "tmp"):
        path.mkdir()
    program.write_text(APPTAINER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(folder))
    monkeypatch.setenv("APPTAINER_TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.delenv("AFRAME_CONTAINER_ROOT", raising=False)

    def since():
        found = {path.name: json.loads(path.read_text()) for path in folder.glob("[!.w]*[a-z]")
                 if path.suffix == ""}  # fmt: skip
        for name in found:
            (folder / name).unlink()
        return found

    return since


@pytest.fixture
def root(tmp_path):
    """Where the images go."""
    return tmp_path / "images"


def _left(root):
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_builds_what_is_missing(calls, root, capsys):
    """Each in the folder of its stage, by its recipe; it appears under its name."""
    assert main(["sv", "data", "--root", str(root)]) == 0
    made = calls()

    assert made.keys() == {"sv", "data"}
    options, image, definition, cwd, _ = made["sv"]
    assert (options, definition) == (["--force"], "apptainer.def")
    assert (image, cwd) == (str(root / ".sv.sif.part"), str(CHECKOUT / "projects" / "sv"))
    assert _left(root) == ["data.sif", "logs", "sv.sif"]
    log = (root / "logs" / "sv.log").read_text()
    assert log == (
        f"$ cd {CHECKOUT}/projects/sv && apptainer build --force {root}/.sv.sif.part "
        "apptainer.def\nINFO: building\n"
    )
    assert f"sv: there is no image yet; building, which {root}/logs/sv.log shows\n" in (
        capsys.readouterr().out
    )


def test_builds_all_stages(calls, monkeypatch, root):
    """Where none is named; the variable says where, as to tasks."""
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", str(root))

    assert main([]) == 0
    assert calls().keys() == {"data", "train", "export", "infer", "sv"}


def test_a_current_image_is_left(calls, root, capsys, monkeypatch):
    """One of other code is built anew, as is one by `--force`."""
    main(["sv", "data", "--root", str(root)])
    calls()
    labels = json.loads((root / "sv.sif").read_text())
    (root / "sv.sif").write_text(json.dumps({**labels, "aframe.digest": "other"}))
    capsys.readouterr()
    assert main(["sv", "data", "--root", str(root)]) == 0
    said = capsys.readouterr().out

    assert calls().keys() == {"sv"}
    assert f"data: {root}/data.sif is current\n" in said
    assert f"sv: the image {root}/sv.sif was built from other code than is at hand; build" in said
    assert json.loads((root / "sv.sif").read_text())["aframe.digest"] == code_digest("sv")
    assert main(["sv", "--root", str(root), "--force"]) == 0
    assert calls().keys() == {"sv"}


def test_another_base(calls, root, tmp_path, capsys):
    """One at hand, one in a registry; an image of another base than is asked for is not current."""
    (tmp_path / "base.sif").touch()
    for base, bootstrap, name in (
        (str(tmp_path / "base.sif"), "localimage", str(tmp_path / "base.sif")),
        ("python:3.12-slim", "docker", "python:3.12-slim"),
        ("oras://ghcr.io/me/python:1", "oras", "ghcr.io/me/python:1"),
    ):
        assert main(["sv", "--root", str(root), "--base", base]) == 0
        options = calls()["sv"][0]
        assert options == [
            "--force", "--build-arg", f"bootstrap={bootstrap}", "--build-arg", f"base={name}",
        ]  # fmt: skip

    assert "sv: its base is python:3.12-slim; building" in capsys.readouterr().out
    assert main(["sv", "--root", str(root)]) == 0
    assert calls() == {}


def test_the_build_is_told_where_its_base_is(calls, root):
    """`--bootstrap` says it, whatever the name looks like."""
    main(["sv", "--root", str(root), "--base", "python:3.12", "--bootstrap", "docker-daemon"])

    assert "bootstrap=docker-daemon" in calls()["sv"][0]


def test_a_build_sees_nothing_that_tasks_bind(calls, root, monkeypatch):
    """What a user binds into every container would stand in the way of the image's own."""
    monkeypatch.setenv("APPTAINER_BIND", "/scratch:/opt/env")
    main(["sv", "--root", str(root)])

    assert "APPTAINER_BIND" not in calls()["sv"][4]


def test_the_unpacked_image_is_removed(calls, root, tmp_path):
    """Also that of a build that was killed, which left gigabytes."""
    main(["sv", "--root", str(root)])
    environment = calls()["sv"][4]
    folder = Path(environment["APPTAINER_TMPDIR"])
    assert folder.parent == tmp_path / "tmp"
    assert not folder.exists()

    (folder / "rootfs" / "left").mkdir(parents=True)
    assert main(["sv", "--root", str(root), "--force"]) == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("write /x: No space left on device\n", "APPTAINER_TMPDIR"),
        ("reading manifest: toomanyrequests: rate limit\n", "wait an hour"),
        ("dial tcp: lookup registry-1.docker.io: no such host\n", "--base"),
        ("error: Failed to fetch: error sending request for url\n", "--base"),
        ("reading manifest 3.99: manifest unknown\n", "correct the name of the base image"),
        ("FATAL: could not use fakeroot: no mapping entry\n", "user namespaces"),
        ("  No solution found when resolving dependencies\n", "`make constraints`"),
        ("INFO:    Running testscript\nImportError: x\n", "the stage does not start"),
        ("something new\n", "mend what they say"),
    ],
)
def test_a_build_that_fails(calls, root, tmp_path, capsys, said, fix):
    """The others are built; its log's end is shown, and what mends it; no image is left."""
    (tmp_path / "calls" / "sv.fail").write_text(said)
    assert main(["sv", "data", "--root", str(root)]) == 1
    error = capsys.readouterr().err

    assert error.startswith("build-containers: error: the image of stage 'sv' was not built\n")
    assert f"the last lines of {root}/logs/sv.log:\n" in error
    assert said.strip().splitlines()[-1] in error
    assert fix in error.partition("  fix ")[2]
    assert f"then build-containers sv --root {root}\n" in error
    assert _left(root) == ["data.sif", "logs"]


def test_a_build_that_fails_leaves_the_image_that_was_there(calls, root, tmp_path):
    """An old one is better than none."""
    main(["sv", "--root", str(root)])
    before = (root / "sv.sif").read_text()
    (tmp_path / "calls" / "sv.fail").write_text("no\n")

    assert main(["sv", "--root", str(root), "--force"]) == 1
    assert (root / "sv.sif").read_text() == before


@pytest.fixture
def start(calls, root, tmp_path):
    """Start a build of the stage sv that waits; gives its process."""
    started = []

    def run():
        words = [sys.executable, "-m", "aframe.containers", "sv", "--root", str(root)]
        with (tmp_path / f"screen-{len(started)}").open("w") as screen:
            process = subprocess.Popen(words, stdout=screen, stderr=screen, cwd=CHECKOUT)
        started.append(process)
        return process

    (tmp_path / "calls" / "wait").touch()
    yield run
    (tmp_path / "calls" / "wait").unlink(missing_ok=True)
    for process in started:
        process.kill()
        process.wait()


def _until(condition):
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def _at_work(root):
    draft = root / ".sv.sif.part"
    return draft.exists() and draft.read_text() == "half"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing(start, root, tmp_path, by):
    """Neither half an image nor its process nor what it unpacked; the same command builds it."""
    process = start()
    _until(lambda: _at_work(root))
    process.send_signal(by)

    assert process.wait(LONGEST) == 130
    assert "interrupted; the same command goes on" in (tmp_path / "screen-0").read_text()
    assert _left(root) == ["logs"]
    assert list((tmp_path / "tmp").iterdir()) == []
    (tmp_path / "calls" / "wait").unlink()
    assert start().wait(LONGEST) == 0
    assert _left(root) == ["logs", "sv.sif"]


def test_after_a_kill_the_same_command_builds_it(start, root, tmp_path):
    """What the killed one had begun ends first; half an image is taken for none."""
    process = start()
    _until(lambda: _at_work(root))
    process.kill()
    process.wait()
    second = start()
    _until(lambda: "waiting for another build" in (tmp_path / "screen-1").read_text())
    assert "sv.sif" not in _left(root)
    (tmp_path / "calls" / "wait").unlink()

    assert second.wait(LONGEST) == 0
    assert _left(root) == ["logs", "sv.sif"]
    assert json.loads((root / "sv.sif").read_text())["aframe.digest"] == code_digest("sv")


def test_two_at_once_build_an_image_once(start, root, tmp_path):
    """The second finds it current."""
    first, second = start(), start()
    _until(lambda: _at_work(root))
    (tmp_path / "calls" / "wait").unlink()

    assert first.wait(LONGEST) == second.wait(LONGEST) == 0
    screens = [(tmp_path / f"screen-{n}").read_text() for n in (0, 1)]
    assert sorted("is current" in screen for screen in screens) == [False, True]


def test_an_interrupted_wait_for_another_build(start, root, tmp_path):
    """It ends at once, and lets the other go on."""
    first = start()
    _until(lambda: _at_work(root))
    second = start()
    _until(lambda: "waiting for another build" in (tmp_path / "screen-1").read_text())
    second.send_signal(signal.SIGINT)
    assert second.wait(LONGEST) == 130
    (tmp_path / "calls" / "wait").unlink()

    assert first.wait(LONGEST) == 0


def _refused(capsys, *words):
    assert main(list(words)) == 2
    return capsys.readouterr().err


def test_it_must_be_known_where_images_go(calls, capsys):
    """By an option, or by the variable of tasks."""
    said = _refused(capsys, "sv")

    assert said.startswith("build-containers: error: it is not known where the images go\n")
    assert "--root DIR" in said


def test_a_folder_that_cannot_be_written(calls, capsys, tmp_path):
    """A file is in the way of it."""
    (tmp_path / "file").touch()
    said = _refused(capsys, "sv", "--root", str(tmp_path / "file" / "images"))

    assert "the folder of images cannot be written" in said
    assert str(tmp_path / "file") in said


def test_a_base_that_is_missing(calls, capsys, root):
    """A path that leads nowhere is not asked for in a registry."""
    said = _refused(capsys, "sv", "--root", str(root), "--base", "/no/base.sif")

    assert "the base image is missing\n  found      /no/base.sif does not exist" in said
    said = _refused(capsys, "sv", "--root", str(root), "--base", "/no", "--bootstrap", "localimage")
    assert "the base image is missing" in said


def test_apptainer_that_is_missing(calls, capsys, root, monkeypatch):
    """Nothing can be built."""
    monkeypatch.setenv("PATH", "/nowhere")

    assert "Apptainer is not installed" in _refused(capsys, "sv", "--root", str(root))


def test_an_installation_has_no_recipes(calls, capsys, root, monkeypatch, tmp_path):
    """The command must be that of a checkout."""
    monkeypatch.setattr("aframe.checkout.__file__", str(tmp_path / "aframe" / "checkout.py"))

    assert "there is no checkout" in _refused(capsys, "sv", "--root", str(root))


def test_a_stage_that_is_none(calls, capsys):
    """The nearest is offered."""
    with pytest.raises(SystemExit) as ended:
        main(["traim"])

    assert ended.value.code == 2
    assert "did you mean train?" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["-1", "0", "many"])
def test_a_number_of_builds_that_is_none(calls, capsys, root, count):
    """Nothing is begun."""
    with pytest.raises(SystemExit) as ended:
        main(["sv", "--root", str(root), "--max-workers", count])

    assert ended.value.code == 2
    assert f"'{count}' is no number of builds" in capsys.readouterr().err


def test_the_command_is_installed():
    """Its name is the published one."""
    done = subprocess.run(
        [Path(sys.executable).with_name("build-containers"), "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip

    assert "--root DIR, --container-root DIR" in done.stdout
    assert all(f"{stage}" in done.stdout for stage in containers.STAGES)
