"""Servers on this machine that speak the protocols of GWOSC, DQSegDB and GWDataFind.

They answer what the real clients ask, from data that a test gives them, and make trouble
when told to.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

#: Names such as H-H1_GWOSC_O3a_4KHZ_R1-1238163456-4096.hdf5 (LIGO-T050017).
NAME = re.compile(r"[A-Z]+-([A-Z]\d)_.*-(\d+)-(\d+)\.(\w+)")


class NotFoundError(Exception):
    """What was asked for is not here."""


@dataclass
class Server:
    """An HTTP server of JSON and files.

    Args:
        routes: Functions of the parts of a matched path and the query, that give JSON or a
            path to send, by the pattern of the path.
        troubles: What to do to the next requests whose address matches a pattern: a status
            to answer with, or one of ``slow``, ``stalled``, ``cut`` (lost in the middle),
            ``spoiled`` (half a file, as if that were all) and ``dropped`` (no answer).
    """

    routes: dict[str, Callable[..., Any]]
    troubles: list[tuple[str, int | str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_args: Any) -> None:
                """Stay quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # A client may leave whenever it likes.
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def times(self, pattern: str) -> int:
        """How often an address was asked for."""
        return sum(bool(re.search(pattern, one)) for one in self.asked)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request, or make trouble."""
        self.asked.append(request.path)
        trouble = next((one for one in self.troubles if re.search(one[0], request.path)), None)
        if trouble:
            self.troubles.remove(trouble)
        kind = trouble[1] if trouble else None
        if kind == "dropped":
            request.connection.close()
            request.close_connection = True
            return
        if kind in {"slow", "stalled"}:
            time.sleep(0.6 if kind == "slow" else 5)
        status, content = (kind, b"trouble") if isinstance(kind, int) else self._content(request)
        length = len(content) // 2 if kind in {"cut", "spoiled"} else len(content)
        try:
            request.send_response(status)
            if status == 503:
                request.send_header("Retry-After", "0")
            request.send_header("Content-Length", str(len(content) if kind == "cut" else length))
            request.end_headers()
            request.wfile.write(content[:length])
        except (BrokenPipeError, ConnectionResetError):
            pass  # a client that had no patience
        request.close_connection = kind == "cut" or request.close_connection

    def _content(self, request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        address = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        for pattern, route in self.routes.items():
            match = re.fullmatch(pattern, address.path)
            if match:
                try:
                    found = route(*match.groups(), **query)
                except NotFoundError as error:
                    return 404, str(error).encode()
                is_file = isinstance(found, Path)
                return 200, found.read_bytes() if is_file else json.dumps(found).encode()
        return 404, b"no such page"


@dataclass
class OpenData:
    """What a GWOSC server has.

    Args:
        runs: Start and stop of each run (GPS s).
        events: GPS time of each event, by its name with version.
        files: Strain files of each run or event; their names say what they hold.
        segments: When each flag is active, by its name with detector.
    """

    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    events: dict[str, float] = field(default_factory=dict)
    files: dict[str, list[Path]] = field(default_factory=dict)
    segments: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def server(self) -> Server:
        """A server of it, to be entered; its API is GWOSC's version 2."""
        server = Server({})
        api = "/api/v2"
        server.routes = {
            f"{api}/runs": lambda **_: self._page(map(self._run, self.runs)),
            f"{api}/runs/([^/]+)": self._run,
            f"{api}/runs/([^/]+)/strain-files": lambda run, **query: self._page(
                {"hdf5_url": f"{server.url}/files/{run}/{path.name}"}
                for path in self._files(run, **query)
            ),
            f"{api}/event-versions": lambda **query: self._page(
                self._event(name)
                for name, gps in self.events.items()
                if float(query["min-gps-time"]) <= gps <= float(query["max-gps-time"])
            ),
            f"{api}/event-versions/([^/]+)/strain-files": lambda event, **query: self._page(
                {
                    "gps_start": int(NAME.fullmatch(path.name)[2]),
                    "duration": int(NAME.fullmatch(path.name)[3]),
                    "download_url": f"{server.url}/files/{event}/{path.name}",
                }
                for path in self._files(event, **query)
            ),
            f"{api}/event-versions/([^/]+)": self._event,
            f"{api}/timelines/([^/]+)/segments": lambda flag, **query: self._active(
                server, flag, **query
            ),
            "/files/([^/]+)/([^/]+)": lambda dataset, name: next(
                path for path in self.files[dataset] if path.name == name
            ),
        }
        return server

    @staticmethod
    def _page(results: Any, following: str | None = None) -> dict[str, Any]:
        return {"num_pages": 2 if following else 1, "next": following, "results": [*results]}

    def _detectors(self, dataset: str) -> list[str]:
        return sorted({NAME.fullmatch(path.name)[1] for path in self.files.get(dataset, ())})

    def _run(self, name: str) -> dict[str, Any]:
        if name not in self.runs:
            raise NotFoundError(name)
        start, stop = self.runs[name]
        detectors = self._detectors(name)
        return {"name": name, "gps_start": start, "gps_end": stop, "detectors": detectors}

    def _event(self, name: str) -> dict[str, Any]:
        if name not in self.events:
            raise NotFoundError(name)
        gps = self.events[name]
        return {
            "name": name,
            "shortName": name,
            "gps": gps,
            "version": 1,
            "catalog": "GWTC-1-confident",
            "detectors": self._detectors(name),
            "run": next((run for run, (a, b) in self.runs.items() if a <= gps < b), None),
        }

    def _files(self, dataset: str, **query: str) -> list[Path]:
        if dataset not in {**self.runs, **self.events}:
            raise NotFoundError(dataset)
        return [path for path in self.files.get(dataset, ()) if self._is_asked(path.name, query)]

    @staticmethod
    def _is_asked(name: str, query: dict[str, str]) -> bool:
        ifo, start, duration, _ = NAME.fullmatch(name).groups()
        rate = "16" if re.search(r"_16(KHZ)?_", name) else "4"
        begin, end = float(query.get("start", "-inf")), float(query.get("stop", "inf"))
        return (
            query.get("detector", ifo) == ifo
            and query.get("sample-rate", rate) == rate
            and int(start) < end
            and begin < int(start) + int(duration)
        )

    def _active(self, server: Server, flag: str, **query: str) -> dict[str, Any]:
        """Segments of a flag, two a page."""
        if flag not in self.segments:
            raise NotFoundError(flag)
        start, stop, page = int(query["start"]), int(query["stop"]), int(query.get("page", "1"))
        inside = [
            {"start": max(start, a), "stop": min(stop, b)}
            for a, b in self.segments[flag]
            if a < stop and start < b
        ]
        more = f"{server.url}/api/v2/timelines/{flag}/segments?start={start}&stop={stop}"
        following = f"{more}&page={page + 1}" if len(inside) > 2 * page else None
        return self._page(inside[2 * page - 2 : 2 * page], following)


def segment_database(
    flags: dict[str, dict[int, list[tuple[int, int]]]],
) -> Server:
    """A server of segments, by flag and version; the protocol of LIGO-T1300625.

    Args:
        flags: When each version of each flag is active.
    """

    def versions(ifo: str, name: str, **_: str) -> dict[str, Any]:
        return {"version": sorted(_known(ifo, name))}

    def segments(ifo: str, name: str, version: str, **_query: str) -> dict[str, Any]:
        found = _known(ifo, name)
        if int(version) not in found:
            raise NotFoundError(version)
        return {
            "ifo": ifo,
            "name": name,
            "version": int(version),
            "active": found[int(version)],
            "known": [[0, 2_000_000_000]],
            "metadata": {},
            "query_information": {},
        }

    def _known(ifo: str, name: str) -> dict[int, list[tuple[int, int]]]:
        if f"{ifo}:{name}" not in flags:
            raise NotFoundError(name)
        return flags[f"{ifo}:{name}"]

    return Server({"/dq/([^/]+)/([^/]+)": versions, "/dq/([^/]+)/([^/]+)/([^/]+)": segments})


def frame_finder(frames: dict[str, list[Path]], *, scheme: str = "file") -> Server:
    """A server that knows frames, by frame type; the protocol of gwdatafind_server.

    Args:
        frames: Frame files; their names say what they hold.
        scheme: ``file`` for their paths, ``http`` to serve them too.
    """
    server = Server({})

    def inside(kind: str, start: str, stop: str) -> list[tuple[int, int, Path]]:
        if kind not in frames:
            raise NotFoundError(kind)
        found = [
            (*map(int, NAME.fullmatch(path.name).groups()[1:3]), path) for path in frames[kind]
        ]
        return [one for one in found if one[0] < int(stop) and int(start) < one[0] + one[1]]

    def times(_site: str, kind: str, start: str, stop: str) -> list[list[int]]:
        return [[begin, begin + length] for begin, length, _ in inside(kind, start, stop)]

    def urls(_site: str, kind: str, start: str, stop: str, asked: str) -> list[str]:
        head = "file://localhost" if scheme == "file" else f"{server.url}/frames"
        return (
            [f"{head}{path}" for *_, path in inside(kind, start, stop)] if asked == scheme else []
        )

    stem = "/api/v1/gwf/([^/]+)/([^/]+)"
    server.routes = {
        rf"{stem}/segments/(\d+),(\d+)\.json": times,
        rf"{stem}/(\d+),(\d+)/(\w+)\.json": urls,
        "/frames(/.*)": Path,
    }
    return server
