"""Planning of many branches: what aframe does, beside luigi and law with as many."""

import dataclasses
import hashlib
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from aframe.artifacts.record import read_record, record_path, write_record
from aframe.checkout import STAGES
from aframe.cli import write_run_directory

#: Branches of the graph that is finished, of the table that is laid down, of what is executed.
FINISHED, LAID_DOWN, EXECUTED = 10_000, 100_000, 1_000
#: Folders of files that a search makes: of strain for training, for the search, and around the
#: event, and of networks.
FOLDERS = 4
STAND_IN = Path(__file__).parents[1] / "tests" / "tasks" / "stub_stage.py"
#: law builds objects a branch, and luigi is quadratic: so many are enough to tell.
OF_LAW, OF_LUIGI = 1_000, 500

FETCHED = """
import sys, time
from pathlib import Path
from aframe.targets import RecordedTarget
folder = Path(sys.argv[1])
target = RecordedTarget(folder / "background", record=folder / "fetch.record.json",
                        asked=lambda: ({"seed": 1}, {}))
began = time.process_time()
assert target.exists()
print(time.process_time() - began)
"""
AFRAME = "import sys; from aframe.commands import main; sys.exit(main())"
OF_A_WORKFLOW = """
import sys, time
import law
class Many(law.LocalWorkflow):
    folder, number = law.Parameter(), law.Parameter()
    task_namespace = ""
    def create_branch_map(self): return list(range(int(self.number)))
    def output(self): return law.LocalFileTarget(f"{self.folder}/background-{self.branch}.hdf5")
    def run(self): pass
import luigi
task = Many(folder=sys.argv[1] + "/background", number=sys.argv[2])
began = time.process_time()
assert task.complete()
print(time.process_time() - began)
"""
LUIGI = """
import sys, time, logging
import luigi
class One(luigi.Task):
    number = luigi.IntParameter()
    done = set()
    def complete(self): return self.number in One.done
    def run(self): One.done.add(self.number)
logging.disable(logging.CRITICAL)
began = time.process_time()
assert luigi.build([One(number) for number in range(int(sys.argv[1]))], local_scheduler=True,
                   log_level="CRITICAL")
print(time.process_time() - began)
"""
BRANCHES = """
import sys, time, logging
from pathlib import Path
from aframe.branches import nothing, run_branches
from aframe.draft import Deal, Draft
folder, count, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
output = folder / "output"
path = output / ".draft-many"
path.mkdir(parents=True, exist_ok=True)
deal = Deal(folder / "tables", {"output": output}) if how == "lay" else None
draft = Draft(path, deal=deal)
def written(number): return [output / f".draft-many/.work/branch-{number}.hdf5"]
began = time.process_time()
branches = [(number,) for number in range(count)]
try:
    run_branches(nothing, branches, draft=draft, workers=1, unit="files", writes=written)
except Exception as dealt:
    assert type(dealt).__name__ == "Dealt", dealt
print(time.process_time() - began)
"""


def measure(code: str, *words: object) -> tuple[float, float]:
    """CPU time (s) that *code* tells, and the largest memory (bytes) of a process so far."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return float(done.stdout.split()[-1]), peak


def fetched(folder: Path, count: int) -> None:
    """Lay down what a fetch of many files leaves."""
    (folder / "background").mkdir(parents=True)
    names = [f"background/background-{number}.hdf5" for number in range(count)]
    for name in names:
        (folder / name).touch()
    record = {
        "command": "aframe-data fetch", "settings": {"seed": 1}, "inputs": {},
        "outputs": dict.fromkeys(names, "0" * 64), "sizes": dict.fromkeys(names, 0),
        "schema_version": 1, "digest": "",
    }  # fmt: skip
    (folder / "fetch.record.json").write_text(json.dumps(record))


def search(folder: Path, files: int) -> Callable[[], float]:
    """Have stand-ins of the stages do a whole search, of so many files in each of its folders.

    Returns:
        What runs its command once more, and gives the CPU time of that (s).
    """
    write_run_directory(folder / "run", preset="demo")
    commands = folder / "bin"
    commands.mkdir()
    for stage in STAGES:
        words = shlex.join([sys.executable, str(STAND_IN), stage])
        (commands / f"aframe-{stage}").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (commands / f"aframe-{stage}").chmod(0o755)
    script = folder / "run" / "run.sh"
    text = script.read_text()
    if "export PATH=" not in text:
        sys.exit(f"{script} sets no PATH, so that the stand-ins would not be found")
    script.write_text(text.replace("export PATH=", f"export PATH={commands}:"))
    told = {f"STUB_{name}": str(folder / name) for name in ("CALLS", "CHECKS")}
    environment = {**os.environ, **told, "STUB_FILES": str(files)}

    def run() -> float:
        return cost(["bash", str(script)], environment)

    run()
    return run


def cost(words: Sequence[str], environment: Mapping[str, str], status: int = 0) -> float:
    """CPU time (s) of a command that ends with *status*."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != status:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def grow(folder: Path, count: int) -> None:
    """Give the strain for training of a finished search so many files more, as if fetched anew."""
    path = record_path(folder, "fetch")
    names = [f"background/H1-{1_240_000_000 + 10 * number}-10.hdf5" for number in range(count)]
    for name in names:
        (folder / name).write_text("abc")
    made = read_record(path)
    if made is None:
        sys.exit(f"{path} is not there")
    digests = dict.fromkeys(names, hashlib.sha256(b"abc").hexdigest())
    write_record(path, dataclasses.replace(
        made, outputs=made.outputs | digests, sizes=made.sizes | dict.fromkeys(names, 3)
    ))  # fmt: skip
    # A record of this very moment would be parsed each time.
    time.sleep(5)


def row(what: str, count: int, seconds: float, other: str = "") -> None:
    """Print one line."""
    print(f"{what:<52} {count:>7} {seconds:9.3f} CPU s {count / seconds:12,.0f}/s  {other}")


def main() -> None:
    """Print what each takes, and the ratios to luigi's and law's way of a branch."""
    print(f"{os.cpu_count()} cores, {platform.python_version()}, law {version('law')}, "
          f"luigi {version('luigi')}")  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fetched(folder, FINISHED)
        ours, _ = measure(FETCHED, folder)
        laws, _ = measure(OF_A_WORKFLOW, folder, OF_LAW)
        ratio = (laws / OF_LAW) / (ours / FINISHED)
        row("knows that it is finished, law's workflow", OF_LAW, laws)
        row("the same, a record", FINISHED, ours, f"{ratio:,.0f} times law's, a branch")
        start = search(folder / "small", 1)()
        again = search(folder / "large", FINISHED // FOLDERS)()
        row("knows that a whole search is finished, run.sh", FINISHED, again,
            f"{start:.2f} s with {FOLDERS} files")  # fmt: skip
        plan = [sys.executable, "-c", AFRAME, "plan", "--directory", str(folder / "small" / "run")]
        start = cost(plan, os.environ)
        grow(folder / "small" / "run" / "data" / "train", LAID_DOWN)
        # What rests on it was made from other strain, so that its plan ends with status 2.
        grown = cost(plan, os.environ, status=2)
        row("plans a search whose strain was fetched anew", LAID_DOWN, grown,
            f"{start:.2f} s with {FOLDERS} files")  # fmt: skip
        cold, peak = measure(BRANCHES, folder, LAID_DOWN, "lay")
        row("lays a table of branches down, cold", LAID_DOWN, cold, f"{peak / 1e9:.2f} GB at most")
        fetched(folder / "more", LAID_DOWN)
        warm, peak = measure(FETCHED, folder / "more")
        row("the same, once they are done", LAID_DOWN, warm, f"{peak / 1e9:.2f} GB at most")
        luigis, _ = measure(LUIGI, OF_LUIGI)
        row("executes no-ops, luigi's scheduler", OF_LUIGI, luigis)
        executed, _ = measure(BRANCHES, folder, EXECUTED, "do")
        ratio = (luigis / OF_LUIGI) / (executed / EXECUTED)
        row("executes no-ops, a verb's branches", EXECUTED, executed, f"{ratio:,.0f} times luigi's")


if __name__ == "__main__":
    main()
