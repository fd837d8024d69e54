"""The store that `s3://` addresses lie in: its client, and what it means when it refuses.

Where the store is and who asks, boto3 reads by itself from the environment and ``~/.aws``
(``AWS_ENDPOINT_URL``, ``AWS_PROFILE`` …): no key passes through here.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from aframe.errors import AframeError

#: Of what one request does not reach, the next ones come later by a random part of 1, 2, 4 … 20 s.
ATTEMPTS = 10
#: How often a machine that does not answer is asked by who only looks.
ATTEMPTS_TO_LOOK = 2
_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10, 60
_SECONDS_TO_LOOK = (3, 15)
_CONNECTIONS = 64
MISSING = {"404", "NoSuchKey", "NotFound"}
CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict", *MISSING}
_REFUSED = {
    *("401", "403", "AccessDenied", "AuthorizationHeaderMalformed", "ExpiredToken", "Forbidden"),
    *("InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"),
    *("RequestTimeTooSkewed", "AllAccessDisabled", "AccountProblem", "Unauthorized"),
}
_BUSY = {
    *("SlowDown", "503", "ServiceUnavailable", "500", "InternalError", "502", "504", "429"),
    *("RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests", "BandwidthLimit"),
    *("RequestLimitExceeded", "ProvisionedThroughputExceededException", "BadGateway"),
}

_making = threading.Lock()


class NoAnswerError(AframeError):
    """The store cannot be reached, or is too busy to answer: later the same may succeed."""


def client(address: str, *, looking: bool = False) -> Any:
    """Give boto3's client, one for each process and surroundings.

    Args:
        address: Who wants it, for the error.
        looking: Whether it is only to look, and soon to give up where nobody answers.

    Raises:
        AframeError: If boto3 is not installed, or its configuration cannot be used.
    """
    # A fork must not talk on its parent's connections, nor a test with another's keys.
    said = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    try:
        with explained(address), _making:
            return _client(os.getpid(), said, looking)
    except ValueError as error:
        raise AframeError(
            "AWS_ENDPOINT_URL is no address",
            found=str(error),
            wanted_by=address,
            fix="write it whole, such as https://s3.example.org or http://127.0.0.1:9000",
        ) from error


@functools.lru_cache(maxsize=8)
def _client(_pid: int, said: tuple[tuple[str, str], ...], looking: bool) -> Any:  # noqa: FBT001
    from botocore.config import Config  # noqa: PLC0415

    connect, answer = _SECONDS_TO_LOOK if looking else (_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER)
    settings = Config(
        connect_timeout=connect,
        read_timeout=answer,
        max_pool_connections=_CONNECTIONS,
        # Waits longer from one attempt to the next, by a random part.
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    made = _session(said).client("s3", config=settings)
    if looking:
        made.meta.events.register_first("needs-retry.s3", _give_up)
    return made


@functools.lru_cache(maxsize=4)
def _session(_said: tuple[tuple[str, str], ...]) -> Any:
    import boto3  # noqa: PLC0415

    logging.getLogger("botocore").setLevel(logging.WARNING)
    made = boto3.session.Session()
    # A page of a listing has a thousand times, whose guesses at a format take most of its reading.
    parsers = made._session.get_component("response_parser_factory")  # noqa: SLF001
    parsers.set_parser_defaults(timestamp_parser=_time)
    return made


def _time(text: Any) -> datetime:
    from botocore.utils import parse_timestamp  # noqa: PLC0415

    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return parse_timestamp(text)


def _give_up(attempts: int, caught_exception: Exception | None, **_request: Any) -> None:
    """Ask a store that is busy again and again, but not one that does not answer at all."""
    if caught_exception is not None and attempts >= ATTEMPTS_TO_LOOK:
        raise caught_exception


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what the store or boto3 refuses into an error that names the cause and its cure.

    Args:
        address: What is wanted of the store.

    Raises:
        AframeError: In its place.
    """
    try:
        import boto3  # noqa: F401, PLC0415 (a fifth of a second, and an extra)
        from boto3.exceptions import Boto3Error  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    except ImportError as error:
        raise AframeError(
            "boto3 is not installed",
            found="no package boto3",
            wanted_by=address,
            fix="pip install 'aframe[s3]'",
        ) from error
    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise _error(error, address) from error


def code_of(error: Any) -> str:
    """The store's own word for an error of a client, such as ``NoSuchKey``; blank for others."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


class _Cause(NamedTuple):
    """What an error of the store means.

    Args:
        problem: In a line.
        fix: What cures it; ``{bucket}`` stands for the bucket's name.
        later: Whether the same may succeed later.
    """

    problem: str
    fix: str
    later: bool = False


_NO_KEYS = _Cause(
    "there are no credentials for S3",
    "put them into ~/.aws/credentials (and name theirs by AWS_PROFILE), or into AWS_ACCESS_KEY_ID "
    "and AWS_SECRET_ACCESS_KEY",
)
_WRONG_KEYS = _Cause(
    "the store refuses these credentials",
    "correct or renew those that AWS_PROFILE, AWS_ACCESS_KEY_ID or ~/.aws/credentials name, have "
    "them given access to {bucket}, or correct AWS_ENDPOINT_URL",
)
_NO_BUCKET = _Cause(
    "there is no such bucket",
    "correct the name or AWS_ENDPOINT_URL, or make it: aws s3 mb s3://{bucket}",
)
_TOO_BUSY = _Cause(
    "the store is busy",
    "run the same command again later: it goes on from what is there",
    later=True,
)
_NO_ANSWER = _Cause(
    "the store cannot be reached",
    "correct AWS_ENDPOINT_URL, or wait for the store or the network to come back; the same command "
    "then goes on from what is there",
    later=True,
)
_CHANGED = _Cause(
    "a file on S3 changed while it was read",
    "let whoever writes there end, then run the same command again",
)
_OTHER = _Cause(
    "a directory on S3 cannot be used", "check the address, AWS_ENDPOINT_URL and the credentials"
)


def _cause(error: Exception) -> _Cause:
    from boto3.exceptions import RetriesExceededError  # noqa: PLC0415
    from botocore import exceptions  # noqa: PLC0415

    no_keys = (
        *(exceptions.NoCredentialsError, exceptions.PartialCredentialsError),
        *(exceptions.CredentialRetrievalError, exceptions.ProfileNotFound, exceptions.SSOError),
    )
    cut = (
        *(exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError),
        RetriesExceededError,
    )
    if isinstance(error, no_keys):
        return _NO_KEYS
    if isinstance(error, cut):
        return _NO_ANSWER
    told = {
        **dict.fromkeys(_REFUSED, _WRONG_KEYS),
        **dict.fromkeys(_BUSY, _TOO_BUSY),
        **dict.fromkeys(CONFLICT, _CHANGED),
        "NoSuchBucket": _NO_BUCKET,
    }
    return told.get(code_of(error), _OTHER)


def _error(error: Exception, address: str) -> AframeError:
    cause = _cause(error)
    bucket = address.removeprefix("s3://").partition("/")[0]
    store = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return (NoAnswerError if cause.later else AframeError)(
        cause.problem,
        found=" ".join(str(error).split()),
        wanted_by=f"{address} at {store or 'AWS (AWS_ENDPOINT_URL is not set)'}",
        fix=cause.fix.format(bucket=bucket),
    )
