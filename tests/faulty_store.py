"""A store with faults: a proxy in front of one without, which counts what is asked of it."""

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>told to</Message></Error>"
_OF_THE_WAY = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Fault:
    """What goes wrong with some requests.

    Args:
        kind: ``busy`` (503 SlowDown), ``slow``, ``cut upload``, ``cut download``, ``held``.
        method: Of the requests it befalls.
        part: Part of their path, with its query.
        times: How many it befalls before it is over.
        seconds: How long a slow one waits (s).
        let_go: What a held one waits for.
    """

    kind: str
    method: str = "GET"
    part: str = ""
    times: float = 1
    seconds: float = 0.0
    let_go: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)


class FaultyStore:
    """A server that hands all requests on, but for its :attr:`faults`.

    Args:
        store: Address of the store without faults.
    """

    def __init__(self, store):
        self.store = urlsplit(store)
        self.faults = []
        self.requests = Counter()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {}))
        self._server.daemon_threads = True
        self._server.RequestHandlerClass.proxy = self
        self.address = "http://{}:{}".format(*self._server.server_address)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        """End, and let go what is held."""
        for fault in self.faults:
            fault.let_go.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, *given, **more):
        """Have one more fault."""
        fault = Fault(*given, **more)
        self.faults.append(fault)
        return fault

    def asked(self, method, part=""):
        """How many requests of this kind there were."""
        return sum(n for (m, path), n in self.requests.items() if m == method and part in path)

    def fault_of(self, method, path):
        """Note a request, and give what befalls it."""
        with self._lock:
            self.requests[method, path] += 1
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.part in path:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def _handle(self):
        fault = self.proxy.fault_of(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        kind = fault.kind if fault else ""
        if kind == "cut upload":
            self.rfile.read(length // 2)
            return self._reset()
        body = self.rfile.read(length)
        if kind == "busy":
            return self._answer(503, [], _ERROR.format("SlowDown").encode())
        if kind == "held":
            fault.reached.set()
            fault.let_go.wait()
            return self._reset()
        if kind == "slow":
            time.sleep(fault.seconds)
        store = http.client.HTTPConnection(self.proxy.store.netloc)
        store.request(self.command, self.path, body, dict(self.headers))
        answer = store.getresponse()
        content = answer.read()
        headers = [item for item in answer.getheaders() if item[0].lower() not in _OF_THE_WAY]
        store.close()
        if kind == "cut download":
            self._answer(answer.status, headers, content[: len(content) // 2], len(content))
            return self._reset()
        return self._answer(answer.status, headers, content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815

    def _answer(self, status, headers, content, length=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _reset(self):
        """Close as a machine does that goes away."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
