"""The repository is read as it was written, and refused where it does not fit."""

import shutil

import pytest
import torch

from aframe.errors import AframeError
from aframe_infer.repository import read_repository, refuse_other


@pytest.fixture
def copy(model_repository, tmp_path):
    """A repository to spoil."""
    return shutil.copytree(model_repository, tmp_path / "model_repo")


def test_reads_network_preprocessing_and_stream(repository):
    """All of one version, ready to score."""
    network = repository.load_network(torch.device("cpu"))

    assert repository.version == 1
    assert repository.preprocessing.ifos == ("H1", "L1")
    assert repository.stream.stride_size == 64
    assert repository.stream.psd_size == 4 * 256
    assert repository.whitener.edge == 64
    assert network(torch.ones(3, 2, 256)).flatten().tolist() == pytest.approx([2.0] * 3)


def test_the_latest_version_is_the_highest_number(copy):
    """Ten comes after nine, and other folders are none."""
    for name in ("9", "10", "notes"):
        shutil.copytree(copy / "aframe" / "1", copy / "aframe" / name)
        shutil.copytree(copy / "aframe-stream" / "1", copy / "aframe-stream" / name)

    assert read_repository(copy, -1).version == 10
    assert read_repository(copy, 9).version == 9


def test_refuses_a_version_that_is_not_there(copy):
    """And says which are."""
    with pytest.raises(AframeError, match=r"holds 1\n.*model_version 3"):
        read_repository(copy, 3)

    with pytest.raises(AframeError, match="holds no version"):
        read_repository(copy / "elsewhere", -1)


def test_refuses_a_repository_without_its_streaming(copy):
    """The file is named."""
    (copy / "aframe-stream/1/streaming.json").unlink()

    with pytest.raises(AframeError, match=r"streaming of the model cannot be read\n +found .*json"):
        read_repository(copy, -1)


def test_refuses_a_network_that_is_none(copy):
    """A truncated file is told by its path."""
    path = copy / "aframe/1/model.pt"
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(AframeError, match=r"repository cannot be read\n +found .*model.pt"):
        read_repository(copy, -1).load_network(torch.device("cpu"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": 512.0}, r"sample_rate 512.0 \(trained with 256.0\)"),
        ({"ifos": ("L1", "H1")}, "trained with"),
        ({"batch_size": 8}, r"batch_size 8 \(exported with 4\)"),
        ({"psd_length": 8.0}, r"psd_length 8.0 \(exported with 4.0\)"),
        ({"inference_sampling_rate": 2}, r"inference_sampling_rate 2 \(exported with 4.0\)"),
    ],
)
def test_refuses_other_settings(repository, change, message):
    """Of the training and of the export, each named."""
    asked = {
        "ifos": ("H1", "L1"),
        "sample_rate": 256,
        "inference_sampling_rate": 4,
        "batch_size": 4,
        "psd_length": 4,
    }
    refuse_other(repository, asked)

    with pytest.raises(AframeError, match=message):
        refuse_other(repository, {**asked, **change})
