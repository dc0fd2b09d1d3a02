"""Texts without secrets: what providers quote in their refusals ends in rows, events and logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from functions.providers._values import json_object

LONGEST = 600  # characters: enough for a person, short enough for a table and an event

_SECRETS = re.compile(
    r"(?i)(bearer\s+|X-Amz-(?:Signature|Security-Token|Credential)=|"
    r"[?&](?:sig|signature|token|key)=)[^\s\"'&]+"
)
_LONG_QUERY = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+")
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_CALLBACK = re.compile(r"(/callbacks/[^/\s\"']+/[^/\s\"']+/[^/\s\"']+/)[^\s\"']+")


_SECRET_NAME = re.compile(r"(?i)key|secret|token|sig|credential|password")
_SHORTEST = 6  # a shorter value would be found in words


def redact(text: str, values: Iterable[str] = ()) -> str:
    """The text without `values`, keys, signed query strings and callback MACs, cut to `LONGEST`.

    `values` are found as they are and percent-encoded, once or twice.
    """
    for value in sorted({form for one in values for form in _forms(one)}, key=len, reverse=True):
        text = re.sub(re.escape(value), "…", text, flags=re.IGNORECASE)
    text = _LONG_QUERY.sub(r"\1?…", _JWT.sub("…", _SECRETS.sub(r"\1…", text)))
    text = _CALLBACK.sub(r"\1…", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def secrets_of(credentials: object) -> set[str]:
    """The values in a provider's secret that are keys, by their names."""
    if not isinstance(credentials, dict):
        return set()
    named = {str(value).strip() for name, value in credentials.items() if _SECRET_NAME.search(name)}
    return {value for value in named if len(value) >= 4}


def secrets_in(sent: object) -> set[str]:
    """The values that make the URLs in a request or a record secret: their signed queries, and the
    MAC of a callback URL."""
    match sent:
        case dict():
            return set().union(*map(secrets_in, sent.values()))
        case str() if sent.startswith(("http://", "https://")):
            return _of_url(sent)
        case str() if sent.startswith("{"):  # kie's `param`: JSON in JSON, once or twice
            return secrets_in(json_object(sent))
    return set()


def _of_url(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()
    found = {
        value
        for name, value in parse_qsl(parts.query)
        if _SECRET_NAME.search(name) or len(value) >= 32
    }
    if "/callbacks/" in parts.path:
        found |= set(parts.path.rpartition("/")[2].split("."))
    return {value for value in found if len(value) >= _SHORTEST}


def _forms(value: str) -> set[str]:
    once = quote(value, safe="")
    return {value, once, quote(once, safe=""), quote_plus(value)}
