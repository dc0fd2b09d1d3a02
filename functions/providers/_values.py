"""Values as a vendor wrote them, read with care: an answer may hold any type anywhere."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import quote

JsonObject = dict[str, Any]  # what a vendor sends: nothing about it is known

# It becomes a segment of a path: not dots alone.
_JOB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")
_LONGEST_URL = 4096
_URL_CHARACTERS = ":/?#[]@!$&'()*+,;=%-._~"  # RFC 3986: reserved, unreserved and the sign itself


def json_object(value: object) -> JsonObject:
    """An object, or the object that a JSON text holds, twice encoded at most; {} for anything
    else."""
    for _ in range(2):
        if isinstance(value, (str, bytes)):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                return {}
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[JsonObject]:
    """The objects of a list; [] for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def amount(value: object) -> Decimal | None:
    """A number of units or credits as the provider wrote it (3, 3.5, "3.5"), if it is one and not
    negative."""
    number = balance(value)
    return number if number is not None and number >= 0 else None


def balance(value: object) -> Decimal | None:
    """The same of what lies on an account, which may be overdrawn: then it is negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def link(value: object) -> str | None:
    """A URL as the provider gave it, if it is one; whether it may be opened is for the download to
    decide. Raw spaces and letters beyond ASCII, seen in links to uploads, are percent-encoded."""
    if not isinstance(value, str) or not re.match(r"https?://[^/\s]", value.strip()):
        return None
    try:
        url = quote(value.strip(), safe=_URL_CHARACTERS)
    except UnicodeEncodeError:  # half a surrogate pair
        return None
    return url if len(url) <= _LONGEST_URL else None


def moment(value: object) -> datetime | None:
    """A time in milliseconds since 1970, as the provider wrote it."""
    milliseconds = amount(value)
    try:
        return None if not milliseconds else datetime.fromtimestamp(float(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def opaque_id(value: object) -> str | None:
    """A job id as the provider gave it, if it is one: up to 128 letters, digits and `_.:-`."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return text if _JOB_ID.fullmatch(text) else None
