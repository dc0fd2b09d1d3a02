"""Signatures on what a provider posts to us: the time they carry, and Standard Webhooks,
https://www.standardwebhooks.com"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping

from functions.providers._http import header

SKEW_SECONDS = 300  # Standard Webhooks' window, and ours where a vendor names none


def is_fresh(stamp: str, now: float) -> bool:
    """Unix seconds in ten plain digits, no further from now than the window."""
    return bool(re.fullmatch("[0-9]{10}", stamp)) and abs(now - int(stamp)) <= SKEW_SECONDS


def standard_key(secret: str) -> bytes:
    """The key in `whsec_` and base64, also where it was pasted with a line end or lost its padding;
    empty where it is none."""
    text = secret.strip().removeprefix("whsec_").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""


def standard_signature(secret: str, message_id: str, stamp: str, body: bytes) -> bytes:
    """`v1,<base64>` over id, time and raw body; empty where the secret is none."""
    key = standard_key(secret)
    signed = f"{message_id}.{stamp}.".encode() + body
    return b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) if key else b""


def standard_is_genuine(
    headers: Mapping[str, str], body: bytes, keys: tuple[str, ...], now: float
) -> bool:
    """Several signatures may stand in the header, and several keys may be ours, while a key is
    being changed."""
    stamp = header(headers, "webhook-timestamp")
    if not is_fresh(stamp, now):
        return False
    given = [one.encode() for one in header(headers, "webhook-signature").split()]
    ours = [standard_signature(key, header(headers, "webhook-id"), stamp, body) for key in keys]
    matches = [hmac.compare_digest(one, other) for one in given for other in ours if other]
    return any(matches)
