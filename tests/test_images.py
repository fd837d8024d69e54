"""Images: the words that run one, what may enter, and whether one is of the code at hand."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from aframe import images
from aframe.errors import AframeError
from aframe.images import environment_file, file_of, locate, named_by, private, shown, words


def test_the_words_name_all_that_enters():
    """No option is left to the machine's defaults."""
    asked = words(
        ["aframe-train", "fit"], "/images/train.sif", home="/scratch/home", gpus=True,
        binds=["/data", "/run"], environment={"TMPDIR": "/scratch", "CUDA_VISIBLE_DEVICES": "0,1"},
        environment_file="job.env",
    )  # fmt: skip

    assert shlex.join(asked) == (
        "apptainer run --cleanenv --no-eval --no-mount cwd --home /scratch/home "
        "--pwd /scratch/home --nv --env-file job.env --env CUDA_VISIBLE_DEVICES=0,1 "
        "--env TMPDIR=/scratch --bind /data --bind /run /images/train.sif aframe-train fit"
    )


def test_a_variable_with_two_equals_is_quoted():
    """Apptainer would take the second for another variable's."""
    asked = words(["true"], "x.sif", home="/h", environment={"TMPDIR": '/a=b,"c"'})

    assert asked[asked.index("--env") + 1] == '"TMPDIR=/a=b,""c"""'


def test_only_what_says_how_to_run_is_shown():
    """Secrets, paths of Python and all else of the user's stay out."""
    environment = {
        "OMP_NUM_THREADS": "2", "AWS_SECRET_ACCESS_KEY": "secret", "PYTHONPATH": "/mine", "A": "b",
    }  # fmt: skip

    assert shown(environment) == {"OMP_NUM_THREADS": "2"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_credentials_pass_and_nothing_else(home):
    """Those of S3, W&B, the collaboration's servers; proxies may hold passwords too."""
    given = {
        "AWS_SECRET_ACCESS_KEY": "s3", "WANDB_API_KEY": "w", "BEARER_TOKEN": "t",
        "https_proxy": "p", "NDSSERVER": "nds", "KRB5CCNAME": "FILE:/tmp/krb5cc",
    }  # fmt: skip
    others = {"PYTHONPATH": "/mine", "GITHUB_TOKEN": "g", "PATH": "/bin", "AWS_PROFILE": ""}

    assert private({**given, **others}) == given


def test_credentials_in_files_are_found_where_libraries_look(home):
    """The home in an image is another, so the files are named; a variable comes first."""
    (home / ".aws").mkdir()
    for name in (".aws/credentials", ".netrc"):
        (home / name).touch()
    found = {"AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws/credentials")}

    assert private({}) == {**found, "NETRC": str(home / ".netrc")}
    assert private({"NETRC": "/other"}) == {**found, "NETRC": "/other"}


def test_a_token_is_found_where_htgettoken_puts_it(home):
    """The folder holds more than the token, and stays out."""
    token = home / f"bt_u{os.getuid()}"
    token.touch()
    runtime = {"XDG_RUNTIME_DIR": str(home)}

    assert private(runtime) == {"BEARER_TOKEN_FILE": str(token)}
    assert private({**runtime, "BEARER_TOKEN": "t"}) == {"BEARER_TOKEN": "t"}


def test_what_variables_name_is_bound(tmp_path):
    """Files to be read only; what is no path, or not there, is not."""
    (tmp_path / "token").touch()
    (tmp_path / "wandb").mkdir()
    variables = {
        "BEARER_TOKEN_FILE": f"{tmp_path}/token", "KRB5CCNAME": f"FILE:{tmp_path}/token",
        "WANDB_DIR": f"{tmp_path}/wandb", "AWS_PROFILE": "mine", "X509_USER_PROXY": "/not/here",
    }  # fmt: skip
    token = f"{tmp_path}/token"

    assert named_by(variables) == [f"{token}:{token}:ro", f"{tmp_path}/wandb"]


def test_a_file_of_variables_is_read_as_a_shell_does():
    """Whatever is in a value arrives."""
    values = {"A": "a'b\"c$d`e`\\n x=1,2 #y", "B": "one\ntwo"}
    done = subprocess.run(
        ["sh", "-c", f"set -a; {file_of(values)}\nexec env -0"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    there = dict(each.split("=", 1) for each in done.stdout.split("\0") if each)

    assert {name: there[name] for name in values} == values


def test_a_file_of_variables_is_nowhere_on_disk():
    """A child that inherits it can read it, and it has no name that another could open."""
    with environment_file({"A": "b"}) as file:
        path = f"/proc/self/fd/{file}"
        there = subprocess.run(
            ["cat", path], pass_fds=(file,), capture_output=True, text=True, check=True
        )
        without = subprocess.run(["cat", path], capture_output=True, check=False)
        target = Path(path).readlink()

    assert there.stdout == "A=b\n"
    assert without.returncode != 0
    assert str(target).startswith("/memfd:")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


def test_no_variables_make_no_file():
    """Apptainer is then told of none."""
    with environment_file({}) as file:
        assert file is None


@pytest.mark.parametrize(
    ("image", "root", "path"),
    [
        (None, None, None),
        (None, "/images", "/images/train.sif"),
        ("mine.sif", "/images", "/images/mine.sif"),
        ("/other/mine.sif", "/images", "/other/mine.sif"),
        ("/other/mine.sif", None, "/other/mine.sif"),
    ],
)
def test_where_an_image_lies(image, root, path):
    """`--image` is absolute, or relative to the folder of images."""
    found = locate("train", image and Path(image), root and Path(root))

    assert found == (path and Path(path))


def test_a_folder_of_images_may_be_relative():
    """As any folder on a command line, to the present one."""
    assert locate("train", None, Path("images")) == Path.cwd() / "images" / "train.sif"


def test_a_relative_image_without_a_folder_of_images():
    """The error tells what it could have meant."""
    with pytest.raises(AframeError, match="it is not known where the image lies") as caught:
        locate("train", Path("train.sif"), None)

    assert caught.value.wanted_by == "the image of stage 'train'"
    assert f"an absolute path ({Path.cwd()}/train.sif?)" in caught.value.fix


def test_how_an_image_is_built():
    """One of a folder of images by the command for those; another by its recipe."""
    assert images.how_to_build("sv", Path("/i/sv.sif")) == "build-containers sv --root /i"
    assert images.how_to_build("sv", Path("/i/mine.sif")) == (
        "cd projects/sv && apptainer build --force /i/mine.sif apptainer.def, in the checkout"
    )


@pytest.fixture
def labeled(tmp_path, monkeypatch):
    """An image as far as `apptainer inspect` tells; gives it and a function that labels it."""
    image, told = tmp_path / "sv.sif", tmp_path / "labels.json"
    image.touch()
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\nexec cat {told}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def label(**labels):
        told.write_text(json.dumps({"data": {"attributes": {"labels": labels}}}))
        with image.open("a") as file:
            file.write("x")

    return image, label


def test_an_image_of_the_code_at_hand_is_not_outdated(labeled):
    """The digests are the same."""
    image, label = labeled
    label(**{"aframe.digest": images.code_digest("sv")})

    assert images.outdated("sv", image) is None


def test_an_image_of_other_code_says_of_which(labeled):
    """By its commit, where it has one."""
    image, label = labeled
    label(**{"aframe.digest": "0", "org.opencontainers.image.revision": "0123456789ab"})
    told = images.outdated("sv", image)
    label(**{"aframe.digest": "0"})

    assert told == (
        f"the image {image} was built from other code than is at hand "
        "(it is of commit 0123456789ab)"
    )
    assert images.outdated("sv", image) == told.partition(" (")[0]


def test_an_image_that_says_nothing(labeled):
    """Somebody's own, one of another Apptainer, or one that cannot be read."""
    image, label = labeled
    said = f"the image {image} does not say which code it holds"
    label()
    assert images.outdated("sv", image) == said

    image.with_name("labels.json").write_text("no JSON")
    image.write_text("another")
    assert images.outdated("sv", image) == said
    assert images.outdated("sv", image.with_name("missing.sif")) is not None


def test_an_image_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    """Apptainer's last words; what goes wrong otherwise is none of the image's."""
    program, image = tmp_path / "bin" / "apptainer", tmp_path / "sv.sif"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    said = "echo 'INFO:    a detail' >&2; echo 'FATAL:   no image' >&2"
    for status, refusal in ((255, "no image"), (1, None)):
        program.write_text(f"#!/bin/sh\n{said}; exit {status}\n")
        program.chmod(0o755)
        image.write_text(f"image {status}")

        assert images.refusal(image) == refusal
        assert images.labels(image) == {}
    assert images.refusal(tmp_path / "missing.sif") is None


def test_labels_are_read_once(labeled):
    """Until the image is another file."""
    image, label = labeled
    label(a="b")

    assert images.labels(image) == images.labels(image) == {"a": "b"}
    assert (image.parent / "asked").read_text() == "asked\n"
    label(a="c")
    assert images.labels(image) == {"a": "c"}


def test_nothing_is_told_without_a_checkout(labeled, monkeypatch):
    """An installation has nothing to hold an image against."""
    image, label = labeled
    label()
    monkeypatch.setattr(images, "code_digest", lambda _: None)

    assert images.outdated("sv", image) is None
