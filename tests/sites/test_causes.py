"""Why a job ended, and what is done about it."""

import pytest

from aframe.sites.causes import COMPLETED, HELD, IDLE, REMOVED, RUNNING, answer, ending, machine
from aframe.sites.requests import Request

HOST = "slot1_2@node5.example.org"
USER = {"problem": "no such prior", "found": "x", "wanted_by": "prior", "fix": "name one"}
EXPIRED = USER | {"found": "ExpiredToken"}
BUG = {"type": "ValueError", "message": "a bug", "traceback": "Traceback …"}


def _exited(code, **more):
    ended = {"ExitBySignal": code < 0, "ExitSignal": -code} if code < 0 else {"ExitCode": code}
    return {"JobStatus": COMPLETED, "LastRemoteHost": HOST, **ended, **more}


def _held(code, reason, subcode=0):
    return {
        "JobStatus": HELD,
        "HoldReasonCode": code,
        "HoldReasonSubCode": subcode,
        "HoldReason": reason,
        "LastRemoteHost": HOST,
        "ResidentSetSize": 3 << 20,
        "DiskUsage": 1 << 20,
    }


@pytest.mark.parametrize("status", [IDLE, RUNNING, 6, 7])
def test_a_job_that_waits_or_runs_has_not_ended(status):
    """Nor has one that is suspended, or sends its files back."""
    assert ending({"JobStatus": status}) is None


@pytest.mark.parametrize(
    ("ad", "report", "lines", "cause"),
    [
        (_exited(0), None, (), "done"),
        (_exited(2), {"cause": "user", "error": USER}, (), "user"),
        (_exited(1), {"cause": "unknown", "error": BUG}, (), "bug"),
        (_exited(1), {"cause": "memory", "error": BUG}, (), "memory"),
        (_exited(2), {"cause": "disk", "error": USER}, (), "disk"),
        (_exited(2), {"cause": "storage", "error": USER}, (), "storage"),
        (_exited(2), {"cause": "user", "error": EXPIRED}, (), "credential"),
        (_exited(127), None, ["0.sh: 16: aframe-data: not found"], "node"),
        (_exited(126), None, ["Permission denied"], "node"),
        (_exited(255), None, ["FATAL:   could not open image x.sif"], "node"),
        (_exited(255), None, ["a FATAL: of another program"], "unknown"),
        (_exited(1), None, ["Traceback …", "ModuleNotFoundError: No module named 'x'"], "node"),
        (_exited(-9), None, (), "memory"),
        (_exited(137), None, ["Killed"], "memory"),
        (_exited(-11), None, (), "unknown"),
        (_exited(1), None, ["Traceback (most recent call last):", "KeyError: 'x'"], "bug"),
        (_exited(1), None, ["OSError: [Errno 28] No space left on device"], "disk"),
        (_exited(1), None, ["torch.OutOfMemoryError: CUDA out of memory."], "memory"),
        (_exited(1), None, ["the SciToken has expired"], "credential"),
        (_exited(2), None, ["aframe-train: error: no such key"], "user"),
        ({"JobStatus": REMOVED, "RemoveReason": "via condor_rm"}, None, (), "removed"),
        ({"JobStatus": REMOVED, "RemoveReason": "memory usage too high"}, None, (), "memory"),
        (None, None, (), "removed"),
        (_held(1, "via condor_hold (by user ada)"), None, (), "held"),
        (_held(34, "Job has gone over cgroup memory limit"), None, (), "memory"),
        (_held(34, "Job has gone over disk limit: used 10 MB"), None, (), "disk"),
        (_held(26, "memory usage exceeded request_memory"), None, (), "memory"),
        (_held(21, "disk usage exceeded request_disk"), None, (), "disk"),
        (_held(3, "the PeriodicHold expression became true"), None, (), "unknown"),
        (_held(4, "Proxy file is invalid"), None, (), "credential"),
        (_held(13, "Transfer input failure: the credential has expired"), None, (), "credential"),
        (_held(13, "Transfer input files failure", 2), None, (), "storage"),
        (_held(13, "Transfer input files failure", 28), None, (), "disk"),
        (_held(12, "Transfer output files failure: No space left on device"), None, (), "disk"),
        (_held(12, "Transfer output files failure: out", 2), None, (), "node"),
        (_held(6, "Failed to execute: Exec format error", 8), None, (), "node"),
        (_held(14, "Cannot access initial working directory"), None, (), "node"),
        (_held(45, "Job has requested a container that fails its test"), None, (), "node"),
        (_held(46, "Job exceeded allowed job duration"), None, (), "time"),
        (_held(47, "Job exceeded allowed execute duration"), None, (), "time"),
        (_held(48, "the shadow's hook failed"), None, (), "unknown"),
        (_held(99, "something new"), None, (), "unknown"),
    ],
)  # fmt: skip
def test_the_cause_is_what_the_report_or_htcondor_says(ad, report, lines, cause):
    """A report is worth more than the exit status, and this more than the log."""
    end = ending(ad, report, lines)

    assert end.cause == cause
    assert end.message


def test_an_ending_tells_host_reason_and_use():
    """What a person needs to go after it."""
    end = ending(_held(34, "over memory limit"))

    assert (end.host, end.reason, end.used) == ("node5.example.org", "over memory limit", 3072)
    assert ending(_exited(2), {"cause": "user", "error": USER}).message == "no such prior (x)"
    assert ending(_exited(1), {"cause": "unknown", "error": BUG}).message == "ValueError: a bug"
    assert ending(_exited(-9)).ended == "SIGKILL"


REQUEST = Request(memory=1000, disk=1000, max_memory=5000, max_disk=1500)


@pytest.mark.parametrize("cause", ["user", "bug"])
def test_an_error_of_python_stops(cause):
    """Trying again would only repeat it."""
    end = ending(_exited(1), {"cause": "user", "error": USER})

    assert not answer(end, REQUEST, 1).again
    assert answer(end, REQUEST, 1).told == "stopping"


def test_memory_and_disk_grow_to_their_caps():
    """Twice what it had, or half as much again as it was seen to use; no more than the cap."""
    end = ending(_held(34, "over memory limit"))

    first = answer(end, REQUEST, 1)
    second = answer(end, first.request, 2)
    third = answer(end, second.request, 3)

    assert [first.request.memory, second.request.memory] == [4608, 5000]
    assert first.told == "asking for 4.5 GB in place of 1000 MB"
    assert not third.again
    assert third.told == "stopping: beyond 4.88 GB it may not grow, see max_memory"
    disk = answer(ending(_exited(1), None, ["OSError: No space left on device"]), REQUEST, 1)
    assert (disk.request.disk, disk.request.memory) == (1500, 1000)


def test_a_bad_machine_is_avoided():
    """The work goes on at once, elsewhere."""
    found = answer(ending(_exited(127)), REQUEST, 1)

    assert (found.again, found.wait, found.avoid) == (True, 0, "node5.example.org")


def test_storage_is_given_time_and_then_up():
    """Each wait is twice the last."""
    end = ending(_held(13, "failure", 2))

    waits = [answer(end, REQUEST, tries).wait for tries in range(1, 7)]

    assert waits == [30, 60, 120, 240, 480, 900]
    assert not answer(end, REQUEST, 7).again


def test_a_credential_is_waited_for():
    """For a day at least."""
    end = ending(_held(4, "expired"))

    waits = [answer(end, REQUEST, tries).wait for tries in range(1, 101)]

    assert all(answer(end, REQUEST, tries).again for tries in range(1, 101))
    assert sum(waits) > 86400
    assert not answer(end, REQUEST, 101).again


@pytest.mark.parametrize(("cause", "most"), [("removed", 3), ("unknown", 2)])
def test_what_nobody_explains_is_tried_a_few_times(cause, most):
    """And then no more."""
    end = ending(None if cause == "removed" else _exited(-11))

    assert end.cause == cause
    assert answer(end, REQUEST, most).again
    assert not answer(end, REQUEST, most + 1).again


def test_a_slot_is_of_a_machine():
    """Its name is what follows the last @."""
    assert machine("slot1_1@glidein_7@node.example.org") == "node.example.org"
    assert machine(None) is None
