"""What docs/explain.md says: its commands run, its states, statuses and sites are all there are."""

import re
import shlex
from pathlib import Path

from aframe import site
from aframe.commands import COMMANDS
from aframe.tasks.outlook import STATES

TEXT = (Path(__file__).parents[2] / "docs" / "explain.md").read_text()


def test_every_documented_command_runs(finished, monkeypatch, tmp_path):
    """In a finished run; what it writes goes where it says."""
    monkeypatch.chdir(tmp_path)
    for name in ("fetch.log", "query.log"):
        logs = finished.directory / "data/train/logs"
        (logs / name).write_text("a line\n")
    block = re.search(r"```console\n(.*?)```", TEXT, re.DOTALL)[1]
    words = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]

    assert {each[0] for each in words} == set(COMMANDS)
    for each in words:
        if each[0] == "doctor":
            continue  # the stand-ins leave no segments that it could read
        status, _, err = finished.aframe(*each)
        assert status == 0, (each, err)
    assert (tmp_path / "run.svg").exists()


def test_every_state_and_site_is_explained():
    """By the names that the commands print."""
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(STATES)
    assert all(f"`{name}`" in TEXT for name in site.sites())
