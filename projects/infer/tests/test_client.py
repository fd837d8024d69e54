"""What a client does when the server is not there, or does not answer."""

import numpy as np
import pytest

from aframe.errors import AframeError
from aframe_infer import client as module
from aframe_infer.client import Client, Model, Request

NETWORK = Model("aframe", 1, "input_0", "discriminator")


def _requests(names, size=256):
    def requests():
        for name in names:
            yield Request(str(name), np.full((4, 2, size), float(name), np.float32))

    return requests


def test_answers_come_by_name(server):
    """More than are under way at a time, each that of its own request."""
    names = range(3 * module.DEPTH)

    with Client(server.address, 20) as client:
        answers = client.ask(NETWORK, _requests(names))

    assert list(answers) == [str(name) for name in names]
    for name in names:
        np.testing.assert_allclose(answers[str(name)], 20 * (name**2 - 0.9), rtol=1e-5)


def test_refuses_a_server_that_is_not_there(tmp_path):
    """After the time that it was given."""
    with (
        Client("127.0.0.1:1", 0.1) as client,
        pytest.raises(AframeError, match=r"no Triton server\n +found +none is ready at 127"),
    ):
        client.ask(NETWORK, _requests([1]))


def test_refuses_a_server_that_tells_nothing_of_its_streams():
    """One that is gone, or has no such model."""
    with pytest.raises(AframeError, match=r"tell of its streams\n +found +127\.0\.0\.1:1, model"):
        module.streams("127.0.0.1:1")


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (Model("other", 1, "input_0", "discriminator"), 256, "unknown model"),
        (Model("aframe", 7, "input_0", "discriminator"), 256, "unknown model"),
        (NETWORK, 128, "unexpected shape"),
    ],
)
def test_gives_up_what_is_always_refused(server, monkeypatch, model, size, message):
    """And tells what the server says of it."""
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.0)

    with (
        Client(server.address, 5) as client,
        pytest.raises(AframeError, match=rf"does not answer(.|\n)*asked 5 times: .*{message}"),
    ):
        client.ask(model, _requests([1], size))


def test_only_a_sequence_is_asked_again_as_a_whole(server, monkeypatch):
    """What has no state and was answered, is not asked twice."""
    sent, right = [], module._send

    def send(client, model, request):
        sent.append(request.name)
        if len(sent) == 20:
            raise module.Lost("a test")
        right(client, model, request)

    monkeypatch.setattr(module, "_send", send)

    with Client(server.address, 20) as client:
        answers = client.ask(NETWORK, _requests(range(24)))

    assert len(answers) == 24
    assert len(sent) <= 24 + module.DEPTH + 1
