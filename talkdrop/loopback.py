"""The page's first home: an HTTP server on 127.0.0.1 that serves `web/` and relays to the API.

Every site that is open in the same browser can send requests to 127.0.0.1, and a name of its own
may resolve to it (DNS rebinding). So a request needs the random token in its path, our own `Host`,
and no `Origin` or `Sec-Fetch-Site` of another site; what changes something needs our `Origin`.
https://developer.mozilla.org/en-US/docs/Web/HTTP/Headers/Sec-Fetch-Site
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any, BinaryIO, Protocol

ADDRESS = "127.0.0.1"
# `trusted-types 'none'` makes the browser itself refuse to parse a text as HTML.
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# For what others wrote, should it be opened by itself: it runs nothing and is of no origin.
FOREIGN_POLICY = "default-src 'none'; media-src 'self'; sandbox"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".mp3": "audio/mpeg",
}
MOST_BODY_BYTES = (128 << 20) + (64 << 10)  # the largest file of POST /uploads, and its form
_MOST_UNREAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Request:
    """`path` is what follows the token, with a slash at its beginning; `query` is as it came.
    Names of headers are in lower case; `body` holds `length` bytes."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: BinaryIO
    length: int


@dataclass(frozen=True)
class Answer:
    """`body` may come in pieces; `length` is then said beforehand, where it is known."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterator[bytes] = b""
    length: int | None = None


class Relay(Protocol):
    """What lies behind the page: None where there is no such address."""

    def answer(self, request: Request) -> Answer | None: ...


def problem(status: HTTPStatus, detail: str) -> Answer:
    """Problem details, as the API itself answers (RFC 9457)."""
    body = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    return Answer(status, {"Content-Type": "application/problem+json"}, json.dumps(body).encode())


def static_files(folder: Path, below: str = "") -> dict[str, Answer]:
    """Every file of this folder by its path, read now: a path is looked up and never opened, so
    none can lead out of the folder. A file that is changed is served changed after a restart."""
    return {
        f"/{below}{path.name}": Answer(
            HTTPStatus.OK, {"Content-Type": _TYPES[path.suffix]}, path.read_bytes()
        )
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
    }


class Loopback:
    """`url` has the token in it; whoever knows it, on this machine, acts with the credentials of
    who started the server."""

    def __init__(self, files: Mapping[str, Answer], relay: Relay, *, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(32)
        known = {"files": files, "relay": relay, "token": self.token}
        self._server = _Server((ADDRESS, port), type("Page", (_Handler,), known))
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Until `stop`, or Ctrl-C."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        self._server.shutdown()

    def close(self) -> None:
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Without the reverse look-up of the parent, which takes seconds where there is no DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that ends a download or closes a tab is no error."""


class _Handler(BaseHTTPRequestHandler):
    """One connection. `Loopback` makes a subclass that knows what is served, and the token."""

    files: Mapping[str, Answer]
    relay: Relay
    token: str
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "talkdrop"
    sys_version = ""
    timeout = 120  # seconds for a silent connection

    def do_GET(self) -> None:
        try:
            length = _length(self.headers)
        except ValueError as error:
            self.close_connection = True
            self._send(problem(HTTPStatus.BAD_REQUEST, str(error)))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        refusal = refuse(self.command, headers, self.server.server_port)
        body = _Body(self.rfile, length)
        self._send(refusal or self._found(headers, body, length))
        self.close_connection |= not body.drain()

    do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_GET

    def _found(self, headers: Mapping[str, str], body: _Body, length: int) -> Answer:
        path, _, query = self.path.partition("?")
        _, _, rest = path.partition("/")
        token, slash, below = rest.partition("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return _UNKNOWN
        if not slash:
            return Answer(HTTPStatus.PERMANENT_REDIRECT, {"Location": f"/{self.token}/"})
        file = self.files.get(f"/{below or 'index.html'}")
        if file and self.command == "GET":
            return file
        body_file: Any = body
        request = Request(self.command, f"/{below}", query, headers, body_file, length)
        return self.relay.answer(request) or _UNKNOWN

    def _send(self, answer: Answer) -> None:
        pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
        length = len(answer.body) if isinstance(answer.body, bytes) else answer.length
        self.send_response(answer.status)
        headers = {
            "Content-Security-Policy": POLICY, "Cache-Control": "no-store",
            **_ALWAYS, **answer.headers,
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None:
            self.close_connection = True
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        for piece in pieces if self.command != "HEAD" else ():
            self.wfile.write(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """The standard line would print the token."""


_UNKNOWN = problem(
    HTTPStatus.NOT_FOUND, "there is nothing here: open the address that talkdrop page printed"
)


def refuse(method: str, headers: Mapping[str, str], port: int) -> Answer | None:
    """Why this request may not come from our own page; None where it may. The token is checked
    after it."""
    host = f"{ADDRESS}:{port}"
    if headers.get("host") != host:
        return problem(HTTPStatus.MISDIRECTED_REQUEST, f"this server is {host} and no other name")
    if method not in ("GET", "POST"):
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or POST")
    origin = headers.get("origin")
    if origin != f"http://{host}" and (method != "GET" or origin is not None):
        return problem(HTTPStatus.FORBIDDEN, "only the page itself may ask this")
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return problem(
            HTTPStatus.FORBIDDEN, "another site sent you here: type the address, or click it there"
        )
    return None


def _length(headers: Message) -> int:
    if "Transfer-Encoding" in headers:
        raise ValueError("send a body with its Content-Length")
    text = str(headers.get("Content-Length", "0"))
    if not (text.isascii() and text.isdigit()) or int(text) > MOST_BODY_BYTES:
        raise ValueError(f"Content-Length is not a number up to {MOST_BODY_BYTES}")
    return int(text)


class _Body:
    """The request's body, which ends where its length says."""

    def __init__(self, file: Any, length: int) -> None:
        self._file, self._left = file, length

    def read(self, most: int = -1) -> bytes:
        wanted = self._left if most < 0 else min(most, self._left)
        piece: bytes = self._file.read(wanted) if wanted else b""
        self._left -= len(piece)
        return piece

    def drain(self) -> bool:
        """Read what was not wanted, so that the next request of the connection begins right; False
        where that is too much."""
        if self._left > _MOST_UNREAD_BYTES:
            return False
        self.read()
        return True
