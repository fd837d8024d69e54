"""S3 with 20 ms a request: listing and planning, in proportion to pages and not to files."""

import hashlib
import http.server
import importlib
import json
import multiprocessing
import os
import platform
import tempfile
import time
import xml.sax.saxutils
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

import boto3

from aframe.artifacts import inventory
from aframe.artifacts.record import Record, named_inputs, record_path
from aframe.artifacts.remote import Remote, place
from aframe.cli import write_run_directory
from aframe.paths import OF_THE_MACHINE, RUN_VARIABLES

LATENCY = 0.02
FILES = (1_000, 10_000, 100_000)
PAGE = 1000
BUCKET = "s3://bench"


class Store(http.server.BaseHTTPRequestHandler):
    """Answers listings and reads of a table of objects, each after :data:`LATENCY`."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes | int]] = {}
    names: ClassVar[list[str]] = []
    below: ClassVar[dict[str, list[str]]] = {}
    asked = None

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Give a page of names, or an object."""
        began = time.monotonic()
        Store.asked.value += 1
        url = urlsplit(self.path)
        key, query = unquote(url.path).partition("/bench/")[2], parse_qs(url.query)
        found = None if key else self._page(query)
        if key and isinstance(self.objects.get(key), bytes):
            found = self.objects[key]
        time.sleep(max(0.0, LATENCY - (time.monotonic() - began)))
        self._answer(found)

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, content: bytes | None) -> None:
        body = b"<Error><Code>NoSuchKey</Code></Error>" if content is None else content
        self.send_response_only(404 if content is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Mon, 14 Sep 2015 09:50:45 GMT")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _page(self, query: dict[str, list[str]]) -> bytes:
        prefix = query.get("prefix", [""])[0]
        first = int(query.get("continuation-token", ["0"])[0])
        if prefix not in self.below:
            self.below[prefix] = [name for name in self.names if name.startswith(prefix)]
        names = self.below[prefix]
        shown = names[first : first + PAGE]
        more = first + PAGE < len(names)
        token = f"<NextContinuationToken>{first + PAGE}</NextContinuationToken>" if more else ""
        rows = "".join(
            f"<Contents><Key>{xml.sax.saxutils.escape(name)}</Key><Size>{self._size(name)}</Size>"
            '<ETag>"x"</ETag><LastModified>2015-09-14T09:50:45.000Z</LastModified></Contents>'
            for name in shown
        )
        return (
            "<ListBucketResult><IsTruncated>"
            f"{str(more).lower()}</IsTruncated><KeyCount>{len(shown)}</KeyCount>{token}{rows}"
            "</ListBucketResult>"
        ).encode()

    def _size(self, name: str) -> int:
        held = self.objects[name]
        return held if isinstance(held, int) else len(held)


def serve(objects: dict[str, bytes | int], asked: object, port: object) -> None:
    """Be the store."""
    Store.objects, Store.names, Store.asked = objects, sorted(objects), asked
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
    port.value = server.server_address[1]
    server.serve_forever()


class Running:
    """A store in a process of its own, for as long as it is wanted."""

    def __init__(self, objects: dict[str, bytes | int]) -> None:
        self.asked, port = multiprocessing.Value("i", 0), multiprocessing.Value("i", 0)
        self._process = multiprocessing.Process(target=serve, args=(objects, self.asked, port))
        self._process.start()
        while not port.value:
            time.sleep(0.01)
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port.value}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def listing() -> None:
    """Print requests and time of one listing."""
    print(f"{'files':>8} {'requests':>9} {'time s':>7} {'CPU s':>6} {'ms a page':>10}")
    for count in FILES:
        with Running({f"run/background/{n:06d}.hdf5": 1 for n in range(count)}) as store:
            remote = Remote(f"{BUCKET}/run/background")
            before, began, cpu = store.asked.value, time.monotonic(), time.process_time()
            found = len(remote.entries())
            spent, cpu = time.monotonic() - began, time.process_time() - cpu
            requests = store.asked.value - before
        print(f"{found:>8} {requests:>9} {spent:>7.2f} {cpu:>6.2f} {1e3 * spent / requests:>10.1f}")


def finished(tasks: list, files: int) -> dict[str, bytes | int]:
    """The objects of a finished run, with *files* of strain in each fetched folder."""
    objects: dict[str, bytes | int] = {}
    digests: dict[str, str] = {}
    for task in tasks:
        home = place(task.directory)
        names = []
        for target in task.output().values():
            name = target.path.removeprefix(f"{home}/")
            if task.verb == "fetch":
                names += [f"{name}/background-{n:06d}.hdf5" for n in range(files)]
            else:
                names.append(name if Path(name).suffix else f"{name}/config.pbtxt")
        outputs = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
        places = {name: place(path) for name, path in task.inputs().items() if path}
        inputs = {name: digest_of(digests, at) for name, at in places.items()}
        inputs |= named_inputs(task.settings())
        record = Record(
            f"aframe-{task.stage} {task.verb}",
            task.settings(),
            inputs,
            outputs,
            dict.fromkeys(outputs, 1),
            places={**places, "output": home},
        )
        for name, digest in outputs.items():
            objects[f"{home}/{name}".removeprefix(f"{BUCKET}/")] = 1
            digests[f"{home}/{name}"] = digest
        text = json.dumps({**asdict(record), "digest": record.digest})
        at = place(record_path(task.directory, task.verb))
        objects[at.removeprefix(f"{BUCKET}/")] = text.encode()
    return objects


def digest_of(digests: dict[str, str], at: str) -> str:
    """Digest of what lies at an address, as its record tells it, or of a file of this machine."""
    if at in digests:
        return digests[at]
    below = {name[len(at) + 1 :]: d for name, d in digests.items() if name.startswith(f"{at}/")}
    if below:
        return hashlib.sha256(json.dumps(dict(sorted(below.items()))).encode()).hexdigest()
    return hashlib.sha256(Path(at).read_bytes()).hexdigest()


def in_order(task: object) -> list:
    """Give *task* and all it rests on, each after what it requires."""
    law = importlib.import_module("law")
    found: dict[str, object] = {}
    for required in law.util.flatten(task.requires()):
        found |= {each.task_id: each for each in in_order(required)}
    return [*found.values(), task]


def planning(folder: Path) -> None:
    """Print what it takes to see that a run whose outputs lie on S3 is finished."""
    write_run_directory(folder, preset="demo")
    for name, below in RUN_VARIABLES.items():
        home = str(folder) if name in OF_THE_MACHINE else f"{BUCKET}/run"
        os.environ[name] = f"{home}/{below}"
    os.environ["LAW_CONFIG_FILE"] = str(folder / "sandbox.cfg")
    # law reads its file at import.
    pipeline = importlib.import_module("aframe.pipelines.sandbox").Sandbox()
    tasks = in_order(pipeline)[:-1]
    print(
        f"\n{'files':>8} {'requests':>9} {'cold s':>7} {'again s':>8} {'CPU s':>6} {'MB read':>8}"
    )
    for count in (1, *FILES):
        objects = finished(tasks, count)
        size = sum(len(each) for each in objects.values() if isinstance(each, bytes))
        with Running(objects) as store:
            Remote(BUCKET)  # the first client takes a second, of which no store knows
            inventory.forget()
            before, began, cpu = store.asked.value, time.monotonic(), time.process_time()
            whole = all(task.complete() for task in tasks)
            spent, requests = time.monotonic() - began, store.asked.value - before
            began = time.monotonic()
            whole = whole and all(task.complete() for task in tasks)
            again, cpu = time.monotonic() - began, time.process_time() - cpu
        if not whole:
            raise SystemExit("the run is taken for unfinished")
        print(
            f"{3 * count:>8} {requests:>9} {spent:>7.2f} {again:>8.2f} {cpu:>6.2f} "
            f"{size / 1e6:>8.1f}"
        )


def main() -> None:
    """Print both tables."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "bench"
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, boto3 {boto3.__version__}; "
        f"{1e3 * LATENCY:.0f} ms a request, {PAGE} names a page"
    )
    listing()
    with tempfile.TemporaryDirectory() as folder:
        planning(Path(folder).resolve())


if __name__ == "__main__":
    main()
