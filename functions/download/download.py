"""The only code that opens a URL somebody else chose: https, public addresses, bounded in bytes,
time and patience.

Redirects are followed by hand, through the same door. httpx has no total deadline and costs more
processor time for the bytes (docs/performance.md), so the standard library's parser reads from a
socket of our own (connection.py).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TypedDict, Unpack
from urllib.parse import quote, urljoin

from functions.download.connection import Opened, Patience, open_target
from functions.download.errors import (
    Changed,
    DeadlinePassed,
    FetchError,
    ForbiddenAddress,
    LinkDead,
    SourceUnreachable,
    Unwelcome,
)
from functions.download.target import PLAIN, bare, target_of

__all__ = [
    "Changed",
    "DeadlinePassed",
    "Download",
    "FetchError",
    "ForbiddenAddress",
    "LinkDead",
    "SourceUnreachable",
    "Unwelcome",
    "bare",
    "open_url",
    "read",
    "target_of",
]

MOST_REDIRECTS = 3
# Before each try to go on; then it is given up. S3 bears with an upload that waits for its next
# byte for some 20 s.
PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0, 4.0)
PROGRESS_BYTES = (
    1 << 20
)  # after so much the tries are counted anew: some sources end every connection after a minute

_STRONG = re.compile(r'"[!#-~\x80-\xff]*"')  # RFC 9110, 8.8.3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LATER = frozenset({408, 425, 429})
_READ_BYTES = 64 << 10


def read(
    url: str, *, max_bytes: int, deadline_seconds: float = 30.0, trusted_host: str = ""
) -> bytes:
    """The whole of what the URL gives, if that is at most `max_bytes`. Raises a FetchError."""
    with open_url(
        url, max_bytes=max_bytes, deadline_seconds=deadline_seconds, trusted_host=trusted_host
    ) as download:
        content = bytearray()
        buffer = memoryview(bytearray(_READ_BYTES))
        while count := download.readinto(buffer):
            content += buffer[:count]
        return bytes(content)


class Range(TypedDict, total=False):
    """From where and (exclusively) up to where; `validator` is the ETag that must still stand."""

    range_from: int
    range_to: int | None
    validator: str | None


def open_url(
    url: str,
    *,
    max_bytes: int,
    deadline_seconds: float,
    trusted_host: str | None = None,
    **part: Unpack[Range],
) -> Download:
    """Open a URL that a stranger chose. Raises a FetchError, as does every later read.

    `trusted_host` ("host:port", from a provider's secret: only the simulator's) allows exactly that
    plain-http address, private as it may be; nothing else is relaxed."""
    patience = Patience(time.monotonic() + deadline_seconds)
    download = Download(
        url,
        trusted_host or "",
        max_bytes,
        patience,
        part.get("range_from", 0),
        part.get("range_to"),
        part.get("validator"),
    )
    download.start()
    return download


@dataclass
class Download:
    """One GET. Where it breaks off it goes on by Range, if the source's strong ETag still stands.

    `length` is that of the whole file, None where the source does not say; `etag` the strong
    validator, if any.
    """

    url: str
    trusted_host: str
    max_bytes: int
    patience: Patience
    position: int
    end: int | None
    etag: str | None
    length: int | None = None
    content_type: str = ""
    _open: Opened | None = field(default=None, repr=False)
    _tries: int = 0
    _counted_from: int = 0

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def start(self) -> None:
        """Open it, or open it again where it broke off."""
        self.close()
        opened = _follow(self.url, self.trusted_host, self._range(), self.patience)
        try:
            self._agree(opened)
        except BaseException:
            opened.close()
            raise
        self._open = opened

    def readinto(self, view: memoryview) -> int:
        """Fill the view, less only at the end; 0 is the end. What the source promised and did not
        send is an error."""
        filled = 0
        while filled < len(view) and not self._is_at_end():
            try:
                count = self._open.readinto(view[filled:][: self._owed()]) if self._open else 0
                if count == 0 and self._owed():
                    raise SourceUnreachable(
                        f"the source broke off after {self.position} of {self.length} bytes"
                    )
            except (Changed, DeadlinePassed):
                raise
            except SourceUnreachable as error:
                self._reopen(error)
                continue
            if count == 0:
                self.close()
                break
            filled += count
            self.position += count
            if self.position > self.max_bytes:
                raise Unwelcome(f"more than {self.max_bytes} bytes")
        return filled

    def _is_at_end(self) -> bool:
        return self._open is None or self._owed() == 0

    def _owed(self) -> int | None:
        return None if self.end is None else max(self.end - self.position, 0)

    def _reopen(self, broken: SourceUnreachable) -> None:
        """Go on where it broke off. Raises what went wrong last when that is tried too often."""
        if self.position - self._counted_from >= PROGRESS_BYTES:
            self._tries, self._counted_from = 0, self.position
        while self.etag is not None and self._tries < len(PAUSES_SECONDS):
            self.patience.pause(PAUSES_SECONDS[self._tries])
            self._tries += 1
            try:
                return self.start()
            except (Changed, DeadlinePassed):
                raise
            except SourceUnreachable as error:
                broken = error
        raise broken

    def _range(self) -> dict[str, str]:
        if not self.position and self.end is None:
            return {}
        last = "" if self.end is None else str(self.end - 1)
        validator = {"If-Range": self.etag} if self.etag else {}
        return {"Range": f"bytes={self.position}-{last}", **validator}

    def _agree(self, opened: Opened) -> None:
        """Is this the same file, from where we want it? Keep what the first answer says of it."""
        etag = opened.header("etag")
        strong = etag if _STRONG.fullmatch(etag) else None
        if self.etag is not None and strong != self.etag:
            raise Changed("the file at the source has changed")
        start, end, length = opened.extent()
        if start != self.position:
            raise Changed("the source does not go on where it broke off")
        if self.length is not None and length != self.length:
            raise Changed("the file at the source has changed its length")
        if length is not None and length > self.max_bytes:
            raise Unwelcome(f"{length} bytes, more than {self.max_bytes}")
        ends = [known for known in (self.end, length) if known is not None]
        wanted = min(ends, default=None)
        if wanted is not None and end is not None and end < wanted:
            raise SourceUnreachable("the source sends less than was asked for")
        self.etag, self.length, self.end = strong, length, wanted
        self.content_type = opened.header("content-type")


def _follow(url: str, trusted_host: str, headers: dict[str, str], patience: Patience) -> Opened:
    """GET, through at most three redirects, each checked as the first was; nothing but our own
    headers is sent."""
    for _ in range(MOST_REDIRECTS + 1):
        target = target_of(url, trusted_host)
        if not target.is_trusted:
            trusted_host = ""  # the exception for trusted hosts ends at the first redirect off them
        opened = open_target(target, headers, patience)
        if opened.status not in _REDIRECTS:
            return _accept(opened, url)
        location = opened.header("location").encode("latin-1", "replace")
        opened.close()
        if not location:
            raise LinkDead(f"{bare(url)} answered {opened.status} without saying where")
        try:
            url = urljoin(url, quote(location, safe=PLAIN))
        except ValueError as error:
            raise LinkDead(f"{bare(url)} answered {opened.status} and leads nowhere") from error
    raise ForbiddenAddress(f"more than {MOST_REDIRECTS} redirects")


def _accept(opened: Opened, url: str) -> Opened:
    status = opened.status
    try:
        if status in (200, 206):
            if opened.header("content-encoding").lower() not in ("", "identity"):
                raise Unwelcome(f"{bare(url)} sends it encoded, although asked not to")
            if opened.header("transfer-encoding").lower() not in ("", "chunked"):
                raise Unwelcome(f"{bare(url)} sends it in a transfer encoding we did not ask for")
            return opened
        if status >= 500 or status in _LATER:
            raise SourceUnreachable(f"{bare(url)} answered {status}")
        raise LinkDead(f"{bare(url)} answered {status}")
    except FetchError:
        opened.close()
        raise
