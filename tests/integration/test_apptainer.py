"""Steps in real images, by a real Apptainer, where there are both (`container_images.py`)."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import container_images
import pytest

from aframe.checkout import code_digest
from aframe.cli import write_run_directory
from aframe.errors import AframeError
from aframe.images import labels, outdated
from aframe.paths import RUN_VARIABLES
from aframe.stages import Stage, Step

CHECKOUT = Path(__file__).parents[2]
#: One process builds the images and uses them.
pytestmark = pytest.mark.xdist_group("end_to_end")

#: What takes longer does not end at all (s).
LONGEST = 600
SECRET = "wJalrXUtnFEMI/$K7MDENG`x`"  # noqa: S105 (of nobody)


def _apptainer(*words, **options):
    return subprocess.run(
        ["apptainer", *words], capture_output=True, text=True, check=False, **options
    )


def test_an_image_says_what_it_was_built_from(images):
    """Its labels name version, commit and base, and the digest is that of the checkout."""
    found = labels(images / "sv.sif")

    assert found["aframe.digest"] == code_digest("sv")
    assert found["aframe.stage"] == "sv"
    assert found["org.opencontainers.image.version"] == "0.1.0"
    assert found["org.opencontainers.image.base.name"] == container_images.BASE
    if (CHECKOUT / ".git").exists():
        assert len(found["org.opencontainers.image.revision"].removesuffix("+changes")) == 12


def test_current_images_are_not_built_again(images):
    """The command looks, and says so."""
    before = {path: path.stat().st_mtime_ns for path in images.glob("*.sif")}
    done = container_images.build(images)

    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == sorted(f"{p.stem}: {p} is current" for p in before)
    assert {path: path.stat().st_mtime_ns for path in images.glob("*.sif")} == before


def test_an_image_holds_the_stage_and_no_caches(images):
    """Neither what installed it, nor what that had downloaded, nor tests."""
    looked = _apptainer(
        "exec", "--no-mount", "home,cwd", images / "sv.sif", "sh", "-c",
        "ls /opt/aframe /opt/aframe/projects/sv; find /root /opt -name uv -o -name '*.whl' "
        "-o -name .cache -o -name .git; du -sm /opt | cut -f1",
    )  # fmt: skip
    *names, size = looked.stdout.split()

    assert set(names) - {"commit"} == {
        *("/opt/aframe:", "LICENSE", "README.md", "aframe", "constraints.txt", "projects"),
        *("pyproject.toml", "/opt/aframe/projects/sv:", "aframe_sv", "apptainer.def"),
    }
    # MB: half of it is scipy, astropy, matplotlib and pandas.
    assert int(size) < 800


def test_an_image_without_words_shows_its_stage(images):
    """`apptainer run sv.sif`, and a program of it by name."""
    assert "usage: aframe-sv" in _apptainer("run", images / "sv.sif").stdout
    python = _apptainer("run", images / "sv.sif", "python", "-c", "import sys; print(sys.prefix)")
    assert python.stdout == "/opt/env\n"


def test_the_recipe_is_built_in_its_folder(tmp_path):
    """From elsewhere it names the folder, before anything is fetched."""
    if shutil.which("apptainer") is None or not Path(container_images.BASE).is_file():
        pytest.skip("no apptainer on PATH, or AFRAME_TEST_BASE_IMAGE names no image")
    base = ("--build-arg", "bootstrap=localimage", "--build-arg", f"base={container_images.BASE}")
    recipe = "projects/sv/apptainer.def"
    done = _apptainer("build", *base, tmp_path / "sv.sif", recipe, cwd=CHECKOUT)

    assert done.returncode != 0
    assert "FATAL: build it in the folder of the stage: cd projects/sv" in done.stderr
    assert not (tmp_path / "sv.sif").exists()


@dataclass(frozen=True)
class Asked:
    """A query for simulated strain in its image: how it ended, what it said, where it wrote."""

    code: int
    said: str
    directory: Path

    @property
    def record(self):
        """What the step left."""
        return json.loads((self.directory / "query.record.json").read_text())


@dataclass(frozen=True)
class Query:
    """Starts the task Query in a run directory of its own."""

    folder: Path
    images: Path

    @property
    def directory(self):
        """Where the segments appear."""
        return self.folder / "my run" / "data" / "train"

    def start(self, *words, **more):
        """Begin."""
        run = self.folder / "my run"
        write_run_directory(run, preset="demo")
        own = {n: v for n, v in os.environ.items() if not n.startswith(("AFRAME_", "LAW_"))}
        environment = {
            **own,
            **{name: str(run / below) for name, below in RUN_VARIABLES.items()},
            "LAW_CONFIG_FILE": str(run / "sandbox.cfg"),
            "AFRAME_CONTAINER_ROOT": str(self.images),
            **more,
        }
        law = Path(sys.executable).with_name("law")
        span = ("--start", "1240579783", "--stop", "1240580183")
        return subprocess.Popen(
            [law, "run", "aframe.Query", *span, *words],
            env=environment, cwd=self.folder, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *words, **more):
        """Run to the end."""
        with self.start(*words, **more) as process:
            _, said = process.communicate(timeout=LONGEST)
        return Asked(process.returncode, said, self.directory)


@pytest.fixture
def query(images, tmp_path):
    """What runs a query in the image."""
    return Query(tmp_path, images)


def _watch(pattern, stop, seen):
    """Gather the command lines and environments of all processes that mention *pattern*."""
    while not stop.is_set():
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().decode(errors="replace")
                if pattern in line:
                    seen.setdefault(line, set()).add((folder / "environ").read_bytes())
            except OSError:
                continue
        time.sleep(0.005)


@pytest.fixture(scope="module")
def watched(images, tmp_path_factory):
    """A query with secrets, GPUs and Python packages of the user's; and all processes of it."""
    folder = tmp_path_factory.mktemp("watched")
    for packages in (folder / "mine", folder / ".local/lib/python3.11/site-packages"):
        (packages / "aframe_data").mkdir(parents=True)
        for name in ("aframe_data/__init__.py", "usercustomize.py"):
            (packages / name).write_text("raise SystemExit('not of the image')")
    stop, seen = threading.Event(), {}
    watcher = threading.Thread(target=_watch, args=(str(folder), stop, seen), daemon=True)
    watcher.start()
    done = Query(folder, images)(
        "--gpus", "0,1", AWS_SECRET_ACCESS_KEY=SECRET, AWS_ACCESS_KEY_ID=SECRET[::-1],
        HOME=str(folder), PYTHONPATH=f"{folder}/mine:{os.environ.get('PYTHONPATH', '')}",
    )  # fmt: skip
    stop.set()
    watcher.join()
    return done, seen


def test_a_step_runs_in_its_image(watched, images):
    """The program is the image's own, its output is the user's; its GPUs are those asked for."""
    done, _ = watched

    assert done.code == 0, done.said
    assert " --nv --env CUDA_VISIBLE_DEVICES=0,1 " in done.said
    assert f"{images}/data.sif aframe-data query --config " in done.said
    assert "WARNING" not in done.said
    assert (done.directory / "segments.txt").exists()
    assert done.record["places"]["output"] == str(done.directory)
    words = ("python", "-c", "import platform; print(platform.python_version())")
    python = _apptainer("run", images / "data.sif", *words).stdout.strip()
    assert done.record["versions"]["python"] == python
    commit = labels(images / "data.sif").get("org.opencontainers.image.revision", "")
    assert done.record["git"] == commit


def test_nothing_of_the_users_python_enters(watched):
    """Packages on PYTHONPATH or in the user's site would stand before the image's."""
    done, _ = watched

    assert done.code == 0
    assert "not of the image" not in done.said


def test_secrets_are_on_no_command_line_and_in_no_file(watched):
    """All processes were looked at while the step ran: its stage has the secrets all the same."""
    done, seen = watched
    inside = [line for line in seen if "/bin/aframe-data\0query" in line]
    files = [path for path in done.directory.parents[2].rglob("*") if path.is_file()]
    secrets = (SECRET, SECRET[::-1])

    assert any(f"AWS_SECRET_ACCESS_KEY={SECRET}".encode() in e for i in inside for e in seen[i])
    assert [line for line in seen for secret in secrets if secret in line] == []
    assert [p for p in files for secret in secrets if secret.encode() in p.read_bytes()] == []
    assert not [secret for secret in secrets if secret in done.said]


def test_what_the_log_shows_runs_again_by_hand(watched):
    """Pasted into a shell, without any variable that the step had."""
    done, _ = watched
    line = (done.directory / "logs" / "query.log").read_text().splitlines()[0]
    for name in ("segments.txt", "query.record.json"):
        (done.directory / name).unlink()
    again = subprocess.run(
        ["sh", "-c", line.removeprefix("$ ")],
        env={"PATH": os.environ["PATH"]}, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert again.returncode == 0, again.stderr
    assert (done.directory / "query.record.json").exists()


@pytest.fixture
def changed(tmp_path):
    """A checkout in which one line of the data stage says something else, and its commit."""
    copy = tmp_path / "checkout"
    for name in ("aframe", "projects"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt"):
        shutil.copy(CHECKOUT / name, copy)
    module = copy / "projects/data/aframe_data/__init__.py"
    module.write_text(f"{module.read_text()}\nprint('the line that was changed')\n")

    def git(*words):
        who = ("-c", "user.name=n", "-c", "user.email=n@example.org")
        words = ["git", *who, "-C", str(copy), *words]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    return copy, git("rev-parse", "--short=12", "HEAD")


def test_dev_shows_a_changed_line_without_a_build(query, changed):
    """The code at hand runs in the image, and is recorded; that else it does not is said."""
    checkout, commit = changed
    without = query(PYTHONPATH=str(checkout))
    assert without.code == 0, without.said
    shutil.rmtree(query.directory)
    dev = query("--dev", PYTHONPATH=str(checkout))

    assert dev.code == 0, dev.said
    assert "the line that was changed" not in without.said
    assert without.said.count("WARNING: the image") == 1
    assert "was built from other code than is at hand" in without.said
    assert "`build-containers data --root " in without.said
    assert "Query | the line that was changed\n" in dev.said
    assert "WARNING" not in dev.said
    assert dev.record["git"] == commit


def test_a_stage_in_an_image_refuses_before_anything_runs(query):
    """What the image's own libraries do not know, planning tells."""
    source = '{"kind": "simulated", "psds": {"H1": "unheard of", "L1": "unheard of"}}'
    done = query("--source", source)

    assert done.code == 2
    assert "for Query" in done.said
    assert not done.directory.exists()


def test_a_step_killed_in_its_image_is_told_and_begun_again(query):
    """Its failure has the command in the image."""
    process = query.start()
    _kill_inside(query.directory, process)
    _, said = process.communicate(timeout=LONGEST)
    failure = json.loads((query.directory / "logs" / "query.failure.json").read_text())
    again = query()

    assert process.returncode == 1, said
    assert failure["command"].startswith("apptainer run --cleanenv ")
    assert failure["cause"] == "memory"
    assert "Traceback" not in said
    assert again.code == 0, again.said


def _kill_inside(directory, process):
    """Kill the stage's program in its image, as the kernel does for want of memory."""
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
            if words[2:3] == ["query"] and str(directory) in " ".join(words):
                os.kill(int(folder.name), signal.SIGKILL)
                return
        time.sleep(0.005)
    pytest.fail("the step was not seen at work")


def test_an_image_of_other_code_is_no_error(images):
    """An image that says nothing of its code is told of as well."""
    assert outdated("data", images / "data.sif") is None
    assert outdated("data", Path(container_images.BASE)) == (
        f"the image {container_images.BASE} does not say which code it holds"
    )


def test_an_image_that_is_cut_or_none_at_all(images, tmp_path):
    """Before anything runs it is told which, with the build that mends it."""
    none, cut = tmp_path / "none.sif", tmp_path / "sv.sif"
    none.write_text("junk")
    with (images / "sv.sif").open("rb") as whole:
        cut.write_bytes(whole.read(50_000_000))
    settings = {"output": str(tmp_path / "output"), "resources": {}}

    with pytest.raises(
        AframeError, match="the container image for stage 'sv' cannot be opened"
    ) as told:
        Stage("sv", none).refuse_missing()
    assert "image format not recognized" in told.value.found
    assert "if the image is cut or broken: cd projects/sv && apptainer build" in told.value.fix

    with pytest.raises(AframeError, match="stage 'sv' cannot look through its steps") as told:
        Stage("sv", cut).refuse_wrong([Step("SandboxSV", "estimate", settings)])
    build = f"build-containers sv --root {tmp_path} --force"
    assert told.value.fix == f"if the image is cut or broken: {build}"


def test_a_command_line_can_be_written_for_another_machine(images, tmp_path):
    """The words of :func:`aframe.images.words` run where the paths are, with a file of secrets."""
    from aframe.images import bind, file_of, words  # noqa: PLC0415 (read beside its use)

    secrets = tmp_path / "secrets.env"
    secrets.write_text(file_of({"AWS_SECRET_ACCESS_KEY": SECRET}))
    data = tmp_path / "a:b,c"
    data.mkdir()
    command = words(
        ["sh", "-c", 'echo "$AWS_SECRET_ACCESS_KEY|$A|$HOME|$PWD|$FOO"; ls -d /work-here'],
        images / "data.sif", home=tmp_path, binds=[bind(data, "/work-here")],
        environment={"A": 'x=1,"2"'}, environment_file=secrets,
    )  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "FOO": "leaks"}, capture_output=True, text=True, check=True
    )

    assert done.stdout == f'{SECRET}|x=1,"2"|{tmp_path}|{tmp_path}|\n/work-here\n'
    assert SECRET not in shlex.join(map(str, command))
