"""Who agreed to be shown and heard, to what, and until when: `consent` beside a task's settings.

It is kept with the task, its manifest and its events. Nothing here proves that it is true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import cast

from functions.inputs.refusals import Refusal
from functions.settings import options
from functions.tasks.table import now
from functions.tasks.task import Consent, is_over

_MOST_CHARACTERS = {"who": 200, "scope": 500}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SAMPLE = '{"who": "Ada Lovelace", "scope": "training videos", "until": "2027-12-31"}'


def read(value: object) -> tuple[Consent, Refusal | None]:
    """What was given, and what is wrong with it. `who` and `scope` are needed; `until` is a day
    that is still allowed, `document_sha256` the hash of what was signed, in hex."""
    if value is None:
        return Consent(), None
    if not isinstance(value, Mapping) or (wrong := _wrong(value)):
        why = wrong if isinstance(value, Mapping) else "it is no object"
        return Consent(), _refusal(
            "BAD_CONSENT", f"the consent cannot be kept, {why}: write it like {_SAMPLE}"
        )
    given = cast(Consent, dict(value))
    if is_over(given, now().date()):
        message = f"the consent of {given['who']} ended on {given['until']}: give a later one"
        return Consent(), _refusal("CONSENT_ENDED", message)
    return given, None


def missing(consent: Consent) -> list[Refusal]:
    """By the option require_consent: a task without consent is refused before it costs anything."""
    if consent or not options().require_consent:
        return []
    where = '"consent" in settings.json, in the voice\'s own .json, or in POST /tasks'
    return [_refusal("NO_CONSENT", f"this stack makes no video without consent: give {where}")]


def _wrong(given: Mapping[str, object]) -> str:
    """The first thing that cannot be kept as it is; empty where all can."""
    known = {*_MOST_CHARACTERS, "until", "document_sha256"}
    if strange := sorted(set(given) - known):
        return f"{strange[0][:40]!r} is no part of it"
    for name, most in _MOST_CHARACTERS.items():
        text = given.get(name)
        if not isinstance(text, str) or not 0 < len(text.strip()) <= most:
            return f"{name} must be text of 1 to {most} characters"
    if "until" in given and not _is_day(given["until"]):
        return "until must be a day such as 2027-12-31"
    if "document_sha256" in given and not _SHA256.fullmatch(str(given["document_sha256"])):
        return "document_sha256 must be 64 hex digits"
    return ""


def _is_day(value: object) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _refusal(code: str, message: str) -> Refusal:
    return Refusal(code, "consent", message)
