"""The verb: refusals before work, the same bits whatever happens on the way."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import poisson

from aframe.artifacts.events import JULIAN_YEAR, Events
from aframe.artifacts.ledger import read_ledger
from aframe.artifacts.preprocessing import Streaming
from aframe.artifacts.record import file_digest
from aframe.artifacts.strain import write_strain
from aframe.draft import Draft
from aframe.errors import AframeError
from aframe_infer import inference
from aframe_infer.inference import infer
from aframe_infer.settings import InferInputs, InferResources, InferSettings

FILES = ("background.hdf5", "foreground.hdf5", "0lag.hdf5", "candidates.hdf5")


@pytest.fixture
def draft(tmp_path):
    """An empty draft."""
    (tmp_path / "draft").mkdir()
    return Draft(tmp_path / "draft")


def _digests(draft):
    return {name: file_digest(draft.path / name) for name in FILES}


def test_the_result_does_not_depend_on_workers_or_kills(settings, draft, tmp_path):
    """Two processes, or one that stops after some branches and starts again: the same bits."""
    infer(settings, draft)
    several = Draft(tmp_path / "several")
    infer(dataclasses.replace(settings, resources=InferResources(workers=2)), several)
    resumed = Draft(tmp_path / "resumed")
    shutil.copytree(several.work, resumed.path / ".work")
    kept = sorted(resumed.work.rglob("slide-*"))
    for path in kept[::2]:
        path.unlink()
    next(resumed.work.glob("background/whitened-*")).unlink()
    (resumed.work / "background/whitened-1126000000.draft").write_bytes(b"half")
    (resumed.work / "background/.slide-1126000000-0-1.hdf5.draft").write_bytes(b"half")

    infer(settings, resumed)

    assert _digests(draft) == _digests(several) == _digests(resumed)
    assert len(kept) == 4


def test_finished_branches_are_not_done_again(settings, draft, monkeypatch):
    """A second run only gathers, and gathers the same."""
    infer(settings, draft)
    before = _digests(draft)

    def fail(*args):
        raise AssertionError(args)

    monkeypatch.setattr(inference, "analyze", fail)
    monkeypatch.setattr(inference, "write_blocks", fail)
    infer(settings, draft)

    assert _digests(draft) == before


def test_zero_lag_may_be_that_of_the_background(changed, draft, data):
    """Without strain of its own the unshifted background is searched."""
    infer(changed(inputs={"zero_lag_background": None}), draft)

    events = Events.read(draft.path / "0lag.hdf5")
    assert events.Tb == 196
    assert not (draft.work / "zero_lag").exists()


def test_zero_lag_may_be_left_alone(changed, draft):
    """Then there is neither a file of it nor one of candidates."""
    infer(changed(zero_lag=False), draft)

    found = {path.name for path in draft.path.glob("*.hdf5")}
    assert found == {"background.hdf5", "foreground.hdf5", "examples.hdf5"}


def test_slides_of_injections_count_as_background(changed, draft):
    """One slide would do for the livetime; the injections' second one is analyzed anyway."""
    infer(changed(Tb=100), draft)

    events = Events.read(draft.path / "background.hdf5")
    assert events.Tb == (200 - 4 - 1) + (200 - 4 - 2)


def test_several_segments_share_the_slides(changed, draft, toy, data, tmp_path):
    """A segment too short for a slide sits it out."""
    folder = tmp_path / "background"
    shutil.copytree(data.background, folder)
    for start, seconds in ((1000, 30), (2000, 6)):
        write_strain(
            folder,
            toy.noise(seconds, start),
            ifos=("H1", "L1"),
            start=toy.START + start,
            sample_rate=256.0,
        )

    infer(changed(inputs={"background": folder}, Tb=600), draft)

    events = Events.read(draft.path / "background.hdf5")
    longest = sum(200 - 4 - shift for shift in (1, 2, 3))
    assert events.Tb == longest + sum(30 - 4 - shift for shift in (1, 2, 3)) + (6 - 4 - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Tb": 1e6}, r"too short for the livetime(.|\n)*1e\+06 s"),
        ({"shifts": (0, 0)}, "shifts make no time slides"),
        ({"batch_size": 8}, r"batch_size 8 \(exported with 4\)"),
        ({"sample_rate": 512}, r"sample_rate 512 \(trained with 256.0\)"),
        ({"model_version": 7}, "lacks this version"),
    ],
)
def test_refuses_what_does_not_fit(changed, draft, change, message):
    """Before any strain is whitened."""
    with pytest.raises(AframeError, match=message):
        infer(changed(**change), draft)

    assert not list(draft.path.rglob("*.npy"))


def test_a_search_without_injections_has_a_background(changed, draft, toy, tmp_path):
    """Then nothing calibrates, and nothing is added to the times."""
    path = toy.injections(tmp_path / "w.hdf5", [], np.empty((0, 2)), np.empty(0))

    infer(changed(inputs={"injections": path}), draft)

    assert draft.notes["calibration"]["injections"] == 0
    assert Events.read(draft.path / "background.hdf5").time_offset == 0


def test_injections_at_zero_lag_share_its_branch(changed, draft, toy, tmp_path):
    """The same slide gives their events and those of the plain strain."""
    path = toy.injections(tmp_path / "w.hdf5", [toy.START + 100.3], [[0, 0]], [30])

    infer(changed(inputs={"injections": path, "zero_lag_background": None}), draft)

    found = read_ledger(draft.path / "foreground.hdf5").parameters
    zero_lag = Events.read(draft.path / "0lag.hdf5")
    assert found["detection_statistic"][0] > 1.5 * zero_lag.detection_statistic.max()
    background = Events.read(draft.path / "background.hdf5")
    assert 0 not in background.shift.sum(axis=1)


def test_what_ran_the_network_is_in_the_record(settings, draft):
    """With its parity; the choice lies in the scratch folder, for whoever resumes."""
    infer(settings, draft)

    engine = draft.notes["engine"]
    assert engine["name"] == "torchscript"
    assert engine["tried"]["torchscript"]["deviation"] <= engine["tolerance"] == 1e-4
    assert (draft.work / "engine.json").exists()


@pytest.mark.parametrize(
    ("name", "gpu", "found"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, name, gpu, found):
    """Any other name is taken as it is."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)

    assert inference.device_named(name) == found


@pytest.mark.parametrize("name", ["cuda", "tpu"])
def test_refuses_a_device_that_is_not_there(changed, draft, monkeypatch, name):
    """Before any work."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    with pytest.raises(
        AframeError, match=rf"no such device\n +found +resources.device {name}, and no"
    ):
        infer(changed(resources=InferResources(device=name)), draft)


def _largest_memory(model_repository, folder, toy, seconds):
    """Search strain of so many seconds in a process of its own; its peak memory in bytes."""
    strain = np.random.default_rng(0).standard_normal((2, seconds * 256), np.float32) * 1e-21
    write_strain(folder / "strain", strain, ifos=("H1", "L1"), start=toy.START, sample_rate=256.0)
    toy.injections(
        folder / "w.hdf5",
        toy.START + np.arange(10, seconds - 10, 100.0),
        [[0, 1]] * len(range(10, seconds - 10, 100)),
        [12] * len(range(10, seconds - 10, 100)),
    )
    (folder / "draft").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _SEARCH, str(model_repository), str(folder), str(seconds)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


_SEARCH = """
import resource, sys
from pathlib import Path
from aframe.draft import Draft
from aframe_infer.inference import infer
from aframe_infer.settings import InferInputs, InferSettings

repository, folder, seconds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
inputs = InferInputs(repository, folder / "strain", folder / "w.hdf5")
settings = InferSettings(
    inputs,
    folder,
    ("H1", "L1"),
    256.0,
    Tb=seconds - 200,
    batch_size=64,
    psd_length=4,
    zero_lag=False,
)
infer(settings, Draft(folder / "draft"))
if sys.platform == "linux":
    # What getrusage tells includes the process that started this one.
    (line,) = (each for each in open("/proc/self/status") if each.startswith("VmHWM"))
    print(1024 * int(line.split()[1]))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_segment(model_repository, toy, tmp_path):
    """Of strain, signals and whitened strain only a part is there, while scores are few."""
    repository = shutil.copytree(model_repository, tmp_path / "model_repo")
    Streaming(4.0, 64, 4.0).write(repository / "aframe-stream/1/streaming.json")
    peaks = []
    for name, seconds in (("short", 6_000), ("long", 60_000)):
        (tmp_path / name).mkdir()
        peaks.append(_largest_memory(repository, tmp_path / name, toy, seconds))

    whitened = 2 * 54_000 * 256 * 4
    assert peaks[1] - peaks[0] < 0.4 * whitened


class Coincidence(torch.nn.Module):
    """Score a kernel by the largest product of the detectors, far below zero as logits are."""

    def forward(self, kernels):
        """Give one score a kernel."""
        return (kernels[:, 0] * kernels[:, 1]).abs().amax(1, keepdim=True) - 100


@pytest.fixture(scope="module")
def noise_search(model_repository, toy, tmp_path_factory):
    """Background and zero lag of white noise in six segments, and 16 times as much of slides."""
    root = tmp_path_factory.mktemp("noise")
    shutil.copytree(model_repository, root / "model_repo")
    network = root / "model_repo" / "aframe" / "1" / "model.pt"
    torch.jit.save(torch.jit.script(Coincidence()), network)
    for number in range(6):
        write_strain(
            root / "background",
            toy.noise(400, 100 + number),
            ifos=("H1", "L1"),
            start=toy.START + 1000 * number,
            sample_rate=256.0,
        )
    path = toy.injections(root / "w.hdf5", [], np.empty((0, 2)), np.empty(0))
    settings = InferSettings(
        inputs=InferInputs(root / "model_repo", root / "background", path),
        output=root,
        ifos=("H1", "L1"),
        sample_rate=256,
        Tb=38_000,
        inference_sampling_rate=4,
        batch_size=4,
        psd_length=4,
    )
    draft = Draft(root)
    infer(settings, draft)
    return [Events.read(draft.path / name) for name in ("background.hdf5", "0lag.hdf5")]


@pytest.mark.parametrize("expected", [3, 10, 30, 100])
def test_false_alarms_at_zero_lag_are_as_many_as_the_rate_says(noise_search, expected):
    """Events of pure noise below a false alarm rate are Poisson with its mean.

    So much is slid that the mean is known to a quarter of the count's own scatter.
    A right search fails at either end for one seed in a thousand; the seed is fixed.
    """
    background, zero_lag = noise_search
    assert zero_lag.Tb == 6 * (400 - 4)
    rate = expected / (zero_lag.Tb / JULIAN_YEAR)

    count = (background.false_alarm_rate(zero_lag.detection_statistic) <= rate).sum()

    low, high = poisson.cdf(count, expected), poisson.sf(count - 1, expected)
    assert min(low, high) > 5e-4


def test_noise_is_no_louder_where_segments_start(noise_search):
    """The loudest hundredth of the slides' events is spread over the segments."""
    background, _ = noise_search
    into = (background.detection_time - 1_126_000_000) % 1000
    loudest = into[-len(into) // 100 :]

    # 4 s in 380 or so, and five deviations of their number.
    mean = len(loudest) * 4 / 380
    assert (loudest < 4 + 4 - 0.25 - 1.5).sum() < mean + 5 * np.sqrt(mean)
