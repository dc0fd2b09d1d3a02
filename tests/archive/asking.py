"""What is asked of the guard, and what well-kept servers answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from functions.download import download
from tests.archive.internet import Visit

Answer = Callable[[Visit], None]

# How much later than its deadline a call may return on a loaded machine. What the tests stall for
# lasts longer than this.
SLACK_SECONDS = 7

URL = "https://files.example.com/out/281e.mp4?X-Amz-Signature=hush"


def give(content: bytes, **headers: Any) -> Answer:
    def answer(visit: Visit) -> None:
        visit.head(Content_Length=len(content), **headers)
        visit.send(content)

    return answer


def send_on(status: str, location: str) -> Answer:
    return lambda visit: visit.head(status, Location=location, Content_Length=0)


def get(
    url: str = URL, *, max_bytes: int = 1 << 20, seconds: float = 20.0, trusted_host: str = ""
) -> bytes:
    return download.read(
        url, max_bytes=max_bytes, deadline_seconds=seconds, trusted_host=trusted_host
    )


def refused(
    url: str = URL, kind: type[download.FetchError] = download.ForbiddenAddress, **how: object
) -> str:
    with pytest.raises(kind) as raised:
        get(url, **how)  # type: ignore[arg-type]
    assert type(raised.value) is kind
    assert "hush" not in str(raised.value)
    return str(raised.value)


def serve(content: bytes, **headers: Any) -> Answer:
    """Serves ranges as a well-kept source does."""

    def answer(visit: Visit) -> None:
        wanted = visit.headers.get("range", "").removeprefix("bytes=")
        if not wanted:
            visit.head(Content_Length=len(content), **headers)
            visit.send(content)
            return
        first, _, last = wanted.partition("-")
        start, end = int(first), min(int(last or len(content)) + 1, len(content))
        span = f"bytes {start}-{end - 1}/{len(content)}"
        visit.head("206 Partial", Content_Range=span, Content_Length=end - start, **headers)
        visit.send(content[start:end])

    return answer


def chunked(content: bytes) -> Answer:
    def answer(visit: Visit) -> None:
        visit.head(Transfer_Encoding="chunked")
        for start in range(0, len(content), 100_000):
            piece = content[start : start + 100_000]
            visit.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        visit.send(b"0\r\n\r\n")

    return answer
