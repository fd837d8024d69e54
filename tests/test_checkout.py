"""What an image is built from, told in the same way in the image and beside it."""

import ast
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from aframe import checkout
from aframe.checkout import STAGES, code_digest, commit
from aframe.errors import AframeError

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path):
    """A checkout of which little is there, and a function that lays it out as an image does."""
    root = tmp_path / "checkout"
    for name in ("aframe/artifacts", "aframe/tasks", "projects/sv/aframe_sv"):
        (root / name).mkdir(parents=True)
    for name in (
        *("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "aframe/program.py"),
        *("aframe/artifacts/record.py", "aframe/tasks/base.py", "aframe/stages.py"),
        *("projects/sv/pyproject.toml", "projects/sv/aframe_sv/cli.py"),
    ):
        (root / name).write_text(f"{name}\n")
    shutil.copy(CHECKOUT / "projects/sv/apptainer.def", root / "projects/sv")
    return root


def _change(path, text="changed\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "name",
    [
        *("pyproject.toml", "constraints.txt", "aframe/program.py", "aframe/artifacts/new.py"),
        *("projects/sv/pyproject.toml", "projects/sv/aframe_sv/cli.py"),
    ],
)
def test_what_a_stage_reads_changes_the_digest(copy, name):
    """Code, dependencies and their versions."""
    before = code_digest("sv", copy)
    _change(copy / name)

    assert code_digest("sv", copy) != before


def test_the_recipe_changes_the_digest(copy):
    """An image of another recipe is another image."""
    before = code_digest("sv", copy)
    with (copy / "projects/sv/apptainer.def").open("a") as recipe:
        recipe.write("# changed\n")

    assert code_digest("sv", copy) != before


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "LICENSE", "aframe/tasks/base.py", "aframe/stages.py", "projects/README.md"),
        *("aframe/__pycache__/program.cpython-311.pyc", "aframe/.swap", "tests/test_new.py"),
        *("projects/sv/tests/test_cli.py", "projects/train/aframe_train/fit.py"),
    ],
)
def test_what_no_stage_reads_leaves_the_digest(copy, name):
    """Planning, tests, other stages, caches."""
    before = code_digest("sv", copy)
    _change(copy / name)

    assert code_digest("sv", copy) == before


def test_a_name_counts_as_well_as_content(copy):
    """A module that was renamed is another one."""
    before = code_digest("sv", copy)
    (copy / "aframe/program.py").rename(copy / "aframe/programs.py")

    assert code_digest("sv", copy) != before


def test_there_is_no_digest_without_a_checkout(tmp_path):
    """An installation has no recipes."""
    assert code_digest("sv", tmp_path) is None


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_what_is_left_out_no_stage_imports():
    """Else a change there would go unseen: the stages, and all of ours that they import."""
    todo = [*(CHECKOUT / "projects").glob("*/[at]*/**/*.py")]
    todo = [path for path in todo if "tests" not in path.parts]
    reached = set()
    while todo:
        for name in _imported(todo.pop()):
            path = CHECKOUT / Path(*name.split("."))
            found = {path.with_suffix(".py"), path / "__init__.py"} - reached
            here = [each for each in found if name.startswith("aframe.") and each.is_file()]
            reached.update(here)
            todo.extend(here)
    names = {str(path.relative_to(CHECKOUT)) for path in reached}

    assert "aframe/program.py" in names
    assert [n for n in names if any(fnmatch(n, p) for p in checkout._NOT_OF_A_STAGE)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_build_labels_its_image(stage):
    """Its words are those of the labels' file: a name and a value a line."""
    done = subprocess.run(
        [sys.executable, "-m", "aframe.checkout", stage],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = dict(line.split(" ") for line in done.stdout.splitlines())

    assert told["aframe.stage"] == stage
    assert told["aframe.digest"] == code_digest(stage)
    assert told["org.opencontainers.image.version"] == "0.1.0"
    assert told.get("org.opencontainers.image.revision", "") == commit()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """The code lies in a folder that is no checkout."""
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "aframe" / "checkout.py"))
    monkeypatch.delenv("AFRAME_COMMIT", raising=False)
    return tmp_path


def test_an_installation_is_no_checkout(elsewhere):
    """What needs the recipes says that it has none."""
    with pytest.raises(AframeError, match="there is no checkout") as caught:
        checkout.checkout("build-containers")

    assert caught.value.found == f"{elsewhere} has no projects"
    assert caught.value.wanted_by == "build-containers"


def test_the_commit_of_a_checkout(elsewhere):
    """A mark tells where it was edited."""

    def git(*words):
        subprocess.run(["git", "-C", str(elsewhere), *words], check=True, capture_output=True)

    git("init", "-q")
    (elsewhere / "file").write_text("1")
    git("add", "file")
    git("-c", "user.name=n", "-c", "user.email=n@example.org", "commit", "-qm", "one")
    clean = commit()
    (elsewhere / "file").write_text("2")

    assert len(clean) == 12
    assert commit() == f"{clean}+changes"


def test_the_commit_of_an_image_is_that_it_was_built_from(elsewhere):
    """The image has no repository; its build left the commit."""
    assert commit() == ""
    (elsewhere / "commit").write_text("0123456789ab+changes\n")

    assert commit() == "0123456789ab+changes"


def test_the_commit_of_a_checkout_bound_into_an_image_without_git(elsewhere, monkeypatch):
    """Whoever bound it has told which it is."""
    (elsewhere / ".git").mkdir()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("AFRAME_COMMIT", "ba9876543210")

    assert commit() == "ba9876543210"
