"""The page's loopback server over a tasks API that answers by a table, both behind real sockets."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from botocore.credentials import Credentials

from talkdrop import loopback
from talkdrop.commands.page import WEB
from talkdrop.relay import ApiRelay
from talkdrop.wire import Wire

TASK = "5f3ac9e1b7d84c2e9a6f0b1d2c3e4f5a"
FILM = bytes(range(256)) * 40


@dataclass(frozen=True)
class Got:
    """A request as it came to the API, to S3 or to the simulator."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Behind(BaseHTTPRequestHandler):
    """The API, S3 and the simulator's control endpoint on one port, by the path."""

    protocol_version = "HTTP/1.1"
    got: list[Got]
    answers: dict[str, tuple[int, dict[str, str], bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.got.append(Got(self.command, self.path, headers, body))
        path = self.path.partition("?")[0]
        known = self.answers.get(self.path) or self.answers.get(path)
        status, extra, content = known or (200, {}, b'{"tasks": [], "cursor": null}')
        if first := self.headers.get("Range"):
            start = int(first.removeprefix("bytes=").partition("-")[0])
            extra |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            status, content = 206, content[start:]
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **extra}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None: ...


class Quiet(ThreadingHTTPServer):
    """A browser that closes its tab breaks its connections off."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None: ...


@dataclass
class Browser:
    """Sends what a browser would, and what it never would."""

    server: loopback.Loopback
    got: list[Got]
    answers: dict[str, tuple[int, dict[str, str], bytes]]
    behind: str
    api: ThreadingHTTPServer

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def ask(
        self, method: str, below: str, body: bytes = b"", *, path: str = "", **headers: str | None
    ) -> Answer:
        """`below` follows the token; `path` replaces the whole. A header that is None is left
        out."""
        given: dict[str, str | None] = {"Host": self.origin.removeprefix("http://")}
        if method != "GET":
            given |= {"Origin": self.origin, "Content-Length": str(len(body))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.putrequest(
            method,
            path or f"/{self.server.token}{below}",
            skip_host=True,
            skip_accept_encoding=True,
        )
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        known = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, known, content)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def browser() -> Iterator[Browser]:
    got: list[Got] = []
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
    known = {"got": got, "answers": answers}
    behind = Quiet(("127.0.0.1", 0), type("Handler", (Behind,), known))
    threading.Thread(target=behind.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{behind.server_port}"
    with httpx.Client(timeout=20) as http:
        credentials = Credentials("AKID", "key")
        wire = Wire(url, http, region="eu-central-1", credentials=credentials, token="")
        relay = ApiRelay(wire, http, {"stack": "Talkdrop", "embedded": True}, simulator=url)
        server = loopback.Loopback(loopback.static_files(WEB), relay)
        threading.Thread(target=server.serve, daemon=True).start()
        yield Browser(server, got, answers, url, behind)
        server.stop()
        server.close()
    behind.shutdown()
    behind.server_close()
