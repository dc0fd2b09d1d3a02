"""One exchange with a server that somebody else named, bounded in headers, bytes and time.

The name is resolved once, every answer is checked, and the connection goes to a checked address
with the name's own certificate check: a resolver that changes its mind between check and use
changes nothing.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from functions.download.addresses import why_refused
from functions.download.chunks import Chunks
from functions.download.errors import (
    DeadlinePassed,
    FetchError,
    ForbiddenAddress,
    SourceUnreachable,
    Unwelcome,
)
from functions.download.target import Target

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# As getaddrinfo gives it: family, kind, protocol, canonical name, address.
_Address = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Resolved = tuple[socket.AddressFamily, socket.SocketKind, int, str, _Address]

CONNECT_SECONDS = 10.0
STALL_SECONDS = 15.0  # less than the 20 s or so after which S3 drops an upload that we keep waiting
WINDOW_SECONDS = 30.0
LEAST_BYTES_PER_SECOND = 50_000
MOST_HEADER_BYTES = 64 << 10
_BUFFER_BYTES = 16 << 10
_CONTENT_RANGE = re.compile(
    r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})"
)  # int() raises on more than 4,300 digits


@dataclass
class Patience:
    """Until when, and how slowly, we let a source answer. Only time spent waiting for the source
    counts against it."""

    deadline: float
    waited: float = 0.0
    received: int = 0

    def left(self) -> float:
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise DeadlinePassed("the time for this download is up")
        return seconds

    def pause(self, seconds: float) -> None:
        time.sleep(min(seconds, self.left()))

    def note(self, seconds: float, count: int) -> None:
        self.waited += seconds
        self.received += count
        if self.waited > WINDOW_SECONDS:
            if self.received < LEAST_BYTES_PER_SECOND * self.waited:
                raise SourceUnreachable(
                    f"the source drips: {self.received} bytes in {self.waited:.0f} s"
                )
            self.waited, self.received = 0.0, 0


def open_target(target: Target, headers: dict[str, str], patience: Patience) -> Opened:
    connection = _connect(target, patience)
    try:
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = {
            "Host": f"{host}:{target.port}" if target.is_trusted else host,
            "User-Agent": "talkdrop/1",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        connection.sendall(f"GET {target.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        stream = _Stream(connection, patience)
        response = _final_response(stream)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise SourceUnreachable(
            f"{target.host} broke off before it answered: {type(error).__name__}"
        ) from error
    except BaseException:
        connection.close()
        raise
    stream.is_past_headers = True
    return Opened(response, connection, stream)


def _final_response(stream: _Stream) -> http.client.HTTPResponse:
    """The answer behind any that are only informational (RFC 9110, 15.2): 103 is read past as 100
    is. Their number is bounded by the bytes of headers."""
    while True:
        response = http.client.HTTPResponse(cast(socket.socket, stream), method="GET")
        response.begin()
        if not 101 < response.status < 200:
            return response
        response.fp = None  # type: ignore[assignment]  # its reader goes on with the next answer


def _connect(target: Target, patience: Patience) -> socket.socket:
    """Connect to a checked address; TLS and Host use the name."""
    answers = _resolve(target, patience)
    if not target.is_trusted:
        for *_, address in answers:
            if why := why_refused(str(address[0])):
                raise ForbiddenAddress(f"{target.host} is {address[0]}: {why}")
    failed: OSError | None = None
    for resolved in answers[:4]:
        try:
            return _dial(target, resolved, patience)
        except OSError as error:
            failed = error
    raise SourceUnreachable(f"could not connect to {target.host}: {failed}") from failed


def _resolve(target: Target, patience: Patience) -> Sequence[_Resolved]:
    """The resolver's answers. Nothing can interrupt it: one that is too slow is left behind in a
    thread of its own."""
    answers: list[Sequence[_Resolved] | Exception] = []

    def resolve() -> None:
        try:
            answers.append(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    seconds = min(CONNECT_SECONDS, patience.left())
    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        patience.left()
        raise SourceUnreachable(f"the resolver does not answer for {target.host}")
    answer = answers[0]
    if isinstance(answer, Exception):
        raise SourceUnreachable(f"{target.host} has no address") from answer
    return answer


def _dial(target: Target, resolved: _Resolved, patience: Patience) -> socket.socket:
    family, kind, protocol, _, address = resolved
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(min(CONNECT_SECONDS, patience.left()))
        connection.connect(address)
        if target.is_trusted:
            return connection
        connection.settimeout(min(CONNECT_SECONDS, patience.left()))
        # A body that has no length ends with the connection: only TLS's own goodbye says that this
        # is all of it (RFC 9112, 9.8). Without it, a film cut at the border of a box could pass for
        # a whole one.
        return _tls().wrap_socket(
            connection, server_hostname=target.host, suppress_ragged_eofs=False
        )
    except BaseException:
        connection.close()
        raise


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Stream(io.RawIOBase):
    """What a socket gives, under the caller's patience: the deadline is looked at before every
    read."""

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        self._connection = connection
        self._patience = patience
        self._headers = 0
        self._reader: io.BufferedReader | None = None
        self.is_past_headers = False
        self.is_tls = isinstance(connection, ssl.SSLSocket)
        self.broken: FetchError | None = None
        connection.settimeout(STALL_SECONDS)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client wants of a socket: one reader for all answers, since it reads ahead."""
        if self._reader is None:
            self._reader = io.BufferedReader(self, _BUFFER_BYTES)
        return self._reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Called for every 16 KiB: what it costs, the archive costs."""
        if self.broken:
            raise self.broken
        try:
            return self._receive(memoryview(buffer))
        except FetchError as error:
            if not self.is_past_headers:
                raise
            self.broken = error  # to the reader an end, for now: so what came before it is not lost
            return 0

    def _receive(self, buffer: memoryview) -> int:
        seconds = self._patience.left()
        if seconds < STALL_SECONDS:
            self._connection.settimeout(seconds)
        before = time.monotonic()
        try:
            if isinstance(self._connection, ssl.SSLSocket):
                count = cast(
                    int, self._connection.read(len(buffer), buffer)
                )  # recv_into is a longer way to the same
            else:
                count = self._connection.recv_into(buffer)
        except TimeoutError as error:
            self._patience.left()
            raise SourceUnreachable(f"nothing came for {STALL_SECONDS:.0f} s") from error
        except OSError as error:
            raise SourceUnreachable(f"the connection broke: {type(error).__name__}") from error
        self._patience.note(time.monotonic() - before, count)
        if not self.is_past_headers:
            self._headers += count
            if self._headers > MOST_HEADER_BYTES + _BUFFER_BYTES:
                raise Unwelcome(f"more than {MOST_HEADER_BYTES} bytes of headers")
        return count


class Opened:
    """An answer whose head has been read."""

    def __init__(
        self, response: http.client.HTTPResponse, connection: socket.socket, stream: _Stream
    ) -> None:
        self._response = response
        self._connection = connection
        self._stream = stream
        self._chunks = Chunks(stream.makefile("rb")) if response.chunked else None
        self.status = response.status

    def header(self, name: str) -> str:
        """All values of a header, on one line: a folded one must not become a line of ours."""
        values = self._response.headers.get_all(name) or []
        return ", ".join(" ".join(value.split()) for value in values)

    def extent(self) -> tuple[int, int | None, int | None]:
        """From where, up to where (exclusive), and how long the whole is; None is unknown."""
        if self.status == 206:
            span = _CONTENT_RANGE.fullmatch(self.header("content-range"))
            if span is None:
                raise SourceUnreachable("the source sends a part and does not say which")
            return int(span[1]), int(span[2]) + 1, int(span[3])
        lengths = set(self._response.headers.get_all("content-length") or [])
        if len(lengths) > 1:
            raise Unwelcome("the source gives two lengths")
        length = self._response.length
        return 0, length, length

    def readinto(self, view: memoryview) -> int:
        """Less than the view holds where it ends or breaks; 0 is the end that the protocol itself
        says, and what broke it is raised when nothing came any more."""
        try:
            count = self._chunks.readinto(view) if self._chunks else self._response.readinto(view)
        except SourceUnreachable as error:
            raise self._stream.broken or error from error
        except http.client.HTTPException as error:
            raise SourceUnreachable(f"the source broke off: {type(error).__name__}") from error
        if count:
            return count
        if self._stream.broken:
            raise self._stream.broken
        if self._chunks:
            self._chunks.check_end()
        elif self._response.length is None and not self._stream.is_tls:
            raise SourceUnreachable("the source gives no length, and nothing says that it is whole")
        return 0

    def close(self) -> None:
        self._response.close()
        self._connection.close()
