"""Real images of two stages, built by a real Apptainer where there is one.

They need `apptainer` on PATH, in `AFRAME_TEST_BASE_IMAGE` an image with Python 3.11 and pip to
start from, and the package index. `AFRAME_TEST_IMAGES` names a folder that keeps them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = Path(sys.executable).parent
BASE = os.environ.get("AFRAME_TEST_BASE_IMAGE", "")
#: Packed in a fifth of the time, into a little more.
FAST = "-comp zstd -Xcompression-level 1"


def missing():
    """What is not here that images need; `None` where all is."""
    if shutil.which("apptainer") is None:
        return "no apptainer on PATH"
    return None if Path(BASE).is_file() else "AFRAME_TEST_BASE_IMAGE names no image"


def build(root):
    """Build what is not current of the images in *root*; gives what the command did."""
    words = [ENVIRONMENT / "build-containers", "sv", "data", "--root", root, "--base", BASE]
    environment = {"APPTAINER_MKSQUASHFS_ARGS": FAST, **os.environ}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Folder with the images of the stages sv and data."""
    if lack := missing():
        pytest.skip(lack)
    kept = os.environ.get("AFRAME_TEST_IMAGES")
    root = Path(kept) if kept else tmp_path_factory.mktemp("images")
    done = build(root)
    assert done.returncode == 0, done.stdout + done.stderr
    yield root
    if not kept:
        shutil.rmtree(root)
