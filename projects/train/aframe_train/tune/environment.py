"""How Ray is to behave, which it reads from the environment when it is first imported."""

from __future__ import annotations

import os
import secrets
from importlib.util import find_spec
from pathlib import Path

from aframe.errors import AframeError

#: Ray says nothing of its own, asks nobody, and leaves interruption to us.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
_TOKEN, _TOKEN_PATH, _MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"


def prepare(endpoint: str | None) -> None:
    """Set Ray's environment; to be called before anything imports Ray.

    A cluster of one's own obeys nobody without its token, which is made anew and stays
    in the environment. One that runs already is shown the token that the user has for it.

    Args:
        endpoint: Address of a cluster that runs already, or ``None``.

    Raises:
        AframeError: If Ray is not installed.
    """
    if find_spec("ray") is None:
        raise AframeError(
            "Ray Tune is not installed",
            found="no package ray",
            wanted_by="a search for settings",
            fix="pip install 'aframe-train[tune]'",
        )
    os.environ.update(QUIET)
    if endpoint is None:
        # Ray would else keep one in the home directory.
        os.environ.setdefault(_TOKEN, secrets.token_hex(32))
    elif any(os.environ.get(name) for name in (_TOKEN, _TOKEN_PATH)) or _kept_token().exists():
        os.environ.setdefault(_MODE, "token")


def _kept_token() -> Path:
    return Path.home() / ".ray" / "auth_token"
