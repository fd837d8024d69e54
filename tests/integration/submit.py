"""Run one step of the stand-in stage on the pool, as told; for tests to start and kill."""

import json
import os
import sys
from pathlib import Path

from aframe.artifacts.record import is_whole, read_record, record_path
from aframe.errors import AframeError
from aframe.sites import causes, jobs, queue, submission
from aframe.sites.requests import Request, Terms
from aframe.sites.step import PoolStep
from aframe.sites.workflow import run_step
from aframe.stages import Stage, Step


def main(told):
    """Run the step; gives the exit status."""
    # What a test waits less for than a user would (s).
    jobs._LONGEST, jobs._HELD_FOR = 1.0, 4.0
    causes._FIRST_WAIT["credential"] = causes._FIRST_WAIT["storage"] = submission._AWAY = 2
    output = Path(told["output"])
    verb = told.get("verb", "make")
    own = {"inputs": {"numbers": told["numbers"]}, "deeds": told["deeds"]}
    settings = {
        **told.get("settings", own),
        "output": str(output),
        "resources": {"workers": 1},
    }

    def published():
        record = read_record(record_path(output, verb))
        return record is not None and is_whole(record, output)

    image = told.get("image")
    work = PoolStep(
        Stage("data", image and Path(image)),
        Step(told["label"], verb, settings),
        Request(**told.get("request", {"memory": 300, "disk": 100})),
        Terms(**{"job_length": 120.0, **told.get("terms", {})}),
        Path(told["folder"]),
        branched=verb != "whole",
        published=published,
    )
    opened = {"bindings": queue.Bindings, "commands": queue.Commands, "": queue.open_queue}
    try:
        run_step(work, opened[told.get("queue", "")]())
    except AframeError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(json.loads(sys.argv[1])))
