"""The search with two of its stages in real images, where there is an Apptainer."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aframe.artifacts.record import read_record

#: One process runs these: they share one search, and the images.
pytestmark = pytest.mark.xdist_group("end_to_end")

#: Tasks of each stage that has an image; the others run in the environment at hand.
IN_IMAGES = {
    "data": (
        *("Query", "FetchTrain", "FetchTest", "FetchZeroLag"),
        *("TrainingWaveforms", "ValidationWaveforms", "TestingWaveforms"),
    ),
    "sv": ("SandboxSV", "SandboxPAstro", "SandboxReport"),
}
TASKS = {task for tasks in IN_IMAGES.values() for task in tasks}


@pytest.fixture
def half(finished, images, tmp_path):
    """The finished search elsewhere, with images for what it lacks: data, volumes and report."""
    old, run = finished.directory, replace(finished, directory=tmp_path / "run")
    run.directory.mkdir()
    for name in ("sandbox.cfg", "train.yaml", "run.sh"):
        text = (old / name).read_text()
        (run.directory / name).write_text(text.replace(str(old), str(run.directory)))
    for name in ("training", "results"):
        shutil.copytree(old / name, run.directory / name)
    for verb in ("estimate", "p_astro", "report"):
        _forget(run.directory / "results", verb)
    configuration = run.directory / "sandbox.cfg"
    text = configuration.read_text()
    for stage, tasks in IN_IMAGES.items():
        for task in tasks:
            section, line = f"[luigi_{task}]\n", f"image = {images}/{stage}.sif\n"
            text = text.replace(section, section + line) if section in text else (
                f"{text}\n{section}{line}"
            )  # fmt: skip
    configuration.write_text(text)
    return run


def _forget(results, verb):
    """Remove what a verb made."""
    for record in results.rglob(f"{verb}.record.json"):
        for name in read_record(record).outputs:
            (record.parent / name).unlink()
        record.unlink()


def _made(directory):
    """Digest of every published file but the page, which tells times."""
    return {
        str((path.parent / name).relative_to(directory)): digest
        for path in directory.rglob("*.record.json")
        for name, digest in read_record(path).outputs.items()
        if Path(name).suffix != ".html"
    }


def test_a_search_through_images_makes_the_same_files(half, finished):
    """To the bit: training and search are current with the strain and waveforms of an image."""
    status, said = half.run()
    ran = set(re.findall(r"^(\w+) \| apptainer run ", said, re.MULTILINE))

    assert status == 0, said
    assert ran == TASKS
    assert "WARNING" not in said
    for record in ("training/fit", "results/export", "results/infer"):
        path = f"{record}.record.json"
        assert (half.directory / path).read_text() == (finished.directory / path).read_text()
    assert _made(half.directory) == _made(finished.directory)
    assert (half.directory / "results" / "report.html").exists()
