"""What is submitted."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from aframe.sites.pieces import Piece
from aframe.sites.requests import Request, Terms, spelled
from aframe.sites.submission import NAME, ROWS, SCRATCH, Batch, description, script

BATCH = Batch(
    "FetchTrain", "a1b2", 3, "c3d4", Path("/run/condor"), Path("/run/logs"), Path("/run/homes")
)


def _described(terms, *pieces):
    pieces = pieces or (Piece(0, "0-4,7", Request(memory=2048, disk=512, cpus=2)),)
    text = description(BATCH, terms, pieces)
    head, _, table = text.partition("\nqueue ")
    lines = (line.partition(" = ") for line in head.splitlines())
    return {name: value for name, _, value in lines}, table.splitlines()


def test_one_queue_statement_describes_all_jobs():
    """Each has its rows, its requests and the machines that it avoids."""
    pieces = [
        Piece(0, "0-4,7", Request(memory=2048, disk=512)),
        Piece(1, "5-6", Request(memory=4096, disk=512), attempt=2, avoid=["a", "b"]),
    ]

    said, table = _described(Terms(), *pieces)

    assert table == [
        "piece, attempt, name, memory, disk, avoid, rows from (",
        "0,1,3-0-1,2048,512,-,0-4,7",
        "1,2,3-1-2,4096,512,a;b,5-6",
        ")",
    ]
    assert said["request_memory"] == "$(memory)MB"
    assert said["output"] == said["error"] == "/run/logs/$(name).log"
    assert said["My.AframeRun"] == '"a1b2"'
    assert said["My.AframeSet"] == '"c3d4"'


def test_a_shared_disk_needs_no_transfer():
    """Without one, what is sent and what comes back are folders of the job's own."""
    shared, _ = _described(Terms())
    apart, _ = _described(Terms(shared_disk=False))

    assert shared["should_transfer_files"] == "NO"
    assert apart["initialdir"] == "/run/homes/$(name)"
    assert (apart["transfer_input_files"], apart["transfer_output_files"]) == ("in", "out")


def test_terms_are_told():
    """Accounting, requirements and tokens, and nothing of them that was not given."""
    terms = Terms(
        accounting_group="ligo.dev.o4.cbc.allsky.aframe",
        accounting_group_user="ada.lovelace",
        requirements="HasSingularity",
        use_oauth_services=("scitokens", "vault"),
    )

    said, _ = _described(terms, Piece(0, "", Request(gpus=1)))
    plain, _ = _described(Terms())

    assert said["accounting_group"] == "ligo.dev.o4.cbc.allsky.aframe"
    assert said["accounting_group_user"] == "ada.lovelace"
    assert said["requirements"].endswith(" && (HasSingularity)")
    assert said["use_oauth_services"] == "scitokens, vault"
    assert said["request_gpus"] == "1"
    assert not {"accounting_group", "use_oauth_services", "request_gpus"} & set(plain)


def _run(text, folder, *words, **environment):
    path = folder / "job.sh"
    path.write_text(text)
    return subprocess.run(
        ["sh", path, *words],
        env={"_CONDOR_SCRATCH_DIR": str(folder), **environment},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def secrets(tmp_path):
    """A file of secrets."""
    path = tmp_path / "secret's.env"
    path.write_text("KEY='two words'\n")
    return path


def test_the_script_tells_the_command_its_rows(tmp_path, secrets):
    """Words are quoted, but for what is known only there; secrets come from their file."""
    words = ["/bin/echo", "it's", "--rows", ROWS, f"{SCRATCH}/a b/{NAME}.json"]
    text = script(words, environment={"A": "1 2"}, secrets=secrets, shared_disk=True)

    done = _run(text, tmp_path, "0-3,5", "0-1-1")

    assert done.stdout == f"it's --rows 0-3,5 {tmp_path}/a b/0-1-1.json\n"
    assert "two words" not in text
    inside = script(["/usr/bin/env"], environment={"A": "1 2"}, secrets=secrets, shared_disk=True)
    granted = {"CUDA_VISIBLE_DEVICES": "3", "OMP_NUM_THREADS": "2", "_CONDOR_CREDS": "/creds"}
    said = _run(inside, tmp_path, "0", "n", **granted).stdout.splitlines()
    told = {f"APPTAINERENV_{name}={value}" for name, value in granted.items()}
    assert {"A=1 2", "KEY=two words", *told} <= set(said)


def test_a_job_knows_how_long_it_has_waited(tmp_path, secrets):
    """By HTCondor's description of it; where there is none, nothing is said."""
    ad = tmp_path / "ad"
    ad.write_text(f'Owner = "ada"\nQDate = {int(time.time()) - 100}\n')
    text = script(["/usr/bin/env"], environment={}, secrets=secrets, shared_disk=True)

    said = _run(text, tmp_path, "0", "n", _CONDOR_JOB_AD=str(ad)).stdout
    none = _run(text, tmp_path, "0", "n")

    (waited,) = re.findall(r"^AFRAME_WAITED=(\d+)$", said, re.MULTILINE)
    assert f"APPTAINERENV_AFRAME_WAITED={waited}\n" in said
    assert 100 <= int(waited) < 100 + 3600
    assert "AFRAME_WAITED" not in none.stdout
    assert none.stderr == ""


def test_a_program_that_lies_elsewhere_is_found(tmp_path, secrets):
    """By its name; if it is nowhere, the status is a shell's for that."""
    there = script(["/nowhere/true"], environment={}, secrets=secrets, shared_disk=True)
    gone = script(["/nowhere/aframe-no"], environment={}, secrets=secrets, shared_disk=True)

    assert _run(there, tmp_path, "0", "n").returncode == 0
    assert _run(gone, tmp_path, "0", "n").returncode == 127


def test_only_what_a_job_made_goes_back(tmp_path, secrets):
    """What it read of the output lies there while it runs, and its home is its folder."""
    sent = tmp_path / "in" / "output" / ".draft"
    sent.mkdir(parents=True)
    (sent / "read").write_text("given")
    program = tmp_path / "program"
    program.write_text(
        '#!/bin/sh\ncat out/.draft/read; echo "$HOME"; echo made > out/.draft/made; exit 3\n'
    )
    program.chmod(0o755)
    text = script([str(program)], environment={}, secrets=secrets, shared_disk=False)

    done = _run(text, tmp_path, "0", "n", HOME="")

    assert done.returncode == 3
    assert done.stdout == f"given{tmp_path}\n"
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == [".draft", "made"]


def test_sizes_are_written_for_people():
    """In the larger of two units."""
    assert (spelled(300), spelled(2048)) == ("300 MB", "2 GB")
