"""Downloads are there whole, or not at all."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from gwpy.timeseries import TimeSeries
from loopback import Server

from aframe.artifacts.segments import Segment
from aframe.errors import AframeError
from aframe_data import downloads, servers
from aframe_data.downloads import RemoteFile, download


@pytest.fixture
def server(enter, no_waiting):
    """A server of this machine's files."""
    return enter(Server({"/files(/.*)": Path}))


def remote(server, path, **more):
    """A file on a server."""
    return RemoteFile(f"{server.url}/files{path}?token=1", "H1", Segment(0, 1), **more)


@pytest.mark.parametrize("private", [False, True])
def test_downloads_a_file_once(tmp_path, server, real_strain, private, caplog):
    """With its name, all its bytes, and a line that says so."""
    caplog.set_level(logging.INFO)
    file = remote(server, real_strain[0], private=private)

    path = download(file, tmp_path / "new")

    assert download(file, tmp_path / "new") == path
    assert path.name == real_strain[0].name
    assert path.read_bytes() == real_strain[0].read_bytes()
    assert server.times("files") == 1
    assert f"downloaded {path.name} (1.0 MB)" in caplog.text


@pytest.mark.parametrize("trouble", ["cut", "spoiled", "stalled", "dropped", 503])
def test_a_trouble_on_the_way_leaves_no_trace(tmp_path, server, real_strain, trouble, monkeypatch):
    """The file is asked for again, and whole then."""
    monkeypatch.setattr(downloads, "TIMEOUT", 2.0 if trouble == "stalled" else 60.0)
    server.troubles = [("files", trouble)]

    path = download(remote(server, real_strain[0]), tmp_path)

    assert server.times("files") == 2
    assert path.read_bytes() == real_strain[0].read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_spoiled_on_the_server(tmp_path, server):
    """HDF5 that is cut short, and a page that is none; nothing of either stays."""
    page = tmp_path / "H-H1_PAGE-0-1.hdf5"
    page.write_text("<html>Please log in</html>")

    with pytest.raises(AframeError, match=r"PAGE-0-1.hdf5\?token=1 is cut short, or no strain"):
        download(remote(server, page), tmp_path / "new")

    assert server.times("files") == servers.ATTEMPTS
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("kept", [1.0, 0.9, 0.0])
def test_frames_need_their_end(tmp_path, server, kept):
    """As LALFrame does."""
    path = tmp_path / "H-H1_TEST-0-1.gwf"
    TimeSeries([1.0, 2.0], sample_rate=2, name="H1:X").write(path, format="gwf")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])

    if kept == 1:
        assert download(remote(server, path), tmp_path / "new").read_bytes() == content
    else:
        with pytest.raises(AframeError, match="cut short, or no strain file"):
            download(remote(server, path), tmp_path / "new")


def test_a_file_that_is_not_there(tmp_path, server, monkeypatch):
    """Said at once."""
    server.routes.clear()

    with pytest.raises(AframeError, match="a server does not have what was asked for"):
        download(remote(server, "/H-H1_X-0-1.hdf5"), tmp_path)
    assert server.times("files") == 1
