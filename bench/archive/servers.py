"""The two ends of the line: a source of films of any size, and a sink that speaks just enough S3
and DynamoDB.

Run as processes of their own (`python -m bench.archive.servers source|sink CERTIFICATE`); each
prints its port. They take the emulator out of the way: it keeps objects, and tops out long before a
relay does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from urllib.parse import parse_qsl

from tests.archive.films import FTYP, moov

BLOCK = random.Random(7).randbytes(1 << 20)
HEAD_BYTES = len(FTYP + moov()) + 16


Answer = tuple[str, Mapping[str, object], bytes]
"""Status line, headers, body."""


def serve(answer: Callable[[ssl.SSLSocket], bool], certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)

    def meet(connection: socket.socket) -> None:
        with (
            suppress(OSError, ssl.SSLError),
            connection,
            context.wrap_socket(connection, server_side=True) as spoken,
        ):
            while answer(spoken):
                pass

    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=meet, args=(connection,), daemon=True).start()


def request(connection: socket.socket) -> tuple[str, str, dict[str, str], bytes] | None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65536)
        if not piece:
            return None
        head += piece
    head, _, rest = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    method, path, _ = first.split(" ")
    return method, path, headers, rest


def source(connection: ssl.SSLSocket) -> bool:
    """`/<bytes>`: a film of exactly so many bytes."""
    received = request(connection)
    if received is None:
        return False
    size = int(received[1].partition("?")[0].strip("/").partition(".")[0])
    begin = FTYP + moov() + b"\x00\x00\x00\x01mdat" + (size - HEAD_BYTES + 16).to_bytes(8)
    connection.sendall(
        f'HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nETag: "{size}"\r\n\r\n'.encode() + begin
    )
    left = size - len(begin)
    view = memoryview(BLOCK)
    while left:
        piece = view[: min(left, len(BLOCK))]
        connection.sendall(piece)
        left -= len(piece)
    return True


class Sink:
    """Forgets every byte of an object but keeps its size and checksum."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, str]] = {}
        self.parts: dict[str, dict[int, tuple[int, bytes]]] = {}
        self.item: dict[str, object] = {}
        self.uploads = 0

    def __call__(self, connection: ssl.SSLSocket) -> bool:
        received = request(connection)
        if received is None:
            return False
        method, path, headers, rest = received
        if headers.get("expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        size, tail = drain(connection, headers, rest)
        trailer = re.search(rb"x-amz-checksum-sha256:([\w+/=]{44})", tail)
        checksum = headers.get("x-amz-checksum-sha256", "") or (
            trailer[1].decode() if trailer else ""
        )
        size = int(headers.get("x-amz-decoded-content-length", size))
        status, fields, body = self.answer(method, path, headers, size, checksum, tail)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        length = fields.get("Content-Length", len(body))
        lines = "".join(
            f"{name}: {value}\r\n" for name, value in ({**fields, "Content-Length": length}).items()
        )
        connection.sendall(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
        return True

    def answer(
        self, method: str, path: str, headers: dict[str, str], size: int, checksum: str, body: bytes
    ) -> Answer:
        if "x-amz-target" in headers:
            return self.table(headers, body)
        key, _, query = path.partition("?")
        if method == "GET":
            if "uploads" in query:
                return "200 OK", {}, b"<ListMultipartUploadsResult></ListMultipartUploadsResult>"
            return "404 Not Found", {}, b"<Error><Code>NoSuchKey</Code></Error>"
        if method == "HEAD":
            if key not in self.objects:
                return "404 Not Found", {}, b""
            size, checksum = self.objects[key]
            fields = {
                "Content-Length": size,
                "ETag": '"e"',
                "Last-Modified": formatdate(usegmt=True),
            }
            return "200 OK", fields | {"x-amz-checksum-sha256": checksum}, b""
        if method == "POST":
            return self.multipart(key, query)
        if "partNumber" in query:
            parameters = dict(parse_qsl(query))
            number, upload = (
                int(parameters["partNumber"]),
                parameters["uploadId"],
            )
            self.parts[upload][number] = size, base64.b64decode(checksum)
        elif "if-none-match" in headers and key in self.objects and not key.endswith(".json"):
            return "412 Precondition Failed", {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        else:
            self.objects[key] = size, checksum
        return (
            "200 OK",
            {"ETag": '"e"'} | ({"x-amz-checksum-sha256": checksum} if checksum else {}),
            b"",
        )

    def multipart(self, key: str, query: str) -> Answer:
        if "uploadId" not in query:
            self.uploads += 1
            self.parts[f"u{self.uploads}"] = {}
            upload = f"<UploadId>u{self.uploads}</UploadId>"
            answer = f"<InitiateMultipartUploadResult>{upload}</InitiateMultipartUploadResult>"
            return "200 OK", {}, answer.encode()
        parts = self.parts.pop(dict(parse_qsl(query))["uploadId"])
        whole = hashlib.sha256(b"".join(digest for _, digest in parts.values())).digest()
        checksum = f"{base64.b64encode(whole).decode()}-{len(parts)}"
        self.objects[key] = sum(size for size, _ in parts.values()), checksum
        return (
            "200 OK",
            {},
            b"<CompleteMultipartUploadResult><ETag>e-1</ETag></CompleteMultipartUploadResult>",
        )

    def table(self, headers: dict[str, str], body: bytes) -> Answer:
        if headers["x-amz-target"].endswith("PutItem"):
            self.item = json.loads(body)["Item"]
            return "200 OK", {}, b"{}"
        return (
            "200 OK",
            {"Content-Type": "application/x-amz-json-1.0"},
            json.dumps({"Item": self.item}).encode(),
        )


_scratch = threading.local()


def drain(connection: ssl.SSLSocket, headers: dict[str, str], rest: bytes) -> tuple[int, bytes]:
    """Read a body and keep only its end: how long it was, and the last of it."""
    if not hasattr(_scratch, "buffer"):
        _scratch.buffer = memoryview(bytearray(1 << 18))
    buffer, tail, size = _scratch.buffer, rest[-8192:], len(rest)
    length = headers.get("content-length")
    if headers.get("transfer-encoding") == "chunked":
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            count = connection.recv_into(buffer)
            tail = (tail + bytes(buffer[max(count - 8192, 0) : count]))[-8192:]
            size += count
    else:
        while size < int(length or 0):
            count = connection.recv_into(buffer)
            tail = (tail + bytes(buffer[max(count - 8192, 0) : count]))[-8192:]
            size += count
    return size, tail


if __name__ == "__main__":
    serve(source if sys.argv[1] == "source" else Sink(), sys.argv[2])
