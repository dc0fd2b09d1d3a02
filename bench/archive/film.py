"""A film of any size, made while it is read, and the server that gives it."""

from __future__ import annotations

import base64
import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from bench.archive.servers import HEAD_BYTES, request
from functions.videos import multipart
from tests.archive.films import FTYP, moov

# Its length shares no factor with a part's: every part differs, and one in the wrong place would be
# seen.
BLOCK = memoryview(random.Random(7).randbytes(1_048_573))
PAST_BYTES_PER_SECOND = 1e8


class Film:
    """Bytes that are an MP4 to a walk of its boxes, made while they are read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._begin = FTYP + moov() + b"\x00\x00\x00\x01mdat" + (size - HEAD_BYTES + 16).to_bytes(8)

    def read(self, start: int, end: int) -> Iterator[memoryview]:
        while start < end:
            if start < len(self._begin):
                piece = memoryview(self._begin)[start:end]
            else:
                at = (start - len(self._begin)) % len(BLOCK)
                piece = BLOCK[at : at + end - start]
            yield piece
            start += len(piece)

    def checksums(self) -> dict[str, str]:
        """What S3 must say of it, by way; the manifest's is the hexadecimal `whole`."""
        whole, part, of_parts = hashlib.sha256(), hashlib.sha256(), []
        for start in range(0, self.size, multipart.PART_BYTES):
            part = hashlib.sha256()
            for piece in self.read(start, min(start + multipart.PART_BYTES, self.size)):
                whole.update(piece)
                part.update(piece)
            of_parts.append(part.digest())
        composite = f"{base64_of(hashlib.sha256(b''.join(of_parts)).digest())}-{len(of_parts)}"
        return {
            "whole": whole.hexdigest(),
            "one PutObject": base64_of(whole.digest()),
            "in parts": composite,
        }


class Source:
    """Serves the film over http, by Range too, and strikes once when it has sent the byte at
    `strike_at`."""

    def __init__(self, film: Film, strike: Callable[[], None]) -> None:
        self.strike_at: float | None = None
        self._film, self._strike = film, strike
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._meet, args=(connection,), daemon=True).start()

    def _meet(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:  # a killed process hangs up
            wanted = request(connection)
            if wanted:
                self._send(connection, wanted[1].endswith("?unsized"), wanted[2].get("range", ""))

    def _send(self, connection: socket.socket, is_unsized: bool, wanted: str) -> None:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first or 0), int(last) + 1 if last else self._film.size
        is_chunked = is_unsized and not wanted
        head = [f"HTTP/1.1 {206 if wanted else 200} OK", 'ETag: "1"', "Content-Type: video/mp4"]
        head.append(
            "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {end - start}"
        )
        if wanted:
            head.append(f"Content-Range: bytes {start}-{end - 1}/{self._film.size}")
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        for piece in self._film.read(start, end):
            connection.sendall(
                b"%x\r\n%b\r\n" % (len(piece), bytes(piece)) if is_chunked else piece
            )
            start += len(piece)
            self._strike_if(start)
        connection.sendall(b"0\r\n\r\n" if is_chunked else b"")
        if end == self._film.size and self.strike_at is not None:
            time.sleep((self.strike_at - end) / PAST_BYTES_PER_SECOND)
            self._strike_if(self.strike_at)

    def _strike_if(self, reached: float) -> None:
        if self.strike_at is not None and reached >= self.strike_at:
            self.strike_at = None
            self._strike()


def base64_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
