"""Talk to servers: try again where that can help, and say what to do where it cannot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import tenacity
from igwn_auth_utils import IgwnAuthError

from aframe.errors import AframeError

log = logging.getLogger(__name__)
# GWOSC's client asks ten times by itself, and tells each time in three lines.
logging.getLogger("gwosc").setLevel(logging.CRITICAL)

#: How often to ask at most. The waits between sum up to half a minute at least.
ATTEMPTS = 6
#: Wait between two attempts: one second, then twice as long each time, and up to a second more.
BACK_OFF = tenacity.wait_exponential_jitter(initial=1, max=60)
#: The longest that a server's own Retry-After is heeded (s).
_PATIENCE = 300.0
#: Answers of a server that may be another the next time.
_PASSING = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
#: Causes of a connection that never was, as they are named in an error, in a few words.
_UNREACHED = {
    "NameResolutionError": "cannot resolve",
    "ConnectTimeoutError": "no answer in time from",
    "NewConnectionError": "no connection to",
}
_WITHOUT_CREDENTIALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}

Answer = TypeVar("Answer")


class SpoiledDownloadError(Exception):
    """A file arrived that is cut short, or is not what was asked for."""


def ask(question: Callable[[], Answer], *, wanted_by: str) -> Answer:
    """Ask a server, again where another answer may come.

    Time-outs, lost connections, spoiled downloads and a server's passing troubles (5xx, too
    many requests) are tried again, after the time that the server names or ever longer ones.
    What will not change (unknown names, missing credentials, a certificate) is not.

    Args:
        question: Calls the client library.
        wanted_by: Which setting or step asks, for the message.

    Raises:
        AframeError: If there is no answer in the end.
    """
    attempts = tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        wait=_wait,
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        before_sleep=_tell,
        reraise=True,
    )
    try:
        return attempts(question)
    except (OSError, ValueError, tenacity.RetryError, IgwnAuthError, SpoiledDownloadError) as error:
        if getattr(error, "errno", None):  # a full disk is no server's fault
            raise
        raise _explained(error, wanted_by) from error


def may_pass(error: BaseException) -> bool:
    """Whether an error may be gone at the next attempt."""
    if isinstance(error, requests.HTTPError | tenacity.RetryError):
        response = _response(error)
        if response is not None:
            return response.status_code in _PASSING
    if isinstance(error, tenacity.RetryError):
        error = error.last_attempt.exception() or error
    if isinstance(error, requests.exceptions.SSLError):
        return False
    return isinstance(
        error,
        (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.JSONDecodeError,
            SpoiledDownloadError,
        ),
    )


def _wait(state: tenacity.RetryCallState) -> float:
    """Time to wait (s): what the server says, or longer each time."""
    error = state.outcome.exception() if state.outcome else None
    response = _response(error)
    said = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(said), _PATIENCE) if said.isdigit() else BACK_OFF(state)


def _tell(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    log.info("%s; trying again in %.0f s", _reason(error), pause)


def _response(error: BaseException | None) -> requests.Response | None:
    """The answer that an error stands for, also where the client of GWOSC tried often."""
    if isinstance(error, tenacity.RetryError):
        last = error.last_attempt
        return _response(last.exception()) if last.failed else last.result()
    return getattr(error, "response", None)


def _reason(error: BaseException | None) -> str:
    """What went wrong, in a few words."""
    response = _response(error)
    if response is not None:
        return f"{response.status_code} {response.reason} from {response.url}"
    if isinstance(error, tenacity.RetryError):
        error = error.last_attempt.exception()
    host = urlsplit(getattr(getattr(error, "request", None), "url", "") or "").netloc
    # What requests says of it holds the address twice, and two names of classes.
    said = str(error)
    for cause, brief in _UNREACHED.items():
        if host and cause in said:
            return f"{brief} {host}"
    return f"{type(error).__name__}: {error}"


def _explained(error: Exception, wanted_by: str) -> AframeError:
    """Say what an error means for the user."""
    response, reason = _response(error), _reason(error)
    status = response.status_code if response is not None else None
    if status in _WITHOUT_CREDENTIALS or isinstance(error, IgwnAuthError):
        problem = "a server wants credentials"
        fix = (
            "get a token (`htgettoken --vaultserver vault.ligo.org --issuer igwn`), then run the "
            'command again; open data need none: a source of kind "gwosc"'
        )
    elif isinstance(error, tenacity.RetryError) or may_pass(error):
        problem = "a server does not answer as it should"
        fix = (
            "see that its address is right and the network reaches it, or wait, then run the "
            "same command: it goes on from what is there"
        )
    elif isinstance(error, OSError) and response is None:
        problem = "a server cannot be asked"
        fix = "mend the certificate, the token or the address that the message names"
    else:
        problem = "a server does not have what was asked for"
        fix = "correct the names in the source (flags, dataset, frametypes), or its server"
    return AframeError(problem, found=reason, wanted_by=wanted_by, fix=fix)
