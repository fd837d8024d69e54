"""What is submitted: HTCondor's description of the jobs, and the script that each of them runs."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aframe.sites.pieces import Piece
from aframe.sites.requests import Terms
from aframe.usage import WAITED

#: In the words of a job's command: its folder on the machine that it runs on, its rows, its name.
SCRATCH, ROWS, NAME = "/__scratch__", "__rows__", "__name__"
_KNOWN_THERE = {SCRATCH: '"$scratch"', ROWS: '"$rows"', NAME: '"$name"'}
#: Folders of a job without a shared disk: what goes with it, and what comes back.
SENT, RETURNED = "in", "out"
#: How long a job that has ended stays in the queue, to be asked how (s).
_KEPT = 10 * 24 * 3600
#: How long a job that was put out of a machine does not go back there (s).
_AWAY = 60
_ELSEWHERE = 'isUndefined(MY.LastRemoteHost) || TARGET.Machine =!= split(MY.LastRemoteHost, "@")[1]'
_NONE = "-"


@dataclass(frozen=True)
class Batch:
    """Where the jobs of one set of branches keep their things.

    Args:
        label: The task, for people.
        run: What tells the jobs of this step from all others in the queue.
        number: Number of the set.
        token: What tells its jobs from those of any other set, of other runs too.
        folder: Holds the script, the description and the reports.
        logs: Holds the log of each job.
        homes: Holds a folder for each job, without a shared disk.
    """

    label: str
    run: str
    number: int
    token: str
    folder: Path
    logs: Path
    homes: Path

    @property
    def script(self) -> Path:
        """What each job runs."""
        return self.folder / f"{self.number}.sh"

    def name(self, piece: Piece) -> str:
        """Name of the present attempt at *piece*."""
        return f"{self.number}-{piece.number}-{piece.attempt}"

    def log(self, piece: Piece) -> Path:
        """The log of the present attempt at *piece*."""
        return self.logs / f"{self.name(piece)}.log"

    @property
    def constraint(self) -> str:
        """What is true of the jobs of this set alone."""
        return f'AframeRun == "{self.run}" && AframeSet == "{self.token}"'


def description(batch: Batch, terms: Terms, pieces: Sequence[Piece]) -> str:
    """Describe the jobs of *pieces* to ``condor_submit``, one each.

    Args:
        batch: Where they keep their things.
        terms: On what terms they run.
        pieces: What they do; all ask for as many cores and GPUs.
    """
    first = pieces[0].request
    requirements = [
        '!stringListMember(TARGET.Machine, MY.AframeAvoid, ";")',
        # The one that put it out, or lost it, is not the next to get it.
        f"({_ELSEWHERE} || time() - MY.EnteredCurrentStatus > {_AWAY})",
        *([f"({terms.requirements})"] if terms.requirements else []),
    ]
    lines = {
        "universe": "vanilla",
        "batch_name": batch.label,
        "executable": batch.script,
        "arguments": '"$(rows) $(name)"',
        **_transfer(batch, terms),
        "output": batch.logs / "$(name).log",
        "error": batch.logs / "$(name).log",
        "log": batch.folder / "events.log",
        "request_memory": "$(memory)MB",
        "request_disk": "$(disk)MB",
        "request_cpus": first.cpus,
        **({"request_gpus": first.gpus} if first.gpus else {}),
        **_charged(terms),
        "requirements": " && ".join(requirements),
        # It waits to be asked how it ended.
        "leave_in_queue": f"JobStatus == 4 && time() - EnteredCurrentStatus < {_KEPT}",
        "notification": "never",
        "My.AframeRun": f'"{batch.run}"',
        "My.AframeSet": f'"{batch.token}"',
        "My.AframePiece": "$(piece)",
        "My.AframeAttempt": "$(attempt)",
        "My.AframeRows": '"$(rows)"',
        "My.AframeAvoid": '"$(avoid)"',
    }
    head = [f"{name} = {value}" for name, value in lines.items()]
    rows = [_item(batch, piece) for piece in pieces]
    queue = "queue piece, attempt, name, memory, disk, avoid, rows from ("
    return "\n".join([*head, queue, *rows, ")"]) + "\n"


def _transfer(batch: Batch, terms: Terms) -> dict[str, object]:
    if terms.shared_disk:
        return {"initialdir": batch.folder, "should_transfer_files": "NO"}
    return {
        "initialdir": batch.homes / "$(name)",
        "should_transfer_files": "YES",
        # What is done before a job is put out of its machine goes on with it to the next.
        "when_to_transfer_output": "ON_EXIT_OR_EVICT",
        "transfer_input_files": SENT,
        "transfer_output_files": RETURNED,
    }


def _charged(terms: Terms) -> dict[str, object]:
    said = {
        "accounting_group": terms.accounting_group,
        "accounting_group_user": terms.accounting_group_user,
        "use_oauth_services": ", ".join(terms.use_oauth_services),
    }
    return {name: value for name, value in said.items() if value}


def _item(batch: Batch, piece: Piece) -> str:
    request = piece.request
    avoid = ";".join(piece.avoid) or _NONE
    # HTCondor gives the last variable the rest of the line: rows have commas.
    fields = [piece.number, piece.attempt, batch.name(piece), request.memory, request.disk, avoid]
    return ",".join(map(str, [*fields, piece.rows or _NONE]))


def script(
    words: Sequence[str],
    *,
    environment: Mapping[str, str],
    secrets: Path,
    shared_disk: bool,
) -> str:
    """The script that each job runs, with its rows and its name as arguments.

    Args:
        words: The stage's command; in it :data:`SCRATCH` stands for the job's folder,
            :data:`ROWS` and :data:`NAME` for the arguments.
        environment: Variables that it gets.
        secrets: File of more of them, which nobody else may read; an image reads it itself.
        shared_disk: Whether files are where the submitter sees them; else what came with the job
            has to be put in place, and taken out of what goes back.
    """
    program, *rest = words
    command = " ".join(['"$program"', *map(_quoted, rest)])
    head = [
        "#!/bin/sh",
        "rows=$1 name=$2",
        'scratch=${_CONDOR_SCRATCH_DIR:-$PWD}; cd "$scratch" || exit 126',
        f'PATH="${{PATH:+$PATH:}}"{shlex.quote(os.environ.get("PATH", ""))}; export PATH',
        # On another machine the same program may lie elsewhere.
        f"program={shlex.quote(program)}",
        f'[ -x "$program" ] || program={shlex.quote(Path(program).name)}',
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
        f"set -a; . {_quoted(str(secrets))}; set +a",
        _WAITED,
        # What HTCondor grants, an image is told of.
        *_GRANTED,
    ]
    if shared_disk:
        return "\n".join([*head, f"exec {command}", ""])
    return "\n".join([*head, *_UNPACKED, command, *_PACKED, ""])


def _quoted(word: str) -> str:
    """Quote *word* for the script, but for what is known only where it runs."""
    parts = re.split(f"({'|'.join(_KNOWN_THERE)})", word)
    return "".join(_KNOWN_THERE.get(part) or shlex.quote(part) for part in parts if part) or "''"


#: Tells how long the job has waited, by what HTCondor leaves of it on its machine.
_WAITED = (
    'queued=$(sed -n "s/^QDate = //p" "$_CONDOR_JOB_AD" 2>/dev/null); '
    f'[ -z "$queued" ] || export {WAITED}=$(($(date +%s) - queued))'
)
_GRANTED = tuple(
    f'[ -z "${name}" ] || export APPTAINERENV_{name}="${name}"'
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "_CONDOR_CREDS", WAITED)
)
#: Lays what the branches read of the output where they look for it.
_UNPACKED = (
    '[ -n "$HOME" ] && [ -w "$HOME" ] || HOME=$scratch; export HOME',
    f"mkdir -p {RETURNED}",
    f"if [ -d {SENT}/output ]; then",
    f"  (cd {SENT}/output && find . -type f) >.given",
    f"  cp -R {SENT}/output/. {RETURNED}/ && rm -rf {SENT}/output",
    "fi",
)
#: Leaves in what goes back only what was made here, and gives the command's status.
_PACKED = (
    "status=$?",
    "if [ -f .given ]; then",
    f'  while IFS= read -r file; do rm -f "{RETURNED}/$file"; done <.given',
    "fi",
    "exit $status",
)
