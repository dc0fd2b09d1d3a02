"""A simulator, a server of its media, and a receiver of its callbacks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from local import simulator
from local.simulator import Simulator
from tests.simulator import drawn

AVATAR = "/v1/videos/avatar/image2video"
PREFIX = {
    "kling": "",
    "comet": "/kling",
    "relay": "/kling",
    "relay-b": "/kling",
    "relay-d": "/kling",
}

plain = httpx.Client(timeout=30, trust_env=False, verify=False)
"""A client without a key."""


class Shelf:
    """Serves what a test put on it. `/away` redirects, everything else is 404."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.address = ""

    def put(self, name: str, content: bytes) -> str:
        self.files["/" + name] = content
        return f"{self.address}/{name}"

    def answer(self, handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        if handler.path == "/away":
            return 302, b""
        content = self.files.get(handler.path)
        return (404, b"") if content is None else (200, content)


class CallbackReceiver:
    """Receives callbacks. `refuse` of them are answered with 500 first."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.refuse = 0
        self.address = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> tuple[int, bytes]:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        if self.refuse:
            self.refuse -= 1
            return 500, b""
        self.received.append(
            (handler.path, {name.lower(): value for name, value in handler.headers.items()}, body)
        )
        return 200, b'{"code":200,"msg":"success"}'

    def bodies(self, path: str = "") -> list[dict[str, Any]]:
        return [json.loads(body) for where, _, body in list(self.received) if path in where]


@contextmanager
def _served(what: Shelf | CallbackReceiver) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            status, body = what.answer(self)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", f"{what.address}/portrait.png")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    what.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


class Client:
    """A client that has a key and follows the documentation, without a library."""

    def __init__(self, simulated: Simulator, shelf: Shelf) -> None:
        self.simulator, self.shelf = simulated, shelf
        self.http = httpx.Client(timeout=30, trust_env=False, verify=False)

    def call(self, provider: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.simulator.keys[provider]}"} | more.pop(
            "headers", {}
        )
        return self.http.request(
            method, self.simulator.addresses[provider] + path, headers=headers, **more
        )

    def kie(
        self, model: str = "kling/ai-avatar-standard", callback: str = "", **fields: Any
    ) -> httpx.Response:
        given = {
            "image_url": self.shelf.address + "/portrait.png",
            "audio_url": self.shelf.address + "/voice.wav",
        }
        prompt = "She speaks." if model.startswith("infinitalk") else ""
        body = {"model": model, "input": given | {"prompt": prompt} | fields} | (
            {"callBackUrl": callback} if callback else {}
        )
        return self.call("kie", "POST", "/api/v1/jobs/createTask", json=body)

    def kie_record(self, job_id: str) -> dict[str, Any]:
        answer = self.call("kie", "GET", "/api/v1/jobs/recordInfo", params={"taskId": job_id})
        return answer.json()["data"] or {}

    def avatar(self, provider: str = "kling", **fields: Any) -> httpx.Response:
        given = {
            "image": self.shelf.address + "/portrait.png",
            "sound_file": self.shelf.address + "/voice.wav",
        }
        if provider == "comet":
            given["prompt"] = "She speaks."
        body = {name: value for name, value in (given | fields).items() if value is not None}
        return self.call(provider, "POST", PREFIX[provider] + AVATAR, json=body)

    def avatar_record(self, provider: str, job_id: str) -> httpx.Response:
        return self.call(provider, "GET", f"{PREFIX[provider]}{AVATAR}/{job_id}")

    def control(self, method: str, path: str, **body: Any) -> Any:
        answer = self.http.request(
            method, f"{self.simulator.addresses['control']}/control/{path}", json=body or None
        )
        return answer.json()


def until(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What it gives, once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := true():
            return result
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@pytest.fixture(scope="session")
def shelf() -> Iterator[Shelf]:
    shelf = Shelf()
    shelf.put("portrait.png", drawn.portrait())
    shelf.put("voice.wav", drawn.voice())
    with _served(shelf):
        yield shelf


@pytest.fixture
def receiver() -> Iterator[CallbackReceiver]:
    receiver = CallbackReceiver()
    with _served(receiver):
        yield receiver


@pytest.fixture
def open_client(shelf: Shelf) -> Iterator[Callable[..., Client]]:
    """Simulators with options of a test's own; jobs take a blink."""
    opened: list[Client] = []

    def opener(**options: Any) -> Client:
        usual = {"speed": 1000.0, "job_seconds": 50.0, "job_seconds_per_second": 0.0}
        opened.append(Client(simulator.start(**(usual | options)), shelf))
        return opened[-1]

    yield opener
    for client in opened:
        client.http.close()
        client.simulator.stop()


@pytest.fixture(scope="session")
def strict(shelf: Shelf) -> Iterator[Client]:
    """Jobs are accepted and never rendered: for tests that look at the door only, and change
    nothing."""
    unlimited: dict[str, Any] = {
        "kie_creates_per_10s": 10_000,
        "kie_queries_per_second": 0,
        "kling_slots": 0,
    }
    with simulator.start(**unlimited) as simulated:
        simulated.fault("stuck")
        client = Client(simulated, shelf)
        yield client
        client.http.close()


@pytest.fixture
def client(open_client: Callable[..., Client]) -> Client:
    return open_client()
