"""Credentials of this user: whether they are there and for how long; never what they are."""

from __future__ import annotations

import base64
import configparser
import json
import netrc
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_WANDB = "api.wandb.ai"


@dataclass(frozen=True)
class Credential:
    """What is known of one.

    Args:
        name: What it is called.
        place: The file or variable that it is in; ``None`` where there is none.
        expires: When it ends (Unix time, s), where it says so.
        fault: Why it cannot be used.
        renew: How to get one.
    """

    name: str
    place: str | None
    renew: str
    expires: float | None = None
    fault: str | None = None

    @property
    def left(self) -> float | None:
        """For how long it still holds (s), where it says so."""
        return None if self.expires is None else self.expires - time.time()


def proxy(environment: Mapping[str, str]) -> Credential:
    """The X.509 proxy by which LVK's servers know somebody."""
    renew = "ecp-get-cert or ligo-proxy-init, with your albert.einstein name"
    path = Path(environment.get("X509_USER_PROXY") or f"/tmp/x509up_u{os.getuid()}")  # noqa: S108
    if not path.is_file():
        return Credential("X.509 proxy", None, renew)
    try:
        # The standard library reads a certificate from a file only by this name.
        read = ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined] # noqa: SLF001
        ends = ssl.cert_time_to_seconds(read["notAfter"])
    except (OSError, ValueError, KeyError):
        return Credential("X.509 proxy", str(path), renew, fault="it is no certificate")
    return Credential("X.509 proxy", str(path), renew, expires=float(ends))


def token(environment: Mapping[str, str]) -> Credential:
    """The bearer token (SciToken) of this user, where WLCG's rules look for it."""
    renew = "htgettoken -a vault.ligo.org -i igwn"
    for name in ("BEARER_TOKEN", "SCITOKEN"):
        if environment.get(name):
            return _token(environment[name], f"${name}", renew)
    owner = os.getuid()
    places = [
        environment.get("BEARER_TOKEN_FILE"),
        environment.get("SCITOKEN_FILE"),
        f"{environment.get('XDG_RUNTIME_DIR', '/tmp')}/bt_u{owner}",  # noqa: S108
        f"/tmp/bt_u{owner}",  # noqa: S108
    ]
    for place in filter(None, places):
        if Path(place).is_file():
            return _token(Path(place).read_text(errors="replace").strip(), place, renew)
    return Credential("bearer token", None, renew)


def _token(text: str, place: str, renew: str) -> Credential:
    try:
        middle = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        return Credential("bearer token", place, renew, expires=float(claims["exp"]))
    except (IndexError, ValueError, KeyError, TypeError):
        return Credential("bearer token", place, renew, fault="it is no JSON web token")


def aws(environment: Mapping[str, str]) -> Credential:
    """The key for S3, where boto3 looks first."""
    renew = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    given = [name for name in names if environment.get(name)]
    if len(given) == 1:
        return Credential("S3 key", f"${given[0]}", renew, fault="the other half is not set")
    if given:
        ends = environment.get("AWS_CREDENTIAL_EXPIRATION")
        return Credential("S3 key", f"${names[0]}", renew, expires=_time(ends))
    home = environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    path, profile = Path(home).expanduser(), environment.get("AWS_PROFILE") or "default"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        there = parser.read(path) and parser.has_section(profile)
    except (configparser.Error, UnicodeDecodeError):
        return Credential("S3 key", str(path), renew, fault="the file cannot be read")
    return Credential("S3 key", f"[{profile}] of {path}" if there else None, renew)


def _time(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None


def wandb(environment: Mapping[str, str]) -> Credential:
    """The key for Weights & Biases, where its client looks."""
    renew = "wandb login, or set WANDB_API_KEY; without, runs are kept offline (WANDB_MODE=offline)"
    if environment.get("WANDB_API_KEY"):
        return Credential("W&B key", "$WANDB_API_KEY", renew)
    path = Path(environment.get("NETRC") or "~/.netrc").expanduser()
    try:
        there = netrc.netrc(path).authenticators(_WANDB) is not None
    except (OSError, netrc.NetrcParseError):
        there = False
    return Credential("W&B key", str(path) if there else None, renew)


def all_of(environment: Mapping[str, str] = os.environ) -> Iterator[Credential]:
    """All that a run may need."""
    yield proxy(environment)
    yield token(environment)
    yield aws(environment)
    yield wandb(environment)
