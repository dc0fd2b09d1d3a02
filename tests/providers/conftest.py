"""The wire to a provider, replaced: answers that were captured, and sockets that misbehave."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions import providers
from functions.providers import base

HERE = Path(__file__).parent
KEY = "sk-talkdrop-canary-0123456789"
FACE = "https://inbox.example.test/face.png?X-Amz-Signature=canary-signature"
VOICE = "https://inbox.example.test/voice.mp3?X-Amz-Signature=canary-signature"
CALLBACK = "https://callbacks.example.test/callbacks/kie/t-1/1/k1.canary-mac"


class Wire:
    """Gives the answers in turn, the last one for ever, and keeps the requests."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._answer), follow_redirects=False)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def posts(self) -> list[dict[str, Any]]:
        return [json.loads(one.content) for one in self.requests if one.method == "POST"]


def client(name: str, wire: Wire, **credentials: Any) -> base.Provider:
    secret = {"api_key": KEY, "base_url": "https://provider.example.test", **credentials}
    return providers.get(name)(secret, wire.client())


def request(name: str, **changes: Any) -> base.Request:
    usual = {
        "external_id": "job-7f3c-try1",
        "model": providers.get(name).default_model,
        "portrait": base.Media("face.png", "image/png", url=FACE),
        "voice": base.Media("voice.mp3", "audio/mpeg", url=VOICE),
        "prompt": "Warm smile",
        "settings": {},
        "callback_url": CALLBACK,
    }
    return base.Request(**{**usual, **changes})


def answer(
    status: int = 200, body: Any = None, text: str | None = None, **headers: str
) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return httpx.Response(status, headers=named, text=json.dumps(body) if text is None else text)


def captured(name: str, call: str) -> list[dict[str, Any]]:
    files = sorted((HERE / name).glob("*.json"))
    return [
        case
        for file in files
        for case in json.loads(file.read_text())["cases"]
        if case["call"] == call
    ]


def replay(case: dict[str, Any]) -> httpx.Response:
    given = case["answer"]
    return answer(given["status"], given.get("json"), given.get("text"))


@pytest.fixture
def misbehaving() -> Iterator[Callable[[bytes | None], str]]:
    """A server that reads one request, answers these bytes, and cuts the line; with None it resets
    it."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(reply: bytes | None, *, silent_until: threading.Event | None = None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        thread = threading.Thread(target=_serve, args=(listener, reply, silent_until), daemon=True)
        threads.append(thread)
        thread.start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(5)


def _serve(
    listener: socket.socket, reply: bytes | None, silent_until: threading.Event | None
) -> None:
    with listener:
        listener.settimeout(5)
        connection, _ = listener.accept()
        with connection:
            _read_request(connection)
            if silent_until is not None:
                silent_until.wait(5)
            if reply is None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                connection.sendall(reply)


def _read_request(connection: socket.socket) -> None:
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += connection.recv(65536)
    head, _, body = seen.partition(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
