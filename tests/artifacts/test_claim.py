"""One writer of an output on S3 at a time."""

import logging
import os
import platform
import subprocess
import sys
import time

import pytest

from aframe.artifacts import claim as module
from aframe.artifacts.claim import Claim
from aframe.artifacts.remote import Remote
from aframe.errors import AframeError


@pytest.fixture
def on(bucket, monkeypatch):
    """Make the claim of a machine, which has a name, on one output."""

    def make(host):
        claim = Claim(Remote(f"{bucket.address}/run"), ".claim.json")
        made.append(claim)
        sign = module._sign

        def signed():
            with monkeypatch.context() as machine:
                machine.setattr(platform, "node", lambda: host)
                return sign()

        claim.hold_as = lambda: (monkeypatch.setattr(module, "_sign", signed), claim.hold())
        return claim

    made = []
    yield make
    for claim in made:
        claim.release()


def test_one_of_two_gets_it(on, bucket):
    """The other is told of whom to wait for, and gets it when that gives it back."""
    one, two = on("one"), on("two")
    one.hold_as()
    one.hold()
    with pytest.raises(AframeError, match="another run is writing this output") as error:
        two.hold_as()

    assert error.value.found.startswith(f"process {os.getpid()} on one, last seen ")
    assert "5 minutes" in error.value.fix
    one.release()
    two.hold_as()
    assert b'"two"' in bucket.get("run/.claim.json")
    two.release()
    assert bucket.names() == []


def test_who_is_a_moment_late_is_refused(on, monkeypatch):
    """Both saw that nobody held it."""
    one, two = on("one"), on("two")
    look, looked = two.refuse_held, []

    def late():
        if not looked:
            looked.append(one.hold_as())
            return None
        return look()

    monkeypatch.setattr(two, "refuse_held", late)
    with pytest.raises(AframeError, match="another run is writing this output"):
        two.hold()


def test_of_a_process_that_was_killed_here_it_is_taken_over(on, bucket):
    """At once: this machine knows that it has ended."""
    program = (
        "import os, sys; from aframe.artifacts.claim import Claim;"
        "from aframe.artifacts.remote import Remote;"
        "Claim(Remote(sys.argv[1]), '.claim.json').hold(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, f"{bucket.address}/run"], check=False)
    assert killed.returncode == -9
    assert bucket.names() == ["run/.claim.json"]

    on("any").hold()


def test_a_process_that_runs_here_holds_it(on, bucket):
    """Two caches of one machine are as two machines."""
    parent = f'{{"host": "{platform.node()}", "pid": {os.getppid()}, "seen": "now"}}'
    bucket.client.put_object(Bucket=bucket.name, Key="run/.claim.json", Body=parent.encode())

    with pytest.raises(AframeError, match="another run is writing this output"):
        on("any").hold()


def test_another_users_process_runs(monkeypatch):
    """Though it cannot be asked."""

    def refuses(pid, signal):
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuses)

    assert not module._is_dead({"host": platform.node(), "pid": 1})


def test_without_a_sign_for_long_it_is_taken_over(on, monkeypatch, bucket):
    """Who held it is refused from then on, and does not give back what is another's."""
    one, two = on("one"), on("two")
    one.hold_as()
    monkeypatch.setattr(module, "SECONDS_TO_STALE", 0)
    two.hold_as()

    with pytest.raises(AframeError, match="another run has taken over this output"):
        one.hold()
    one.release()
    assert b'"two"' in bucket.get("run/.claim.json")


def test_its_holder_gives_signs(on, bucket, monkeypatch):
    """As long as it lives, also where one does not reach the store."""
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SIGNS", 0.01)
    claim = on("one")
    swap, failed = claim.remote.swap, []

    def fails_once(*given):
        if len(given[2] or "") and not failed:
            failed.append(given)
            raise AframeError("no", found="503", wanted_by="x", fix="y")
        return swap(*given)

    monkeypatch.setattr(claim.remote, "swap", fails_once)
    claim.hold()
    first, end = bucket.get("run/.claim.json"), time.monotonic() + 60
    while bucket.get("run/.claim.json") == first and time.monotonic() < end:
        time.sleep(0.01)

    assert failed
    assert bucket.get("run/.claim.json") != first
    claim.refuse_lost()


def test_an_answer_that_was_lost(bucket):
    """What an attempt wrote whose answer did not come is ours."""
    remote = Remote(f"{bucket.address}/run")
    tag = remote.swap("x", b"mine", None)

    assert remote.swap("x", b"mine", None) == tag
    assert remote.swap("x", b"other", None) is None
    assert remote.swap("x", b"other", '"0"') is None
    assert remote.swap("none", b"other", '"0"') is None


def test_a_claim_that_cannot_be_given_back_is_told(on, monkeypatch, caplog):
    """It is taken over later; what was made is made."""
    claim = on("one")
    claim.hold()

    def fails(names):
        raise AframeError("no", found="503", wanted_by="x", fix="y")

    monkeypatch.setattr(claim.remote, "remove", fails)
    with caplog.at_level(logging.WARNING):
        claim.release()

    assert "a claim stays at" in caplog.text


def test_a_store_that_refuses_is_an_error(bucket):
    """No bucket, no claim."""
    with pytest.raises(AframeError, match="there is no such bucket"):
        Remote(f"{bucket.address}x/run").swap("x", b"", None)
