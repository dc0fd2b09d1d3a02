"""Texts without secrets: what providers quote in their refusals ends in rows, events and logs."""

from __future__ import annotations

import re

LONGEST = 600  # characters: enough for a person, short enough for a table and an event

_SECRETS = re.compile(
    r"(?i)(bearer\s+|X-Amz-(?:Signature|Security-Token|Credential)=|"
    r"[?&](?:sig|signature|token|key)=)[^\s\"'&]+"
)
_LONG_QUERY = re.compile(r"(https?://[^\s\"'?]+)\?[^\s\"']+")
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_CALLBACK = re.compile(r"(/callbacks/[^/\s\"']+/[^/\s\"']+/[^/\s\"']+/)[^\s\"']+")


def redact(text: str) -> str:
    """The text without keys, signed query strings and callback MACs, cut to `LONGEST`."""
    text = _LONG_QUERY.sub(r"\1?…", _JWT.sub("…", _SECRETS.sub(r"\1…", text)))
    text = _CALLBACK.sub(r"\1…", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
