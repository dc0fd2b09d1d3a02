"""The decoder of a chunked body, which takes no break for an end."""

from __future__ import annotations

import io
import re

from functions.download.errors import SourceUnreachable

# Of a chunk: its size, and extensions that nothing depends on.
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_MOST_CHUNK_LINE, _MOST_TRAILERS = 8192, 100


class Chunks:
    """A chunked body (RFC 9112, 7.1). The standard library takes an unreadable size, a missing last
    chunk and a connection that ends there for the end of the body; here they are a break."""

    def __init__(self, reader: io.BufferedReader) -> None:
        self._reader = reader
        self._left = 0
        self._is_first = True
        self._is_over = False

    def readinto(self, view: memoryview) -> int:
        if not self._left and not self._is_over:
            self._next_chunk()
        count = self._reader.readinto(view[: self._left])
        self._left -= count
        return count

    def check_end(self) -> None:
        if not self._is_over:
            raise SourceUnreachable("the source broke off within a chunk")

    def _next_chunk(self) -> None:
        if not self._is_first and self._reader.read(2) != b"\r\n":
            raise SourceUnreachable("the source broke off behind a chunk")
        self._is_first = False
        line = self._reader.readline(_MOST_CHUNK_LINE)
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise SourceUnreachable("the source broke off before a chunk")
        self._left = int(size[1], 16)
        if not self._left:
            self._read_trailers()
            self._is_over = True

    def _read_trailers(self) -> None:
        for _ in range(_MOST_TRAILERS):
            line = self._reader.readline(_MOST_CHUNK_LINE)
            if line in (b"\r\n", b"\n"):
                return
            if not line.endswith(b"\n"):
                break
        raise SourceUnreachable("the source broke off in its trailers")
