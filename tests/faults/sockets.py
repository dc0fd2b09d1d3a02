"""The two wires that are sockets: a provider's result host, and S3 while a video streams into
it."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.account import Account

RESULTS_HOST = "results.sim:8080"
FILES_HOST = "files.example.com"  # a customer's own, by https
S3_HOST = "s3.sim"
SIGNED_QUERY = "x-id=PutObject"  # as other SDKs of AWS send it: what is signed must arrive


class Environment:
    """Who answers on the wires just now; one at a time."""

    account: Account
    serve: Callable[[httpx.Request], httpx.Response]
    result: Callable[[str], bytes | None]
    random: random.Random
    # Of the result host: the strong ETag that it gives, if any, with which it takes ranges; how
    # many bytes a second it sends, 0 for at once; and whether it says no length.
    etag: str = ""
    speed: float = 0
    is_chunked: bool = False


environment = Environment()


class _Socket:
    """What http.client and our own wire ask of a socket."""

    def __init__(self, *_: Any) -> None:
        self.sent = bytearray()

    def settimeout(self, _: Any) -> None: ...
    def setsockopt(self, *_: Any) -> None: ...
    def connect(self, _: Any) -> None: ...
    def close(self) -> None: ...
    def sendall(self, data: Any) -> None:
        self.sent += data


def _length(content: bytes) -> str:
    coding = "Transfer-Encoding: chunked\r\n"
    return coding if environment.is_chunked else f"Content-Length: {len(content)}\r\n"


def _broken(_: bool) -> Exception:
    return ConnectionResetError("the connection was reset")


_ADDRESSES = {RESULTS_HOST.split(":")[0]: "10.0.0.9", FILES_HOST: "93.184.216.34"}


def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
    if host not in _ADDRESSES:
        raise OSError("no such host")
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (_ADDRESSES[host], port))]


class ResultSocket(_Socket):
    """A provider's result host. An answer that is lost half-way breaks off within the video."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self._answer: io.BytesIO | None = None
        self._breaks = False

    def recv_into(self, buffer: Any) -> int:
        if self._answer is None:
            path = bytes(self.sent).split(b" ", 2)[1].decode()
            whole = environment.account.clock.wire(
                "results GET", lambda: self._whole(path), self._broken_off
            )
            if isinstance(whole, bytes):
                self._answer = io.BytesIO(whole)
        if self._answer is None:
            raise ConnectionResetError("the connection was reset")
        piece = self._answer.read(min(len(buffer), 1 << 16) if environment.speed else len(buffer))
        if not piece and self._breaks:
            raise ConnectionResetError("the connection was reset")
        buffer[: len(piece)] = piece
        if environment.speed:
            environment.account.clock.now += len(piece) / environment.speed
        return len(piece)

    def _whole(self, path: str) -> bytes:
        body = environment.result(path)
        if body is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        status, content, more = "200 OK", body, ""
        if environment.etag:
            more = f"ETag: {environment.etag}\r\n"
            wanted = re.search(rb"Range: bytes=(\d+)-(\d*)", self.sent)
            if wanted and f"If-Range: {environment.etag}".encode() in self._with_validator():
                first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
                status, content = "206 Partial Content", body[first : last + 1]
                more += f"Content-Range: bytes {first}-{last}/{len(body)}\r\n"
        more += _length(content)
        head = f"HTTP/1.1 {status}\r\nContent-Type: video/mp4\r\n{more}\r\n"
        if environment.is_chunked:
            content = f"{len(content):x}\r\n".encode() + content + b"\r\n0\r\n\r\n"
        return head.encode() + content

    def _with_validator(self) -> bytes:
        """The request; one without a validator takes whatever file there is."""
        sent = bytes(self.sent)
        return sent if b"If-Range" in sent else sent + f"If-Range: {environment.etag}".encode()

    def _broken_off(self, after: bool) -> Exception:
        if after:
            whole = self._whole(bytes(self.sent).split(b" ", 2)[1].decode())
            self._answer, self._breaks = io.BytesIO(whole[: len(whole) - 7]), True
        return ConnectionResetError("the connection was reset")


class PutSocket(_Socket):
    """S3, as far as one streamed PutObject with a trailing checksum goes."""

    def makefile(self, *_: Any, **__: Any) -> Any:
        answer = environment.account.clock.wire("s3 PutObject", self._put, _broken)
        status, reason = answer
        return io.BytesIO(
            f'HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nETag: "e"\r\n\r\n'.encode()
        )

    def _put(self) -> tuple[int, str]:
        head, _, body = bytes(self.sent).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        path, _, query = lines[0].split(" ")[1].partition("?")
        if query != SIGNED_QUERY:
            return 403, "Signature Does Not Match"
        bucket, _, key = path.lstrip("/").partition("/")
        size, _, rest = body.partition(b"\r\n")
        content, trailer = rest[: int(size, 16)], rest[int(size, 16) :]
        checksum = trailer.decode().partition("x-amz-checksum-sha256:")[2].strip()
        if checksum != base64.b64encode(hashlib.sha256(content).digest()).decode():
            return 400, "Bad Digest"
        if (
            "if-none-match: *" in head.decode().lower()
            and environment.account.buckets.latest(bucket, key) is not None
        ):
            return 412, "Precondition Failed"
        environment.account.buckets.put(bucket, key, content)
        return 200, "OK"
