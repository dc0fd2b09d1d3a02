"""HTTP: requests in, answers out, and the ways an answer can go wrong on the wire."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MOST_BODY = 160_000_000  # a base64 portrait and voice, or a file of 100 MB uploaded to kie


@dataclass(frozen=True)
class Request:
    """What a provider looks at."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        """ValueError for what is not JSON."""
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None


@dataclass
class Response:
    """An answer; `wire` says how it fails to arrive."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    """Instead of a body: this file, from `first` and `length` bytes of it."""
    first: int = 0
    length: int = 0
    wire: str = ""
    """"", cut, truncated, hang, drip or huge."""
    encoding: str = ""
    """gzip (and chunked), chunked, or "" for neither."""
    amount: float = 0
    """Seconds to hang, bytes in a second to drip, bytes in all to be huge."""


def json_response(body: Any, status: int = 200, **headers: str) -> Response:
    content = as_json(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, content, {"Content-Type": "application/json;charset=UTF-8"} | named)


def as_json(body: Any) -> bytes:
    """As providers write it, in UTF-8; half a surrogate pair, which has no UTF-8, is escaped."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


def html_response(status: int, title: str) -> Response:
    page = (
        "<!DOCTYPE "
        f"html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    )
    return Response(status, page.encode(), {"Content-Type": "text/html; charset=UTF-8"})


class Listener:
    """One provider on one port."""

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        answer: Callable[[Request], Response],
        verbose: bool,
    ) -> None:
        self.name = name
        known = {"name": name, "answer": staticmethod(answer), "verbose": verbose}
        self._server = _Server(address, type("Handler", (_Handler,), known))
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.hang_up()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a hanging answer must not hang the one who stops us
    request_queue_size = 512  # a burst of a few hundred is our trade

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without the reverse look-up of the parent, which takes seconds where there is no DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Idle connections would be answered for as long as their clients keep them."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # its client was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """A connection. Each listener has a subclass that knows its name and who answers."""

    name: str
    answer: Callable[[Request], Response]
    verbose: bool
    protocol_version = "HTTP/1.1"
    server_version = "cloudflare"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        began = time.monotonic()
        try:
            request = self._read()
        except ValueError:  # a length or a chunk that is no number
            self.close_connection = True
            self.send_error(400)
            return
        if request is None:
            return
        try:
            response = type(self).answer(request)
        except Exception:  # noqa: BLE001 - a bug of ours must not look like one of the provider's answers
            traceback.print_exc()
            response = json_response({"error": "the simulator broke; its own output says how"}, 599)
        if self.verbose:
            took = int((time.monotonic() - began) * 1000)
            print(
                f"{self.name} {request.method} {request.path} {response.status} {response.wire} "
                f"{took} ms",
                flush=True,
            )
        self._write(request, response)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = do_GET

    def _read(self) -> Request | None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = self._chunks()
        else:
            length = int(self.headers.get("Content-Length") or 0)
            if length < 0:
                raise ValueError("Content-Length")
            body = self.rfile.read(min(length, MOST_BODY + 1))
        if len(body) > MOST_BODY:
            self.send_error(413)
            self.close_connection = True
            return None
        parts = urlsplit(self.path if self.path.startswith("/") else "/" + self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, parts.path, query, headers, body)

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := abs(int(self.rfile.readline(100).split(b";")[0], 16)):
            body += self.rfile.read(size)
            self.rfile.readline()
            if len(body) > MOST_BODY:
                break
        self.rfile.readline()
        return bytes(body)

    def _write(self, request: Request, response: Response) -> None:
        if response.wire == "hang":
            time.sleep(response.amount)
        if response.wire in ("cut", "hang"):
            self.close_connection = True
            return
        zipped = response.encoding == "gzip" and "gzip" in request.headers.get(
            "accept-encoding", ""
        )
        if zipped:
            response.body = gzip.compress(response.body)
            response.headers = response.headers | {"Content-Encoding": "gzip"}
        length = int(response.amount) if response.wire == "huge" else _length(response)
        chunked = response.encoding == "chunked" or zipped
        self.send_response(response.status)
        for header, value in response.headers.items():
            self.send_header(header, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if chunked and request.method != "HEAD":
            self._send_chunks(response)
            return
        if request.method != "HEAD" and response.status != 304:
            self._send(response, length)

    def _send_chunks(self, response: Response) -> None:
        """In pieces of 256 bytes; a truncated answer ends without its last chunk."""
        body = response.body
        cut = len(body) // 2 if response.wire == "truncated" else len(body)
        for at in range(0, cut, 256):
            piece = body[at : min(at + 256, cut)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if response.wire == "truncated":
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, response: Response, length: int) -> None:
        if response.wire == "truncated":
            length //= 2
            self.close_connection = True
        slow = response.wire == "drip"
        for piece in _pieces(
            response, length, max(1, int(response.amount / 10)) if slow else 1 << 16
        ):
            self.wfile.write(piece)
            if slow:
                self.wfile.flush()
                time.sleep(0.1)

    def log_message(self, format: str, *args: Any) -> None:
        """The standard line would print query strings, and links and keys can be in them."""


def _length(response: Response) -> int:
    return response.length if response.file else len(response.body)


def _pieces(response: Response, length: int, size: int) -> Any:
    if response.wire == "huge":
        for at in range(0, length, size):
            yield (response.body or bytes(size))[: min(size, length - at)].ljust(
                min(size, length - at), b"\0"
            )
    elif response.file:
        with response.file.open("rb") as content:
            content.seek(response.first)
            for at in range(0, length, size):
                yield content.read(min(size, length - at))
    else:
        for at in range(0, length, size):
            yield response.body[at : min(at + size, length)]
