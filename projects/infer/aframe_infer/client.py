"""A client of a Triton server: one stream of requests, asked again when it breaks off."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float32

from aframe.errors import AframeError
from aframe_infer.settings import COMMAND

if TYPE_CHECKING:
    from tritonclient.grpc import InferenceServerClient

log = logging.getLogger(__name__)

#: Requests that are under way at a time: the server has work while an answer travels.
DEPTH = 8
#: How often what was asked is asked again when the connection or the server was lost.
ATTEMPTS = 5
_POLL_SECONDS = 0.2
_SECONDS_TO_TELL = 10.0
#: Of gRPC: messages of any size, and no proxy of the Web's in between.
_CHANNEL = [
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.enable_http_proxy", 0),
]


@dataclass(frozen=True)
class Request:
    """One message to a model.

    Args:
        name: Its name among those that are asked together.
        array: The model's input.
        sequence: Sequence that it belongs to; blank for a model without state.
        start: Whether it is the first of its sequence.
        end: Whether it is the last.
    """

    name: str
    array: Float32[np.ndarray, "..."]
    sequence: str = ""
    start: bool = False
    end: bool = False


@dataclass(frozen=True)
class Model:
    """What a server calls a model, its version, and the names of its input and output."""

    name: str
    version: int
    given: str
    made: str


class Lost(Exception):  # noqa: N818 (a state of the connection, mended in here)
    """The connection or the server was lost, or an answer does not come."""


class Client:
    """A connection to a server, for the ``with`` statement.

    Args:
        address: The server's ``host:port``.
        timeout: How long to wait for an answer, or for a server that is lost (s).
    """

    def __init__(self, address: str, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self._client: InferenceServerClient | None = None
        self._answers: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def __enter__(self) -> Self:
        """Connect once something is asked."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection; what is under way is canceled."""
        self._close()

    def ask(
        self, model: Model, requests: Callable[[], Iterable[Request]]
    ) -> dict[str, Float32[np.ndarray, "..."]]:
        """Ask a model, and wait for all answers.

        Where the connection or the server is lost, sequences are asked again from their
        start, under their own names: a start ends what the server still knows of one.

        Args:
            model: The model.
            requests: Gives the requests, anew each time it is called.

        Returns:
            The answers by the names of their requests.

        Raises:
            AframeError: If the server is not there in time, or all attempts fail.
        """
        answers: dict[str, Float32[np.ndarray, "..."]] = {}
        for attempt in range(ATTEMPTS):
            try:
                self._ask(model, requests(), answers)
            except Lost as error:
                log.warning("lost the server at %s: %s", self.address, error)
                self._close()
                last = error
                time.sleep(_POLL_SECONDS * attempt)
            else:
                return answers
        raise AframeError(
            "the Triton server does not answer",
            found=f"{self.address}, asked {ATTEMPTS} times: {last}",
            wanted_by=f"model {model.name} version {model.version} of {COMMAND}",
            fix="see to the server; give a longer resources.server_timeout if it is slow, or fewer "
            "workers if it has fewer streams; then run the same command: it resumes",
        )

    def _ask(
        self,
        model: Model,
        requests: Iterable[Request],
        answers: dict[str, Float32[np.ndarray, "..."]],
    ) -> None:
        """Ask once; keeps what came in *answers*."""
        from tritonclient.utils import InferenceServerException  # noqa: PLC0415 (only with a server)

        client = self._connected()
        waiting: set[str] = set()
        for request in requests:
            # Without a state, an answer that came once is good.
            if not request.sequence and request.name in answers:
                continue
            while len(waiting) >= DEPTH:
                self._receive(model, waiting, answers)
            try:
                _send(client, model, request)
            except InferenceServerException as error:
                raise Lost(str(error)) from error
            waiting.add(request.name)
        while waiting:
            self._receive(model, waiting, answers)

    def _receive(
        self, model: Model, waiting: set[str], answers: dict[str, Float32[np.ndarray, "..."]]
    ) -> None:
        try:
            result, error = self._answers.get(timeout=self.timeout)
        except queue.Empty:
            raise Lost(f"no answer within {self.timeout:g} s") from None
        if error is not None:
            raise Lost(str(error))
        name = result.get_response().id
        waiting.discard(name)
        answers[name] = result.as_numpy(model.made)

    def _connected(self) -> InferenceServerClient:
        """Give the open connection, or open one once the server is ready."""
        from tritonclient.grpc import InferenceServerClient  # noqa: PLC0415 (only with a server)

        if self._client is None:
            deadline = time.monotonic() + self.timeout
            while not is_ready(self.address):
                if time.monotonic() > deadline:
                    raise AframeError(
                        "there is no Triton server",
                        found=f"none is ready at {self.address} within {self.timeout:g} s",
                        wanted_by=f"resources.server of {COMMAND}",
                        fix="start the server, or correct its host:port; give a longer "
                        "resources.server_timeout than it takes to load its models",
                    )
                time.sleep(_POLL_SECONDS)
            # Answers of a connection that was lost would be taken for those of the new one.
            answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
            self._answers = answers
            self._client = InferenceServerClient(self.address, channel_args=_CHANNEL)
            self._client.start_stream(lambda result, error: answers.put((result, error)))
        return self._client

    def _close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            client.stop_stream(cancel_requests=True)
            client.close()


def _send(client: InferenceServerClient, model: Model, request: Request) -> None:
    from tritonclient.grpc import InferInput  # noqa: PLC0415 (only with a server)

    given = InferInput(model.given, request.array.shape, "FP32")
    given.set_data_from_numpy(request.array)
    state = {
        "sequence_id": request.sequence,
        "sequence_start": request.start,
        "sequence_end": request.end,
    }
    client.async_stream_infer(
        model.name,
        [given],
        model_version=str(model.version),
        request_id=request.name,
        **(state if request.sequence else {}),
    )


def streams(address: str) -> int:
    """How many sequences a server at *address* takes at a time, on one of its devices.

    Raises:
        AframeError: If it does not say so.
    """
    from tritonclient.grpc import InferenceServerClient  # noqa: PLC0415 (only with a server)
    from tritonclient.utils import InferenceServerException  # noqa: PLC0415

    try:
        with InferenceServerClient(address, channel_args=_CHANNEL) as client:
            config = client.get_model_config("snapshotter", client_timeout=_SECONDS_TO_TELL).config
    except InferenceServerException as error:
        raise AframeError(
            "the Triton server does not tell of its streams",
            found=f"{address}, model snapshotter: {error}",
            wanted_by=f"resources.server of {COMMAND}",
            fix="have it load the exported repository, then run the same command: it resumes",
        ) from error
    copies = sum(group.count for group in config.instance_group)
    return max(1, copies * max(1, config.sequence_batching.oldest.max_candidate_sequences))


def is_ready(address: str) -> bool:
    """Whether a server at *address* has loaded its models."""
    from tritonclient.grpc import InferenceServerClient  # noqa: PLC0415 (only with a server)
    from tritonclient.utils import InferenceServerException  # noqa: PLC0415

    client = InferenceServerClient(address, channel_args=_CHANNEL)
    try:
        return bool(client.is_server_ready(client_timeout=2))
    except InferenceServerException:
        return False
    finally:
        client.close()


def inferences(address: str) -> int | None:
    """Count what a server at *address* has answered since it began, if it says so."""
    from tritonclient.grpc import InferenceServerClient  # noqa: PLC0415 (only with a server)
    from tritonclient.utils import InferenceServerException  # noqa: PLC0415

    client = InferenceServerClient(address, channel_args=_CHANNEL)
    try:
        told = client.get_inference_statistics(client_timeout=2)
        return sum(each.inference_count for each in told.model_stats)
    except InferenceServerException:
        return None
    finally:
        client.close()
