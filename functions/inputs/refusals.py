"""Why a file or a setting is refused, in words: what it is, the limit, the cure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from functions.inputs import filetypes
from functions.inputs.source import Damaged, Source
from functions.providers import base

MOST_BYTES = 128 * base.MB  # more than any provider takes; bounds how long an inspection may last


@dataclass(frozen=True)
class Refusal:
    """One reason why a task cannot be made. `field` is the part of the task, `message` says limit,
    value and cure."""

    code: str
    field: str
    message: str


class NotMedia(Exception):
    """The file is not a picture or sound that any provider takes: fail the task with `refusal`."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, field, message)


def check_any_size(source: Source, field: str, noun: str) -> None:
    if not source.size:
        raise NotMedia(
            f"{noun}_EMPTY", field, f"{source.name} is empty, 0 bytes: drop the whole file again."
        )
    if source.size > MOST_BYTES:
        message = (
            f"{source.name} is {size_words(source.size)}; no provider takes so much: make it "
            "smaller."
        )
        raise NotMedia(f"{noun}_TOO_LARGE", field, message)


def damaged(source: Source, damage: Damaged) -> str:
    return f"{source.name} is damaged: {damage}. Make it anew from the original and drop it again."


def not_a_picture(source: Source, kind: filetypes.Kind) -> str:
    if kind.family == "picture":
        return (
            f"{source.name} is {kind.words}, which providers do not take: save it as JPEG or PNG "
            "and drop it again."
        )
    return (
        f"{source.name} is not a picture: {_seems(source, kind)}. Drop the portrait itself, as "
        "JPEG or PNG."
    )


def not_a_sound(source: Source, kind: filetypes.Kind) -> str:
    if kind.family in ("sound", "video"):
        return (
            f"{source.name} is {kind.words}, which providers do not take: save it as MP3 or WAV "
            "and drop it again."
        )
    return (
        f"{source.name} is not audio: {_seems(source, kind)}. Download the audio itself and drop "
        "it again."
    )


def _seems(source: Source, kind: filetypes.Kind) -> str:
    if kind.family not in ("other", "unknown"):
        return f"it is {kind.words}"
    quoted = filetypes.excerpt(source.read(0, 64))
    return (
        f"it begins with {quoted}, "
        + ("which is " if kind is filetypes.UNKNOWN else "it looks like ")
        + kind.words
    )


def size_words(count: int) -> str:
    return f"{count / base.MB:.1f} MB ({count:,} bytes)"


def listed(words: list[str], last: str) -> str:
    return (
        f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
        or "nothing of the kind"
    )


def sentences(refusals: Iterable[Refusal]) -> str:
    """All reasons, one behind the other, each a sentence."""
    return " ".join(_sentence(refusal.message) for refusal in refusals)


def _sentence(message: str) -> str:
    """A plain first word is capitalised; a file's or a setting's name stays as it is written."""
    begun = re.sub(r"^[a-z]+(?=[ ',])", lambda word: word[0].capitalize(), message)
    return begun if begun.endswith((".", "!", "?", "…")) else begun + "."
