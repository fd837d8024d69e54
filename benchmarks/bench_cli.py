"""Planning: CPU time of the commands that a user types and waits for, against a bare law."""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from aframe.cli import write_run_directory
from aframe.paths import RUN_VARIABLES

REPEATS = 5
LAW = str(Path(sys.executable).with_name("law"))
SANDBOX = "aframe.pipelines.sandbox.Sandbox"


def cpu_time(words: list[str], environment: dict[str, str]) -> float:
    """Least CPU time (s) of a command, its children with it."""
    best = float("inf")
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, spent)
    return best


def main() -> None:
    """Print the time of each command and its share that is ours."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'command':<34} {'CPU s':>6} {'bare law':>9}")
        for preset in ("demo", "bbh"):
            directory = Path(folder) / preset
            write_run_directory(directory, preset=preset)
            run = {name: str(directory / place) for name, place in RUN_VARIABLES.items()}
            environment = {**os.environ, **run, "LAW_CONFIG_FILE": str(directory / "sandbox.cfg")}
            bare = cpu_time([sys.executable, "-c", "import law, luigi"], environment)
            for options in (["--help"], ["--print-status", "9"], ["--print-deps", "9"]):
                spent = cpu_time([LAW, "run", SANDBOX, *options], environment)
                print(f"{preset + ' ' + ' '.join(options):<34} {spent:6.2f} {bare / spent:9.0%}")


if __name__ == "__main__":
    main()
