"""Whether there is an HTCondor pool for the tests that ask for one."""

import shutil
import subprocess


def answers() -> bool:
    """Whether a scheduler answers HTCondor's commands."""
    if shutil.which("condor_q") is None:
        return False
    done = subprocess.run(["condor_q", "-totals"], capture_output=True, check=False, timeout=60)
    return done.returncode == 0
