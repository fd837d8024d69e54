"""Download files whole: each is there complete, or not at all."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import h5py
import requests
from igwn_auth_utils.requests import get as get_with_credentials

from aframe.artifacts.segments import Segment
from aframe_data.servers import SpoiledDownloadError, ask

log = logging.getLogger(__name__)

#: Longest silence of a server in the middle of a file (s).
TIMEOUT = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """One detector's strain in a file on a server.

    Args:
        url: Where it is.
        ifo: Detector.
        segment: What it holds, by its name (GPS s).
        private: Whether the server may want credentials.
    """

    url: str
    ifo: str
    segment: Segment
    private: bool = False

    @property
    def name(self) -> str:
        """Name of the file."""
        return PurePosixPath(urlparse(self.url).path).name


def download(file: RemoteFile, directory: Path) -> Path:
    """Download a file into *directory*, unless it is there.

    It gets its name once it is whole, so that a killed download leaves none that looks so.

    Raises:
        AframeError: If the server does not give it in the end.
    """
    path = directory / file.name
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        # Of this process, since two pieces of a segment may want the same file at once.
        draft = directory / f".{file.name}.{os.getpid()}"
        try:
            ask(lambda: _download(file, draft), wanted_by=f"strain of {file.ifo}, {file.url}")
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
    return path


def _download(file: RemoteFile, draft: Path) -> None:
    get = get_with_credentials if file.private else requests.get
    with get(file.url, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        with draft.open("wb") as written:
            # urllib3 refuses an answer that ends before its length.
            for chunk in response.iter_content(_CHUNK):
                written.write(chunk)
        log.info("downloaded %s (%.1f MB)", file.name, draft.stat().st_size / 1e6)
    if not _is_whole(file, draft):
        raise SpoiledDownloadError(f"{file.url} is cut short, or no strain file")


def _is_whole(file: RemoteFile, path: Path) -> bool:
    """Whether a download is a strain file with its end."""
    if file.name.endswith(".gwf"):
        from aframe_data import frames  # noqa: PLC0415 - gwpy takes a second to import

        return path.stat().st_size > 0 and frames.is_whole(path)
    try:
        # HDF5 compares a file's size with the one in its header.
        with h5py.File(path, "r"):
            return True
    except OSError:
        return False
