"""The HTCondor pool of the tests that ask for one, and machines with a fault that they add to it.

Such a machine is a startd of its own, whose wrapper of jobs takes from them what it lacks.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: What takes longer does not end at all (s).
LONGEST = 400


def answers() -> bool:
    """Whether a scheduler answers HTCondor's commands."""
    if shutil.which("condor_q") is None:
        return False
    done = subprocess.run(["condor_q", "-totals"], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def as_user(*words):
    """A command as the user whose jobs run: the bindings submit as whoever runs them."""
    return [*(["as-user"] if shutil.which("as-user") else []), *map(str, words)]


def configured(name):
    """A value of HTCondor's configuration."""
    return subprocess.check_output(["condor_config_val", name], text=True).strip()


def daemon(name):
    """Path of a program of HTCondor's administration."""
    return Path(configured("SBIN"), name)


def until(true, what):
    """Wait until something is true; gives it."""
    end = time.monotonic() + LONGEST
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(0.3)
    return found


@contextlib.contextmanager
def apart(name):
    """A folder that is not among those of the tests, which some machines may not see."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


#: A machine that is added to the pool; it takes the jobs that are labeled with its name, or that
#: its group is charged for.
MACHINE = """
include : {pool}
LOCAL_DIR = {folder}
LOG = {folder}
EXECUTE = {folder}/execute
LOCK = {folder}
RUN = {folder}
USE_SHARED_PORT = False
SEC_USE_FAMILY_SESSION = False
NETWORK_HOSTNAME = {name}
STARTD_NAME = {name}
STARTD_ADDRESS_FILE = {folder}/address
USER_JOB_WRAPPER = {folder}/wrapper
NUM_CPUS = 4
MEMORY = 4000
AframeTest = "{name}"
STARTD_ATTRS = AframeTest
START = TARGET.JobBatchName =?= "{name}" || TARGET.AcctGroup =?= "{name}"
{more}
"""
GPUS = "MACHINE_RESOURCE_GPUs = GPU-one, GPU-two"
#: What some have, and what their administrators want.
MORE = {
    "gpus": GPUS,
    "island": GPUS,
    "watchful": "use POLICY : HOLD_IF_MEMORY_EXCEEDED\n"
    "POLLING_INTERVAL = 1\nPID_SNAPSHOT_INTERVAL = 1\n"
    "STARTER_UPDATE_INTERVAL = 2\nSTARTER_INITIAL_UPDATE_INTERVAL = 2",
}
#: How jobs begin there: in a namespace of their own, in which something is hidden or small.
WRAPPER = """#!/bin/sh
asked() {{ sed -n "s/^Request$1 = //p" "$_CONDOR_JOB_AD"; }}
export disk=$(asked Disk) memory=$(asked Memory)
exec unshare --user --map-root-user --mount sh -c '{lack}; exec "$@"' sh "$@"
"""
LACKS = {
    # It sees none of our folders, and its home is empty.
    "island": "mount -t tmpfs none {tests}; mkdir home; export HOME=$PWD/home",
    "nopython": "mount -t tmpfs none {python}",
    # It gives what was asked for, and no more.
    "strict": "mkdir small; mount -t tmpfs -o size=${{disk}}k none small; "
    "export TMPDIR=$PWD/small; ulimit -v $((memory * 1024))",
}


@contextlib.contextmanager
def machine(name, tests):
    """Add a machine to the pool for a while.

    Args:
        name: Its name, one of those above.
        tests: The folder of the tests' files.
    """
    with apart(name) as folder:
        (folder / "execute").mkdir()
        pool = os.environ.get("CONDOR_CONFIG", "/etc/condor/condor_config")
        told = {"pool": pool, "folder": folder, "name": name, "more": MORE.get(name, "")}
        (folder / "config").write_text(MACHINE.format(**told))
        lack = LACKS.get(name, ":").format(tests=tests, python=sys.prefix)
        (folder / "wrapper").write_text(WRAPPER.format(lack=lack))
        (folder / "wrapper").chmod(0o755)
        with (folder / "screen").open("w") as screen:
            startd = subprocess.Popen(
                as_user(daemon("condor_startd"), "-f"),
                env={**os.environ, "CONDOR_CONFIG": str(folder / "config")},
                stdout=screen,
                stderr=screen,
            )
        try:
            there = ["condor_status", "-constraint", f'AframeTest == "{name}"', "-af", "Name"]
            until(lambda: subprocess.check_output(there, text=True).strip(), f"{name} in the pool")
            yield name
        finally:
            startd.terminate()
            startd.wait(LONGEST)
