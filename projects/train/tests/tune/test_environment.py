"""What Ray finds in the environment."""

import os
from pathlib import Path

import pytest

from aframe.errors import AframeError
from aframe_train.tune import environment
from aframe_train.tune.environment import QUIET, prepare


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """An environment of the test's own, and a home without a token."""
    for name in (*QUIET, "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that it is as it was afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)


def test_a_cluster_of_ones_own_is_quiet_and_obeys_nobody_else():
    """Nothing is told to anybody, and each search has a new token."""
    prepare(None)
    one = os.environ.pop("RAY_AUTH_TOKEN")
    prepare(None)

    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert len(one) == 64
    assert os.environ["RAY_AUTH_TOKEN"] != one
    assert "RAY_AUTH_MODE" not in os.environ


@pytest.mark.parametrize("where", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "home"])
def test_a_running_cluster_is_shown_the_users_token(where, tmp_path, monkeypatch):
    """From wherever Ray keeps it; no other is made up."""
    if where == "home":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("mine")
    else:
        monkeypatch.setenv(where, "mine")

    prepare("head:10001")

    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ.get("RAY_AUTH_TOKEN") == ("mine" if where == "RAY_AUTH_TOKEN" else None)


def test_a_running_cluster_may_have_no_token():
    """Then none is shown."""
    prepare("head:10001")

    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(os.environ)


def test_an_environment_without_ray_is_refused(monkeypatch):
    """The message says what to install."""
    monkeypatch.setattr(environment, "find_spec", lambda _: None)

    with pytest.raises(AframeError, match="Ray Tune is not installed") as error:
        prepare(None)

    assert error.value.found == "no package ray"
    assert "aframe-train[tune]" in error.value.fix
