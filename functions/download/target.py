"""The text of a URL: is it one that may be opened, and which host, port and path does it name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import idna

from functions.download.errors import ForbiddenAddress

MOST_URL = 8192
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?|[0-9a-f:.]+")
PLAIN = "!#$%&'()*+,/:;=?@[]~"


def bare(url: str) -> str:
    """A URL for logs and messages: without its query, which may grant access."""
    return url.partition("?")[0].partition("#")[0][:200]


@dataclass(frozen=True)
class Target:
    """A URL that passed the check of its text. Its addresses are checked when they are known."""

    host: str
    port: int
    path: str
    is_trusted: bool


def target_of(url: str, trusted_host: str) -> Target:
    if (
        len(url) > MOST_URL
        or "\\" in url
        or any(ord(character) <= 32 or ord(character) == 127 for character in url)
    ):
        raise ForbiddenAddress("not a URL that we read the same way as others do")
    try:
        parts = urlsplit(url)
        port, host = parts.port, _ascii_host((parts.hostname or "").rstrip("."))
        path = quote(parts.path or "/", safe=PLAIN) + (
            f"?{quote(parts.query, safe=PLAIN)}" if parts.query else ""
        )
    except (ValueError, UnicodeError) as error:
        raise ForbiddenAddress(f"not a URL: {bare(url)!a}") from error
    if (
        trusted_host
        and parts.scheme == "http"
        and parts.netloc.lower() == trusted_host.lower()
        and port
    ):
        return Target(host, port, path, is_trusted=True)
    if parts.scheme != "https" or port not in (None, 443) or "@" in parts.netloc:
        raise ForbiddenAddress(f"only https, on port 443, without a user's name: {bare(url)}")
    if not _HOST.fullmatch(host):
        raise ForbiddenAddress(f"not a host: {bare(url)}")
    return Target(host, 443, path, is_trusted=False)


def _ascii_host(host: str) -> str:
    """As the resolver wants it: IDNA 2008, where ß and ss are two names. An address in brackets and
    a name with an underscore stay as they are."""
    if host.isascii():
        host.encode("idna")  # its lengths: no empty part, none past 63 letters
        return host.lower()
    return idna.encode(host, uts46=True, transitional=False).decode().lower()
