"""The two wires that are sockets: a provider's result host, and S3 while a video streams into
it."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import socket
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.account import Account

RESULTS_HOST = "results.sim:8080"
FILES_HOST = "files.example.com"  # a customer's own, by https
S3_HOST = "s3.sim"


class Environment:
    """Who answers on the wires just now; one at a time."""

    account: Account
    serve: Callable[[httpx.Request], httpx.Response]
    result: Callable[[str], bytes | None]
    random: random.Random


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
        piece = self._answer.read(len(buffer))
        if not piece and self._breaks:
            raise ConnectionResetError("the connection was reset")
        buffer[: len(piece)] = piece
        return len(piece)

    def _whole(self, path: str) -> bytes:
        body = environment.result(path)
        if body is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

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
        bucket, _, key = lines[0].split(" ")[1].lstrip("/").partition("/")
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
