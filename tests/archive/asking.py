"""What the tests of the guard ask, and what plain servers answer."""

from __future__ import annotations

import pytest

from functions import fetch
from tests.archive.internet import Visit

URL = "https://files.example.com/out/281e.mp4?X-Amz-Signature=hush"


def give(content: bytes, **headers: object):
    def answer(visit: Visit) -> None:
        visit.head(Content_Length=len(content), **headers)
        visit.send(content)

    return answer


def send_on(status: str, location: str):
    return lambda visit: visit.head(status, Location=location, Content_Length=0)


def get(url: str = URL, *, max_bytes: int = 1 << 20, seconds: float = 20.0, trusted_host: str = "") -> bytes:
    return fetch.read(url, max_bytes=max_bytes, deadline_seconds=seconds, trusted_host=trusted_host)


def refused(url: str = URL, kind: type[fetch.FetchError] = fetch.ForbiddenAddress, **how: object) -> str:
    with pytest.raises(kind) as raised:
        get(url, **how)  # type: ignore[arg-type]
    assert type(raised.value) is kind
    assert "hush" not in str(raised.value)
    return str(raised.value)
