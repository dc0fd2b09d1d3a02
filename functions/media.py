"""What is this file really, and will the provider take it? Known from its bytes, before any money is spent.

Names and declared types are not believed. Pictures are not decoded: a header and an end mark are read. EXIF's rotation
is not looked at: the shorter side and the ratio are the same either way up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.providers import base
from functions.source import Source

# Ours, not a provider's: they catch what is surely a mistake where a provider documents no limit of its own.
LEAST_PIXELS = 64
LEAST_SECONDS = 0.5
MOST_SECONDS = 3600.0
MOST_PIXELS = 100_000_000  # more than any phone takes into 10 MB; a 50,000 × 50,000 bomb is 25 times as much
MOST_BYTES = 128 << 20  # more than any provider takes; bounds how long a look may last
# Encoders pad a sound by a few hundredths of a second: what is that close to a limit is the provider's to judge.
SLACK_SECONDS = 0.1


@dataclass(frozen=True)
class Refusal:
    """One reason why a task cannot be made. `field` is the part of the task, `message` says limit, value and cure."""

    code: str
    field: str
    message: str


class NotMedia(Exception):
    """The file is not a picture or sound that any provider takes: fail the task with `refusal`."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, field, message)


@dataclass(frozen=True)
class Image:
    name: str
    content_type: str
    bytes: int
    width: int
    height: int


@dataclass(frozen=True)
class Audio:
    name: str
    content_type: str
    bytes: int
    seconds: float


def inspect_image(source: Source) -> Image:
    """Raises NotMedia. Costs one or two reads, three if something stands behind the picture's end."""
    raise NotImplementedError


def inspect_audio(source: Source) -> Audio:
    """Raises NotMedia. Reads a few kilobytes of WAV, FLAC and MP4; all of MP3, AAC and Ogg, in flat memory."""
    raise NotImplementedError


def check(
    model: base.Model,
    provider: str,
    *,
    image: Image | None,
    audio: Audio | None,
    prompt: str,
    settings: Mapping[str, Any],
) -> list[Refusal]:
    """Everything the provider's model would refuse, all at once; empty when it may be sent."""
    raise NotImplementedError
