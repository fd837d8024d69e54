"""Strain in files on servers: which they are, and having them here while they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aframe.artifacts.segments import Segment, intersect
from aframe.errors import AframeError
from aframe_data.downloads import RemoteFile, download
from aframe_data.recordings import Recording, find_recordings
from aframe_data.sources import Datafind, Files, Gwosc


@dataclass(frozen=True)
class Archive:
    """One detector's files on a server.

    Args:
        ifo: Detector.
        files: Where they are.
        channels: Channel to read of each detector, if frames hold several.
        directory: Where downloads lie.
    """

    ifo: str
    files: tuple[RemoteFile, ...]
    channels: dict[str, str]
    directory: Path

    def recordings(self, span: Segment) -> tuple[Recording, ...]:
        """Have the files that hold *span* (GPS s), downloaded where they are not here.

        Raises:
            AframeError: If a server does not give one in the end, or one holds no strain of the
                detector.
        """
        paths = [
            download(file, self.directory)
            for file in self.files
            if intersect([file.segment], [span])
        ]
        source = Files("files", tuple(map(str, paths)), self.channels)
        found = tuple(find_recordings(source, [self.ifo]))
        spoiled = sorted({*paths} - {one.path for one in found})
        for path in spoiled:
            path.unlink(missing_ok=True)
        if spoiled:
            raise AframeError(
                "a download holds no strain of the detector",
                found=f"{', '.join(path.name for path in spoiled)} without "
                f"{self.channels.get(self.ifo, self.ifo)}; removed again",
                wanted_by=f"strain of {self.ifo}",
                fix="correct the source's channels or its server, then run the same command",
            )
        return found

    def drop(self, wanted: Sequence[Segment]) -> None:
        """Remove the downloads that hold nothing of what is still *wanted* (GPS s)."""
        for file in self.files:
            if not intersect([file.segment], wanted):
                (self.directory / file.name).unlink(missing_ok=True)


def find_archive(
    source: Gwosc | Datafind, ifo: str, segments: Sequence[Segment], directory: Path
) -> Archive | tuple[Recording, ...]:
    """Ask a server for the files that hold *segments* of a detector.

    Args:
        source: Which server, and what it is to be asked.
        ifo: Detector.
        segments: Sorted (GPS s).
        directory: Where downloads are to lie.

    Returns:
        What to download, or the recordings in frames that this machine sees.

    Raises:
        AframeError: If the server does not answer, or names a frame that is not to be seen.
    """
    from aframe_data import datafind, open_data  # noqa: PLC0415 - gwpy takes a second to import

    if isinstance(source, Gwosc):
        files = open_data.find_files(source, ifo, segments)
        return Archive(ifo, tuple(files), {}, directory)
    files = datafind.find_files(source, ifo, segments)
    paths = [path for file in files if (path := datafind.local_path(file))]
    if len(paths) < len(files):
        return Archive(ifo, tuple(files), source.channels, directory)
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise AframeError(
            "frames are not to be seen from this machine",
            found=f"{len(missing)} of {len(paths)} do not exist, the first {missing[0]}",
            wanted_by=f"frames {source.frametypes[ifo]} of {ifo}",
            fix='mount them, or download them: "urltype": "https" in the source',
        )
    return tuple(find_recordings(Files("files", tuple(map(str, paths)), source.channels), [ifo]))
