"""Planning of many branches: what aframe does, beside luigi and law with as many."""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

#: Branches of the graph that is finished, of the table that is laid down, of what is executed.
FINISHED, LAID_DOWN, EXECUTED = 10_000, 100_000, 1_000
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
