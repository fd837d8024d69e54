"""The jobs of a set, against a queue that does what the test says (integration has a pool)."""

import json
import time

import pytest

from aframe.errors import AframeError
from aframe.sites import jobs
from aframe.sites.causes import COMPLETED, HELD, IDLE, REMOVED, RUNNING
from aframe.sites.jobs import Jobs, PieceFailedError
from aframe.sites.pieces import State
from aframe.sites.queue import SchedulerUnreachableError
from aframe.sites.requests import Request, Terms
from aframe.sites.submission import Batch


class Scripted:
    """A queue in which each look is a turn of the *script*: called with its jobs, by piece."""

    def __init__(self, script):
        self.ads, self.script, self.looks = {}, script, 0
        self.submissions, self.removed, self.edits = 0, [], []
        self.lose_answer = False
        self.pool, self.largest = {"node"}, 0

    def slots(self, requirements="true", patience=None):
        """The pool's machines, of which *unfit* meets no requirements; with the largest memory."""
        if self.pool is None:
            raise SchedulerUnreachableError("no collector")
        has = {"TotalSlotMemory": self.largest} if self.largest else {}
        met = self.pool if requirements == "true" else self.pool - {"unfit"}
        return [{"Machine": name, **has} for name in met]

    def submit(self, description):
        """Take the rows of the description's table."""
        self.submissions += 1
        for line in description.read_text().split("from (\n")[1].splitlines()[:-1]:
            piece, attempt, *_ = line.split(",")
            key = int(piece), int(attempt)
            self.ads[key] = {
                "ClusterId": self.submissions, "ProcId": int(piece), "JobStatus": IDLE,
                "AframePiece": key[0], "AframeAttempt": key[1], "NumShadowStarts": 0,
                "QDate": time.time(), "EnteredCurrentStatus": time.time(),
            }  # fmt: skip
        if self.lose_answer:
            self.lose_answer = False
            raise SchedulerUnreachableError("connection lost")
        return self.submissions

    def query(self, constraint):
        """Tell of all jobs, after the script had its turn."""
        assert constraint == 'AframeRun == "run" && AframeSet == "token"'
        self.looks += 1
        self.script(self)
        return [dict(ad) for ad in self.ads.values() if ad["JobStatus"] != REMOVED]

    def history(self, constraint, count):
        """Tell of the jobs that left."""
        return [dict(ad) for ad in self.ads.values() if ad["JobStatus"] == REMOVED]

    def remove(self, constraint):
        """Note what was removed."""
        self.removed.append(constraint)

    def edit(self, constraint, attribute, value):
        """Note what was edited."""
        self.edits.append((constraint, attribute, value))

    def end(self, piece, attempt=1, status=COMPLETED, **more):
        """Have a job end."""
        ended = {"LastRemoteHost": "slot1@node", "EnteredCurrentStatus": time.time()}
        self.ads[piece, attempt] |= {"JobStatus": status, "ExitCode": 0, **ended, **more}


class Numbers:
    """Work of one row a piece, done where its number is among *done*."""

    def __init__(self):
        self.done, self.prepared, self.reports = set(), [], {}

    def prepare(self, pieces):
        """Note which."""
        self.prepared += [(piece.number, piece.attempt) for piece in pieces]

    def collect(self, piece):
        """Nothing has to come back."""

    def left(self, piece):
        """Tell what is not done."""
        return None if piece.number in self.done else piece.rows

    def report(self, piece):
        """Tell what the test says."""
        return self.reports.get(piece.number)

    def by_hand(self, piece):
        """Give words."""
        return ["aframe-data", "branches", "--rows", piece.rows]

    def account(self, report, waited):
        """Nothing is kept."""


def _nothing(queue, work):
    """Let things be."""


@pytest.fixture
def watch(tmp_path, monkeypatch, capsys):
    """Run two pieces against a script; gives jobs, queue, work and what was said."""
    monkeypatch.setattr(jobs.time, "sleep", lambda _: None)

    def run(script, prepare=_nothing, rows=("0", "1"), terms=None):
        work = Numbers()
        queue = Scripted(lambda queue: script(queue, work))
        prepare(queue, work)
        state = State(tmp_path / "state.json", "digest")
        state.begin(0, rows, Request())
        state.token = "token"  # noqa: S105 (no secret)
        batch = Batch("Fetch", "run", 0, "token", tmp_path, tmp_path, tmp_path)
        told = Jobs(batch, terms or Terms(), state, queue, work, tmp_path / "jobs.json")
        try:
            told.run()
        finally:
            queue.said = capsys.readouterr().err
        return told, queue, work

    return run


def _finish(queue, work, *pieces, attempt=1):
    for piece in pieces:
        if (piece, attempt) in queue.ads:
            work.done.add(piece)
            queue.end(piece, attempt)


def test_one_submission_and_a_look_at_a_time(watch, tmp_path):
    """Jobs that ended are let go of, and what was seen is left for others to read."""

    def script(queue, work):
        if queue.looks == 2:
            queue.ads[0, 1]["JobStatus"] = RUNNING
        if queue.looks == 3:
            _finish(queue, work, 0, 1)

    _, queue, _ = watch(script)

    assert (queue.submissions, queue.looks) == (1, 3)
    assert [edit[1:] for edit in queue.edits] == [("LeaveJobInQueue", "false")]
    assert "Fetch | of 2 jobs: 1 idle, 1 running\n" in queue.said
    told = json.loads((tmp_path / "jobs.json").read_text())
    assert told["jobs"] == {"idle": 0, "running": 0, "held": 0, "done": 2, "failed": 0}
    assert list(told["logs"].values()) == ["0", "1"]


def test_a_lost_answer_submits_nothing_twice(watch):
    """The jobs came through although the scheduler did not say so."""

    def script(queue, work):
        if queue.looks == 3:
            _finish(queue, work, 0, 1)

    def lose(queue, _work):
        queue.lose_answer = True

    _, queue, _ = watch(script, lose)

    assert queue.submissions == 1
    assert queue.said.count("HTCondor does not answer (connection lost)") == 1


def test_a_second_job_of_one_attempt_is_removed(watch):
    """A submission that a killed run began came through after the next run had asked."""

    def script(queue, work):
        if queue.looks == 2:
            for piece in (0, 1):
                twin = {**queue.ads[piece, 1], "ClusterId": 7, "JobStatus": RUNNING}
                queue.ads[f"twin {piece}", 1] = twin
            queue.end(1)
            work.done.add(1)
        if queue.looks == 3:
            del queue.ads["twin 1", 1]
            queue.ads["twin 0", 1] |= {"JobStatus": COMPLETED, "ExitCode": 0}
            work.done.add(0)

    _, queue, _ = watch(script)

    # What is done stays, or else what runs.
    first = ["(ClusterId == 7 && ProcId == 1) || (ClusterId == 1 && ProcId == 0)"]
    assert queue.removed == [*first, "(ClusterId == 1 && ProcId == 0)"]
    assert "removing 2 jobs that do the same as others" in queue.said


def test_a_job_that_goes_does_not_displace_another(watch):
    """It may linger in the queue for a while, and is not removed again."""
    told, queue, _ = watch(lambda queue, work: _finish(queue, work, 0, 1))
    ads = [
        {"AframePiece": 0, "AframeAttempt": 1, "ClusterId": n, "ProcId": 0, "JobStatus": status}
        for n, status in enumerate((REMOVED, HELD, IDLE))
    ]

    found = told._one_each(ads)

    assert [ad["ClusterId"] for ad in found.values()] == [2]
    assert queue.removed == ["(ClusterId == 1 && ProcId == 0)"]


@pytest.mark.parametrize(
    ("largest", "asks", "told"),
    [
        (6000, 6000, "asking for 5.86 GB, which is all that a machine it may go to has"),
        (4096, 8192, "which no machine it may go to has now (at most 4 GB); see max_memory"),
        (65536, 8192, "asking for 8 GB in place of 4 GB"),
        (0, 8192, "asking for 8 GB in place of 4 GB"),
    ],
)
def test_memory_grows_to_what_a_machine_has(watch, largest, asks, told):
    """More is waited for only where no machine has more than was asked for before."""

    def script(queue, work):
        queue.largest = largest
        if queue.looks == 2:
            queue.end(0, ExitBySignal=True, ExitSignal=9)
        _finish(queue, work, 1)
        _finish(queue, work, 0, attempt=2)

    jobs_, queue, _ = watch(script)

    assert [attempt["cause"] for attempt in jobs_.state.attempts] == ["memory"]
    assert jobs_.state.attempts[0]["answer"].endswith(told)
    assert jobs_.state.pieces[0].request.memory == asks
    assert queue.submissions == 2


def test_a_machine_that_has_less_than_was_used_is_not_asked_for(watch):
    """The next job would end as this one did; the pool is asked once a look."""
    asked = []

    def script(queue, work):
        queue.largest, queue.slots = (
            6000,
            lambda *_, **__: asked.append(1) or [{"TotalSlotMemory": 6000}],
        )
        if queue.looks == 2:
            for piece in (0, 1):
                end = {"HoldReasonCode": 34, "HoldReason": "memory exceeded"}
                queue.end(piece, status=HELD, ResidentSetSize=7000 * 1024, **end)
        _finish(queue, work, 0, 1, attempt=2)

    told, _, _ = watch(script)

    assert {piece.request.memory for piece in told.state.pieces} == {10500}
    assert "which no machine it may go to has now" in told.state.attempts[0]["answer"]
    assert len(asked) == 1


def test_a_silent_scheduler_is_told_of_once(watch):
    """However often it is asked."""

    def script(queue, work):
        if 2 <= queue.looks < 20:
            raise SchedulerUnreachableError("nobody there")
        if queue.looks == 20:
            _finish(queue, work, 0, 1)

    _, queue, _ = watch(script)

    assert queue.said.count("nobody there") == 1


def test_files_tell_where_history_is_refused(watch, monkeypatch):
    """A job that has left the queue is tried again, unless what it was to make is there."""
    monkeypatch.setattr(jobs, "_UNTOLD_FOR", 0.2)

    def refuse(queue, _work):
        def history(constraint, count):
            raise SchedulerUnreachableError("not authorized")

        queue.history = history

    def script(queue, work):
        if queue.looks == 2:
            queue.end(0, status=REMOVED)
            queue.end(1, status=REMOVED)
            work.done.add(0)
        _finish(queue, work, 1, attempt=2)

    told, queue, _ = watch(script, refuse)

    assert queue.said.count("does not tell of jobs that left its queue (not authorized)") == 1
    assert [each["cause"] for each in told.state.attempts] == ["removed"]
    assert queue.looks > 4


def test_what_is_refused_ends_the_run(watch):
    """It would be refused again."""

    def refuse(queue, _work):
        def submit(_):
            raise AframeError("HTCondor refuses the jobs", found="x", wanted_by="y", fix="z")

        queue.submit = submit

    with pytest.raises(AframeError, match="HTCondor refuses the jobs"):
        watch(_nothing, refuse)


def test_a_job_that_is_released_in_time_is_the_only_one(watch):
    """Somebody held it, and let it go."""

    def script(queue, work):
        if queue.looks == 2:
            queue.end(0, status=HELD, HoldReasonCode=1, HoldReason="via condor_hold")
        if queue.looks == 4:
            _finish(queue, work, 0, 1)

    told, queue, work = watch(script)

    assert "waits for condor_release" in queue.said
    assert work.prepared == [(0, 1), (1, 1)]
    assert told.state.attempts == []


def test_one_that_is_not_gets_a_successor(watch, monkeypatch):
    """And is removed."""
    monkeypatch.setattr(jobs, "_HELD_FOR", 0.0)

    def script(queue, work):
        if queue.looks == 2:
            queue.end(0, status=HELD, HoldReasonCode=1, HoldReason="via condor_hold")
        if queue.looks == 4:
            _finish(queue, work, 1)
            _finish(queue, work, 0, attempt=2)

    told, queue, _ = watch(script)

    assert queue.removed == ["(ClusterId == 1 && ProcId == 0)"]
    assert [each["cause"] for each in told.state.attempts] == ["held"]
    assert queue.submissions == 2


def test_files_may_be_seen_late_on_a_shared_disk(watch):
    """A job that says it is done is believed for a while."""

    def script(queue, work):
        if queue.looks == 2:
            queue.end(0)
            _finish(queue, work, 1)
        if queue.looks == 6:
            work.done.add(0)

    told, queue, _ = watch(script)

    assert queue.looks == 6
    assert told.state.attempts == []


def test_but_not_for_ever(watch, monkeypatch):
    """Then its work is done again."""
    monkeypatch.setattr(jobs, "_GRACE", 0.0)
    monkeypatch.setitem(jobs.answer.__globals__["_FIRST_WAIT"], "storage", 0.0)

    def script(queue, work):
        if queue.looks == 2:
            queue.end(0)
            _finish(queue, work, 1)
        if queue.looks == 4:
            _finish(queue, work, 0, attempt=2)

    told, _, _ = watch(script)

    assert told.state.attempts[0]["message"] == (
        "the job ended well, but what it should have made is not here"
    )


def test_an_eviction_is_htcondors_own_affair(watch):
    """It is noted, once, and nothing submitted."""

    def script(queue, work):
        if queue.looks in (2, 3):
            queue.ads[0, 1] |= {"JobStatus": RUNNING, "NumShadowStarts": 1}
        if queue.looks in (4, 5):
            left = {"LastRemoteHost": "slot1@node", "VacateReason": "the starter died"}
            queue.ads[0, 1] |= {"NumShadowStarts": 2, **left}
        if queue.looks == 6:
            # The scheduler was away.
            queue.ads[0, 1] |= {"NumShadowStarts": 3, "NumJobReconnects": 1}
        if queue.looks == 7:
            _finish(queue, work, 0, 1)

    told, queue, _ = watch(script)

    assert [each["cause"] for each in told.state.attempts] == ["evicted"]
    assert "rows 0, attempt 1 on node: evicted" in queue.said
    assert queue.submissions == 1


def test_waiting_jobs_are_kept_from_a_bad_machine(watch):
    """One piece finds it out for all."""

    def script(queue, work):
        if queue.looks == 2:
            queue.end(0, ExitCode=127)
        if queue.looks == 4:
            _finish(queue, work, 1)
            _finish(queue, work, 0, attempt=2)

    told, queue, _ = watch(script)

    constraint, attribute, value = queue.edits[0]
    assert "JobStatus == 1" in constraint
    assert (attribute, value) == ("AframeAvoid", '"node"')
    assert [piece.avoid for piece in told.state.pieces] == [["node"], ["node"]]


def test_a_failure_removes_the_other_jobs(watch, tmp_path):
    """Those that failed alike are counted, whatever they found; the message is the report's."""

    def report(found):
        error = {"problem": "no such prior", "found": found, "wanted_by": "y", "fix": "name one"}
        return {"status": "failed", "cause": "user", "error": error}

    def script(queue, work):
        if queue.looks == 2:
            work.reports = {0: report("x"), 1: report("z")}
            queue.end(0, ExitCode=2)
            queue.end(1, ExitCode=2)

    with pytest.raises(PieceFailedError, match="no such prior") as caught:
        watch(script)

    failure = caught.value.failure
    assert (failure.count, failure.branch, failure.cause) == (2, "rows 0", "user")
    assert (failure.problem, failure.kind) == ("no such prior (x)", "no such prior")
    assert (failure.host, failure.fix) == ("node", "name one")
    assert failure.command == "aframe-data branches --rows 0"
    assert failure.log == str(tmp_path / "0-0-1.log")


def test_what_is_done_is_kept_when_another_fails(watch):
    """Both ended between two looks."""
    error = {"problem": "no such prior", "found": "x", "wanted_by": "y", "fix": "name one"}
    collected = []

    def script(queue, work):
        work.collect = lambda piece: collected.append(piece.number)
        if queue.looks == 2:
            work.reports = {0: {"status": "failed", "cause": "user", "error": error}}
            queue.end(0, ExitCode=2)
            _finish(queue, work, 1)

    with pytest.raises(PieceFailedError, match="no such prior"):
        watch(script)

    assert collected[0] == 1


def test_a_job_that_waits_long_says_where_to_ask(watch):
    """Once in a while."""

    def script(queue, work):
        for ad in queue.ads.values():
            ad["EnteredCurrentStatus"] = time.time() - 3600
        if queue.looks == 5:
            _finish(queue, work, 0, 1)

    _, queue, _ = watch(script)

    assert queue.said.count("condor_q -better-analyze 1.0") == 1


def _unstarted(pool, beside):
    """Have a job fail to start on a node, the next wait long, and the *beside* one be so."""

    def script(queue, work):
        queue.pool = pool
        if queue.looks == 2:
            queue.end(0, ExitCode=127)
            queue.ads[1, 1]["JobStatus"] = beside
        if queue.looks == 4:
            queue.ads[0, 2]["EnteredCurrentStatus"] = time.time() - 3600
            queue.ads[1, 1]["EnteredCurrentStatus"] = time.time() - 3600
        if queue.looks == 6:
            _finish(queue, work, 0, attempt=2)
            _finish(queue, work, 1)

    return script


@pytest.mark.parametrize(
    ("pool", "beside"),
    [({"node", "other"}, IDLE), (set(), IDLE), (None, IDLE), ({"node"}, RUNNING)],
    ids=["another", "none for now", "not known", "one runs"],
)
def test_work_that_a_machine_may_start_later_is_waited_for(watch, pool, beside):
    """Another machine than the one that could not, or that, where a job is at work there."""
    told, _, _ = watch(_unstarted(pool, beside))

    assert [each["cause"] for each in told.state.attempts] == ["node"]


@pytest.mark.parametrize(
    ("pool", "requirements"), [({"node"}, ""), ({"node", "unfit"}, 'TARGET.Site == "x"')]
)
def test_work_that_no_machine_of_the_pool_can_start(watch, tmp_path, pool, requirements):
    """It is not waited for without end; the log is that of what did not start."""
    log = tmp_path / "0-0-1.log"
    log.write_text("0.sh: aframe-data: not found\n")

    with pytest.raises(
        PieceFailedError, match="no machine that it may go to can start it"
    ) as caught:
        watch(_unstarted(pool, IDLE), terms=Terms(requirements=requirements))

    failure = caught.value.failure
    assert (failure.branch, failure.host, failure.log) == ("rows 0", "node", str(log))
    assert failure.last_lines == ["0.sh: aframe-data: not found"]
    assert failure.command == "aframe-data branches --rows 0"
    assert failure.problem.endswith(": not node")


def test_what_runs_too_long_is_halved(watch):
    """As often as it takes, down to a row."""

    def script(queue, work):
        if queue.looks in (2, 4):
            queue.end(0, queue.looks // 2, HELD, HoldReasonCode=47, HoldReason="too long")
        if queue.looks == 6:
            _finish(queue, work, 1, 2)
            _finish(queue, work, 0, attempt=3)

    told, queue, _ = watch(script, rows=["0-4"])

    assert [piece.rows for piece in told.state.pieces] == ["0", "2-4", "1"]
    assert [each["answer"] for each in told.state.attempts] == [
        "trying again, 1 of 2, with half of it"
    ] * 2
    assert queue.submissions == 3
