"""The jobs of one set of branches: submitted, watched with one query, tried again by cause."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from aframe.artifacts.record import write_text
from aframe.failures import KEPT, Failure
from aframe.sites.causes import (
    COMPLETED,
    HELD,
    IDLE,
    REMOVED,
    RUNNING,
    Answer,
    Ending,
    answer,
    ending,
)
from aframe.sites.job_logs import below_logs, told_logs
from aframe.sites.machines import Offer, asked, largest, names
from aframe.sites.pieces import Piece, State, rows_of, rows_text
from aframe.sites.queue import Queue, SchedulerUnreachableError
from aframe.sites.requests import Request, Terms, spelled
from aframe.sites.submission import Batch, description

#: Between two looks at the queue (s): at first, and at most, a share of the time since the start.
_SHORTEST, _LONGEST, _SHARE = 1.0, 30.0, 0.1
#: How long the files of a job that says it is done may take to be seen on a shared disk (s).
_GRACE = 60.0
#: How long a job that somebody held waits to be released (s).
_HELD_FOR = 120.0
#: How long a scheduler may tell of its queue and not of its history (s).
_UNTOLD_FOR = 300.0
#: Between two lines about what is waited for (s).
_BETWEEN_LINES = 60.0
#: How long a job waits for a machine before that is worth a line, or a look at the pool (s).
_IDLE_FOR = 600.0
_AT_ONCE = 500
_WORDS = {IDLE: "idle", RUNNING: "running", HELD: "held", COMPLETED: "done"}


class PieceFailedError(Exception):
    """A piece of work cannot be done; its failure tells why.

    Args:
        failure: The record of it.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.problem)
        self.failure = failure


class Work(Protocol):
    """What jobs do, and where it lies; branches or a verb as a whole."""

    def prepare(self, pieces: Sequence[Piece]) -> None:
        """Lay down what the present attempts at *pieces* need."""

    def collect(self, piece: Piece) -> None:
        """Bring back what the present attempt at *piece* has made."""

    def left(self, piece: Piece) -> str | None:
        """Which rows of *piece* are not done, as text; ``None`` if all are."""

    def report(self, piece: Piece) -> Mapping[str, Any] | None:
        """What the present attempt at *piece* reports, if it did."""

    def by_hand(self, piece: Piece) -> list[str]:
        """The command that does *piece* here."""

    def account(self, report: Mapping[str, Any] | None, waited: float) -> None:
        """Keep what the branches of an attempt used, which waited so long (s)."""


@dataclass
class Jobs:
    """The jobs of one set of branches, from the first submission to the last result.

    Args:
        batch: Where they keep their things.
        terms: On what terms they run.
        state: What is known of them.
        queue: HTCondor's queue.
        work: What they do.
        told: Where the counts and attempts are left, for whoever looks on.
    """

    batch: Batch
    terms: Terms
    state: State
    queue: Queue
    work: Work
    told: Path
    _said: dict[str, tuple[str, float]] = field(default_factory=dict)
    _cluster: int | None = None
    _untold: float | None = None
    _asked: float = 0.0
    _began: float = field(default_factory=time.time)
    _most: Offer | None = None
    _known: bool = False

    def run(self) -> None:
        """See all pieces done.

        Raises:
            PieceFailedError: If one cannot be; the other jobs have then been removed.
        """
        began = time.monotonic()
        while True:
            try:
                self._look()
                self._submit()
            except SchedulerUnreachableError as error:
                self._say("queue", f"HTCondor does not answer ({error}): waiting; its jobs go on")
            except PieceFailedError:
                self._remove()
                raise
            if all(piece.done for piece in self.state.pieces):
                return
            lasted = time.monotonic() - began
            time.sleep(min(_LONGEST, max(_SHORTEST, _SHARE * lasted)))

    def _look(self) -> None:
        """Ask after all jobs at once, and settle those that have ended."""
        self._known = False
        found = self._one_each(self.queue.query(self.batch.constraint))
        for piece in self.state.pieces:
            piece.submitted |= (piece.number, piece.attempt) in found
        watched = [piece for piece in self.state.pieces if piece.submitted and not piece.done]
        of = {piece.number: found.get((piece.number, piece.attempt)) for piece in watched}
        of |= self._departed([piece for piece in watched if of[piece.number] is None])
        ends = [(piece, self._ending(piece, of[piece.number])) for piece in watched]
        ended = [(piece, end) for piece, end in ends if end is not None]
        # What is done is brought back before a failure ends the run.
        ended.sort(key=lambda each: each[1].cause != "done")
        for piece, end in ended:
            self._settle(piece, end, of[piece.number], [each for _, each in ended])
        if ended:
            self.state.write()
            self._dismiss(of[piece.number] for piece, _ in ended)
        self._tell(ad for ad in of.values() if ad)
        self._refuse_nowhere(of)

    def _one_each(self, ads: Iterable[dict[str, Any]]) -> dict[tuple[Any, Any], dict[str, Any]]:
        """The job of each attempt; another one, which a killed submitter left, is removed."""
        found: dict[tuple[Any, Any], dict[str, Any]] = {}
        surplus = []
        for ad in sorted(ads, key=_least_wanted):
            key = ad.get("AframePiece"), ad.get("AframeAttempt")
            if key in found and ad.get("JobStatus") != REMOVED:
                surplus.append(_id_of(ad))
            found.setdefault(key, ad)
        for some in _chunks(surplus):
            self._line(f"removing {len(some)} jobs that do the same as others")
            self.queue.remove(" || ".join(some))
        return found

    def _departed(self, pieces: Sequence[Piece]) -> dict[int, dict[str, Any] | None]:
        """What the history says of jobs that are no longer in the queue.

        Where it is refused, as an administrator may decide, their files alone tell.
        """
        if not pieces:
            return {}
        most = len(self.state.pieces) + len(self.state.attempts)
        try:
            ads = self.queue.history(self.batch.constraint, most)
            self._untold = None
        except SchedulerUnreachableError as error:
            now = time.monotonic()
            self._untold = self._untold or now
            self._say("history", f"HTCondor does not tell of jobs that left its queue ({error})")
            if now - self._untold < _UNTOLD_FOR:
                raise
            ads = []
        found = {(ad.get("AframePiece"), ad.get("AframeAttempt")): ad for ad in ads}
        return {piece.number: found.get((piece.number, piece.attempt)) for piece in pieces}

    def _ending(self, piece: Piece, ad: Mapping[str, Any] | None) -> Ending | None:
        """How the present attempt at *piece* ended, once that is sure."""
        self._see_start(piece, ad or {})
        since = time.time() - float((ad or {}).get("EnteredCurrentStatus", 0))
        if ad is not None and ending(ad) is None:
            self._see_waiting(piece, ad, since)
            return None
        end = ending(ad, self.work.report(piece), last_lines(self.batch.log(piece)))
        if end is None:
            return None
        if end.cause == "held" and since < _HELD_FOR:
            self._say(
                f"held {piece.number}",
                f"{_named(piece)}: {end.reason}; it waits for condor_release for "
                f"{_HELD_FOR:.0f} s, then a new job takes its place",
            )
            return None
        if end.cause == "done" and self.terms.shared_disk and since < _GRACE:
            return end if self.work.left(piece) is None else None
        return end

    def _see_start(self, piece: Piece, ad: Mapping[str, Any]) -> None:
        """Note that HTCondor began a job anew, after it was put out of its machine."""
        # What takes a job up again after the scheduler was away is no start.
        starts = int(ad.get("NumShadowStarts", 0)) - int(ad.get("NumJobReconnects", 0))
        if piece.starts and starts > piece.starts:
            reason = ad.get("VacateReason")
            host = str(ad.get("LastRemoteHost", "")).rpartition("@")[2] or None
            told = "HTCondor starts it again, on another machine if there is one"
            end = Ending("evicted", "the job was put out of its machine", "evicted", reason, host)
            self._note(piece, end, told)
        piece.starts = max(piece.starts, starts)

    def _see_waiting(self, piece: Piece, ad: Mapping[str, Any], since: float) -> None:
        if ad.get("JobStatus") != IDLE:
            return
        if since > _IDLE_FOR:
            job = f"{ad.get('ClusterId')}.{ad.get('ProcId')}"
            self._say(
                "idle",
                f"{_named(piece)} has waited {since / 60:.0f} min for a machine; why: "
                f"condor_q -better-analyze {job} (it asks for {asked(piece.request)})",
                between=_IDLE_FOR,
            )

    def _refuse_nowhere(self, ads: Mapping[int, Mapping[str, Any] | None]) -> None:
        """Refuse to wait where all machines that it may go to have failed to start the work.

        Not while jobs are at work: what failed on a machine once may go well there.
        """
        waiting = [piece for piece in self.state.pieces if not piece.done]
        told = [ads.get(piece.number) or {} for piece in waiting]
        since = max((float(ad.get("EnteredCurrentStatus", 0)) for ad in told), default=0.0)
        idle = all(ad.get("JobStatus") == IDLE for ad in told)
        avoided = [{*piece.avoid} for piece in waiting]
        now = time.time()
        if not idle or not avoided or not all(avoided) or now - max(since, self._asked) < _IDLE_FOR:
            return
        self._asked = now
        machines = names(self.queue, self.terms.requirements)
        if machines and machines <= set.intersection(*avoided):
            raise PieceFailedError(self._nowhere(machines))

    def _nowhere(self, machines: Iterable[str]) -> Failure:
        """The failure of work that none of *machines* can start, by its last attempt."""
        last = [each for each in self.state.attempts if each["cause"] == "node"][-1]
        log = Path(last["log"])
        return Failure(
            step=self.batch.label,
            problem=f"no machine that it may go to can start it: not {', '.join(sorted(machines))}",
            command=shlex.join(self.work.by_hand(Piece(0, last["rows"], Request()))),
            ended="idle",
            log=str(log),
            last_lines=last_lines(log),
            branch=f"rows {last['rows']}" if last["rows"] else None,
            host=last["host"] or "unknown",
            cause="node",
            reason=last["reason"],
            fix=_FIXES["node"],
        )

    def _settle(
        self, piece: Piece, end: Ending, ad: Mapping[str, Any] | None, ends: Sequence[Ending]
    ) -> None:
        """Take what a job has made, and make ready for another attempt at what is left."""
        began, queued = (float((ad or {}).get(name, 0)) for name in ("JobStartDate", "QDate"))
        self.work.account(self.work.report(piece), max(0.0, began - queued))
        if ad is not None and ad.get("JobStatus") == COMPLETED:
            self.work.collect(piece)
        rows = self.work.left(piece)
        if rows is None:
            piece.done = True
            return
        if end.cause == "done":
            message = "the job ended well, but what it should have made is not here"
            fix = f"look into its log, and {_FIXES['storage']}"
            end = Ending("storage", message, end.ended, host=end.host, error={"fix": fix})
        piece.ends[end.cause] = piece.ends.get(end.cause, 0) + 1
        what = answer(end, piece.request, piece.ends[end.cause])
        if what.again and end.cause in ("memory", "disk"):
            what = self._on_a_machine(what, piece.request, end)
        self._note(piece, end, what.told)
        if not what.again:
            raise PieceFailedError(self._failure(piece, end, what, ends))
        if what.avoid:
            self._shun(what.avoid)
        piece.rows = self._halved(piece, rows) if end.cause == "time" else rows
        piece.again(what.request, time.time() + what.wait, what.avoid)

    def _on_a_machine(self, what: Answer, had: Request, end: Ending) -> Answer:
        """Ask for no more than a machine has; say so where none has what the job needs."""
        if not self._known:
            self._most, self._known = largest(self.queue, self.terms.requirements), True
        most, cause = self._most, end.cause
        wanted, there = getattr(what.request, cause), int(getattr(most, cause)) if most else 0
        if not there or wanted <= there:
            return what
        if there > max(getattr(had, cause), end.used):
            told = f"asking for {spelled(there)}, which is all that a machine it may go to has"
            return replace(what, request=replace(what.request, **{cause: there}), told=told)
        now = f"which no machine it may go to has now (at most {spelled(there)}); see max_{cause}"
        return replace(what, told=f"{what.told}, {now}")

    def _halved(self, piece: Piece, rows: str) -> str:
        """Give half of what was too long for one job to another piece; gives the other half."""
        each = rows_of(rows)
        if len(each) == 1 or not each:
            return rows
        half = len(each) // 2
        rest = Piece(len(self.state.pieces), rows_text(each[half:]), piece.request)
        rest.avoid += piece.avoid
        self.state.pieces.append(rest)
        # Shorter, it is another job.
        piece.ends.pop("time")
        return rows_text(each[:half])

    def _shun(self, machine: str) -> None:
        """Keep the work that waits from a machine that cannot do it."""
        for piece in self.state.pieces:
            piece.avoid += [machine] if machine not in piece.avoid else []
        known = sorted({each for piece in self.state.pieces for each in piece.avoid})
        waiting = f"{self.batch.constraint} && JobStatus == {IDLE}"
        self.queue.edit(waiting, "AframeAvoid", json.dumps(";".join(known)))

    def _note(self, piece: Piece, end: Ending, told: str) -> None:
        self.state.attempts.append(
            {
                "rows": piece.rows,
                "attempt": piece.attempt,
                "host": end.host,
                "cause": end.cause,
                "answer": told,
                "message": end.message,
                "reason": end.reason,
                "log": str(self.batch.log(piece)),
            }
        )
        where = f" on {end.host}" if end.host else ""
        why = f" ({end.reason})" if end.reason else ""
        self._line(f"{_named(piece)}{where}: {end.cause}: {end.message}{why}; {told}")

    def _failure(self, piece: Piece, end: Ending, what: Answer, ends: Sequence[Ending]) -> Failure:
        fix = (end.error or {}).get("fix") or _FIXES.get(end.cause)
        log = self.batch.log(piece)
        return Failure(
            step=self.batch.label,
            problem=end.message if what.told == "stopping" else f"{end.message} ({what.told})",
            command=shlex.join(self.work.by_hand(piece)),
            ended=end.ended,
            log=str(log),
            last_lines=last_lines(log),
            branch=f"rows {piece.rows}" if piece.rows else None,
            host=end.host or "unknown",
            cause=end.cause,
            reason=end.reason,
            fix=fix,
            count=sum(each.kind == end.kind for each in ends),
            kind=end.kind,
        )

    def _dismiss(self, ads: Iterable[Mapping[str, Any] | None]) -> None:
        """Let jobs that were settled leave the queue."""
        ids: dict[Any, list[str]] = {HELD: [], COMPLETED: []}
        for ad in filter(None, ads):
            ids.get(ad.get("JobStatus"), []).append(_id_of(ad))
        for some in _chunks(ids[HELD]):
            self.queue.remove(" || ".join(some))
        for some in _chunks(ids[COMPLETED]):
            self.queue.edit(" || ".join(some), "LeaveJobInQueue", "false")

    def _remove(self) -> None:
        """Remove what is left in the queue; what cannot be is told how to."""
        try:
            self.queue.remove(self.batch.constraint)
        except SchedulerUnreachableError:
            command = shlex.join(["condor_rm", "-constraint", self.batch.constraint])
            self._line(f"its jobs could not be removed; later: {command}")

    def _submit(self) -> None:
        """Submit all that is due, at once."""
        now = time.time()
        due = [
            piece
            for piece in self.state.pieces
            if not piece.done and not piece.submitted and piece.after <= now
        ]
        if not due:
            return
        self.work.prepare(due)
        described = self.batch.folder / f"{self.batch.number}.sub"
        write_text(described, description(self.batch, self.terms, due))
        self._cluster = self.queue.submit(described)
        for piece in due:
            piece.submitted = True
        self.state.write()
        self._line(f"{len(due)} jobs in cluster {self._cluster}")

    def _tell(self, ads: Iterable[Mapping[str, Any]]) -> None:
        """Leave how many jobs are in which state, and say so where it changed."""
        counts = Counter(_WORDS.get(int(ad.get("JobStatus", 0)), "running") for ad in ads)
        counts["done"] = sum(piece.done for piece in self.state.pieces)
        jobs = {word: counts[word] for word in ("idle", "running", "held", "done")}
        jobs["failed"] = len(self.state.attempts)
        attempts = [{**each, "log": below_logs(each["log"])} for each in self.state.attempts]
        told = {
            "cluster": self._cluster,
            "began": self._began,
            "jobs": jobs,
            "attempts": attempts,
            "logs": self._logs(),
        }
        write_text(self.told, json.dumps(told, indent=2) + "\n")
        line = ", ".join(f"{count} {word}" for word, count in jobs.items() if count)
        if line and self._said.get("counts", ("", 0.0))[0] != line:
            self._said["counts"] = (line, time.monotonic())
            self._line(f"of {len(self.state.pieces)} jobs: {line}")

    def _logs(self) -> dict[str, str]:
        """Rows of each job by its log, also of those before."""
        begun = [piece for piece in self.state.pieces if piece.submitted]
        now = {str(self.batch.log(piece)): piece.rows for piece in begun}
        return told_logs(self.told, self.batch.number, self.state.attempts, now)

    def _say(self, topic: str, line: str, between: float = _BETWEEN_LINES) -> None:
        """Say *line*, at most every now and then."""
        now = time.monotonic()
        if topic not in self._said or now - self._said[topic][1] > between:
            self._said[topic] = (line, now)
            self._line(line)

    def _line(self, line: str) -> None:
        sys.stderr.write(f"{self.batch.label} | {line}\n")


_FIXES = {
    "memory": "raise max_memory, or lower job_length or the work of a row",
    "disk": "raise max_disk, or lower job_length",
    "time": "lower job_length",
    "credential": "renew the credential, then run the same command: it goes on from here",
    "node": "see its log: machines of the pool lack what the job needs; give --image, or name "
    "fitting machines with requirements",
    "storage": "see that there is room where the run directory lies, then run the same command",
    "held": "ask who held it, then run the same command: it goes on from here",
    "removed": "ask who removed it, then run the same command: it goes on from here",
    "evicted": "run the same command: it goes on from here; requirements can name better machines",
}


def _id_of(ad: Mapping[str, Any]) -> str:
    """What is true of one job alone."""
    return f"(ClusterId == {ad.get('ClusterId')} && ProcId == {ad.get('ProcId')})"


def _least_wanted(ad: Mapping[str, Any]) -> tuple[int, Any, Any]:
    """Sort first what is done, then what is at work, last what goes; then what came first."""
    status = ad.get("JobStatus")
    ranked = (COMPLETED, RUNNING, IDLE, HELD)
    rank = ranked.index(status) if status in ranked else len(ranked)
    return rank, ad.get("ClusterId", 0), ad.get("ProcId", 0)


def _chunks(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """Share job ids out to constraints that a scheduler reads at once."""
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


def _named(piece: Piece) -> str:
    rows = f"rows {piece.rows}" if piece.rows else "the job"
    return f"{rows}, attempt {piece.attempt}"


def last_lines(log: Path) -> list[str]:
    """The end of a log; nothing of one that is not there."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 65536))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-KEPT:]
